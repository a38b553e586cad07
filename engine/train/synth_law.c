/* Materials to intensities: Hounsfield units, magnetic resonance weightings, or anything at all. */
#include "engine/train/synth_scene.h"

/* Ranges of the mean; spread is the deviation between two objects of one material. */
typedef struct range {
    float lo, hi, spread;
} range;

static const range ct_plain[MAT_COUNT] = {
    [MAT_AIR] = {-1000, -990, 1},    [MAT_LUNG] = {-900, -650, 30}, [MAT_FAT] = {-120, -75, 6},
    [MAT_FLUID] = {-5, 25, 6},       [MAT_MUSCLE] = {40, 75, 6},    [MAT_ORGAN] = {40, 130, 25},
    [MAT_BLOOD] = {35, 320, 25},     [MAT_SPONGY] = {90, 350, 40},  [MAT_CORTEX] = {450, 1300, 120},
    [MAT_GRAY] = {34, 42, 2},        [MAT_WHITE] = {24, 31, 2},     [MAT_CONTENT] = {0, 60, 30},
    [MAT_METAL] = {2000, 3000, 300}, [MAT_LESION] = {10, 130, 35},
};

static const range t1_like[MAT_COUNT] = {
    [MAT_AIR] = {0, 0.02F, 0.005F},       [MAT_LUNG] = {0.01F, 0.08F, 0.02F},
    [MAT_FAT] = {0.65F, 1, 0.03F},        [MAT_FLUID] = {0.08F, 0.22F, 0.03F},
    [MAT_MUSCLE] = {0.28F, 0.42F, 0.02F}, [MAT_ORGAN] = {0.3F, 0.6F, 0.07F},
    [MAT_BLOOD] = {0.05F, 0.9F, 0.06F},   [MAT_SPONGY] = {0.4F, 0.85F, 0.06F},
    [MAT_CORTEX] = {0.02F, 0.1F, 0.02F},  [MAT_GRAY] = {0.38F, 0.5F, 0.02F},
    [MAT_WHITE] = {0.52F, 0.68F, 0.02F},  [MAT_CONTENT] = {0.1F, 0.7F, 0.2F},
    [MAT_METAL] = {0, 0.03F, 0.01F},      [MAT_LESION] = {0.15F, 0.8F, 0.15F},
};

static const range t2_like[MAT_COUNT] = {
    [MAT_AIR] = {0, 0.02F, 0.005F},       [MAT_LUNG] = {0.01F, 0.08F, 0.02F},
    [MAT_FAT] = {0.05F, 0.8F, 0.03F},     [MAT_FLUID] = {0.8F, 1, 0.04F},
    [MAT_MUSCLE] = {0.12F, 0.25F, 0.02F}, [MAT_ORGAN] = {0.2F, 0.55F, 0.09F},
    [MAT_BLOOD] = {0.03F, 0.8F, 0.07F},   [MAT_SPONGY] = {0.15F, 0.5F, 0.05F},
    [MAT_CORTEX] = {0.02F, 0.08F, 0.02F}, [MAT_GRAY] = {0.45F, 0.6F, 0.02F},
    [MAT_WHITE] = {0.3F, 0.42F, 0.02F},   [MAT_CONTENT] = {0.1F, 0.9F, 0.25F},
    [MAT_METAL] = {0, 0.03F, 0.01F},      [MAT_LESION] = {0.2F, 0.95F, 0.2F},
};

static void fill(synth_law *law, const range *table, msa_rng *r)
{
    /* from objects that are hardly told apart to such that differ plainly */
    const float apart = msa_rng_log(r, 0.35F, 1.8F);
    for (int32_t m = 0; m < MAT_COUNT; m++) {
        law->mean[m] = msa_rng_range(r, table[m].lo, table[m].hi);
        law->spread[m] = table[m].spread * apart;
    }
}

static synth_law random_law(msa_rng *r)
{
    synth_law law = {.kind = SYNTH_LAW_RANDOM};
    const float spread = msa_rng_log(r, 0.02F, 0.3F);
    for (int32_t m = 0; m < MAT_COUNT; m++) {
        law.mean[m] = msa_rng_range(r, 0.03F, 1);
        law.spread[m] = spread;
    }
    if (msa_rng_chance(r, 0.7F)) law.mean[MAT_AIR] = 0;
    law.texture = msa_rng_log(r, 0.004F, 0.1F);
    return law;
}

synth_law synth_law_make(msa_rng *r)
{
    synth_law law = {0};
    const float which = msa_rng_unit(r);
    if (which < 0.47F) {
        law.kind = SYNTH_LAW_CT;
        fill(&law, ct_plain, r);
        if (msa_rng_chance(r, 0.3F))
            law.mean[MAT_CONTENT] = msa_rng_range(r, 150, 500);                      /* contrast was drunk */
        if (msa_rng_chance(r, 0.5F)) law.mean[MAT_BLOOD] = msa_rng_range(r, 35, 60); /* none was injected */
        law.texture = msa_rng_log(r, 1.5F, 25);
    } else if (which < 0.82F) {
        law.kind = SYNTH_LAW_MR;
        fill(&law, msa_rng_chance(r, 0.5F) ? t1_like : t2_like, r);
        law.texture = msa_rng_log(r, 0.004F, 0.06F);
    } else {
        law = random_law(r);
    }
    return law;
}

float synth_law_value(const synth_law *law, synth_material m, msa_rng *r)
{
    const float v = law->mean[m] + law->spread[m] * msa_rng_normal(r);
    if (law->kind == SYNTH_LAW_CT) return v < -1024 ? -1024 : v;
    return v < 0 ? 0 : v > 1.2F ? 1.2F : v;
}
