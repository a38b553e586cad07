/* The tiles for AVX2 and FMA. */
#include <immintrin.h>
#define TILE_TABLE          msa_tile_avx2
#define TILE_ROWS           6
#define PIECE_MADD(a, b, c) (piece) _mm256_fmadd_ps((__m256)(a), (__m256)(b), (__m256)(c))
#define VEC_BYTES           32
#define VEC_FMA             1
#include "engine/kern/tile_kernels.h"
