#include "dicom/seg/read_back.h"

#include <cerrno>
#include <cstring>

namespace dicom
{
namespace seg
{

namespace
{

constexpr size_t READ_MAX = 256u << 20;
constexpr uint32_t ITEM = 0xfffee000, TRANSFER_SYNTAX = 0x00020010, GROUP_LENGTH = 0x00020000;

uint32_t little(const uint8_t *p, size_t bytes)
{
    uint32_t v = 0;
    for (size_t i = 0; i < bytes; i++)
        v |= static_cast<uint32_t>(p[i]) << (8 * i);
    return v;
}

uint32_t tag_at(const uint8_t *p)
{
    return little(p, 2) << 16 | little(p + 2, 2);
}

bool has_long_length(const char *vr)
{
    for (const char *wide : {"OB", "OW", "OF", "OD", "OL", "OV", "SQ", "UC", "UN", "UR", "UT", "SV", "UV"})
        if (std::strncmp(vr, wide, 2) == 0) return true;
    return false;
}

/* Head and value of the element at the front of `rest`, which then begins behind it. */
bool take(span &rest, uint32_t &tag, span &value)
{
    if (rest.size < 8) return false;
    const bool wide = has_long_length(reinterpret_cast<const char *>(rest.data + 4));
    const size_t head = wide ? 12 : 8;
    if (rest.size < head) return false;
    tag = tag_at(rest.data);
    value.data = rest.data + head;
    value.size = wide ? little(rest.data + 8, 4) : little(rest.data + 6, 2);
    if (value.size > rest.size - head) return false;
    rest.data += head + value.size;
    rest.size -= head + value.size;
    return true;
}

} // namespace

std::string span::text() const
{
    size_t n = size;
    while (n > 0 && (data[n - 1] == ' ' || data[n - 1] == 0))
        n--;
    size_t first = 0;
    while (first < n && data[first] == ' ')
        first++;
    return std::string(reinterpret_cast<const char *>(data) + first, n - first);
}

uint32_t span::number() const
{
    return size == 2 || size == 4 ? little(data, size) : 0;
}

bool find(span item, uint32_t tag, span &value)
{
    for (uint32_t at = 0; take(item, at, value);)
        if (at == tag) return true;
    return false;
}

bool find_item(span item, uint32_t sequence, span &inner)
{
    span all;
    if (!find(item, sequence, all) || all.size < 8 || tag_at(all.data) != ITEM) return false;
    inner.data = all.data + 8;
    inner.size = little(all.data + 4, 4);
    return inner.size <= all.size - 8;
}

/* Byte planes, the most significant first, to samples. */
bool unpack_rle(const uint8_t *in, size_t size, std::vector<uint8_t> &out, size_t pixels)
{
    const size_t planes = pixels > 0 ? out.size() / pixels : 0;
    if (size < 64 || planes == 0 || planes > 15 || little(in, 4) != planes) return false;
    for (size_t k = 0; k < planes; k++) {
        size_t at = little(in + 4 + 4 * k, 4), done = 0;
        const size_t end = k + 1 < planes ? little(in + 8 + 4 * k, 4) : size;
        if (end > size) return false;
        while (done < pixels) {
            if (at >= end) return false;
            const unsigned code = in[at++];
            const size_t run = code < 128 ? code + 1 : code > 128 ? 257 - code : 0;
            const size_t bytes = code < 128 ? run : run > 0 ? 1 : 0;
            if (run > pixels - done || bytes > end - at) return false;
            for (size_t i = 0; i < run; i++, done++)
                out[done * planes + planes - 1 - k] = in[code < 128 ? at + i : at];
            at += bytes;
        }
    }
    return true;
}

msa_status part10_stream::open(const char *path, msa_error *err)
{
    uint8_t head[132 + 12];
    std::vector<uint8_t> meta;
    span value;
    file_ = open_file_source(path);
    if (!file_)
        return msa_fail(err, msa_errno_status(errno), "cannot read the segmentation back: %s",
                        std::strerror(errno));
    from_ = file_.get();
    if (!read(head, sizeof head) || std::memcmp(head + 128, "DICM", 4) != 0 ||
        tag_at(head + 132) != GROUP_LENGTH || !read(meta, little(head + 140, 4)) ||
        !find({meta.data(), meta.size()}, TRANSFER_SYNTAX, value))
        return msa_fail(err, MSA_E_PARSE, "the segmentation was read back without file meta information");
    syntax_ = value.text();
    if (syntax_ == "1.2.840.10008.1.2.1.99") {
        inflated_ = open_inflate_source(*file_, UINT64_MAX);
        from_ = inflated_.get();
    }
    return MSA_OK;
}

bool part10_stream::read(uint8_t *to, size_t n)
{
    return from_->read(to, n) == n;
}

bool part10_stream::read(std::vector<uint8_t> &to, size_t n)
{
    if (n > READ_MAX) return false;
    to.resize(n);
    return read(to.data(), n);
}

bool part10_stream::skip(uint32_t n)
{
    return from_->skip(n);
}

bool part10_stream::next(element &e)
{
    uint8_t head[12];
    if (!read(head, 8)) return false;
    e.tag = tag_at(head);
    std::memcpy(e.vr, head + 4, 2);
    e.vr[2] = '\0';
    if (!has_long_length(e.vr)) {
        e.length = little(head + 6, 2);
        return true;
    }
    if (!read(head + 8, 4)) return false;
    e.length = little(head + 8, 4);
    return true;
}

bool part10_stream::next_item(element &e)
{
    uint8_t head[8];
    if (!read(head, sizeof head)) return false;
    e.tag = tag_at(head);
    e.length = little(head + 4, 4);
    return true;
}

} // namespace seg
} // namespace dicom
