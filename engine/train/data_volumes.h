/* What samples are cut from: cases, and where in them labels can be targets. Private to engine/train/data*.c.
 */
#ifndef MSA_ENGINE_TRAIN_DATA_VOLUMES_H
#define MSA_ENGINE_TRAIN_DATA_VOLUMES_H

#include "engine/train/data.h"
#include "engine/train/data_random.h"

enum { MSA_ORIENTATIONS = 3, MSA_WINDOW_CHOICES = 5 };

/* Slices on which one label can be a target. */
typedef struct msa_track {
    char label[64];
    uint16_t value, layer;
    int32_t n;
    int32_t *slices;
} msa_track;

typedef struct msa_stock {
    msa_case *volume;
    int32_t n_tracks[MSA_ORIENTATIONS];
    msa_track *tracks[MSA_ORIENTATIONS];
    float low[MSA_WINDOW_CHOICES], high[MSA_WINDOW_CHOICES]; /* MR windows to draw between */
} msa_stock;

/* Slices along D are seen as they lie; those along H and W with the head above. */
typedef struct msa_plane_shape {
    int32_t slices, rows, cols;
    float row_mm, col_mm;
} msa_plane_shape;

/* Of one layer (D, H, W). */
static inline const uint16_t *msa_stock_labels(const msa_case *c, int32_t layer)
{
    return c->labels + (size_t)layer * (size_t)c->depth * (size_t)c->rows * (size_t)c->cols;
}
msa_plane_shape msa_stock_plane(const msa_case *c, int orientation);
size_t msa_stock_voxel(const msa_case *c, int orientation, int32_t slice, int32_t y, int32_t x);

/* Takes the volume, also on failure; `s` is to be cleared in either case. Errors: MSA_E_NOMEM. */
MSA_NODISCARD msa_status msa_stock_fill(msa_stock *s, msa_case *volume, const msa_volumes_options *options,
                                        msa_error *err);
void msa_stock_clear(msa_stock *s);
/* Nothing in it can be a target. */
bool msa_stock_is_empty(const msa_stock *s);

/* ---- which cases are in memory ---- */

typedef struct msa_shelf msa_shelf;

/**
 * All cases of the set, or, with options->at_once below their number, as many, changed one by one as the
 * steps go: which ones a step may draw depends on the seed and the step alone. Errors: what opening fails
 * with; MSA_E_INVALID (no case has a target); MSA_E_NOMEM.
 */
MSA_NODISCARD msa_status msa_shelf_new(msa_shelf **out, const msa_case_set *set,
                                       const msa_volumes_options *options, msa_error *err);
void msa_shelf_free(msa_shelf *s);
MSA_DEFINE_AUTO(msa_shelf, msa_shelf_free);
/* One of the step's cases, by `pick` (any number); it stays until it is given back. May be empty. Threads:
 * any. Errors: what opening it fails with. */
MSA_NODISCARD msa_status msa_shelf_take(msa_shelf *s, uint64_t step, uint64_t pick, const msa_stock **out,
                                        msa_error *err);
void msa_shelf_give_back(msa_shelf *s, const msa_stock *stock);

/* ---- a sample ---- */

/* One sample; area: pixels of its first target, 0 when that was lost. Errors: MSA_E_NOMEM. */
MSA_NODISCARD msa_status msa_slice_sample(const msa_stock *stock, const msa_volumes_options *options,
                                          bool augment, msa_rng *r, msa_sample *s, int32_t *area,
                                          msa_error *err);

#endif
