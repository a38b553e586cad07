#include "server/core/rule.h"

#include <fnmatch.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* ---- what it is for ---- */

static bool is_any(const char *text)
{
    return text[0] == '\0' || strcmp(text, "*") == 0;
}

static bool says(char why[SRV_RULE_WHY_MAX], const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Always false, so that it can end a test. */
static bool says(char why[SRV_RULE_WHY_MAX], const char *format, ...)
{
    va_list args;
    if (why == NULL) return false;
    va_start(args, format);
    (void)vsnprintf(why, SRV_RULE_WHY_MAX, format, args);
    va_end(args);
    return false;
}

static bool fits_word(const char *what, const char *wanted, const char *is, char why[SRV_RULE_WHY_MAX])
{
    if (is_any(wanted) || strcasecmp(wanted, is) == 0) return true;
    return is[0] == '\0' ? says(why, "it is for %s %s, and the series does not say", what, wanted)
                         : says(why, "it is for %s %s, not %s", what, wanted, is);
}

/* The text of the series is not repeated: people write names into descriptions. */
static bool fits_glob(const char *what, const char *wanted, const char *is, char why[SRV_RULE_WHY_MAX])
{
    if (is_any(wanted) || fnmatch(wanted, is, FNM_CASEFOLD | FNM_NOESCAPE) == 0) return true;
    return is[0] == '\0'
               ? says(why, "it is for a %s like %.80s, and the series has none", what, wanted)
               : says(why, "it is for a %s like %.80s, and that of the series is not", what, wanted);
}

static bool fits_counts(const srv_rule *rule, const srv_rule_subject *s, char why[SRV_RULE_WHY_MAX])
{
    if ((rule->slices_min > 0 || rule->slices_max > 0) && s->slices <= 0)
        return says(why,
                    "it is for series of certain numbers of slices, and how many this one has is not known");
    if (rule->slices_min > 0 && s->slices < rule->slices_min)
        return says(why, "it is for series of at least %d slices, and this one has %d", rule->slices_min,
                    s->slices);
    if (rule->slices_max > 0 && s->slices > rule->slices_max)
        return says(why, "it is for series of at most %d slices, and this one has %d", rule->slices_max,
                    s->slices);
    if (!(rule->spacing_max_mm > 0)) return true;
    if (!(s->spacing_mm > 0))
        return says(why, "it is for slices at most %g mm apart, and how far these are is not known",
                    rule->spacing_max_mm);
    /* headers round: 2.9999 mm and 3.0001 mm are both 3 mm */
    return s->spacing_mm <= rule->spacing_max_mm * 1.001
               ? true
               : says(why, "it is for slices at most %g mm apart, and these are %g mm", rule->spacing_max_mm,
                      s->spacing_mm);
}

static bool fits_label(const srv_rule *rule, const dicom_prompt *prompt, char why[SRV_RULE_WHY_MAX])
{
    char code[sizeof prompt->type.scheme + sizeof prompt->type.value + 1];
    if (is_any(rule->label)) return true;
    if (prompt == NULL) return says(why, "it is for prompts of the label %.60s only", rule->label);
    (void)snprintf(code, sizeof code, "%s:%s", prompt->type.scheme, prompt->type.value);
    if (strcasecmp(rule->label, prompt->label) == 0) return true;
    if (prompt->type.value[0] != '\0' && strcasecmp(rule->label, code) == 0) return true;
    return says(why, "it is for the label %.60s, not %.60s", rule->label,
                prompt->label[0] == '\0' ? "one without a name" : prompt->label);
}

bool srv_rule_fits(const srv_rule *rule, const srv_rule_subject *s, const dicom_prompt *prompt,
                   char why[SRV_RULE_WHY_MAX])
{
    if (rule->model < 0) return says(why, "its adapter %.80s cannot be used", rule->adapter);
    return fits_word("the modality", rule->modality, s->modality, why) &&
           fits_word("the body part", rule->body_part, s->body_part, why) &&
           fits_glob("Study Description", rule->study, s->study, why) &&
           fits_glob("Series Description", rule->series, s->series, why) &&
           fits_glob("Protocol Name", rule->protocol, s->protocol, why) &&
           fits_glob("calling AE title", rule->sender, s->sender, why) &&
           fits_word("the orientation", rule->orientation, s->orientation, why) &&
           fits_counts(rule, s, why) && fits_label(rule, prompt, why);
}

typedef struct description {
    char *text;
    int n_parts;
} description;

static void add_part(description *d, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void add_part(description *d, const char *format, ...)
{
    const size_t n = strlen(d->text);
    const int k = snprintf(d->text + n, SRV_RULE_TEXT_MAX - n, "%s", d->n_parts++ == 0 ? "it is for " : ", ");
    va_list args;
    if (k < 0 || (size_t)k >= SRV_RULE_TEXT_MAX - n) return;
    va_start(args, format);
    (void)vsnprintf(d->text + n + (size_t)k, SRV_RULE_TEXT_MAX - n - (size_t)k, format, args);
    va_end(args);
}

void srv_rule_describe(const srv_rule *r, char out[SRV_RULE_TEXT_MAX])
{
    description d = {out, 0};
    out[0] = '\0';
    if (!is_any(r->modality)) add_part(&d, "the modality %s", r->modality);
    if (!is_any(r->body_part)) add_part(&d, "the body part %s", r->body_part);
    if (!is_any(r->study)) add_part(&d, "a Study Description like %.80s", r->study);
    if (!is_any(r->series)) add_part(&d, "a Series Description like %.80s", r->series);
    if (!is_any(r->protocol)) add_part(&d, "a Protocol Name like %.80s", r->protocol);
    if (!is_any(r->sender)) add_part(&d, "a calling AE title like %s", r->sender);
    if (!is_any(r->orientation)) add_part(&d, "the orientation %s", r->orientation);
    if (r->slices_min > 0) add_part(&d, "at least %d slices", r->slices_min);
    if (r->slices_max > 0) add_part(&d, "at most %d slices", r->slices_max);
    if (r->spacing_max_mm > 0) add_part(&d, "slices at most %g mm apart", r->spacing_max_mm);
    if (!is_any(r->label)) add_part(&d, "the label %.60s", r->label);
    if (d.n_parts == 0) (void)snprintf(out, SRV_RULE_TEXT_MAX, "it is for everything");
}

bool srv_rule_is_for_all(const srv_rule *rule)
{
    static const srv_rule_subject unknown;
    return rule->slices_min <= 0 && rule->slices_max <= 0 && srv_rule_fits(rule, &unknown, NULL, NULL);
}

const char *srv_orientation_of(const double row_dir[3], const double col_dir[3])
{
    static const char *const names[3] = {"sagittal", "coronal", "axial"};
    const double normal[3] = {row_dir[1] * col_dir[2] - row_dir[2] * col_dir[1],
                              row_dir[2] * col_dir[0] - row_dir[0] * col_dir[2],
                              row_dir[0] * col_dir[1] - row_dir[1] * col_dir[0]};
    for (int axis = 0; axis < 3; axis++)
        if (fabs(normal[axis]) >= 0.8660254) return names[axis]; /* cos 30 degrees */
    return "oblique";
}

/* ---- what it says ---- */

static const char *const policies[] = {"wait", "auto", "default-box", "skip"};

const char *srv_policy_name(srv_policy policy)
{
    return policies[policy];
}

bool srv_policy_named(const char *name, srv_policy *out)
{
    for (int i = SRV_POLICY_WAIT; i <= SRV_POLICY_SKIP; i++)
        if (strcmp(policies[i], name) == 0) {
            *out = (srv_policy)i;
            return true;
        }
    return false;
}

srv_policy srv_rule_policy(const srv_rule *rule)
{
    srv_policy policy = SRV_POLICY_WAIT;
    (void)srv_policy_named(rule->prompts, &policy); /* "": it waits */
    return policy;
}

void srv_rule_title(const srv_rule *rule, char out[64])
{
    if (rule->name[0] != '\0')
        (void)snprintf(out, 64, "%s", rule->name);
    else
        (void)snprintf(out, 64, "%d", rule->number);
}

/* ---- lists in a text ---- */

/* The part of *rest up to `separator`, without blanks around it; *rest is behind it, NULL after the last. */
static const char *next_part(const char **rest, char separator, size_t *size)
{
    const char *part = *rest, *end = strchr(part, separator);
    *rest = end == NULL ? NULL : end + 1;
    size_t n = end == NULL ? strlen(part) : (size_t)(end - part);
    while (n > 0 && *part == ' ')
        part++, n--;
    while (n > 0 && part[n - 1] == ' ')
        n--;
    *size = n;
    return part;
}

static bool copy_part(char *to, size_t room, const char *part, size_t n)
{
    if (n >= room) return false;
    memcpy(to, part, n);
    to[n] = '\0';
    return true;
}

typedef struct entry {
    char label[DICOM_LABEL_MAX];
    dicom_code code;
} entry;

/* One "LABEL=SCHEME:VALUE[:MEANING]". */
static bool read_entry(const char *text, size_t n, entry *out)
{
    char whole[2 * DICOM_LABEL_MAX + 64];
    size_t size = 0;
    if (!copy_part(whole, sizeof whole, text, n)) return false;
    char *equals = strchr(whole, '=');
    if (equals == NULL) return false;
    *equals = '\0';
    const char *rest = whole, *part = next_part(&rest, '=', &size);
    if (size == 0 || !copy_part(out->label, sizeof out->label, part, size)) return false;
    rest = equals + 1;
    part = next_part(&rest, ':', &size);
    if (size == 0 || rest == NULL || !copy_part(out->code.scheme, sizeof out->code.scheme, part, size))
        return false;
    part = next_part(&rest, ':', &size);
    if (size == 0 || !copy_part(out->code.value, sizeof out->code.value, part, size)) return false;
    if (rest == NULL)
        return copy_part(out->code.meaning, sizeof out->code.meaning, out->label, strlen(out->label));
    part = next_part(&rest, '\0', &size);
    return size > 0 && copy_part(out->code.meaning, sizeof out->code.meaning, part, size);
}

bool srv_rule_code_of(const srv_rule *rule, const char *label, dicom_code *out)
{
    for (const char *rest = rule->labels; rest != NULL && *rest != '\0';) {
        size_t n = 0;
        const char *part = next_part(&rest, ';', &n);
        entry one = {0};
        if (n == 0 || !read_entry(part, n, &one) || strcasecmp(one.label, label) != 0) continue;
        *out = one.code;
        return true;
    }
    return false;
}

const char *srv_rule_labels_wrong(const char *labels)
{
    for (const char *rest = labels; rest != NULL && *rest != '\0';) {
        size_t n = 0;
        const char *part = next_part(&rest, ';', &n);
        entry one = {0};
        if (n > 0 && !read_entry(part, n, &one))
            return "is not of the form LABEL=SCHEME:VALUE:MEANING; ... (SCHEME and VALUE of at most 16 "
                   "characters)";
    }
    return NULL;
}

bool srv_rule_sends_to(const srv_rule *rule, const char *destination)
{
    if (is_any(rule->destinations)) return true;
    for (const char *rest = rule->destinations; rest != NULL;) {
        size_t n = 0;
        const char *part = next_part(&rest, ',', &n);
        if (n == strlen(destination) && memcmp(part, destination, n) == 0) return true;
    }
    return false;
}
