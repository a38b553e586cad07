/* The kernels for NEON, which has the fused multiply-add. */
#define VEC_TABLE msa_vec_neon
#define VEC_BYTES 16
#define VEC_FMA   1
#include "engine/kern/vec_kernels.h"
