/* The names that a pickle may ask for. */
#ifndef MSA_ENGINE_IO_PICKLE_NAMES_H
#define MSA_ENGINE_IO_PICKLE_NAMES_H

#include <stddef.h>
#include <stdint.h>

#include "engine/io/pickle.h"

/* What stands for a name when it is called or built. */
typedef enum msa_pickle_role {
    MSA_ROLE_INERT, /* whatever is made of it is of no interest */
    MSA_ROLE_DICT,
    MSA_ROLE_SIZE,
    MSA_ROLE_STORAGE,
    MSA_ROLE_TENSOR,
    MSA_ROLE_PARAMETER,
} msa_pickle_role;

typedef struct msa_pickle_name {
    const char *module, *name;
    msa_pickle_role role;
    msa_element element; /* of a storage */
} msa_pickle_name;

/* Its number, or -1 when it is not one of the known. */
int32_t msa_pickle_name_find(const char *module, size_t module_length, const char *name, size_t name_length);
const msa_pickle_name *msa_pickle_name_at(int32_t i);

#endif
