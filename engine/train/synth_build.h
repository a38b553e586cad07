/* How plans put scenes together. Private to the generator. */
#ifndef MSA_ENGINE_TRAIN_SYNTH_BUILD_H
#define MSA_ENGINE_TRAIN_SYNTH_BUILD_H

#include "engine/train/synth_scene.h"

typedef struct builder {
    msa_synth *s;
    msa_rng r;
} builder;

static inline synth_vec vec(float x, float y, float z)
{
    return (synth_vec){x, y, z};
}

/* A new object that lies in, or is part of, `parent`; 0 when there are 255 already. */
uint8_t build_id(builder *b, uint8_t parent);
/* A solid with a fresh value; its semi-axes turned at random by up to `tilt`. NULL-free: when the scene is
 * full, a shape that is thrown away. */
synth_shape *build_solid(builder *b, synth_material m, uint8_t id, synth_vec centre, synth_vec semi,
                         float tilt);
/* The same again, on top, smaller by inset: what lies within a wall. */
synth_shape *build_inner(builder *b, const synth_shape *outer, synth_material m, uint8_t id, float inset);
/* An empty tube; points follow. */
synth_shape *build_tube(builder *b, synth_material m, uint8_t id);
void build_point(builder *b, synth_shape *tube, synth_vec at, float radius);
/* A smooth random walk of n points; wander: how much the direction changes, 0..1. */
void build_walk(builder *b, synth_shape *tube, synth_vec from, synth_vec direction, float length, int32_t n,
                float radius0, float radius1, float wander);
/* A tree: trunk and branches into `tube`. */
void build_tree(builder *b, synth_shape *tube, synth_vec from, synth_vec direction, float length,
                float radius, int32_t generations);
/* Divides slot `clip` into parts around n random seeds within semi of centre, each an object of `parent`. */
synth_shape *build_parts(builder *b, synth_material m, uint8_t parent, int32_t clip, synth_vec centre,
                         synth_vec semi, int32_t n, float gap);
/* Divides slot `clip` by noise. */
synth_shape *build_map(builder *b, uint8_t parent, int32_t clip, int32_t n, float frequency);
/* Lobes, cuts, bites, soft border: makes an organ of a solid. */
void build_organic(builder *b, synth_shape *p);
/* Something in a wall, sometimes with a level of gas: gut, bladder, gall bladder. */
void build_hollow(builder *b, synth_shape *outer, synth_material content, float wall);
/* n loops of gut, objects of `parent`, within slot `clip`. */
void build_gut(builder *b, uint8_t parent, int32_t clip, int32_t n);
/* Small things within slot `clip` around centre: nodules, cysts, calcifications. */
void build_lesions(builder *b, uint8_t parent, int32_t clip, synth_vec centre, synth_vec semi, int32_t n);
/* Bone: compact outside, spongy inside. shape is the outside. */
void build_marrow(builder *b, const synth_shape *outer, float cortex);
/* Thin curved plates of bone, as hips, shoulder blades and skull bases have them. */
void build_plates(builder *b, uint8_t parent);
/* Strands through a solid, lighter or darker than it: fat with its small vessels, muscle with its fat. */
void build_strands(builder *b, const synth_shape *in, synth_material m);
synth_vec build_direction(builder *b);
synth_material build_any_material(builder *b);

void build_torso(builder *b, bool chest);
void build_pelvis(builder *b);
void build_head(builder *b);
void build_limbs(builder *b);
void build_soup(builder *b);
void build_patches(builder *b);

#endif
