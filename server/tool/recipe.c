#include "server/tool/recipe.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "engine/base/hash.h"
#include "engine/config.h"

typedef enum key_kind { KEY_I32, KEY_I64, KEY_U64, KEY_NUMBER, KEY_BOOL, KEY_PATH, KEY_CHOICE } key_kind;

typedef struct key {
    const char *name;
    key_kind kind;
    size_t at;
    double min, max;
    const char *const *choices;
    bool shapes; /* the result depends on it */
    const char *help;
} key;

static const char *const sets[] = {"adapters", "adapters+decoder", "all", "lora", NULL};
static const char *const losses[] = {"bce", "dice", "dice_bce", "focal_dice", NULL};
static const char *const schedules[] = {"constant", "cosine", "step", NULL};

#define AT(member)  offsetof(srv_recipe, member)
#define OPT(member) offsetof(srv_recipe, trainer.optimizer.member)
#define MANY        1e12
static const key keys[] = {
    {"base", KEY_PATH, AT(base), 0, 0, NULL, false,
     "model to start from; else \"model\" describes a new one"},
    {"out", KEY_PATH, AT(out), 0, 0, NULL, false, "folder of checkpoint, curve and result"},
    {"name", KEY_PATH, AT(name), 0, 0, NULL, true, "of the result; else that of the base"},
    {"version", KEY_PATH, AT(version), 0, 0, NULL, true, "of the result; else that of the base"},
    {"image_size", KEY_I32, AT(image_size), 0, 2048, NULL, true,
     "train: all on a base: another size; 0: the base's"},
    {"depth_slices", KEY_I32, AT(depth_slices), 0, MSA_STACK_MAX, NULL, true,
     "slices that see each other, by a depth branch that the base need not have; 0: as the base"},
    {"detail", KEY_I32, AT(detail), 0, 256, NULL, true,
     "train: all on a base: channels of detail that it does not have yet"},
    {"box_in_image", KEY_BOOL, AT(box_in_image), 0, 0, NULL, true,
     "train: all on a base: it sees the box in its picture from now on"},
    {"half", KEY_BOOL, AT(half), 0, 0, NULL, false, "store the result in half precision"},
    {"train", KEY_CHOICE, AT(set), 0, 0, sets, true, "what trains"},
    {"adapter_width", KEY_I32, AT(adapter_width), 0, 4096, NULL, true, "of new adapters; 0: dim / 4"},
    {"lora_rank", KEY_I32, AT(lora_rank), 1, 1024, NULL, true, "train lora: of the updates"},
    {"lora_alpha", KEY_NUMBER, AT(lora_alpha), 1e-3, 1e4, NULL, true,
     "train lora: scale, times 1 / lora_rank"},
    {"steps", KEY_I64, AT(steps), 1, MANY, NULL, false, "steps of the optimiser in all"},
    {"batch", KEY_I32, AT(trainer.batch), 1, 4096, NULL, true, "pictures in a step"},
    {"lanes", KEY_I32, AT(trainer.lanes), 1, MSA_LANES_MAX, NULL, true,
     "pictures worked on side by side, a thread each"},
    {"targets", KEY_I32, AT(trainer.targets), 1, MSA_TARGETS_MAX, NULL, true,
     "most targets learned from one picture"},
    {"seed", KEY_U64, AT(trainer.seed), 0, MANY, NULL, true, "same seed, same result"},
    {"lr", KEY_NUMBER, OPT(lr), 1e-9, 10, NULL, true, "learning rate"},
    {"schedule", KEY_CHOICE, OPT(schedule), 0, 0, schedules, true, "how it falls, after the warm-up"},
    {"warmup", KEY_I64, OPT(warmup_steps), 0, MANY, NULL, true, "steps of rising learning rate"},
    {"lr_min", KEY_NUMBER, OPT(lr_min), 0, 10, NULL, true, "where the cosine ends"},
    {"step_every", KEY_I64, OPT(step_every), 1, MANY, NULL, true, "schedule step: after so many steps"},
    {"step_factor", KEY_NUMBER, OPT(step_factor), 1e-6, 1, NULL, true, "schedule step: times this"},
    {"adamw", KEY_BOOL, OPT(decoupled), 0, 0, NULL, true, "weight decay beside the gradient"},
    {"weight_decay", KEY_NUMBER, OPT(weight_decay), 0, 10, NULL, true, "0: none"},
    {"beta2", KEY_NUMBER, OPT(beta2), 0, 0.999999, NULL, true, "memory of Adam's second moment"},
    {"clip", KEY_NUMBER, OPT(clip_norm), 0, 1e6, NULL, true, "largest norm of all gradients; 0: none"},
    {"ema", KEY_NUMBER, OPT(ema_decay), 0, 0.9999999, NULL, true, "moving average of the weights; 0: none"},
    {"loss", KEY_CHOICE, AT(trainer.loss.kind), 0, 0, losses, true, "of the mask"},
    {"positive_weight", KEY_NUMBER, AT(trainer.loss.positive_weight), 1e-3, 1e3, NULL, true, "in bce"},
    {"focal_weight", KEY_NUMBER, AT(trainer.loss.focal_weight), 0, 1e3, NULL, true, "in focal_dice"},
    {"iou_weight", KEY_NUMBER, AT(trainer.iou_weight), 0, 1e3, NULL, true, "of the predicted IoU"},
    {"box_chance", KEY_NUMBER, AT(trainer.box_chance), 0, 1, NULL, true,
     "first prompt is a box; else a click"},
    {"box_jitter", KEY_NUMBER, AT(trainer.box_jitter), 0, 1, NULL, true, "of each side, part of the box"},
    {"more_chance", KEY_NUMBER, AT(trainer.more_chance), 0, 1, NULL, true, "of rounds after the first"},
    {"rounds", KEY_I32, AT(trainer.rounds_max), 1, MSA_ROUNDS_MAX, NULL, true, "most rounds of one picture"},
    {"recompute", KEY_BOOL, AT(trainer.recompute), 0, 0, NULL, false, "less memory, more time"},
    {"threads", KEY_I32, AT(threads), 0, 64, NULL, false, "of the engine; 0: one a core"},
    {"loaders", KEY_I32, AT(loaders), 1, 64, NULL, false, "threads that make pictures"},
    {"checkpoint_every", KEY_I64, AT(checkpoint_every), 1, MANY, NULL, false, "steps"},
    {"validate_every", KEY_I64, AT(validate_every), 0, MANY, NULL, false,
     "steps between looks at unseen pictures; 0: never"},
    {"validation_pictures", KEY_I32, AT(validation_pictures), 1, 1000000, NULL, false, "how many of them"},
    {"patience", KEY_I32, AT(patience), 0, 1000000, NULL, false,
     "validations without a better Dice that end it; 0: any"},
    {"report_every", KEY_I64, AT(report_every), 1, MANY, NULL, false, "steps, where there is no terminal"},
};
static const key data_keys[] = {
    {"synthetic", KEY_NUMBER, AT(synthetic), 0, 1e6, NULL, true, "weight of drawn scenes"},
    {"volumes", KEY_NUMBER, AT(volumes), 0, 1e6, NULL, true, "weight of the cases"},
    {"cases_at_once", KEY_I32, AT(cases_at_once), 0, 1000000, NULL, false,
     "in memory, the others in turn; 0: all"},
    {"all_orientations", KEY_BOOL, AT(all_orientations), 0, 0, NULL, true, "slices along every axis"},
    {"augment", KEY_NUMBER, AT(augment), 0, 1, NULL, true, "how often pictures of the cases are changed"},
};
static const key validation_keys[] = {
    {"fraction", KEY_NUMBER, AT(validation_fraction), 0, 0.9, NULL, true, "of the patients, drawn"},
    {"seed", KEY_U64, AT(validation_seed), 0, MANY, NULL, true, "of that draw"},
};
#define N_KEYS      (sizeof keys / sizeof *keys)
#define N_DATA_KEYS (sizeof data_keys / sizeof *data_keys)

static void defaults(srv_recipe *r)
{
    *r = (srv_recipe){.set = MSA_TRAIN_ADAPTERS,
                      .lora_rank = 4,
                      .lora_alpha = 1,
                      .steps = 1000,
                      .trainer = msa_trainer_defaults(1, 1e-4),
                      .synthetic = 1,
                      .volumes = 1,
                      .augment = 0.9,
                      .loaders = 1,
                      .checkpoint_every = 200,
                      .validation_pictures = 64,
                      .report_every = 50};
    r->trainer.optimizer.decoupled = true;
    r->trainer.optimizer.step_every = 1000;
    r->trainer.optimizer.step_factor = 0.5;
}

static void free_texts(srv_texts *t)
{
    for (int32_t i = 0; i < t->n; i++)
        free(t->list[i]);
    free(t->list);
    *t = (srv_texts){0};
}

void srv_recipe_clear(srv_recipe *r)
{
    free_texts(&r->cases);
    free_texts(&r->hold_out);
    free_texts(&r->validation_cases);
    free(r->config);
    r->config = NULL;
}

/* ---- values ---- */

/* The value of a key as text: for the hash and for the help. */
static void print_value(const srv_recipe *r, const key *k, const char *number, char *out, size_t size)
{
    const char *from = (const char *)r + k->at;
    int32_t i32 = 0;
    int64_t i64 = 0;
    double number_value = 0;
    bool flag = false;
    switch (k->kind) {
    case KEY_I32:
    case KEY_CHOICE:
        memcpy(&i32, from, sizeof i32);
        if (k->kind == KEY_CHOICE)
            (void)snprintf(out, size, "%s", k->choices[i32]);
        else
            (void)snprintf(out, size, "%" PRId32, i32);
        break;
    case KEY_I64:
    case KEY_U64:
        memcpy(&i64, from, sizeof i64);
        (void)snprintf(out, size, "%" PRId64, i64);
        break;
    case KEY_NUMBER:
        memcpy(&number_value, from, sizeof number_value);
        (void)snprintf(out, size, number, number_value);
        break;
    case KEY_BOOL:
        memcpy(&flag, from, sizeof flag);
        (void)snprintf(out, size, "%s", flag ? "true" : "false");
        break;
    case KEY_PATH:
        (void)snprintf(out, size, "%s", from);
        break;
    }
}

static bool parse_bool(const char *text, bool *value)
{
    *value = strcmp(text, "true") == 0;
    return *value || strcmp(text, "false") == 0;
}

static bool parse_number(const char *text, double *value)
{
    char *end = NULL;
    *value = strtod(text, &end);
    return end != text && *end == '\0' && isfinite(*value);
}

/* False when the text is not a value of the key. */
static bool set_value(srv_recipe *r, const key *k, const char *text)
{
    char *to = (char *)r + k->at;
    double number = 0;
    bool flag = false;
    if (k->kind == KEY_PATH) return (size_t)snprintf(to, SRV_RECIPE_PATH, "%s", text) < SRV_RECIPE_PATH;
    if (k->kind == KEY_BOOL) {
        if (!parse_bool(text, &flag)) return false;
        memcpy(to, &flag, sizeof flag);
        return true;
    }
    if (k->kind == KEY_CHOICE) {
        for (int32_t i = 0; k->choices[i] != NULL; i++)
            if (strcmp(k->choices[i], text) == 0) {
                memcpy(to, &i, sizeof i);
                return true;
            }
        return false;
    }
    if (!parse_number(text, &number) || number < k->min || number > k->max) return false;
    if (k->kind == KEY_NUMBER) {
        memcpy(to, &number, sizeof number);
        return true;
    }
    if (number != floor(number)) return false;
    const int32_t i32 = (int32_t)fmin(number, INT32_MAX);
    const int64_t i64 = (int64_t)number;
    if (k->kind == KEY_I32)
        memcpy(to, &i32, sizeof i32);
    else
        memcpy(to, &i64, sizeof i64);
    return true;
}

void srv_recipe_print_keys(FILE *to)
{
    srv_recipe r;
    char value[SRV_RECIPE_PATH];
    defaults(&r);
    for (size_t i = 0; i < N_KEYS + N_DATA_KEYS; i++) {
        const key *k = i < N_KEYS ? &keys[i] : &data_keys[i - N_KEYS];
        if (i == N_KEYS) (void)fputs("  data:\n", to);
        print_value(&r, k, "%g", value, sizeof value);
        (void)fprintf(to, "  %s%-19s %-12s %s\n", i < N_KEYS ? "" : "  ", k->name, value[0] ? value : "-",
                      k->help);
    }
    (void)fputs("    cases: []                        labelled series or NIfTI, as msa eval finds them\n"
                "    validation: {}                   whole patients kept from training: fraction and seed,\n"
                "                                     or cases: names as in split.json\n"
                "    hold_out: []                     names of labels that are never a target\n"
                "  model: {}                        a new model's configuration, keys as in model files\n",
                to);
}

/* ---- the document ---- */

typedef struct document {
    yaml_document_t doc;
    const char *shown;
    srv_recipe *r;
    bool seen[N_KEYS + N_DATA_KEYS];
} document;

static msa_status fail_at(const document *d, const yaml_node_t *n, msa_error *err, const char *sentence)
{
    return msa_fail(err, MSA_E_PARSE, "%.80s line %d: %s", d->shown, (int)n->start_mark.line + 1, sentence);
}

static const char *text_of(const yaml_node_t *n)
{
    return n->type == YAML_SCALAR_NODE ? (const char *)n->data.scalar.value : NULL;
}

static msa_status read_texts(document *d, const yaml_node_t *n, srv_texts *out, msa_error *err)
{
    if (n->type != YAML_SEQUENCE_NODE) return fail_at(d, n, err, "this must be a list");
    const yaml_node_item_t *first = n->data.sequence.items.start;
    const int32_t count = (int32_t)(n->data.sequence.items.top - first);
    if (out->list != NULL) return fail_at(d, n, err, "this list is given twice");
    out->list = calloc((size_t)count + 1, sizeof *out->list);
    if (out->list == NULL) return msa_fail(err, MSA_E_NOMEM, "no memory for a recipe");
    for (int32_t i = 0; i < count; i++) {
        const char *text = text_of(yaml_document_get_node(&d->doc, first[i]));
        if (text == NULL) return fail_at(d, n, err, "this must be a list of plain values");
        out->list[out->n] = strdup(text);
        if (out->list[out->n++] == NULL) return msa_fail(err, MSA_E_NOMEM, "no memory for a recipe");
    }
    return MSA_OK;
}

/* Plain 5 is a number, "5" a text. */
static json_t *json_of_scalar(const yaml_node_t *n)
{
    const char *text = (const char *)n->data.scalar.value;
    double number = 0;
    bool flag = false;
    if (n->data.scalar.style != YAML_PLAIN_SCALAR_STYLE) return json_string(text);
    if (parse_bool(text, &flag)) return json_boolean(flag);
    if (!parse_number(text, &number)) return json_string(text);
    const bool whole = number == floor(number) && fabs(number) < 1e15;
    return whole ? json_integer((json_int_t)number) : json_real(number);
}

static json_t *json_of(yaml_document_t *doc, const yaml_node_t *n)
{
    if (n->type == YAML_SCALAR_NODE) return json_of_scalar(n);
    json_t *list = json_array();
    if (n->type != YAML_SEQUENCE_NODE) return list;
    for (const yaml_node_item_t *i = n->data.sequence.items.start; i < n->data.sequence.items.top; i++) {
        const yaml_node_t *item = yaml_document_get_node(doc, *i);
        if (item->type == YAML_SCALAR_NODE) (void)json_array_append_new(list, json_of_scalar(item));
    }
    return list;
}

/* The engine checks keys and ranges, as for a model file. */
static msa_status read_model(document *d, const yaml_node_t *n, msa_error *err)
{
    if (n->type != YAML_MAPPING_NODE) return fail_at(d, n, err, "model must be a map");
    json_t *object = json_object();
    for (const yaml_node_pair_t *p = n->data.mapping.pairs.start; p < n->data.mapping.pairs.top; p++) {
        const char *name = text_of(yaml_document_get_node(&d->doc, p->key));
        if (name != NULL)
            (void)json_object_set_new(object, name,
                                      json_of(&d->doc, yaml_document_get_node(&d->doc, p->value)));
    }
    if (d->r->config == NULL) d->r->config = json_dumps(object, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(object);
    return d->r->config != NULL ? MSA_OK : msa_fail(err, MSA_E_NOMEM, "no memory for a recipe");
}

static msa_status read_scalar(document *d, const key *table, size_t n_table, bool *seen, const char *name,
                              const yaml_node_t *value, msa_error *err)
{
    for (size_t i = 0; i < n_table; i++) {
        if (strcmp(table[i].name, name) != 0) continue;
        if (seen[i]) return fail_at(d, value, err, "this key is given twice");
        seen[i] = true;
        if (text_of(value) == NULL || !set_value(d->r, &table[i], text_of(value)))
            return msa_fail(err, MSA_E_PARSE, "%.80s line %d: %s cannot be this; it is: %s", d->shown,
                            (int)value->start_mark.line + 1, name, table[i].help);
        return MSA_OK;
    }
    return msa_fail(err, MSA_E_PARSE, "%.80s line %d: there is no key %.40s here", d->shown,
                    (int)value->start_mark.line + 1, name);
}

/* Which cases are kept from training. */
static msa_status read_validation(document *d, const yaml_node_t *map, msa_error *err)
{
    bool seen[sizeof validation_keys / sizeof *validation_keys] = {false};
    if (map->type != YAML_MAPPING_NODE) return fail_at(d, map, err, "validation must be a map");
    for (const yaml_node_pair_t *p = map->data.mapping.pairs.start; p < map->data.mapping.pairs.top; p++) {
        const char *name = text_of(yaml_document_get_node(&d->doc, p->key));
        const yaml_node_t *value = yaml_document_get_node(&d->doc, p->value);
        if (name != NULL && strcmp(name, "cases") == 0)
            MSA_TRY(read_texts(d, value, &d->r->validation_cases, err));
        else
            MSA_TRY(read_scalar(d, validation_keys, sizeof seen / sizeof *seen, seen, name ? name : "", value,
                                err));
    }
    if (d->r->validation_cases.n > 0 && d->r->validation_fraction > 0)
        return fail_at(d, map, err, "validation takes either a fraction or cases");
    return MSA_OK;
}

static msa_status read_map(document *d, const yaml_node_t *map, bool data, msa_error *err)
{
    if (map->type != YAML_MAPPING_NODE) return fail_at(d, map, err, "this must be a map");
    for (const yaml_node_pair_t *p = map->data.mapping.pairs.start; p < map->data.mapping.pairs.top; p++) {
        const char *name = text_of(yaml_document_get_node(&d->doc, p->key));
        const yaml_node_t *value = yaml_document_get_node(&d->doc, p->value);
        if (name == NULL) return fail_at(d, map, err, "a key must be a plain word");
        if (data && strcmp(name, "cases") == 0)
            MSA_TRY(read_texts(d, value, &d->r->cases, err));
        else if (data && strcmp(name, "hold_out") == 0)
            MSA_TRY(read_texts(d, value, &d->r->hold_out, err));
        else if (data && strcmp(name, "validation") == 0)
            MSA_TRY(read_validation(d, value, err));
        else if (data)
            MSA_TRY(read_scalar(d, data_keys, N_DATA_KEYS, d->seen + N_KEYS, name, value, err));
        else if (strcmp(name, "data") == 0)
            MSA_TRY(read_map(d, value, true, err));
        else if (strcmp(name, "model") == 0)
            MSA_TRY(read_model(d, value, err));
        else
            MSA_TRY(read_scalar(d, keys, N_KEYS, d->seen, name, value, err));
    }
    return MSA_OK;
}

/* ---- the whole ---- */

/* Nothing where they have their defaults: recipes from before there was such a key keep their hash. */
static void hash_cases(msa_sha256 *h, const srv_recipe *r)
{
    char value[64];
    if (r->cases_at_once > 0) {
        (void)snprintf(value, sizeof value, "cases_at_once %" PRId32, r->cases_at_once);
        msa_sha256_update(h, value, strlen(value) + 1);
    }
    if (r->validation_fraction > 0) {
        (void)snprintf(value, sizeof value, "validation %a %" PRIu64, r->validation_fraction,
                       r->validation_seed);
        msa_sha256_update(h, value, strlen(value) + 1);
    }
    for (int32_t i = 0; i < r->validation_cases.n; i++) {
        msa_sha256_update(h, "validation", sizeof "validation");
        msa_sha256_update(h, r->validation_cases.list[i], strlen(r->validation_cases.list[i]) + 1);
    }
}

static msa_status hash_recipe(srv_recipe *r, msa_error *err)
{
    char value[SRV_RECIPE_PATH];
    msa_sha256 *h = msa_sha256_new();
    if (h == NULL) return msa_fail(err, MSA_E_NOMEM, "no memory for a recipe");
    for (size_t i = 0; i < N_KEYS + N_DATA_KEYS; i++) {
        const key *k = i < N_KEYS ? &keys[i] : &data_keys[i - N_KEYS];
        /* A constant rate may run longer than was planned; a cosine would have another shape. */
        const bool length = k->at == AT(steps) && r->trainer.optimizer.schedule == MSA_SCHEDULE_COSINE;
        /* A recipe that they do not shape keeps the hash it had before there were such keys. */
        const bool other = strncmp(k->name, "lora_", 5) == 0 && r->set != MSA_TRAIN_LORA;
        if ((!k->shapes && !length) || other) continue;
        print_value(r, k, "%a", value, sizeof value);
        msa_sha256_update(h, k->name, strlen(k->name) + 1);
        msa_sha256_update(h, value, strlen(value) + 1);
    }
    const srv_texts *lists[] = {&r->cases, &r->hold_out};
    for (int l = 0; l < 2; l++)
        for (int32_t i = 0; i <= lists[l]->n; i++) {
            const char *text = i < lists[l]->n ? lists[l]->list[i] : "";
            msa_sha256_update(h, text, strlen(text) + 1);
        }
    hash_cases(h, r);
    if (r->config != NULL) msa_sha256_update(h, r->config, strlen(r->config));
    msa_sha256_hex(h, r->hash);
    msa_sha256_free(h);
    return MSA_OK;
}

static msa_status check_whole(const document *d, msa_error *err)
{
    const srv_recipe *r = d->r;
    if (r->out[0] == '\0') return msa_fail(err, MSA_E_PARSE, "%.80s: out is missing", d->shown);
    if ((r->base[0] == '\0') != (r->config != NULL))
        return msa_fail(err, MSA_E_PARSE, "%.80s: either base or model must be given", d->shown);
    if (r->base[0] == '\0' && r->set != MSA_TRAIN_ALL)
        return msa_fail(err, MSA_E_PARSE, "%.80s: a new model has to train all of itself (train: all)",
                        d->shown);
    if (r->patience > 0 && r->validate_every == 0)
        return msa_fail(err, MSA_E_PARSE, "%.80s: patience counts validations: validate_every is missing",
                        d->shown);
    if (!(r->synthetic > 0) && !(r->volumes > 0 && r->cases.n > 0))
        return msa_fail(err, MSA_E_PARSE, "%.80s: there is nothing to learn from: data has no source",
                        d->shown);
    return MSA_OK;
}

static msa_status parse(document *d, FILE *from, msa_error *err)
{
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser)) return msa_fail(err, MSA_E_NOMEM, "no memory for a recipe");
    yaml_parser_set_input_file(&parser, from);
    msa_status status = MSA_OK;
    if (!yaml_parser_load(&parser, &d->doc)) {
        status = msa_fail(err, MSA_E_PARSE, "%.80s line %d: this is not YAML: %s", d->shown,
                          (int)parser.problem_mark.line + 1, parser.problem ? parser.problem : "malformed");
        yaml_parser_delete(&parser);
        return status;
    }
    yaml_parser_delete(&parser);
    const yaml_node_t *root = yaml_document_get_root_node(&d->doc);
    status =
        root != NULL ? read_map(d, root, false, err) : msa_fail(err, MSA_E_PARSE, "%.80s is empty", d->shown);
    yaml_document_delete(&d->doc);
    return status;
}

msa_status srv_recipe_read(srv_recipe *r, const char *path, msa_error *err)
{
    document d = {.shown = path, .r = r};
    defaults(r);
    FILE *from = fopen(path, "rb");
    if (from == NULL)
        return msa_fail(err, errno == ENOENT ? MSA_E_NOT_FOUND : MSA_E_IO, "cannot open %s: %s", path,
                        strerror(errno));
    msa_status status = parse(&d, from, err);
    (void)fclose(from);
    if (status == MSA_OK) status = check_whole(&d, err);
    /* The key "loss" names a kind; weights that nobody gave are those of the kind. */
    r->trainer.optimizer.total_steps = r->steps;
    if (status == MSA_OK) status = hash_recipe(r, err);
    if (status != MSA_OK) srv_recipe_clear(r);
    return status;
}
