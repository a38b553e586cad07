#include "server/segment/text.h"

#include <stdio.h>
#include <string.h>

void srv_text_cut(char *text, int characters)
{
    for (char *p = text; *p; p++) {
        const int starts = ((unsigned char)*p & 0xC0) != 0x80;
        if (starts && characters-- == 0) {
            *p = '\0';
            return;
        }
    }
}

static int count(const char *text)
{
    int n = 0;
    for (const char *p = text; *p; p++)
        n += ((unsigned char)*p & 0xC0) != 0x80;
    return n;
}

void srv_text_suffix(char *out, size_t size, const char *text, const char *suffix, int characters)
{
    const size_t room = size - strlen(suffix) - 1;
    size_t n = 0;
    for (int left = characters - count(suffix); left > 0 && text[n]; left--) {
        size_t next = n + 1;
        while (((unsigned char)text[next] & 0xC0) == 0x80)
            next++;
        if (next > room) break;
        n = next;
    }
    (void)snprintf(out, size, "%.*s%s", (int)n, text, suffix);
}

void srv_text_join(char *list, size_t size, const char *sentence)
{
    const size_t used = strlen(list);
    const size_t wanted = strlen(sentence) + (used ? 2 : 0);
    if (!*sentence || used + wanted >= size) return;
    (void)snprintf(list + used, size - used, "%s%s", used ? "; " : "", sentence);
}
