/* What the compiler makes of the tiles for every CPU of the architecture: the reference for the others. */
#define TILE_TABLE          msa_tile_scalar
#define TILE_ROWS           4
#define PIECE_MADD(a, b, c) ((a) * (b) + (c))
#define VEC_BYTES           16
#define VEC_FMA             0
#include "engine/kern/tile_kernels.h"
