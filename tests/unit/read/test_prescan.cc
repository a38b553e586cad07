/* The pre-scan: what it lets through, what it refuses and in which words. DCMTK must never see the hostile
 * half. */
#include "dicom/read/prescan.h"
#include "dicom/read/source.h"
#include "tests/unit/read/bytes.h"
#include "tests/unit/read/support.h"

#include "dicom/header.h"

#include <cstring>
#include <zlib.h>

using namespace bytes;

namespace
{

struct Case {
    const char *name;
    std::string file;
    msa_status status;
    const char *says; /* part of the sentence, or "" */
};

std::string nested(int levels, bool explicit_vr) /* undefined lengths, as the attack has it */
{
    std::string s;
    for (int i = 0; i < levels; i++)
        s += (explicit_vr ? head(0x40, 0xa730, "SQ", UNDEFINED) : implicit_head(0x40, 0xa730, UNDEFINED)) +
             item(UNDEFINED);
    for (int i = 0; i < levels; i++)
        s += item_end() + sequence_end();
    return s;
}

std::string nested_defined(int levels, uint16_t group, uint16_t number, bool explicit_vr)
{
    std::string s;
    for (int i = 0; i < levels; i++) {
        s = item(uint32_t(s.size())) + s;
        s = (explicit_vr ? head(group, number, "SQ", uint32_t(s.size()))
                         : implicit_head(group, number, uint32_t(s.size()))) +
            s;
    }
    return s;
}

std::string nested_un(int levels) /* UN of undefined length switches to implicit VR below */
{
    std::string s = head(0x40, 0xa730, "UN", UNDEFINED) + item(UNDEFINED) + nested(levels - 1, false);
    return s + item_end() + sequence_end();
}

std::string deflated(const std::string &dataset)
{
    z_stream z{};
    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, -MAX_WBITS, 9, Z_DEFAULT_STRATEGY), Z_OK);
    std::string out(deflateBound(&z, uLong(dataset.size())), '\0');
    z.next_in = reinterpret_cast<Bytef *>(const_cast<char *>(dataset.data()));
    z.avail_in = uInt(dataset.size());
    z.next_out = reinterpret_cast<Bytef *>(&out[0]);
    z.avail_out = uInt(out.size());
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    out.resize(z.total_out);
    (void)deflateEnd(&z);
    return out;
}

std::string many_elements()
{
    std::string s;
    const std::string one = element(8, 0x18, "UI", "");
    s.reserve(one.size() * 1000002);
    for (int i = 0; i < 1000002; i++)
        s += one;
    return s;
}

std::string replace(std::string s, const std::string &from, const std::string &to)
{
    const size_t at = s.find(from);
    assert_true(at != std::string::npos);
    return s.replace(at, from.size(), to);
}

std::string icon() /* pixel data inside an item is not the image's */
{
    const std::string inner = element(0x7fe0, 0x10, "OB", "icon");
    return head(0x88, 0x200, "SQ", UNDEFINED) + item(uint32_t(inner.size())) + inner + sequence_end();
}

std::string fragment(uint32_t stated, const std::string &data)
{
    return item(stated) + data;
}

std::vector<Case> cases()
{
    const std::string ct = ct_head() + ct_pixels();
    const std::string good = part10(EXPLICIT_LE, ct);
    const std::string rle_head = ct_head() + head(0x7fe0, 0x10, "OB", UNDEFINED) + item(0);
    return {
        {"a plain CT", good, MSA_OK, ""},
        {"junk after uncompressed pixels", good + std::string(77, '\xee'), MSA_OK, ""},
        {"no file meta information", ct, MSA_OK, ""},
        {"implicit, no meta", implicit(8, 0x16, "1.2") + implicit(0x10, 0x10, "x"), MSA_OK, ""},
        {"icon", part10(EXPLICIT_LE, icon() + ct), MSA_OK, ""},
        {"32 levels", part10(EXPLICIT_LE, nested(32, true)), MSA_OK, ""},
        {"32 levels of defined length", part10(IMPLICIT_LE, nested_defined(32, 0x40, 0xa730, false)), MSA_OK,
         ""},
        {"deflated", part10(DEFLATED, deflated(ct)), MSA_OK, ""},
        {"fragments", part10(RLE, rle_head + fragment(4, "abcd") + sequence_end()), MSA_OK, ""},
        {"wrong meta group length", replace(good, u32(28), u32(999999)), MSA_OK, ""},

        {"empty", "", MSA_E_PARSE, "not a DICOM file"},
        {"one byte", "D", MSA_E_PARSE, "not a DICOM file"},
        {"text", "This is a letter, not an image.\n", MSA_E_PARSE, "not a DICOM file"},
        {"zeros", std::string(4096, '\0'), MSA_E_PARSE, "not a DICOM file"},
        {"only a preamble", std::string(128, '\0') + "DICM", MSA_E_PARSE, "not a DICOM file"},
        {"33 levels", part10(EXPLICIT_LE, nested(33, true)), MSA_E_UNSUPPORTED, "nested deeper"},
        {"20,000 levels, explicit", part10(EXPLICIT_LE, nested(20000, true)), MSA_E_UNSUPPORTED,
         "nested deeper"},
        {"20,000 levels, implicit", part10(IMPLICIT_LE, nested(20000, false)), MSA_E_UNSUPPORTED,
         "nested deeper"},
        {"20,000 levels, no meta", element(8, 0x60, "CS", "CT") + nested(20000, true), MSA_E_UNSUPPORTED,
         "nested"},
        {"2,000 levels below UN", part10(EXPLICIT_LE, nested_un(2000)), MSA_E_UNSUPPORTED, "nested deeper"},
        {"2,000 levels of defined length", part10(IMPLICIT_LE, nested_defined(2000, 0x40, 0xa730, false)),
         MSA_E_UNSUPPORTED, "nested deeper"},
        {"2,000 private levels", part10(IMPLICIT_LE, nested_defined(2000, 0x29, 0x1010, false)),
         MSA_E_UNSUPPORTED, "nested deeper"},
        {"20,000 levels, deflated", part10(DEFLATED, deflated(nested(20000, true))), MSA_E_UNSUPPORTED,
         "nested"},
        {"inflates to 1 GiB", part10(DEFLATED, deflated(ct_head() + head(0x7fe0, 0x10, "OB", 0x41000000u))),
         MSA_E_PARSE, "inflates beyond"},
        {"deflated, damaged", part10(DEFLATED, "\xff\xff\xff\xff\xff\xff"), MSA_E_PARSE, "deflated"},
        {"4 GB value", part10(EXPLICIT_LE, head(0x10, 0x4000, "UT", 0xfffffffeu) + "x"), MSA_E_PARSE,
         "truncated"},
        {"4 GB pixels", part10(EXPLICIT_LE, ct_head() + head(0x7fe0, 0x10, "OW", 0xfffffffeu)), MSA_E_PARSE,
         "truncated"},
        {"4 GB meta value", std::string(128, '\0') + "DICM" + head(2, 1, "OB", 0xfffffff0u), MSA_E_PARSE,
         "truncated"},
        {"17 MiB that are not pixels",
         part10(EXPLICIT_LE, element(0x10, 0x4000, "UT", std::string(17 << 20, 'x'))), MSA_E_UNSUPPORTED,
         "longer than 16 MiB"},
        {"a million elements", part10(EXPLICIT_LE, many_elements()), MSA_E_UNSUPPORTED,
         "more than 1000000 elements"},
        {"item longer than its sequence",
         part10(EXPLICIT_LE, head(0x40, 0xa730, "SQ", 8) + item(4000) + std::string(5000, '\0')), MSA_E_PARSE,
         "truncated"},
        {"element longer than its item",
         part10(EXPLICIT_LE,
                head(0x40, 0xa730, "SQ", 26) + item(18) + head(8, 0x18, "UI", 300) + std::string(400, '1')),
         MSA_E_PARSE, ""},
        {"element header over the end of its item",
         part10(EXPLICIT_LE, head(0x40, 0xa730, "SQ", 12) + item(4) + element(8, 0x18, "UI", "") + ct),
         MSA_E_PARSE, "runs over"},
        {"an element where an item is due",
         part10(EXPLICIT_LE, head(0x40, 0xa730, "SQ", UNDEFINED) + element(8, 0x60, "CS", "CT")), MSA_E_PARSE,
         "where an item is due"},
        {"a stray delimiter", part10(EXPLICIT_LE, sequence_end() + ct), MSA_E_PARSE, "delimiter"},
        {"sequence without its end",
         part10(EXPLICIT_LE, head(0x40, 0xa730, "SQ", UNDEFINED) + item(UNDEFINED)), MSA_E_PARSE,
         "truncated"},
        {"text of undefined length", part10(EXPLICIT_LE, head(0x10, 0x4000, "UT", UNDEFINED)), MSA_E_PARSE,
         "no length and is no sequence"},
        {"implicit, but called explicit",
         part10(EXPLICIT_LE, implicit(8, 0x16, "1.2") + implicit(8, 0x18, "1.2")), MSA_E_PARSE,
         "not encoded as its transfer syntax says"},
        {"unknown transfer syntax", part10("1.2.3.4.5", ct), MSA_E_UNSUPPORTED, "1.2.3.4.5"},
        {"transfer syntax of control characters", part10("1.2\n\x1b[31m", ct), MSA_E_UNSUPPORTED,
         "not known"},
        {"fragments though uncompressed", part10(EXPLICIT_LE, rle_head + sequence_end()), MSA_E_PARSE,
         "uncompressed"},
        {"no fragments though compressed", part10(RLE, ct), MSA_E_PARSE, "fragments"},
        {"fragment longer than the file", part10(RLE, rle_head + fragment(0x7ffffff0u, "abcd")), MSA_E_PARSE,
         "truncated"},
        {"fragments without an end", part10(RLE, rle_head + fragment(4, "abcd")), MSA_E_PARSE, "truncated"},
        {"fragment of undefined length", part10(RLE, rle_head + fragment(UNDEFINED, "abcd")), MSA_E_PARSE,
         "fragment is due"},
        {"pixel data twice", part10(RLE, rle_head + sequence_end() + rle_head + sequence_end()), MSA_E_PARSE,
         "two"},
    };
}

void run(const Case &c, const TempDir &dir)
{
    const std::string path = dir / "case.dcm";
    write_bytes(path, c.file);
    dicom::Prescan scan;
    msa_error err = MSA_ERROR_INIT;
    const msa_status status = dicom::prescan(scan, path.c_str(), &err);
    if (status != c.status || (c.status != MSA_OK && std::string(err.what).find(c.says) == std::string::npos))
        fail_msg("%s: wanted %s '%s', got %s '%s'", c.name, msa_status_name(c.status), c.says,
                 msa_status_name(status), err.what);
    /* and the whole reader comes to an end on it, with an error whenever the pre-scan has one */
    dicom_header header;
    msa_error later = MSA_ERROR_INIT;
    const msa_status read = dicom_header_read(&header, path.c_str(), &later);
    if (c.status != MSA_OK && read != c.status) fail_msg("%s: the header reader went on", c.name);
}

void table(void **)
{
    const TempDir dir;
    for (const Case &c : cases())
        run(c, dir);
}

/* Cut anywhere, a file is either refused or (cut in what follows the pixels) read. */
void every_truncation(void **)
{
    const TempDir dir;
    const std::string whole = part10(EXPLICIT_LE, icon() + ct_head() + ct_pixels()), path = dir / "cut.dcm";
    for (size_t n = 0; n < whole.size(); n++) {
        write_bytes(path, whole.substr(0, n));
        dicom_header header;
        msa_error err = MSA_ERROR_INIT;
        if (dicom_header_read(&header, path.c_str(), &err) == MSA_OK)
            fail_msg("cut at %zu of %zu it was read", n, whole.size());
        assert_int_not_equal(err.what[0], 0);
    }
}

/* Any single byte replaced: an error or a header, and no crash (run with sanitizers, this is the point). */
void every_byte_damaged(void **)
{
    const TempDir dir;
    const std::string whole = part10(EXPLICIT_LE, icon() + ct_head() + ct_pixels()), path = dir / "bent.dcm";
    int refused = 0;
    for (size_t n = 132; n < whole.size(); n++)
        for (const char with : {'\0', '\x7f', '\xff'}) {
            std::string bent = whole;
            bent[n] = with;
            write_bytes(path, bent);
            dicom_header header;
            msa_error err = MSA_ERROR_INIT;
            const msa_status status = dicom_header_read(&header, path.c_str(), &err);
            refused += status != MSA_OK;
            assert_int_not_equal(status, MSA_E_INTERNAL);
        }
    assert_true(refused > 100);
}

/* A bomb ends at the limit, whatever its elements say. */
void inflating_is_limited(void **)
{
    const TempDir dir;
    const std::string path = dir / "bomb";
    write_bytes(path, deflated(std::string(4 << 20, '\0')));
    assert_true(std::filesystem::file_size(path) < 8192);
    const std::unique_ptr<dicom::Source> file = dicom::open_file_source(path.c_str());
    const std::unique_ptr<dicom::Source> in = dicom::open_inflate_source(*file, 1 << 20);
    assert_true(in->skip(1 << 20));
    assert_false(in->failed());
    assert_false(in->skip(1));
    assert_true(in->failed());
}

void what_it_finds(void **)
{
    const TempDir dir;
    const std::string path = dir / "x.dcm", file = part10(EXPLICIT_LE, icon() + ct_head() + ct_pixels());
    write_bytes(path, file);
    dicom::Prescan scan;
    assert_int_equal(dicom::prescan(scan, path.c_str(), nullptr), MSA_OK);
    assert_true(scan.has_pixel_data);
    assert_true(scan.pixel_words);
    assert_int_equal(scan.pixel_length, 12);
    assert_int_equal(scan.pixel_offset, file.size() - 12);
    assert_int_equal(scan.dataset_offset, file.find(head(0x88, 0x200, "SQ", UNDEFINED)));
    assert_string_equal(scan.transfer_syntax_uid, EXPLICIT_LE);

    msa_error err = MSA_ERROR_INIT;
    assert_int_equal(dicom::prescan(scan, (dir / "absent").c_str(), &err), MSA_E_NOT_FOUND);
    err = MSA_ERROR_INIT;
    assert_int_equal(dicom::prescan(scan, dir.path().c_str(), &err), MSA_E_IO);
}

} // namespace

int main()
{
    const CMUnitTest tests[] = {cmocka_unit_test(table), cmocka_unit_test(every_truncation),
                                cmocka_unit_test(every_byte_damaged), cmocka_unit_test(inflating_is_limited),
                                cmocka_unit_test(what_it_finds)};
    return cmocka_run_group_tests(tests, start_dicom, nullptr);
}
