/* Pickles as torch.save() writes them: a machine that builds plain values and calls nothing. */
#ifndef MSA_ENGINE_IO_PICKLE_H
#define MSA_ENGINE_IO_PICKLE_H

#include <stddef.h>
#include <stdint.h>

#include "engine/base/cleanup.h"
#include "engine/base/error.h"

/* What a storage's elements are. */
typedef enum msa_element {
    MSA_ELEMENT_F32,
    MSA_ELEMENT_F16,
    MSA_ELEMENT_BF16,
    MSA_ELEMENT_F64,
    MSA_ELEMENT_WHOLE8, /* whole numbers and truth values, by their bits */
    MSA_ELEMENT_WHOLE16,
    MSA_ELEMENT_WHOLE32,
    MSA_ELEMENT_WHOLE64,
} msa_element;
int64_t msa_element_bytes(msa_element e);

typedef enum msa_pickle_kind {
    MSA_PICKLE_INERT, /* known to be harmless, and of no interest: truth values, floats, numpy scalars, ... */
    MSA_PICKLE_NONE,
    MSA_PICKLE_INT,
    MSA_PICKLE_TEXT,
    MSA_PICKLE_GLOBAL, /* one of the names that are known; never what it stands for */
    MSA_PICKLE_TUPLE,
    MSA_PICKLE_LIST,
    MSA_PICKLE_DICT, /* items: key, value, key, value, ... */
    MSA_PICKLE_STORAGE,
    MSA_PICKLE_TENSOR,
} msa_pickle_kind;

/* Values and items are named by their number. Item 0 ends a list. */
typedef struct msa_pickle_value {
    msa_pickle_kind kind;
    union {
        int64_t number;
        struct {
            const char *at; /* in the bytes; not ended by NUL */
            size_t length;
        } text;
        int32_t global;
        struct {
            uint32_t first, last, n;
        } items;
        struct {
            msa_element element;
            uint32_t key; /* a text */
            int64_t count;
        } storage;
        struct {
            uint32_t storage, size, stride; /* a storage and two tuples */
            int64_t offset;                 /* in elements */
        } tensor;
    };
} msa_pickle_value;

typedef struct msa_pickle_item {
    uint32_t value, next;
} msa_pickle_item;

typedef struct msa_pickle {
    msa_pickle_value *values;
    msa_pickle_item *items;
    uint32_t n_values, n_items;
    uint32_t root;
    size_t used; /* bytes up to and with the end of the pickle */
} msa_pickle;

/**
 * Runs one pickle. Only the opcodes of torch.save() (protocols 2 to 4) and the names that a state_dict, an
 * optimiser's state and plain settings need are known; anything else is refused with its name. Nothing is
 * imported, called or executed. The value graph may be cyclic. `bytes` are borrowed as long as the pickle
 * lives.
 *
 * Memory: at most 64 bytes for a byte of the pickle, and 40 MiB. Errors: MSA_E_PARSE, MSA_E_UNSUPPORTED,
 * MSA_E_NOMEM.
 */
MSA_NODISCARD msa_status msa_pickle_read(msa_pickle **out, const unsigned char *bytes, size_t size,
                                         msa_error *err);
void msa_pickle_free(msa_pickle *p);
MSA_DEFINE_AUTO(msa_pickle, msa_pickle_free);

/* A name as a sentence may hold it: `size` bytes at most, what is not printable ASCII replaced. Returns `to`.
 */
const char *msa_printable(char *to, size_t size, const char *text, size_t length);

#endif
