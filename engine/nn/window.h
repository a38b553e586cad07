/* Splitting a token grid into windows, the last ones padded at the bottom and right. */
#ifndef MSA_ENGINE_NN_WINDOW_H
#define MSA_ENGINE_NN_WINDOW_H

#include <stdint.h>

/* Windows are in (window row, window column) order, positions inside them row-major. */
typedef struct msa_windows {
    int32_t h, w;         /* the token grid */
    int32_t win_h, win_w; /* one window; the grid itself when attention is global */
    int32_t rows, cols;   /* windows down and across */
} msa_windows;

/* window 0: one window, the grid. */
msa_windows msa_windows_make(int32_t h, int32_t w, int32_t window);
int64_t msa_windows_count(const msa_windows *p);
/* Tokens of all windows, padding included. */
int64_t msa_windows_tokens(const msa_windows *p);
/* Grid index (y * w + x) of a window's position; -1 when it is padding. */
int64_t msa_windows_source(const msa_windows *p, int64_t window, int64_t position);
/* x (h * w, C) to out (tokens, C), padding zero; and back, padding dropped. */
void msa_windows_split(const msa_windows *p, int32_t C, const float *x, float *out);
void msa_windows_merge(const msa_windows *p, int32_t C, const float *windows, float *out);

#endif
