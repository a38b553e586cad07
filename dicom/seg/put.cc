#include "dicom/seg/put.h"

#include <cstdlib>

using dicom::seg::put;

put &put::note(const OFCondition &cond)
{
    if (cond_.good() && cond.bad()) cond_ = cond;
    return *this;
}

put &put::text(const DcmTagKey &tag, const std::string &value)
{
    return note(item_.putAndInsertOFStringArray(tag, OFString(value.c_str(), value.size())));
}

put &put::empty(const DcmTagKey &tag)
{
    return note(item_.insertEmptyElement(tag));
}

put &put::element(DcmElement *made)
{
    const OFCondition cond = item_.insert(made, OFTrue);
    if (cond.bad()) delete made;
    return note(cond);
}

put &put::us(const DcmTagKey &tag, Uint16 value)
{
    return note(item_.putAndInsertUint16(tag, value));
}

DcmItem &put::item(const DcmTagKey &sequence)
{
    DcmItem *made = nullptr;
    note(item_.findOrCreateSequenceItem(sequence, made, -2 /* append */));
    return made ? *made : nowhere_;
}

put &put::code(const DcmTagKey &sequence, const dicom_code &code, const charset &text)
{
    put in(item(sequence));
    in.text(DCM_CodeValue, text.encode(code.value, 16));
    in.text(DCM_CodingSchemeDesignator, text.encode(code.scheme, 16));
    in.text(DCM_CodeMeaning, text.encode(code.meaning, 64));
    return note(in.cond());
}

put &put::copy(const DcmTagKey &tag, DcmItem &from)
{
    return from.tagExistsWithValue(tag) ? note(from.findAndInsertCopyOfElement(tag, &item_)) : *this;
}

put &put::copy2(const DcmTagKey &tag, DcmItem &from)
{
    return from.tagExistsWithValue(tag) ? copy(tag, from) : note(item_.insertEmptyElement(tag));
}

void dicom::seg::list_texts(std::vector<std::string> &texts, const dicom_segment &s)
{
    for (const char *text : {s.label, s.tracking_id, s.category.meaning, s.type.meaning, s.site.meaning})
        texts.emplace_back(text);
}

std::string dicom::seg::text_of(DcmItem &item, const DcmTagKey &tag)
{
    OFString value;
    if (item.findAndGetOFStringArray(tag, value).bad()) return "";
    const std::string s(value.c_str(), value.size());
    const size_t first = s.find_first_not_of(' '), last = s.find_last_not_of(std::string(" \0", 2));
    return first == std::string::npos || last == std::string::npos ? "" : s.substr(first, last - first + 1);
}

std::vector<double> dicom::seg::numbers_of(DcmItem &item, const DcmTagKey &tag)
{
    std::vector<double> out;
    const std::string all = text_of(item, tag);
    for (size_t at = 0; !all.empty() && at <= all.size();) {
        const size_t end = all.find('\\', at) == std::string::npos ? all.size() : all.find('\\', at);
        Float64 value = 0;
        /* the value's own parser: strtod would follow the locale */
        DcmDecimalString one(DCM_PixelSpacing);
        if (one.putString(all.substr(at, end - at).c_str()).bad() || one.getFloat64(value, 0).bad())
            return {};
        out.push_back(value);
        at = end + 1;
    }
    return out;
}
