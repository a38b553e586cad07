/* Random Fourier features of positions: PE(c) = [sin u, cos u], u = 2 pi (2 c - 1) G. */
#ifndef MSA_ENGINE_SAM_POSITION_CODE_H
#define MSA_ENGINE_SAM_POSITION_CODE_H

#include <stdint.h>

/* gaussian (2, P / 2); x and y in 0 .. 1 of the input; out (P). */
void msa_position_code(const float *gaussian, int32_t P, double x, double y, float *out);
/* Cell centres of an h x w grid; out (h * w, P). */
void msa_position_grid(const float *gaussian, int32_t P, int32_t h, int32_t w, float *out);

#endif
