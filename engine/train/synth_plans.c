/* Heads, limbs, and scenes that are like nothing: shapes of every kind, patches of noise. */
#include "engine/train/synth_build.h"

enum { SLOT_BODY, SLOT_INNER, SLOT_DEEP, SLOT_ORGAN };

/* ---- head ---- */

static void brain_inside(builder *b, uint8_t brain, synth_vec semi, synth_shape *gray)
{
    msa_rng *r = &b->r;
    const synth_shape cortex = *gray;
    const float depth = msa_rng_range(r, 0.1F, 0.25F), sulcus = msa_rng_range(r, 0.015F, 0.08F);
    const float ribbon = msa_rng_range(r, 0.03F, 0.06F);
    synth_shape *white = build_inner(b, &cortex, MAT_WHITE, build_id(b, brain), ribbon);
    white->save = SLOT_DEEP;
    if (msa_rng_chance(
            r, 0.85F)) { /* folds: gray along the lines where the noise is zero, fluid in their middle */
        const int32_t field = msa_rng_below(r, SYNTH_LOBES);
        b->s->lobes[field] = synth_field_make(r, msa_rng_range(r, 4, 7), 1, 1, 0.5F);
        white->ridge = sulcus + msa_rng_range(r, 0.08F, 0.2F);
        white->ridge_scale = 0.25F;
        white->ridge_field = field;
        synth_shape *core = build_inner(b, &cortex, MAT_WHITE, white->id, depth + 0.08F); /* folds end */
        core->value = white->value;
        core->texture = white->texture;
        core->texture_field = white->texture_field;
        if (msa_rng_chance(r, 0.7F)) {
            synth_shape *fluid = build_inner(b, &cortex, MAT_FLUID, build_id(b, brain), -0.01F);
            fluid->wall = depth;
            fluid->ridge = -sulcus;
            fluid->ridge_scale = 0.25F;
            fluid->ridge_field = field;
        }
    }
    const float nuclei = synth_law_value(&b->s->law, MAT_GRAY, r), size = semi.x;
    const float wide = msa_rng_log(r, 0.06F, 0.2F);
    for (int32_t side = -1; side <= 1; side += 2) {
        const float x = (float)side * size;
        for (int32_t k = msa_rng_int(r, 1, 3); k > 0; k--) { /* thalamus, putamen, caudate */
            synth_shape *n = build_solid(b, MAT_GRAY, build_id(b, brain),
                                         vec(x * msa_rng_range(r, 0.15F, 0.45F),
                                             msa_rng_range(r, -0.2F, 0.2F), msa_rng_range(r, -0.1F, 0.2F)),
                                         vec(size * msa_rng_range(r, 0.08F, 0.18F),
                                             size * msa_rng_range(r, 0.14F, 0.35F), size * 0.2F),
                                         0.4F);
            n->value = nuclei;
            n->lobe = 0.02F;
        }
        synth_shape *v =
            build_solid(b, MAT_FLUID, build_id(b, brain), vec(x * 0.18F, msa_rng_range(r, -0.15F, 0.1F), 0),
                        vec(size * wide, size * msa_rng_range(r, 0.3F, 0.6F), size * 0.3F), 0.25F);
        v->lobe = 0.02F;
        v->has_bite = true;
        v->bite = vec((float)side * size * 0.25F, 0, 0);
        v->bite_radius = size * 0.22F;
    }
}

static void brain_lesions(builder *b, uint8_t brain, synth_vec semi)
{
    msa_rng *r = &b->r;
    if (msa_rng_chance(r, 0.45F)) { /* a tumour: oedema, rim, core */
        const float size = msa_rng_log(r, 0.06F, 0.3F);
        const synth_vec at = vec(msa_rng_range(r, -0.6F, 0.6F) * semi.x,
                                 msa_rng_range(r, -0.6F, 0.6F) * semi.y, msa_rng_range(r, -0.2F, 0.2F));
        synth_shape *oedema =
            build_solid(b, MAT_LESION, build_id(b, brain), at, vec(size * 1.5F, size * 1.3F, size * 1.3F), 3);
        oedema->clip = SLOT_INNER;
        oedema->lobe = size * msa_rng_range(r, 0.2F, 0.7F);
        oedema->ramp = fmaxf(oedema->ramp, 0.01F);
        synth_shape *rim = build_solid(b, MAT_LESION, build_id(b, oedema->id), at, vec(size, size, size), 3);
        rim->clip = SLOT_INNER;
        rim->lobe = size * msa_rng_range(r, 0, 0.5F);
        if (msa_rng_chance(r, 0.6F))
            build_inner(b, rim, MAT_LESION, build_id(b, rim->id), size * msa_rng_range(r, 0.15F, 0.5F));
    }
    if (msa_rng_chance(r, 0.3F))
        build_lesions(b, brain, SLOT_INNER, vec(0, 0, 0), semi, msa_rng_int(r, 1, 6));
}

static void face(builder *b, uint8_t head, float w, float d)
{
    msa_rng *r = &b->r;
    for (int32_t side = -1; side <= 1; side += 2) {
        const float x = (float)side * w;
        synth_shape *eye = build_solid(b, MAT_FLUID, build_id(b, head), vec(x * 0.4F, -d * 0.85F, 0.55F),
                                       vec(0.13F, 0.13F, 0.13F), 1);
        const synth_shape ball = *eye;
        build_solid(b, MAT_ORGAN, build_id(b, ball.id), vec(x * 0.4F, -d * 0.85F - 0.09F, 0.55F),
                    vec(0.05F, 0.03F, 0.05F), 0.1F);
        synth_shape *sinus = build_solid(b, MAT_AIR, build_id(b, head), vec(x * 0.3F, -d * 0.7F, 0.75F),
                                         vec(0.13F, 0.15F, 0.2F), 0.3F);
        sinus->lobe = 0.05F;
        synth_shape *nerve = build_tube(b, MAT_WHITE, build_id(b, head));
        build_walk(b, nerve, vec(x * 0.4F, -d * 0.7F, 0.55F), vec(-(float)side * 0.4F, 1, 0), 0.4F, 4, 0.02F,
                   0.02F, 0.1F);
        synth_shape *jaw = build_tube(b, MAT_CORTEX, build_id(b, head));
        build_walk(b, jaw, vec(x * 0.6F, 0, 0.7F), vec((float)side * -0.2F, -0.9F, 0.6F), 0.8F, 6, 0.05F,
                   0.05F, 0.15F);
        build_marrow(b, jaw, 0.02F);
    }
    if (msa_rng_chance(r, 0.5F)) {
        synth_shape *p = build_solid(b, MAT_GRAY, build_id(b, head), vec(0, d * 0.5F, 0.55F),
                                     vec(w * 0.55F, d * 0.35F, 0.25F), 0.1F);
        p->lobe = 0.06F;
    }
    synth_shape *stem = build_tube(b, MAT_WHITE, build_id(b, head));
    build_walk(b, stem, vec(0, 0.1F, 0.25F), vec(0, 0.15F, 1), 1.2F, 5, 0.14F, 0.08F, 0.05F);
}

void build_head(builder *b)
{
    msa_rng *r = &b->r;
    const float w = msa_rng_range(r, 0.65F, 0.85F), d = msa_rng_range(r, 0.8F, 0.98F),
                h = msa_rng_range(r, 0.75F, 0.95F);
    const float scalp = msa_rng_range(r, 0.025F, 0.08F), skull = msa_rng_range(r, 0.025F, 0.07F);
    const bool stripped = msa_rng_chance(r, 0.15F); /* some data sets hold the brain alone */
    const uint8_t head = build_id(b, 0);
    synth_shape *skin = build_solid(b, MAT_FAT, head, vec(0, 0, 0), vec(w, d, h), 0.06F);
    skin->save = SLOT_BODY;
    skin->lobe = 0.01F;
    const synth_shape outer = *skin;
    if (stripped) b->s->n_shapes--;
    if (!stripped) {
        if (msa_rng_chance(r, 0.7F)) {
            synth_shape *neck = build_tube(b, MAT_MUSCLE, build_id(b, head));
            build_walk(b, neck, vec(0, 0, 0.3F), vec(0, 0.1F, 1), 1.8F, 3, w * 0.8F, w * 0.6F, 0.01F);
            build_walk(b, neck, vec(0, -d * 0.4F, 0.4F), vec(0, -0.1F, 1), 0.7F, 3, w * 0.6F, w * 0.5F,
                       0.01F);
        }
        synth_shape *muscle = build_inner(b, &outer, MAT_MUSCLE, head, scalp * 0.5F);
        (void)muscle;
        synth_shape *bone = build_inner(b, &outer, MAT_CORTEX, build_id(b, head), scalp);
        bone->lobe = 0.012F;
        if (msa_rng_chance(r, 0.5F)) {
            synth_shape *diploe = build_inner(b, bone, MAT_SPONGY, bone->id, skull * 0.3F);
            diploe->wall = skull * 0.4F;
        }
    }
    const uint8_t inside = build_id(b, head);
    synth_shape *fluid = build_inner(b, &outer, MAT_FLUID, inside, scalp + skull);
    fluid->save = SLOT_INNER;
    const uint8_t brain = build_id(b, inside);
    synth_shape *gray = build_inner(b, &outer, MAT_GRAY, brain, scalp + skull + msa_rng_log(r, 0.01F, 0.07F));
    gray->lobe = msa_rng_range(r, 0.005F, 0.03F);
    gray->lobe_field = 1;
    const synth_vec semi = vec(w - 0.15F, d - 0.15F, h - 0.15F);
    brain_inside(b, brain, semi, gray);
    brain_lesions(b, brain, semi);
    if (!stripped && msa_rng_chance(r, 0.8F)) face(b, head, w, d);
    if (msa_rng_chance(r, 0.6F)) { /* the fold between the halves */
        synth_shape *falx = build_solid(b, MAT_FLUID, build_id(b, brain), vec(0, 0, -0.2F),
                                        vec(0.012F, d * 0.85F, h * 0.65F), 0.03F);
        falx->clip = SLOT_INNER;
        falx->has_bite = true;
        falx->bite = vec(0, 0.05F, 0.25F);
        falx->bite_radius = 0.45F;
    }
}

/* ---- limbs ---- */

static void one_limb(builder *b, synth_vec at, float radius)
{
    msa_rng *r = &b->r;
    const uint8_t limb = build_id(b, 0);
    const float fat = radius * msa_rng_log(r, 0.03F, 0.35F);
    synth_shape *skin =
        build_solid(b, MAT_FAT, limb, at, vec(radius, radius * msa_rng_range(r, 0.75F, 1.1F), 4), 0.15F);
    skin->lobe = radius * 0.05F;
    skin->save = SLOT_BODY;
    synth_shape *muscle = build_inner(b, skin, MAT_MUSCLE, build_id(b, limb), fat);
    muscle->save = SLOT_INNER;
    if (msa_rng_chance(r, 0.6F))
        muscle->value = synth_law_value(&b->s->law, MAT_FAT, r); /* seen between the parts */
    const synth_shape inside = *muscle;
    build_parts(b, MAT_MUSCLE, limb, SLOT_INNER, at, vec(radius * 0.9F, radius * 0.9F, 1),
                msa_rng_int(r, 4, 14), msa_rng_chance(r, 0.7F) ? radius * msa_rng_log(r, 0.008F, 0.06F) : 0);
    if (msa_rng_chance(r, 0.4F)) build_strands(b, &inside, MAT_FAT);
    for (int32_t k = msa_rng_int(r, 1, 2); k > 0; k--) {
        const float own = radius * msa_rng_range(r, 0.13F, 0.35F);
        const synth_vec p = vec(at.x + msa_rng_range(r, -0.3F, 0.3F) * radius,
                                at.y + msa_rng_range(r, -0.3F, 0.3F) * radius, 0);
        synth_shape *bone = build_tube(b, MAT_CORTEX, build_id(b, limb));
        bone->lobe = own * 0.15F;
        build_walk(b, bone, p, vec(0.02F, 0, 1), 1.2F, 5, own, own * msa_rng_range(r, 0.8F, 1.8F), 0.05F);
        build_walk(b, bone, p, vec(0.02F, 0, -1), 1.2F, 5, own, own * msa_rng_range(r, 0.8F, 1.8F), 0.05F);
        build_marrow(b, bone, own * msa_rng_log(r, 0.08F, 0.45F));
    }
    const float blood = synth_law_value(&b->s->law, MAT_BLOOD, r);
    for (int32_t k = msa_rng_int(r, 1, 4); k > 0; k--) {
        synth_shape *v = build_tube(b, MAT_BLOOD, build_id(b, limb));
        v->value = blood;
        build_walk(b, v,
                   vec(at.x + msa_rng_range(r, -0.6F, 0.6F) * radius,
                       at.y + msa_rng_range(r, -0.6F, 0.6F) * radius, -1.2F),
                   vec(0, 0, 1), 2.4F, 8, radius * msa_rng_log(r, 0.03F, 0.1F), radius * 0.04F, 0.15F);
    }
    if (msa_rng_chance(r, 0.3F))
        build_lesions(b, limb, SLOT_BODY, at, vec(radius, radius, 1), msa_rng_int(r, 1, 3));
}

void build_plates(builder *b, uint8_t parent)
{
    msa_rng *r = &b->r;
    for (int32_t side = -1; side <= 1; side += 2) {
        const float size = msa_rng_range(r, 0.3F, 0.6F), thick = msa_rng_range(r, 0.04F, 0.1F);
        synth_shape *p = build_solid(b, MAT_CORTEX, build_id(b, parent),
                                     vec((float)side * msa_rng_range(r, 0.2F, 0.5F),
                                         msa_rng_range(r, -0.1F, 0.3F), msa_rng_range(r, -0.3F, 0.3F)),
                                     vec(size * 0.6F, size, size), 1);
        p->wall = thick;
        p->has_cut = true;
        p->cut = build_direction(b);
        p->cut_at = msa_rng_range(r, -0.1F, 0.1F);
        const synth_shape outer = *p;
        synth_shape *inner = build_inner(b, &outer, MAT_SPONGY, build_id(b, outer.id), thick * 0.2F);
        inner->wall = thick * 0.6F;
    }
}

void build_limbs(builder *b)
{
    msa_rng *r = &b->r;
    if (msa_rng_chance(r, 0.4F)) {
        const float radius = msa_rng_range(r, 0.35F, 0.5F);
        one_limb(b, vec(-radius - 0.02F, 0, 0), radius);
        one_limb(b, vec(radius + 0.02F, 0, 0), radius * msa_rng_range(r, 0.95F, 1.05F));
    } else {
        one_limb(b, vec(0, 0, 0), msa_rng_range(r, 0.6F, 0.95F));
    }
    if (msa_rng_chance(r, 0.35F)) build_plates(b, 1);
}

/* ---- soup: any shape beside any other ---- */

static synth_shape *any_solid(builder *b, uint8_t id, float size)
{
    msa_rng *r = &b->r;
    const synth_vec at =
        vec(msa_rng_range(r, -0.85F, 0.85F), msa_rng_range(r, -0.85F, 0.85F), msa_rng_range(r, -0.4F, 0.4F));
    synth_shape *p =
        build_solid(b, build_any_material(b), id, at,
                    vec(size, size * msa_rng_log(r, 0.35F, 1), size * msa_rng_log(r, 0.4F, 1.2F)), 3);
    if (msa_rng_chance(r, 0.2F)) p->power = 4;
    if (msa_rng_chance(r, 0.8F)) build_organic(b, p);
    return p;
}

static void any_tube(builder *b, uint8_t id)
{
    msa_rng *r = &b->r;
    const float radius = msa_rng_log(r, 0.012F, 0.12F);
    const synth_vec at =
        vec(msa_rng_range(r, -0.8F, 0.8F), msa_rng_range(r, -0.8F, 0.8F), msa_rng_range(r, -0.2F, 0.2F));
    const synth_vec d = build_direction(b);
    const synth_vec flat = vec(d.x, d.y, d.z * 0.25F); /* mostly along the plane: long things are seen */
    synth_shape *p = build_tube(b, build_any_material(b), id);
    if (msa_rng_chance(r, 0.4F))
        build_tree(b, p, at, flat, msa_rng_range(r, 0.3F, 0.7F), radius, msa_rng_int(r, 2, 4));
    else
        build_walk(b, p, at, flat, msa_rng_log(r, 0.4F, 2.5F), 12, radius,
                   radius * msa_rng_range(r, 0.4F, 1.4F), msa_rng_range(r, 0.05F, 0.6F));
    p->reach = radius;
    if (msa_rng_chance(r, 0.3F)) p->lobe = radius * msa_rng_range(r, 0.1F, 0.5F);
    if (msa_rng_chance(r, 0.35F))
        build_inner(b, p, build_any_material(b), build_id(b, id), radius * msa_rng_range(r, 0.15F, 0.6F));
}

static void one_thing(builder *b, uint8_t parent, int32_t clip)
{
    msa_rng *r = &b->r;
    const float which = msa_rng_unit(r);
    const float size = msa_rng_log(r, 0.03F, 0.5F);
    const uint8_t id = build_id(b, parent);
    if (which < 0.25F) {
        any_tube(b, id);
        return;
    }
    synth_shape *p = any_solid(b, id, size);
    p->clip = clip;
    const synth_shape outer = *p;
    if (which < 0.4F) { /* a ring or shell: what lies in it stays as it was */
        p->wall = size * msa_rng_log(r, 0.06F, 0.35F);
        if (msa_rng_chance(r, 0.6F)) { /* a part of it: a plate, a crescent */
            p->has_cut = true;
            p->cut = build_direction(b);
            p->cut_at = size * msa_rng_range(r, -0.6F, 0.5F);
        }
    } else if (which < 0.58F) { /* layers */
        const int32_t n = msa_rng_int(r, 1, 3);
        uint8_t in = id;
        for (int32_t k = 1; k <= n; k++) {
            in = build_id(b, in);
            build_inner(b, &outer, build_any_material(b), in,
                        size * msa_rng_range(r, 0.05F, 0.25F) * (float)k);
        }
    } else if (which < 0.7F) { /* parts */
        p->save = SLOT_ORGAN;
        build_parts(b, MAT_ORGAN, id, SLOT_ORGAN, outer.centre, vec(size, size, size), msa_rng_int(r, 2, 6),
                    msa_rng_chance(r, 0.3F) ? size * 0.04F : 0);
    } else if (which < 0.8F) { /* lesions */
        p->save = SLOT_ORGAN;
        build_lesions(b, id, SLOT_ORGAN, outer.centre, vec(size, size, size), msa_rng_int(r, 1, 4));
    }
}

void build_soup(builder *b)
{
    msa_rng *r = &b->r;
    uint8_t parent = 0;
    int32_t clip = -1;
    if (msa_rng_chance(r, 0.7F)) { /* something around it */
        parent = build_id(b, 0);
        synth_shape *body =
            build_solid(b, build_any_material(b), parent, vec(0, 0, 0),
                        vec(msa_rng_range(r, 0.7F, 1.3F), msa_rng_range(r, 0.6F, 1.3F), 2), 0.6F);
        body->lobe = msa_rng_range(r, 0, 0.1F);
        body->save = SLOT_BODY;
        if (msa_rng_chance(r, 0.6F))
            build_inner(b, body, build_any_material(b), build_id(b, parent), msa_rng_log(r, 0.02F, 0.2F));
        if (msa_rng_chance(r, 0.7F)) clip = SLOT_BODY;
    } else if (msa_rng_chance(r, 0.6F)) {
        b->s->background = synth_law_value(&b->s->law, build_any_material(b), r);
    }
    for (int32_t k = msa_rng_int(r, 4, 28); k > 0; k--)
        one_thing(b, parent, clip);
}

/* ---- patches ---- */

void build_patches(builder *b)
{
    msa_rng *r = &b->r;
    const uint8_t body = build_id(b, 0);
    const bool whole = msa_rng_chance(r, 0.4F);
    synth_shape *p = build_solid(b, MAT_ORGAN, body, vec(0, 0, 0),
                                 whole ? vec(4, 4, 4) : vec(0.95F, msa_rng_range(r, 0.6F, 1), 1.5F), 0.5F);
    p->lobe = whole ? 0 : 0.06F;
    p->save = SLOT_BODY;
    if (whole) b->s->hidden[body] = true;
    build_map(b, body, SLOT_BODY, msa_rng_int(r, 3, 9), msa_rng_log(r, 1.2F, 6));
    for (int32_t k = msa_rng_int(r, 0, 6); k > 0; k--)
        one_thing(b, body, SLOT_BODY);
}
