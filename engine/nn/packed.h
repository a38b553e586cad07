/*
 * Dense layers whose weight was packed when the model was loaded: in the order in which the product reads it,
 * so that nothing is rearranged while it runs. Training, where weights change, multiplies without.
 */
#ifndef MSA_ENGINE_NN_PACKED_H
#define MSA_ENGINE_NN_PACKED_H

#include <stddef.h>

#include "engine/kern/widen.h"
#include "engine/nn/linear.h"

/* Floats of a packed weight (N, K) on this CPU; 0: it is not to be packed. */
size_t msa_packed_floats(int32_t N, int32_t K);
/* weight (N, K) to msa_packed_floats(), aligned to 64 bytes; over the engine's threads. */
void msa_pack_weight(int32_t N, int32_t K, const float *weight, float *packed);

/**
 * What msa_linear_forward() does for a layer that has l->packed: the same arguments; with `add` the result,
 * which then has no activation, is added to y.
 *
 * Each element is one sum, the bias first, then in the order of K, so how the work is shared out changes no
 * bit. Memory: a worker's part of x lies on its stack, 1 MiB.
 */
void msa_packed_forward(const msa_linear *l, int64_t M, const float *x, int64_t ldx, float *y, int64_t ldy,
                        msa_epilogue epilogue, bool add);
/* The same with a packed weight in 16 bits, which become float32 strip by strip (another 96 KiB of stack). */
void msa_packed_forward_16(const msa_linear *l, const uint16_t *packed, msa_widen *widen, int64_t M,
                           const float *x, int64_t ldx, float *y, int64_t ldy, msa_epilogue epilogue);

#endif
