/* Watching a forward pass from outside, for the reference checks; costs nothing when absent. */
#ifndef MSA_ENGINE_SAM_TAP_H
#define MSA_ENGINE_SAM_TAP_H

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

/* Data is borrowed for the call. Grids and windows are channels-last: (h, w, C), (windows, win_h, win_w, C).
 */
typedef struct msa_tap {
    void (*see)(void *ctx, const char *name, const float *data, int64_t rows, int64_t C);
    void *ctx;
} msa_tap;

/* name is a printf format; evaluated only when somebody watches. */
#define MSA_TAP(tap, data, rows, C, ...)                                                                     \
    do {                                                                                                     \
        if ((tap) != NULL) {                                                                                 \
            char msa_tap_name_[64];                                                                          \
            (void)snprintf(msa_tap_name_, sizeof msa_tap_name_, __VA_ARGS__);                                \
            (tap)->see((tap)->ctx, msa_tap_name_, (data), (rows), (C));                                      \
        }                                                                                                    \
    } while (0)

#endif
