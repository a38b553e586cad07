/* What the image encoder's large products are computed from. */
#ifndef MSA_ENGINE_PRECISION_H
#define MSA_ENGINE_PRECISION_H

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * fp32   weights and sums in float32: the reference
 * fp16   weights rounded to half precision (IEEE binary16), half the memory; sums in float32
 * bf16   weights rounded to bfloat16, likewise; three digits instead of four
 * int8   weights in 8 bits with a scale for each output channel, tokens in 8 bits with a scale for each as it
 *        comes; exact integer sums
 * Results of two precisions differ; those of one are the same bits as ever.
 */
typedef enum msa_precision {
    MSA_PRECISION_FP32,
    MSA_PRECISION_FP16,
    MSA_PRECISION_BF16,
    MSA_PRECISION_INT8,
    MSA_PRECISIONS,
} msa_precision;

/* fp32, fp16, bf16, int8 */
const char *msa_precision_name(msa_precision precision);
/* False, and *out unchanged, when there is none of that name. */
bool msa_precision_named(const char *name, msa_precision *out);

#ifdef __cplusplus
}
#endif
#endif
