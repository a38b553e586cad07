#include "server/core/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/cleanup.h"
#include "engine/base/log.h"
#include "server/core/config_table.h"
#include "server/core/forms.h"
#include "server/core/text.h"

#define FILE_MAX (1 << 20)

extern char **environ;

static void set_defaults(srv_config *config)
{
    memset(config, 0, sizeof *config);
    for (size_t i = 0; i < srv_n_settings; i++)
        srv_setting_put_default(&srv_settings[i], config);
    config->n_rules = srv_n_rules_built_in;
    for (int32_t i = 0; i < srv_n_rules_built_in; i++)
        memcpy(&config->rules[i], &srv_rules_built_in[i], sizeof config->rules[i]);
}

static msa_status read_file(const char *path, unsigned char **bytes, size_t *size, msa_error *err)
{
    MSA_AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;
    if (fd < 0)
        return msa_fail(err, errno == ENOENT ? MSA_E_NOT_FOUND : MSA_E_IO,
                        "cannot open the configuration %.120s: %s", path, strerror(errno));
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        return msa_fail(err, MSA_E_IO, "the configuration %.120s is not a file", path);
    MSA_AUTO_FREE unsigned char *all = malloc(FILE_MAX + 1);
    if (all == NULL) return msa_fail(err, MSA_E_NOMEM, "out of memory");
    size_t used = 0;
    while (used <= FILE_MAX) {
        const ssize_t n = read(fd, all + used, FILE_MAX + 1 - used);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0)
            return msa_fail(err, MSA_E_IO, "cannot read the configuration %.120s: %s", path, strerror(errno));
        if (n == 0) break;
        used += (size_t)n;
    }
    if (used > FILE_MAX)
        return msa_fail(err, MSA_E_PARSE, "the configuration %.120s is larger than 1 MiB", path);
    *size = used;
    *bytes = MSA_STEAL(all);
    return MSA_OK;
}

typedef struct given {
    const char *key, *text;
} given;

/* Of the fields of an entry, those that a variable can give. */
static msa_status put_entry(srv_config *config, const srv_list *list, void *entry, const given *texts,
                            size_t n_texts, const char *shown, msa_error *err)
{
    char name[64], where[192];
    srv_list_env(list, name);
    for (size_t i = 0; i < list->n_fields; i++) {
        const srv_setting *field = &list->fields[i];
        const char *text = NULL;
        for (size_t k = 0; k < n_texts; k++)
            if (strcmp(texts[k].key, field->key) == 0) text = texts[k].text;
        srv_setting_put_default(field, entry);
        if (text == NULL) continue;
        (void)snprintf(where, sizeof where, "%s: %.40s: %s", name, shown, field->key);
        const srv_value value = {text, strlen(text), field->kind == SRV_SETTING_TEXT, where};
        MSA_TRY(srv_setting_put(field, entry, &value, err));
    }
    return srv_list_add(config, list, entry, name, err);
}

/* One "NAME=AE@host:port" of MSAD_DESTINATIONS, or "AE@host:port" of MSAD_SOURCES; `item` is ours to cut. */
static msa_status add_peer(srv_config *config, int which, char *item, msa_error *err)
{
    const bool named = which == SRV_LIST_DESTINATIONS;
    char shown[64], variable[64];
    (void)snprintf(shown, sizeof shown, "%s", item);
    srv_list_env(&srv_lists[which], variable);
    char *equals = named ? strchr(item, '=') : item - 1;
    char *at = strrchr(item, '@'), *colon = strrchr(item, ':');
    if (equals == NULL || at == NULL || colon == NULL || equals > at || at > colon)
        return msa_fail(err, MSA_E_PARSE, "%s: %.60s is not of the form %sAE@host:port", variable, shown,
                        named ? "NAME=" : "");
    if (named) *equals = '\0';
    *at = *colon = '\0';
    char *host = at + 1;
    if (host[0] == '[' && colon[-1] == ']') { /* [::1]:104 */
        colon[-1] = '\0';
        host++;
    }
    const given texts[] = {{"ae_title", equals + 1}, {"host", host}, {"port", colon + 1}, {"name", item}};
    dicom_destination peer;
    memset(&peer, 0, sizeof peer);
    return put_entry(config, &srv_lists[which], &peer, texts, named ? 4 : 3, shown, err);
}

/* One "MODALITY[/BODY_PART[/LABEL]]=[POLICY:]ADAPTER" of MSAD_RULES. */
static msa_status add_rule(srv_config *config, char *item, msa_error *err)
{
    char shown[64];
    srv_rule rule;
    srv_policy policy;
    memset(&rule, 0, sizeof rule);
    (void)snprintf(shown, sizeof shown, "%s", item);
    char *adapter = strchr(item, '=');
    if (adapter == NULL)
        return msa_fail(err, MSA_E_PARSE,
                        "MSAD_RULES: %.60s is not of the form MODALITY[/BODY_PART[/LABEL]]=[POLICY:]ADAPTER",
                        shown);
    *adapter++ = '\0';
    const char *prompts = "wait";
    char *colon = strchr(adapter, ':');
    if (colon != NULL) *colon = '\0';
    if (colon != NULL && srv_policy_named(adapter, &policy)) {
        prompts = adapter;
        adapter = colon + 1;
    } else if (colon != NULL) { /* part of a path */
        *colon = ':';
    }
    char *modality = strsep(&item, "/"), *body_part = item == NULL ? "*" : strsep(&item, "/");
    const given texts[] = {{"modality", modality},
                           {"body_part", body_part},
                           {"label", item == NULL ? "*" : item},
                           {"adapter", adapter},
                           {"prompts", prompts}};
    return put_entry(config, &srv_lists[SRV_LIST_RULES], &rule, texts, sizeof texts / sizeof *texts, shown,
                     err);
}

/* One "NAME=AE@ADDRESS" of MSAD_SENDERS; several addresses stand with spaces between. */
static msa_status add_sender(srv_config *config, char *item, msa_error *err)
{
    char shown[64];
    srv_sender sender;
    memset(&sender, 0, sizeof sender);
    (void)snprintf(shown, sizeof shown, "%s", item);
    char *equals = strchr(item, '='), *at = strrchr(item, '@');
    if (equals == NULL || at == NULL || equals > at)
        return msa_fail(err, MSA_E_PARSE, "MSAD_SENDERS: %.60s is not of the form NAME=AE@ADDRESS", shown);
    *equals = *at = '\0';
    const given texts[] = {{"name", item}, {"ae_title", equals + 1}, {"addresses", at + 1}};
    return put_entry(config, &srv_lists[SRV_LIST_SENDERS], &sender, texts, sizeof texts / sizeof *texts,
                     shown, err);
}

static msa_status list_from_env(srv_config *config, int which, msa_error *err)
{
    char name[64];
    srv_list_env(&srv_lists[which], name);
    const char *text = getenv(name);
    if (text == NULL) return MSA_OK;
    MSA_AUTO_FREE char *copy = strdup(text);
    if (copy == NULL) return msa_fail(err, MSA_E_NOMEM, "out of memory");
    srv_list_clear(config, &srv_lists[which]);
    char *rest = copy;
    for (char *item = NULL; (item = strsep(&rest, ",")) != NULL;) {
        item += strspn(item, " ");
        if (item[0] == '\0') continue;
        MSA_TRY(which == SRV_LIST_RULES     ? add_rule(config, item, err)
                : which == SRV_LIST_SENDERS ? add_sender(config, item, err)
                                            : add_peer(config, which, item, err));
    }
    return MSA_OK;
}

/* A name that is nearly one of ours is a mistake worth a line; others (an orchestrator's MSAD_SERVICE_HOST)
 * are not ours. */
static void warn_of_near_misses(void)
{
    for (char **e = environ; e != NULL && *e != NULL; e++) {
        char name[64], known[64];
        const size_t n = strcspn(*e, "=");
        if (strncmp(*e, "MSAD_", 5) != 0 || n >= sizeof name) continue;
        (void)snprintf(name, sizeof name, "%.*s", (int)n, *e);
        const char *nearest = NULL;
        char kept[64];
        for (size_t i = 0; i < srv_n_settings + SRV_N_LISTS; i++) {
            if (i < srv_n_settings)
                srv_setting_env(&srv_settings[i], known);
            else
                srv_list_env(&srv_lists[i - srv_n_settings], known);
            const size_t d = srv_text_distance(name, known);
            if (d == 0) {
                nearest = NULL;
                break;
            }
            if (d <= 2) nearest = memcpy(kept, known, sizeof kept);
        }
        if (nearest != NULL)
            msa_log(MSA_LOG_WARN, "config",
                    "the variable %s is not known and has no effect; did you mean %s?", name, nearest);
    }
}

static msa_status apply_env(srv_config *config, msa_error *err)
{
    for (size_t i = 0; i < srv_n_settings; i++) {
        const srv_setting *s = &srv_settings[i];
        char name[64];
        srv_setting_env(s, name);
        const char *text = getenv(name);
        if (text == NULL) continue;
        const srv_value value = {text, strlen(text), s->kind == SRV_SETTING_TEXT, name};
        MSA_TRY(srv_setting_put(s, config, &value, err));
    }
    for (int i = 0; i < SRV_N_LISTS; i++)
        MSA_TRY(list_from_env(config, i, err));
    warn_of_near_misses();
    return MSA_OK;
}

/* What concerns the series as a whole has no place in a rule that is for some of its prompts. */
static const char *of_the_whole_series(const srv_rule *r)
{
    if (strcmp(r->prompts, "wait") != 0) return "prompts";
    if (r->settle_ms != 0) return "settle_ms";
    if (r->quiet_ms != 0) return "quiet_ms";
    return strcmp(r->destinations, "*") != 0 ? "destinations" : NULL;
}

/* Its destinations are there, each. */
static msa_status check_destinations(const srv_config *c, int32_t i, const srv_rule *r, msa_error *err)
{
    char list[sizeof r->destinations], *rest = list;
    if (strcmp(r->destinations, "*") == 0 || strcmp(r->destinations, "none") == 0) return MSA_OK;
    (void)snprintf(list, sizeof list, "%s", r->destinations);
    for (char *name = NULL; (name = strsep(&rest, ",")) != NULL;) {
        name += strspn(name, " ");
        name[strcspn(name, " ")] = '\0';
        int32_t k = 0;
        while (k < c->n_destinations && strcmp(c->destinations[k].name, name) != 0)
            k++;
        if (k == c->n_destinations)
            return msa_fail(err, MSA_E_PARSE, "rule %d: there is no destination \"%.60s\"", i + 1, name);
    }
    return MSA_OK;
}

static msa_status check_rule(const srv_config *c, int32_t i, msa_error *err)
{
    const srv_rule *r = &c->rules[i];
    const char *whole = strcmp(r->label, "*") == 0 ? NULL : of_the_whole_series(r);
    if (whole != NULL)
        return msa_fail(
            err, MSA_E_PARSE,
            "rule %d, for the label %.40s: %s concerns a series as a whole; leave out the label or "
            "%s",
            i + 1, r->label, whole, whole);
    if (r->slices_max > 0 && r->slices_min > r->slices_max)
        return msa_fail(err, MSA_E_PARSE, "rule %d: slices_min (%d) is larger than slices_max (%d)", i + 1,
                        r->slices_min, r->slices_max);
    for (int32_t k = 0; k < i && r->name[0] != '\0'; k++)
        if (strcmp(c->rules[k].name, r->name) == 0)
            return msa_fail(err, MSA_E_PARSE, "rules %d and %d have the same name, %s", k + 1, i + 1,
                            r->name);
    return check_destinations(c, i, r, err);
}

/* Each word was looked at when it was set. */
static msa_status check_form(const dicom_destination *to, msa_error *err)
{
    dicom_seg_form form;
    if (srv_form_of(to, &form)) return MSA_OK;
    return msa_fail(
        err, MSA_E_PARSE,
        "destination %.40s: rle does not go with the format binary; use deflate, or another format",
        to->name);
}

dicom_tls srv_config_tls(const srv_config *config)
{
    dicom_tls tls = {.on = config->dicom_tls_certificate[0] != '\0',
                     .peer_may_be_anonymous = config->dicom_tls_anonymous,
                     .name = "*"};
    memcpy(tls.certificate, config->dicom_tls_certificate, sizeof tls.certificate);
    memcpy(tls.key, config->dicom_tls_key, sizeof tls.key);
    memcpy(tls.ca, config->dicom_tls_ca, sizeof tls.ca);
    return tls;
}

static msa_status check_tls(const srv_config *c, msa_error *err)
{
    const dicom_tls tls = srv_config_tls(c);
    if (!tls.on && tls.key[0] != '\0')
        return msa_fail(err, MSA_E_PARSE, "dicom.tls_key is set and dicom.tls_certificate is not");
    if (!tls.on && !c->dicom_plain)
        return msa_fail(
            err, MSA_E_PARSE,
            "dicom.plain is false and dicom.tls_certificate is not set: nobody could send anything");
    if (!tls.on) return MSA_OK;
    const bool as_plain = c->dicom_plain && c->dicom_tls_port == c->dicom_port;
    if (c->dicom_tls_port != 0 && (as_plain || c->dicom_tls_port == c->http_port))
        return msa_fail(err, MSA_E_PARSE, "dicom.tls_port is %d, as is %s; they must differ",
                        c->dicom_tls_port, as_plain ? "dicom.port" : "http.port");
    return MSA_OK;
}

/* What no single setting can say. */
static msa_status check_together(const srv_config *c, msa_error *err)
{
    if (c->delivery_retry_min_s > c->delivery_retry_max_s)
        return msa_fail(err, MSA_E_PARSE,
                        "delivery.retry_min_s (%d) is larger than delivery.retry_max_s (%d)",
                        c->delivery_retry_min_s, c->delivery_retry_max_s);
    if (c->dicom_plain && c->dicom_port != 0 && c->dicom_port == c->http_port)
        return msa_fail(err, MSA_E_PARSE, "dicom.port and http.port are both %d; they must differ",
                        c->dicom_port);
    MSA_TRY(check_tls(c, err));
    for (int32_t i = 0; i < c->n_rules; i++)
        MSA_TRY(check_rule(c, i, err));
    for (int32_t i = 0; i < c->n_destinations; i++)
        MSA_TRY(check_form(&c->destinations[i], err));
    if (c->dicom_associate_timeout_s > c->dicom_association_max_s)
        return msa_fail(err, MSA_E_PARSE,
                        "dicom.associate_timeout_s (%d) is larger than dicom.association_max_s (%d)",
                        c->dicom_associate_timeout_s, c->dicom_association_max_s);
    return MSA_OK;
}

/* Sentences are short: of a long path the end is kept. */
static void shown_path(const char *path, char out[64])
{
    const size_t n = strlen(path);
    (void)snprintf(out, 64, "%s%s", n > 60 ? "..." : "", n > 60 ? path + n - 57 : path);
}

/* What every peer is told of us. */
static void complete_peer(const srv_config *config, dicom_destination *peer)
{
    memcpy(peer->calling_ae, config->dicom_ae_title, sizeof peer->calling_ae);
    peer->timeout_s = config->delivery_timeout_s;
    memcpy(peer->tls.certificate, config->dicom_tls_certificate, sizeof peer->tls.certificate);
    memcpy(peer->tls.key, config->dicom_tls_key, sizeof peer->tls.key);
    if (peer->tls.ca[0] == '\0') memcpy(peer->tls.ca, config->dicom_tls_ca, sizeof peer->tls.ca);
}

static msa_status load(srv_config *config, const char *path, msa_error *err)
{
    if (path != NULL) {
        MSA_AUTO_FREE unsigned char *bytes = NULL;
        size_t size = 0;
        char shown[64];
        shown_path(path, shown);
        MSA_TRY(read_file(path, &bytes, &size, err));
        MSA_TRY(srv_config_read_yaml(config, bytes, size, shown, err));
    }
    MSA_TRY(apply_env(config, err));
    for (int32_t i = 0; i < config->n_rules; i++)
        config->rules[i].number = i + 1;
    MSA_TRY(check_together(config, err));
    for (int32_t i = 0; i < config->n_destinations; i++)
        complete_peer(config, &config->destinations[i]);
    for (int32_t i = 0; i < config->n_sources; i++)
        complete_peer(config, &config->sources[i]);
    return MSA_OK;
}

msa_status srv_config_load(srv_config *out, const char *path, msa_error *err)
{
    MSA_AUTO_FREE srv_config *config = malloc(sizeof *config);
    set_defaults(out);
    if (config == NULL) return msa_fail(err, MSA_E_NOMEM, "out of memory");
    set_defaults(config);
    MSA_TRY(load(config, path, err));
    *out = *config;
    return MSA_OK;
}

/* The settings left to us: few workers with many threads, or many with few, never more threads than cores. */
void srv_config_settle(srv_config *config)
{
    const long online = sysconf(_SC_NPROCESSORS_ONLN);
    const int32_t cores = online < 1 ? 1 : (int32_t)online;
    if (config->work_workers == 0) config->work_workers = cores >= 2 ? cores / 2 : 1;
    if (config->work_threads == 0)
        config->work_threads = cores / config->work_workers >= 1 ? cores / config->work_workers : 1;
}
