/* The strict reader of our own model files; it wants a path. */
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engine/io/config_json.h"
#include "engine/io/safetensors.h"
#include "tests/fuzz/fuzz.h"

static void use(const msa_safetensors *f)
{
    msa_config config;
    const char *json = msa_safetensors_metadata(f, "config");
    for (int32_t i = 0; i < msa_safetensors_count(f); i++) {
        const msa_tensor *t = msa_safetensors_at(f, i);
        volatile float sum = t->data[0] + t->data[t->count - 1];
        (void)sum;
        if (msa_safetensors_find(f, t->name) == NULL) __builtin_trap();
    }
    if (json != NULL && msa_config_parse(&config, json, NULL) == MSA_OK &&
        msa_config_check(&config, NULL) != MSA_OK)
        __builtin_trap();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    MSA_AUTO(msa_safetensors) f = NULL;
    MSA_AUTO_FD int fd = memfd_create("fuzz", MFD_CLOEXEC);
    msa_error err = MSA_ERROR_INIT;
    char path[32];
    if (fd < 0 || write(fd, bytes, size) != (ssize_t)size) return 0;
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (msa_safetensors_open(&f, path, &err) == MSA_OK)
        use(f);
    else if (err.what[0] == '\0' || f != NULL)
        __builtin_trap();
    return 0;
}
