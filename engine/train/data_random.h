/*
 * Random numbers as a function of a key: the same in every run, on every machine, on any thread. Scenes and
 * samples are drawn from these, weights and prompts from engine/train/random.h. One generator would do; but a
 * recipe names seeds, and with another generator the recipes of the models that were shipped would make other
 * models.
 */
#ifndef MSA_ENGINE_TRAIN_DATA_RANDOM_H
#define MSA_ENGINE_TRAIN_DATA_RANDOM_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

/* SplitMix64 (Steele, Lea, Flood 2014): any state is a good one, so a key made by mixing is a stream. */
typedef struct msa_rng {
    uint64_t state;
} msa_rng;

static inline uint64_t msa_rng_mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
    return z ^ (z >> 31);
}

/* Streams of different (seed, a, b) are unrelated. */
static inline msa_rng msa_rng_key(uint64_t seed, uint64_t a, uint64_t b)
{
    uint64_t s = msa_rng_mix(seed + 0x9E3779B97F4A7C15U);
    s = msa_rng_mix(s ^ (a + 0xD1B54A32D192ED03U));
    return (msa_rng){msa_rng_mix(s ^ (b * 0x8CB92BA72F3D8DD7U + 0x2545F4914F6CDD1DU))};
}

static inline uint64_t msa_rng_u64(msa_rng *r)
{
    r->state += 0x9E3779B97F4A7C15U;
    return msa_rng_mix(r->state);
}

/* 0 <= x < 1, 24 bits. */
static inline float msa_rng_unit(msa_rng *r)
{
    return (float)(msa_rng_u64(r) >> 40) * 0x1p-24F;
}

static inline float msa_rng_range(msa_rng *r, float lo, float hi)
{
    return lo + (hi - lo) * msa_rng_unit(r);
}

/* Uniform in the logarithm: for sizes and scales. 0 < lo. */
static inline float msa_rng_log(msa_rng *r, float lo, float hi)
{
    return lo * expf(logf(hi / lo) * msa_rng_unit(r));
}

static inline bool msa_rng_chance(msa_rng *r, float p)
{
    return msa_rng_unit(r) < p;
}

/* 0 .. n - 1; n > 0. The bias of the multiplication is below n / 2^32. */
static inline int32_t msa_rng_below(msa_rng *r, int32_t n)
{
    return (int32_t)(((msa_rng_u64(r) >> 32) * (uint64_t)n) >> 32);
}

/* lo .. hi, both included. */
static inline int32_t msa_rng_int(msa_rng *r, int32_t lo, int32_t hi)
{
    return lo + msa_rng_below(r, hi - lo + 1);
}

/* Mean 0, variance 1 (Box and Muller). */
static inline float msa_rng_normal(msa_rng *r)
{
    const float u = 1.0F - msa_rng_unit(r);
    return sqrtf(-2.0F * logf(u)) * cosf(6.2831853F * msa_rng_unit(r));
}

#endif
