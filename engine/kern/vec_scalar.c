/* What the compiler makes of the kernels for every CPU of the architecture: the reference for the others. */
#define VEC_TABLE msa_vec_scalar
#define VEC_BYTES 16
#define VEC_FMA   0
#include "engine/kern/vec_kernels.h"
