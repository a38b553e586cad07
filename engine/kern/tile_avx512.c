/* The tiles for AVX-512 (F, BW, DQ, VL). */
#include <immintrin.h>
#define TILE_TABLE          msa_tile_avx512
#define TILE_ROWS           14
#define PIECE_MADD(a, b, c) (piece) _mm512_fmadd_ps((__m512)(a), (__m512)(b), (__m512)(c))
#define VEC_BYTES           64
#define VEC_FMA             1
#include "engine/kern/tile_kernels.h"
