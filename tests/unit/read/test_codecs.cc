/* Frames out of codestreams: JPEG 2000 and HTJ2K by OpenJPEG, fragments, and what does not fit its header. */
#include "dicom/read/jpeg2000.h"
#include "dicom/read/series_impl.h"
#include "tests/tools/phantom.h"
#include "tests/unit/read/htj2k.h"
#include "tests/unit/read/pictures.h"

#include "dcmtk/dcmjpeg/djencode.h"
#include "dcmtk/dcmjpeg/djrplol.h"
#include "dcmtk/dcmjpeg/djrploss.h"

#include <openjpeg.h>

#include <cmath>
#include <cstring>
#include <functional>

namespace
{

const char *const J2K = "1.2.840.10008.1.2.4.90", *const J2K_LOSSY = "1.2.840.10008.1.2.4.91",
                  *const HTJ2K = "1.2.840.10008.1.2.4.201", *const HTJ2K_RPCL = "1.2.840.10008.1.2.4.202",
                  *const HTJ2K_LOSSY = "1.2.840.10008.1.2.4.203", *const RAW = "1.2.840.10008.1.2.1.98";

struct Form {
    int rows, cols;
    unsigned bits;
    bool is_signed = false;
    int components = 1, tile = 0;
    bool jp2 = false;
};

OPJ_SIZE_T append(void *from, OPJ_SIZE_T n, void *user)
{
    static_cast<std::string *>(user)->append(static_cast<const char *>(from), n);
    return n;
}

OPJ_BOOL seek(OPJ_OFF_T, void *)
{
    return OPJ_FALSE;
}

OPJ_OFF_T skip_bytes(OPJ_OFF_T, void *)
{
    return -1;
}

std::string encode(const Form &form, const std::function<int(int, int)> &value)
{
    std::vector<opj_image_cmptparm_t> parts(size_t(form.components));
    for (opj_image_cmptparm_t &p : parts) {
        p.dx = p.dy = 1;
        p.w = OPJ_UINT32(form.cols);
        p.h = OPJ_UINT32(form.rows);
        p.prec = form.bits;
        p.sgnd = form.is_signed;
    }
    opj_image_t *image = opj_image_create(OPJ_UINT32(form.components), parts.data(), OPJ_CLRSPC_GRAY);
    image->x1 = OPJ_UINT32(form.cols);
    image->y1 = OPJ_UINT32(form.rows);
    for (int k = 0; k < form.components; k++)
        for (int i = 0; i < form.rows * form.cols; i++)
            image->comps[k].data[i] = value(i / form.cols, i % form.cols);
    opj_cparameters_t parameters;
    opj_set_default_encoder_parameters(&parameters);
    parameters.numresolution = std::min(form.rows, form.cols) < 8 ? 1 : 3;
    parameters.tcp_numlayers = 1;
    parameters.cp_disto_alloc = 1;
    if (form.tile > 0) {
        parameters.tile_size_on = OPJ_TRUE;
        parameters.cp_tdx = parameters.cp_tdy = form.tile;
        parameters.numresolution = 1;
    }
    std::string out;
    opj_codec_t *codec = opj_create_compress(OPJ_CODEC_J2K);
    opj_stream_t *stream = opj_stream_create(1 << 20, OPJ_FALSE);
    opj_stream_set_user_data(stream, &out, nullptr);
    opj_stream_set_write_function(stream, append);
    opj_stream_set_seek_function(stream, seek);
    opj_stream_set_skip_function(stream, skip_bytes);
    assert_true(opj_setup_encoder(codec, &parameters, image) && opj_start_compress(codec, image, stream) &&
                opj_encode(codec, stream) && opj_end_compress(codec, stream));
    opj_stream_destroy(stream);
    opj_destroy_codec(codec);
    opj_image_destroy(image);
    return out;
}

msa_status decode(const std::string &stream, int rows, int cols, unsigned bits_max, std::vector<int32_t> &to,
                  dicom::CodestreamForm &form, msa_error &err)
{
    err = MSA_ERROR_INIT;
    return dicom::decode_jpeg2000(to, form, std::vector<uint8_t>(stream.begin(), stream.end()), rows, cols,
                                  bits_max, &err);
}

void jpeg_2000_is_exact(void **)
{
    for (const Form &form : {Form{17, 23, 12}, Form{17, 23, 16}, Form{5, 3, 16, true}, Form{64, 48, 8},
                             Form{1, 1, 12}, Form{40, 33, 12, true, 1, 16}}) {
        const int offset = form.is_signed ? 1 << (form.bits - 1) : 0, span = 1 << form.bits;
        const auto value = [&](int r, int c) { return (r * 7919 + c * 104729) % span - offset; };
        std::vector<int32_t> got;
        dicom::CodestreamForm said;
        msa_error err;
        if (decode(encode(form, value), form.rows, form.cols, 16, got, said, err) != MSA_OK)
            fail_msg("%s", err.what);
        assert_int_equal(said.bits, form.bits);
        assert_int_equal(said.is_signed, form.is_signed);
        for (int i = 0; i < form.rows * form.cols; i++)
            assert_int_equal(got[size_t(i)], value(i / form.cols, i % form.cols));
    }
}

void high_throughput(void **)
{
    const struct {
        const uint8_t *data;
        size_t size;
        int tolerance;
    } table[] = {{htj2k::lossless, sizeof htj2k::lossless, 0}, {htj2k::lossy, sizeof htj2k::lossy, 16}};
    for (const auto &row : table) {
        std::vector<int32_t> got;
        dicom::CodestreamForm form;
        msa_error err;
        const std::string stream(reinterpret_cast<const char *>(row.data), row.size);
        if (decode(stream, htj2k::rows, htj2k::cols, 16, got, form, err) != MSA_OK) fail_msg("%s", err.what);
        assert_int_equal(form.bits, 12);
        for (int i = 0; i < htj2k::rows * htj2k::cols; i++) {
            const int want = htj2k::pixel(i / htj2k::cols, i % htj2k::cols);
            if (std::abs(got[size_t(i)] - want) > row.tolerance)
                fail_msg("pixel %d: wanted %d, got %d", i, want, got[size_t(i)]);
        }
    }
}

/* A JP2 file where a bare codestream is due. */
std::string boxed(const std::string &stream)
{
    const auto box = [](const char *type, const std::string &value) {
        return bytes::u32(uint32_t(value.size() + 8), true) + type + value;
    };
    return box("jP  ", "\r\n\x87\n") + box("ftyp", "jp2 ....jp2 ") + box("jp2c", stream);
}

void what_does_not_fit_is_said(void **)
{
    const auto value = [](int r, int c) { return (r * 31 + c * 17) % 200; };
    const std::string good = encode({17, 23, 12}, value);
    std::vector<int32_t> got;
    dicom::CodestreamForm form;
    msa_error err;
    const struct {
        std::string stream;
        int rows, cols;
        unsigned bits;
        msa_status status;
        const char *says;
    } table[] = {
        {good, 17, 23, 16, MSA_OK, ""},
        {boxed(good), 17, 23, 16, MSA_OK, ""},
        {good + std::string(1, '\0'), 17, 23, 16, MSA_OK, ""},
        {good, 17, 22, 16, MSA_E_PARSE, "17 rows of 23 columns, its header says 17 of 22"},
        {good, 23, 17, 16, MSA_E_PARSE, "its header says 23 of 17"},
        {good, 17, 23, 8, MSA_E_UNSUPPORTED, "12 bits, its header says 8"},
        {encode({17, 23, 8, false, 3}, value), 17, 23, 16, MSA_E_UNSUPPORTED, "3 components"},
        {encode({70, 70, 8, false, 1, 1}, value), 70, 70, 16, MSA_E_UNSUPPORTED, "tiles"},
        {"", 17, 23, 16, MSA_E_PARSE, "not a JPEG 2000 codestream"},
        {"\xff\xd8\xff\xe0 a JPEG", 17, 23, 16, MSA_E_PARSE, "not a JPEG 2000 codestream"},
        {boxed("x"), 17, 23, 16, MSA_E_PARSE, "not a JPEG 2000 codestream"},
        {good.substr(0, 20), 17, 23, 16, MSA_E_PARSE, "truncated"},
        {good.substr(0, good.size() / 2), 17, 23, 16, MSA_E_PARSE, "truncated"},
        {good.substr(0, good.size() - 3), 17, 23, 16, MSA_E_PARSE, "truncated"},
    };
    for (const auto &row : table) {
        const msa_status status = decode(row.stream, row.rows, row.cols, row.bits, got, form, err);
        assert_int_equal(status, row.status);
        assert_says(err.what, row.says);
    }
}

/* Every cut and many changed bytes: a sentence or a picture, never a crash. */
void damage(void **)
{
    const std::string ours = encode({17, 23, 12}, [](int r, int c) { return (r * 31 + c * 17) % 4096; }),
                      theirs(reinterpret_cast<const char *>(htj2k::lossless), sizeof htj2k::lossless);
    for (const std::string &good : {ours, theirs}) {
        std::vector<int32_t> got;
        dicom::CodestreamForm form;
        msa_error err;
        for (size_t n = 0; n + 2 < good.size(); n++) /* the end of codestream (2 bytes) may be missing */
            if (decode(good.substr(0, n), 17, 23, 16, got, form, err) == MSA_OK)
                fail_msg("%zu of %zu bytes were enough", n, good.size());
        for (size_t at = 0; at < good.size(); at++)
            for (const int flip : {0x01, 0x80, 0xff}) {
                std::string bad = good;
                bad[at] = char(bad[at] ^ flip);
                const msa_status status = decode(bad, 17, 23, 16, got, form, err);
                if (status == MSA_OK) assert_int_equal(got.size(), 17 * 23);
                if (status != MSA_OK) assert_true(err.what[0] != '\0');
            }
    }
}

phantom::Options small(bool is_signed)
{
    phantom::Options o;
    o.rows = htj2k::rows;
    o.cols = htj2k::cols;
    o.slices = 3;
    o.is_signed = is_signed;
    return o;
}

/* Replaces the pixels of every file by what make() gives for their values (row, column). */
void recode(const std::string &dir,
            const std::function<void(const std::string &, const std::vector<int> &)> &make)
{
    for (const std::string &path : files_below(dir)) {
        std::vector<int> values;
        {
            DcmFileFormat file;
            const Uint16 *words = nullptr;
            unsigned long n = 0;
            Uint16 sign = 0;
            assert_true(file.loadFile(path.c_str()).good());
            DcmDataset &d = *file.getDataset();
            assert_true(d.findAndGetUint16(DCM_PixelRepresentation, sign).good());
            assert_true(d.findAndGetUint16Array(DCM_PixelData, words, &n).good());
            for (unsigned long i = 0; i < n; i++)
                values.push_back(sign ? int(Sint16(words[i])) : int(words[i]));
        }
        make(path, values);
    }
}

/* A series through the reader in each syntax; a frame in one fragment or in three; a codestream that calls
 * signed pixels unsigned, as some encoders write. */
void series_of_codestreams(void **)
{
    for (const char *syntax : {J2K, J2K_LOSSY, HTJ2K, HTJ2K_RPCL, HTJ2K_LOSSY})
        for (const bool is_signed : {false, true})
            for (const bool says_signed : {false, true})
                for (const bool pieces : {false, true}) {
                    if (says_signed && !is_signed) continue;
                    const TempDir dir;
                    const phantom::Options o = small(is_signed);
                    (void)phantom::write_series(o, dir.path());
                    const SeriesPtr plain = load_series(dir.path());
                    recode(dir.path(), [&](const std::string &path, const std::vector<int> &values) {
                        const std::string stream =
                            encode({o.rows, o.cols, 16, says_signed}, [&](int r, int c) {
                                const int v = values[size_t(r * o.cols + c)];
                                return says_signed || v >= 0 ? v : v + 65536;
                            });
                        const std::vector<std::string> three = {stream.substr(0, 10), stream.substr(10, 90),
                                                                stream.substr(100)};
                        encapsulate(path, syntax, pieces ? three : std::vector<std::string>{stream});
                    });
                    const SeriesPtr s = load_series(dir.path());
                    assert_true(s->voxels == plain->voxels);
                }
}

/* Real HTJ2K in a CT of 12 bits. */
void series_of_high_throughput(void **)
{
    const TempDir dir;
    (void)phantom::write_series(small(false), dir.path());
    recode(dir.path(), [&](const std::string &path, const std::vector<int> &) {
        encapsulate(path, HTJ2K,
                    {std::string(reinterpret_cast<const char *>(htj2k::lossless), sizeof htj2k::lossless)});
    });
    const SeriesPtr s = load_series(dir.path());
    for (size_t i = 0; i < s->voxels.size(); i++) {
        const int at = int(i % (htj2k::rows * htj2k::cols));
        assert_true(s->voxels[i] == float(htj2k::pixel(at / htj2k::cols, at % htj2k::cols) - 1024));
    }
}

void encapsulated_uncompressed(void **)
{
    const TempDir dir;
    (void)phantom::write_series(small(true), dir.path());
    const SeriesPtr plain = load_series(dir.path());
    const auto frame = [](const std::vector<int> &values) {
        std::string raw;
        for (const int v : values)
            raw += bytes::u16(uint16_t(v));
        return raw;
    };
    recode(dir.path(), [&](const std::string &path, const std::vector<int> &values) {
        encapsulate(path, RAW, {frame(values)});
    });
    assert_true(load_series(dir.path())->voxels == plain->voxels);
    encapsulate(files_below(dir.path())[0], RAW, {"much too short"});
    load_fails_with(dir.path(), MSA_E_PARSE, "a frame of the pixel data is too short");
}

/* Every lossy JPEG that DCMTK can write, near enough; 12 bits where the process has them. */
void lossy_jpeg(void **)
{
    DJEncoderRegistration::registerCodecs();
    for (const E_TransferSyntax xfer :
         {EXS_JPEGProcess2_4, EXS_JPEGProcess6_8, EXS_JPEGProcess10_12, EXS_JPEGProcess14}) {
        const TempDir dir;
        (void)phantom::write_series(small(false), dir.path());
        const SeriesPtr plain = load_series(dir.path());
        for (const std::string &path : files_below(dir.path())) {
            DcmFileFormat file;
            assert_true(file.loadFile(path.c_str()).good());
            const DJ_RPLossy lossy(100);
            const DJ_RPLossless lossless;
            const DcmRepresentationParameter *how = &lossy;
            if (xfer == EXS_JPEGProcess14) how = &lossless;
            assert_true(file.getDataset()->chooseRepresentation(xfer, how).good());
            assert_true(file.saveFile(path.c_str(), xfer).good());
        }
        const SeriesPtr s = load_series(dir.path());
        double worst = 0;
        for (size_t i = 0; i < s->voxels.size(); i++)
            worst = std::max(worst, double(std::fabs(s->voxels[i] - plain->voxels[i])));
        if (worst > (xfer == EXS_JPEGProcess14 ? 0 : 12)) fail_msg("syntax %d: off by %g", int(xfer), worst);
    }
}

/* RLE whose header lies about its segments: DCMTK must not see it. */
void rle_headers(void **)
{
    const TempDir dir;
    (void)phantom::write_series(small(false), dir.path());
    const std::string path = files_below(dir.path())[0];
    const auto header = [](uint32_t n, uint32_t a, uint32_t b) {
        return bytes::u32(n) + bytes::u32(a) + bytes::u32(b) + std::string(52, '\0');
    };
    const std::string body(900, '\x80');
    for (const std::string &bad :
         {header(3, 64, 100) + body, header(0, 0, 0) + body, header(2, 64, 5000) + body,
          header(2, 100, 64) + body, header(2, 10, 64) + body, std::string("short")}) {
        encapsulate(path, bytes::RLE, {bad});
        msa_error err = MSA_ERROR_INIT;
        assert_null(load_series(dir.path(), {}, &err).get());
        assert_says(err.what, "RLE");
    }
    encapsulate(path, bytes::RLE, {header(2, 64, 500) + body}); /* nothing but "no operation" */
    load_fails_with(dir.path(), MSA_E_PARSE, "the RLE pixel data ends before its image does");
}

/* What numpy and pydicom give for the files of the transfer-syntaxes folder. */
void real_codestreams(void **)
{
    const struct {
        const char *file;
        int rows;
        double mean, tolerance;
    } table[] = {
        {"transfer-syntaxes/CT_small.dcm", 128, -119.0739, 1e-3},
        {"transfer-syntaxes/MR_small.dcm", 64, 518.8813, 1e-3},
        {"transfer-syntaxes/MR_small_RLE.dcm", 64, 518.8813, 1e-3},
        {"transfer-syntaxes/MR_small_bigendian.dcm", 64, 518.8813, 1e-3},
        {"transfer-syntaxes/MR_small_expb.dcm", 64, 518.8813, 1e-3},
        {"transfer-syntaxes/MR_small_implicit.dcm", 64, 518.8813, 1e-3},
        {"transfer-syntaxes/MR_small_jp2klossless.dcm", 64, 518.8813, 1e-3},
        {"transfer-syntaxes/MR_small_jpeg_ls_lossless.dcm", 64, 518.8813, 1e-3},
        {"transfer-syntaxes/MR_small_padded.dcm", 64, 518.8813, 1e-3},
        {"transfer-syntaxes/693_J2KR.dcm", 512, -610.0564, 1e-3},
        {"transfer-syntaxes/693_J2KI.dcm", 512, -1034.1527, 1e-3},
        {"transfer-syntaxes/MR2_J2KR.dcm", 1024, 283.3740, 1e-3},
    };
    std::vector<float> same;
    for (const auto &row : table) {
        const std::string path = shared_data(row.file);
        if (path.empty()) skip_test();
        const char *const list = path.c_str();
        dicom_series *raw = nullptr;
        msa_error err = MSA_ERROR_INIT;
        if (dicom_series_load(&raw, &list, 1, nullptr, &err) != MSA_OK)
            fail_msg("%s: %s", row.file, err.what);
        const SeriesPtr s(raw);
        assert_int_equal(s->info.rows, row.rows);
        double sum = 0;
        for (const float v : s->voxels)
            sum += double(v);
        const double mean = sum / double(s->voxels.size());
        if (std::fabs(mean - row.mean) > row.tolerance) fail_msg("%s: mean %g", row.file, mean);
        if (std::strstr(row.file, "MR_small") == nullptr) continue;
        if (same.empty()) same = s->voxels; /* one picture in eight encodings */
        assert_true(s->voxels == same);
    }
}

} // namespace

int main()
{
    const CMUnitTest tests[] = {cmocka_unit_test(jpeg_2000_is_exact),
                                cmocka_unit_test(high_throughput),
                                cmocka_unit_test(what_does_not_fit_is_said),
                                cmocka_unit_test(damage),
                                cmocka_unit_test(series_of_codestreams),
                                cmocka_unit_test(series_of_high_throughput),
                                cmocka_unit_test(encapsulated_uncompressed),
                                cmocka_unit_test(lossy_jpeg),
                                cmocka_unit_test(rle_headers),
                                cmocka_unit_test(real_codestreams)};
    return cmocka_run_group_tests(tests, start_dicom, nullptr);
}
