#include "server/tool/segment_json.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static json_t *number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *candidates_of(const msa_candidates *c)
{
    if (c->slice < 0) return json_null();
    json_t *iou = json_array();
    for (int32_t i = 0; i < c->n; i++)
        (void)json_array_append_new(iou, number((double)c->iou[i]));
    return json_pack("{s:i, s:o, s:i}", "slice", c->slice, "predicted_iou", iou, "chosen", c->chosen);
}

static json_t *measures_of(const srv_segment_stat *s)
{
    const dicom_measures *m = &s->measures;
    if (s->voxels == 0) return json_null();
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:[o, o, o]}", "volume_ml", number(m->volume_ml),
                     "long_axis_mm", number(m->long_axis_mm), "short_axis_mm", number(m->short_axis_mm),
                     "mean", number(m->mean), "standard_deviation", number(m->deviation), "minimum",
                     number(m->least), "maximum", number(m->greatest), "center_mm", number(m->center_mm[0]),
                     number(m->center_mm[1]), number(m->center_mm[2]));
}

static json_t *segments_of(const srv_segment_outcome *o)
{
    json_t *list = json_array();
    for (size_t i = 0; i < o->n_stats; i++) {
        const srv_segment_stat *s = &o->stats[i];
        (void)json_array_append_new(
            list, json_pack("{s:i, s:s, s:I, s:o, s:i, s:i, s:o, s:o, s:o, s:s}", "number", (int)i + 1,
                            "label", s->label, "voxels", (json_int_t)s->voxels, "volume_ml",
                            number(s->measures.volume_ml), "first_slice", s->first_slice, "last_slice",
                            s->last_slice, "mean_predicted_iou", number(s->mean_iou), "measures",
                            measures_of(s), "candidates", candidates_of(&s->candidates), "note", s->note));
    }
    return list;
}

static json_t *files_of(const srv_segment_outcome *o, const char *out_dir)
{
    json_t *list = json_array();
    for (size_t i = 0; i < o->n_files; i++)
        (void)json_array_append_new(
            list, json_pack("{s:o, s:s, s:i, s:i}", "path", json_sprintf("%s/%s", out_dir, o->files[i].name),
                            "sop_instance_uid", o->files[i].sop_instance_uid, "frames", o->files[i].frames,
                            "segments", o->files[i].segments));
    return list;
}

static json_t *path_of(const dicom_seg_file *file, const char *out_dir)
{
    return file->name[0] ? json_sprintf("%s/%s", out_dir, file->name) : json_null();
}

static json_t *captures_of(const srv_segment_outcome *o, const char *out_dir)
{
    json_t *list = json_array();
    for (size_t i = 0; i < o->n_captures; i++)
        (void)json_array_append_new(list, path_of(&o->captures[i], out_dir));
    return list;
}

msa_status srv_segment_json_write(const char *path, const srv_segment_outcome *o, const msa_model *model,
                                  const char *out_dir, msa_error *err)
{
    const msa_config *c = msa_model_config(model);
    json_t *root = json_pack(
        "{s:{s:s, s:s, s:s, s:b}, s:o, s:o, s:o, s:o, s:o, s:s}", "model", "name", c->name, "version",
        c->version, "hash", msa_model_hash(model), "untrained", c->untrained, "segments", segments_of(o),
        "files", files_of(o, out_dir), "report", path_of(&o->report, out_dir), "contours",
        path_of(&o->contours, out_dir), "captures", captures_of(o, out_dir), "warnings", o->warnings);
    if (root == NULL) return msa_fail(err, MSA_E_NOMEM, "out of memory for the JSON");
    FILE *f = strcmp(path, "-") == 0 ? stdout : fopen(path, "we");
    errno = 0;
    bool ok =
        f != NULL && json_dumpf(root, f, JSON_INDENT(2)) == 0 && fputc('\n', f) != EOF && fflush(f) == 0;
    if (f != NULL && f != stdout && fclose(f) != 0) ok = false;
    json_decref(root);
    return ok ? MSA_OK : msa_fail(err, MSA_E_IO, "cannot write %.120s: %s", path, strerror(errno));
}
