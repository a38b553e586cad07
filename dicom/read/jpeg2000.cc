#include "dicom/read/jpeg2000.h"

#include <openjpeg.h>

#include <algorithm>
#include <cstring>
#include <memory>

namespace dicom
{
namespace
{

constexpr uint64_t TILES_MAX = 4096; /* OpenJPEG keeps kilobytes for each that is announced */
constexpr uint16_t SOC = 0xff4f, SIZ = 0xff51, SOT = 0xff90, EOC = 0xffd9;

struct Bytes { /* borrowed; big endian, as everything in a codestream */
    const uint8_t *data;
    size_t size;
    bool has(size_t at, size_t n) const
    {
        return at <= size && n <= size - at;
    }
    uint32_t u16(size_t at) const
    {
        return uint32_t(data[at]) << 8 | data[at + 1];
    }
    uint32_t u32(size_t at) const
    {
        return u16(at) << 16 | u16(at + 2);
    }
};

/* A JP2 file is boxes; the codestream is the one called jp2c. Bare codestreams pass as they are. */
bool find_codestream(Bytes &s)
{
    if (s.has(0, 4) && s.u16(0) == SOC && s.u16(2) == SIZ) return true;
    if (!s.has(0, 8) || s.u32(0) != 12 || s.u32(4) != 0x6a502020) return false;
    for (size_t at = 0; s.has(at, 8);) {
        uint64_t length = s.u32(at), head = 8;
        if (length == 1 && s.has(at, 16)) {
            length = uint64_t(s.u32(at + 8)) << 32 | s.u32(at + 12);
            head = 16;
        }
        if (length == 0) length = s.size - at;
        if (length < head || !s.has(at, head)) return false;
        if (s.u32(at + 4) == 0x6a703263) {
            const size_t start = at + size_t(head);
            s = {s.data + start, size_t(std::min<uint64_t>(length - head, s.size - start))};
            return s.has(0, 4) && s.u16(0) == SOC && s.u16(2) == SIZ;
        }
        if (length > s.size - at) return false;
        at += size_t(length);
    }
    return false;
}

/* Annex A.5.1: the first marker segment tells every size. */
msa_status check_sizes(CodestreamForm &form, const Bytes &s, int32_t rows, int32_t cols, unsigned bits_max,
                       msa_error *err)
{
    if (!s.has(0, 45)) return msa_fail(err, MSA_E_PARSE, "the JPEG 2000 codestream is truncated");
    const uint64_t x1 = s.u32(8), y1 = s.u32(12), x0 = s.u32(16), y0 = s.u32(20), tile_w = s.u32(24),
                   tile_h = s.u32(28), tile_x = s.u32(32), tile_y = s.u32(36);
    if (x1 <= x0 || y1 <= y0 || tile_w == 0 || tile_h == 0 || tile_x > x0 || tile_y > y0 ||
        tile_x + tile_w <= x0 || tile_y + tile_h <= y0)
        return msa_fail(err, MSA_E_PARSE, "the JPEG 2000 codestream contradicts itself in its sizes");
    if (s.u16(40) != 1)
        return msa_fail(err, MSA_E_UNSUPPORTED, "the compressed image has %u components; only grey is taken",
                        unsigned(s.u16(40)));
    if (x1 - x0 != uint64_t(cols) || y1 - y0 != uint64_t(rows))
        return msa_fail(err, MSA_E_PARSE,
                        "the compressed image has %llu rows of %llu columns, its header says %d of %d",
                        (unsigned long long)(y1 - y0), (unsigned long long)(x1 - x0), rows, cols);
    if (s.data[43] != 1 || s.data[44] != 1)
        return msa_fail(err, MSA_E_UNSUPPORTED, "the compressed image is subsampled");
    const uint64_t across = (x1 - tile_x + tile_w - 1) / tile_w, down = (y1 - tile_y + tile_h - 1) / tile_h;
    if (across * down > TILES_MAX)
        return msa_fail(err, MSA_E_UNSUPPORTED, "the compressed image is cut into more than %llu tiles",
                        (unsigned long long)TILES_MAX);
    form.bits = (s.data[42] & 0x7fu) + 1;
    form.is_signed = (s.data[42] & 0x80u) != 0;
    if (form.bits > bits_max)
        return msa_fail(err, MSA_E_UNSUPPORTED, "the compressed image has %u bits, its header says %u",
                        form.bits, bits_max);
    return MSA_OK;
}

/* Are all the bytes there that the parts of the tiles (SOT, A.4.2) announce? OpenJPEG would fill in what is
 * not. The last part may have no length, and the end of codestream may be missing. */
bool is_whole(const Bytes &s)
{
    size_t at = 2;
    while (s.has(at, 4) && s.u16(at) != SOT) /* main header */
        at += 2 + s.u16(at + 2);
    if (!s.has(at, 4)) return false;
    while (s.has(at, 12) && s.u16(at) == SOT) {
        const uint32_t length = s.u32(at + 6);
        if (length == 0) return s.has(at, 14); /* to the end */
        if (length < 14 || !s.has(at, length)) return false;
        at += length;
    }
    return !s.has(at, 2) || s.u16(at) == EOC;
}

/* OpenJPEG's view of memory. */
struct Reader {
    Bytes bytes;
    size_t at = 0;
};

OPJ_SIZE_T read_some(void *to, OPJ_SIZE_T n, void *user)
{
    Reader &r = *static_cast<Reader *>(user);
    const size_t left = r.bytes.size - r.at;
    if (left == 0) return OPJ_SIZE_T(-1);
    const size_t take = std::min<size_t>(n, left);
    std::memcpy(to, r.bytes.data + r.at, take);
    r.at += take;
    return take;
}

OPJ_OFF_T skip_some(OPJ_OFF_T n, void *user)
{
    Reader &r = *static_cast<Reader *>(user);
    if (n < 0) return -1;
    const size_t take = size_t(std::min<uint64_t>(uint64_t(n), r.bytes.size - r.at));
    r.at += take;
    return take > 0 || n == 0 ? OPJ_OFF_T(take) : -1;
}

OPJ_BOOL seek_to(OPJ_OFF_T n, void *user)
{
    Reader &r = *static_cast<Reader *>(user);
    if (n < 0 || uint64_t(n) > r.bytes.size) return OPJ_FALSE;
    r.at = size_t(n);
    return OPJ_TRUE;
}

void say_nothing(const char *, void *) {}

/* Codec and stream are both `void *` to a compiler: a deleter for each. */
struct FreeCodec {
    void operator()(opj_codec_t *c) const
    {
        opj_destroy_codec(c);
    }
};
struct FreeStream {
    void operator()(opj_stream_t *s) const
    {
        opj_stream_destroy(s);
    }
};
struct FreeImage {
    void operator()(opj_image_t *i) const
    {
        opj_image_destroy(i);
    }
};

std::unique_ptr<opj_stream_t, FreeStream> stream_of(Reader &reader)
{
    std::unique_ptr<opj_stream_t, FreeStream> stream(opj_stream_create(1 << 16, OPJ_TRUE));
    if (!stream) return stream;
    opj_stream_set_user_data(stream.get(), &reader, nullptr);
    opj_stream_set_user_data_length(stream.get(), reader.bytes.size);
    opj_stream_set_read_function(stream.get(), read_some);
    opj_stream_set_skip_function(stream.get(), skip_some);
    opj_stream_set_seek_function(stream.get(), seek_to);
    return stream;
}

msa_status decode(std::vector<int32_t> &to, const Bytes &s, int32_t rows, int32_t cols, msa_error *err)
{
    Reader reader{s};
    const std::unique_ptr<opj_codec_t, FreeCodec> codec(opj_create_decompress(OPJ_CODEC_J2K));
    const std::unique_ptr<opj_stream_t, FreeStream> stream = stream_of(reader);
    if (!codec || !stream) return msa_fail(err, MSA_E_NOMEM, "out of memory for the JPEG 2000 decoder");
    (void)opj_set_info_handler(codec.get(), say_nothing, nullptr);
    (void)opj_set_warning_handler(codec.get(), say_nothing, nullptr);
    (void)opj_set_error_handler(codec.get(), say_nothing, nullptr);
    opj_dparameters_t parameters;
    opj_set_default_decoder_parameters(&parameters);
    opj_image_t *raw = nullptr;
    bool good = opj_setup_decoder(codec.get(), &parameters) != OPJ_FALSE &&
                opj_decoder_set_strict_mode(codec.get(), OPJ_TRUE) != OPJ_FALSE &&
                opj_read_header(stream.get(), codec.get(), &raw) != OPJ_FALSE;
    const std::unique_ptr<opj_image_t, FreeImage> image(raw);
    good = good && image && opj_decode(codec.get(), stream.get(), image.get()) != OPJ_FALSE;
    if (!good) return msa_fail(err, MSA_E_PARSE, "the JPEG 2000 codestream is damaged");
    const opj_image_comp_t *c = image->comps;
    if (image->numcomps != 1 || c == nullptr || c->data == nullptr || c->w != uint32_t(cols) ||
        c->h != uint32_t(rows))
        return msa_fail(err, MSA_E_PARSE, "the JPEG 2000 codestream does not give the image it announces");
    to.assign(c->data, c->data + size_t(rows) * size_t(cols));
    return MSA_OK;
}

} // namespace

msa_status decode_jpeg2000(std::vector<int32_t> &to, CodestreamForm &form, const std::vector<uint8_t> &stream,
                           int32_t rows, int32_t cols, unsigned bits_max, msa_error *err)
{
    Bytes s{stream.data(), stream.size()};
    if (!find_codestream(s))
        return msa_fail(err, MSA_E_PARSE, "the compressed image is not a JPEG 2000 codestream");
    MSA_TRY(check_sizes(form, s, rows, cols, bits_max, err));
    if (!is_whole(s)) return msa_fail(err, MSA_E_PARSE, "the JPEG 2000 codestream is truncated");
    return decode(to, s, rows, cols, err);
}

} // namespace dicom
