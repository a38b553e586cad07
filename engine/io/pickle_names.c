#include "engine/io/pickle_names.h"

#include <string.h>

static const msa_pickle_name names[] = {
    {"collections", "OrderedDict", MSA_ROLE_DICT, 0},
    {"torch._utils", "_rebuild_tensor_v2", MSA_ROLE_TENSOR, 0},
    {"torch._utils", "_rebuild_tensor", MSA_ROLE_TENSOR, 0},
    {"torch._utils", "_rebuild_parameter", MSA_ROLE_PARAMETER, 0},
    {"torch._utils", "_rebuild_parameter_with_state", MSA_ROLE_PARAMETER, 0},
    {"torch", "Size", MSA_ROLE_SIZE, 0},
    {"torch", "FloatStorage", MSA_ROLE_STORAGE, MSA_ELEMENT_F32},
    {"torch", "HalfStorage", MSA_ROLE_STORAGE, MSA_ELEMENT_F16},
    {"torch", "BFloat16Storage", MSA_ROLE_STORAGE, MSA_ELEMENT_BF16},
    {"torch", "DoubleStorage", MSA_ROLE_STORAGE, MSA_ELEMENT_F64},
    {"torch", "LongStorage", MSA_ROLE_STORAGE, MSA_ELEMENT_WHOLE64},
    {"torch", "IntStorage", MSA_ROLE_STORAGE, MSA_ELEMENT_WHOLE32},
    {"torch", "ShortStorage", MSA_ROLE_STORAGE, MSA_ELEMENT_WHOLE16},
    {"torch", "CharStorage", MSA_ROLE_STORAGE, MSA_ELEMENT_WHOLE8},
    {"torch", "ByteStorage", MSA_ROLE_STORAGE, MSA_ELEMENT_WHOLE8},
    {"torch", "BoolStorage", MSA_ROLE_STORAGE, MSA_ELEMENT_WHOLE8},
    {"torch.storage", "UntypedStorage", MSA_ROLE_STORAGE, MSA_ELEMENT_WHOLE8},
    /* what stands beside the weights: settings, measures of how training went */
    {"torch", "device", MSA_ROLE_INERT, 0},
    {"torch", "float32", MSA_ROLE_INERT, 0},
    {"torch", "float16", MSA_ROLE_INERT, 0},
    {"torch", "bfloat16", MSA_ROLE_INERT, 0},
    {"torch", "float64", MSA_ROLE_INERT, 0},
    {"torch", "int64", MSA_ROLE_INERT, 0},
    {"numpy", "dtype", MSA_ROLE_INERT, 0},
    {"numpy.core.multiarray", "scalar", MSA_ROLE_INERT, 0},
    {"numpy._core.multiarray", "scalar", MSA_ROLE_INERT, 0},
    {"_codecs", "encode", MSA_ROLE_INERT, 0},
    {"argparse", "Namespace", MSA_ROLE_INERT, 0},
};
#define N_NAMES ((int32_t)(sizeof names / sizeof names[0]))

static int same(const char *known, const char *text, size_t length)
{
    return strlen(known) == length && memcmp(known, text, length) == 0;
}

int32_t msa_pickle_name_find(const char *module, size_t module_length, const char *name, size_t name_length)
{
    for (int32_t i = 0; i < N_NAMES; i++)
        if (same(names[i].module, module, module_length) && same(names[i].name, name, name_length)) return i;
    return -1;
}

const msa_pickle_name *msa_pickle_name_at(int32_t i)
{
    return &names[i];
}
