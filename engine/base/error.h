/* Errors: a status, and one sentence. The error lives on the caller's stack and owns nothing. */
#ifndef MSA_ENGINE_BASE_ERROR_H
#define MSA_ENGINE_BASE_ERROR_H

#ifdef __cplusplus
extern "C" {
#endif

typedef enum msa_status {
    MSA_OK = 0,
    MSA_E_NOMEM = -1,
    MSA_E_IO = -2,
    MSA_E_NOT_FOUND = -3,
    MSA_E_CANCELED = -4,
    MSA_E_INVALID = -5,     /* the caller broke the contract */
    MSA_E_PARSE = -6,       /* bytes from outside are malformed */
    MSA_E_UNSUPPORTED = -7, /* well formed, but not handled here */
    MSA_E_BUSY = -8,        /* try again later: queue full, database locked, disk full */
    MSA_E_INTERNAL = -9,    /* a bug of ours */
} msa_status;

#define MSA_ERROR_WHAT_MAX 224

typedef struct msa_error {
    msa_status status;
    const char *file;
    int line;
    char what[MSA_ERROR_WHAT_MAX]; /* one sentence, never patient data */
} msa_error;

#define MSA_ERROR_INIT {MSA_OK, "", 0, ""}
#define MSA_NODISCARD  __attribute__((warn_unused_result))

/**
 * Records the failure unless `err` holds one already; returns `status`. `err` may be NULL.
 * Memory: none. Threads: reentrant; keeps errno.
 */
msa_status msa_fail_at(msa_error *err, msa_status status, const char *file, int line, const char *fmt, ...)
    __attribute__((format(printf, 5, 6), cold));

/* "io", "parse", ...: the name a log line or a JSON answer carries. Never NULL. */
const char *msa_status_name(msa_status status);

/* What a failed system call means to who may try again: MSA_E_BUSY for a full disk or quota, MSA_E_NOMEM,
 * else MSA_E_IO. */
msa_status msa_errno_status(int error);

#define msa_fail(err, status, ...) msa_fail_at((err), (status), __FILE__, __LINE__, __VA_ARGS__)
#define MSA_TRY(call)                                                                                        \
    do {                                                                                                     \
        const msa_status msa_st_ = (call);                                                                   \
        if (msa_st_ != MSA_OK) return msa_st_;                                                               \
    } while (0)

#ifdef __cplusplus
}
#endif
#endif
