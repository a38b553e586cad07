#include "engine/train/checkpoint.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/hash.h"
#include "engine/io/safetensors.h"
#include "engine/kern/vec.h"

/* Which parameters there are, which train, and the value of those that do not: a run goes on only on these.
 */
static msa_status digest_of(const msa_params *p, char hex[MSA_SHA256_HEX], msa_error *err)
{
    msa_sha256 *h = msa_sha256_new();
    if (h == NULL) return msa_fail(err, MSA_E_NOMEM, "no memory for a checkpoint");
    for (int32_t i = 0; i < p->n_list; i++) {
        char line[256];
        const msa_param *q = &p->list[i];
        const int n = snprintf(line, sizeof line, "%s %" PRId64 " %" PRId64 " %d\n", q->name, q->offset,
                               q->numel, q->trains);
        msa_sha256_update(h, line, (size_t)n);
    }
    msa_sha256_update(h, p->values + p->n_trained, (size_t)(p->n_values - p->n_trained) * sizeof *p->values);
    msa_sha256_hex(h, hex);
    msa_sha256_free(h);
    return MSA_OK;
}

/* The blocks of a checkpoint; those the optimiser does not have are NULL. */
typedef struct block {
    const char *name;
    float *data;
} block;

#define N_BLOCKS 4

static void blocks_of(const msa_trainer *t, block blocks[N_BLOCKS])
{
    const msa_optimizer *o = t->optimizer;
    const block all[N_BLOCKS] = {{"values", t->params->values}, {"m", o->m}, {"v", o->v}, {"ema", o->ema}};
    memcpy(blocks, all, sizeof all);
}

msa_status msa_checkpoint_save(const msa_trainer *t, const char *path, const char *recipe_hash,
                               msa_error *err)
{
    char digest[MSA_SHA256_HEX], step[24], seed[24], running[160];
    block blocks[N_BLOCKS];
    msa_tensor tensors[N_BLOCKS];
    int32_t n = 0;
    MSA_TRY(digest_of(t->params, digest, err));
    blocks_of(t, blocks);
    for (int32_t i = 0; i < N_BLOCKS; i++)
        if (blocks[i].data != NULL)
            tensors[n++] = (msa_tensor){.name = blocks[i].name,
                                        .data = blocks[i].data,
                                        .rank = 1,
                                        .shape = {t->params->n_trained},
                                        .count = t->params->n_trained};
    const msa_running *run = &t->running;
    (void)snprintf(step, sizeof step, "%" PRId64, t->optimizer->step);
    (void)snprintf(seed, sizeof seed, "%" PRIu64, t->options.seed);
    (void)snprintf(running, sizeof running, "%" PRId64 " %a %a %a", run->n, run->loss, run->dice_first,
                   run->dice_last); /* %a: every bit */
    const msa_metadata metadata[] = {{"kind", "msa checkpoint 1"},
                                     {"recipe", recipe_hash},
                                     {"parameters", digest},
                                     {"seed", seed},
                                     {"step", step},
                                     {"running", running}};
    return msa_safetensors_write(path, tensors, n, metadata, sizeof metadata / sizeof *metadata, NULL, NULL,
                                 err);
}

static msa_status expect(const msa_safetensors *f, const char *key, const char *wanted, const char *sentence,
                         msa_error *err)
{
    const char *found = msa_safetensors_metadata(f, key);
    if (found != NULL && strcmp(found, wanted) == 0) return MSA_OK;
    return msa_fail(err, MSA_E_INVALID, "%s", sentence);
}

static msa_status check_origin(const msa_trainer *t, const msa_safetensors *f, const char *recipe_hash,
                               msa_error *err)
{
    char digest[MSA_SHA256_HEX], seed[24];
    MSA_TRY(digest_of(t->params, digest, err));
    (void)snprintf(seed, sizeof seed, "%" PRIu64, t->options.seed);
    MSA_TRY(expect(f, "kind", "msa checkpoint 1", "the file is not a checkpoint of this version", err));
    MSA_TRY(expect(f, "recipe", recipe_hash, "the checkpoint belongs to another recipe", err));
    MSA_TRY(expect(f, "seed", seed, "the checkpoint belongs to another seed", err));
    return expect(f, "parameters", digest, "the checkpoint belongs to another model or base", err);
}

static msa_status check_blocks(const msa_trainer *t, const msa_safetensors *f, const block blocks[N_BLOCKS],
                               msa_error *err)
{
    for (int32_t i = 0; i < N_BLOCKS; i++) {
        const msa_tensor *s = msa_safetensors_find(f, blocks[i].name);
        if ((s != NULL) != (blocks[i].data != NULL) || (s != NULL && s->count != t->params->n_trained))
            return msa_fail(err, MSA_E_INVALID, "the checkpoint's %s is not what this optimiser keeps",
                            blocks[i].name);
        if (s != NULL && !msa_all_finite(s->count, s->data))
            return msa_fail(err, MSA_E_PARSE, "the checkpoint's %s holds a value that is not finite",
                            blocks[i].name);
    }
    return MSA_OK;
}

msa_status msa_checkpoint_load(msa_trainer *t, const char *path, const char *recipe_hash, msa_error *err)
{
    MSA_AUTO(msa_safetensors) f = NULL;
    block blocks[N_BLOCKS];
    msa_running run = {0};
    int64_t step = -1;
    MSA_TRY(msa_safetensors_open(&f, path, err));
    MSA_TRY(check_origin(t, f, recipe_hash, err));
    blocks_of(t, blocks);
    MSA_TRY(check_blocks(t, f, blocks, err));
    const char *step_text = msa_safetensors_metadata(f, "step");
    const char *run_text = msa_safetensors_metadata(f, "running");
    if (step_text == NULL || sscanf(step_text, "%" SCNd64, &step) != 1 || step < 0 || run_text == NULL ||
        sscanf(run_text, "%" SCNd64 " %la %la %la", &run.n, &run.loss, &run.dice_first, &run.dice_last) != 4)
        return msa_fail(err, MSA_E_PARSE, "the checkpoint does not say how far it came");
    for (int32_t i = 0; i < N_BLOCKS; i++) {
        const msa_tensor *s = msa_safetensors_find(f, blocks[i].name);
        if (s != NULL) memcpy(blocks[i].data, s->data, (size_t)s->count * sizeof(float));
    }
    t->optimizer->step = step;
    t->running = run;
    return MSA_OK;
}
