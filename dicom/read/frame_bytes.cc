#include "dicom/read/frame_bytes.h"

#include "dicom/read/syntax.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace dicom
{
namespace
{

/* What a JPEG, JPEG-LS or JPEG 2000 codestream begins with, or the file that some put one into. */
bool begins_codestream(const uint8_t head[4])
{
    static const uint8_t jpeg[] = {0xff, 0xd8, 0xff}, jpeg_2000[] = {0xff, 0x4f, 0xff, 0x51},
                         boxes[] = {0, 0, 0, 12};
    return std::memcmp(head, jpeg, sizeof jpeg) == 0 || std::memcmp(head, jpeg_2000, sizeof jpeg_2000) == 0 ||
           std::memcmp(head, boxes, sizeof boxes) == 0;
}

} // namespace

msa_status FrameBytes::open(const File &file, const char *path, msa_error *err)
{
    file_ = &file;
    path_ = path;
    MSA_TRY(seek(0, err));
    return file.scan.encapsulated ? find_frames(err) : MSA_OK;
}

/* To `offset` of the file or, where that is deflated, of the dataset. */
msa_status FrameBytes::seek(uint64_t offset, msa_error *err)
{
    const bool deflated = file_->scan.deflated;
    Source *at = deflated ? inflated_.get() : plain_.get();
    if (at == nullptr || at->offset() > offset) {
        inflated_.reset();
        plain_ = open_file_source(path_.c_str());
        if (plain_ && deflated && plain_->skip(file_->scan.dataset_offset))
            inflated_ = open_inflate_source(*plain_, PRESCAN_INFLATED_MAX);
        at = deflated ? inflated_.get() : plain_.get();
    }
    if (at == nullptr || !at->skip(offset - at->offset()))
        return msa_fail(err, MSA_E_IO, "cannot read the pixel data: the file changed");
    return MSA_OK;
}

/* PS3.5 annex A.4: one fragment for each frame, or the offset table, or what codestreams begin with. */
msa_status FrameBytes::find_frames(msa_error *err)
{
    const size_t frames = size_t(file_->header.frames), fragments = file_->scan.fragments.size();
    first_.clear();
    if (frames == 1) {
        first_ = {0, fragments};
        return MSA_OK;
    }
    if (fragments < frames)
        return msa_fail(err, MSA_E_PARSE,
                        "its %zu frames are compressed into %zu fragments: some are missing", frames,
                        fragments);
    if (fragments == frames) {
        for (size_t i = 0; i <= frames; i++)
            first_.push_back(i);
        return MSA_OK;
    }
    return file_->scan.offset_table.size() == frames ? find_by_table(err) : find_by_marker(err);
}

msa_status FrameBytes::find_by_table(msa_error *err)
{
    const std::vector<Fragment> &all = file_->scan.fragments;
    size_t at = 0;
    for (const uint32_t offset : file_->scan.offset_table) {
        while (at < all.size() && all[at].offset - all[0].offset < offset)
            at++;
        const bool found = at < all.size() && all[at].offset - all[0].offset == offset;
        if (!found || (!first_.empty() && at == first_.back()))
            return msa_fail(err, MSA_E_PARSE,
                            "the offset table of the pixel data does not fit its fragments");
        first_.push_back(at);
    }
    if (first_.front() != 0)
        return msa_fail(err, MSA_E_PARSE, "the offset table of the pixel data does not fit its fragments");
    first_.push_back(all.size());
    return MSA_OK;
}

msa_status FrameBytes::find_by_marker(msa_error *err)
{
    const std::vector<Fragment> &all = file_->scan.fragments;
    for (size_t i = 0; i < all.size(); i++) {
        uint8_t head[4] = {0};
        MSA_TRY(seek(all[i].offset, err));
        if (all[i].length < sizeof head || plain_->read(head, sizeof head) != sizeof head) continue;
        if (begins_codestream(head)) first_.push_back(i);
    }
    if (first_.size() != size_t(file_->header.frames) || first_.front() != 0)
        return msa_fail(err, MSA_E_PARSE, "its %zu fragments cannot be told apart into %d frames", all.size(),
                        file_->header.frames);
    first_.push_back(all.size());
    return MSA_OK;
}

msa_status FrameBytes::read_fragments(std::vector<uint8_t> &to, size_t index, msa_error *err)
{
    uint64_t total = 0;
    for (size_t i = first_[index]; i < first_[index + 1]; i++)
        total += file_->scan.fragments[i].length;
    if (total > encoded_max(*file_))
        return msa_fail(err, MSA_E_PARSE,
                        "the compressed pixel data is longer than the image it should hold");
    to.resize(size_t(total));
    uint8_t *at = to.data();
    for (size_t i = first_[index]; i < first_[index + 1]; i++) {
        const Fragment &f = file_->scan.fragments[i];
        MSA_TRY(seek(f.offset, err));
        if (plain_->read(at, f.length) != f.length)
            return msa_fail(err, MSA_E_IO, "cannot read the pixel data: the file changed");
        at += f.length;
    }
    return MSA_OK;
}

msa_status FrameBytes::read(std::vector<uint8_t> &to, size_t index, msa_error *err)
{
    if (file_->scan.encapsulated) return read_fragments(to, index, err);
    return read_native(to, index, err);
}

/* header.cc compared the size of all frames with the length of the element. Big endian words are swapped in
 * pairs of bytes, which a frame of an odd number of 8-bit pixels shares with its neighbours. */
msa_status FrameBytes::read_native(std::vector<uint8_t> &to, size_t index, msa_error *err)
{
    const Prescan &scan = file_->scan;
    const uint64_t size = frame_size(*file_), start = uint64_t(index) * size;
    const uint64_t from = start & ~uint64_t{1},
                   end = std::min((start + size + 1) & ~uint64_t{1}, scan.pixel_length);
    MSA_TRY(seek(scan.pixel_offset + from, err));
    to.resize(size_t(end - from));
    Source &in = scan.deflated ? *inflated_ : *plain_;
    if (in.read(to.data(), to.size()) != to.size())
        return msa_fail(err, MSA_E_IO, "cannot read the pixel data: the file changed");
    if (DcmXfer(scan.xfer).isBigEndian() && (scan.pixel_words || file_->form.allocated == 16))
        for (size_t i = 0; i + 1 < to.size(); i += 2)
            std::swap(to[i], to[i + 1]);
    to.erase(to.begin(), to.begin() + std::ptrdiff_t(start - from));
    to.resize(size_t(size));
    return MSA_OK;
}

} // namespace dicom
