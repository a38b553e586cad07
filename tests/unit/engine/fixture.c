#include "tests/unit/engine/fixture.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/io/safetensors.h"

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

msa_config fixture_plain_config(void)
{
    msa_config c = fixture_config();
    c.adapters = false;
    c.pad_order = MSA_NORM_THEN_PAD;
    return c;
}

msa_config fixture_efficient_config(void)
{
    msa_config c = fixture_config();
    c.family = MSA_FAMILY_EFFICIENTSAM;
    c.window = c.n_global = 0;
    c.decoder_wiring = MSA_WIRING_ESAM;
    c.block_norm_eps = 1e-5f;
    return c;
}

void fixture_fill(float *x, int64_t n, uint64_t seed, float scale)
{
    uint64_t s = seed * 0x9E3779B97F4A7C15ull + 1;
    for (int64_t i = 0; i < n; i++) {
        s = s * 6364136223846793005ull + 1442695040888963407ull;
        x[i] = scale * (float)((double)(s >> 40) / 8388608.0 - 1.0);
    }
}

/* A fixture that does not work has no result to report. */
static void must(bool ok)
{
    if (ok) return;
    (void)fprintf(stderr, "fixture: cannot prepare a model file\n");
    abort();
}

void fixture_tamper(void **state, const char *drop, const char *add, const char *poisoned, float poison)
{
    static const float one[1] = {1.0f};
    MSA_AUTO(msa_safetensors) f = NULL;
    MSA_AUTO_FREE float *copy = NULL;
    msa_tensor list[600];
    int32_t n = 0;
    must(msa_safetensors_open(&f, fixture_path(state, "m"), NULL) == MSA_OK);
    for (int32_t i = 0; i < msa_safetensors_count(f); i++) {
        const msa_tensor *t = msa_safetensors_at(f, i);
        if (drop != NULL && strcmp(t->name, drop) == 0) continue;
        must(n < 599);
        list[n] = *t;
        if (poisoned != NULL && strcmp(t->name, poisoned) == 0) {
            copy = malloc((size_t)t->count * sizeof *copy);
            must(copy != NULL);
            memcpy(copy, t->data, (size_t)t->count * sizeof *copy);
            copy[0] = poison;
            list[n].data = copy;
        }
        n++;
    }
    must(poisoned == NULL || copy != NULL);
    if (add != NULL) list[n++] = (msa_tensor){.name = add, .data = one, .rank = 1, .shape = {1}, .count = 1};
    const msa_metadata metadata[] = {{"config", msa_safetensors_metadata(f, "config")}};
    must(msa_safetensors_write(fixture_path(state, "t"), list, n, metadata, 1, NULL, NULL, NULL) == MSA_OK);
}
