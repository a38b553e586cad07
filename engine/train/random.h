/* Random numbers that are a function of where they are used: no state survives a step, so resuming is exact.
 */
#ifndef MSA_ENGINE_TRAIN_RANDOM_H
#define MSA_ENGINE_TRAIN_RANDOM_H

#include <stdint.h>

/* Counter-based: number n of a stream is a hash of (key, n). Copy it, and the copy gives the same numbers. */
typedef struct msa_random {
    uint64_t key, n;
} msa_random;

/**
 * The stream of a place: seed, what the numbers are for, and two indices (step and item). Different arguments
 * give unrelated streams. Threads: a msa_random belongs to one; the functions are reentrant.
 */
msa_random msa_random_at(uint64_t seed, uint64_t purpose, uint64_t a, uint64_t b);

uint64_t msa_random_u64(msa_random *r);
/* 0 <= x < 1, 53 bits. */
double msa_random_unit(msa_random *r);
double msa_random_range(msa_random *r, double low, double high);
/* 0 .. n - 1, n >= 1; the bias is below n / 2^64. */
int64_t msa_random_below(msa_random *r, int64_t n);
/* Normal with mean 0 and deviation 1 (Box and Muller); takes two numbers each time. */
double msa_random_normal(msa_random *r);

#endif
