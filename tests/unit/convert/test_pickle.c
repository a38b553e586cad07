/* The pickle machine: what it builds, and what it refuses. */
#include "tests/unit/engine/cm.h"

#include <stdlib.h>
#include <string.h>

#include "engine/io/pickle.h"

#define BYTES(text) text, sizeof text - 1
#define P2          "\x80\x02"

static const struct {
    const char *bytes;
    size_t size;
    msa_status status;
    const char *sentence; /* a part of it */
} refused[] = {
    /* what would run something */
    {BYTES(P2 "cos\nsystem\nX\x02\0\0\0id\x85R."), MSA_E_UNSUPPORTED, "asks for os.system"},
    {BYTES("\x80\x04\x8c\x08"
           "builtins\x8c\x04"
           "eval\x93."),
     MSA_E_UNSUPPORTED, "asks for builtins.eval"},
    {BYTES(P2 "ctorch._utils\n_rebuild_tensor_v3\n."), MSA_E_UNSUPPORTED, "_rebuild_tensor_v3"},
    {BYTES(P2 "ctorch.nn.modules.linear\nLinear\n."), MSA_E_UNSUPPORTED, "save its state_dict() alone"},
    {BYTES(P2 "c\x1b[2J\nx\n."), MSA_E_UNSUPPORTED, "asks for ?[2J.x"},
    {BYTES(P2 "(S'id'\nios\nsystem\n."), MSA_E_UNSUPPORTED, "opcode 0x53"},
    {BYTES(P2 "(ios\nsystem\n."), MSA_E_UNSUPPORTED, "opcode 0x69"},
    {BYTES(P2 "\x82\x01."), MSA_E_UNSUPPORTED, "opcode 0x82"},
    {BYTES(P2 "o."), MSA_E_UNSUPPORTED, "opcode 0x6f"},
    {BYTES(P2 "X\x01\0\0\0a)R."), MSA_E_PARSE, "damaged"},
    {BYTES(P2 "ctorch\nFloatStorage\n)R."), MSA_E_UNSUPPORTED, "a storage that is made"},
    {BYTES(P2 "ccollections\nOrderedDict\n]\x85R."), MSA_E_UNSUPPORTED, "made of a list"},
    {BYTES(P2 "ctorch._utils\n_rebuild_tensor_v2\n)R."), MSA_E_PARSE, "damaged"},
    {BYTES(P2 "ctorch\nSize\n)\x81."), MSA_E_PARSE, "damaged"},
    /* stack, marks and memo */
    {BYTES(P2 "."), MSA_E_PARSE, "damaged"},
    {BYTES(P2 "R."), MSA_E_PARSE, "damaged"},
    {BYTES(P2 "u."), MSA_E_PARSE, "damaged"},
    {BYTES(P2 "t."), MSA_E_PARSE, "damaged"},
    {BYTES(P2 "\x87."), MSA_E_PARSE, "damaged"},
    {BYTES(P2 "}(K\x01u."), MSA_E_PARSE, "damaged"},
    {BYTES(P2 "](K\x01u."), MSA_E_PARSE, "damaged"},
    {BYTES(P2 "(e."), MSA_E_PARSE, "damaged"},
    {BYTES(P2 "](a."), MSA_E_PARSE, "damaged"},
    {BYTES(P2 "K\x01(\x85."), MSA_E_PARSE, "damaged"},
    {BYTES(P2 "h\x00."), MSA_E_PARSE, "damaged"},
    {BYTES(P2 "q\x00."), MSA_E_PARSE, "damaged"},
    {BYTES(P2 "}r\xff\xff\xff\xff."), MSA_E_UNSUPPORTED, "larger than"},
    {BYTES(P2 "}j\xff\xff\xff\xff."), MSA_E_PARSE, "damaged"},
    /* what ends too early */
    {BYTES(""), MSA_E_PARSE, "damaged"},
    {BYTES(P2), MSA_E_PARSE, "damaged"},
    {BYTES(P2 "}"), MSA_E_PARSE, "damaged"},
    {BYTES(P2 "X\xff\xff\xff\xff."), MSA_E_PARSE, "damaged"},
    {BYTES(P2 "\x8a\xff\x01."), MSA_E_PARSE, "damaged"},
    {BYTES(P2 "cos"), MSA_E_PARSE, "damaged"},
    {BYTES("\x80\x09}."), MSA_E_UNSUPPORTED, "protocol 9"},
    /* storages */
    {BYTES(P2 "(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\0000X\x03\0\0\0cpuJ\xff\xff\xff\xfftQ."),
     MSA_E_PARSE, "damaged"},
    {BYTES(P2 "(X\x06\0\0\0modulectorch\nFloatStorage\nX\x01\0\0\0000X\x03\0\0\0cpuK\x04tQ."), MSA_E_PARSE,
     "damaged"},
    {BYTES(P2 "(X\x07\0\0\0storagectorch\nSize\nX\x01\0\0\0000X\x03\0\0\0cpuK\x04tQ."), MSA_E_PARSE,
     "damaged"},
    {BYTES(P2 ")Q."), MSA_E_PARSE, "damaged"},
};

static void refuses(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        MSA_AUTO(msa_pickle) p = NULL;
        msa_error err = MSA_ERROR_INIT;
        const msa_status status =
            msa_pickle_read(&p, (const unsigned char *)refused[i].bytes, refused[i].size, &err);
        if (status != refused[i].status || strstr(err.what, refused[i].sentence) == NULL)
            fail_msg("pickle %zu: %s: %s", i, msa_status_name(status), err.what);
        assert_null(p);
    }
}

static msa_pickle *run(const char *bytes, size_t size)
{
    msa_pickle *p = NULL;
    msa_error err = MSA_ERROR_INIT;
    if (msa_pickle_read(&p, (const unsigned char *)bytes, size, &err) != MSA_OK) fail_msg("%s", err.what);
    return p;
}

static void numbers(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t size;
        int64_t value;
    } known[] = {
        {BYTES(P2 "K\xff."), 255},
        {BYTES(P2 "M\x01\x02."), 513},
        {BYTES(P2 "J\xfe\xff\xff\xff."), -2},
        {BYTES(P2 "\x8a\x00."), 0},
        {BYTES(P2 "\x8a\x01\xff."), -1},
        {BYTES(P2 "\x8a\x05\x00\x00\x00\x00\x01."), (int64_t)1 << 32},
        {BYTES(P2 "\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x80."), INT64_MIN},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        MSA_AUTO(msa_pickle) p = run(known[i].bytes, known[i].size);
        assert_int_equal(p->values[p->root].kind, MSA_PICKLE_INT);
        assert_int_equal(p->values[p->root].number, known[i].value);
        assert_int_equal(p->used, known[i].size);
    }
}

/* {"a": t}, t = _rebuild_tensor_v2(storage "7" of 6 halves, 2, (2, 2), (2, 1), False, {}) */
static void tensor(void **state)
{
    (void)state;
    static const char bytes[] =
        P2 "}X\x01\0\0\0"
           "actorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nHalfStorage\nX\x01\0\0\0"
           "7X\x03\0\0\0cpuK\x06tQK\x02K\x02K\x02\x86K\x02K\x01\x86\x89"
           "ccollections\nOrderedDict\n)RtRs.";
    MSA_AUTO(msa_pickle) p = run(bytes, sizeof bytes - 1);
    const msa_pickle_value *root = &p->values[p->root];
    assert_int_equal(root->kind, MSA_PICKLE_DICT);
    assert_int_equal(root->items.n, 2);
    const msa_pickle_item *key = &p->items[root->items.first], *value = &p->items[key->next];
    assert_int_equal(value->next, 0);
    assert_memory_equal(p->values[key->value].text.at, "a", 1);
    const msa_pickle_value *t = &p->values[value->value], *s = &p->values[t->tensor.storage];
    assert_int_equal(t->kind, MSA_PICKLE_TENSOR);
    assert_int_equal(t->tensor.offset, 2);
    assert_int_equal(s->storage.element, MSA_ELEMENT_F16);
    assert_int_equal(s->storage.count, 6);
    assert_memory_equal(p->values[s->storage.key].text.at, "7", 1);
    assert_int_equal(p->values[t->tensor.size].items.n, 2);
}

/* A list that holds itself, put into a dict under itself: a graph is no tree. */
static void cycles(void **state)
{
    (void)state;
    static const char bytes[] = P2 "]q\x01h\x01"
                                   "a0.";
    msa_error err = MSA_ERROR_INIT;
    msa_pickle *p = NULL;
    /* POP is no opcode of torch.save() */
    assert_int_equal(msa_pickle_read(&p, (const unsigned char *)bytes, sizeof bytes - 1, &err),
                     MSA_E_UNSUPPORTED);
    static const char cyclic[] = P2 "]q\x01h\x01"
                                    "a.";
    p = run(cyclic, sizeof cyclic - 1);
    assert_int_equal(p->items[p->values[p->root].items.first].value, p->root);
    msa_pickle_free(p);
}

/* Bytes that ask for ever more: refused when it is more than any checkpoint needs. */
static void bounds(void **state)
{
    (void)state;
    static const char each[] = {'}', '(', ']', 'N'};
    const size_t n = 4 << 20;
    char *bytes = malloc(n);
    assert_non_null(bytes);
    for (size_t i = 0; i < sizeof each; i++) {
        msa_pickle *p = NULL;
        msa_error err = MSA_ERROR_INIT;
        memset(bytes, each[i], n);
        assert_int_not_equal(msa_pickle_read(&p, (const unsigned char *)bytes, n, &err), MSA_OK);
        assert_null(p);
    }
    /* the same value again and again, out of the memo */
    memcpy(bytes, "]q\0(", 4);
    for (size_t i = 4; i + 1 < n; i += 2)
        memcpy(bytes + i, "h\0", 2);
    msa_pickle *p = NULL;
    msa_error err = MSA_ERROR_INIT;
    assert_int_equal(msa_pickle_read(&p, (const unsigned char *)bytes, n, &err), MSA_E_UNSUPPORTED);
    assert_non_null(strstr(err.what, "larger than"));
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(refuses), cmocka_unit_test(numbers),
                                       cmocka_unit_test(tensor), cmocka_unit_test(cycles),
                                       cmocka_unit_test(bounds)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
