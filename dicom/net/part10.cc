#include "dicom/net/part10.h"

#include <cerrno>
#include <cstring>
#include <string>
#include <sys/stat.h>

#include "dicom/net/file_meta.h"

#include <cstdio>
#include <memory>

namespace dicom
{

namespace
{

constexpr size_t PREFIX = 132 + 12; /* preamble, "DICM", the group length element */
constexpr uint32_t META_MAX = 65536;

uint32_t le(const unsigned char *p, int bytes)
{
    uint32_t v = 0;
    for (int i = bytes - 1; i >= 0; i--)
        v = v << 8 | p[i];
    return v;
}

/* A UID value without its padding. */
template <size_t N> void take_uid(char (&to)[N], const unsigned char *value, size_t size)
{
    std::string text(reinterpret_cast<const char *>(value), size);
    while (!text.empty() && (text.back() == '\0' || text.back() == ' '))
        text.pop_back();
    (void)std::snprintf(to, N, "%s", text.c_str());
}

/* The elements of group 2, explicit VR little endian. */
msa_status scan(dicom_store_info &info, const unsigned char *p, size_t left, msa_error *err)
{
    while (left >= 8) {
        const uint32_t element = le(p + 2, 2);
        const bool is_long = std::memcmp(p + 4, "OB", 2) == 0 || std::memcmp(p + 4, "UN", 2) == 0;
        const size_t head = is_long ? 12 : 8;
        if (left < head) break;
        const size_t size = is_long ? le(p + 8, 4) : le(p + 6, 2);
        if (size > left - head) break;
        if (element == 0x0002) take_uid(info.sop_class_uid, p + head, size);
        if (element == 0x0003) take_uid(info.sop_instance_uid, p + head, size);
        if (element == 0x0010) take_uid(info.transfer_syntax_uid, p + head, size);
        p += head + size;
        left -= head + size;
    }
    if (left != 0) return msa_fail(err, MSA_E_PARSE, "the file meta information is damaged");
    if (!is_uid(info.sop_class_uid) || !is_uid(info.sop_instance_uid) || !is_uid(info.transfer_syntax_uid))
        return msa_fail(err, MSA_E_PARSE, "the file meta information lacks a UID");
    return MSA_OK;
}

} // namespace

msa_status part10_read(part10 &out, const char *path, msa_error *err)
{
    out = part10{};
    struct closer {
        void operator()(FILE *f) const
        {
            (void)std::fclose(f);
        }
    };
    std::unique_ptr<FILE, closer> file(std::fopen(path, "rbe"));
    struct stat st;
    if (!file)
        return msa_fail(err, errno == ENOENT ? MSA_E_NOT_FOUND : MSA_E_IO, "cannot open the file to send: %s",
                        std::strerror(errno));
    if (fstat(fileno(file.get()), &st) != 0)
        return msa_fail(err, MSA_E_IO, "cannot look at the file to send");
    unsigned char prefix[PREFIX];
    static const unsigned char group_length[] = {'D', 'I', 'C', 'M', 2, 0, 0, 0, 'U', 'L', 4, 0};
    if (std::fread(prefix, 1, sizeof prefix, file.get()) != sizeof prefix ||
        std::memcmp(prefix + 128, group_length, sizeof group_length) != 0)
        return msa_fail(err, MSA_E_PARSE, "the file to send does not begin with file meta information");
    const uint32_t size = le(prefix + 140, 4);
    if (size > META_MAX || int64_t(PREFIX) + size >= int64_t(st.st_size))
        return msa_fail(err, MSA_E_PARSE, "the file to send has no dataset");
    std::string meta(size, '\0');
    if (std::fread(&meta[0], 1, size, file.get()) != size)
        return msa_fail(err, MSA_E_IO, "cannot read the file to send");
    out.dataset_at = int64_t(PREFIX) + size;
    out.dataset_size = int64_t(st.st_size) - out.dataset_at;
    return scan(out.info, reinterpret_cast<const unsigned char *>(meta.data()), size, err);
}

} // namespace dicom
