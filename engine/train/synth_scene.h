/* What a scene is made of: shapes painted in order, each with a material. Private to the generator. */
#ifndef MSA_ENGINE_TRAIN_SYNTH_SCENE_H
#define MSA_ENGINE_TRAIN_SYNTH_SCENE_H

#include "engine/train/synth.h"
#include "engine/train/synth_noise.h"

enum {
    SYNTH_SHAPES = 512,
    SYNTH_POINTS = 4096,
    SYNTH_CELLS = 256,
    SYNTH_SLOTS = 8,
    SYNTH_TEXTURES = 4,
    SYNTH_LOBES = 6,
    SYNTH_MAPS = 12,
};

typedef enum synth_material {
    MAT_AIR,
    MAT_LUNG,
    MAT_FAT,
    MAT_FLUID,
    MAT_MUSCLE,
    MAT_ORGAN,
    MAT_BLOOD,
    MAT_SPONGY, /* bone with marrow */
    MAT_CORTEX, /* compact bone */
    MAT_GRAY,   /* brain */
    MAT_WHITE,
    MAT_CONTENT, /* of bowel: anything */
    MAT_METAL,
    MAT_LESION, /* anything, near what it lies in */
    MAT_COUNT
} synth_material;

typedef struct synth_vec {
    float x, y, z;
} synth_vec;

typedef enum synth_kind { SYNTH_SOLID, SYNTH_TUBE, SYNTH_PARTS, SYNTH_MAP } synth_kind;

/**
 * An implicit function f, below 0 inside, about a distance in world units near its border.
 * SYNTH_SOLID  super-ellipsoid around `centre`; to_unit maps it to the unit ball
 * SYNTH_TUBE   union of cones between points first .. first + count - 1 (a break: radius < 0)
 * SYNTH_PARTS  the slot `clip`, divided among nearest seeds: cells first .. first + count - 1
 * SYNTH_MAP    the slot `clip`, divided by which of `count` noises is largest; values as cells
 */
typedef struct synth_shape {
    synth_kind kind;
    synth_material material;
    synth_vec centre;
    float to_unit[9], power;
    float reach; /* nothing of it lies farther from the centre */
    float inset; /* f + inset: the same, smaller */
    float wall;  /* > 0: only the shell of that thickness, inwards */
    float lobe;  /* noise added to f: lobulated, rough, gyri */
    int32_t lobe_field;
    float ridge;       /* > 0: only where |noise| > ridge; < 0: only where |noise| < -ridge */
    float ridge_scale; /* |noise| to world units */
    int32_t ridge_field;
    bool has_cut;
    synth_vec cut; /* half-space: inside where cut . (p - centre) < cut_at */
    float cut_at;
    bool has_bite;
    synth_vec bite; /* a ball taken away */
    float bite_radius;
    int32_t first, count;
    float gap;            /* between parts */
    float ramp;           /* > 0: border as soft as that, in world units: oblique and thick slices */
    int32_t clip, save;   /* painted only inside slot clip; its coverage is kept in slot save; -1: neither */
    uint8_t id;           /* 0: never a target */
    float value, texture; /* amplitude */
    int32_t texture_field;
} synth_shape;

typedef struct synth_point {
    synth_vec at;
    float radius;
} synth_point;

typedef struct synth_cell {
    synth_vec at;
    float value;
    uint8_t id;
} synth_cell;

typedef enum synth_law_kind { SYNTH_LAW_CT, SYNTH_LAW_MR, SYNTH_LAW_RANDOM } synth_law_kind;

/* Material to intensity. CT in HU, the others in 0..1. */
typedef struct synth_law {
    synth_law_kind kind;
    float mean[MAT_COUNT], spread[MAT_COUNT];
    float texture; /* amplitude, in units of the law */
} synth_law;

/* What the machine does to the picture. Units of the law until the window is applied. */
typedef struct synth_scan {
    float coarse_x, coarse_y; /* voxels are so many pixels of 128 wide; 1: none */
    float voxel_x, voxel_y;   /* and at least so many world units: a close look shows them */
    bool nearest;
    float blur;         /* of the pixels, before */
    float noise, grain; /* deviation; width of its correlation */
    bool rician;
    float bias; /* field: exp(bias * noise) */
    synth_field bias_field;
    int32_t streaks;
    float streak;
    float ghost; /* of a picture moved along the rows' direction */
    float ghost_shift;
    float lo, hi, gamma;
    bool percentile; /* lo, hi are percentiles of the picture */
    bool inverted;
} synth_scan;

struct msa_synth {
    uint64_t seed, index;
    const char *plan;
    synth_law law;
    synth_scan scan;
    msa_synth_view overview;
    float background; /* value of what nothing covers */
    float warp;       /* world units */
    float rough;      /* of half a picture */
    synth_field rough_field[2];
    synth_field warp_field[3];
    synth_field texture[SYNTH_TEXTURES];
    synth_field lobes[SYNTH_LOBES];
    synth_field maps[SYNTH_MAPS];
    synth_shape shapes[SYNTH_SHAPES];
    int32_t n_shapes;
    synth_point points[SYNTH_POINTS];
    int32_t n_points;
    synth_cell cells[SYNTH_CELLS];
    int32_t n_cells;
    int32_t n_ids;
    uint8_t parent[256];
    bool hidden[256]; /* never chosen: holds others together */
};

/* Working memory of one plane, (size, size) each. */
typedef struct synth_canvas {
    int32_t size;
    bool colour;      /* image wanted, not the labels alone */
    float *x, *y, *z; /* where a pixel lies, warped */
    float *image;
    uint8_t *labels;
    float *f; /* of the shape being painted */
    float *slot[SYNTH_SLOTS];
    float *texture[SYNTH_TEXTURES];
    float moved; /* farthest that the warp moves a pixel, world units */
    float pixel; /* world units */
    msa_synth_view view;
    synth_vec origin, normal; /* of this plane */
} synth_canvas;

/* Fills everything but the scan; s is zeroed, with seed and index. */
void synth_build(msa_synth *s);
synth_law synth_law_make(msa_rng *r);
/* One value of a material for one object. */
float synth_law_value(const synth_law *law, synth_material m, msa_rng *r);
synth_scan synth_scan_make(const synth_law *law, msa_rng *r);
/* picture (size, size) in units of the law to 0..1, in place. scratch (2, size, size). */
void synth_scan_apply(const msa_synth *s, const synth_canvas *c, int32_t plane, float *picture,
                      float *scratch);
/* Positions, textures and all shapes of one plane. */
void synth_paint(const msa_synth *s, synth_canvas *c);
/* msa_synth_pick(), with the pixels: mask (size, size), untouched when nothing fits; NULL: not wanted. */
msa_status synth_pick_mask(const msa_synth *s, uint64_t salt, const uint8_t *labels, const float *image,
                           int32_t size, int32_t min_area, msa_synth_target *out, uint8_t *mask,
                           msa_error *err);
/* Whether anything tells the mask (size, size) from what is around it. */
bool synth_visible(const uint8_t *mask, const float *image, int32_t size);

#endif
