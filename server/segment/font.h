/* A 5 x 7 bitmap font of ASCII, drawn for this project: captions need no font library. */
#ifndef SRV_SEGMENT_FONT_H
#define SRV_SEGMENT_FONT_H

enum { SRV_FONT_COLS = 5, SRV_FONT_ROWS = 7, SRV_FONT_CELL = 6 };

/* Seven rows of five characters, '#' is ink, rows one character apart. A hollow box for what is not there. */
const char *srv_font_glyph(char c);
/* Rows by which the glyph hangs below its line: letters with a descender, comma, semicolon. */
int srv_font_drop(char c);

#endif
