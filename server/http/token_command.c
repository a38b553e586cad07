/* `msad token create|list|revoke`: beside a running service or before its first start. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>

#include "engine/base/cleanup.h"
#include "server/core/clock.h"
#include "server/core/config.h"
#include "server/http/token.h"

#define DAY_MS INT64_C(86400000)

static const char usage_text[] =
    "usage: msad token create NAME --scope SCOPES [--days N] [--config FILE]\n"
    "       msad token list [--config FILE]\n"
    "       msad token revoke NAME [--config FILE]\n"
    "\n"
    "Access tokens of REST. As soon as there is one, every request but /healthz and\n"
    "the files of the dashboard needs \"Authorization: Bearer TOKEN\", and http.bind may be\n"
    "another address than loopback.\n"
    "A running service knows at once. The token is shown once; only its hash is kept.\n"
    "\n"
    "  --scope SCOPES   read, operate (and read), admin (and both); with \",phi\" also the\n"
    "                   objects and pictures of patients\n"
    "  --days N         good for N days, 1 to 3650; without it until it is revoked\n";

typedef struct arguments {
    const char *config_path, *verb, *name;
    unsigned scopes;
    int32_t days;
} arguments;

static bool read_arguments(int argc, char **argv, arguments *a)
{
    static const struct option options[] = {{"config", required_argument, NULL, 'c'},
                                            {"scope", required_argument, NULL, 's'},
                                            {"days", required_argument, NULL, 'd'},
                                            {NULL, 0, NULL, 0}};
    for (int c; (c = getopt_long(argc, argv, "c:", options, NULL)) != -1;) {
        if (c == 'c')
            a->config_path = optarg;
        else if (c == 's' && !srv_scopes_parse(optarg, &a->scopes))
            return false;
        else if (c == 'd' && ((a->days = atoi(optarg)) < 1 || a->days > 3650))
            return false;
        else if (c == '?')
            return false;
    }
    a->verb = optind < argc ? argv[optind++] : "";
    a->name = optind < argc ? argv[optind++] : NULL;
    const bool create = strcmp(a->verb, "create") == 0, list = strcmp(a->verb, "list") == 0;
    if (optind < argc || (!create && !list && strcmp(a->verb, "revoke") != 0)) return false;
    return create ? a->name != NULL && a->scopes != 0
                  : (list ? a->name == NULL : a->name != NULL) && a->scopes == 0 && a->days == 0;
}

static void print_time(int64_t ms)
{
    char text[32] = "-";
    struct tm utc;
    const time_t s = (time_t)(ms / 1000);
    if (ms > 0 && gmtime_r(&s, &utc) != NULL) (void)strftime(text, sizeof text, "%Y-%m-%dT%H:%MZ", &utc);
    (void)printf(" %-18s", text);
}

static msa_status list(const char *root, msa_error *err)
{
    MSA_AUTO_FREE srv_tokens *tokens = calloc(1, sizeof *tokens);
    if (tokens == NULL) return msa_fail(err, MSA_E_NOMEM, "out of memory");
    MSA_TRY(srv_tokens_load(tokens, root, err));
    (void)printf("%-20s %-24s %-18s %-18s %s\n", "name", "scopes", "created", "expires", "revoked");
    for (int32_t i = 0; i < tokens->n; i++) {
        const srv_token *t = &tokens->of[i];
        char set[32];
        srv_scopes_print(t->scopes, set);
        (void)printf("%-20s %-24s", t->name, set);
        print_time(t->created_ms);
        print_time(t->expires_ms);
        print_time(t->revoked_ms);
        (void)puts("");
    }
    return MSA_OK;
}

static msa_status obey(const arguments *a, const char *root, msa_error *err)
{
    const int64_t now = srv_now_ms();
    char secret[SRV_TOKEN_SECRET];
    if (strcmp(a->verb, "list") == 0) return list(root, err);
    if (strcmp(a->verb, "revoke") == 0) return srv_tokens_revoke(root, a->name, now, err);
    MSA_TRY(srv_tokens_create(root, a->name, a->scopes, a->days == 0 ? 0 : now + a->days * DAY_MS, now,
                              secret, err));
    (void)puts(secret);
    (void)fprintf(stderr, "good for the service whose storage.path is %s\n", root);
    return MSA_OK;
}

int srv_token_main(int argc, char **argv)
{
    arguments a = {0};
    msa_error err = MSA_ERROR_INIT;
    MSA_AUTO_FREE srv_config *config = calloc(1, sizeof *config);
    if (!read_arguments(argc, argv, &a)) {
        (void)fputs(usage_text, stderr);
        return EX_USAGE;
    }
    if (config == NULL) return EX_OSERR;
    msa_status status = srv_config_load(config, a.config_path, &err);
    if (status != MSA_OK) {
        (void)fprintf(stderr, "msad: %s\n", err.what);
        return EX_CONFIG;
    }
    status = obey(&a, config->storage_path, &err);
    if (status != MSA_OK) (void)fprintf(stderr, "msad: %s\n", err.what);
    return status == MSA_OK ? fflush(stdout) != 0 : 1;
}
