#include "server/http/internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

json_t *srv_json_time(int64_t ms)
{
    char text[40];
    struct tm utc;
    const time_t s = (time_t)(ms / 1000);
    if (ms <= 0 || gmtime_r(&s, &utc) == NULL) return json_null();
    const size_t n = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc);
    (void)snprintf(text + n, sizeof text - n, ".%03dZ", (int)(ms % 1000));
    return json_string(text);
}

json_t *srv_json_string(const char *text)
{
    json_t *json = json_string(text);
    if (json != NULL) return json;
    char *copy = strdup(text);
    if (copy == NULL) return NULL;
    for (char *c = copy; *c != '\0'; c++)
        if ((unsigned char)*c >= 0x80) *c = '?';
    json = json_string(copy);
    free(copy);
    return json;
}

json_t *srv_json_text(const char *text)
{
    return text == NULL || text[0] == '\0' ? json_null() : srv_json_string(text);
}

char *srv_json_dump(const json_t *json, size_t *size)
{
    /* 15 digits: what a double holds of a decimal, so 0.1 stays 0.1 */
    char *text = json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(15));
    *size = text == NULL ? 0 : strlen(text);
    return text;
}

/* Opaque means that clients do not build them; the check digit only catches the ones that try. */
static unsigned check_digit(int64_t id)
{
    return (unsigned)((uint64_t)id * UINT64_C(0x9e3779b97f4a7c15) >> 56);
}

void srv_cursor_make(int64_t id, char out[32])
{
    (void)snprintf(out, 32, "c%" PRIx64 "-%02x", id, check_digit(id));
}

bool srv_cursor_read(const char *text, int64_t *id)
{
    char again[32], *end = NULL;
    if (text[0] != 'c') return false;
    const unsigned long long n = strtoull(text + 1, &end, 16);
    if (end == text + 1 || n == 0 || n > INT64_MAX) return false;
    *id = (int64_t)n;
    srv_cursor_make(*id, again);
    return strcmp(again, text) == 0;
}
