#include "dicom/read/traits.h"

#include "dicom/read/geometry.h"
#include "dicom/read/values.h"

#include "dcmtk/dcmdata/dcdeftag.h"

namespace dicom
{

std::vector<std::string> read_traits(DcmItem &image, DcmItem *frame)
{
    static const struct {
        Trait trait;
        DcmTagKey tag;
    } table[] = {
        {TRAIT_TIME_POINT, DCM_TemporalPositionIdentifier},
        {TRAIT_TIME_POINT, DCM_TemporalPositionIndex},
        {TRAIT_B_VALUE, DCM_DiffusionBValue},
        {TRAIT_ECHO, DCM_EchoTime},
        {TRAIT_ECHO, DCM_EffectiveEchoTime},
        {TRAIT_ECHO, DCM_EchoNumbers},
        {TRAIT_INVERSION, DCM_InversionTime},
        {TRAIT_IMAGE_TYPE, DCM_ImageType},
        {TRAIT_IMAGE_TYPE, DCM_FrameType},
        {TRAIT_IMAGE_TYPE, DCM_ComplexImageComponent},
        {TRAIT_ENERGY, DCM_KVP},
        {TRAIT_KERNEL, DCM_ConvolutionKernel},
        {TRAIT_ACQUISITION, DCM_AcquisitionNumber},
        {TRAIT_TRIGGER, DCM_TriggerTime},
        {TRAIT_TRIGGER, DCM_NominalCardiacTriggerDelayTime},
        {TRAIT_ACQUISITION_TIME, DCM_FrameAcquisitionDateTime},
        {TRAIT_ACQUISITION_TIME, DCM_AcquisitionTime},
    };
    std::vector<std::string> values(n_traits);
    for (const auto &row : table) {
        std::string &value = values[row.trait];
        std::string more = frame != nullptr ? text(*frame, row.tag) : std::string();
        if (more.empty()) more = text(image, row.tag);
        if (!more.empty()) value += (value.empty() ? "" : "\\") + more;
    }
    return values;
}

} // namespace dicom
