/* Small checks on text that came from outside: configuration and REST share them. */
#ifndef SRV_CORE_TEXT_H
#define SRV_CORE_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/**
 * True when the bytes are valid UTF-8 (RFC 3629: no overlong form, no surrogate) without control characters
 * (C0, DEL, C1), line or paragraph separators, byte order marks and noncharacters. *chars (may be NULL): code
 * points.
 */
bool srv_text_is_printable(const char *text, size_t size, size_t *chars);
/* A UID by PS3.5 section 9.1: 1..64 characters, digits in dotted components, none empty or with a leading
 * zero. */
bool srv_text_is_uid(const char *text);
/* Levenshtein distance of the first 63 characters of each. */
size_t srv_text_distance(const char *a, const char *b);

#endif
