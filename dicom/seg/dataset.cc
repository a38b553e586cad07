/* The object as a whole: all modules in turn, then the bits. */
#include "dicom/seg/seg_impl.h"

#include "dicom/seg/pack.h"

msa_status dicom::seg::make_dataset(DcmDataset &out, const source &from, msa_error *err)
{
    static const struct {
        OFCondition (*fill)(DcmItem &, const source &);
        const char *what;
    } parts[] = {
        {put_patient_study, "write the patient and study attributes"},
        {put_series_equipment, "write the series attributes"},
        {put_image, "write the image attributes"},
        {put_segments, "write the segments"},
        {put_dimensions, "write the dimensions"},
        {put_shared_groups, "write the shared functional groups"},
        {put_frame_groups, "write the per-frame functional groups"},
        {put_references, "write the references"},
    };
    for (const auto &part : parts) {
        const OFCondition cond = part.fill(out, from);
        if (cond.bad()) return fail(err, cond, part.what);
    }
    return MSA_OK;
}

/* Packed straight into the element's own buffer, so that the bits are in memory once. */
msa_status dicom::seg::make_pixels(DcmDataset &out, const source &from, msa_error *err)
{
    const size_t pixels =
        static_cast<size_t>(from.series.info.rows) * static_cast<size_t>(from.series.info.cols);
    const uint64_t size = dicom_pack_size(static_cast<uint64_t>(from.file.frames) * pixels);
    if (size >= 0xfffffffeu)
        return msa_fail(err, MSA_E_UNSUPPORTED, "the segmentation's pixel data exceed 4 GB");
    auto element = std::make_unique<DcmPixelData>(DCM_PixelData);
    element->setVR(EVR_OB);
    Uint8 *bytes = nullptr;
    const OFCondition made = element->createUint8Array(static_cast<Uint32>(size), bytes);
    if (made.bad() || !bytes)
        return msa_fail(err, MSA_E_NOMEM, "no memory for %llu bytes of pixel data", (unsigned long long)size);
    uint64_t at = 0;
    for (const planned_segment &s : from.file.segments)
        for (const int32_t slice : s.slices)
            at = dicom_pack_append(bytes, at, s.in->mask + static_cast<size_t>(slice) * pixels, pixels);
    for (uint64_t k = at / 8 + (at % 8 != 0); k < size; k++)
        bytes[k] = 0;
    const OFCondition cond = out.insert(element.get(), OFTrue /* replace */);
    if (cond.bad()) return fail(err, cond, "insert the pixel data");
    (void)element.release(); /* the dataset has it now */
    return MSA_OK;
}
