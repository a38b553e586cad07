/* What every source of samples has. Private to engine/train/data*.c. */
#ifndef MSA_ENGINE_TRAIN_DATA_SOURCE_H
#define MSA_ENGINE_TRAIN_DATA_SOURCE_H

#include "engine/train/data.h"

/* First member of each kind's own struct. */
struct msa_source {
    msa_status (*next)(const msa_source *s, uint64_t step, int32_t item, msa_sample *sample, msa_error *err);
    void (*free)(msa_source *s);
};

#endif
