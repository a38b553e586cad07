/* Hips: curved plates of bone with muscles in layers on them, balls in sockets, sacrum, what lies in the
 * basin. Few of them fill their box. x to the side, y to the back, z along. */
#include "engine/train/synth_build.h"

typedef struct basin {
    float width, depth, fat;
    float head_z; /* where the balls of the thigh bones lie */
    float compact, marrow;
    uint8_t body;
} basin;

enum { SLOT_BODY, SLOT_MUSCLE, SLOT_CAVITY };

static void skin_and_filling(builder *b, basin *t)
{
    msa_rng *r = &b->r;
    t->width = msa_rng_range(r, 0.85F, 1);
    t->depth = t->width * msa_rng_range(r, 0.55F, 0.8F);
    t->fat = msa_rng_log(r, 0.02F, 0.16F);
    t->head_z = msa_rng_range(r, 0.25F, 0.5F);
    t->compact = synth_law_value(&b->s->law, MAT_CORTEX, r);
    t->marrow = synth_law_value(&b->s->law, MAT_SPONGY, r);
    t->body = build_id(b, 0);
    synth_shape *skin = build_solid(b, MAT_FAT, t->body, vec(0, 0, 0), vec(t->width, t->depth, 6), 0.04F);
    skin->power = msa_rng_chance(r, 0.5F) ? 4 : 2;
    skin->save = SLOT_BODY;
    skin->ramp = 0;
    synth_shape *deep = build_inner(b, skin, MAT_FAT, build_id(b, t->body), t->fat);
    b->s->hidden[deep->id] = true;
    deep->save = SLOT_MUSCLE;
    const synth_shape below = *deep;
    if (msa_rng_chance(r, 0.5F)) /* muscles all around */
        build_parts(b, MAT_MUSCLE, deep->id, SLOT_MUSCLE, vec(0, 0, 0), vec(t->width, t->depth, 1),
                    msa_rng_int(r, 8, 20), msa_rng_range(r, 0.008F, 0.04F));
    synth_shape *cavity =
        build_solid(b, MAT_FAT, below.id, vec(0, -0.05F, 0),
                    vec(t->width * msa_rng_range(r, 0.5F, 0.8F), t->depth * 0.75F, 6), 0.05F);
    cavity->clip = SLOT_MUSCLE;
    cavity->save = SLOT_CAVITY;
    if (msa_rng_chance(r, 0.7F)) { /* the wall in front */
        synth_shape *wall = build_inner(b, &below, MAT_MUSCLE, build_id(b, t->body), 0);
        wall->wall = msa_rng_range(r, 0.03F, 0.08F);
        wall->has_cut = true;
        wall->cut = vec(0, 1, 0);
        wall->cut_at = -t->depth * msa_rng_range(r, 0.1F, 0.4F);
    }
}

/* A layer outside of `of`, from `off` to `off + thick` away from it, where `keep` points to. */
static void muscle_layer(builder *b, const basin *t, const synth_shape *of, float off, float thick,
                         synth_vec keep)
{
    msa_rng *r = &b->r;
    synth_shape *p = build_inner(b, of, MAT_MUSCLE, build_id(b, t->body), -(off + thick));
    p->reach += off + thick;
    p->clip = SLOT_MUSCLE;
    p->wall = thick - msa_rng_range(r, 0.004F, 0.02F);
    p->lobe = msa_rng_range(r, 0, 0.03F);
    p->texture *= 1.5F;
    p->has_cut = true;
    p->cut = vec(-keep.x, -keep.y, -keep.z);
    p->cut_at = msa_rng_range(r, -0.12F, 0.12F);
}

static void hip_bone(builder *b, const basin *t, float side, uint8_t id)
{
    msa_rng *r = &b->r;
    const float thick = msa_rng_range(r, 0.04F, 0.1F), cortex = msa_rng_range(r, 0.15F, 0.35F);
    const synth_vec at = vec(side * t->width * msa_rng_range(r, 0.2F, 0.34F), msa_rng_range(r, -0.1F, 0.1F),
                             t->head_z - msa_rng_range(r, 0.4F, 0.6F));
    synth_shape *wing = build_solid(
        b, MAT_CORTEX, id, at,
        vec(msa_rng_range(r, 0.24F, 0.36F), msa_rng_range(r, 0.3F, 0.45F), msa_rng_range(r, 0.45F, 0.65F)),
        0.25F);
    const synth_shape shell = *wing; /* painted again below: the muscles come first */
    const synth_vec out = vec(side * msa_rng_range(r, 0.6F, 1), msa_rng_range(r, -0.1F, 0.7F), 0);
    const float layers[3] = {msa_rng_range(r, 0.04F, 0.12F), msa_rng_range(r, 0.06F, 0.16F),
                             msa_rng_range(r, 0.08F, 0.22F)};
    b->s->n_shapes--;
    muscle_layer(b, t, &shell, layers[0] + layers[1], layers[2], vec(side * 0.4F, 1, 0));
    muscle_layer(b, t, &shell, layers[0], layers[1], vec(side, msa_rng_range(r, -0.3F, 0.5F), 0));
    muscle_layer(b, t, &shell, 0, layers[0], vec(side, msa_rng_range(r, -0.6F, 0.2F), 0));
    synth_shape *inside = build_inner(b, &shell, MAT_MUSCLE, build_id(b, t->body), thick);
    inside->clip = SLOT_MUSCLE;
    inside->wall = msa_rng_range(r, 0.05F, 0.15F);
    inside->has_cut = true;
    inside->cut = vec(-out.x, -out.y + msa_rng_range(r, 0, 0.5F), 0);
    inside->cut_at = msa_rng_range(r, -0.05F, 0.1F);
    synth_shape *bone = build_inner(b, &shell, MAT_CORTEX, id, 0);
    bone->value = t->compact;
    bone->wall = thick;
    bone->lobe = msa_rng_range(r, 0, 0.04F);
    bone->has_cut = true;
    bone->cut = vec(-out.x, -out.y, 0);
    bone->cut_at = msa_rng_range(r, -0.05F, 0.12F);
    synth_shape *spongy = build_inner(b, bone, MAT_SPONGY, id, thick * cortex);
    spongy->value = t->marrow;
    spongy->wall = thick * (1 - 2 * cortex);
}

/* A tube of bone with its marrow, between two points. */
static void strut(builder *b, const basin *t, uint8_t id, synth_vec from, synth_vec to, float radius)
{
    msa_rng *r = &b->r;
    synth_shape *p = build_tube(b, MAT_CORTEX, id);
    p->value = t->compact;
    p->lobe = radius * msa_rng_range(r, 0, 0.4F);
    build_point(b, p, from, radius);
    build_point(
        b, p,
        vec((from.x + to.x) / 2, (from.y + to.y) / 2 + msa_rng_range(r, -0.06F, 0.06F), (from.z + to.z) / 2),
        radius * msa_rng_range(r, 0.6F, 1.1F));
    build_point(b, p, to, radius * msa_rng_range(r, 0.8F, 1.2F));
    build_inner(b, p, MAT_SPONGY, id, radius * msa_rng_range(r, 0.15F, 0.45F))->value = t->marrow;
}

static void ball(builder *b, const basin *t, uint8_t id, synth_vec at, float radius)
{
    synth_shape *p = build_solid(b, MAT_CORTEX, id, at, vec(radius, radius, radius), 0);
    p->value = t->compact;
    build_inner(b, p, MAT_SPONGY, id, radius * msa_rng_range(&b->r, 0.06F, 0.25F))->value = t->marrow;
}

static void socket_and_thigh(builder *b, const basin *t, float side, uint8_t hip)
{
    msa_rng *r = &b->r;
    const float radius = msa_rng_range(r, 0.09F, 0.14F), gap = msa_rng_range(r, 0.005F, 0.02F);
    const synth_vec at =
        vec(side * t->width * msa_rng_range(r, 0.42F, 0.52F), msa_rng_range(r, -0.1F, 0.1F), t->head_z);
    synth_shape *socket =
        build_solid(b, MAT_CORTEX, hip, at, vec(radius * 1.5F, radius * 1.6F, radius * 1.7F), 0.3F);
    socket->value = t->compact;
    socket->lobe = radius * 0.2F;
    socket->has_cut = true;
    socket->cut = vec(side, msa_rng_range(r, -0.4F, 0.4F), 0.2F);
    socket->cut_at = radius * msa_rng_range(r, 0.1F, 0.7F);
    build_inner(b, socket, MAT_SPONGY, hip, radius * 0.1F)->value = t->marrow;
    strut(b, t, hip, at, vec(side * 0.03F, -t->depth * msa_rng_range(r, 0.4F, 0.65F), t->head_z + 0.12F),
          radius * msa_rng_range(r, 0.35F, 0.6F));
    strut(b, t, hip, at, vec(at.x * 0.7F, at.y + 0.15F, t->head_z + msa_rng_range(r, 0.25F, 0.45F)),
          radius * msa_rng_range(r, 0.5F, 0.9F));
    synth_shape *cartilage =
        build_solid(b, msa_rng_chance(r, 0.5F) ? MAT_FLUID : MAT_ORGAN, build_id(b, t->body), at,
                    vec(radius + gap, radius + gap, radius + gap), 0);
    b->s->hidden[cartilage->id] = true;
    const uint8_t thigh = build_id(b, t->body);
    const synth_vec end =
        vec(side * t->width * msa_rng_range(r, 0.62F, 0.74F), at.y + 0.05F, t->head_z + 0.1F);
    strut(b, t, thigh, at, end, radius * 0.65F);
    ball(b, t, thigh, at, radius);
    ball(b, t, thigh, end, radius * msa_rng_range(r, 0.7F, 1));
    strut(b, t, thigh, end, vec(end.x * 0.95F, end.y, t->head_z + 1.2F),
          radius * msa_rng_range(r, 0.5F, 0.75F));
}

static void sacrum(builder *b, const basin *t)
{
    msa_rng *r = &b->r;
    const uint8_t id = build_id(b, t->body);
    const synth_vec at =
        vec(0, t->depth * msa_rng_range(r, 0.35F, 0.55F), t->head_z - msa_rng_range(r, 0.4F, 0.6F));
    const synth_vec semi = vec(msa_rng_range(r, 0.2F, 0.3F), msa_rng_range(r, 0.07F, 0.13F), 0.4F);
    synth_shape *p = build_solid(b, MAT_CORTEX, id, at, semi, 0.2F);
    p->value = t->compact;
    p->lobe = msa_rng_range(r, 0.01F, 0.05F);
    p->has_bite = true; /* hollow in front */
    p->bite = vec(0, -semi.y * 2.6F, 0.25F);
    p->bite_radius = semi.y * 2.2F;
    build_inner(b, p, MAT_SPONGY, id, semi.y * msa_rng_range(r, 0.1F, 0.3F))->value = t->marrow;
    synth_shape *nerves = build_tube(b, msa_rng_chance(r, 0.5F) ? MAT_FAT : MAT_WHITE, build_id(b, id));
    for (int32_t k = -1; k <= 1; k++) {
        const float x = (float)k * semi.x * 0.45F;
        build_walk(b, nerves, vec(x, at.y + (k == 0 ? semi.y * 0.5F : -semi.y * 0.3F), at.z - 0.5F),
                   vec(0, 0, 1), 1, 5, 0.035F, 0.02F, 0.1F);
    }
}

static void contents(builder *b, const basin *t)
{
    msa_rng *r = &b->r;
    build_gut(b, t->body, SLOT_CAVITY, msa_rng_int(r, 1, 6));
    for (int32_t side = -1; side <= 1; side += 2) {
        synth_shape *psoas = build_tube(b, MAT_MUSCLE, build_id(b, t->body));
        const float x = (float)side, wide = msa_rng_range(r, 0.07F, 0.12F);
        psoas->lobe = 0.02F;
        build_point(b, psoas, vec(x * 0.2F, 0.2F, t->head_z - 1.2F), wide * 1.2F);
        build_point(b, psoas, vec(x * 0.36F, -0.1F, t->head_z - 0.3F), wide);
        build_point(b, psoas, vec(x * 0.5F, -0.22F, t->head_z), wide * 0.8F);
        for (int32_t k = 0; k < 2; k++) {
            synth_shape *vessel = build_tube(b, MAT_BLOOD, build_id(b, t->body));
            build_walk(b, vessel, vec(x * 0.1F, 0.15F, t->head_z - 1),
                       vec(x * msa_rng_range(r, 0.2F, 0.4F), -0.3F, 1), 1.3F, 6,
                       msa_rng_range(r, 0.03F, 0.06F), 0.03F, 0.12F);
        }
    }
    const float size = msa_rng_range(r, 0.1F, 0.26F); /* the bladder, and what lies behind it */
    synth_shape *p = build_solid(b, MAT_MUSCLE, build_id(b, t->body),
                                 vec(msa_rng_range(r, -0.05F, 0.05F), -t->depth * 0.25F, t->head_z - 0.05F),
                                 vec(size * 1.2F, size * 0.9F, size), 0.3F);
    build_hollow(b, p, MAT_FLUID, msa_rng_range(r, 0.006F, 0.04F));
    if (msa_rng_chance(r, 0.6F)) {
        const float own = msa_rng_range(r, 0.06F, 0.14F);
        p = build_solid(b, MAT_ORGAN, build_id(b, t->body),
                        vec(0, 0.05F, t->head_z + msa_rng_range(r, -0.2F, 0.2F)), vec(own * 1.3F, own, own),
                        0.5F);
        build_organic(b, p);
    }
    p = build_tube(b, MAT_MUSCLE, build_id(b, t->body));
    const float wide = msa_rng_range(r, 0.05F, 0.11F);
    build_walk(b, p, vec(0, t->depth * 0.3F, t->head_z + 0.4F), vec(0, -0.1F, -1), 0.9F, 6, wide, wide,
               0.25F);
    build_hollow(b, p, msa_rng_chance(r, 0.4F) ? MAT_AIR : MAT_CONTENT, wide * msa_rng_range(r, 0.15F, 0.5F));
}

void build_pelvis(builder *b)
{
    basin t = {0};
    skin_and_filling(b, &t);
    for (int32_t side = -1; side <= 1; side += 2)
        hip_bone(b, &t, (float)side, build_id(b, t.body));
    contents(b, &t);
    sacrum(b, &t);
    for (int32_t side = -1; side <= 1; side += 2)
        socket_and_thigh(b, &t, (float)side, build_id(b, t.body));
    if (msa_rng_chance(&b->r, 0.3F))
        build_lesions(b, t.body, SLOT_BODY, vec(0, 0, 0), vec(t.width, t.depth, 1), msa_rng_int(&b->r, 1, 4));
}
