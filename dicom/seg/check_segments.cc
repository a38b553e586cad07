/* The checker: Segment Sequence and dimensions. */
#include "dicom/seg/check_impl.h"

#include <algorithm>

using dicom::seg::coded;
using dicom::seg::item_of;
using dicom::seg::items_of;
using dicom::seg::subject;
using dicom::seg::text_of;

namespace
{

void check_segment(subject &s, DcmItem &segment, const std::string &name)
{
    const std::string type = text_of(segment, DCM_SegmentAlgorithmType);
    if (text_of(segment, DCM_SegmentLabel).empty()) s.found.say(name + "Segment Label has no value");
    if (type != "MANUAL" && type != "SEMIAUTOMATIC" && type != "AUTOMATIC")
        s.found.say(name + "Segment Algorithm Type is none");
    else if (type != "MANUAL" && text_of(segment, DCM_SegmentAlgorithmName).empty() &&
             items_of(segment, DCM_SegmentationAlgorithmIdentificationSequence) == 0)
        s.found.say(name + "the algorithm has no name");
    if (!coded(segment, DCM_SegmentedPropertyCategoryCodeSequence))
        s.found.say(name + "the property category is not coded");
    if (!coded(segment, DCM_SegmentedPropertyTypeCodeSequence))
        s.found.say(name + "the property type is not coded");
    if (segment.tagExists(DCM_TrackingID) != segment.tagExists(DCM_TrackingUID))
        s.found.say(name + "Tracking ID and Tracking UID come only together");
    DcmElement *colour = nullptr;
    if (segment.findAndGetElement(DCM_RecommendedDisplayCIELabValue, colour).good() && colour->getVM() != 3)
        s.found.say(name + "the display colour has no three values");
}

/* The index of a frame; empty when it has none. */
std::vector<Uint32> index_of(DcmItem *groups)
{
    DcmItem *content = item_of(groups, DCM_FrameContentSequence);
    const Uint32 *values = nullptr;
    unsigned long n = 0;
    if (!content || content->findAndGetUint32Array(DCM_DimensionIndexValues, values, &n).bad() || !values)
        return {};
    return std::vector<Uint32>(values, values + n);
}

/* Place among the dimensions of the one that counts segments, or -1. */
int segment_dimension(DcmItem &dataset, size_t dimensions)
{
    for (size_t k = 0; k < dimensions; k++) {
        DcmTagKey pointer;
        DcmItem *item = item_of(&dataset, DCM_DimensionIndexSequence, k);
        DcmElement *element = nullptr;
        Uint16 *tag = nullptr;
        if (!item || item->findAndGetElement(DCM_DimensionIndexPointer, element).bad() ||
            element->getUint16Array(tag).bad() || !tag)
            continue;
        if (DcmTagKey(tag[0], tag[1]) == DCM_ReferencedSegmentNumber) return static_cast<int>(k);
    }
    return -1;
}

} // namespace

void dicom::seg::check_segments(subject &s)
{
    const size_t n = items_of(s.dataset, DCM_SegmentSequence);
    if (n == 0) s.found.say("there is no segment");
    for (size_t k = 0; k < n; k++) {
        DcmItem &segment = *item_of(&s.dataset, DCM_SegmentSequence, k);
        const std::string name = "segment " + std::to_string(k + 1) + ": ";
        Uint16 number = 0;
        const bool there = segment.findAndGetUint16(DCM_SegmentNumber, number).good();
        if (!there || (!s.labelmap && number != k + 1))
            s.found.say(name + "segments are not numbered from 1 without a gap");
        if (!s.segments.insert(number).second) s.found.say(name + "its number is that of another one");
        check_segment(s, segment, name);
    }
}

void dicom::seg::check_dimensions(subject &s)
{
    std::set<std::string> organizations;
    const size_t n = items_of(s.dataset, DCM_DimensionIndexSequence);
    for (size_t k = 0; k < items_of(s.dataset, DCM_DimensionOrganizationSequence); k++)
        organizations.insert(text_of(*item_of(&s.dataset, DCM_DimensionOrganizationSequence, k),
                                     DCM_DimensionOrganizationUID));
    if (n == 0 || organizations.empty()) {
        s.found.say("the dimensions are not described");
        return;
    }
    for (size_t k = 0; k < n; k++)
        if (organizations.count(text_of(*item_of(&s.dataset, DCM_DimensionIndexSequence, k),
                                        DCM_DimensionOrganizationUID)) == 0)
            s.found.say("a dimension belongs to an organization that is not listed");
    const int segment_at = segment_dimension(s.dataset, n);
    std::set<std::vector<Uint32>> seen;
    for (size_t k = 0; k < s.groups.size(); k++) {
        const std::vector<Uint32> index = index_of(s.groups[k]);
        if (index.size() != n || std::count(index.begin(), index.end(), 0u) > 0) {
            s.found.frame(k, "its Dimension Index Values are not one of each dimension, from 1");
            continue;
        }
        if (!seen.insert(index).second)
            s.found.frame(k, "its Dimension Index Values are those of another frame");
        DcmItem *identity = item_of(s.groups[k], DCM_SegmentIdentificationSequence);
        Uint16 number = 0;
        if (segment_at >= 0 && identity &&
            identity->findAndGetUint16(DCM_ReferencedSegmentNumber, number).good() &&
            index[static_cast<size_t>(segment_at)] != number)
            s.found.frame(k, "its index among the segments is not the number of its segment");
    }
}
