#include "dicom/conformance.h"

#include "dcmtk/config/osconfig.h"
#include "dcmtk/dcmdata/dcuid.h"

#include <algorithm>
#include <cctype>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "dicom/header.h"
#include "dicom/net/association.h"
#include "dicom/net/status.h"
#include "dicom/read/syntax.h"
#include "dicom/report.h"
#include "dicom/seg/seg_impl.h"

using namespace dicom;

namespace
{

/* "EnhancedCTImageStorage", as DCMTK has it, in words. */
std::string words(const char *name)
{
    std::string text;
    if (name != nullptr && std::strcmp(name, "Comprehensive3DSRStorage") == 0)
        return "Comprehensive 3D SR Storage";
    for (const char *c = name == nullptr ? "?" : name; *c != '\0'; c++) {
        const bool starts = std::isupper(static_cast<unsigned char>(*c)) && !text.empty() &&
                            (std::islower(static_cast<unsigned char>(c[-1])) ||
                             std::islower(static_cast<unsigned char>(c[1])));
        if (starts && text.back() != ' ') text += ' ';
        text += *c;
    }
    return text;
}

} // namespace

void dicom_each_taken_class(bool annotations, dicom_uid_fn *each, void *ctx)
{
    std::vector<std::pair<std::string, std::string>> found;
    for (int i = 0; i < numberOfDcmAllStorageSOPClassUIDs; i++) {
        const char *uid = dcmAllStorageSOPClassUIDs[i];
        if (annotations ? dicom_is_annotation_class(uid) : dicom_is_image_class(uid))
            found.emplace_back(words(dcmFindNameOfUID(uid)), uid);
    }
    if (annotations && dicom_is_annotation_class(DICOM_SEG_LABELMAP_CLASS)) /* newer than DCMTK's table */
        found.emplace_back("Label Map Segmentation Storage", DICOM_SEG_LABELMAP_CLASS);
    std::sort(found.begin(), found.end());
    for (const auto &one : found)
        each(ctx, one.second.c_str(), one.first.c_str());
}

void dicom_each_taken_syntax(dicom_uid_fn *each, void *ctx)
{
    for (size_t i = 0; i < n_syntaxes; i++)
        each(ctx, syntaxes[i].uid, syntaxes[i].name);
}

void dicom_each_made_class(dicom_uid_fn *each, void *ctx)
{
    each(ctx, UID_SegmentationStorage, "Segmentation Storage");
    each(ctx, DICOM_SEG_LABELMAP_CLASS, "Label Map Segmentation Storage");
    each(ctx, DICOM_REPORT_CLASS, "Comprehensive 3D SR Storage");
    each(ctx, UID_RTStructureSetStorage, "RT Structure Set Storage");
    each(ctx, UID_SecondaryCaptureImageStorage, "Secondary Capture Image Storage");
}

void dicom_each_answer(dicom_status_fn *each, void *ctx)
{
    static const uint16_t statuses[] = {0x0000, 0xB000, 0xB006, 0xB007, 0x0001, 0x0107, 0x0111,
                                        0x0116, 0xA700, 0x0110, 0x0213, 0xFE00, 0xA900, 0xC000,
                                        0x0105, 0x0106, 0x0112, 0x0115, 0x0117, 0x0118, 0x0119,
                                        0x0120, 0x0121, 0x0122, 0x0124, 0x0210, 0x0211, 0x0212};
    for (const uint16_t status : statuses)
        each(ctx, status, status_meaning(status), delivery_outcome(status));
}

long dicom_pdu_max()
{
    return MAX_PDU;
}

unsigned dicom_status_of(msa_status status)
{
    return store_status(status);
}
