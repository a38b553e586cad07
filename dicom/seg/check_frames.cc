/* The checker: what each frame says of itself, and the images that it names. */
#include "dicom/seg/check_impl.h"

#include <algorithm>
#include <cmath>

using dicom::seg::coded;
using dicom::seg::image;
using dicom::seg::image_plane;
using dicom::seg::item_of;
using dicom::seg::items_of;
using dicom::seg::numbers_of;
using dicom::seg::subject;
using dicom::seg::text_of;

namespace
{

constexpr double NEAR_MM = 1e-2, NEAR_COSINE = 1e-4, NEAR_SPACING = 1e-4;

bool near(const std::vector<double> &a, const std::vector<double> &b, double tolerance)
{
    return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [&](double x, double y) {
               return std::fabs(x - y) <= tolerance; /* false for what is no number */
           });
}

double dot(const double *a, const double *b)
{
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

bool orthonormal(const std::vector<double> &d)
{
    return std::fabs(dot(&d[0], &d[0]) - 1) < 2e-3 && std::fabs(dot(&d[3], &d[3]) - 1) < 2e-3 &&
           std::fabs(dot(&d[0], &d[3])) < 1e-3;
}

/* How far the frame's first pixel is from the image's plane. */
double off_plane(const image_plane &frame, const image_plane &of)
{
    const std::vector<double> &d = of.direction;
    const double normal[3] = {d[1] * d[5] - d[2] * d[4], d[2] * d[3] - d[0] * d[5],
                              d[0] * d[4] - d[1] * d[3]};
    const double way[3] = {frame.origin[0] - of.origin[0], frame.origin[1] - of.origin[1],
                           frame.origin[2] - of.origin[2]};
    return std::fabs(dot(normal, way));
}

/* The same grid must lie in the same place; a part of the image need only lie in its plane. */
void compare_planes(subject &s, size_t k, const image_plane &frame, const image_plane &of,
                    const image &source)
{
    const bool whole = s.rows == source.rows && s.cols == source.cols;
    if (!near(frame.direction, of.direction, NEAR_COSINE))
        s.found.frame(k, "its orientation is not that of the image it names");
    else if (whole ? !near(frame.origin, of.origin, NEAR_MM) : !(off_plane(frame, of) <= NEAR_MM))
        s.found.frame(k, "its position is not that of the image it names");
    if (whole && !near(frame.spacing, of.spacing, NEAR_SPACING))
        s.found.frame(k, "its pixel spacing is not that of the image it names");
}

void check_source(subject &s, size_t k, DcmItem &reference, const image_plane &plane)
{
    const std::string uid = text_of(reference, DCM_ReferencedSOPInstanceUID);
    const auto known = s.folder.images.find(uid);
    s.named.insert(uid);
    if (!s.folder.given) return;
    if (known == s.folder.images.end()) {
        s.found.frame(k, "it names an image that is not in the series");
        return;
    }
    const image &source = known->second;
    if (text_of(reference, DCM_ReferencedSOPClassUID) != source.sop_class)
        s.found.frame(k, "it names its image under another SOP class");
    const std::vector<double> numbers = numbers_of(reference, DCM_ReferencedFrameNumber);
    if (source.frames.size() > 1 && numbers.empty()) {
        s.found.frame(k, "it names a multi-frame image without the number of the frame");
        return;
    }
    for (const double number : numbers.empty() ? std::vector<double>{1} : numbers) {
        const size_t at = number >= 1 ? static_cast<size_t>(number) - 1 : source.frames.size();
        if (at >= source.frames.size())
            s.found.frame(k, "it names a frame that the image does not have");
        else if (source.frames[at].there && plane.there)
            compare_planes(s, k, plane, source.frames[at], source);
    }
}

void check_derivation(subject &s, size_t k, const image_plane &plane)
{
    DcmItem *derivation = item_of(s.groups[k], DCM_DerivationImageSequence);
    if (!derivation)
        derivation =
            item_of(item_of(&s.dataset, DCM_SharedFunctionalGroupsSequence), DCM_DerivationImageSequence);
    const size_t n = derivation ? items_of(*derivation, DCM_SourceImageSequence) : 0;
    if (n == 0) {
        s.found.frame(k, "it names no source image, so viewers guess where it lies");
        return;
    }
    if (!coded(*derivation, DCM_DerivationCodeSequence)) s.found.frame(k, "its derivation is not coded");
    for (size_t i = 0; i < n; i++) {
        DcmItem &reference = *item_of(derivation, DCM_SourceImageSequence, i);
        if (!coded(reference, DCM_PurposeOfReferenceCodeSequence))
            s.found.frame(k, "the purpose of its reference is not coded");
        check_source(s, k, reference, plane);
    }
}

unsigned segment_of(subject &s, size_t k)
{
    DcmItem *identity = item_of(s.groups[k], DCM_SegmentIdentificationSequence);
    if (!identity)
        identity = item_of(item_of(&s.dataset, DCM_SharedFunctionalGroupsSequence),
                           DCM_SegmentIdentificationSequence);
    Uint16 number = 0;
    if (!identity || identity->findAndGetUint16(DCM_ReferencedSegmentNumber, number).bad()) return 0;
    return number;
}

} // namespace

image_plane dicom::seg::plane_of_frame(DcmItem &dataset, DcmItem *groups)
{
    DcmItem *shared = item_of(&dataset, DCM_SharedFunctionalGroupsSequence);
    const auto group = [&](const DcmTagKey &sequence) {
        DcmItem *own = item_of(groups, sequence);
        return own ? own : item_of(shared, sequence);
    };
    DcmItem *position = group(DCM_PlanePositionSequence), *orientation = group(DCM_PlaneOrientationSequence),
            *measures = group(DCM_PixelMeasuresSequence);
    image_plane out;
    if (!position || !orientation || !measures) return out;
    out.origin = numbers_of(*position, DCM_ImagePositionPatient);
    out.direction = numbers_of(*orientation, DCM_ImageOrientationPatient);
    out.spacing = numbers_of(*measures, DCM_PixelSpacing);
    out.there = out.origin.size() == 3 && out.direction.size() == 6 && out.spacing.size() == 2;
    return out;
}

void dicom::seg::check_frames(subject &s)
{
    const bool in_space = s.dataset.tagExistsWithValue(DCM_FrameOfReferenceUID);
    std::set<std::pair<unsigned, std::vector<double>>> places;
    for (size_t k = 0; k < s.groups.size(); k++) {
        const image_plane plane = plane_of_frame(s.dataset, s.groups[k]);
        const unsigned number = s.labelmap ? 0 : segment_of(s, k);
        if (!s.labelmap && s.segments.count(number) == 0)
            s.found.frame(k, "it belongs to a segment that is not described");
        if (!plane.there && in_space)
            s.found.frame(k, "its position, orientation or pixel spacing is not there");
        else if (plane.there && !orthonormal(plane.direction))
            s.found.frame(k, "its directions are not at right angles and of length 1");
        if (plane.there && !places.emplace(number, plane.origin).second)
            s.found.frame(k, "another frame of its segment lies in the same place");
        check_derivation(s, k, plane);
    }
}

/* Common Instance Reference, and what the object shares with its images. */
void dicom::seg::check_references(subject &s)
{
    std::map<std::string, std::string> listed; /* instance to series */
    const std::string own = text_of(s.dataset, DCM_SeriesInstanceUID);
    for (size_t k = 0; k < items_of(s.dataset, DCM_ReferencedSeriesSequence); k++) {
        DcmItem &series = *item_of(&s.dataset, DCM_ReferencedSeriesSequence, k);
        const std::string uid = text_of(series, DCM_SeriesInstanceUID);
        if (uid == own) s.found.say("the object lies in the series of its images");
        DcmSequenceOfItems *instances = nullptr;
        if (series.findAndGetSequence(DCM_ReferencedInstanceSequence, instances).bad() || !instances)
            continue;
        for (DcmObject *at = nullptr; (at = instances->nextInContainer(at)) != nullptr;)
            listed[text_of(*static_cast<DcmItem *>(at), DCM_ReferencedSOPInstanceUID)] = uid;
    }
    if (listed.empty())
        s.found.say("the Referenced Series Sequence, by which viewers find the images, is not there");
    const image *source = nullptr;
    for (const std::string &uid : s.named) {
        const auto known = s.folder.images.find(uid);
        const auto entry = listed.find(uid);
        if (!listed.empty() && entry == listed.end())
            s.found.say("an image that a frame names is not in the Referenced Series Sequence");
        if (known == s.folder.images.end()) continue;
        source = &known->second;
        if (entry != listed.end() && entry->second != known->second.series)
            s.found.say("the Referenced Series Sequence lists an image under another series than its own");
    }
    if (!source && s.folder.given && !s.folder.images.empty()) source = &s.folder.images.begin()->second;
    if (!source) return;
    const struct {
        const std::string &wanted;
        DcmTagKey tag;
        const char *what;
    } same[] = {{source->study, DCM_StudyInstanceUID, "the study is not that of the images"},
                {source->frame_of_reference, DCM_FrameOfReferenceUID,
                 "the frame of reference is not that of the images"},
                {source->patient_id, DCM_PatientID, "the patient's ID is not that of the images"},
                {source->patient_name, DCM_PatientName, "the patient's name is not that of the images"}};
    for (const auto &c : same)
        if (text_of(s.dataset, c.tag) != c.wanted) s.found.say(c.what);
    if (own == source->series) s.found.say("the object lies in the series of its images");
}
