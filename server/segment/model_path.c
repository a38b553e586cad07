#include "server/segment/segment.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Folder of the running program, without a slash at its end. */
static msa_status program_dir(char *out, size_t size, msa_error *err)
{
    const ssize_t n = readlink("/proc/self/exe", out, size - 1);
    if (n <= 0)
        return msa_fail(err, MSA_E_IO, "the folder of the running program is not known (/proc/self/exe)");
    out[n] = '\0';
    char *slash = strrchr(out, '/');
    if (slash) *slash = '\0';
    return MSA_OK;
}

static bool put(char *out, size_t size, const char *dir, const char *file)
{
    const int n = snprintf(out, size, "%s%s", dir, file);
    return n > 0 && (size_t)n < size;
}

msa_status srv_model_path(const char *path, char *out, size_t out_size, msa_error *err)
{
    static const char *const places[] = {"/config/models/default.safetensors",
                                         "/../share/msad/models/default.safetensors"};
    char dir[PATH_MAX];
    if (path && path[0] && strcmp(path, "default") != 0) {
        if (!put(out, out_size, path, ""))
            return msa_fail(err, MSA_E_INVALID, "the path of the model is too long");
        if (access(out, R_OK) == 0) return MSA_OK;
        return msa_fail(err, MSA_E_NOT_FOUND, "there is no readable model file %.150s", path);
    }
    MSA_TRY(program_dir(dir, sizeof dir, err));
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        if (put(out, out_size, dir, places[i]) && access(out, R_OK) == 0) return MSA_OK;
    return msa_fail(err, MSA_E_NOT_FOUND,
                    "there is no bundled model: neither %.60s%s nor %.60s%s can be read", dir, places[0], dir,
                    places[1]);
}
