#include "dicom/net/file_meta.h"

#include <cstring>

namespace dicom
{

namespace
{

void put16(std::string &to, unsigned v)
{
    to += char(v & 0xff);
    to += char(v >> 8 & 0xff);
}

void put32(std::string &to, unsigned long v)
{
    put16(to, unsigned(v & 0xffff));
    put16(to, unsigned(v >> 16 & 0xffff));
}

/* Explicit VR little endian with a 16-bit length; padded to even length. */
void put_text(std::string &to, unsigned element, const char *vr, std::string value, char pad)
{
    if (value.size() % 2 != 0) value += pad;
    put16(to, 0x0002);
    put16(to, element);
    to += vr;
    put16(to, unsigned(value.size()));
    to += value;
}

} // namespace

std::string file_meta(const dicom_store_info &info)
{
    std::string group;
    put16(group, 0x0002);
    put16(group, 0x0001);
    group += "OB";
    put16(group, 0);
    put32(group, 2);
    group += '\0';
    group += '\1';
    put_text(group, 0x0002, "UI", info.sop_class_uid, '\0');
    put_text(group, 0x0003, "UI", info.sop_instance_uid, '\0');
    put_text(group, 0x0010, "UI", info.transfer_syntax_uid, '\0');
    put_text(group, 0x0012, "UI", DICOM_IMPLEMENTATION_CLASS_UID, '\0');
    put_text(group, 0x0013, "SH", DICOM_IMPLEMENTATION_VERSION, ' ');

    std::string meta(128, '\0');
    meta += "DICM";
    put16(meta, 0x0002);
    put16(meta, 0x0000);
    meta += "UL";
    put16(meta, 4);
    put32(meta, group.size());
    return meta + group;
}

bool is_uid(const char *text)
{
    const size_t n = std::strspn(text, "0123456789.");
    return n > 0 && n < DICOM_UID_MAX && text[n] == '\0';
}

} // namespace dicom
