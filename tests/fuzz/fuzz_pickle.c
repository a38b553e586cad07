/* The pickle machine, and every value that it made. */
#include "engine/io/pickle.h"
#include "tests/fuzz/fuzz.h"

static uint32_t walk(const msa_pickle *p, const msa_pickle_value *v)
{
    uint32_t n = 0;
    for (uint32_t item = v->items.first; item != 0; item = p->items[item].next) {
        if (item >= p->n_items || p->items[item].value >= p->n_values) __builtin_trap();
        n++;
    }
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    MSA_AUTO(msa_pickle) p = NULL;
    msa_error err = MSA_ERROR_INIT;
    char shown[32];
    if (msa_pickle_read(&p, bytes, size, &err) != MSA_OK) {
        if (err.what[0] == '\0' || p != NULL) __builtin_trap();
        return 0;
    }
    if (p->root >= p->n_values || p->used > size) __builtin_trap();
    for (uint32_t i = 0; i < p->n_values; i++) {
        const msa_pickle_value *v = &p->values[i];
        const int container =
            v->kind == MSA_PICKLE_TUPLE || v->kind == MSA_PICKLE_LIST || v->kind == MSA_PICKLE_DICT;
        if (container && walk(p, v) != v->items.n) __builtin_trap();
        if (v->kind == MSA_PICKLE_TEXT) (void)msa_printable(shown, sizeof shown, v->text.at, v->text.length);
    }
    return 0;
}
