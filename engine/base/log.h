/* One event per line: `level area key=value ...`. Never a patient attribute, a pixel or a token. */
#ifndef MSA_ENGINE_BASE_LOG_H
#define MSA_ENGINE_BASE_LOG_H

#ifdef __cplusplus
extern "C" {
#endif

typedef enum msa_log_level { MSA_LOG_ERROR, MSA_LOG_WARN, MSA_LOG_INFO, MSA_LOG_DEBUG } msa_log_level;

/* Any thread; set before threads start. Default MSA_LOG_INFO. */
void msa_log_set_level(msa_log_level level);
/* "error" | "warn" | "info" | "debug"; returns 0, or -1 when the name is unknown. */
int msa_log_level_parse(const char *name, msa_log_level *out);

/**
 * Writes one line to standard error in a single write(2): RFC 3339 UTC time, level, area, then the text.
 * Control characters of the text are replaced by '?'. `area` is one short word: "receive", "store", "job".
 * Threads: any. Cut at 1,000 bytes. What repeats without end, told by its `fmt`, is thinned out: after a
 * burst (100 warnings or errors, 1,000 infos) 5 or 50 lines a second stay, and the next one says `dropped=N`.
 * Debug is not.
 */
void msa_log(msa_log_level level, const char *area, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#ifdef __cplusplus
}
#endif
#endif
