#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "server/tool/tool.h"

static msa_status make_one(const char *path, msa_error *err)
{
    struct stat there;
    if (mkdir(path, 0777) == 0) return MSA_OK;
    const int why = errno;
    if (stat(path, &there) == 0 && S_ISDIR(there.st_mode)) return MSA_OK;
    return msa_fail(err, MSA_E_IO, "cannot make the folder %.120s: %s", path,
                    strerror(why == EEXIST ? ENOTDIR : why));
}

msa_status srv_tool_make_folder(const char *path, msa_error *err)
{
    char part[4096];
    const size_t length = strlen(path);
    if (length == 0 || length >= sizeof part)
        return msa_fail(err, MSA_E_INVALID, "the path of a folder is empty or too long");
    memcpy(part, path, length + 1);
    for (size_t i = 1; i < length; i++) {
        if (part[i] != '/') continue;
        part[i] = '\0';
        MSA_TRY(make_one(part, err));
        part[i] = '/';
    }
    return make_one(part, err);
}
