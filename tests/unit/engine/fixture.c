#include "tests/unit/engine/fixture.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int fixture_folder(void **state)
{
    char *folder = strdup("/tmp/test_engine.XXXXXX");
    if (folder == NULL || mkdtemp(folder) == NULL) return -1;
    *state = folder;
    return 0;
}

int fixture_remove(void **state)
{
    DIR *d = opendir(*state);
    if (d == NULL) return -1;
    for (const struct dirent *e = readdir(d); e != NULL; e = readdir(d))
        if (e->d_name[0] != '.') (void)unlink(fixture_path(state, e->d_name));
    (void)closedir(d);
    const int rc = rmdir(*state);
    free(*state);
    return rc;
}

const char *fixture_path(void **state, const char *name)
{
    static char path[512];
    (void)snprintf(path, sizeof path, "%s/%s", (const char *)*state, name);
    return path;
}

msa_config fixture_config(void)
{
    return (msa_config){.image_size = 64,
                        .patch = 8,
                        .dim = 32,
                        .depth = 3,
                        .heads = 2,
                        .mlp_dim = 64,
                        .window = 5,
                        .n_global = 1,
                        .global_blocks = {1},
                        .prompt_dim = 32,
                        .decoder_depth = 2,
                        .decoder_heads = 4,
                        .decoder_mlp_dim = 48,
                        .iou_hidden = 24,
                        .mask_tokens = 4,
                        .adapters = true,
                        .adapter_mlp_scale = 0.5f,
                        .pad_order = MSA_PAD_THEN_NORM,
                        .name = "fixture",
                        .version = "1"};
}

void fixture_fill(float *x, int64_t n, uint64_t seed, float scale)
{
    uint64_t s = seed * 0x9E3779B97F4A7C15ull + 1;
    for (int64_t i = 0; i < n; i++) {
        s = s * 6364136223846793005ull + 1442695040888963407ull;
        x[i] = scale * (float)((double)(s >> 40) / 8388608.0 - 1.0);
    }
}
