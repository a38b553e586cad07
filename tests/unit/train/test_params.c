/* What trains, where values and gradients lie, and how new values begin. */
#include <math.h>
#include <string.h>

#include "engine/sam/internal.h"
#include "engine/train/params.h"
#include "tests/unit/engine/fixture.h"
#include "tests/unit/engine/cm.h"

static msa_model *model_of(void **state, const msa_config *c, uint64_t seed)
{
    msa_model *m = NULL;
    msa_error err = MSA_ERROR_INIT;
    if (msa_model_write_random(fixture_path(state, "m"), c, seed, &err) != MSA_OK ||
        msa_model_load(&m, fixture_path(state, "m"), &err) != MSA_OK)
        fail_msg("%s", err.what);
    return m;
}

static msa_params *params_of(const msa_model *m, msa_train_set set)
{
    msa_params *p = NULL;
    msa_error err = MSA_ERROR_INIT;
    if (msa_params_new(&p, msa_model_config(m), msa_model_weights(m), set, &err) != MSA_OK)
        fail_msg("%s", err.what);
    return p;
}

static bool wanted(msa_train_set set, const char *name)
{
    if (strstr(name, "gaussian") != NULL) return false;
    if (set == MSA_TRAIN_ALL || strstr(name, "Adapter") != NULL) return true;
    return set == MSA_TRAIN_ADAPTERS_DECODER && strncmp(name, "mask_decoder.", 13) == 0;
}

/* Every tensor once, nothing overlaps, those that train lie before n_trained, values are the model's. */
static void check_layout(const msa_params *p, msa_train_set set)
{
    int64_t trained = 0, frozen = 0;
    for (int32_t i = 0; i < p->n_list; i++) {
        const msa_param *q = &p->list[i];
        assert_int_equal(q->trains, wanted(set, q->name));
        assert_true(q->trains ? q->offset + q->numel <= p->n_trained : q->offset >= p->n_trained);
        assert_true(q->offset + q->numel <= p->n_values);
        for (int32_t k = 0; k < i; k++)
            assert_true(p->list[k].offset + p->list[k].numel <= q->offset ||
                        q->offset + q->numel <= p->list[k].offset);
        *(q->trains ? &trained : &frozen) += q->numel;
    }
    assert_int_equal(trained, msa_params_count(p, true));
    assert_int_equal(trained + frozen, msa_params_count(p, false));
}

static void test_sets(void **state)
{
    const msa_config c = fixture_config();
    MSA_AUTO(msa_model) m = model_of(state, &c, 3);
    for (int set = MSA_TRAIN_ADAPTERS; set <= MSA_TRAIN_ALL; set++) {
        MSA_AUTO(msa_params) p = params_of(m, (msa_train_set)set);
        check_layout(p, (msa_train_set)set);
        assert_int_equal(msa_params_count(p, false), msa_model_parameters(m));
        const msa_weights *from = msa_model_weights(m), *to = &p->weights;
        assert_memory_equal(to->encoder.blocks[2].mlp.up.weight, from->encoder.blocks[2].mlp.up.weight,
                            32 * 8 * sizeof(float));
        assert_memory_equal(to->decoder.iou.layer[2].bias, from->decoder.iou.layer[2].bias,
                            4 * sizeof(float));
        assert_int_equal(to->encoder.pos_h, from->encoder.pos_h);
        assert_int_equal(to->encoder.blocks[0].rel_w_rows, from->encoder.blocks[0].rel_w_rows);
        assert_null(msa_grad(p, to->prompt.gaussian));
        assert_null(msa_grad(p, NULL));
        const msa_param *down = msa_params_find(p, "image_encoder.blocks.1.Space_Adapter.D_fc1.weight");
        assert_non_null(down);
        assert_ptr_equal(to->encoder.blocks[1].space.down.weight, p->values + down->offset);
        assert_ptr_equal(msa_grad(p, to->encoder.blocks[1].space.down.weight), p->grads + down->offset);
        const float *qkv = to->encoder.blocks[0].qkv.weight, *hyper = to->decoder.hyper[0].layer[0].weight;
        assert_int_equal(msa_grad(p, qkv) != NULL, set == MSA_TRAIN_ALL);
        assert_int_equal(msa_grad(p, hyper) != NULL, set != MSA_TRAIN_ADAPTERS);
        assert_null(msa_params_find(p, "no such parameter"));
    }
}

static void test_zero_grads(void **state)
{
    const msa_config c = fixture_config();
    MSA_AUTO(msa_model) m = model_of(state, &c, 3);
    MSA_AUTO(msa_params) p = params_of(m, MSA_TRAIN_ADAPTERS);
    p->grads[0] = 1;
    p->grads[p->n_trained - 1] = 1;
    msa_params_zero_grads(p);
    for (int64_t i = 0; i < p->n_trained; i++)
        assert_float_equal(p->grads[i], 0, 0);
}

static void test_nothing_trains(void **state)
{
    msa_config c = fixture_config();
    msa_error err = MSA_ERROR_INIT;
    c.adapters = false;
    MSA_AUTO(msa_model) m = model_of(state, &c, 3);
    msa_params *p = NULL;
    assert_int_equal(msa_params_new(&p, &c, msa_model_weights(m), MSA_TRAIN_ADAPTERS, &err), MSA_E_INVALID);
    assert_non_null(strstr(err.what, "no adapters"));
    assert_null(p);
}

/* Adapters put onto a base that has none: of the wanted width, and silent until they are trained. */
static void test_new_adapters(void **state)
{
    msa_config c = fixture_config();
    c.adapters = false;
    MSA_AUTO(msa_model) m = model_of(state, &c, 3);
    c.adapters = true;
    const msa_params_start start = {.seed = 5, .adapter_width = 3};
    msa_params *made = NULL;
    assert_int_equal(msa_params_start_new(&made, &c, msa_model_weights(m), MSA_TRAIN_ADAPTERS, &start, NULL),
                     MSA_OK);
    MSA_AUTO(msa_params) p = made;
    check_layout(p, MSA_TRAIN_ADAPTERS);
    assert_int_equal(msa_params_count(p, true), c.depth * 2 * (3 * 32 + 3 + 32 * 3 + 32));
    const msa_adapter *a = &p->weights.encoder.blocks[1].space;
    assert_int_equal(a->down.N, 3);
    assert_int_equal(a->up.K, 3);
    double spread = 0;
    for (int i = 0; i < 3 * 32; i++) {
        spread += (double)a->down.weight[i] * (double)a->down.weight[i];
        assert_float_equal(a->up.weight[i], 0, 0);
    }
    assert_true(spread > 1 && spread < 6); /* 96 values of variance 1 / 32 */
    assert_memory_equal(p->weights.encoder.neck3x3, msa_model_weights(m)->encoder.neck3x3, 32 * 32 * 9 * 4);
}

/* A base from nothing: the same for the same seed, finite, norms at one. */
static void test_fresh(void **state)
{
    (void)state;
    const msa_config c = fixture_config();
    const msa_params_start start = {.seed = 5}, other = {.seed = 6};
    msa_params *a = NULL, *b = NULL, *d = NULL;
    assert_int_equal(msa_params_start_new(&a, &c, NULL, MSA_TRAIN_ALL, &start, NULL), MSA_OK);
    assert_int_equal(msa_params_start_new(&b, &c, NULL, MSA_TRAIN_ADAPTERS, &start, NULL), MSA_OK);
    assert_int_equal(msa_params_start_new(&d, &c, NULL, MSA_TRAIN_ALL, &other, NULL), MSA_OK);
    MSA_AUTO(msa_params) all = a;
    MSA_AUTO(msa_params) some = b;
    MSA_AUTO(msa_params) unlike = d;
    const size_t qkv = 96 * 32 * sizeof(float);
    assert_memory_equal(all->weights.encoder.blocks[0].qkv.weight, some->weights.encoder.blocks[0].qkv.weight,
                        qkv);
    assert_memory_not_equal(all->weights.encoder.blocks[0].qkv.weight,
                            unlike->weights.encoder.blocks[0].qkv.weight, qkv);
    assert_memory_not_equal(all->weights.encoder.blocks[0].qkv.weight,
                            all->weights.encoder.blocks[1].qkv.weight, qkv);
    assert_float_equal(all->weights.encoder.blocks[0].norm1.weight[0], 1, 0);
    for (int64_t i = 0; i < all->n_values; i++)
        assert_true(fabsf(all->values[i]) < 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_sets), cmocka_unit_test(test_zero_grads),
                                       cmocka_unit_test(test_nothing_trains),
                                       cmocka_unit_test(test_new_adapters), cmocka_unit_test(test_fresh)};
    return cmocka_run_group_tests_name("params", tests, fixture_folder, fixture_remove);
}
