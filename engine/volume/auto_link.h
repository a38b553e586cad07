/* Which masks survive on a slice, and which of two neighbouring slices belong together. Pure: knows no model.
 */
#ifndef MSA_ENGINE_VOLUME_AUTO_LINK_H
#define MSA_ENGINE_VOLUME_AUTO_LINK_H

#include "engine/volume/bits.h"

/**
 * Non-maximum suppression of boxes: kept (n) is set where no kept box of a higher score overlaps by an IoU
 * above `most`. Of equal scores the earlier goes first. order (n): scratch, left holding the indices from the
 * highest score down. Errors: none.
 */
void msa_nms(const msa_box *boxes, const float *scores, int32_t n, float most, int32_t *order, bool *kept);

/**
 * above (n_above): for each mask of that slice which of `below` (n_below) it continues, or -1. Pairs are
 * taken from the highest IoU of masks down, none below `least`, each mask at most once; of equal IoU by the
 * indices. Errors: MSA_E_NOMEM.
 */
MSA_NODISCARD msa_status msa_link(const msa_bits *const *below, int32_t n_below, const msa_bits *const *above,
                                  int32_t n_above, float least, int32_t *from, msa_error *err);

#endif
