#include "dicom/read/seg_frames.h"
#include "dicom/guard.h"
#include "dicom/read/codec.h"
#include "dicom/read/syntax.h"

#include "dcmtk/dcmdata/dcdeftag.h"
#include "dcmtk/dcmdata/dcpixel.h"
#include "dcmtk/dcmdata/dcpixseq.h"
#include "dcmtk/dcmdata/dcpxitem.h"

#include <algorithm>
#include <cstring>
#include <zlib.h>

namespace dicom
{
namespace
{

constexpr uint64_t COMPRESSED_MAX = uint64_t{1} << 26; /* pixels of a frame: a few bytes may stand for all */

uint32_t word(const uint8_t *p)
{
    return uint32_t(p[0]) | uint32_t(p[1]) << 8 | uint32_t(p[2]) << 16 | uint32_t(p[3]) << 24;
}

/* PS3.5 annex G: byte planes, the most significant one first, each in runs. */
bool undo_rle(const uint8_t *in, size_t size, std::vector<uint8_t> &out, size_t planes)
{
    const size_t each = out.size() / planes;
    if (size < 64 || word(in) != planes) return false;
    for (size_t plane = 0; plane < planes; plane++) {
        size_t at = word(in + 4 + 4 * plane), done = 0;
        const size_t end = plane + 1 < planes ? word(in + 8 + 4 * plane) : size;
        if (at < 64 || end > size) return false;
        while (done < each) {
            if (at >= end) return false;
            const unsigned code = in[at++];
            const bool literal = code < 128;
            const size_t n = literal ? code + 1 : code == 128 ? 0 : 257 - code;
            if (n > 0 && (literal ? n : 1) > end - at) return false;
            for (size_t i = 0; i < n && done < each; i++)
                out[done++ * planes + (planes - 1 - plane)] = in[literal ? at + i : at];
            at += literal ? n : n > 0;
        }
    }
    return true;
}

bool undo_deflate(const uint8_t *in, size_t size, std::vector<uint8_t> &out)
{
    z_stream z;
    std::memset(&z, 0, sizeof z);
    if (inflateInit2(&z, -MAX_WBITS) != Z_OK) return false;
    z.next_in = const_cast<Bytef *>(in);
    z.avail_in = uInt(size);
    z.next_out = out.data();
    z.avail_out = uInt(out.size());
    const int end = inflate(&z, Z_FINISH);
    const bool whole = z.avail_out == 0 && (end == Z_STREAM_END || end == Z_BUF_ERROR || end == Z_OK);
    (void)inflateEnd(&z);
    return whole;
}

} // namespace

msa_status SegFrames::choose_coding(const File &file, msa_error *err)
{
    const Syntax *const syntax = find_syntax(file.scan.transfer_syntax_uid);
    if (std::strcmp(file.scan.transfer_syntax_uid, UID_DEFLATED_FRAMES) == 0)
        coding_ = DEFLATED;
    else if (file.scan.xfer == EXS_RLELossless)
        coding_ = RLE;
    else if (form_.bits > 1 && syntax != nullptr && syntax->codec != Codec::none)
        coding_ = CODEC;
    else
        return msa_fail(err, MSA_E_UNSUPPORTED,
                        "frames of %d bits in the transfer syntax %s are not read in a segmentation",
                        form_.bits, file.scan.transfer_syntax_uid);
    if (form_.pixels() > COMPRESSED_MAX)
        return msa_fail(err, MSA_E_UNSUPPORTED, "the compressed segmentation has frames of %d x %d",
                        form_.rows, form_.cols);
    std::memcpy(codec_.scan.transfer_syntax_uid, file.scan.transfer_syntax_uid,
                sizeof codec_.scan.transfer_syntax_uid);
    codec_.scan.xfer = file.scan.xfer;
    codec_.scan.encapsulated = true;
    codec_.header.rows = form_.rows;
    codec_.header.cols = form_.cols;
    codec_.header.frames = 1;
    codec_.form.allocated = codec_.form.stored = uint16_t(form_.bits);
    codec_.form.high_bit = uint16_t(form_.bits - 1);
    return MSA_OK;
}

msa_status SegFrames::read(const SegForm &form, const File &file, const char *path, msa_error *err)
{
    std::unique_ptr<DcmFileFormat> content;
    form_ = form;
    if (file.scan.encapsulated) MSA_TRY(choose_coding(file, err));
    MSA_TRY(parse_dataset(content, file.scan, path, true, err));
    DcmItem &dataset = *content->getDataset();
    return file.scan.encapsulated ? read_fragments(dataset, DcmXfer(file.scan.xfer), err)
                                  : read_plain(dataset, err);
}

msa_status SegFrames::read_plain(DcmItem &dataset, msa_error *err)
{
    const Uint8 *bytes = nullptr;
    const Uint16 *words = nullptr;
    unsigned long n = 0;
    const bool wide = form_.bits == 16;
    const bool there =
        wide ? dataset.findAndGetUint16Array(DCM_PixelData, words, &n).good() && words != nullptr
             : dataset.findAndGetUint8Array(DCM_PixelData, bytes, &n).good() && bytes != nullptr;
    if (!there) return msa_fail(err, MSA_E_PARSE, "the segmentation has no pixel data");
    const uint64_t pixels = uint64_t(form_.frames) * form_.pixels(); /* below 2 to the 63rd */
    const uint64_t needed = form_.bits == 1 ? (pixels + 7) / 8 : pixels * (wide ? 2 : 1);
    const uint64_t have = wide ? uint64_t(n) * 2 : uint64_t(n);
    if (have < needed || pixels > UINT64_MAX / 4)
        return msa_fail(err, MSA_E_PARSE,
                        "the segmentation's pixel data holds %llu bytes where %d frames of %d x %d need %llu",
                        (unsigned long long)have, form_.frames, form_.rows, form_.cols,
                        (unsigned long long)needed);
    if (!wide) {
        bytes_.assign(bytes, bytes + needed);
        return MSA_OK;
    }
    bytes_.resize(needed);
    for (size_t i = 0; i < needed / 2; i++) {
        bytes_[2 * i] = uint8_t(words[i] & 0xff);
        bytes_[2 * i + 1] = uint8_t(words[i] >> 8);
    }
    return MSA_OK;
}

/* PS3.5 annex A.4: one fragment for each frame, or frames that begin where the offset table says. */
msa_status SegFrames::read_fragments(DcmItem &dataset, const DcmXfer &xfer, msa_error *err)
{
    DcmElement *element = nullptr;
    DcmPixelSequence *sequence = nullptr;
    const auto frames = size_t(form_.frames);
    if (dataset.findAndGetElement(DCM_PixelData, element).good())
        if (auto *pixels = dynamic_cast<DcmPixelData *>(element))
            (void)pixels->getEncapsulatedRepresentation(xfer.getXfer(), nullptr, sequence);
    if (sequence == nullptr || sequence->card() < 2)
        return msa_fail(err, MSA_E_PARSE, "the segmentation has no pixel data");
    const size_t fragments = size_t(sequence->card()) - 1;
    std::vector<uint32_t> table;
    for (size_t i = 0; i <= fragments; i++) {
        DcmPixelItem *item = nullptr;
        Uint8 *bytes = nullptr;
        if (sequence->getItem(item, static_cast<unsigned long>(i)).bad())
            return msa_fail(err, MSA_E_PARSE, "the segmentation's pixel data cannot be read");
        const size_t size = item->getLength();
        if (size > 0 && (item->getUint8Array(bytes).bad() || bytes == nullptr))
            return msa_fail(err, MSA_E_PARSE, "the segmentation's pixel data cannot be read");
        for (size_t k = 0; i == 0 && fragments > frames && k + 4 <= size && table.size() < frames; k += 4)
            table.push_back(word(bytes + k));
        if (i == 0) continue;
        const size_t offset = bytes_.size() + 8 * (i - 1); /* as the table counts: with the items' heads */
        const bool begins = fragments == frames ||
                            (start_.size() < table.size() ? table[start_.size()] == offset : start_.empty());
        if (begins) start_.push_back(bytes_.size());
        bytes_.insert(bytes_.end(), bytes, bytes + size);
    }
    start_.push_back(bytes_.size());
    if (start_.size() != frames + 1)
        return msa_fail(err, MSA_E_PARSE, "the segmentation's %zu fragments do not make %zu frames",
                        fragments, frames);
    return MSA_OK;
}

msa_status SegFrames::view(SegView &out, std::vector<uint8_t> &buffer, size_t k, msa_error *err) const
{
    out.bits = form_.bits;
    out.first_bit = 0;
    if (coding_ == PLAIN) {
        const uint64_t bit = uint64_t(k) * form_.pixels() * uint64_t(form_.bits);
        out.bytes = bytes_.data() + bit / 8;
        out.first_bit = bit % 8;
        return MSA_OK;
    }
    if (coding_ == CODEC) {
        buffer.assign(bytes_.data() + start_[k], bytes_.data() + start_[k + 1]);
        MSA_TRY(decode_frame(buffer, codec_, err));
        out.bytes = buffer.data();
        return MSA_OK;
    }
    buffer.assign(size_t((form_.pixels() * uint64_t(form_.bits) + 7) / 8), 0);
    const uint8_t *const from = bytes_.data() + start_[k];
    const size_t size = start_[k + 1] - start_[k];
    const bool good = coding_ == RLE ? undo_rle(from, size, buffer, form_.bits == 16 ? 2 : 1)
                                     : undo_deflate(from, size, buffer);
    if (!good) return msa_fail(err, MSA_E_PARSE, "frame %zu of the segmentation is damaged", k + 1);
    out.bytes = buffer.data();
    return MSA_OK;
}

} // namespace dicom
