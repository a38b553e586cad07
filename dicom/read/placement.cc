#include "dicom/read/placement.h"

#include "dicom/read/items.h"
#include "dicom/read/values.h"

#include "dcmtk/dcmdata/dcdeftag.h"

#include <cmath>

namespace dicom
{
namespace
{

double dot(const double a[3], const double b[3])
{
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

msa_status check_lengths(const Placement &p, Find origin, Find spacing, msa_error *err)
{
    if (spacing == FIND_OK)
        for (const double mm : p.spacing_mm)
            if (mm < 1e-4 || mm > 1e4)
                return msa_fail(err, MSA_E_PARSE, "Pixel Spacing is not a plausible length");
    if (origin == FIND_OK)
        for (const double mm : p.origin_mm)
            if (std::fabs(mm) > 1e6)
                return msa_fail(err, MSA_E_PARSE, "Image Position (Patient) is not plausible");
    return MSA_OK;
}

/* What a frame's groups may say of it: acquisition, place and pixels, but no identity. */
bool belongs_to_frame(const DcmTagKey &tag)
{
    if (tag == DCM_FrameType) return true;
    if (tag.getGroup() == 0x0020) return tag.getElement() > 0x000e && tag != DCM_FrameOfReferenceUID;
    return tag.getGroup() == 0x0018 || tag.getGroup() == 0x0028;
}

void insert_copy(DcmItem &to, const DcmObject &element)
{
    std::unique_ptr<DcmObject> copy(element.clone());
    if (to.insert(static_cast<DcmElement *>(copy.get()), OFTrue).good()) (void)copy.release();
}

/* Lays the one item of each functional group flat into `to`. Groups that name other images are no attributes
 * of this one, and private groups may be large. */
void flatten(DcmItem &to, DcmItem &groups)
{
    for (DcmObject *at = groups.nextInContainer(nullptr); at != nullptr; at = groups.nextInContainer(at)) {
        const DcmTagKey tag = at->getTag();
        if (at->ident() != EVR_SQ || (tag.getGroup() & 1) != 0 || tag == DCM_DerivationImageSequence ||
            tag == DCM_ReferencedImageSequence)
            continue;
        auto &sequence = static_cast<DcmSequenceOfItems &>(*at);
        if (sequence.card() != 1) continue;
        DcmItem &macro = *sequence.getItem(0);
        for (DcmObject *e = macro.nextInContainer(nullptr); e != nullptr; e = macro.nextInContainer(e))
            if (belongs_to_frame(e->getTag())) insert_copy(to, *e);
    }
}

} // namespace

msa_status read_placement(Placement &out, DcmItem &d, msa_error *err)
{
    double directions[6] = {0};
    const Find origin = find_numbers(d, DCM_ImagePositionPatient, 3, out.origin_mm);
    const Find orientation = find_numbers(d, DCM_ImageOrientationPatient, 6, directions);
    const Find spacing = find_numbers(d, DCM_PixelSpacing, 2, out.spacing_mm);
    if (origin == FIND_BAD || orientation == FIND_BAD || spacing == FIND_BAD)
        return msa_fail(err, MSA_E_PARSE,
                        "%s is not what the standard asks for (finite numbers, the right count)",
                        origin == FIND_BAD        ? "Image Position (Patient)"
                        : orientation == FIND_BAD ? "Image Orientation (Patient)"
                                                  : "Pixel Spacing");
    MSA_TRY(check_lengths(out, origin, spacing, err));
    if (orientation == FIND_OK) {
        double *const row = directions, *const col = directions + 3;
        const double row_length = std::sqrt(dot(row, row)), col_length = std::sqrt(dot(col, col));
        if (std::fabs(row_length - 1) > 0.01 || std::fabs(col_length - 1) > 0.01 ||
            std::fabs(dot(row, col)) > 0.01)
            return msa_fail(err, MSA_E_PARSE,
                            "Image Orientation (Patient) does not hold two perpendicular unit vectors");
        for (int i = 0; i < 3; i++) {
            out.row_dir[i] = row[i] / row_length;
            out.col_dir[i] = col[i] / col_length;
        }
    }
    out.known = origin == FIND_OK && orientation == FIND_OK && spacing == FIND_OK;
    return MSA_OK;
}

msa_status read_frames(File &f, msa_error *err)
{
    DcmItem &d = *f.content->getDataset();
    const std::vector<DcmItem *> shared = items_of(d, DCM_SharedFunctionalGroupsSequence),
                                 own = items_of(d, DCM_PerFrameFunctionalGroupsSequence);
    const size_t n = size_t(f.header.frames);
    if (!own.empty() && own.size() != n)
        return msa_fail(err, MSA_E_PARSE, "it has %zu frames but functional groups for %zu", n, own.size());
    f.frames.clear();
    for (size_t i = 0; i < n; i++) {
        Frame frame;
        frame.groups = std::make_unique<DcmItem>();
        if (!shared.empty()) flatten(*frame.groups, *shared.front());
        if (!own.empty()) flatten(*frame.groups, *own[i]);
        msa_error inner = MSA_ERROR_INIT;
        const msa_status status = read_placement(frame.place, *frame.groups, &inner);
        if (status != MSA_OK) return msa_fail(err, status, "frame %zu: %s", i + 1, inner.what);
        f.frames.push_back(std::move(frame));
    }
    return MSA_OK;
}

std::unique_ptr<DcmFileFormat> single_frame_header(const File &f, Frame &frame)
{
    auto header = std::make_unique<DcmFileFormat>();
    DcmItem &to = *header->getDataset(), &from = *f.content->getDataset();
    for (DcmObject *e = from.nextInContainer(nullptr); e != nullptr; e = from.nextInContainer(e)) {
        const DcmTagKey tag = e->getTag();
        if (tag.getGroup() > 0x0040 || (tag.getGroup() & 1) != 0 || tag == DCM_DimensionIndexSequence)
            continue;
        insert_copy(to, *e);
    }
    while (DcmElement *e = frame.groups->remove(static_cast<unsigned long>(0)))
        if (to.insert(e, OFTrue).bad()) delete e;
    frame.groups.reset();
    return header;
}

} // namespace dicom
