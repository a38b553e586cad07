#include "server/core/text.h"

#include <stdint.h>
#include <string.h>

/* Decodes one code point; 0 bytes when malformed. */
static size_t decode(const unsigned char *s, size_t left, uint32_t *cp)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    const size_t n = s[0] < 0x80   ? 1
                     : s[0] < 0xc2 ? 0
                     : s[0] < 0xe0 ? 2
                     : s[0] < 0xf0 ? 3
                     : s[0] < 0xf5 ? 4
                                   : 0;
    if (n == 0 || n > left) return 0;
    uint32_t v = n == 1 ? s[0] : s[0] & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80) return 0;
        v = v << 6 | (s[i] & 0x3fu);
    }
    if (v < least[n] || v > 0x10ffff || (v >= 0xd800 && v <= 0xdfff)) return 0;
    *cp = v;
    return n;
}

bool srv_text_is_printable(const char *text, size_t size, size_t *chars)
{
    size_t count = 0;
    for (size_t at = 0; at < size; count++) {
        uint32_t cp = 0;
        const size_t n = decode((const unsigned char *)text + at, size - at, &cp);
        if (n == 0) return false;
        if (cp < 0x20 || (cp >= 0x7f && cp < 0xa0)) return false;
        if (cp == 0x2028 || cp == 0x2029 || cp == 0xfeff || (cp & 0xfffe) == 0xfffe) return false;
        if (cp >= 0xfdd0 && cp <= 0xfdef) return false;
        at += n;
    }
    if (chars != NULL) *chars = count;
    return true;
}

bool srv_text_is_uid(const char *text)
{
    const size_t size = strlen(text);
    if (size == 0 || size > 64) return false;
    for (size_t at = 0; at <= size;) {
        const size_t digits = strspn(text + at, "0123456789");
        if (digits == 0 || (digits > 1 && text[at] == '0')) return false;
        at += digits;
        if (text[at] == '\0') return true;
        if (text[at++] != '.') return false;
    }
    return false;
}

size_t srv_text_distance(const char *a, const char *b)
{
    enum { LONGEST = 63 };
    const size_t na = strnlen(a, LONGEST), nb = strnlen(b, LONGEST);
    size_t row[LONGEST + 1];
    for (size_t j = 0; j <= nb; j++)
        row[j] = j;
    for (size_t i = 1; i <= na; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= nb; j++) {
            const size_t above = row[j];
            const size_t change = diagonal + (a[i - 1] != b[j - 1]);
            const size_t step = (above < row[j - 1] ? above : row[j - 1]) + 1;
            row[j] = change < step ? change : step;
            diagonal = above;
        }
    }
    return row[nb];
}
