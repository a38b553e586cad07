/* Values of 16 bits to float32, exactly, many at a time. */
#ifndef MSA_ENGINE_KERN_WIDEN_H
#define MSA_ENGINE_KERN_WIDEN_H

#include <stdint.h>

/* from (n) to to (n). Every level of kern/cpu.h gives the same bits; reentrant, allocates nothing. */
typedef void msa_widen(const uint16_t *from, int64_t n, float *to);

msa_widen msa_widen_half;   /* IEEE binary16 */
msa_widen msa_widen_bfloat; /* bfloat16 */

#endif
