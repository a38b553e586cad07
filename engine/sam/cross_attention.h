/**
 * Attention between the few tokens of a prompt and the many pixels of an image, a tile of pixels at a time,
 * so that a tile goes through both directions and its norm while it is in the cache.
 *
 * With fewer tokens than a head has channels the pixels are never projected: q . (Wk x) = (Wk^T q) . x, and
 * the mean of Wv x is Wv of the mean of x, so the projections are folded into the tokens' side ("folded").
 * For SAM and a box this is 56 rows against a tile instead of 128, six times in a prompt, and there is
 * nothing that would have to be kept for an image. With more tokens (many points) a tile is projected as the
 * formulas say. Which of both depends on the prompt alone. The bias of k shifts all logits of a row alike and
 * so is left out; that of v is added to the mean. What is folded is multiplied by the kernels' tiles.
 */
#ifndef MSA_ENGINE_SAM_CROSS_ATTENTION_H
#define MSA_ENGINE_SAM_CROSS_ATTENTION_H

#include "engine/base/arena.h"
#include "engine/sam/weights.h"

#define MSA_TILE_PIXELS 128

static inline int32_t msa_tile_count(int64_t pixels)
{
    return (int32_t)((pixels + MSA_TILE_PIXELS - 1) / MSA_TILE_PIXELS);
}

/* One worker's room for a tile. */
typedef struct msa_cross_scratch {
    float *placed;  /* (tile, P): pixels with their positions; packed (kern/tile_table.h) where folded */
    float *scores;  /* (heads * T, tile), rows MSA_TILE_PIXELS apart */
    float *turned;  /* the same, packed; folded only */
    float *q, *mix; /* (tile, width) */
    float *sum;     /* (tile, P) */
} msa_cross_scratch;

/* Tokens look at the image: A(q, k, v) of them, k from the pixels with their positions, v from the pixels. */
typedef struct msa_look {
    const msa_decoder_attention *a;
    int32_t heads, d;
    int64_t T, P, width;
    bool folded;
    float *q;         /* (T, width), scaled */
    float *rows;      /* (heads * T, P): q through Wk; folded only */
    float *packed;    /* the same, packed */
    float *part;      /* (tiles, heads * T, depth): sums of one tile, weighted by e^(logit - max) */
    float *max, *sum; /* (tiles, heads * T) */
    float *mean;      /* (heads * T, depth) */
    float *mixed;     /* (T, width) */
} msa_look;

/* The image takes from the tokens: x += A(q from the pixels with their positions, k and v from the tokens).
 */
typedef struct msa_take {
    const msa_decoder_attention *a;
    int32_t heads, d;
    int64_t T, P, width;
    bool folded;
    float *k, *v;  /* (T, width), k scaled */
    float *rows;   /* (heads * T, P): k through Wq; folded only */
    float *packed; /* the same, packed */
    float *shift;  /* (heads * T): k . bias of q; folded only */
    float *out;    /* (heads * T, P): v through Wout; folded only */
} msa_take;

/* Each to be run twice, as engine/base/arena.h says, for up to T tokens. */
void msa_cross_scratch_layout(msa_cross_scratch *s, msa_arena *arena, const msa_config *c, int64_t T,
                              int64_t width);
void msa_look_layout(msa_look *l, msa_arena *arena, const msa_config *c, int64_t T, int64_t width,
                     int64_t pixels);
void msa_take_layout(msa_take *t, msa_arena *arena, const msa_config *c, int64_t T, int64_t width);

/* q (T, P) is what A() gets as queries. */
void msa_look_begin(msa_look *l, const msa_config *c, const msa_decoder_attention *a, int64_t T,
                    const float *q);
/* Pixels first .. first + n - 1 are tile `tile`; x and their positions (n, P). Tiles may come in any order,
 * and at the same time with a scratch each. */
void msa_look_tile(msa_look *l, int32_t tile, int64_t n, const float *x, const float *positions,
                   const msa_cross_scratch *s);
/* result (T, P) */
void msa_look_end(msa_look *l, int32_t tiles, float *result);

/* k, v (T, P) are what A() gets as keys and values. */
void msa_take_begin(msa_take *t, const msa_config *c, const msa_decoder_attention *a, int64_t T,
                    const float *k, const float *v);
/* x (n, P), n <= MSA_TILE_PIXELS, is added to. */
void msa_take_tile(const msa_take *t, int64_t n, const float *positions, const msa_cross_scratch *s,
                   float *x);

#endif
