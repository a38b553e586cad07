#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/train/data.h"
#include "engine/train/trainer.h"
#include "engine/volume/crop.h"
#include "tests/unit/engine/fixture.h"
#include "tests/unit/train/nifti_file.h"
#include "tests/unit/volume/cm.h"

enum { SIZE = 48, TARGETS = 3, W = 40, H = 32, D = 12, VOXELS = W * H * D };

/* Labels 5 (a box that is 300 HU) and 9 (a small one, 120 HU) in soft tissue, air at the rim. */
static void fill(float *v, uint16_t *labels)
{
    for (int d = 0; d < D; d++)
        for (int h = 0; h < H; h++)
            for (int w = 0; w < W; w++) {
                const int i = (d * H + h) * W + w;
                const bool five = w >= 8 && w < 20 && h >= 6 && h < 22 && d >= 2 && d < 9;
                const bool nine = w >= 28 && w < 33 && h >= 20 && h < 24 && d >= 5 && d < 8;
                labels[i] = five ? 5 : nine ? 9 : 0;
                v[i] = five ? 300 : nine ? 120 : w == 0 || h == 0 ? -1000 : 40;
            }
}

static msa_case *make_case(bool ct)
{
    static const int32_t size[3] = {D, H, W};
    static const float spacing[3] = {3, 1, 1};
    static const msa_label_name names[2] = {{.value = 5, .name = "five"}, {.value = 9, .name = "nine"}};
    float *v = malloc(VOXELS * sizeof *v);
    uint16_t *labels = malloc(VOXELS * sizeof *labels);
    assert_non_null(v);
    assert_non_null(labels);
    fill(v, labels);
    msa_case *c;
    msa_error err = MSA_ERROR_INIT;
    if (msa_case_new(&c, "box", size, spacing, ct, v, labels, 1, names, 2, &err) != MSA_OK)
        fail_msg("%s", err.what);
    return c;
}

static msa_source *make_volumes(const msa_volumes_options *o)
{
    msa_case *c = make_case(true);
    msa_source *s;
    msa_error err = MSA_ERROR_INIT;
    if (msa_source_volumes(&s, &c, 1, o, &err) != MSA_OK) fail_msg("%s", err.what);
    return s;
}

static int32_t middle_area(const msa_sample *s)
{
    const size_t plane = (size_t)s->size * (size_t)s->size;
    int32_t area = 0;
    for (size_t i = 0; i < plane; i++)
        area += s->targets[(size_t)(s->depth / 2) * plane + i];
    return area;
}

static void next(const msa_source *source, uint64_t step, int32_t item, msa_sample *s)
{
    msa_error err = MSA_ERROR_INIT;
    if (msa_source_next(source, step, item, s, &err) != MSA_OK) fail_msg("%s", err.what);
}

static bool same(const msa_sample *a, const msa_sample *b)
{
    const size_t n = (size_t)a->depth * (size_t)a->size * (size_t)a->size;
    return a->rows == b->rows && a->cols == b->cols && strcmp(a->label, b->label) == 0 &&
           a->n_targets == b->n_targets && memcmp(a->image, b->image, n * sizeof *a->image) == 0 &&
           memcmp(a->targets, b->targets, (size_t)a->n_targets * n) == 0;
}

static void volumes_give_sound_samples(void **state)
{
    msa_volumes_options o = msa_volumes_defaults(3);
    o.all_orientations = true;
    MSA_AUTO(msa_source) source = make_volumes(&o);
    MSA_AUTO(msa_sample) a = NULL;
    MSA_AUTO(msa_sample) b = NULL;
    int fives = 0, nines = 0;
    (void)state;
    for (int32_t depth = 1; depth <= 3; depth += 2) {
        msa_sample_free(a);
        msa_sample_free(b);
        assert_int_equal(msa_sample_new(&a, depth, SIZE, TARGETS, NULL), MSA_OK);
        assert_int_equal(msa_sample_new(&b, depth, SIZE, TARGETS, NULL), MSA_OK);
        for (uint64_t k = 0; k < 150; k++) {
            next(source, k, 1, a);
            next(source, k, 1, b);
            assert_true(same(a, b));
            assert_true(middle_area(a) >= o.min_pixels);
            assert_string_equal(a->source, "box");
            fives += strcmp(a->label, "five") == 0;
            nines += strcmp(a->label, "nine") == 0;
            assert_true(a->rows <= SIZE && a->cols <= SIZE && (a->rows == SIZE || a->cols == SIZE));
            for (int i = 0; i < depth * SIZE * SIZE; i++) {
                assert_true(a->image[i] >= 0 && a->image[i] <= 1 && a->targets[i] <= 1);
                const int y = i / SIZE % SIZE, x = i % SIZE;
                if (y >= a->rows || x >= a->cols) assert_true(a->image[i] == 0 && a->targets[i] == 0);
            }
        }
    }
    assert_int_equal(fives + nines, 300);
    assert_in_range(nines, 100, 200); /* labels count the same, however small */
}

/* Without augmentation the target is what is bright: 300 HU in the usual windows. */
static void targets_lie_on_their_object(void **state)
{
    msa_volumes_options o = msa_volumes_defaults(8);
    MSA_AUTO(msa_source) source = NULL;
    MSA_AUTO(msa_sample) s = NULL;
    o.augment_chance = 0;
    source = make_volumes(&o);
    (void)state;
    assert_int_equal(msa_sample_new(&s, 1, SIZE, TARGETS, NULL), MSA_OK);
    for (uint64_t k = 0; k < 60; k++) {
        double in = 0, out = 0, n_in = 0, n_out = 0;
        next(source, k, 0, s);
        if (strcmp(s->label, "five") != 0) continue;
        for (int y = 0; y < s->rows; y++)
            for (int x = 0; x < s->cols; x++) {
                const int i = y * SIZE + x;
                *(s->targets[i] ? &in : &out) += (double)s->image[i];
                *(s->targets[i] ? &n_in : &n_out) += 1;
            }
        assert_true(n_in / (n_in + n_out) < 0.7); /* there is a margin */
        assert_true(n_out > 0 && in / n_in > out / n_out + 0.03);
    }
}

/* A slice with two labels, one of them in two parts: bright 5 left and right, 9 between them. */
static msa_case *make_parts(float row_mm, float col_mm)
{
    enum { SIDE = 64 };
    static const int32_t size[3] = {1, SIDE, SIDE};
    const float spacing[3] = {5, row_mm, col_mm};
    float *v = malloc(SIDE * SIDE * sizeof *v);
    uint16_t *labels = malloc(SIDE * SIDE * sizeof *labels);
    msa_case *c;
    msa_error err = MSA_ERROR_INIT;
    assert_non_null(v);
    assert_non_null(labels);
    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++) {
            const int i = y * SIDE + x;
            const bool left = x >= 20 && x < 28 && y >= 24 && y < 36, right = x >= 38 && x < 42 && left == 0;
            const bool five = left || (right && y >= 28 && y < 34),
                       nine = x >= 30 && x < 36 && y >= 26 && y < 34;
            labels[i] = five ? 5 : nine ? 9 : 0;
            v[i] = five ? 200 : nine ? 120 : 0;
        }
    v[0] = -1000;
    if (msa_case_new(&c, "parts", size, spacing, true, v, labels, 1, NULL, 0, &err) != MSA_OK)
        fail_msg("%s", err.what);
    return c;
}

/* Pieces of a mask, corners joined, and its largest side over the picture's. */
static int32_t pieces(const uint8_t *mask, double *side)
{
    static uint8_t left[SIZE * SIZE];
    static int32_t stack[SIZE * SIZE];
    int32_t found = 0, x0 = SIZE, x1 = 0, y0 = SIZE, y1 = 0;
    memcpy(left, mask, sizeof left);
    for (int32_t start = 0; start < SIZE * SIZE; start++) {
        int32_t n = 0;
        if (!left[start]) continue;
        found++;
        stack[n++] = start;
        left[start] = 0;
        while (n > 0) {
            const int32_t i = stack[--n], x = i % SIZE, y = i / SIZE;
            x0 = x < x0 ? x : x0;
            y0 = y < y0 ? y : y0;
            x1 = x > x1 ? x : x1;
            y1 = y > y1 ? y : y1;
            for (int32_t b = y - 1; b <= y + 1; b++)
                for (int32_t a = x - 1; a <= x + 1; a++)
                    if (a >= 0 && b >= 0 && a < SIZE && b < SIZE && left[b * SIZE + a]) {
                        left[b * SIZE + a] = 0;
                        stack[n++] = b * SIZE + a;
                    }
        }
    }
    *side = (double)(x1 - x0 > y1 - y0 ? x1 - x0 + 1 : y1 - y0 + 1) / SIZE;
    return found;
}

/* Half of the targets are one part, half the whole label; other labels of the crop are targets too, and the
 * crop leaves the margins that were asked for. */
static void slices_have_several_targets(void **state)
{
    msa_volumes_options o = msa_volumes_defaults(8);
    msa_case *c = make_parts(1, 1);
    MSA_AUTO(msa_source) source = NULL;
    MSA_AUTO(msa_sample) s = NULL;
    int both = 0, whole = 0, five = 0, one_part = 0;
    (void)state;
    o.augment_chance = 0;
    o.crop_chance = 1;
    assert_int_equal(msa_source_volumes(&source, &c, 1, &o, NULL), MSA_OK);
    assert_int_equal(msa_sample_new(&s, 1, SIZE, TARGETS, NULL), MSA_OK);
    for (uint64_t k = 0; k < 200; k++) {
        double side;
        next(source, k, 0, s);
        assert_in_range(s->n_targets, 1, 2);
        both += s->n_targets == 2;
        const int32_t n = pieces(s->targets, &side);
        if (strcmp(s->label, "label 9") == 0) assert_int_equal(n, 1);
        five += strcmp(s->label, "label 5") == 0;
        whole += n == 2;
        one_part += strcmp(s->label, "label 5") == 0 && n == 1;
        if (s->rows == SIZE && s->cols == SIZE)
            assert_true(side > 0.28 && side < 0.86); /* 1 / (1 + 2 * 1.0), 1 / (1 + 2 * 0.12), rounded */
        for (int i = 0; i < SIZE * SIZE && s->n_targets == 2; i++)
            assert_false(s->targets[i] && s->targets[SIZE * SIZE + i]);
    }
    assert_in_range(five, 70, 130);
    assert_in_range(whole, five * 3 / 10, five * 7 / 10);
    assert_int_equal(whole + one_part, five);
    assert_in_range(both, 120, 200);
}

/* A tumour in an organ: the organ's layer goes on below it. */
static void objects_may_lie_over_each_other(void **state)
{
    enum { SIDE = 64, N = SIDE * SIDE };
    static const int32_t one_slice[3] = {1, SIDE, SIDE};
    static const float spacing[3] = {5, 1, 1};
    static const msa_label_name names[3] = {{.value = 1, .name = "organ"},
                                            {.value = 1, .layer = 1, .name = "tumour"},
                                            {.value = 2, .layer = 1, .name = "never", .held_out = true}};
    float *v = calloc(N, sizeof *v);
    uint16_t *labels = calloc(2 * N, sizeof *labels);
    MSA_AUTO(msa_source) source = NULL;
    MSA_AUTO(msa_sample) s = NULL;
    msa_case *c;
    int organs = 0, both = 0;
    (void)state;
    assert_non_null(v);
    assert_non_null(labels);
    for (int i = 0; i < N; i++) {
        const int x = i % SIDE, y = i / SIDE;
        labels[i] = x >= 16 && x < 40 && y >= 20 && y < 44;
        labels[N + i] = x >= 24 && x < 32 && y >= 28 && y < 36 ? 1 : x < 8 && y < 8 ? 2 : 0;
        v[i] = labels[N + i] == 1 ? 90 : labels[i] ? 40 : -900;
    }
    assert_int_equal(msa_case_new(&c, "layers", one_slice, spacing, true, v, labels, 2, names, 3, NULL),
                     MSA_OK);
    msa_volumes_options o = msa_volumes_defaults(1);
    o.augment_chance = 0;
    assert_int_equal(msa_source_volumes(&source, &c, 1, &o, NULL), MSA_OK);
    assert_int_equal(msa_sample_new(&s, 1, SIZE, TARGETS, NULL), MSA_OK);
    for (uint64_t k = 0; k < 60; k++) {
        next(source, k, 0, s);
        const bool organ = strcmp(s->label, "organ") == 0;
        assert_true(organ || strcmp(s->label, "tumour") == 0);
        organs += organ;
        both += s->n_targets == 2;
        for (int i = 0; organ && s->n_targets == 2 && i < SIZE * SIZE; i++)
            if (s->targets[SIZE * SIZE + i]) assert_int_equal(s->targets[i], 1);
    }
    assert_in_range(organs, 15, 45);
    assert_true(both > organs / 2);
    msa_case *none;
    assert_int_equal(msa_case_new(&none, "none", one_slice, spacing, true, calloc(N, sizeof *v),
                                  calloc(N, sizeof *labels), 0, NULL, 0, NULL),
                     MSA_E_INVALID);
}

/* What engine/volume/crop.c looks at for a tight box with that margin is what is learned from. */
static void crops_are_those_of_inference(void **state)
{
    msa_volumes_options o = msa_volumes_defaults(8);
    msa_case *c = make_parts(1, 2);
    MSA_AUTO(msa_source) source = NULL;
    MSA_AUTO(msa_sample) s = NULL;
    const msa_config config = {
        .geometry = MSA_GEOMETRY_LONGEST_SIDE, .image_size = SIZE, .crop_margin = 0.3F};
    const float spacing[2] = {1, 2};
    const msa_crop_rule rule = msa_crop_rule_make(&config, 64, 64, spacing);
    int nines = 0;
    (void)state;
    o.augment_chance = 0;
    o.crop_chance = 1;
    o.margin_min = o.margin_max = 0.3F;
    assert_int_equal(msa_source_volumes(&source, &c, 1, &o, NULL), MSA_OK);
    assert_int_equal(msa_sample_new(&s, 1, SIZE, 1, NULL), MSA_OK);
    for (uint64_t k = 0; k < 60; k++) {
        int32_t x0 = SIZE, y0 = SIZE, x1 = 0, y1 = 0;
        next(source, k, 0, s);
        if (strcmp(s->label, "label 9") != 0) continue; /* 6 x 8 pixels, 12 x 8 mm; 32 mm are looked at */
        const msa_transform t = msa_crop_around(&rule, (msa_box){30, 26, 36, 34}, NULL, NULL, 0);
        assert_near(s->rows, t.in_rows, 2); /* a shift takes in parts of pixels at either end */
        assert_near(s->cols, t.in_cols, 2);
        for (int i = 0; i < SIZE * SIZE; i++) {
            if (!s->targets[i]) continue;
            x0 = i % SIZE < x0 ? i % SIZE : x0;
            x1 = i % SIZE + 1 > x1 ? i % SIZE + 1 : x1;
            y0 = i / SIZE < y0 ? i / SIZE : y0;
            y1 = i / SIZE + 1 > y1 ? i / SIZE + 1 : y1;
        }
        assert_near(x1 - x0, 6.0 * t.in_cols / t.cols, 3);
        assert_near(y1 - y0, 8.0 * t.in_rows / t.rows, 3);
        nines++;
    }
    assert_in_range(nines, 15, 45);
}

/* Masks of one sample stay where their objects are, however it is turned: 5 is the brighter one. */
static void targets_turn_together(void **state)
{
    msa_volumes_options o = msa_volumes_defaults(9);
    msa_case *c = make_parts(1, 1);
    MSA_AUTO(msa_source) source = NULL;
    MSA_AUTO(msa_sample) s = NULL;
    int right = 0, both = 0;
    (void)state;
    o.augment_chance = 1;
    assert_int_equal(msa_source_volumes(&source, &c, 1, &o, NULL), MSA_OK);
    assert_int_equal(msa_sample_new(&s, 1, SIZE, TARGETS, NULL), MSA_OK);
    for (uint64_t k = 0; k < 200; k++) {
        double mean[2] = {0, 0}, n[2] = {0, 0};
        next(source, k, 0, s);
        if (s->n_targets != 2) continue;
        both++;
        for (int i = 0; i < 2 * SIZE * SIZE; i++) {
            if (!s->targets[i]) continue;
            mean[i / (SIZE * SIZE)] += (double)s->image[i % (SIZE * SIZE)];
            n[i / (SIZE * SIZE)]++;
        }
        assert_true(n[0] >= o.min_pixels && n[1] >= o.min_pixels);
        right += (mean[0] / n[0] > mean[1] / n[1]) == (strcmp(s->label, "label 5") == 0);
    }
    assert_true(both > 100);
    assert_true(right * 10 > both * 9); /* but for the inverted and the noisiest */
}

static void held_out_labels_are_no_targets(void **state)
{
    const msa_volumes_options o = msa_volumes_defaults(1);
    msa_case *c = make_case(true);
    MSA_AUTO(msa_source) source = NULL;
    MSA_AUTO(msa_sample) s = NULL;
    msa_source *none;
    (void)state;
    assert_false(msa_case_hold_out(c, "ten"));
    assert_true(msa_case_hold_out(c, "five"));
    assert_int_equal(msa_source_volumes(&source, &c, 1, &o, NULL), MSA_OK);
    assert_int_equal(msa_sample_new(&s, 1, SIZE, TARGETS, NULL), MSA_OK);
    for (uint64_t k = 0; k < 60; k++) {
        next(source, k, 0, s);
        assert_string_equal(s->label, "nine");
    }
    c = make_case(true);
    assert_true(msa_case_hold_out(c, "five") && msa_case_hold_out(c, "nine"));
    assert_int_equal(msa_source_volumes(&none, &c, 1, &o, NULL), MSA_E_INVALID); /* and c is freed */
    assert_null(none);
    assert_int_equal(msa_source_volumes(&none, &c, 0, &o, NULL), MSA_E_INVALID);
}

/* Cases "0", "1", ...; number `empty` has no label, number `broken` cannot be opened. */
typedef struct stack_of_cases {
    int32_t opened, empty, broken;
} stack_of_cases;

static msa_status open_numbered(void *ctx, int32_t number, msa_case **out, msa_error *err)
{
    stack_of_cases *s = ctx;
    s->opened++;
    *out = NULL;
    if (number == s->broken) return msa_fail(err, MSA_E_IO, "case %d is broken", number);
    *out = make_case(true);
    (void)snprintf((*out)->name, sizeof(*out)->name, "%d", number);
    for (int i = 0; number == s->empty && i < VOXELS; i++)
        (*out)->labels[i] = 0;
    return MSA_OK;
}

enum { CASES = 7, AT_ONCE = 2, RENEW = 5, STEPS = 80 };

static msa_source *make_shelf(stack_of_cases *s)
{
    msa_volumes_options o = msa_volumes_defaults(4);
    const msa_case_set set = {.n = CASES, .open = open_numbered, .ctx = s};
    msa_source *source;
    o.at_once = AT_ONCE;
    o.renew_every = RENEW;
    assert_int_equal(msa_source_case_set(&source, &set, &o, NULL), MSA_OK);
    return source;
}

/* Few cases in memory: all have their turn, a step's samples are the same wherever a run begins, and a case
 * without a target is passed over. */
static void cases_take_turns(void **state)
{
    stack_of_cases a = {.empty = 3, .broken = -1}, b = a;
    MSA_AUTO(msa_source) whole = make_shelf(&a);
    MSA_AUTO(msa_sample) s = NULL;
    MSA_AUTO(msa_sample) t = NULL;
    int seen[CASES] = {0}, kinds = 0;
    (void)state;
    assert_int_equal(a.opened, AT_ONCE);
    assert_int_equal(msa_sample_new(&s, 1, SIZE, TARGETS, NULL), MSA_OK);
    assert_int_equal(msa_sample_new(&t, 1, SIZE, TARGETS, NULL), MSA_OK);
    for (uint64_t step = 0; step < STEPS; step++) {
        bool here[CASES] = {false};
        int at_once = 0;
        for (int32_t item = 0; item < 8; item++) {
            next(whole, step, item, s);
            seen[atoi(s->source)]++;
            here[atoi(s->source)] = true;
        }
        for (int k = 0; k < CASES; k++)
            at_once += here[k];
        assert_in_range(at_once, 1, AT_ONCE);
    }
    for (int k = 0; k < CASES; k++)
        kinds += seen[k] > 20;
    assert_int_equal(kinds, CASES - 1);
    assert_int_equal(seen[a.empty], 0);
    assert_true(a.opened > CASES + 2); /* some were closed and opened again */
    MSA_AUTO(msa_source) late = make_shelf(&b);
    MSA_AUTO(msa_loader) l = NULL; /* several threads open and close at once */
    assert_int_equal(msa_loader_new(&l, late, STEPS / 2, 4, 1, SIZE, TARGETS, 3, 40, NULL), MSA_OK);
    for (uint64_t step = STEPS / 2; step < STEPS; step++)
        for (int32_t item = 0; item < 4; item++) {
            next(whole, step, item, s);
            assert_int_equal(msa_loader_next(l, t, NULL), MSA_OK);
            assert_true(same(s, t) && strcmp(s->source, t->source) == 0);
        }
}

static void a_broken_case_shows_when_it_is_opened(void **state)
{
    stack_of_cases c = {.empty = -1, .broken = 5};
    const msa_case_set set = {.n = CASES, .open = open_numbered, .ctx = &c};
    msa_volumes_options o = msa_volumes_defaults(4);
    MSA_AUTO(msa_sample) s = NULL;
    msa_source *none;
    msa_error err = MSA_ERROR_INIT;
    msa_status status = MSA_OK;
    (void)state;
    assert_int_equal(msa_source_case_set(&none, &set, &o, NULL), MSA_E_IO); /* all at once: now */
    assert_null(none);
    MSA_AUTO(msa_source) source = make_shelf(&c);
    assert_int_equal(msa_sample_new(&s, 1, SIZE, TARGETS, NULL), MSA_OK);
    for (uint64_t step = 0; step < STEPS && status == MSA_OK; step++)
        for (int32_t item = 0; item < 8 && status == MSA_OK; item++)
            status = msa_source_next(source, step, item, s, &err);
    assert_int_equal(status, MSA_E_IO);
    assert_string_equal(err.what, "case 5 is broken");
    o.renew_every = 0;
    assert_int_equal(msa_source_case_set(&none, &set, &o, NULL), MSA_E_INVALID);
}

static void mr_uses_percentiles(void **state)
{
    const msa_volumes_options o = msa_volumes_defaults(1);
    msa_case *c = make_case(false);
    MSA_AUTO(msa_source) source = NULL;
    MSA_AUTO(msa_sample) s = NULL;
    (void)state;
    assert_int_equal(msa_source_volumes(&source, &c, 1, &o, NULL), MSA_OK);
    assert_int_equal(msa_sample_new(&s, 1, SIZE, TARGETS, NULL), MSA_OK);
    for (uint64_t k = 0; k < 40; k++) {
        next(source, k, 0, s);
        assert_true(middle_area(s) >= o.min_pixels);
    }
}

static void mixtures_follow_their_weights(void **state)
{
    const msa_volumes_options o = msa_volumes_defaults(1);
    const double weights[3] = {3, 0, 1}, bad[1] = {-1}, nothing[1] = {0};
    msa_source *parts[3] = {NULL, make_volumes(&o), make_volumes(&o)};
    MSA_AUTO(msa_source) mix = NULL;
    MSA_AUTO(msa_sample) s = NULL;
    msa_source *none;
    int synthetic = 0;
    (void)state;
    assert_int_equal(msa_source_synthetic(&parts[0], 7, NULL), MSA_OK);
    assert_int_equal(msa_source_mix(&mix, 5, parts, weights, 3, NULL), MSA_OK);
    assert_int_equal(msa_sample_new(&s, 1, SIZE, TARGETS, NULL), MSA_OK);
    for (uint64_t k = 0; k < 200; k++) {
        next(mix, k, 0, s);
        synthetic += strcmp(s->source, "synthetic") == 0;
        assert_true(middle_area(s) > 0);
    }
    assert_in_range(synthetic, 125, 175);
    for (int k = 0; k < 2; k++) {
        assert_int_equal(msa_source_synthetic(&parts[0], 7, NULL), MSA_OK);
        assert_int_equal(msa_source_mix(&none, 5, parts, k == 0 ? bad : nothing, 1, NULL), MSA_E_INVALID);
        assert_null(none);
    }
    assert_int_equal(msa_source_mix(&none, 5, parts, weights, 0, NULL), MSA_E_INVALID);
}

/* One thread or three, a long queue or a short one, from the start or from the middle: the same samples. */
static void loading_changes_nothing(void **state)
{
    MSA_AUTO(msa_source) source = NULL;
    MSA_AUTO(msa_sample) direct = NULL;
    MSA_AUTO(msa_sample) loaded = NULL;
    (void)state;
    assert_int_equal(msa_source_synthetic(&source, 7, NULL), MSA_OK);
    assert_int_equal(msa_sample_new(&direct, 1, SIZE, TARGETS, NULL), MSA_OK);
    assert_int_equal(msa_sample_new(&loaded, 1, SIZE, TARGETS, NULL), MSA_OK);
    static const int32_t setting[3][2] = {{1, 1}, {3, 2}, {2, 7}};
    for (int k = 0; k < 3; k++) {
        MSA_AUTO(msa_loader) l = NULL;
        const uint64_t first = (uint64_t)k * 2;
        assert_int_equal(
            msa_loader_new(&l, source, first, 3, 1, SIZE, TARGETS, setting[k][0], setting[k][1], NULL),
            MSA_OK);
        for (uint64_t n = 0; n < 12; n++) {
            next(source, first + n / 3, (int32_t)(n % 3), direct);
            assert_int_equal(msa_loader_next(l, loaded, NULL), MSA_OK);
            assert_true(same(direct, loaded));
        }
    }
    MSA_AUTO(msa_loader) idle = NULL; /* freed while its threads work or wait */
    assert_int_equal(msa_loader_new(&idle, source, 0, 1, 1, SIZE, TARGETS, 2, 4, NULL), MSA_OK);
    msa_loader *none;
    assert_int_equal(msa_loader_new(&none, source, 0, 0, 1, SIZE, TARGETS, 2, 4, NULL), MSA_E_INVALID);
    assert_int_equal(msa_loader_new(&none, source, 0, 1, 1, SIZE, TARGETS, 0, 4, NULL), MSA_E_INVALID);
}

static void feed_wants_order(void **state)
{
    MSA_AUTO(msa_source) source = NULL;
    MSA_AUTO(msa_sample) s = NULL;
    MSA_AUTO(msa_loader) l = NULL;
    static float image[3 * SIZE * SIZE];
    static uint8_t targets[TARGETS * SIZE * SIZE];
    msa_train_picture p = {.image = image, .targets = targets, .targets_max = TARGETS};
    (void)state;
    assert_int_equal(msa_source_synthetic(&source, 7, NULL), MSA_OK);
    assert_int_equal(msa_sample_new(&s, 1, SIZE, TARGETS, NULL), MSA_OK);
    assert_int_equal(msa_loader_new(&l, source, 4, 2, 1, SIZE, TARGETS, 1, 2, NULL), MSA_OK);
    msa_feed f = {.loader = l, .norm = MSA_NORM_UNIT, .sample = s};
    assert_int_equal(msa_feed_next(&f, 0, 0, &p, NULL), MSA_E_INVALID);
    assert_int_equal(msa_feed_next(&f, 4, 0, &p, NULL), MSA_OK);
    for (int i = 0; i < SIZE * SIZE; i++) /* 8 bits in between, as at inference */
        assert_near((double)image[i], (double)s->image[i], 0.5 / 255 + 1e-6);
    assert_in_range(p.n_targets, 1, TARGETS);
    assert_int_equal(p.n_targets, s->n_targets);
    assert_memory_equal(targets, s->targets, (size_t)(p.n_targets * SIZE * SIZE));
    assert_int_equal(p.covered[0], s->rows);
    assert_int_equal(p.covered[1], s->cols);
    assert_int_equal(msa_feed_next(&f, 5, 0, &p, NULL), MSA_OK);
    p.targets_max = 1; /* no more than there is room for */
    assert_int_equal(msa_feed_next(&f, 5, 1, &p, NULL), MSA_OK);
    assert_int_equal(p.n_targets, 1);
    assert_int_equal(msa_feed_next(&f, 7, 0, &p, NULL), MSA_E_INVALID);
    msa_sample *none;
    assert_int_equal(msa_sample_new(&none, 1, SIZE, 0, NULL), MSA_E_INVALID);
    assert_int_equal(msa_sample_new(&none, 1, SIZE, MSA_TARGETS_MAX + 1, NULL), MSA_E_INVALID);
}

static void put_text(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static void folders_are_cases(void **state)
{
    static float v[VOXELS];
    static uint16_t labels[VOXELS];
    msa_error err = MSA_ERROR_INIT;
    msa_case *none;
    fill(v, labels);
    nifti_file image = nifti_file_of(W, H, D, 16, 32), map = nifti_file_of(W, H, D, 512, 16);
    image.pixdim[3] = map.pixdim[3] = 3;
    const char *folder = *state;
    assert_int_equal(msa_case_load(&none, folder, &err), MSA_E_NOT_FOUND);
    nifti_file_write(fixture_path(state, "labels.nii.gz"), &map, labels, sizeof labels);
    assert_int_equal(msa_case_load(&none, folder, NULL), MSA_E_NOT_FOUND);
    nifti_file_write(fixture_path(state, "ct.nii"), &image, v, sizeof v);
    put_text(fixture_path(state, "labels.json"),
             "{\"5\": \"five\", \"9\": \"nine\", \"77\": \"none of it\"}");
    MSA_AUTO(msa_case) c = NULL;
    if (msa_case_load(&c, folder, &err) != MSA_OK && err.status != MSA_E_NOT_FOUND) fail_msg("%s", err.what);
    assert_non_null(c);
    assert_true(c->ct);
    assert_int_equal(c->n_names, 3);
    assert_near((double)c->spacing_mm[0], 3, 0);
    assert_memory_equal(c->labels, labels, sizeof labels);
    assert_string_equal(c->name, strrchr(folder, '/') + 1);
    map.dim[1] = W / 2;
    nifti_file_write(fixture_path(state, "labels.nii.gz"), &map, labels, sizeof labels / 2);
    assert_int_equal(msa_case_load(&none, folder, NULL), MSA_E_PARSE);
    map.dim[1] = W;
    map.pixdim[1] = 1.5F; /* elsewhere */
    nifti_file_write(fixture_path(state, "labels.nii.gz"), &map, labels, sizeof labels);
    assert_int_equal(msa_case_load(&none, folder, NULL), MSA_E_PARSE);
    nifti_file_write(fixture_path(state, "another.nii"), &image, v, sizeof v);
    assert_int_equal(msa_case_load(&none, folder, NULL), MSA_E_PARSE);
    assert_null(none);
}

static void real_folders(void **state)
{
    static const char *const names[2] = {"organs-ct-nifti", "organs-mr-nifti"};
    const char *folder = getenv("MSA_TEST_DATA");
    (void)state;
    if (!folder) skip();
    MSA_AUTO(msa_sample) s = NULL;
    assert_int_equal(msa_sample_new(&s, 1, 96, TARGETS, NULL), MSA_OK);
    for (int k = 0; k < 2; k++) {
        char path[512];
        msa_case *c;
        msa_error err = MSA_ERROR_INIT;
        MSA_AUTO(msa_source) source = NULL;
        (void)snprintf(path, sizeof path, "%s/%s", folder, names[k]);
        if (access(path, R_OK) != 0) skip();
        if (msa_case_load(&c, path, &err) != MSA_OK) fail_msg("%s", err.what);
        assert_int_equal(c->ct, k == 0);
        const msa_volumes_options o = msa_volumes_defaults(2);
        if (msa_source_volumes(&source, &c, 1, &o, &err) != MSA_OK) fail_msg("%s", err.what);
        for (uint64_t n = 0; n < 60; n++) {
            next(source, n, 0, s);
            assert_true(middle_area(s) >= o.min_pixels);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(volumes_give_sound_samples),
        cmocka_unit_test(targets_lie_on_their_object),
        cmocka_unit_test(slices_have_several_targets),
        cmocka_unit_test(objects_may_lie_over_each_other),
        cmocka_unit_test(crops_are_those_of_inference),
        cmocka_unit_test(targets_turn_together),
        cmocka_unit_test(held_out_labels_are_no_targets),
        cmocka_unit_test(cases_take_turns),
        cmocka_unit_test(a_broken_case_shows_when_it_is_opened),
        cmocka_unit_test(mr_uses_percentiles),
        cmocka_unit_test(mixtures_follow_their_weights),
        cmocka_unit_test(loading_changes_nothing),
        cmocka_unit_test(feed_wants_order),
        cmocka_unit_test_setup_teardown(folders_are_cases, fixture_folder, fixture_remove),
        cmocka_unit_test(real_folders),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
