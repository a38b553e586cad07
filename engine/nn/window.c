#include "engine/nn/window.h"

#include <string.h>

msa_windows msa_windows_make(int32_t h, int32_t w, int32_t window)
{
    if (window == 0) return (msa_windows){h, w, h, w, 1, 1};
    return (msa_windows){h, w, window, window, (h + window - 1) / window, (w + window - 1) / window};
}

int64_t msa_windows_count(const msa_windows *p)
{
    return (int64_t)p->rows * p->cols;
}

int64_t msa_windows_tokens(const msa_windows *p)
{
    return msa_windows_count(p) * p->win_h * p->win_w;
}

int64_t msa_windows_source(const msa_windows *p, int64_t window, int64_t position)
{
    const int64_t y = window / p->cols * p->win_h + position / p->win_w;
    const int64_t x = window % p->cols * p->win_w + position % p->win_w;
    return y < p->h && x < p->w ? y * p->w + x : -1;
}

void msa_windows_split(const msa_windows *p, int32_t C, const float *x, float *out)
{
    const int64_t area = (int64_t)p->win_h * p->win_w, tokens = msa_windows_tokens(p);
    const size_t bytes = (size_t)C * sizeof *out;
    for (int64_t t = 0; t < tokens; t++, out += C) {
        const int64_t source = msa_windows_source(p, t / area, t % area);
        if (source < 0)
            memset(out, 0, bytes);
        else
            memcpy(out, x + source * C, bytes);
    }
}

void msa_windows_merge(const msa_windows *p, int32_t C, const float *windows, float *out)
{
    const int64_t area = (int64_t)p->win_h * p->win_w, tokens = msa_windows_tokens(p);
    for (int64_t t = 0; t < tokens; t++) {
        const int64_t source = msa_windows_source(p, t / area, t % area);
        if (source >= 0) memcpy(out + source * C, windows + t * C, (size_t)C * sizeof *out);
    }
}
