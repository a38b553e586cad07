#include "dicom/read/description.h"

#include "dcmtk/dcmdata/dcdeftag.h"
#include "dcmtk/dcmdata/dcsequen.h"

#include "dicom/annot/charset.h"
#include "dicom/read/values.h"

namespace dicom
{
namespace
{

constexpr double MAX_MM = 1000;

int32_t count(DcmItem &d, const DcmTagKey &tag)
{
    int32_t n = 0;
    return find_int(d, tag, n) == FIND_OK && n > 0 ? n : 0;
}

double length(DcmItem &d, const DcmTagKey &tag)
{
    double mm = 0;
    return find_number(d, tag, mm) == FIND_OK && mm > 0 && mm <= MAX_MM ? mm : 0;
}

double between_slices(DcmItem &d)
{
    const double apart = length(d, DCM_SpacingBetweenSlices);
    return apart > 0 ? apart : length(d, DCM_SliceThickness);
}

/* Of multi-frame images: what all frames share. */
DcmItem *shared_measures(DcmItem &d)
{
    DcmItem *shared = nullptr, *measures = nullptr;
    if (d.findAndGetSequenceItem(DCM_SharedFunctionalGroupsSequence, shared).bad() || shared == nullptr)
        return nullptr;
    return shared->findAndGetSequenceItem(DCM_PixelMeasuresSequence, measures).good() ? measures : nullptr;
}

} // namespace

void read_description(dicom_header &h, DcmItem &d)
{
    const std::string charset = text(d, DCM_SpecificCharacterSet);
    const auto put = [&](char(&to)[DICOM_LABEL_MAX], const DcmTagKey &tag) {
        copy(to, sizeof to, cut_utf8(to_utf8(text(d, tag), charset), 64, sizeof to));
    };
    put(h.study_description, DCM_StudyDescription);
    put(h.series_description, DCM_SeriesDescription);
    put(h.protocol, DCM_ProtocolName);
    h.slice_mm = between_slices(d);
    DcmItem *const measures = h.slice_mm > 0 ? nullptr : shared_measures(d);
    if (measures != nullptr) h.slice_mm = between_slices(*measures);
    h.study_instances = count(d, DCM_NumberOfStudyRelatedInstances);
    h.acquisition_images = count(d, DCM_ImagesInAcquisition);
}

} // namespace dicom
