/* The tiles for NEON, which has the fused multiply-add and 32 registers. */
#include <arm_neon.h>
#define TILE_TABLE          msa_tile_neon
#define TILE_ROWS           12
#define PIECE_MADD(a, b, c) (piece) vfmaq_f32((float32x4_t)(c), (float32x4_t)(a), (float32x4_t)(b))
#define VEC_BYTES           16
#define VEC_FMA             1
#include "engine/kern/tile_kernels.h"
