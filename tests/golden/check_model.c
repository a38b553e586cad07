/* Replays image encoder, prompt cases and post-processing of a model file. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "engine/sam/image_encoder.h"
#include "engine/sam/internal.h"
#include "engine/volume/finish.h"
#include "engine/volume/select.h"
#include "tests/golden/golden.h"

/* Results gathered prompt by prompt, or slice by slice, until the reference tensor is complete. */
typedef struct gathered {
    const msa_tensor *ref;
    float *data;
    int64_t filled;
} gathered;

typedef struct replay {
    const golden_file *f;
    golden_report *r;
    msa_config c;
    msa_model *m;
    msa_predictor *plain, *watched;
    msa_tap tap;
    char scope[96]; /* "out." or "out.box.": where the tap's names belong */
    gathered *g;
    int32_t n_gathered;
    int32_t grid_h, grid_w;
    int32_t slices;
    float *embedding; /* (slices, P, grid_h, grid_w) */
} replay;

/* (rows, C) to (C, rows) */
static void transpose(const float *x, int64_t rows, int64_t C, float *y)
{
    for (int64_t i = 0; i < rows; i++)
        for (int64_t c = 0; c < C; c++)
            y[c * rows + i] = x[i * C + c];
}

/* "[64, 48]" */
static bool read_pair(const golden_file *f, const char *key, int32_t pair[2])
{
    const char *text = golden_meta(f, key);
    return text != NULL && sscanf(text, "[%" SCNd32 ", %" SCNd32 "]", &pair[0], &pair[1]) == 2;
}

/* ---- gathering what the tap sees ---- */

static gathered *gather_for(replay *p, const msa_tensor *ref)
{
    for (int32_t i = 0; i < p->n_gathered; i++)
        if (p->g[i].ref == ref) return &p->g[i];
    gathered *g = &p->g[p->n_gathered++];
    *g = (gathered){ref, calloc((size_t)ref->count, sizeof(float)), 0};
    if (g->data == NULL) abort();
    return g;
}

/* Reference grids that are stored channels-first; the tap's are channels-last. */
static bool is_planes(const char *name)
{
    return strncmp(name, "neck.", 5) == 0 || strcmp(name, "dense") == 0 || strcmp(name, "upscaled") == 0;
}

static void see(void *ctx, const char *name, const float *data, int64_t rows, int64_t C)
{
    replay *p = ctx;
    const msa_tensor *ref = golden_findf(p->f, "%s%s", p->scope, name);
    if (ref == NULL) return;
    gathered *g = gather_for(p, ref);
    if (g->filled + rows * C > ref->count) {
        golden_fail(p->r, "a result is larger than its reference");
        return;
    }
    float *to = g->data + g->filled;
    if (is_planes(name))
        transpose(data, rows, C, to);
    else
        memcpy(to, data, (size_t)(rows * C) * sizeof *to);
    g->filled += rows * C;
}

static void compare_gathered(replay *p)
{
    for (int32_t i = 0; i < p->n_gathered; i++) {
        if (p->g[i].filled == p->g[i].ref->count)
            golden_compare(p->r, p->g[i].ref->name, p->g[i].data, p->g[i].ref->count);
        else
            golden_fail(p->r, "a result is smaller than its reference");
        free(p->g[i].data);
    }
    p->n_gathered = 0;
}

/* out.sub.NAME (1, h / sy, w / sx, C / sc): every sy-th row, sx-th column and sc-th channel of a grid. */
static void see_subset(replay *p, const char *name, const float *data, int64_t rows, int64_t C)
{
    const msa_tensor *ref = golden_findf(p->f, "out.sub.%s", name);
    if (ref == NULL || ref->rank != 4 || rows != (int64_t)p->grid_h * p->grid_w) return;
    const int64_t h = ref->shape[1], w = ref->shape[2], n = ref->shape[3];
    const int64_t sy = p->grid_h / h, sx = p->grid_w / w, sc = C / n;
    float *part = calloc((size_t)ref->count, sizeof *part), *to = part;
    if (part == NULL) abort();
    for (int64_t y = 0; y < h; y++)
        for (int64_t x = 0; x < w; x++)
            for (int64_t c = 0; c < n; c++)
                *to++ = data[(y * sy * p->grid_w + x * sx) * C + c * sc];
    golden_compare(p->r, ref->name, part, ref->count);
    free(part);
}

static void see_encoder(void *ctx, const char *name, const float *data, int64_t rows, int64_t C)
{
    replay *p = ctx;
    if (strcmp(name, "neck.3") == 0 && p->plain != NULL) return; /* compared as the public call returns it */
    see(p, name, data, rows, C);
    see_subset(p, name, data, rows, C);
}

/* ---- encoder ---- */

static float *hashed_input(const char *name, uint64_t seed, double scale, int64_t n)
{
    const uint64_t key = msa_hash_key(name, seed);
    float *x = calloc((size_t)n, sizeof *x);
    if (x == NULL) abort();
    for (int64_t i = 0; i < n; i++)
        x[i] = (float)(scale * msa_hash_unit(key, i));
    return x;
}

static void compare_dense_pe(replay *p)
{
    const int64_t n = (int64_t)p->grid_h * p->grid_w * p->c.prompt_dim;
    if (golden_find(p->f, "out.dense_pe") == NULL) return;
    float *planes = calloc((size_t)n, sizeof *planes);
    if (planes == NULL) abort();
    transpose(msa_model_tables(p->m)->dense_pe, n / p->c.prompt_dim, p->c.prompt_dim, planes);
    golden_compare(p->r, "out.dense_pe", planes, n);
    free(planes);
}

/* One image, or a stack of them; the results are named SCOPEblock.0 and so on. */
static msa_status replay_encoder(replay *p, const char *scope, const float *images, msa_error *err)
{
    const int64_t n = (int64_t)p->grid_h * p->grid_w * p->c.prompt_dim;
    (void)snprintf(p->scope, sizeof p->scope, "%s", scope);
    p->tap.see = see_encoder;
    const msa_status status =
        p->slices == 1 ? msa_predictor_encode(p->watched, images, p->embedding, err)
                       : msa_predictor_encode_stack(p->watched, p->slices, images, p->embedding, err);
    compare_gathered(p);
    MSA_TRY(status);
    if (p->slices == 1)
        MSA_TRY(msa_predictor_encode(p->plain, images, p->embedding, err));
    else
        MSA_TRY(msa_predictor_encode_stack(p->plain, p->slices, images, p->embedding, err));
    golden_comparef(p->r, p->embedding, p->slices * n, "%sneck.3", scope);
    return MSA_OK;
}

/* ---- prompt cases ---- */

typedef struct prompt_case {
    const char *name;
    const msa_tensor *points, *labels, *boxes, *low_res;
    const float *mask;      /* (rows, 4g, 4g) */
    float *made_mask;       /* its owner when it is hashed and not stored */
    int64_t rows, per_mask; /* values of one mask */
    float *logits, *iou;    /* (rows, mask_tokens, ...) */
} prompt_case;

static msa_prompt_set prompt_row(const prompt_case *k, int64_t row)
{
    msa_prompt_set s = {0};
    if (k->points != NULL && k->labels != NULL) {
        s.n_points = (int32_t)k->points->shape[1];
        s.points = k->points->data + row * s.n_points * 2;
        s.labels = k->labels->data + row * s.n_points;
    }
    if (k->boxes != NULL) s.box = k->boxes->data + row * 4;
    if (k->mask != NULL) s.mask = k->mask + row * k->per_mask;
    return s;
}

static msa_status decode_rows(replay *p, const prompt_case *k, msa_error *err)
{
    const int64_t M = p->c.mask_tokens, n = (int64_t)p->grid_h * p->grid_w * p->c.prompt_dim;
    (void)snprintf(p->scope, sizeof p->scope, "out.%s.", k->name);
    p->tap.see = see;
    msa_status status = MSA_OK;
    for (int64_t row = 0; row < k->rows && status == MSA_OK; row++) {
        const msa_prompt_set s = prompt_row(k, row);
        const float *embedding =
            p->embedding + (p->slices > 1 ? row * n : 0); /* else: prompts of one image */
        float *logits = k->logits + row * M * k->per_mask, *iou = k->iou + row * M;
        status = msa_predictor_decode(p->watched, embedding, &s, logits, iou, err);
        if (status == MSA_OK) status = msa_predictor_decode(p->plain, embedding, &s, logits, iou, err);
    }
    compare_gathered(p);
    return status;
}

static void compare_selection(replay *p, const prompt_case *k, const char *which, bool multi)
{
    const int64_t M = p->c.mask_tokens;
    int32_t first = 0, count = 0;
    msa_mask_range(&p->c, multi, &first, &count);
    float *masks = calloc((size_t)(k->rows * count * k->per_mask), sizeof *masks);
    float *iou = calloc((size_t)(k->rows * count), sizeof *iou);
    if (masks == NULL || iou == NULL) abort();
    for (int64_t b = 0; b < k->rows; b++) {
        memcpy(masks + b * count * k->per_mask, k->logits + (b * M + first) * k->per_mask,
               (size_t)(count * k->per_mask) * sizeof *masks);
        memcpy(iou + b * count, k->iou + b * M + first, (size_t)count * sizeof *iou);
    }
    if (golden_findf(p->f, "out.%s.%s.low_res", k->name, which) != NULL)
        golden_comparef(p->r, masks, k->rows * count * k->per_mask, "out.%s.%s.low_res", k->name, which);
    if (golden_findf(p->f, "out.%s.%s.iou", k->name, which) != NULL)
        golden_comparef(p->r, iou, k->rows * count, "out.%s.%s.iou", k->name, which);
    free(masks);
    free(iou);
}

static void compare_post(replay *p, const prompt_case *k)
{
    const char *offset_text = golden_meta(p->f, "stability_offset");
    const float offset = offset_text == NULL ? 1.0f : strtof(offset_text, NULL);
    const int64_t masks = k->rows * p->c.mask_tokens;
    const int32_t S = p->c.image_size;
    int32_t in[2] = {S, S}, out[2] = {S, S};
    if (!read_pair(p->f, "post_input_size", in) || !read_pair(p->f, "post_original_size", out)) return;
    if (in[0] < 1 || in[1] < 1 || in[0] > S || in[1] > S || out[0] < 1 || out[1] < 1 || out[0] > 4096 ||
        out[1] > 4096)
        return;
    const int64_t area = (int64_t)out[0] * out[1];
    float *post = calloc((size_t)(masks * area), sizeof *post),
          *stability = calloc((size_t)masks, sizeof *stability);
    const msa_transform t = {.rows = out[0], .cols = out[1], .in_rows = in[0], .in_cols = in[1], .size = S};
    const msa_region whole = {0, 0, out[1], out[0]};
    MSA_AUTO(msa_finish) finish = NULL;
    msa_error err = MSA_ERROR_INIT;
    if (post == NULL || stability == NULL || msa_finish_new(&finish, &t, 4 * p->grid_w, &err) != MSA_OK)
        abort();
    for (int64_t m = 0; m < masks; m++) {
        if (msa_finish_logits(finish, k->logits + m * k->per_mask, whole, post + m * area, &err) != MSA_OK)
            abort();
        stability[m] = msa_mask_stability(k->logits + m * k->per_mask, k->per_mask, 0.0f, offset);
    }
    if (golden_findf(p->f, "out.%s.masks_post", k->name) != NULL)
        golden_comparef(p->r, post, masks * area, "out.%s.masks_post", k->name);
    if (golden_findf(p->f, "out.%s.stability", k->name) != NULL)
        golden_comparef(p->r, stability, masks, "out.%s.stability", k->name);
    free(stability);
    free(post);
}

/* Rows and sizes of a case must be what the decoder takes before anything is read through them. */
static bool case_fits(const replay *p, const prompt_case *k)
{
    const int64_t n = k->rows;
    if (p->slices > 1 && n != p->slices) return false;
    if (k->low_res->rank != 4 || k->low_res->shape[1] != p->c.mask_tokens ||
        k->low_res->count != n * p->c.mask_tokens * k->per_mask)
        return false;
    if (k->points != NULL && (k->points->rank != 3 || k->points->shape[0] != n || k->points->shape[2] != 2 ||
                              k->labels == NULL || k->labels->count * 2 != k->points->count))
        return false;
    return k->boxes == NULL || k->boxes->count == 4 * n;
}

/* Stored, or, in a file whose inputs are hashed, "in.mask2" for the case with points and "in.mask" for the
 * others. */
static bool find_mask(const replay *p, prompt_case *k)
{
    const msa_tensor *stored = golden_findf(p->f, "in.%s.mask_input", k->name);
    const int64_t n = k->rows * k->per_mask;
    if (stored != NULL) {
        k->mask = stored->data;
        return stored->count == n;
    }
    if (golden_find(p->f, "in.image") == NULL && strstr(k->name, "mask") != NULL)
        k->mask = k->made_mask =
            hashed_input(k->points != NULL ? "in.mask2" : "in.mask", golden_seed(p->f), 6.0, n);
    return true;
}

static msa_status replay_case(replay *p, const char *name, const msa_tensor *low_res, msa_error *err)
{
    prompt_case k = {.name = name, .low_res = low_res, .rows = low_res->shape[0]};
    k.points = golden_findf(p->f, "in.%s.point_coords", name);
    k.labels = golden_findf(p->f, "in.%s.point_labels", name);
    k.boxes = golden_findf(p->f, "in.%s.boxes", name);
    k.per_mask = 16 * (int64_t)p->grid_h * p->grid_w;
    if (!case_fits(p, &k) || !find_mask(p, &k))
        return msa_fail(err, MSA_E_PARSE, "case %s has sizes that do not fit", name);
    k.logits = calloc((size_t)low_res->count, sizeof *k.logits);
    k.iou = calloc((size_t)(k.rows * p->c.mask_tokens), sizeof *k.iou);
    if (k.logits == NULL || k.iou == NULL) abort();
    const msa_status status = decode_rows(p, &k, err);
    if (status == MSA_OK) {
        golden_compare(p->r, low_res->name, k.logits, low_res->count);
        golden_comparef(p->r, k.iou, k.rows * p->c.mask_tokens, "out.%s.iou", name);
        compare_selection(p, &k, "sel_single", false);
        compare_selection(p, &k, "sel_multi", true);
        compare_post(p, &k);
    }
    free(k.made_mask);
    free(k.logits);
    free(k.iou);
    return status;
}

/* A case is whatever has out.CASE.low_res. */
static msa_status replay_cases(replay *p, msa_error *err)
{
    for (int32_t i = 0; i < golden_count(p->f); i++) {
        const msa_tensor *t = golden_at(p->f, i);
        char name[64];
        int end = 0;
        if (sscanf(t->name, "out.%63[^.].low_res%n", name, &end) != 1 || end == 0 || t->name[end] != '\0')
            continue;
        MSA_TRY(replay_case(p, name, t, err));
    }
    return MSA_OK;
}

static msa_status open_predictors(replay *p, msa_error *err)
{
    MSA_TRY(golden_model(&p->m, p->f, &p->c, err));
    MSA_TRY(msa_predictor_new_watched(&p->watched, p->m, p->slices, &p->tap, err));
    return msa_predictor_new_stack(&p->plain, p->m, p->slices, err);
}

static void close_predictors(replay *p)
{
    msa_predictor_free(p->plain);
    msa_predictor_free(p->watched);
    msa_model_free(p->m);
    p->plain = p->watched = NULL;
    p->m = NULL;
}

/* Everything that hangs on the images. */
static msa_status replay_images(replay *p, const float *images, msa_error *err)
{
    const bool fixed = strcmp(golden_meta(p->f, "variant"), "sdtrans_fixed") == 0;
    p->grid_h = p->grid_w = p->c.image_size / p->c.patch;
    p->embedding = calloc((size_t)p->slices * (size_t)p->grid_h * (size_t)p->grid_w * (size_t)p->c.prompt_dim,
                          sizeof *p->embedding);
    if (p->embedding == NULL) abort();
    MSA_TRY(open_predictors(p, err));
    MSA_TRY(replay_encoder(p, "out.", images, err));
    compare_dense_pe(p);
    MSA_TRY(replay_cases(p, err));
    if (!fixed) return MSA_OK;
    close_predictors(p); /* the same weights with sequences on a line */
    p->c.depth_fold = MSA_DEPTH_LINE;
    MSA_TRY(open_predictors(p, err));
    return replay_encoder(p, "out.line.", images, err);
}

/* A file without images has those of the file beside it that runs the same volume another way. */
static msa_status open_sibling(const replay *p, golden_file **sibling, msa_error *err)
{
    static const char *const same[][2] = {{"c_msa2025_3d_nochunk", "c_msa2025_3d"},
                                          {"c_sdtrans_fixed_3d", "c_msa2023_3d"}};
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        const char *path = golden_path(p->f), *name = strstr(path, same[i][0]);
        char other[4096];
        if (name == NULL) continue;
        (void)snprintf(other, sizeof other, "%.*s%s.safetensors", (int)(name - path), path, same[i][1]);
        return golden_open(sibling, other, err);
    }
    return msa_fail(err, MSA_E_PARSE, "the file has no in.image");
}

static msa_status replay_model(replay *p, msa_error *err)
{
    const int64_t S = p->c.image_size;
    const msa_tensor *image = golden_find(p->f, "in.image");
    golden_file *sibling = NULL;
    const char *depth = golden_meta(p->f, "depth");
    p->slices = p->c.depth_grouping == MSA_DEPTH_NONE || depth == NULL ? 1 : (int32_t)strtol(depth, NULL, 10);
    if (image == NULL && p->slices == 1) {
        float *made = hashed_input("in.image", golden_seed(p->f), 2.0, 3 * S * S);
        const msa_status status = replay_images(p, made, err);
        free(made);
        return status;
    }
    if (image == NULL) {
        MSA_TRY(open_sibling(p, &sibling, err));
        image = golden_find(sibling, "in.image");
    }
    const msa_status status = image == NULL || image->count != p->slices * 3 * S * S
                                  ? msa_fail(err, MSA_E_PARSE, "in.image is not one image for each slice")
                                  : replay_images(p, image->data, err);
    golden_close(sibling);
    return status;
}

/* ---- encoder on other grids ---- */

/* out.HxW.rel_h_blockN (q, k, d): the table spread over all pairs of positions. */
static void compare_relative(replay *p, const msa_tables *t, const char *size, char axis, int32_t block)
{
    const msa_tensor *ref = golden_findf(p->f, "out.%s.rel_%c_block%d", size, axis, block);
    if (ref == NULL || ref->rank != 3 || ref->shape[0] != ref->shape[1]) return;
    const float *table = axis == 'h' ? t->rel_h[block] : t->rel_w[block];
    const int64_t n = ref->shape[0], d = ref->shape[2];
    float *spread = calloc((size_t)ref->count, sizeof *spread);
    if (spread == NULL) abort();
    for (int64_t i = 0; i < n; i++)
        for (int64_t k = 0; k < n; k++)
            memcpy(spread + (i * n + k) * d, table + (i - k + n - 1) * d, (size_t)d * sizeof *spread);
    golden_compare(p->r, ref->name, spread, ref->count);
    free(spread);
}

static msa_status encode_grid(replay *p, const msa_tables *t, const float *image, bool full, float *embedding,
                              msa_error *err)
{
    const msa_weights *w = msa_model_weights(p->m);
    msa_arena arena = {0};
    msa_encoder_work work = {0};
    msa_encoder_work_layout(&work, &arena, &p->c, w, t->h, t->w, full, 1);
    MSA_TRY(msa_arena_commit(&arena, err));
    msa_encoder_work_layout(&work, &arena, &p->c, w, t->h, t->w, full, 1);
    const msa_status status =
        msa_image_encode(&p->c, &w->encoder, t, &work, image, embedding, full ? &p->tap : NULL, err);
    msa_arena_release(&arena);
    return status;
}

static msa_status replay_size(replay *p, const msa_tensor *image, const char *size, msa_error *err)
{
    msa_tables t;
    const int64_t patch = p->c.patch, h = image->shape[2] / patch, w = image->shape[3] / patch;
    MSA_TRY(msa_tables_make(&t, &p->c, msa_model_weights(p->m), (int32_t)h, (int32_t)w, err));
    p->grid_h = (int32_t)h;
    p->grid_w = (int32_t)w;
    (void)snprintf(p->scope, sizeof p->scope, "out.%.40s.", size);
    p->tap.see = see_encoder;
    float *embedding = calloc((size_t)(h * w * p->c.prompt_dim), sizeof *embedding);
    if (embedding == NULL) abort();
    msa_status status = encode_grid(p, &t, image->data, true, embedding, err);
    compare_gathered(p);
    if (status == MSA_OK)
        status = encode_grid(p, &t, image->data, false, embedding, err); /* the way it is used */
    if (status == MSA_OK) golden_comparef(p->r, embedding, h * w * p->c.prompt_dim, "out.%s.neck.3", size);
    if (golden_findf(p->f, "out.%s.pos_embed_resized", size) != NULL)
        golden_comparef(p->r, t.pos_embed, h * w * p->c.dim, "out.%s.pos_embed_resized", size);
    for (int32_t i = 0; i < p->c.depth; i++) {
        compare_relative(p, &t, size, 'h', i);
        compare_relative(p, &t, size, 'w', i);
    }
    free(embedding);
    msa_tables_release(&t);
    return status;
}

static msa_status replay_sizes(replay *p, msa_error *err)
{
    p->slices = 1;
    MSA_TRY(golden_model(&p->m, p->f, &p->c, err));
    for (int32_t i = 0; i < golden_count(p->f); i++) {
        const msa_tensor *t = golden_at(p->f, i);
        if (strncmp(t->name, "in.image.", 9) != 0 || t->rank != 4 || t->shape[0] != 1 || t->shape[1] != 3 ||
            t->shape[2] < p->c.patch || t->shape[3] < p->c.patch)
            continue;
        MSA_TRY(replay_size(p, t, t->name + 9, err));
    }
    return MSA_OK;
}

void golden_check_model(const golden_file *f, golden_report *r)
{
    msa_error err = MSA_ERROR_INIT;
    replay p = {.f = f, .r = r};
    p.tap.ctx = &p;
    p.g = calloc((size_t)golden_count(f) + 1, sizeof *p.g);
    if (p.g == NULL || !golden_config(&p.c, f)) {
        golden_fail(r, "the metadata holds no configuration");
    } else {
        const bool encoder_only = strstr(golden_meta(f, "variant"), "encoder only") != NULL;
        const msa_status status = encoder_only ? replay_sizes(&p, &err) : replay_model(&p, &err);
        if (status != MSA_OK) golden_fail(r, err.what);
    }
    close_predictors(&p);
    free(p.embedding);
    free(p.g);
}
