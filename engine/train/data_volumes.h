/* What samples are cut from: cases, and where in them labels can be targets. Private to data_volumes.c and
 * data_slice.c. */
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

/* One sample; area: pixels of its first target, 0 when that was lost. Errors: MSA_E_NOMEM. */
MSA_NODISCARD msa_status msa_slice_sample(const msa_stock *stock, const msa_volumes_options *options,
                                          bool augment, msa_rng *r, msa_sample *s, int32_t *area,
                                          msa_error *err);

#endif
