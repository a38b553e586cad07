/* A segment's candidates as the catalogue's text and back. */
#ifndef SRV_STORE_CANDIDATES_H
#define SRV_STORE_CANDIDATES_H

#include "engine/segmenter.h"

#define SRV_CANDIDATES_TEXT (32 + 16 * MSA_CANDIDATES_MAX)

/* Values that are not finite, or more than there may be, become none: "". */
void srv_candidates_print(const msa_candidates *c, char text[SRV_CANDIDATES_TEXT]);
/* What is not of that form is none: slice -1. */
msa_candidates srv_candidates_read(const char *text);

#endif
