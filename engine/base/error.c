#include "engine/base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

msa_status msa_fail_at(msa_error *err, msa_status status, const char *file, int line, const char *fmt, ...)
{
    if (err == NULL || err->status != MSA_OK) return status;
    const int saved_errno = errno;
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(err->what, sizeof err->what, fmt, args);
    va_end(args);
    err->status = status;
    err->file = file;
    err->line = line;
    errno = saved_errno;
    return status;
}

msa_status msa_errno_status(int error)
{
    switch (error) {
    case ENOSPC:
    case EDQUOT:
        return MSA_E_BUSY;
    case ENOMEM:
        return MSA_E_NOMEM;
    default:
        return MSA_E_IO;
    }
}

const char *msa_status_name(msa_status status)
{
    switch (status) {
    case MSA_OK:
        return "ok";
    case MSA_E_NOMEM:
        return "out_of_memory";
    case MSA_E_IO:
        return "io";
    case MSA_E_NOT_FOUND:
        return "not_found";
    case MSA_E_CANCELED:
        return "cancelled";
    case MSA_E_INVALID:
        return "invalid";
    case MSA_E_PARSE:
        return "parse";
    case MSA_E_UNSUPPORTED:
        return "unsupported";
    case MSA_E_BUSY:
        return "busy";
    case MSA_E_INTERNAL:
        return "internal";
    }
    return "internal";
}
