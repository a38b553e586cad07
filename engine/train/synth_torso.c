/* Trunks: wall, spine, ribs, and what lies in the cavity. x to the side, y to the back, z along. */
#include "engine/train/synth_build.h"

typedef struct trunk {
    float width, depth; /* semi-axes of the body */
    float fat, wall;    /* thickness under the skin, of the muscle */
    float spine_y;
    uint8_t body;
} trunk;

enum { SLOT_BODY, SLOT_MUSCLE, SLOT_CAVITY, SLOT_ORGAN, SLOT_BONE };

static void build_wall(builder *b, trunk *t, bool chest)
{
    msa_rng *r = &b->r;
    t->width = msa_rng_range(r, 0.8F, 1);
    t->depth = t->width * msa_rng_range(r, 0.55F, 0.85F);
    t->fat = msa_rng_log(r, 0.015F, 0.16F);
    const bool thick = !chest && msa_rng_chance(r, 0.45F); /* as around the hips */
    t->wall = thick ? msa_rng_range(r, 0.12F, 0.32F) : msa_rng_range(r, 0.03F, 0.1F);
    t->body = build_id(b, 0);
    synth_shape *skin = build_solid(b, MAT_FAT, t->body, vec(0, 0, 0), vec(t->width, t->depth, 6), 0.04F);
    skin->power = msa_rng_chance(&b->r, 0.5F) ? 4 : 2;
    skin->lobe = 0.02F;
    skin->save = SLOT_BODY;
    skin->ramp = 0;
    if (msa_rng_chance(r, 0.6F)) { /* the skin itself */
        synth_shape *rim = build_inner(b, skin, MAT_MUSCLE, t->body, 0);
        rim->wall = 0.012F;
    }
    if (msa_rng_chance(r, 0.3F)) build_strands(b, skin, MAT_MUSCLE);
    synth_shape *muscle = build_inner(b, skin, MAT_MUSCLE, build_id(b, t->body), t->fat);
    muscle->save = SLOT_MUSCLE;
    if (msa_rng_chance(r, thick ? 0.85F : 0.35F)) { /* its layers and groups, with fat between */
        muscle->value = synth_law_value(&b->s->law, MAT_FAT, r);
        b->s->hidden[muscle->id] = true;
        build_parts(b, MAT_MUSCLE, muscle->id, SLOT_MUSCLE, vec(0, 0, 0), vec(t->width, t->depth, 1),
                    msa_rng_int(r, 8, 24), msa_rng_range(r, 0.008F, 0.03F));
    } else if (msa_rng_chance(r, 0.4F)) {
        build_strands(b, muscle, MAT_FAT);
    }
    synth_shape *cavity = build_inner(b, skin, msa_rng_chance(r, 0.7F) ? MAT_FAT : MAT_ORGAN,
                                      build_id(b, t->body), t->fat + t->wall);
    cavity->save = SLOT_CAVITY;
    b->s->hidden[cavity->id] = true;
    if (msa_rng_chance(r, 0.6F)) build_strands(b, cavity, MAT_BLOOD);
    t->spine_y = t->depth - t->fat - t->wall - msa_rng_range(r, 0.1F, 0.2F);
}

static void build_spine(builder *b, const trunk *t)
{
    msa_rng *r = &b->r;
    const float pitch = msa_rng_range(r, 0.16F, 0.26F), radius = msa_rng_range(r, 0.1F, 0.16F);
    const float disc = pitch * msa_rng_range(r, 0.12F, 0.3F), shift = msa_rng_range(r, 0, pitch);
    const float cortex = radius * msa_rng_range(r, 0.05F, 0.2F);
    const float compact = synth_law_value(&b->s->law, MAT_CORTEX, r);
    const float marrow = synth_law_value(&b->s->law, MAT_SPONGY, r);
    const bool one = msa_rng_chance(r, 0.4F); /* all vertebrae one object, as in some label sets */
    const uint8_t all = one ? build_id(b, t->body) : 0;
    synth_shape *discs = build_tube(b, MAT_ORGAN, build_id(b, t->body));
    build_point(b, discs, vec(0, t->spine_y, -2), radius * 0.9F);
    build_point(b, discs, vec(0, t->spine_y, 2), radius * 0.9F);
    for (int32_t k = -7; k <= 7; k++) {
        const float z = (float)k * pitch + shift;
        const uint8_t id = one ? all : build_id(b, t->body);
        synth_shape *arch =
            build_tube(b, MAT_CORTEX, id); /* processes around the canal, to the sides and back */
        const float back = t->spine_y + radius * 1.5F;
        for (int32_t side = -1; side <= 1; side += 2) {
            const float x = (float)side * radius;
            build_point(b, arch, vec(x * 0.75F, t->spine_y + radius * 0.4F, z), radius * 0.22F);
            build_point(b, arch, vec(x * 0.8F, back, z), radius * 0.25F);
            build_point(b, arch, vec(0, back + radius * 0.55F, z), radius * 0.2F);
            build_point(b, arch, vec(0, back, z), -1);
            build_point(b, arch, vec(x * 0.8F, back, z), radius * 0.25F);
            build_point(b, arch, vec(x * 1.9F, back - radius * 0.1F, z), radius * 0.15F);
            build_point(b, arch, vec(0, back, z), -1);
        }
        build_point(b, arch, vec(0, back + radius * 0.5F, z), radius * 0.18F);
        build_point(b, arch, vec(0, back + radius * 1.3F, z + pitch * 0.4F), radius * 0.15F);
        arch->value = compact;
        synth_shape *body = build_solid(b, MAT_CORTEX, id, vec(0, t->spine_y, z),
                                        vec(radius * 1.15F, radius * 0.95F, (pitch - disc) / 2), 0.05F);
        body->power = 4;
        body->value = compact;
        synth_shape *inner = build_inner(b, body, MAT_SPONGY, id, cortex);
        inner->value = marrow;
        inner->ramp = 0.3F * cortex;
    }
    synth_shape *canal = build_tube(b, MAT_FLUID, build_id(b, t->body));
    build_point(b, canal, vec(0, t->spine_y + radius * 1.25F, -2), radius * 0.5F);
    build_point(b, canal, vec(0, t->spine_y + radius * 1.25F, 2), radius * 0.5F);
    synth_shape *cord = build_inner(b, canal, MAT_WHITE, build_id(b, canal->id), radius * 0.2F);
    (void)cord;
}

static void build_ribs(builder *b, const trunk *t)
{
    msa_rng *r = &b->r;
    const float pitch = msa_rng_range(r, 0.17F, 0.28F), slant = msa_rng_range(r, 0.1F, 0.5F);
    const float thick = msa_rng_range(r, 0.022F, 0.042F), hollow = thick * msa_rng_range(r, 0.25F, 0.6F);
    const float inset = t->fat + thick * 1.2F;
    const float end = msa_rng_range(r, 1.6F, 2.8F); /* where the bone ends and cartilage begins, radians */
    for (int32_t k = -4; k <= 4; k++)
        for (int32_t side = -1; side <= 1; side += 2) {
            const uint8_t id = build_id(b, t->body);
            synth_shape *rib = build_tube(b, MAT_CORTEX, id);
            rib->clip = SLOT_BODY;
            for (int32_t i = 0; i <= 12; i++) {
                const float a = 0.25F + (end - 0.25F) * (float)i / 12;
                const float x = (t->width - inset) * sinf(a) * (float)side, y = (t->depth - inset) * cosf(a);
                build_point(b, rib, vec(x, y, (float)k * pitch + slant * a), thick);
            }
            if (msa_rng_chance(r, 0.85F)) build_inner(b, rib, MAT_SPONGY, id, hollow)->ramp = hollow * 0.5F;
            if (!msa_rng_chance(r, 0.5F)) continue;
            synth_shape *cartilage = build_tube(b, MAT_ORGAN, build_id(b, t->body));
            for (int32_t i = 0; i <= 3; i++) {
                const float a = end + (3 - end) * (float)i / 3;
                build_point(b, cartilage,
                            vec((t->width - inset) * sinf(a) * (float)side, (t->depth - inset) * cosf(a),
                                (float)k * pitch + slant * a),
                            thick);
            }
        }
}

/* Muscles beside and behind the spine. */
static void build_back(builder *b, const trunk *t)
{
    msa_rng *r = &b->r;
    const float x = msa_rng_range(r, 0.17F, 0.26F), w = msa_rng_range(r, 0.1F, 0.16F);
    const bool psoas = msa_rng_chance(r, 0.7F);
    for (int32_t side = -1; side <= 1; side += 2) {
        synth_shape *back =
            build_solid(b, MAT_MUSCLE, build_id(b, t->body), vec((float)side * x, t->spine_y + 0.2F, 0),
                        vec(w, w * 0.75F, 3), 0.1F);
        back->clip = SLOT_BODY;
        back->lobe = 0.02F;
        back->texture *= 1.5F;
        if (psoas) {
            synth_shape *p =
                build_solid(b, MAT_MUSCLE, build_id(b, t->body),
                            vec((float)side * (x + 0.02F), t->spine_y, msa_rng_range(r, 0, 0.8F)),
                            vec(w * 0.8F, w * 0.8F, 1), 0.15F);
            p->lobe = 0.015F;
        }
    }
}

static synth_shape *organ(builder *b, const trunk *t, synth_vec at, synth_vec semi, float tilt)
{
    synth_shape *p = build_solid(b, MAT_ORGAN, build_id(b, t->body), at, semi, tilt);
    p->clip = SLOT_CAVITY;
    build_organic(b, p);
    return p;
}

static void build_kidneys(builder *b, const trunk *t)
{
    msa_rng *r = &b->r;
    const float size = msa_rng_range(r, 0.13F, 0.2F);
    const bool layers = msa_rng_chance(r, 0.6F);
    for (int32_t side = -1; side <= 1; side += 2) {
        const synth_vec at = vec((float)side * msa_rng_range(r, 0.36F, 0.48F),
                                 t->spine_y - msa_rng_range(r, 0, 0.12F), msa_rng_range(r, -0.25F, 0.25F));
        synth_shape *p = build_solid(b, MAT_ORGAN, build_id(b, t->body), at,
                                     vec(size * 0.75F, size * 0.7F, size * 1.5F), 0.4F);
        p->lobe = size * msa_rng_range(r, 0, 0.15F);
        p->has_bite = msa_rng_chance(r, 0.8F); /* the hilum, towards the spine */
        p->bite = vec(-(float)side * size * 0.85F, -size * 0.3F, 0);
        p->bite_radius = size * 0.4F;
        p->save = SLOT_ORGAN;
        if (layers) {
            synth_shape *medulla = build_inner(b, p, MAT_ORGAN, build_id(b, p->id), size * 0.22F);
            medulla->lobe += size * 0.1F;
        }
        if (msa_rng_chance(r, 0.7F)) {
            synth_shape *sinus =
                build_solid(b, msa_rng_chance(r, 0.5F) ? MAT_FAT : MAT_FLUID, build_id(b, p->id),
                            vec(at.x - (float)side * size * 0.3F, at.y, at.z),
                            vec(size * 0.35F, size * 0.2F, size * 0.6F), 0.4F);
            sinus->lobe = size * 0.12F;
            sinus->clip = SLOT_ORGAN;
        }
        build_lesions(b, p->id, msa_rng_chance(r, 0.5F) ? SLOT_ORGAN : SLOT_CAVITY, at,
                      vec(size, size, size * 1.5F), msa_rng_int(r, 0, 2));
    }
}

static void build_liver(builder *b, const trunk *t)
{
    msa_rng *r = &b->r;
    const synth_vec at =
        vec(-0.4F * t->width, msa_rng_range(r, -0.15F, 0.05F), msa_rng_range(r, -0.6F, -0.1F));
    const synth_vec semi =
        vec(msa_rng_range(r, 0.4F, 0.6F), msa_rng_range(r, 0.35F, 0.55F), msa_rng_range(r, 0.35F, 0.55F));
    synth_shape *p = organ(b, t, at, semi, 0.5F);
    p->save = SLOT_ORGAN;
    const uint8_t id = p->id;
    if (msa_rng_chance(r, 0.7F)) {
        const int32_t trees = msa_rng_int(r, 1, 2);
        const float value = synth_law_value(&b->s->law, MAT_BLOOD, r);
        for (int32_t k = 0; k < trees; k++) {
            synth_shape *v = build_tube(b, MAT_BLOOD, build_id(b, id));
            v->clip = SLOT_ORGAN;
            v->value = value;
            build_tree(b, v, vec(at.x + semi.x * 0.7F, at.y + 0.1F, at.z),
                       vec(-1, msa_rng_range(r, -0.5F, 0.5F), msa_rng_range(r, -0.5F, 0.5F)), 0.25F,
                       msa_rng_range(r, 0.02F, 0.05F), 4);
        }
    }
    if (msa_rng_chance(r, 0.6F)) build_lesions(b, id, SLOT_ORGAN, at, semi, msa_rng_int(r, 1, 5));
}

static void build_abdomen(builder *b, const trunk *t)
{
    msa_rng *r = &b->r;
    if (msa_rng_chance(r, 0.5F)) /* packed: neighbours that touch, hardly different */
        build_parts(b, MAT_ORGAN, t->body, SLOT_CAVITY, vec(0, 0, 0),
                    vec(t->width * 0.8F, t->depth * 0.8F, 1), msa_rng_int(r, 5, 18),
                    msa_rng_chance(r, 0.4F) ? msa_rng_range(r, 0.004F, 0.03F) : 0);
    build_gut(b, t->body, SLOT_CAVITY, msa_rng_int(r, 1, 8));
    if (msa_rng_chance(r, 0.85F)) build_liver(b, t);
    if (msa_rng_chance(r, 0.8F)) {
        const float size = msa_rng_range(r, 0.12F, 0.28F);
        organ(b, t, vec(0.6F * t->width, msa_rng_range(r, 0, 0.2F), msa_rng_range(r, -0.5F, 0)),
              vec(size * 0.6F, size, size * 1.1F), 0.6F);
    }
    if (msa_rng_chance(r, 0.6F)) { /* stomach */
        synth_shape *p =
            organ(b, t, vec(0.25F, -0.2F, msa_rng_range(r, -0.5F, 0)), vec(0.3F, 0.2F, 0.25F), 0.9F);
        build_hollow(b, p, MAT_CONTENT, msa_rng_range(r, 0.015F, 0.05F));
    }
    if (msa_rng_chance(r, 0.8F)) build_kidneys(b, t);
    if (msa_rng_chance(r, 0.6F)) { /* pancreas */
        synth_shape *p = build_tube(b, MAT_ORGAN, build_id(b, t->body));
        const float radius = msa_rng_range(r, 0.03F, 0.06F);
        p->lobe = radius * 0.4F;
        build_walk(b, p, vec(-0.2F, -0.05F, msa_rng_range(r, -0.2F, 0.2F)), vec(1, 0, -0.2F), 0.7F, 8,
                   radius * 1.3F, radius * 0.7F, 0.35F);
    }
    for (int32_t k = msa_rng_int(r, 0, 2); k > 0; k--) { /* gall bladder, bladder, cysts */
        const float size = msa_rng_range(r, 0.06F, 0.2F);
        synth_shape *p = organ(
            b, t,
            vec(msa_rng_range(r, -0.4F, 0.4F), msa_rng_range(r, -0.3F, 0.1F), msa_rng_range(r, -0.5F, 0.8F)),
            vec(size, size * 0.8F, size * 1.2F), 3);
        build_hollow(b, p, MAT_FLUID, msa_rng_range(r, 0.006F, 0.03F));
    }
    for (int32_t k = msa_rng_int(r, 0, 4); k > 0; k--) /* adrenals, nodes: small and thin */
    {
        synth_shape *p = build_tube(b, MAT_ORGAN, build_id(b, t->body));
        build_walk(b, p,
                   vec(msa_rng_range(r, -0.4F, 0.4F), msa_rng_range(r, 0, t->spine_y),
                       msa_rng_range(r, -0.5F, 0.5F)),
                   build_direction(b), msa_rng_range(r, 0.1F, 0.3F), 5, msa_rng_range(r, 0.012F, 0.03F),
                   0.012F, 0.6F);
    }
}

static void build_vessels(builder *b, const trunk *t)
{
    msa_rng *r = &b->r;
    const float value = synth_law_value(&b->s->law, MAT_BLOOD, r);
    for (int32_t side = -1; side <= 1; side += 2) {
        const float radius = msa_rng_range(r, 0.035F, 0.08F);
        const float x = (float)side * msa_rng_range(r, 0.06F, 0.12F),
                    y = t->spine_y - msa_rng_range(r, 0.18F, 0.26F);
        synth_shape *p = build_tube(b, MAT_BLOOD, build_id(b, t->body));
        p->value += 0.5F * (value - p->value);
        if (side < 0) p->lobe = radius * 0.3F; /* a vein is not round */
        build_walk(b, p, vec(x, y, -1.6F), vec(0, 0, 1), 2.2F, 8, radius, radius * 0.8F, 0.06F);
        const synth_point end = b->s->points[b->s->n_points - 1];
        build_tree(b, p, end.at, vec((float)side * 0.4F, 0, 1), 0.5F, radius * 0.7F, 3);
        build_tree(b, p, vec(x, y, msa_rng_range(r, -0.5F, 0.5F)), vec((float)side, -0.5F, 0), 0.3F,
                   radius * 0.4F, 3);
        if (msa_rng_chance(r, 0.3F)) { /* an enhanced lumen in a wall or thrombus */
            synth_shape *lumen = build_inner(b, p, MAT_BLOOD, p->id, radius * msa_rng_range(r, 0.1F, 0.4F));
            (void)lumen;
        }
    }
}

static void build_lungs(builder *b, const trunk *t)
{
    msa_rng *r = &b->r;
    const float lung = synth_law_value(&b->s->law, MAT_LUNG, r);
    for (int32_t side = -1; side <= 1; side += 2) {
        const synth_vec at = vec((float)side * t->width * 0.5F, -0.02F, 0);
        const synth_vec semi = vec(t->width * msa_rng_range(r, 0.34F, 0.42F),
                                   t->depth * msa_rng_range(r, 0.65F, 0.8F), msa_rng_range(r, 0.8F, 1.4F));
        synth_shape *p = build_solid(b, MAT_LUNG, build_id(b, t->body), at, semi, 0.15F);
        p->value = lung;
        p->clip = SLOT_CAVITY;
        p->save = SLOT_ORGAN;
        p->lobe = 0.03F;
        p->has_bite = true; /* room for the heart */
        p->bite = vec(-(float)side * semi.x * 0.9F, -semi.y * 0.2F, 0.3F);
        p->bite_radius = semi.x * msa_rng_range(r, 0.5F, 0.9F);
        const uint8_t id = p->id;
        synth_shape *v = build_tube(b, MAT_BLOOD, build_id(b, id));
        v->clip = SLOT_ORGAN;
        for (int32_t k = 0; k < 4; k++)
            build_tree(b, v, vec(at.x - (float)side * semi.x * 0.8F, 0.05F, msa_rng_range(r, -0.4F, 0.4F)),
                       vec((float)side, msa_rng_range(r, -1, 1), msa_rng_range(r, -1, 1)), 0.2F,
                       msa_rng_range(r, 0.014F, 0.03F), 4);
        for (int32_t k = msa_rng_int(r, 0, 3); k > 0; k--) {
            const float size = msa_rng_log(r, 0.02F, 0.14F);
            synth_shape *n =
                build_solid(b, MAT_ORGAN, build_id(b, id),
                            vec(at.x + msa_rng_range(r, -0.6F, 0.6F) * semi.x,
                                msa_rng_range(r, -0.5F, 0.5F) * semi.y, msa_rng_range(r, -0.6F, 0.6F)),
                            vec(size, size, size), 3);
            n->lobe = size * msa_rng_range(r, 0, 0.7F);
            n->clip = msa_rng_chance(r, 0.7F) ? SLOT_ORGAN : SLOT_CAVITY;
        }
    }
}

/* Lung above and around the dome of what lies below it: what is left of the cavity is the dome. */
static void build_domes(builder *b, const trunk *t)
{
    msa_rng *r = &b->r;
    const float lung = synth_law_value(&b->s->law, MAT_LUNG, r), top = msa_rng_range(r, -0.9F, 0.1F);
    for (int32_t side = -1; side <= 1; side += 2) {
        synth_shape *p =
            build_solid(b, MAT_LUNG, build_id(b, t->body), vec((float)side * t->width * 0.5F, 0, top - 1),
                        vec(t->width * 0.49F, t->depth, 1.6F + msa_rng_range(r, -0.2F, 0.2F)), 0.1F);
        p->value = lung;
        p->clip = SLOT_CAVITY;
        p->lobe = 0.02F;
        p->texture *= 2;
    }
    const bool one = msa_rng_chance(r, 0.3F);
    const float shift = msa_rng_range(r, -0.1F, 0.02F) * t->depth, wide = msa_rng_range(r, 0.4F, 0.52F);
    for (int32_t side = -1; side <= 1; side += 2) { /* domes of liver and spleen, or fat */
        synth_shape *p =
            build_solid(b, msa_rng_chance(r, 0.75F) ? MAT_ORGAN : MAT_FAT, build_id(b, t->body),
                        vec((float)side * t->width * (one ? 0.1F : 0.42F), shift, top + 1),
                        vec(t->width * wide * (one ? 1.5F : 1), t->depth * msa_rng_range(r, 0.6F, 0.95F),
                            msa_rng_range(r, 0.9F, 1.4F)),
                        0.15F);
        p->clip = SLOT_CAVITY;
        p->lobe = msa_rng_range(r, 0, 0.05F);
        if (p->material == MAT_FAT) b->s->hidden[p->id] = true;
    }
}

static void build_heart(builder *b, const trunk *t)
{
    msa_rng *r = &b->r;
    const float size = msa_rng_range(r, 0.2F, 0.32F);
    const synth_vec at = vec(msa_rng_range(r, -0.02F, 0.15F), -0.12F * t->depth, 0.3F);
    synth_shape *sac =
        build_solid(b, MAT_FAT, build_id(b, t->body), at, vec(size * 1.4F, size * 1.1F, size * 1.5F), 0.4F);
    sac->lobe = 0.04F;
    synth_shape *heart = build_inner(b, sac, MAT_MUSCLE, build_id(b, sac->id), size * 0.12F);
    const uint8_t parent = heart->id;
    const float blood = synth_law_value(&b->s->law, MAT_BLOOD, r);
    for (int32_t k = 0; k < 4; k++) {
        const float own = size * msa_rng_range(r, 0.35F, 0.5F);
        const synth_vec p = vec(at.x + (k & 1 ? 0.55F : -0.55F) * size, at.y + (k & 2 ? 0.4F : -0.4F) * size,
                                at.z + msa_rng_range(r, -0.1F, 0.1F));
        if (k == 0) { /* the thick one */
            synth_shape *wall = build_solid(b, MAT_MUSCLE, build_id(b, parent), p,
                                            vec(own * 1.4F, own * 1.2F, own * 1.7F), 0.5F);
            build_inner(b, wall, MAT_BLOOD, build_id(b, wall->id), own * msa_rng_range(r, 0.25F, 0.5F))
                ->value = blood;
            continue;
        }
        synth_shape *c =
            build_solid(b, MAT_BLOOD, build_id(b, parent), p, vec(own, own * 0.9F, own * 1.3F), 0.8F);
        c->value = blood + b->s->law.spread[MAT_BLOOD] * msa_rng_normal(r);
        c->lobe = own * 0.15F;
    }
}

static void build_airways(builder *b, const trunk *t)
{
    msa_rng *r = &b->r;
    const float radius = msa_rng_range(r, 0.04F, 0.07F), y = t->spine_y - 0.35F;
    synth_shape *wall = build_tube(b, MAT_MUSCLE, build_id(b, t->body));
    build_walk(b, wall, vec(0, y, -1.8F), vec(0, 0, 1), 1.7F, 5, radius, radius, 0.03F);
    build_tree(b, wall, vec(0, y, -0.1F), vec(0.8F, 0, 0.5F), 0.4F, radius * 0.7F, 3);
    build_tree(b, wall, vec(0, y, -0.1F), vec(-0.8F, 0, 0.5F), 0.4F, radius * 0.7F, 3);
    build_inner(b, wall, MAT_AIR, build_id(b, wall->id), radius * 0.2F);
    synth_shape *gullet = build_tube(b, MAT_MUSCLE, build_id(b, t->body));
    build_walk(b, gullet, vec(0.05F, y + 0.13F, -1.8F), vec(0, 0, 1), 3.6F, 8, 0.04F, 0.04F, 0.05F);
}

static void build_arms(builder *b, const trunk *t)
{
    for (int32_t side = -1; side <= 1; side += 2) {
        const synth_vec at = vec((float)side * (t->width + 0.2F), msa_rng_range(&b->r, -0.1F, 0.3F), 0);
        const float radius = msa_rng_range(&b->r, 0.1F, 0.16F);
        synth_shape *skin = build_solid(b, MAT_FAT, build_id(b, 0), at, vec(radius, radius, 3), 0.1F);
        const uint8_t id = skin->id;
        build_inner(b, skin, MAT_MUSCLE, build_id(b, id), radius * 0.15F);
        synth_shape *bone =
            build_solid(b, MAT_CORTEX, build_id(b, id), at, vec(radius * 0.25F, radius * 0.25F, 3), 0.1F);
        build_marrow(b, bone, radius * 0.09F);
    }
}

void build_torso(builder *b, bool chest)
{
    trunk t = {0};
    msa_rng *r = &b->r;
    build_wall(b, &t, chest);
    if (msa_rng_chance(r, 0.15F)) build_arms(b, &t);
    build_back(b, &t);
    if (chest) {
        build_lungs(b, &t);
        if (msa_rng_chance(r, 0.5F)) build_domes(b, &t);
        if (msa_rng_chance(r, 0.85F)) build_heart(b, &t);
        build_airways(b, &t);
    } else {
        if (msa_rng_chance(r, 0.3F)) build_domes(b, &t);
        build_abdomen(b, &t);
    }
    build_vessels(b, &t);
    build_spine(b, &t);
    if (chest || msa_rng_chance(r, 0.65F)) build_ribs(b, &t);
    if (msa_rng_chance(r, chest ? 0.25F : 0.55F)) build_plates(b, t.body); /* shoulder blades, hips */
    if (msa_rng_chance(r, 0.3F))
        build_lesions(b, t.body, SLOT_BODY, vec(0, 0, 0), vec(t.width, t.depth, 1), msa_rng_int(r, 1, 4));
}
