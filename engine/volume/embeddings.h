/*
 * Image embeddings of a volume's slices and of parts of them: made when first asked for, kept within a bound.
 * Slices that look alike, such as those of air, are one embedding: their pictures have one key. Inside a
 * picture nothing is to be had that way: positions are added to the tokens before the first block, so no two
 * windows of it are ever alike, air or not; what windows are padded with is encoded once by the blocks.
 */
#ifndef MSA_ENGINE_VOLUME_EMBEDDINGS_H
#define MSA_ENGINE_VOLUME_EMBEDDINGS_H

#include "engine/segmenter.h"
#include "engine/volume/geometry.h"
#include "engine/volume/window.h"

/* Where nobody brings a cache: 128 slices of a 1024 model, 2,048 of a 256 one; a slice is encoded again only
 * in a series longer than that. */
#define MSA_EMBEDDINGS_BYTES ((size_t)512 << 20)

/* The one window that a volume is seen in. Errors: MSA_E_INVALID (a window or voxel that is not finite),
 * MSA_E_NOMEM. */
MSA_NODISCARD msa_status msa_volume_window_make(msa_window *w, const msa_volume *v, msa_error *err);

typedef struct msa_embeddings msa_embeddings;

/* All borrowed; the window is copied; the predictor has room for msa_depth_windows_make()'s stacks. Errors:
 * MSA_E_NOMEM. One thread. */
MSA_NODISCARD msa_status msa_embeddings_new(msa_embeddings **out, const msa_model *model,
                                            const msa_volume *volume, const msa_window *window,
                                            msa_predictor *predictor, msa_embedding_cache *cache,
                                            msa_error *err);
void msa_embeddings_free(msa_embeddings *e);
MSA_DEFINE_AUTO(msa_embeddings, msa_embeddings_free);

/**
 * The embedding of what `view` shows of a slice, valid until the next call; box (4), in the network's input,
 * or NULL: for a model that has it in its picture (config.box_in_image). The one used longest ago makes room.
 * With a depth branch the slice is encoded together with its neighbours (engine/volume/depth_windows.h), all
 * in the same view and with the same box.
 * Errors: as msa_predictor_encode(); MSA_E_INVALID (a voxel that is not finite), MSA_E_NOMEM.
 */
MSA_NODISCARD msa_status msa_embeddings_get(msa_embeddings *e, int32_t slice, const msa_transform *view,
                                            const float *box, const float **embedding, msa_error *err);

#endif
