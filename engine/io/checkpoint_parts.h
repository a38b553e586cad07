/* What the readers of the formats fill in; engine/io/checkpoint.h. */
#ifndef MSA_ENGINE_IO_CHECKPOINT_PARTS_H
#define MSA_ENGINE_IO_CHECKPOINT_PARTS_H

#include "engine/io/checkpoint.h"

#define MSA_CHECKPOINT_TENSORS_MAX (1 << 16)

struct msa_checkpoint {
    const unsigned char *bytes;
    size_t size;
    bool mapped;
    const char *format;
    msa_checkpoint_tensor *tensors; /* their names are this list's */
    int32_t n_tensors, room_tensors;
    msa_checkpoint_storage *storages;
    int32_t n_storages, room_storages;
    struct {
        char *key, *value;
    } * metadata;
    int32_t n_metadata;
};

/* Each fills in what the bytes of c hold. */
MSA_NODISCARD msa_status msa_checkpoint_read_archive(msa_checkpoint *c, msa_error *err);
MSA_NODISCARD msa_status msa_checkpoint_read_old(msa_checkpoint *c, msa_error *err);
MSA_NODISCARD msa_status msa_checkpoint_read_safetensors(msa_checkpoint *c, msa_error *err);
/* The first bytes of the older format: a pickle of one number. */
bool msa_checkpoint_is_old(const unsigned char *bytes, size_t size);

/* Its number in *index. Errors: MSA_E_NOMEM. */
MSA_NODISCARD msa_status msa_checkpoint_add_storage(msa_checkpoint *c, msa_checkpoint_storage s,
                                                    int32_t *index, msa_error *err);
/**
 * Checks that t (all but count and first are given) lies in its storage, `offset` elements from its start,
 * and adds it with a copy of its name. Errors: MSA_E_PARSE, MSA_E_UNSUPPORTED (elements that several indices
 * name), MSA_E_NOMEM.
 */
MSA_NODISCARD msa_status msa_checkpoint_add(msa_checkpoint *c, msa_checkpoint_tensor t, int64_t offset,
                                            msa_error *err);

#endif
