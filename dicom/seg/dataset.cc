/* The object but for its frames: all modules in turn. */
#include "dicom/seg/seg_impl.h"

msa_status dicom::seg::make_header(DcmDataset &out, const source &from, msa_error *err)
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
        {put_references, "write the references"},
    };
    for (const auto &part : parts) {
        const OFCondition cond = part.fill(out, from);
        if (cond.bad()) return fail(err, cond, part.what);
    }
    return MSA_OK;
}
