/* How the long work of msa begins and is stopped: engine threads, and Ctrl-C as a wish to stop. */
#ifndef SRV_TOOL_RUNNING_H
#define SRV_TOOL_RUNNING_H

#include <stdatomic.h>

/* Sets the engine's threads (0: one a core) and takes over Ctrl-C; a second one kills. Call once, before the
 * work. */
void srv_running_begin(int threads);
/* True after the first Ctrl-C: for whatever can be cancelled. */
const atomic_bool *srv_running_interrupted(void);

#endif
