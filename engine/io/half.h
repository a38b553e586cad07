/* Half precision: IEEE 754 binary16 and bfloat16 to float and back. Exact but for the rounding of narrowing.
 */
#ifndef MSA_ENGINE_IO_HALF_H
#define MSA_ENGINE_IO_HALF_H

#include <stdbool.h>
#include <stdint.h>

/* Every value is a float: subnormals, infinities and the payloads of NaN come through. */
float msa_half_to_float(uint16_t h);
float msa_bfloat_to_float(uint16_t b);
/* Nearest, ties to even; beyond 65504 (from 65520 on) infinity; a NaN stays one, quiet, with the upper bits
 * of its payload. */
uint16_t msa_float_to_half(float f);
/* Nearest, ties to even; a NaN stays one. */
uint16_t msa_float_to_bfloat(float f);

/* Bytes as files hold them, little endian; from (2 n bytes, any alignment) to to (n). */
void msa_half_read(const unsigned char *from, int64_t n, float *to);
void msa_bfloat_read(const unsigned char *from, int64_t n, float *to);
/* to (2 n bytes). False when a finite value has become infinite: everything is written all the same. */
bool msa_half_write(const float *from, int64_t n, unsigned char *to);

/* The same between arrays in memory, n of each; back: engine/kern/widen.h. */
bool msa_half_round(const float *from, int64_t n, uint16_t *to);
void msa_bfloat_round(const float *from, int64_t n, uint16_t *to);

#endif
