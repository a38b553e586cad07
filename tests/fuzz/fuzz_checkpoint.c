/* Archives of torch.save(), its older format and foreign safetensors, and all their values. */
#include "engine/io/checkpoint.h"
#include "tests/fuzz/fuzz.h"

enum { READ_MAX = 4096, TENSORS_MAX = 256 };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    MSA_AUTO(msa_checkpoint) c = NULL;
    msa_error err = MSA_ERROR_INIT;
    float values[READ_MAX];
    if (msa_checkpoint_of_bytes(&c, bytes, size, &err) != MSA_OK) {
        if (err.what[0] == '\0' || c != NULL) __builtin_trap();
        return 0;
    }
    if (msa_checkpoint_count(c) == 0) __builtin_trap();
    for (int32_t i = 0; i < msa_checkpoint_count(c) && i < TENSORS_MAX; i++) {
        const msa_checkpoint_tensor *t = msa_checkpoint_at(c, i);
        const int64_t n = t->count < READ_MAX ? t->count : READ_MAX;
        msa_checkpoint_read(t, 0, n, values);
        msa_checkpoint_read(t, t->count - n, n, values);
        if (msa_checkpoint_check(c, t, NULL) != MSA_OK) continue;
    }
    return 0;
}
