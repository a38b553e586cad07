#include "dicom/seg.h"
#include "dicom/seg/seg_impl.h"
#include "dicom/seg/staging.h"

#include <cstdio>
#include <cstring>

using dicom::seg::planned_file;
using dicom::seg::planned_segment;
using dicom::seg::source;
using dicom::seg::staging;

namespace
{

bool lies_in(const dicom_extent &e, const dicom_volume_info &info)
{
    if (e.first_slice == 0 && e.end_slice == 0 && e.first_row == 0 && e.end_row == 0) return true;
    return e.first_slice >= 0 && e.first_slice < e.end_slice && e.end_slice <= info.slices &&
           e.first_row >= 0 && e.first_row < e.end_row && e.end_row <= info.rows;
}

msa_status check_arguments(const dicom_series &series, const dicom_segment *segments, size_t n,
                           const dicom_seg_options &options, msa_error *err)
{
    const dicom_volume_info &info = series.info;
    if (!options.key || !options.key[0])
        return msa_fail(err, MSA_E_INVALID, "a segmentation needs a key for its UIDs");
    if (options.n_prompts > 0 && !options.prompts)
        return msa_fail(err, MSA_E_INVALID, "prompts are counted but not given");
    const dicom_seg_form &form = options.form;
    if (form.format < DICOM_SEG_BINARY || form.format > DICOM_SEG_LABELMAP ||
        form.profile < DICOM_SEG_STRICT || form.profile > DICOM_SEG_WEASIS ||
        form.compression < DICOM_SEG_NONE || form.compression > DICOM_SEG_DEFLATE)
        return msa_fail(err, MSA_E_INVALID, "no such form of a segmentation");
    if (form.format == DICOM_SEG_BINARY && form.compression == DICOM_SEG_RLE)
        return msa_fail(
            err, MSA_E_UNSUPPORTED,
            "a binary segmentation is not written with RLE, which few readers take for single bits; "
            "deflate makes it smaller");
    if (n > 65535) return msa_fail(err, MSA_E_INVALID, "%zu segments are more than 65535", n);
    for (size_t i = 0; i < n; i++)
        if (!segments[i].mask)
            return msa_fail(err, MSA_E_INVALID, "segment %zu has no mask", i + 1);
        else if (!lies_in(segments[i].extent, info))
            return msa_fail(err, MSA_E_INVALID, "segment %zu has an extent that the series has not", i + 1);
    if (info.slices < 1 || info.rows < 1 || info.cols < 1 || info.rows > 65535 || info.cols > 65535 ||
        series.files.size() != static_cast<size_t>(info.slices) ||
        series.slices.size() != series.files.size())
        return msa_fail(err, MSA_E_INVALID, "the series has no header for each slice");
    DcmItem &head = *series.files[0]->getDataset();
    if (dicom::seg::text_of(head, DCM_FrameOfReferenceUID).empty())
        return msa_fail(
            err, MSA_E_UNSUPPORTED,
            "the images have no Frame of Reference UID, so a segmentation cannot be placed in the patient");
    if (dicom::seg::text_of(head, DCM_StudyInstanceUID).empty() ||
        dicom::seg::text_of(head, DCM_SeriesInstanceUID).empty())
        return msa_fail(err, MSA_E_UNSUPPORTED, "the images have no Study or Series Instance UID");
    return MSA_OK;
}

template <size_t N> void copy_text(char (&to)[N], const std::string &from)
{
    (void)std::snprintf(to, N, "%s", from.c_str());
}

/* One instance: written as a stream, then read back. */
msa_status write_one(dicom_seg_file &out, const source &from, const std::string &path, msa_error *err)
{
    DcmDataset header;
    MSA_TRY(dicom::seg::make_header(header, from, err));
    MSA_TRY(dicom::seg::write_file(path.c_str(), header, from, err));
    copy_text(out.sop_class_uid, dicom::seg::text_of(header, DCM_SOPClassUID));
    copy_text(out.sop_instance_uid, dicom::seg::text_of(header, DCM_SOPInstanceUID));
    copy_text(out.series_uid, dicom::seg::text_of(header, DCM_SeriesInstanceUID));
    out.frames = static_cast<int32_t>(from.file.frames.size());
    out.segments = static_cast<int32_t>(from.file.segments.size());
    for (size_t k = 0; from.options.places && k < from.file.segments.size(); k++)
        from.options.places[from.file.segments[k].index] = {static_cast<int32_t>(from.number - 1),
                                                            static_cast<int32_t>(k + 1)};
    std::vector<const dicom_segment *> segments;
    std::vector<const uint64_t *> digests;
    for (const planned_segment &s : from.file.segments) {
        segments.push_back(s.in);
        digests.push_back(s.digests.data());
    }
    return dicom::seg::verify_file(from.series, segments.data(), segments.size(), digests.data(),
                                   from.options.form, path.c_str(), err);
}

msa_status write_all(const dicom_series &series, const dicom_segment *segments, size_t n,
                     const dicom_seg_options &options, const char *dir, dicom_seg_file *files,
                     size_t *n_files, msa_error *err)
{
    std::vector<planned_file> plan;
    MSA_TRY(check_arguments(series, segments, n, options, err));
    for (size_t i = 0; options.places && i < n; i++)
        options.places[i] = {-1, 0};
    MSA_TRY(dicom::seg::make_plan(plan, series, segments, n, options.form, err));
    std::vector<std::string> words = {options.series_description ? options.series_description : "",
                                      options.content_description ? options.content_description : ""};
    for (size_t i = 0; i < n; i++)
        dicom::seg::list_texts(words, segments[i]);
    const dicom::seg::charset text = dicom::seg::choose_charset(*series.files[0]->getDataset(), words);
    staging stage(dir, options.file_name ? options.file_name : "seg");
    for (size_t k = 0; k < plan.size(); k++) {
        const source from = {series, options, plan[k], k + 1, text};
        const std::string path = stage.add(k + 1);
        std::memset(&files[k], 0, sizeof files[k]);
        copy_text(files[k].name, stage.name());
        MSA_TRY(write_one(files[k], from, path, err));
    }
    MSA_TRY(stage.publish(err));
    *n_files = plan.size();
    return MSA_OK;
}

} // namespace

msa_status dicom_seg_write(const dicom_series *series, const dicom_segment *segments, size_t n,
                           const dicom_seg_options *options, const char *dir, dicom_seg_file *files,
                           size_t *n_files, msa_error *err)
{
    return dicom::guard(err, [&]() -> msa_status {
        if (!n_files) return msa_fail(err, MSA_E_INVALID, "no place for the number of files");
        *n_files = 0;
        if (!series || (!segments && n > 0) || !options || !dir || !files)
            return msa_fail(err, MSA_E_INVALID,
                            "a segmentation needs a series, segments, options and a folder");
        return write_all(*series, segments, n, *options, dir, files, n_files, err);
    });
}
