/* How long things took, as Prometheus counts it. Plain data. */
#ifndef SRV_HTTP_HISTOGRAM_H
#define SRV_HTTP_HISTOGRAM_H

#include <stdint.h>

#define SRV_HISTOGRAM_BUCKETS 15

typedef struct srv_histogram {
    int64_t counts[SRV_HISTOGRAM_BUCKETS +
                   1]; /* each value once, in the first bucket that holds it; then above */
    double sum_s;
} srv_histogram;

/* Upper ends, in seconds. */
extern const double srv_histogram_bounds[SRV_HISTOGRAM_BUCKETS];

static inline void srv_histogram_add(srv_histogram *h, double seconds)
{
    int i = 0;
    while (i < SRV_HISTOGRAM_BUCKETS && seconds > srv_histogram_bounds[i])
        i++;
    h->counts[i]++;
    h->sum_s += seconds;
}

#endif
