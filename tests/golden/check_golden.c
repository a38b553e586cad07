/* check_golden FILE...: replays reference files as their metadata says; see golden.h for the parts. */
#include <string.h>

#include "tests/golden/golden.h"

static bool has(const golden_file *f, const char *key, const char *text)
{
    const char *value = golden_meta(f, key);
    return value != NULL && strstr(value, text) != NULL;
}

static bool is_variant(const golden_file *f, const char *name)
{
    const char *value = golden_meta(f, "variant");
    return value != NULL && strcmp(value, name) == 0;
}

/* What the file is about decides who replays it; NULL: somebody does. */
static const char *why_not(const golden_file *f)
{
    if (golden_meta(f, "variant") == NULL) return "no variant in the metadata";
    if (golden_meta(f, "optimizer") != NULL) return NULL;
    if (has(f, "variant", "decoder adapters")) return NULL;
    if (has(f, "variant", "self-supervised")) return "self-supervision and text: not in this version";
    if (is_variant(f, "sam") || has(f, "variant", "msa2023") || has(f, "variant", "msa2025")) return NULL;
    if (is_variant(f, "sdtrans_fixed") || is_variant(f, "lora") || is_variant(f, "adalora")) return NULL;
    if (is_variant(f, "effsam") || is_variant(f, "mobile")) return NULL;
    if (is_variant(f, "unit operators")) return NULL;
    return "encoder variant: not in this version";
}

static bool check_file(const char *path)
{
    msa_error err = MSA_ERROR_INIT;
    golden_file *f = NULL;
    golden_report *r = NULL;
    bool ok = false;
    if (golden_open(&f, path, &err) == MSA_OK && golden_report_new(&r, f, &err) == MSA_OK) {
        const char *reason = why_not(f);
        if (reason != NULL)
            golden_skip_prefix(r, "", reason);
        else if (golden_meta(f, "optimizer") != NULL)
            golden_check_train(f, r);
        else if (is_variant(f, "unit operators"))
            golden_check_units(f, r);
        else if (is_variant(f, "lora"))
            golden_check_lora(f, r);
        else if (is_variant(f, "adalora"))
            golden_check_adalora(f, r);
        else if (is_variant(f, "effsam"))
            golden_check_efficient(f, r);
        else if (is_variant(f, "mobile"))
            golden_check_mobile(f, r);
        else if (has(f, "variant", "decoder adapters"))
            golden_check_decoder_adapters(f, r);
        else
            golden_check_model(f, r);
        ok = golden_report_finish(r, stdout);
    } else {
        printf("%s max_abs_err=nan checked=0 skipped=0 FAIL\n    %s\n", path, err.what);
    }
    golden_report_free(r);
    golden_close(f);
    return ok;
}

int main(int argc, char **argv)
{
    bool ok = true;
    if (argc < 2) {
        fprintf(stderr, "usage: check_golden FILE...\n");
        return 2;
    }
    for (int i = 1; i < argc; i++)
        ok = check_file(argv[i]) && ok;
    return ok ? 0 : 1;
}
