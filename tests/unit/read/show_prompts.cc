/* show_prompts ANNOTATION [SERIES]: its prompts as lines of JSON, on the slices of the series where one is
 * given. check_prompts.py compares them with what other software says. */
#include "dicom/annotation.h"
#include "dicom/labels.h"
#include "dicom/series.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <vector>

namespace
{

struct Files {
    dicom_series *series = nullptr;
    dicom_masks *masks = nullptr;
    dicom_prompt *prompts = nullptr;
    size_t n = 0;
    ~Files()
    {
        free(prompts);
        dicom_masks_free(masks);
        dicom_series_free(series);
    }
};

void print_head(const dicom_prompt &p)
{
    static const char *const kinds[] = {"?", "box", "point", "region", "key"};
    std::printf("{\"kind\": \"%s\", \"label\": \"", kinds[p.kind]);
    for (const char *c = p.label; *c != '\0'; c++)
        std::printf(*c == '"' || *c == '\\' ? "\\%c" : "%c", *c);
    std::printf("\", \"tracking_uid\": \"%s\", \"finding\": \"%s\", \"site\": \"%s\", \"frame\": %d",
                p.tracking_uid, p.type.value, p.site.value, p.frame);
}

/* A point in mm, on the nearest slice, in SCOORD pixels. */
void print_point(const dicom_prompt &p, const dicom_volume_info &info)
{
    const double at[3] = {p.x0, p.y0, p.z0};
    const auto along = [&](const double dir[3], const double from[3]) {
        double sum = 0;
        for (int i = 0; i < 3; i++)
            sum += dir[i] * (at[i] - from[i]);
        return sum;
    };
    const double origin[3] = {0, 0, 0};
    int32_t best = 0;
    for (int32_t k = 1; k < info.slices; k++)
        if (std::fabs(info.slice[k].position_mm - along(info.normal, origin)) <
            std::fabs(info.slice[best].position_mm - along(info.normal, origin)))
            best = k;
    const double *const o = info.slice[best].origin_mm;
    const double x = along(info.row_dir, o) / info.spacing_mm[1] + 0.5,
                 y = along(info.col_dir, o) / info.spacing_mm[0] + 0.5;
    std::printf(", \"slice\": %d, \"box\": [%.9g, %.9g, %.9g, %.9g]", best, x, y, x, y);
}

/* Box and pixels of a mask on each of its slices. */
void print_region(const dicom_masks *masks, int32_t region, const dicom_volume_info &info)
{
    std::vector<uint8_t> plane(size_t(info.rows) * size_t(info.cols));
    const char *between = "";
    std::printf(", \"region\": %d, \"slices\": [", region);
    for (size_t i = 0; i < dicom_masks_count(masks); i++) {
        if (dicom_masks_at(masks, i)->number != region) continue;
        for (int32_t k = 0; k < info.slices; k++) {
            int64_t n = 0;
            int x0 = info.cols, y0 = info.rows, x1 = 0, y1 = 0;
            if (dicom_masks_fill_slice(masks, i, k, plane.data(), &n, nullptr) != MSA_OK || n == 0) continue;
            for (int y = 0; y < info.rows; y++)
                for (int x = 0; x < info.cols; x++)
                    if (plane[size_t(y) * size_t(info.cols) + size_t(x)] != 0) {
                        x0 = x < x0 ? x : x0;
                        x1 = x >= x1 ? x + 1 : x1;
                        y0 = y < y0 ? y : y0;
                        y1 = y + 1;
                    }
            std::printf("%s{\"slice\": %d, \"box\": [%d, %d, %d, %d], \"pixels\": %lld}", between, k, x0, y0,
                        x1, y1, (long long)n);
            between = ", ";
        }
    }
    std::printf("]");
}

void print_prompt(const dicom_prompt &p, const Files &f)
{
    const dicom_volume_info *const info = f.series != nullptr ? dicom_series_info(f.series) : nullptr;
    print_head(p);
    if (p.kind == DICOM_PROMPT_REGION && info != nullptr && f.masks != nullptr)
        print_region(f.masks, p.region, *info);
    else if (p.space == DICOM_SPACE_PATIENT && p.kind == DICOM_PROMPT_POINT && info != nullptr)
        print_point(p, *info);
    else if (p.space == DICOM_SPACE_IMAGE)
        std::printf(", \"slice\": %d, \"box\": [%.9g, %.9g, %.9g, %.9g]",
                    f.series != nullptr ? dicom_series_find(f.series, p.sop_instance_uid, p.frame) : -1, p.x0,
                    p.y0, p.x1, p.y1);
    std::printf("}\n");
}

} // namespace

int main(int argc, char **argv)
{
    Files f;
    const char *note = "";
    msa_error err = MSA_ERROR_INIT;
    if (argc < 2 || dicom_init(&err) != MSA_OK) return 2;
    if (dicom_annotation_read(&f.prompts, &f.n, &note, argv[1], &err) != MSA_OK ||
        (argc > 2 && dicom_series_load_dir(&f.series, argv[2], nullptr, &err) != MSA_OK)) {
        std::printf("{\"error\": \"%s\"}\n", err.what);
        return 1;
    }
    if (f.series != nullptr && dicom_masks_read(&f.masks, f.series, argv[1], &err) != MSA_OK)
        f.masks = nullptr;
    for (size_t i = 0; i < f.n; i++)
        print_prompt(f.prompts[i], f);
    std::printf("{\"note\": \"%s\"}\n", note);
    return 0;
}
