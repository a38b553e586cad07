/* Replays the other members of the family: EfficientSAM as a whole, MobileSAM with and without adapters. */
#include <stdlib.h>
#include <string.h>

#include "engine/sam/internal.h"
#include "tests/golden/golden.h"

typedef struct replay {
    const golden_file *f;
    golden_report *r;
    msa_config c;
    msa_model *m;
    msa_predictor *plain, *watched;
    msa_tap tap;
    char scope[64]; /* what follows "out." in the names of what the tap sees */
    float *embedding;
} replay;

static float *floats(int64_t n)
{
    float *x = calloc((size_t)n + 1, sizeof *x);
    if (x == NULL) abort();
    return x;
}

/* ---- what the tap sees ---- */

static bool is_planes(const msa_tensor *t, int64_t rows)
{
    return t->rank == 4 && t->shape[2] * t->shape[3] == rows && t->shape[1] * t->shape[2] != rows;
}

/* The reference may hold every so many-th token, of planes every so many-th channel. */
static void compare_part(replay *p, const msa_tensor *t, const float *data, int64_t rows, int64_t C)
{
    const bool planes = is_planes(t, rows);
    const int64_t kept = planes ? t->shape[1] : t->count / C, all = planes ? C : rows;
    if (kept < 1 || all % kept != 0 || t->count != kept * (planes ? rows : C)) {
        golden_fail(p->r, "a result has another size than its reference");
        return;
    }
    float *part = floats(t->count);
    for (int64_t i = 0; i < t->count; i++) {
        const int64_t k = i / (planes ? rows : C) * (all / kept), rest = i % (planes ? rows : C);
        part[i] = planes ? data[rest * C + k] : data[k * C + rest];
    }
    golden_compare(p->r, t->name, part, t->count);
    free(part);
}

static void see(void *ctx, const char *name, const float *data, int64_t rows, int64_t C)
{
    replay *p = ctx;
    const msa_tensor *t = golden_findf(p->f, "out.%s%s", p->scope, name);
    if (t == NULL && strcmp(name, "neck.3") == 0) t = golden_findf(p->f, "out.%sneck", p->scope);
    if (t != NULL) compare_part(p, t, data, rows, C);
}

/* ---- encoder ---- */

static msa_status encode(replay *p, const char *scope, msa_error *err)
{
    const int64_t S = p->c.image_size, g = S / p->c.patch, n = 3 * S * S, P = p->c.prompt_dim;
    const msa_tensor *stored = golden_find(p->f, "in.image");
    const uint64_t key = msa_hash_key("in.image", golden_seed(p->f));
    if (stored != NULL && stored->count != n) return msa_fail(err, MSA_E_PARSE, "in.image has another size");
    MSA_AUTO_FREE float *image = floats(n);
    MSA_AUTO_FREE float *again = floats(g * g * P);
    for (int64_t i = 0; i < n; i++)
        image[i] = stored != NULL ? stored->data[i] : (float)(2.0 * msa_hash_unit(key, i));
    (void)snprintf(p->scope, sizeof p->scope, "%s", scope);
    MSA_TRY(msa_predictor_encode(p->watched, image, again, err));
    MSA_TRY(msa_predictor_encode(p->plain, image, p->embedding, err));
    for (int64_t i = 0; i < g * g * P; i++)
        if (!(again[i] - p->embedding[i] <= 1e-4F && p->embedding[i] - again[i] <= 1e-4F))
            return msa_fail(err, MSA_E_INTERNAL, "a watched encoder yields something else");
    return MSA_OK;
}

/* ---- prompts ---- */

/* name: "" or "CASE."; the inputs belong to all scopes. */
static msa_status replay_case(replay *p, const char *scope, const char *name, const msa_tensor *low_res,
                              msa_error *err)
{
    const msa_tensor *points = golden_findf(p->f, "in.%spoint_coords", name),
                     *labels = golden_findf(p->f, "in.%spoint_labels", name),
                     *box = golden_findf(p->f, "in.%sboxes", name);
    const int64_t g = p->c.image_size / p->c.patch, n = 16 * g * g * p->c.mask_tokens;
    msa_prompt_set s = {.box = box == NULL ? NULL : box->data};
    if (low_res->count != n || (box != NULL && box->count != 4) || (points == NULL) != (labels == NULL) ||
        (points != NULL && points->count != 2 * labels->count))
        return msa_fail(err, MSA_E_PARSE, "a case has sizes that do not fit");
    if (points != NULL) {
        s.points = points->data;
        s.labels = labels->data;
        s.n_points = (int32_t)labels->count;
    }
    MSA_AUTO_FREE float *logits = floats(n);
    MSA_AUTO_FREE float *iou = floats(p->c.mask_tokens);
    (void)snprintf(p->scope, sizeof p->scope, "%s%s", scope, name);
    MSA_TRY(msa_predictor_decode(p->watched, p->embedding, &s, logits, iou, err));
    golden_comparef(p->r, logits, n, "out.%slow_res", p->scope);
    MSA_TRY(msa_predictor_decode(p->plain, p->embedding, &s, logits, iou, err));
    golden_comparef(p->r, logits, n, "out.%slow_res", p->scope);
    golden_comparef(p->r, iou, p->c.mask_tokens, "out.%siou", p->scope);
    return MSA_OK;
}

/* Whatever has out.SCOPElow_res or out.SCOPECASE.low_res. */
static msa_status replay_cases(replay *p, const char *scope, msa_error *err)
{
    const size_t length = strlen(scope);
    for (int32_t i = 0; i < golden_count(p->f); i++) {
        const msa_tensor *t = golden_at(p->f, i);
        const char *end = strstr(t->name, "low_res");
        char name[32];
        if (strncmp(t->name, "out.", 4) != 0 || strncmp(t->name + 4, scope, length) != 0 || end == NULL)
            continue;
        (void)snprintf(name, sizeof name, "%.*s", (int)(end - t->name - 4 - (int64_t)length),
                       t->name + 4 + length);
        if (name[0] != '\0' && strchr(name, '.') != name + strlen(name) - 1) continue;
        MSA_TRY(replay_case(p, scope, name, t, err));
    }
    return MSA_OK;
}

/* ---- all of it ---- */

static msa_status replay_scope(replay *p, const char *scope, msa_error *err)
{
    const int64_t g = p->c.image_size / p->c.patch;
    p->embedding = floats(g * g * p->c.prompt_dim);
    MSA_TRY(golden_model(&p->m, p->f, &p->c, err));
    MSA_TRY(msa_predictor_new_watched(&p->watched, p->m, 1, &p->tap, err));
    MSA_TRY(msa_predictor_new(&p->plain, p->m, err));
    MSA_TRY(encode(p, scope, err));
    return replay_cases(p, scope, err);
}

static void check_scope(const golden_file *f, golden_report *r, const char *scope, bool adapters)
{
    msa_error err = MSA_ERROR_INIT;
    replay p = {.f = f, .r = r};
    p.tap = (msa_tap){see, &p};
    if (!golden_config(&p.c, f)) {
        golden_fail(r, "the metadata holds no configuration");
        return;
    }
    p.c.adapters = adapters;
    if (replay_scope(&p, scope, &err) != MSA_OK) golden_fail(r, err.what);
    msa_predictor_free(p.plain);
    msa_predictor_free(p.watched);
    msa_model_free(p.m);
    free(p.embedding);
}

void golden_check_efficient(const golden_file *f, golden_report *r)
{
    check_scope(f, r, "", true);
}

void golden_check_mobile(const golden_file *f, golden_report *r)
{
    check_scope(f, r, "sub.plain.", false);
    check_scope(f, r, "sub.adpt.", true);
}
