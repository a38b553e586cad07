/* The tensors of one or two files under the names that this program has for them. */
#ifndef MSA_ENGINE_CONVERT_NAMES_H
#define MSA_ENGINE_CONVERT_NAMES_H

#include "engine/io/checkpoint.h"

typedef struct msa_named {
    char name[MSA_TENSOR_NAME_MAX + 1];
    const msa_checkpoint_tensor *tensor;
    bool of_base;
    bool renamed; /* the file calls it as MSA's eras B to D and EfficientSAM do */
    bool known;   /* a part of the network; else something beside it */
    bool used;
} msa_named;

/* Sorted by name. Where both files have a tensor, the first file's. */
typedef struct msa_names {
    msa_named *list;
    int32_t n;
} msa_names;

/* base, prefix: NULL when there is none. Errors: MSA_E_PARSE (two tensors of one name), MSA_E_NOMEM. */
MSA_NODISCARD msa_status msa_names_make(msa_names *out, const msa_checkpoint *file,
                                        const msa_checkpoint *base, const char *prefix, msa_error *err);
void msa_names_release(msa_names *names);
/* NULL when there is none. */
msa_named *msa_names_find(const msa_names *names, const char *name);
msa_named *msa_names_findf(const msa_names *names, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* Axis i of a tensor; 0 when there is no such tensor or axis, or the axis is beyond int32. */
int32_t msa_names_axis(const msa_named *n, int32_t i);

#endif
