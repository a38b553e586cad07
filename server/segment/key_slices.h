/* Which slices of a result are worth a picture. */
#ifndef SRV_SEGMENT_KEY_SLICES_H
#define SRV_SEGMENT_KEY_SLICES_H

#include "server/segment/preview.h"

typedef struct srv_key_slice {
    int32_t slice;
    int64_t area;
    bool prompted;
} srv_key_slice;

/* keys (slices of the volume); the first *n, at most `most`, are those to show, ascending: the prompted ones
 * before those with most of the masks. main_slice: the first among them. */
void srv_key_slices(const srv_picture *p, srv_key_slice *keys, int32_t most, int32_t *n, int32_t *main_slice);

#endif
