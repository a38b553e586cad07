#include "engine/precision.h"

#include <string.h>

static const char *const names[MSA_PRECISIONS] = {"fp32", "fp16", "bf16", "int8"};

const char *msa_precision_name(msa_precision precision)
{
    return names[precision];
}

bool msa_precision_named(const char *name, msa_precision *out)
{
    for (int i = 0; i < MSA_PRECISIONS; i++) {
        if (strcmp(name, names[i]) != 0) continue;
        *out = (msa_precision)i;
        return true;
    }
    return false;
}
