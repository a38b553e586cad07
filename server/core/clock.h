/* Wall-clock time as the catalogue and REST have it. */
#ifndef SRV_CORE_CLOCK_H
#define SRV_CORE_CLOCK_H

#include <stdint.h>

/* Milliseconds since 1970 UTC. Any thread. */
int64_t srv_now_ms(void);

#endif
