#include "engine/train/synth_build.h"

#include <string.h>

#include "engine/base/error.h"

static synth_shape *new_shape(builder *b, synth_kind kind, synth_material m, uint8_t id)
{
    msa_synth *s = b->s;
    /* a full scene gives its last shape away: plans stay far below, so this is only a guard */
    const int32_t at = s->n_shapes < SYNTH_SHAPES ? s->n_shapes++ : SYNTH_SHAPES - 1;
    synth_shape *p = &s->shapes[at];
    *p = (synth_shape){.kind = kind, .material = m, .power = 2, .clip = -1, .save = -1, .id = id};
    p->value = synth_law_value(&s->law, m, &b->r);
    p->lobe_field = msa_rng_below(&b->r, SYNTH_LOBES);
    p->ridge_field = msa_rng_below(&b->r, SYNTH_LOBES);
    p->texture = s->law.texture * msa_rng_log(&b->r, 0.2F, 1.5F);
    p->texture_field = msa_rng_below(&b->r, SYNTH_TEXTURES);
    if (m == MAT_AIR) p->texture = 0;
    const bool bone = m == MAT_CORTEX || m == MAT_SPONGY;
    if (bone) p->texture *= 2;
    if (msa_rng_chance(&b->r, bone ? 0.5F : 0.25F)) p->ramp = msa_rng_log(&b->r, 0.01F, 0.05F);
    return p;
}

uint8_t build_id(builder *b, uint8_t parent)
{
    if (b->s->n_ids >= 255) return 0;
    const int32_t id = ++b->s->n_ids;
    b->s->parent[id] = parent;
    return (uint8_t)id;
}

synth_shape *build_solid(builder *b, synth_material m, uint8_t id, synth_vec centre, synth_vec semi,
                         float tilt)
{
    synth_shape *p = new_shape(b, SYNTH_SOLID, m, id);
    const float inverse[3] = {1 / semi.x, 1 / semi.y, 1 / semi.z};
    float turn[9];
    synth_rotation(&b->r, tilt, turn);
    for (int i = 0; i < 9; i++)
        p->to_unit[i] = turn[i] * inverse[i / 3];
    p->centre = centre;
    p->reach = fmaxf(semi.x, fmaxf(semi.y, semi.z)) * 1.2F; /* a boxy one bulges */
    return p;
}

synth_shape *build_inner(builder *b, const synth_shape *outer, synth_material m, uint8_t id, float inset)
{
    const synth_shape from = *outer; /* may be moved over below */
    synth_shape *p = new_shape(b, from.kind, m, id);
    const float value = p->value, texture = p->texture;
    const int32_t texture_field = p->texture_field;
    *p = from;
    p->material = m;
    p->id = id;
    p->inset = from.inset + inset;
    p->value = value;
    p->texture = texture;
    p->texture_field = texture_field;
    p->save = -1;
    p->wall = 0;
    return p;
}

synth_shape *build_tube(builder *b, synth_material m, uint8_t id)
{
    synth_shape *p = new_shape(b, SYNTH_TUBE, m, id);
    p->first = b->s->n_points;
    return p;
}

void build_point(builder *b, synth_shape *tube, synth_vec at, float radius)
{
    msa_synth *s = b->s;
    if (s->n_points >= SYNTH_POINTS) return;
    s->points[s->n_points++] = (synth_point){at, radius};
    tube->count = s->n_points - tube->first;
}

synth_vec build_direction(builder *b)
{
    const float z = msa_rng_range(&b->r, -1, 1), a = msa_rng_range(&b->r, 0, 6.2831853F);
    const float across = sqrtf(1 - z * z);
    return vec(across * cosf(a), across * sinf(a), z);
}

static synth_vec bend(builder *b, synth_vec d, float by)
{
    const synth_vec e = build_direction(b);
    const synth_vec sum = vec(d.x + by * e.x, d.y + by * e.y, d.z + by * e.z);
    const float length = sqrtf(sum.x * sum.x + sum.y * sum.y + sum.z * sum.z) + 1e-6F;
    return vec(sum.x / length, sum.y / length, sum.z / length);
}

static synth_vec ahead(synth_vec p, synth_vec d, float by)
{
    return vec(p.x + d.x * by, p.y + d.y * by, p.z + d.z * by);
}

void build_walk(builder *b, synth_shape *tube, synth_vec from, synth_vec direction, float length, int32_t n,
                float radius0, float radius1, float wander)
{
    if (tube->count > 0) build_point(b, tube, from, -1);
    for (int32_t i = 0; i < n; i++) {
        const float t = (float)i / (float)(n - 1);
        build_point(b, tube, from, radius0 + (radius1 - radius0) * t);
        direction = bend(b, direction, wander);
        from = ahead(from, direction, length / (float)(n - 1));
    }
}

void build_tree(builder *b, synth_shape *tube, synth_vec from, synth_vec direction, float length,
                float radius, int32_t generations)
{
    enum { STEPS = 4 };
    if (tube->count > 0) build_point(b, tube, from, -1);
    for (int32_t i = 0; i < STEPS; i++) {
        build_point(b, tube, from, radius * (1 - 0.25F * (float)i / STEPS));
        direction = bend(b, direction, 0.25F);
        from = ahead(from, direction, length / STEPS);
    }
    build_point(b, tube, from, radius * 0.7F);
    if (generations <= 1) return;
    const int32_t children = msa_rng_int(&b->r, 2, 3);
    for (int32_t k = 0; k < children; k++)
        build_tree(b, tube, from, bend(b, direction, msa_rng_range(&b->r, 0.6F, 1.2F)),
                   length * msa_rng_range(&b->r, 0.6F, 0.9F), radius * msa_rng_range(&b->r, 0.5F, 0.75F),
                   generations - 1);
}

synth_shape *build_parts(builder *b, synth_material m, uint8_t parent, int32_t clip, synth_vec centre,
                         synth_vec semi, int32_t n, float gap)
{
    msa_synth *s = b->s;
    synth_shape *p = new_shape(b, SYNTH_PARTS, m, parent);
    p->clip = clip;
    p->gap = gap;
    if (msa_rng_chance(&b->r, 0.6F))
        p->lobe = 0.3F * cbrtf(semi.x * semi.y * semi.x) / sqrtf((float)n) * msa_rng_unit(&b->r);
    p->first = s->n_cells;
    for (int32_t k = 0; k < n && s->n_cells < SYNTH_CELLS; k++) {
        const synth_vec d = build_direction(b);
        const float t = cbrtf(msa_rng_unit(&b->r));
        synth_cell *cell = &s->cells[s->n_cells++];
        cell->at = vec(centre.x + d.x * t * semi.x, centre.y + d.y * t * semi.y, centre.z + d.z * t * semi.z);
        cell->value = synth_law_value(&s->law, m, &b->r);
        cell->id = build_id(b, parent);
        p->count++;
    }
    if (p->count == 0) s->n_shapes--;
    return p;
}

synth_shape *build_map(builder *b, uint8_t parent, int32_t clip, int32_t n, float frequency)
{
    msa_synth *s = b->s;
    synth_shape *p = new_shape(b, SYNTH_MAP, MAT_ORGAN, parent);
    p->clip = clip;
    p->first = s->n_cells;
    for (int32_t k = 0; k < n && k < SYNTH_MAPS && s->n_cells < SYNTH_CELLS; k++) {
        s->maps[k] = synth_field_make(&b->r, frequency, 1, 1, 0.4F);
        s->cells[s->n_cells++] = (synth_cell){.value = synth_law_value(&s->law, build_any_material(b), &b->r),
                                              .id = build_id(b, parent)};
        p->count++;
    }
    if (p->count == 0) s->n_shapes--;
    return p;
}

synth_material build_any_material(builder *b)
{
    static const synth_material usual[] = {MAT_ORGAN,   MAT_ORGAN,  MAT_ORGAN,  MAT_MUSCLE,
                                           MAT_FLUID,   MAT_FAT,    MAT_BLOOD,  MAT_GRAY,
                                           MAT_CONTENT, MAT_LESION, MAT_SPONGY, MAT_AIR};
    return usual[msa_rng_below(&b->r, (int32_t)(sizeof usual / sizeof usual[0]))];
}

void build_organic(builder *b, synth_shape *p)
{
    if (msa_rng_chance(&b->r, 0.75F)) p->lobe = p->reach * msa_rng_range(&b->r, 0.03F, 0.3F);
    if (msa_rng_chance(&b->r, 0.3F)) {
        p->has_cut = true;
        p->cut = build_direction(b);
        p->cut_at = p->reach * msa_rng_range(&b->r, 0, 0.5F);
    }
    if (msa_rng_chance(&b->r, 0.3F)) {
        const synth_vec d = build_direction(b);
        const float away = p->reach * msa_rng_range(&b->r, 0.6F, 1.1F);
        p->has_bite = true;
        p->bite = vec(d.x * away, d.y * away, d.z * away);
        p->bite_radius = p->reach * msa_rng_range(&b->r, 0.3F, 0.8F);
    }
}

void build_lesions(builder *b, uint8_t parent, int32_t clip, synth_vec centre, synth_vec semi, int32_t n)
{
    static const synth_material kinds[] = {MAT_LESION, MAT_LESION, MAT_FLUID, MAT_CORTEX, MAT_BLOOD};
    for (int32_t k = 0; k < n; k++) {
        const synth_vec d = build_direction(b);
        const float t = msa_rng_unit(&b->r), size = msa_rng_log(&b->r, 0.015F, 0.12F);
        const synth_vec at =
            vec(centre.x + d.x * t * semi.x, centre.y + d.y * t * semi.y, centre.z + d.z * t * semi.z);
        const synth_vec own =
            vec(size, size * msa_rng_range(&b->r, 0.6F, 1.2F), size * msa_rng_range(&b->r, 0.6F, 1.2F));
        synth_shape *p = build_solid(b, kinds[msa_rng_below(&b->r, 5)], build_id(b, parent), at, own, 3);
        p->clip = clip;
        if (msa_rng_chance(&b->r, 0.5F)) p->lobe = size * msa_rng_range(&b->r, 0.1F, 0.5F);
        if (msa_rng_chance(&b->r, 0.25F)) /* a rim around something else */
            build_inner(b, p, MAT_LESION, build_id(b, p->id), size * msa_rng_range(&b->r, 0.15F, 0.5F));
    }
}

void build_hollow(builder *b, synth_shape *outer, synth_material content, float wall)
{
    const synth_shape from = *outer;
    synth_shape *inside = build_inner(b, outer, content, build_id(b, outer->id), wall);
    const uint8_t id = inside->id;
    if (!msa_rng_chance(&b->r, 0.3F)) return;
    synth_shape *gas = build_inner(b, &from, MAT_AIR, build_id(b, id), wall * 1.02F); /* a level of gas */
    gas->has_cut = from.kind == SYNTH_SOLID;
    gas->cut = vec(0, 1, 0);
    gas->cut_at = msa_rng_range(&b->r, -0.5F, 0.3F) * from.reach;
}

void build_gut(builder *b, uint8_t parent, int32_t clip, int32_t n)
{
    msa_rng *r = &b->r;
    for (int32_t k = 0; k < n; k++) {
        const float radius = msa_rng_range(r, 0.04F, 0.11F);
        synth_shape *p = build_tube(b, MAT_MUSCLE, build_id(b, parent));
        p->clip = clip;
        p->reach = radius;
        p->lobe = radius * msa_rng_range(r, 0, 0.5F);
        build_walk(
            b, p,
            vec(msa_rng_range(r, -0.5F, 0.5F), msa_rng_range(r, -0.4F, 0.1F), msa_rng_range(r, -0.7F, 0.7F)),
            build_direction(b), msa_rng_range(r, 0.8F, 2.5F), 14, radius,
            radius * msa_rng_range(r, 0.6F, 1.3F), 0.7F);
        build_hollow(b, p, MAT_CONTENT, radius * msa_rng_range(r, 0.12F, 0.5F));
    }
}

void build_marrow(builder *b, const synth_shape *outer, float cortex)
{
    synth_shape *inner = build_inner(b, outer, MAT_SPONGY, build_id(b, outer->id), cortex);
    inner->ramp = fmaxf(inner->ramp, 0.4F * cortex);
}

void build_strands(builder *b, const synth_shape *in, synth_material m)
{
    const synth_shape from = *in;
    synth_shape *p = build_inner(b, &from, m, from.id, 0.01F);
    const int32_t field = msa_rng_below(&b->r, SYNTH_LOBES);
    p->ridge = -msa_rng_log(&b->r, 0.03F, 0.16F);
    p->ridge_scale = 0.1F;
    p->ridge_field = field;
    p->value =
        from.value + (p->value - from.value) * msa_rng_range(&b->r, 0.2F, 1); /* thinner than a voxel */
    p->ramp = 0.02F;
}

/* ---- the whole ---- */

static void fields(builder *b)
{
    msa_synth *s = b->s;
    s->warp = msa_rng_chance(&b->r, 0.9F) ? msa_rng_log(&b->r, 0.01F, 0.14F) : 0;
    for (int32_t i = 0; i < 3; i++)
        s->warp_field[i] = synth_field_make(&b->r, msa_rng_range(&b->r, 1, 2.6F), 1, 1, 0.4F);
    s->rough = msa_rng_chance(&b->r, 0.7F) ? msa_rng_log(&b->r, 0.004F, 0.04F) : 0;
    for (int32_t i = 0; i < 2; i++)
        s->rough_field[i] = synth_field_make(&b->r, msa_rng_log(&b->r, 2, 9), 1, 1, 0.4F);
    for (int32_t i = 0; i < SYNTH_LOBES; i++)
        s->lobes[i] = synth_field_make(&b->r, msa_rng_log(&b->r, 2, 14), 1, i % 3 == 0 ? 2 : 1, 0.5F);
    for (int32_t i = 0; i < SYNTH_TEXTURES; i++)
        s->texture[i] = synth_field_make(&b->r, msa_rng_log(&b->r, i < 2 ? 1 : 8, i < 2 ? 10 : 60),
                                         msa_rng_chance(&b->r, 0.3F) ? msa_rng_log(&b->r, 0.2F, 1) : 1,
                                         msa_rng_int(&b->r, 1, 2), 0.6F);
}

static void orient(builder *b)
{
    msa_synth_view *v = &b->s->overview;
    float turn[9];
    static const float axial[2][3] = {{1, 0, 0}, {0, 1, 0}}, coronal[2][3] = {{1, 0, 0}, {0, 0, 1}},
                       sagittal[2][3] = {{0, 1, 0}, {0, 0, 1}};
    const float which = msa_rng_unit(&b->r);
    const float(*frame)[3] = which < 0.62F ? axial : which < 0.82F ? coronal : sagittal;
    synth_rotation(&b->r, msa_rng_chance(&b->r, 0.15F) ? 0.8F : 0.12F, turn);
    for (int32_t i = 0; i < 3; i++) {
        v->right[i] =
            turn[i * 3] * frame[0][0] + turn[i * 3 + 1] * frame[0][1] + turn[i * 3 + 2] * frame[0][2];
        v->down[i] =
            turn[i * 3] * frame[1][0] + turn[i * 3 + 1] * frame[1][1] + turn[i * 3 + 2] * frame[1][2];
    }
    const float flip_x = msa_rng_chance(&b->r, 0.5F) ? -1 : 1, flip_y = msa_rng_chance(&b->r, 0.15F) ? -1 : 1;
    for (int32_t i = 0; i < 3; i++) {
        v->right[i] *= flip_x;
        v->down[i] *= flip_y;
    }
    v->half_x = v->half_y = msa_rng_range(&b->r, 0.95F, 1.25F);
    if (msa_rng_chance(&b->r, 0.3F))
        v->half_y *= msa_rng_range(&b->r, 0.7F, 1.4F); /* pixels need not be square */
    if (msa_rng_chance(&b->r, 0.35F)) {                /* a field of view inside */
        const float zoom = msa_rng_log(&b->r, 0.3F, 1);
        v->half_x *= zoom;
        v->half_y *= zoom;
        for (int32_t i = 0; i < 3; i++)
            v->origin[i] += v->right[i] * msa_rng_range(&b->r, -0.5F, 0.5F) * (1 - zoom) +
                            v->down[i] * msa_rng_range(&b->r, -0.5F, 0.5F) * (1 - zoom);
    }
    if (frame == sagittal) v->origin[0] += msa_rng_range(&b->r, -0.5F, 0.5F);
    if (frame == coronal) v->origin[1] += msa_rng_range(&b->r, -0.35F, 0.35F);
    v->origin[2] += msa_rng_range(&b->r, -0.6F, 0.6F);
    v->step = msa_rng_log(&b->r, 0.012F, 0.06F);
}

/* A couch below, coils and cushions beside: things that are never meant. */
static void outside(builder *b)
{
    if (!msa_rng_chance(&b->r, 0.35F)) return;
    synth_shape *p =
        build_solid(b, MAT_FAT, 0, vec(0, msa_rng_range(&b->r, 2.1F, 2.6F), 0), vec(1.8F, 1.4F, 9), 0.05F);
    p->wall = msa_rng_range(&b->r, 0.015F, 0.06F);
    p->texture = 0;
}

/* Fat and air lie between what people mark; the other plans have targets of any material. */
static void hide_fillers(builder *b)
{
    bool known[256] = {false};
    if (!msa_rng_chance(&b->r, 0.9F)) return;
    for (int32_t i = 0; i < b->s->n_shapes; i++) {
        const synth_shape *p = &b->s->shapes[i];
        if (known[p->id]) continue;
        known[p->id] = true; /* what an object is at large, its first shape says */
        if (p->material == MAT_FAT || p->material == MAT_AIR) b->s->hidden[p->id] = true;
    }
}

void synth_build(msa_synth *s)
{
    builder b = {s, msa_rng_key(s->seed, s->index, 1)};
    synth_noise_init();
    s->law = synth_law_make(&b.r);
    s->scan = synth_scan_make(&s->law, &b.r);
    s->background = synth_law_value(&s->law, MAT_AIR, &b.r);
    fields(&b);
    outside(&b);
    const float which = msa_rng_unit(&b.r);
    if (which < 0.12F) {
        s->plan = "pelvis";
        build_pelvis(&b);
    } else if (which < 0.36F) {
        s->plan = "torso";
        build_torso(&b, false);
    } else if (which < 0.48F) {
        s->plan = "chest";
        build_torso(&b, true);
    } else if (which < 0.62F) {
        s->plan = "head";
        build_head(&b);
    } else if (which < 0.75F) {
        s->plan = "limbs";
        build_limbs(&b);
    } else if (which < 0.91F) {
        s->plan = "soup";
        build_soup(&b);
    } else {
        s->plan = "patches";
        build_patches(&b);
    }
    if (which < 0.75F) hide_fillers(&b);
    orient(&b);
}
