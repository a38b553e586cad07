#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "server/core/text.h"
#include "server/segment/models.h"

enum { CARD_LINES = 64, LINE_MAX_BYTES = 512 };

/* The line without its end, its '#' and spaces around. */
static char *trim(char *line)
{
    line += strspn(line, "# \t");
    size_t n = strcspn(line, "\r\n");
    while (n > 0 && (line[n - 1] == ' ' || line[n - 1] == '\t'))
        n--;
    line[n] = '\0';
    return line;
}

/* As much as fits, in whole characters. */
static void put_title(char title[128], const char *text)
{
    size_t n = strlen(text) < 127 ? strlen(text) : 127;
    while (n > 0 && !srv_text_is_printable(text, n, NULL))
        n--;
    memcpy(title, text, n);
    title[n] = '\0';
}

static bool read_title(const char *path, char title[128])
{
    char line[LINE_MAX_BYTES];
    FILE *f = fopen(path, "re");
    if (f == NULL) return false;
    title[0] = '\0';
    for (int i = 0; i < CARD_LINES && fgets(line, sizeof line, f) != NULL; i++) {
        const bool heading = line[0] == '#';
        const char *text = trim(line);
        if (text[0] == '\0' || (title[0] != '\0' && !heading)) continue;
        put_title(title, text);
        if (heading) break;
    }
    (void)fclose(f);
    return true;
}

void srv_model_card(const char *file, char title[128], char path[1024])
{
    static const char end[] = ".safetensors";
    const char *slash = strrchr(file, '/');
    const size_t folder = slash == NULL ? 0 : (size_t)(slash - file) + 1, n = strlen(file);
    const bool named = n > strlen(end) && strcmp(file + n - strlen(end), end) == 0;
    title[0] = path[0] = '\0';
    if (n + sizeof "CARD.md" > 1024) return;
    if (named) (void)snprintf(path, 1024, "%.*s.md", (int)(n - strlen(end)), file);
    if (named && read_title(path, title)) return;
    (void)snprintf(path, 1024, "%.*sCARD.md", (int)folder, file);
    if (!read_title(path, title)) path[0] = '\0';
}
