#include "server/core/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/core/config_table.h"

static const char *reference_path; /* config/msad.yaml */
static char dir[] = "/tmp/msad-config-XXXXXX";
static char path[64];

static void write_file(const char *bytes, size_t size)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
}

static char *printed(const srv_config *config)
{
    char *text = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);
    assert_non_null(f);
    srv_config_print(config, f);
    assert_int_equal(fclose(f), 0);
    return text;
}

/* Loads `yaml`, which must fail with a sentence that holds `wanted`; *out must then be the defaults. */
static void refused(const char *yaml, size_t size, const char *wanted)
{
    srv_config config, defaults;
    msa_error err = MSA_ERROR_INIT;
    assert_int_equal(srv_config_load(&defaults, NULL, NULL), MSA_OK);
    write_file(yaml, size);
    memset(&config, 0x55, sizeof config);
    const msa_status status = srv_config_load(&config, path, &err);
    if (status != MSA_E_PARSE) fail_msg("status %d for:\n%s", status, yaml);
    if (strstr(err.what, wanted) == NULL) fail_msg("got: %s\nwanted: %s\nfor:\n%s", err.what, wanted, yaml);
    assert_memory_equal(&config, &defaults, sizeof config);
}

static void bad_files(void **state)
{
    static const struct {
        const char *yaml, *sentence;
    } cases[] = {
        {"dicom:\n  prot: 104\n", " line 2: there is no setting dicom.prot; did you mean dicom.port?"},
        {"http:\n  ae_title: X\n",
         " line 2: there is no setting http.ae_title; did you mean dicom.ae_title?"},
        {"dicm:\n  port: 104\n", " line 1: there is no section dicm; did you mean dicom?"},
        {"destination: []\n", " line 1: there is no section destination; did you mean destinations?"},
        {"dicom:\n  port: 70000\n", " line 2: dicom.port: 70000 is not in 0..65535"},
        {"dicom:\n  port: -1\n", "dicom.port: -1 is not in 0..65535"},
        {"dicom:\n  port: 104.5\n", "dicom.port: 104.5 is not a whole number in 0..65535"},
        {"dicom:\n  port: 0x68\n", "0x68 is not a whole number"},
        {"dicom:\n  port: --4\n", "--4 is not a whole number"},
        {"dicom:\n  port: 99999999999999999999\n", "is not a whole number in 0..65535"},
        {"dicom:\n  port: \"104\"\n", "dicom.port: the text \"104\" is not a whole number in 0..65535"},
        {"dicom:\n  port:\n", "is not a whole number"},
        {"dicom:\n  port: [1]\n", " line 2: dicom.port: a single value is expected, not a list"},
        {"dicom:\n  port: {a: 1}\n", " line 2: dicom.port: a single value is expected, not a map"},
        {"dicom:\n\n  port: 1\n  port: 2\n", " line 4: dicom.port is there twice"},
        {"dicom:\n  port: 1\ndicom:\n  bind: ::1\n", " line 3: dicom is there twice"},
        {"dicom:\n  accept_any_called_ae: yes\n", "yes is neither true nor false"},
        {"dicom:\n  accept_any_called_ae: \"true\"\n", "the text \"true\" is neither true nor false"},
        {"dicom:\n  ae_title: ABCDEFGHIJKLMNOPQ\n",
         " line 2: dicom.ae_title: is 17 bytes long, at most 16 fit"},
        {"dicom:\n  ae_title: \"\"\n", "dicom.ae_title: is empty"},
        {"dicom:\n  ae_title:\n", "dicom.ae_title: has no value; write \"\" for an empty text"},
        {"dicom:\n  ae_title: \"A\\\\B\"\n", "is not an AE title"},
        {"dicom:\n  ae_title: \" A\"\n", "begins or ends with a space"},
        {"dicom:\n  ae_title: \"A\\tB\"\n", "holds a control character or is not UTF-8"},
        {"dicom:\n  ae_title: \"A\\0B\"\n", "holds a NUL character"},
        {"dicom:\n  bind: localhost\n", "localhost is not a numeric address"},
        {"http:\n  bind: pacs.example\n", " line 2: http.bind: pacs.example is not a numeric address"},
        {"log:\n  level: verbose\n", "verbose is not a log level: error, warn, info or debug"},
        {"storage:\n  path: \"\"\n", "storage.path: is empty"},
        {"result:\n  series_description: 'a\\b'\n", "holds a backslash"},
        {"delivery:\n  retry_min_s: 100\n  retry_max_s: 50\n",
         "delivery.retry_min_s (100) is larger than delivery.retry_max_s (50)"},
        {"dicom:\n  port: 8090\n", "dicom.port and http.port are both 8090"},
        {"dicom: 5\n", " line 1: dicom is a section: its settings stand below it, not a single value"},
        {"- a\n", " line 1: the file is a map of sections, not a list"},
        {"hello\n", "the file is a map of sections, not a single value"},
        {"dicom: &a\n  port: 1\n", "anchors, aliases and tags are not used here"},
        {"dicom:\n  port: *a\n", " line 2: anchors, aliases and tags are not used here"},
        {"dicom:\n  port: !!int 1\n", "anchors, aliases and tags are not used here"},
        {"? [a]\n: 1\n", "the name of a setting is expected, not a list"},
        {"dicom:\n  port: 1\n---\ndicom:\n  port: 2\n", " line 3: a second document begins here"},
        {"dicom: {port: 1\n", "this is not YAML"},
        {"dicom:\n\tport: 1\n", " line 2: this is not YAML"},
        {"dicom:\n  port: 1\n  \xff\xfe\n", " line 3: this is not YAML"},
        {"destinations: 5\n", " line 1: destinations is a list of maps, not a single value"},
        {"destinations:\n  - pacs\n",
         " line 2: destinations: each entry is a map of name, ae_title, host and port"},
        {"destinations:\n  - name: a\n    ae_title: A\n    host: h\n",
         " line 2: destinations: this entry has no port"},
        {"destinations:\n  - {name: a, ae_title: A, host: h, port: 0}\n",
         "destinations.port: 0 is not in 1..65535"},
        {"destinations:\n  - {name: a b, ae_title: A, host: h, port: 1}\n",
         "other than letters, digits, dot, hyphen and underscore"},
        {"destinations:\n  - {name: a, ae_title: A, host: \"h/x\", port: 1}\n",
         "is not a host name or address"},
        {"destinations:\n  - {name: a, ae_title: A, host: h, prot: 1}\n", "a destination has no prot"},
        {"destinations:\n  - {name: a, name: b, ae_title: A, host: h, port: 1}\n",
         "destinations.name is there twice"},
        {"destinations:\n  - {name: a, ae_title: A, host: h, port: 1}\n  - {name: a, ae_title: A, host: h, "
         "port: 1}\n",
         " line 3: destinations: two are called the same (name a)"},
        {"sources:\n  - {ae_title: A, host: h}\n", " line 2: sources: this entry has no port"},
        {"sources:\n  - {name: a, ae_title: A, host: h, port: 1}\n",
         "a source has no name; it has ae_title, host"},
        {"rules: CT\n", " line 1: rules is a list of maps, not a single value"},
        {"rules:\n  - CT\n",
         " line 2: rules: each entry is a map of name, modality, body_part, label, study"},
        {"rules:\n  - {modality: CT, adapter: a, model: b}\n",
         " line 2: a rule has no model; it has name, modality, body_part, label, study"},
        {"rules:\n  - {modality: ct, adapter: a}\n",
         "rules.modality: ct is not a code string as DICOM writes it"},
        {"rules:\n  - {modality: \"\", adapter: a}\n", "rules.modality: is empty"},
        {"rules:\n  - {modality: CT, adapter: }\n", "has no value; write \"\" for an empty text"},
        {"rules:\n  - {modality: CT, adapter: a}\n  - {modality: CT, adapter: b}\n",
         " line 3: rules: two rules are for exactly the same series and labels, so that one is for none "
         "(modality CT)"},
        {"rules:\n  - {modality: CT, body_part: liver, adapter: a}\n",
         "rules.body_part: liver is not a code string"},
        {"rules:\n  - {modality: CT, label: \"\", adapter: a}\n", "rules.label: is empty"},
        {"rules:\n  - {modality: CT, prompts: maybe, adapter: a}\n",
         "rules.prompts: maybe is not one of wait, auto, default-box and skip"},
        {"rules:\n  - {modality: CT, label: liver, prompts: auto, adapter: a}\n",
         "rule 1, for the label liver: prompts concerns a series as a whole; leave out the label or prompts"},
        {"rules:\n  - {label: liver, destinations: none}\n", "destinations concerns a series as a whole"},
        {"rules:\n  - {label: liver, quiet_ms: 5}\n", "quiet_ms concerns a series as a whole"},
        {"rules:\n  - {series: \"\"}\n", "rules.series: is empty; write \"*\" for any"},
        {"rules:\n  - {orientation: tra}\n", "rules.orientation: tra is not an orientation: axial"},
        {"rules:\n  - {slices_min: 9, slices_max: 8}\n",
         "rule 1: slices_min (9) is larger than slices_max (8)"},
        {"rules:\n  - {slices_min: -1}\n", "rules.slices_min: -1 is not in 0..1000000"},
        {"rules:\n  - {spacing_max_mm: -1}\n", "rules.spacing_max_mm: -1 is not a number in 0..1000"},
        {"rules:\n  - {spacing_max_mm: 1e3}\n", "1e3 is not a number in 0..1000"},
        {"rules:\n  - {spacing_max_mm: 1.2.3}\n", "1.2.3 is not a number in 0..1000"},
        {"rules:\n  - {spacing_max_mm: .}\n", "is not a number in 0..1000"},
        {"rules:\n  - {spacing_max_mm: 1000.5}\n", "1000.5 is not in 0..1000"},
        {"rules:\n  - {spacing_max_mm: nan}\n", "nan is not a number"},
        {"rules:\n  - {box_percent: 4}\n", "rules.box_percent: 4 is not in 5..100"},
        {"rules:\n  - {regions: all}\n", "rules.regions: all is neither box nor mask"},
        {"rules:\n  - {labels: tumour}\n", "rules.labels: tumour is not of the form LABEL=SCHEME:VALUE"},
        {"rules:\n  - {labels: \"a=SCT:1; b=SCT\"}\n", "is not of the form LABEL=SCHEME:VALUE"},
        {"rules:\n  - {labels: \"a=SCT:12345678901234567\"}\n", "is not of the form LABEL=SCHEME:VALUE"},
        {"rules:\n  - {name: a b}\n", "rules.name: a b has a character other than letters"},
        {"rules:\n  - {name: a}\n  - {name: a, modality: CT}\n", "rules 1 and 2 have the same name, a"},
        {"rules:\n  - {destinations: pacs}\n", "rule 1: there is no destination \"pacs\""},
        {"rules:\n  - {destinations: \"\"}\n", "rules.destinations: is empty"},
        {"rules:\n  - {destinations: \"a, b\"}\ndestinations:\n  - {name: a, ae_title: A, host: h, port: "
         "1}\n",
         "rule 1: there is no destination \"b\""},
        {"rules: []\nrules: []\n", " line 2: rules is there twice"},
        {"rule: []\n", " line 1: there is no section rule; did you mean rules?"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        refused(cases[i].yaml, strlen(cases[i].yaml), cases[i].sentence);
}

static void limits_of_the_file(void **state)
{
    msa_error err = MSA_ERROR_INIT;
    srv_config config;
    const size_t size = (1 << 20) + 1;
    char *big = malloc(size);
    (void)state;
    assert_non_null(big);
    memset(big, '#', size);
    refused(big, size, "is larger than 1 MiB");
    write_file(big, size - 1); /* one comment of exactly the limit */
    assert_int_equal(srv_config_load(&config, path, NULL), MSA_OK);
    memset(big, '[', 200000); /* nesting costs neither stack nor time */
    refused(big, 200000, "line 1");
    free(big);
    char many[4096] = "destinations:\n";
    for (int i = 0; i <= SRV_DESTINATIONS_MAX; i++) {
        const size_t n = strlen(many);
        (void)snprintf(many + n, sizeof many - n, "  - {name: n%d, ae_title: A, host: h, port: 1}\n", i);
    }
    refused(many, strlen(many), "more than 16 destinations");
    (void)snprintf(many, sizeof many, "rules:\n");
    for (int i = 0; i <= SRV_RULES_MAX; i++) {
        const size_t n = strlen(many);
        (void)snprintf(many + n, sizeof many - n, "  - {modality: M%d, adapter: a}\n", i);
    }
    refused(many, strlen(many), "more than 32 rules");
    assert_int_equal(srv_config_load(&config, "/nonexistent/msad.yaml", &err), MSA_E_NOT_FOUND);
    assert_non_null(strstr(err.what, "/nonexistent/msad.yaml"));
    msa_error folder = MSA_ERROR_INIT;
    assert_int_equal(srv_config_load(&config, dir, &folder), MSA_E_IO);
    assert_non_null(strstr(folder.what, "is not a file"));
}

/* Bytes that are no configuration: any outcome but a crash, and never half a configuration. */
static void mutations(void **state)
{
    srv_config config, defaults;
    uint32_t seed = 20240607;
    (void)state;
    assert_int_equal(srv_config_load(&defaults, NULL, NULL), MSA_OK);
    char *good = printed(&defaults);
    const size_t size = strlen(good);
    char *bad = malloc(size);
    assert_non_null(bad);
    int refusals = 0;
    for (int round = 0; round < 400; round++) {
        memcpy(bad, good, size);
        for (int k = 0; k < 1 + round % 5; k++) {
            seed = seed * 1664525u + 1013904223u;
            bad[(seed >> 8) % size] = (char)(seed >> 3);
        }
        write_file(bad, size - seed % 7);
        msa_error err = MSA_ERROR_INIT;
        if (srv_config_load(&config, path, &err) == MSA_OK) continue;
        refusals++;
        assert_true(err.what[0] != '\0');
        assert_memory_equal(&config, &defaults, sizeof config);
    }
    assert_true(refusals > 50);
    free(bad);
    free(good);
}

static void reference_file(void **state)
{
    srv_config defaults, loaded;
    (void)state;
    assert_int_equal(srv_config_load(&defaults, NULL, NULL), MSA_OK);
    char *text = printed(&defaults);
    FILE *f = fopen(reference_path, "rb");
    assert_non_null(f);
    char *file = calloc(1, 1 << 16);
    assert_non_null(file);
    assert_true(fread(file, 1, (1 << 16) - 1, f) > 0);
    assert_int_equal(fclose(f), 0);
    assert_string_equal(file, text); /* config/msad.yaml is what --print-config prints */
    msa_error err = MSA_ERROR_INIT;
    if (srv_config_load(&loaded, reference_path, &err) != MSA_OK) fail_msg("%s", err.what);
    assert_memory_equal(&loaded, &defaults, sizeof loaded);
    assert_string_equal(loaded.dicom_ae_title, "MSAD");
    assert_int_equal(loaded.dicom_port, 11112);
    assert_int_equal(loaded.http_port, 8090);
    assert_string_equal(loaded.http_bind, "127.0.0.1");
    assert_int_equal(loaded.n_rules, 2);
    assert_string_equal(loaded.rules[0].modality, "CT");
    assert_string_equal(loaded.rules[0].adapter, "default-ct");
    assert_string_equal(loaded.rules[1].modality, "MR");
    free(file);
    free(text);
}

/* Every setting away from its default, awkward texts, destinations: printed and loaded again it is the same.
 */
static void round_trip(void **state)
{
    srv_config config, again;
    static const char *const yaml =
        "storage: {path: \"/var/lib/\\u00e4 \\\"q\\\" # c: d\"}\n"
        "dicom:\n  ae_title: 'A B: #1'\n  bind: '::'\n  accept_any_called_ae: true\n"
        "http: {bind: '::1', port: 0}\n"
        "model: {path: '~'}\n"
        "result: {series_description: 'null'}\n"
        "log: {level: debug}\n"
        "completeness:\n"
        "rules:\n- {modality: 'PT', adapter: ''}\n- {modality: PT, body_part: LUNG, label: 'a \\ \"b\"', "
        "adapter: x}\n"
        "- {modality: PT, body_part: LUNG, prompts: auto, adapter: x}\n- {adapter: /a/b \"c\".safetensors, "
        "modality: '*'}\n"
        "- {name: all, modality: MR, body_part: HEAD, study: '*tumo[u]r*', series: '*T1 \"x\"', protocol: "
        "'p?', "
        "sender: MR*, orientation: oblique, slices_min: 20, slices_max: 400, spacing_max_mm: 2.5, adapter: "
        "'', "
        "prompts: default-box, box_percent: 33, regions: mask, default_label: lesion, "
        "labels: 'a=SCT:1:A; b = 99X:2', settle_ms: 1, quiet_ms: 2, destinations: 'one,two'}\n"
        "sources: [{ae_title: ARCHIVE, host: a.example, port: 104}]\n"
        "destinations:\n"
        "- {name: one, ae_title: 'X Y', host: '2001:db8::1', port: 104}\n"
        "- name: two\n  port: 65535\n  host: pacs.example\n  ae_title: TWO\n";
    (void)state;
    write_file(yaml, strlen(yaml));
    msa_error err = MSA_ERROR_INIT;
    if (srv_config_load(&config, path, &err) != MSA_OK) fail_msg("%s", err.what);
    assert_string_equal(config.storage_path, "/var/lib/\xc3\xa4 \"q\" # c: d");
    assert_string_equal(config.model_path, "~");
    assert_int_equal(config.n_rules, 5);
    assert_int_equal(config.rules[4].number, 5);
    assert_true(config.rules[4].spacing_max_mm == 2.5);
    assert_int_equal(config.rules[4].slices_min, 20);
    assert_string_equal(config.rules[4].destinations, "one,two");
    assert_int_equal(config.rules[0].box_percent, 50);
    assert_string_equal(config.rules[0].modality, "PT");
    assert_string_equal(config.rules[0].adapter, "");
    assert_string_equal(config.rules[0].body_part, "*");
    assert_string_equal(config.rules[0].label, "*");
    assert_string_equal(config.rules[0].prompts, "wait");
    assert_string_equal(config.rules[1].label, "a \\ \"b\"");
    assert_string_equal(config.rules[2].body_part, "LUNG");
    assert_string_equal(config.rules[2].prompts, "auto");
    assert_string_equal(config.rules[3].adapter, "/a/b \"c\".safetensors");
    assert_int_equal(config.n_destinations, 2);
    assert_string_equal(config.destinations[0].calling_ae, "A B: #1");
    assert_int_equal(config.destinations[1].port, 65535);
    assert_int_equal(config.destinations[1].timeout_s, 60);
    for (size_t i = 0; i < srv_n_settings; i++) {
        const int32_t other = srv_settings[i].max - 1;
        if (srv_settings[i].kind == SRV_SETTING_INT)
            memcpy((char *)&config + srv_settings[i].offset, &other, sizeof other);
    }
    config.delivery_retry_min_s = 7;
    config.dicom_associate_timeout_s = 8;
    config.http_port = 9;
    for (int32_t i = 0; i < config.n_destinations; i++)
        config.destinations[i].timeout_s = config.delivery_timeout_s;
    config.sources[0].timeout_s = config.delivery_timeout_s;
    char *text = printed(&config);
    write_file(text, strlen(text));
    msa_error err2 = MSA_ERROR_INIT;
    if (srv_config_load(&again, path, &err2) != MSA_OK) fail_msg("%s", err2.what);
    assert_memory_equal(&again, &config, sizeof again);
    free(text);
}

static void environment(void **state)
{
    srv_config config;
    msa_error err = MSA_ERROR_INIT;
    static const char *const yaml =
        "dicom: {port: 104}\ndestinations:\n- {name: x, ae_title: X, host: h, port: 1}\n";
    (void)state;
    write_file(yaml, strlen(yaml));
    assert_int_equal(setenv("MSAD_DICOM_PORT", "2104", 1), 0);
    assert_int_equal(setenv("MSAD_DICOM_ACCEPT_ANY_CALLED_AE", "true", 1), 0);
    assert_int_equal(setenv("MSAD_MODEL_PATH", "/m.safetensors", 1), 0);
    assert_int_equal(
        setenv("MSAD_RULES", "MR=/m.safetensors, CT/LIVER/tumour 1/2=zoo, CT/LIVER=auto:zoo, *=", 1), 0);
    assert_int_equal(setenv("MSAD_SOURCES", "BIG ARCHIVE@archive.example:105", 1), 0);
    assert_int_equal(setenv("MSAD_DESTINATIONS", "pacs=MY PACS@pacs.example:104, six=S@[::1]:11113", 1), 0);
    if (srv_config_load(&config, path, &err) != MSA_OK) fail_msg("%s", err.what);
    assert_int_equal(config.dicom_port, 2104);
    assert_true(config.dicom_accept_any_called_ae);
    assert_string_equal(config.model_path, "/m.safetensors");
    assert_int_equal(config.n_destinations, 2); /* in place of those in the file */
    assert_string_equal(config.destinations[0].name, "pacs");
    assert_string_equal(config.destinations[0].ae_title, "MY PACS");
    assert_string_equal(config.destinations[0].host, "pacs.example");
    assert_int_equal(config.destinations[0].port, 104);
    assert_string_equal(config.destinations[1].host, "::1");
    assert_int_equal(config.destinations[1].port, 11113);
    assert_int_equal(config.n_sources, 1);
    assert_string_equal(config.sources[0].ae_title, "BIG ARCHIVE");
    assert_string_equal(config.sources[0].calling_ae, "MSAD");
    assert_int_equal(config.sources[0].port, 105);
    assert_int_equal(config.n_rules, 4); /* in place of the built-in ones */
    assert_string_equal(config.rules[0].modality, "MR");
    assert_string_equal(config.rules[0].adapter, "/m.safetensors");
    assert_string_equal(config.rules[0].prompts, "wait");
    assert_string_equal(config.rules[1].body_part, "LIVER");
    assert_string_equal(config.rules[1].label, "tumour 1/2");
    assert_string_equal(config.rules[1].adapter, "zoo");
    assert_string_equal(config.rules[2].label, "*");
    assert_string_equal(config.rules[2].prompts, "auto");
    assert_string_equal(config.rules[2].adapter, "zoo");
    assert_string_equal(config.rules[3].modality, "*");
    assert_string_equal(config.rules[3].adapter, "");

    static const struct {
        const char *name, *value, *sentence;
    } bad[] = {
        {"MSAD_DICOM_PORT", "70000", "MSAD_DICOM_PORT: 70000 is not in 0..65535"},
        {"MSAD_DICOM_PORT", "", "MSAD_DICOM_PORT:  is not a whole number"},
        {"MSAD_HTTP_BIND", "0.0.0", "MSAD_HTTP_BIND: 0.0.0 is not a numeric address"},
        {"MSAD_DICOM_AE_TITLE", "", "MSAD_DICOM_AE_TITLE: is empty"},
        {"MSAD_DESTINATIONS", "pacs", "pacs is not of the form NAME=AE@host:port"},
        {"MSAD_DESTINATIONS", "pacs=A@h", "is not of the form"},
        {"MSAD_DESTINATIONS", "pacs=A@h:x", "port: x is not a whole number"},
        {"MSAD_DESTINATIONS", "pacs=@h:1", "ae_title: is empty"},
        {"MSAD_SOURCES", "a=A@h", "MSAD_SOURCES: a=A@h is not of the form AE@host:port"},
        {"MSAD_SOURCES", "@h:1", "MSAD_SOURCES: @h:1: ae_title: is empty"},
        {"MSAD_SOURCES", "A@h:1, A@g:2", "two are called the same (ae_title A)"},
        {"MSAD_DESTINATIONS", "a=A@h:1,a=B@h:2", "two are called the same (name a)"},
        {"MSAD_RULES", "CT",
         "MSAD_RULES: CT is not of the form MODALITY[/BODY_PART[/LABEL]]=[POLICY:]ADAPTER"},
        {"MSAD_RULES", "ct=a", "modality: ct is not a code string"},
        {"MSAD_RULES", "CT/=a", "body_part: is empty"},
        {"MSAD_RULES", "CT//x=auto:a", "body_part: is empty"},
        {"MSAD_RULES", "CT/*/x=auto:a", "prompts concerns a series as a whole"},
        {"MSAD_RULES", "CT=a,CT=b", "two rules are for exactly the same series"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        const char *was = getenv(bad[i].name);
        char *kept = was == NULL ? NULL : strdup(was);
        msa_error e = MSA_ERROR_INIT;
        assert_int_equal(setenv(bad[i].name, bad[i].value, 1), 0);
        assert_int_equal(srv_config_load(&config, NULL, &e), MSA_E_PARSE);
        if (strstr(e.what, bad[i].sentence) == NULL) fail_msg("got: %s\nwanted: %s", e.what, bad[i].sentence);
        assert_int_equal(config.dicom_port, 11112);
        assert_int_equal(config.n_destinations, 0);
        assert_int_equal(kept == NULL ? unsetenv(bad[i].name) : setenv(bad[i].name, kept, 1), 0);
        free(kept);
    }
    assert_int_equal(setenv("MSAD_DESTINATIONS", "", 1), 0); /* empties the file's list */
    assert_int_equal(srv_config_load(&config, path, NULL), MSA_OK);
    assert_int_equal(config.n_destinations, 0);
    (void)unsetenv("MSAD_DICOM_PORT");
    (void)unsetenv("MSAD_DICOM_ACCEPT_ANY_CALLED_AE");
    (void)unsetenv("MSAD_MODEL_PATH");
    (void)unsetenv("MSAD_RULES");
    (void)unsetenv("MSAD_DESTINATIONS");
    (void)unsetenv("MSAD_SOURCES");
}

/* The table itself: defaults within their range, names unique, offsets that do not overlap. */
static void table(void **state)
{
    (void)state;
    for (size_t i = 0; i < srv_n_settings; i++) {
        const srv_setting *s = &srv_settings[i];
        if (s->kind == SRV_SETTING_INT) assert_in_range(s->value, s->min, s->max);
        if (s->kind == SRV_SETTING_TEXT && s->check != NULL) assert_null(s->check(s->text));
        assert_true(strlen(s->help) > 10);
        assert_ptr_equal(srv_setting_find(s->section, s->key), s);
        for (size_t k = 0; k < i; k++)
            if (srv_settings[k].offset < s->offset + s->size &&
                s->offset < srv_settings[k].offset + srv_settings[k].size)
                fail_msg("%s.%s shares its field", s->section, s->key);
    }
}

int main(int argc, char **argv)
{
    if (argc != 2 || mkdtemp(dir) == NULL) return 2;
    reference_path = argv[1];
    (void)snprintf(path, sizeof path, "%s/msad.yaml", dir);
    const struct CMUnitTest tests[] = {cmocka_unit_test(table),          cmocka_unit_test(bad_files),
                                       cmocka_unit_test(reference_file), cmocka_unit_test(round_trip),
                                       cmocka_unit_test(environment),    cmocka_unit_test(limits_of_the_file),
                                       cmocka_unit_test(mutations)};
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    (void)unlink(path);
    (void)rmdir(dir);
    return failed;
}
