#include "server/core/config.h"

#include <stdlib.h>
#include <string.h>

#include "server/core/config_table.h"

/* A double-quoted scalar. Texts were checked when they were set: no control character is left to escape. */
static void print_text(FILE *to, const char *text)
{
    (void)fputc('"', to);
    for (const char *c = text; *c != '\0'; c++) {
        if (*c == '"' || *c == '\\') (void)fputc('\\', to);
        (void)fputc(*c, to);
    }
    (void)fputc('"', to);
}

/* The shortest of at most ten decimals; always with a dot, whatever the locale. */
static void print_number(FILE *to, double value)
{
    char text[64];
    int decimals = 0;
    do
        (void)snprintf(text, sizeof text, "%.*f", decimals, value);
    while (strtod(text, NULL) != value && decimals++ < 10);
    for (char *c = text; *c != '\0'; c++)
        if (*c == ',') *c = '.';
    (void)fputs(text, to);
}

static void print_value(FILE *to, const srv_setting *s, const void *base)
{
    const char *field = (const char *)base + s->offset;
    int32_t number = 0;
    double real = 0;
    bool yes = false;
    switch (s->kind) {
    case SRV_SETTING_INT:
        memcpy(&number, field, sizeof number);
        (void)fprintf(to, "%d", number);
        break;
    case SRV_SETTING_BOOL:
        memcpy(&yes, field, sizeof yes);
        (void)fputs(yes ? "true" : "false", to);
        break;
    case SRV_SETTING_TEXT:
        print_text(to, field);
        break;
    case SRV_SETTING_NUMBER:
        memcpy(&real, field, sizeof real);
        print_number(to, real);
        break;
    }
}

static void print_setting(FILE *to, const srv_setting *s, const srv_config *config)
{
    char env[64];
    srv_setting_env(s, env);
    (void)fprintf(to, "  # %s\n  # ", s->help);
    if (s->kind == SRV_SETTING_INT) (void)fprintf(to, "%d..%d, ", s->min, s->max);
    if (s->kind == SRV_SETTING_BOOL) (void)fprintf(to, "true or false, ");
    (void)fprintf(to, "default ");
    if (s->kind == SRV_SETTING_INT) (void)fprintf(to, "%d", s->value);
    if (s->kind == SRV_SETTING_BOOL) (void)fprintf(to, "%s", s->value != 0 ? "true" : "false");
    if (s->kind == SRV_SETTING_TEXT) print_text(to, s->text);
    (void)fprintf(to, "; %s\n  %s: ", env, s->key);
    print_value(to, s, config);
    (void)fputc('\n', to);
}

static void print_field_help(FILE *to, const srv_setting *s)
{
    (void)fprintf(to, "#   %s: %s", s->key, s->help);
    if (!srv_setting_is_required(s) && s->kind == SRV_SETTING_INT)
        (void)fprintf(to, " (%d..%d, default %d)", s->min, s->max, s->value);
    if (!srv_setting_is_required(s) && s->kind == SRV_SETTING_TEXT)
        (void)fprintf(to, " (default \"%s\")", s->text);
    (void)fputc('\n', to);
}

static void print_list(FILE *to, const srv_list *list, const srv_config *config)
{
    const int32_t n = srv_list_count(config, list);
    (void)fprintf(to, "\n# %s At most %d.\n", list->help, list->max);
    for (size_t i = 0; i < list->n_fields; i++)
        print_field_help(to, &list->fields[i]);
    if (list->example != NULL) (void)fputs(list->example, to);
    (void)fprintf(to, "%s:%s\n", list->name, n == 0 ? " []" : "");
    for (int32_t k = 0; k < n; k++) {
        const void *entry = srv_list_at(config, list, k);
        for (size_t i = 0; i < list->n_fields; i++) {
            if (i >= list->n_shown && srv_setting_is_default(&list->fields[i], entry)) continue;
            (void)fprintf(to, "  %s %s: ", i == 0 ? "-" : " ", list->fields[i].key);
            print_value(to, &list->fields[i], entry);
            (void)fputc('\n', to);
        }
    }
}

void srv_config_print(const srv_config *config, FILE *to)
{
    (void)fprintf(to, "# Settings of msad. Order of force: built-in default, this file, environment.\n");
    for (size_t section = 0; section < srv_n_sections; section++) {
        (void)fprintf(to, "\n# %s\n%s:\n", srv_sections[section].help, srv_sections[section].name);
        for (size_t i = 0; i < srv_n_settings; i++)
            if (strcmp(srv_settings[i].section, srv_sections[section].name) == 0)
                print_setting(to, &srv_settings[i], config);
    }
    print_list(to, &srv_lists[SRV_LIST_RULES], config);
    print_list(to, &srv_lists[SRV_LIST_SENDERS], config);
    print_list(to, &srv_lists[SRV_LIST_SOURCES], config);
    print_list(to, &srv_lists[SRV_LIST_DESTINATIONS], config);
}
