/* The kernels for AVX-512 (F, BW, DQ, VL). */
#define VEC_TABLE msa_vec_avx512
#define VEC_BYTES 64
#define VEC_FMA   1
#include "engine/kern/vec_kernels.h"
