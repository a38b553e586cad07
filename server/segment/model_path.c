#include "server/segment/models.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Folder of the running program, without a slash at its end. Asked once: a worker's sandbox has no /proc. */
static msa_status program_dir(const char **out, msa_error *err)
{
    static char folder[PATH_MAX];
    *out = folder;
    if (folder[0] != '\0') return MSA_OK;
    const ssize_t n = readlink("/proc/self/exe", folder, sizeof folder - 1);
    if (n <= 0) {
        folder[0] = '\0';
        return msa_fail(err, MSA_E_IO, "the folder of the running program is not known (/proc/self/exe)");
    }
    folder[n] = '\0';
    char *slash = strrchr(folder, '/');
    if (slash) *slash = '\0';
    return MSA_OK;
}

static bool put(char *out, size_t size, const char *dir, const char *place, const char *name)
{
    const int n = snprintf(out, size, "%s%s%s.safetensors", dir, place, name);
    return n > 0 && (size_t)n < size;
}

bool srv_model_is_bundled(const char *path)
{
    const size_t n = strlen("default");
    if (path[0] == '\0') return true;
    if (strncmp(path, "default", n) != 0 || (path[n] != '\0' && path[n] != '-')) return false;
    return path[strspn(path, "abcdefghijklmnopqrstuvwxyz0123456789-")] == '\0';
}

msa_status srv_model_path(const char *path, char *out, size_t out_size, msa_error *err)
{
    static const char *const places[] = {"/config/models/", "/../share/msad/models/"};
    const char *name = path && path[0] ? path : "default";
    const char *dir = NULL;
    if (!srv_model_is_bundled(name)) {
        if (strlen(name) >= out_size)
            return msa_fail(err, MSA_E_INVALID, "the path of the model is too long");
        (void)snprintf(out, out_size, "%s", name);
        if (access(out, R_OK) == 0) return MSA_OK;
        return msa_fail(err, MSA_E_NOT_FOUND, "there is no readable model file %.150s", name);
    }
    MSA_TRY(program_dir(&dir, err));
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        if (put(out, out_size, dir, places[i], name) && access(out, R_OK) == 0) return MSA_OK;
    return msa_fail(
        err, MSA_E_NOT_FOUND,
        "there is no bundled model: neither %.50s%s%.20s.safetensors nor %.50s%s%.20s.safetensors "
        "can be read",
        dir, places[0], name, dir, places[1], name);
}
