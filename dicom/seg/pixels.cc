/* Pixel Data, frame by frame, so that memory does not grow with their number. */
#include "dicom/seg/seg_impl.h"

#include <algorithm>

#include "dicom/seg/pack.h"

using dicom::seg::output;
using dicom::seg::planned_frame;
using dicom::seg::planned_segment;
using dicom::seg::source;

namespace
{

constexpr uint32_t PIXEL_DATA = 0x7fe00010, UNDEFINED = 0xffffffff;

const uint8_t *slice_of(const uint8_t *volume, const source &from, int32_t slice)
{
    return volume + static_cast<size_t>(slice) * from.pixels();
}

/* Bits of all frames one after the other; a frame that ends within a byte leaves it to the next. */
void write_bits(output &out, const source &from)
{
    const size_t pixels = from.pixels();
    std::vector<uint8_t> buffer(pixels / 8 + 16);
    uint64_t at = 0; /* in the buffer: below 8 when a frame begins */
    for (const planned_frame &f : from.file.frames) {
        const uint8_t *mask = slice_of(from.file.segments[f.segment].in->mask, from, f.slice);
        std::fill(buffer.begin() + 1, buffer.end(), uint8_t(0));
        if (at == 0) buffer[0] = 0;
        if (f.range.end > f.range.first)
            (void)dicom_pack_append(buffer.data(), at + f.range.first, mask + f.range.first,
                                    f.range.end - f.range.first);
        at += pixels;
        out.write(buffer.data(), at / 8);
        if (at % 8 != 0) buffer[0] = buffer[at / 8];
        at %= 8;
    }
    if (at > 0) out.write(buffer.data(), 1);
}

/* A frame of 8 or 16 bit. */
using plane = std::vector<uint8_t>;

void draw_fractions(plane &to, const source &from, const planned_frame &f)
{
    const planned_segment &s = from.file.segments[f.segment];
    const uint8_t *mask = slice_of(s.in->mask, from, f.slice);
    const uint8_t *given = s.in->probability ? slice_of(s.in->probability, from, f.slice) : nullptr;
    if (f.range.end == 0) { /* an empty frame is empty */
        std::fill(to.begin(), to.end(), uint8_t(0));
        return;
    }
    for (size_t p = 0; p < to.size(); p++)
        to[p] = given ? given[p] : static_cast<uint8_t>(mask[p] ? 255 : 0);
}

void draw_labels(plane &to, const source &from, const planned_frame &f)
{
    const size_t pixels = from.pixels();
    const bool wide = to.size() > pixels;
    std::fill(to.begin(), to.end(), uint8_t(0));
    for (size_t k = 0; k < from.file.segments.size(); k++) {
        const planned_segment &s = from.file.segments[k];
        if (!std::binary_search(s.slices.begin(), s.slices.end(), f.slice)) continue;
        const uint8_t *mask = slice_of(s.in->mask, from, f.slice);
        const uint8_t low = static_cast<uint8_t>(k + 1), high = static_cast<uint8_t>((k + 1) >> 8);
        for (size_t p = 0; p < pixels; p++) {
            if (!mask[p]) continue;
            to[wide ? 2 * p : p] = low;
            if (wide) to[2 * p + 1] = high;
        }
    }
}

/* PackBits of one row of one byte plane (PS3.5 G.3.1): runs never reach into the next row. */
void append_packbits(std::string &to, const uint8_t *row, size_t n, size_t step)
{
    for (size_t i = 0; i < n;) {
        size_t run = 1;
        while (i + run < n && run < 128 && row[(i + run) * step] == row[i * step])
            run++;
        if (run >= 3 || i + run == n) { /* two equal bytes within a literal cost as much as a run of two */
            if (run > 1) {
                to += static_cast<char>(257 - run);
                to += static_cast<char>(row[i * step]);
                i += run;
                continue;
            }
        }
        size_t end = i;
        while (end < n && end - i < 128 &&
               !(end + 2 < n && row[end * step] == row[(end + 1) * step] &&
                 row[end * step] == row[(end + 2) * step]))
            end++;
        to += static_cast<char>(end - i - 1);
        for (; i < end; i++)
            to += static_cast<char>(row[i * step]);
    }
}

/* PS3.5 G.5: the number and offsets of the byte planes, the most significant first. */
void encode_rle(std::string &to, const plane &frame, const source &from)
{
    const size_t cols = static_cast<size_t>(from.series.info.cols), bytes = frame.size() / from.pixels();
    std::string body;
    to.clear();
    dicom::seg::encode::number32(to, static_cast<uint32_t>(bytes));
    for (size_t k = 0; k < bytes; k++) {
        dicom::seg::encode::number32(to, static_cast<uint32_t>(64 + body.size()));
        for (size_t row = 0; row < frame.size(); row += cols * bytes)
            append_packbits(body, frame.data() + row + (bytes - 1 - k), cols, bytes);
        if (body.size() % 2 != 0) body += '\0';
    }
    to.resize(64, '\0');
    to += body;
}

void write_planes(output &out, const source &from)
{
    const bool rle = from.options.form.compression == DICOM_SEG_RLE;
    plane frame(from.pixels() * static_cast<size_t>(from.bits() / 8));
    std::string encoded, head;
    if (rle) {
        dicom::seg::encode::item_head(head, 0); /* no offsets: they are known only at the end */
        out.write(head);
    }
    for (const planned_frame &f : from.file.frames) {
        if (from.options.form.format == DICOM_SEG_LABELMAP)
            draw_labels(frame, from, f);
        else
            draw_fractions(frame, from, f);
        if (!rle) {
            out.write(frame.data(), frame.size());
            continue;
        }
        encode_rle(encoded, frame, from);
        head.clear();
        dicom::seg::encode::item_head(head, static_cast<uint32_t>(encoded.size()));
        out.write(head);
        out.write(encoded);
    }
    if (rle) out.write(std::string("\xfe\xff\xdd\xe0\0\0\0\0", 8)); /* sequence delimitation item */
}

} // namespace

msa_status dicom::seg::write_pixels(output &out, const source &from, msa_error *err)
{
    const bool rle = from.options.form.compression == DICOM_SEG_RLE;
    const uint64_t bits =
        static_cast<uint64_t>(from.file.frames.size()) * from.pixels() * static_cast<uint64_t>(from.bits());
    const uint64_t size = dicom_pack_size(bits);
    std::string head;
    if (!rle && size >= 0xfffffffeu)
        return msa_fail(err, MSA_E_UNSUPPORTED, "the segmentation's pixel data exceed 4 GB");
    encode::long_head(head, PIXEL_DATA, from.bits() == 16 && !rle ? "OW" : "OB",
                      rle ? UNDEFINED : static_cast<uint32_t>(size));
    out.write(head);
    if (from.bits() == 1)
        write_bits(out, from);
    else
        write_planes(out, from);
    if (!rle && (bits + 7) / 8 < size) out.write("", 1);
    return MSA_OK;
}
