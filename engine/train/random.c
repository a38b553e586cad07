#include "engine/train/random.h"

#include <math.h>

#define GOLDEN_RATIO 0x9E3779B97F4A7C15ull
#define PI           3.14159265358979323846

/* The finaliser of SplitMix64 (Steele, Lea and Flood 2014): every input bit reaches every output bit. */
static uint64_t mix(uint64_t x)
{
    x ^= x >> 30;
    x *= 0xBF58476D1CE4E5B9ull;
    x ^= x >> 27;
    x *= 0x94D049BB133111EBull;
    return x ^ (x >> 31);
}

msa_random msa_random_at(uint64_t seed, uint64_t purpose, uint64_t a, uint64_t b)
{
    const uint64_t parts[4] = {seed, purpose, a, b};
    uint64_t key = GOLDEN_RATIO;
    for (int i = 0; i < 4; i++)
        key = mix(key + GOLDEN_RATIO) ^ mix(parts[i] + GOLDEN_RATIO * (uint64_t)(i + 1));
    return (msa_random){mix(key), 0};
}

/* Two rounds: keys of neighbouring streams may differ in few bits, counters always do. */
uint64_t msa_random_u64(msa_random *r)
{
    return mix(mix(r->key + ++r->n * GOLDEN_RATIO) ^ r->key);
}

double msa_random_unit(msa_random *r)
{
    return (double)(msa_random_u64(r) >> 11) * 0x1p-53;
}

double msa_random_range(msa_random *r, double low, double high)
{
    return low + (high - low) * msa_random_unit(r);
}

int64_t msa_random_below(msa_random *r, int64_t n)
{
    const uint64_t x = msa_random_u64(r), high = x >> 32, low = x & 0xffffffffu, m = (uint64_t)n;
    if (m <= 0xffffffffu) return (int64_t)((high * m + (low * m >> 32)) >> 32); /* floor(x n / 2^64) */
    return (int64_t)(x % m);
}

double msa_random_normal(msa_random *r)
{
    const double radius = sqrt(-2 * log(1 - msa_random_unit(r)));
    return radius * cos(2 * PI * msa_random_unit(r));
}
