/* UTF-8 text that has to fit. */
#ifndef SRV_SEGMENT_TEXT_H
#define SRV_SEGMENT_TEXT_H

#include <stddef.h>

/* Cuts `text` after `characters` code points, never inside one. */
void srv_text_cut(char *text, int characters);
/* text with suffix behind it, text cut so that both are at most `characters` code points. out holds size
 * bytes. */
void srv_text_suffix(char *out, size_t size, const char *text, const char *suffix, int characters);
/* Appends a sentence to a "; "-joined list, whole or not at all. */
void srv_text_join(char *list, size_t size, const char *sentence);

#endif
