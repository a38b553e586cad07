/* The kernels for AVX2 and FMA. */
#define VEC_TABLE msa_vec_avx2
#define VEC_BYTES 32
#define VEC_FMA   1
#include "engine/kern/vec_kernels.h"
