#include "dicom/annot/sr_item.h"
#include "dicom/annot/charset.h"
#include "dicom/read/values.h"

#include "dcmtk/dcmdata/dcdeftag.h"
#include "dcmtk/dcmdata/dcuid.h"

#include <cctype>
#include <cstring>

namespace dicom
{

const Concept TRACKING_ID = {"112039", "DCM", "", ""};
const Concept TRACKING_UID = {"112040", "DCM", "", ""};
const Concept FINDING = {"121071", "DCM", "", ""};
const Concept FINDING_CATEGORY = {"276214006", "SCT", "", ""};
const Concept FINDING_SITE = {"363698007", "SCT", "G-C0E3", "SRT"};
const Concept SHORT_LABEL = {"125309", "DCM", "", ""};
const Concept COMMENT = {"121106", "DCM", "", ""};
const Concept LONG_AXIS = {"103339001", "SCT", "G-A185", "SRT"};
const Concept SHORT_AXIS = {"103340004", "SCT", "G-A186", "SRT"};

namespace
{

/* The SRT codes that our results are likely to carry on; dciodvfy warns on SRT. The meaning is kept as
 * written. */
const struct {
    const char *srt, *sct;
} srt_to_sct[] = {
    {"M-01000", "49755003"},  {"M-01100", "52988006"},  {"M-03000", "4147007"},  {"M-03010", "27925004"},
    {"M-80000", "108369006"}, {"M-8FFFF", "108369006"}, {"T-D000A", "91723000"}, {"T-D0050", "85756007"},
    {"T-62000", "10200004"},  {"T-71000", "64033007"},  {"T-28000", "39607008"}, {"T-A0100", "12738006"},
    {"T-C3000", "78961009"},  {"T-A7010", "2748008"},   {"T-42000", "15825003"},
};

void modernise(dicom_code &code)
{
    if (std::strcmp(code.scheme, "SRT") != 0 && std::strcmp(code.scheme, "SNM3") != 0 &&
        std::strcmp(code.scheme, "99SDM") != 0)
        return;
    for (const auto &row : srt_to_sct) {
        if (std::strcmp(row.srt, code.value) != 0) continue;
        copy(code.value, sizeof code.value, row.sct);
        copy(code.scheme, sizeof code.scheme, "SCT");
        return;
    }
}

std::string printable(const std::string &s) /* a code value or scheme: ASCII or nothing */
{
    for (const char c : s)
        if (c < 0x20 || c == 0x7f)
            return std::string(); /* char may be signed: bytes over 0x7f are below 0x20 */
    return s;
}

} // namespace

std::string value_type(DcmItem &item)
{
    return text(item, DCM_ValueType);
}

std::vector<DcmItem *> children(DcmItem &item)
{
    return items_of(item, DCM_ContentSequence);
}

bool has_concept(DcmItem &item, const Concept &wanted)
{
    DcmItem *code = first_of(&item, DCM_ConceptNameCodeSequence);
    if (code == nullptr) return false;
    const std::string value = text(*code, DCM_CodeValue), scheme = text(*code, DCM_CodingSchemeDesignator);
    return (value == wanted.value && scheme == wanted.scheme) ||
           (wanted.old_value[0] != '\0' && value == wanted.old_value && scheme == wanted.old_scheme);
}

dicom_code coded_value(DcmItem &item, const std::string &charset)
{
    return code_in(item, DCM_ConceptCodeSequence, charset);
}

dicom_code code_in(DcmItem &item, const DcmTagKey &sequence, const std::string &charset)
{
    dicom_code code{};
    DcmItem *const from = first_of(&item, sequence);
    if (from == nullptr) return code;
    const std::string value = printable(text(*from, DCM_CodeValue));
    const std::string scheme = printable(text(*from, DCM_CodingSchemeDesignator));
    const std::string meaning = to_utf8(text(*from, DCM_CodeMeaning), charset);
    copy(code.meaning, sizeof code.meaning, cut_utf8(meaning, 64, sizeof code.meaning));
    if (value.size() >= sizeof code.value || scheme.size() >= sizeof code.scheme || value.empty() ||
        scheme.empty())
        return code;
    copy(code.value, sizeof code.value, value);
    copy(code.scheme, sizeof code.scheme, scheme);
    modernise(code);
    return code;
}

std::string text_value(DcmItem &item, const std::string &charset)
{
    return to_utf8(text(item, DCM_TextValue), charset);
}

bool is_free_text_code(DcmItem &item)
{
    DcmItem *const code = first_of(&item, DCM_ConceptCodeSequence);
    if (code == nullptr) return false;
    const std::string value = text(*code, DCM_CodeValue);
    return value == "CORNERSTONEFREETEXT" || value == "CS3DTEXT";
}

bool is_text_position(DcmItem &item)
{
    DcmItem *const code = first_of(&item, DCM_ConceptNameCodeSequence);
    if (code == nullptr || text(*code, DCM_CodingSchemeDesignator) == "DCM") return false;
    std::string words;
    for (const char c : text(*code, DCM_CodeMeaning) + text(*code, DCM_CodeValue))
        if (std::isalpha(static_cast<unsigned char>(c)) != 0)
            words += char(std::tolower(static_cast<unsigned char>(c)));
    return words.find("annotationposition") != std::string::npos;
}

bool is_in_degrees(DcmItem &item)
{
    DcmItem *const unit =
        first_of(first_of(&item, DCM_MeasuredValueSequence), DCM_MeasurementUnitsCodeSequence);
    return unit != nullptr && text(*unit, DCM_CodeValue) == "deg";
}

bool names_segmentation(DcmItem &item)
{
    DcmItem *const sop = first_of(&item, DCM_ReferencedSOPSequence);
    if (sop == nullptr) return false;
    const std::string uid = text(*sop, DCM_ReferencedSOPClassUID);
    return uid == UID_SegmentationStorage || uid == UID_SurfaceSegmentationStorage || uid == UID_LABEL_MAP;
}

ImageReference image_reference(DcmItem &item)
{
    ImageReference ref;
    DcmItem *const sop = first_of(&item, DCM_ReferencedSOPSequence);
    if (sop == nullptr) return ref;
    const std::string uid = text(*sop, DCM_ReferencedSOPInstanceUID);
    if (!is_uid(uid)) return ref;
    ref.sop_instance_uid = uid;
    if (find_int(*sop, DCM_ReferencedFrameNumber, ref.frame) != FIND_OK || ref.frame < 1) ref.frame = 1;
    return ref;
}

} // namespace dicom
