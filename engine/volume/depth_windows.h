/* Which slices a model with a depth branch sees together: windows that slide along the depth of a volume. */
#ifndef MSA_ENGINE_VOLUME_DEPTH_WINDOWS_H
#define MSA_ENGINE_VOLUME_DEPTH_WINDOWS_H

#include <stdint.h>

#include "engine/config.h"

/**
 * Windows of `size` neighbouring slices, each half a window above the one before; the last one ends with the
 * volume. A volume that is not deeper than the model is one window, shorter than the model's where it is
 * shallower. Without a depth branch every slice is a window of its own.
 */
typedef struct msa_depth_windows {
    int32_t size, step, last; /* last: the first slice of the last window */
    int32_t n;
} msa_depth_windows;

/* slices >= 1: of the volume. */
msa_depth_windows msa_depth_windows_make(const msa_config *c, int32_t slices);
/* The first slice of window i, 0 .. n - 1. */
int32_t msa_depth_windows_first(const msa_depth_windows *w, int32_t i);
/* The one window that a slice's embedding is taken from: the one whose middle is nearest, of two the lower.
 */
int32_t msa_depth_windows_of(const msa_depth_windows *w, int32_t slice);

#endif
