#include "engine/train/synth_noise.h"

#include <pthread.h>
#include <string.h>

enum { SIDE = 32, MASK = SIDE - 1 };

static float lattice[SIDE * SIDE * SIDE]; /* 128 KiB: stays in the second-level cache */
static pthread_once_t lattice_once = PTHREAD_ONCE_INIT;

static void fill_lattice(void)
{
    msa_rng r = msa_rng_key(0x5EED, 0, 0);
    for (int32_t i = 0; i < SIDE * SIDE * SIDE; i++)
        lattice[i] = msa_rng_range(&r, -1, 1);
}

void synth_noise_init(void)
{
    (void)pthread_once(&lattice_once, fill_lattice);
}

void synth_rotation(msa_rng *r, float limit, float out[9])
{
    const float a = msa_rng_range(r, -limit, limit);
    const float b = msa_rng_range(r, -limit, limit);
    const float c = msa_rng_range(r, -limit, limit);
    const float ca = cosf(a), sa = sinf(a), cb = cosf(b), sb = sinf(b), cc = cosf(c), sc = sinf(c);
    const float m[9] = {ca * cb,
                        ca * sb * sc - sa * cc,
                        ca * sb * cc + sa * sc,
                        sa * cb,
                        sa * sb * sc + ca * cc,
                        sa * sb * cc - ca * sc,
                        -sb,
                        cb * sc,
                        cb * cc};
    memcpy(out, m, sizeof m);
}

synth_field synth_field_make(msa_rng *r, float frequency, float stretch, int32_t octaves, float gain)
{
    synth_field f = {.octaves = octaves, .gain = gain};
    synth_rotation(r, 3.14159F, f.turn);
    for (int i = 0; i < 9; i++)
        f.turn[i] *= i < 3 ? frequency * stretch : frequency;
    for (int i = 0; i < 3; i++)
        f.offset[i] = msa_rng_range(r, 3000, 4000);
    return f;
}

static inline float fade(float t)
{
    return t * t * (3 - 2 * t);
}

static inline float mix(float a, float b, float t)
{
    return a + (b - a) * t;
}

/* Coordinates are positive: the offset sees to that, so truncation is floor. */
static float lattice_at(float x, float y, float z)
{
    const int32_t ix = (int32_t)x, iy = (int32_t)y, iz = (int32_t)z;
    const float u = fade(x - (float)ix), v = fade(y - (float)iy), w = fade(z - (float)iz);
    const int32_t x0 = ix & MASK, x1 = (ix + 1) & MASK;
    const int32_t y0 = (iy & MASK) * SIDE, y1 = ((iy + 1) & MASK) * SIDE;
    const float *p = lattice + (size_t)(iz & MASK) * SIDE * SIDE;
    const float *q = lattice + (size_t)((iz + 1) & MASK) * SIDE * SIDE;
    const float near = mix(mix(p[y0 + x0], p[y0 + x1], u), mix(p[y1 + x0], p[y1 + x1], u), v);
    const float far = mix(mix(q[y0 + x0], q[y0 + x1], u), mix(q[y1 + x0], q[y1 + x1], u), v);
    return mix(near, far, w);
}

float synth_field_at(const synth_field *f, float x, float y, float z)
{
    const float *m = f->turn;
    float a = m[0] * x + m[1] * y + m[2] * z;
    float b = m[3] * x + m[4] * y + m[5] * z;
    float c = m[6] * x + m[7] * y + m[8] * z;
    float sum = 0;
    float amplitude = 1;
    for (int32_t o = 0; o < f->octaves; o++) {
        sum += amplitude * lattice_at(a + f->offset[0], b + f->offset[1], c + f->offset[2]);
        amplitude *= f->gain;
        a = a * 2 + 17.3F; /* shifted, or the octaves' lattices would meet in one point */
        b = b * 2 + 5.7F;
        c = c * 2 + 9.1F;
    }
    return sum * 1.3F; /* interpolation narrows the range */
}
