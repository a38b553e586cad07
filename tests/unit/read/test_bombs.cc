/* Files made to hurt (threats T3 to T5), by generators beside oracles: nesting, stated lengths of every value
 * representation, and sizes of pixel data that overflow. None costs more memory than its own size explains.
 */
#include "dicom/read/file.h"
#include "tests/unit/read/bytes.h"
#include "tests/unit/read/support.h"

#include "dicom/header.h"
#include "dicom/seg_check.h"

#include <cstring>
#include <random>
#include <sys/resource.h>

using namespace bytes;

namespace
{

__extension__ using uint128 = unsigned __int128;

const char *const SHORT_FORMS[] = {"AE", "AS", "AT", "CS", "DA", "DS", "DT", "FD", "FL", "IS", "LO",
                                   "LT", "PN", "SH", "SL", "SS", "ST", "TM", "UI", "UL", "US"};
const char *const LONG_FORMS[] = {"OB", "OD", "OF", "OL", "OV", "OW", "SQ",
                                  "SV", "UC", "UN", "UR", "UT", "UV"};

/* Tag, VR, two reserved bytes where the VR has them, a stated length. */
std::string stated(const char *vr, uint32_t length, bool long_form)
{
    const std::string tag = u16(0x0011) + u16(0x1010) + vr;
    return long_form ? tag + std::string(2, '\0') + u32(length) : tag + u16(uint16_t(length));
}

long memory_kib()
{
    struct rusage usage;
    assert_int_equal(getrusage(RUSAGE_SELF, &usage), 0);
    return usage.ru_maxrss;
}

msa_status read(const std::string &path, msa_error &err)
{
    dicom_header header;
    err = MSA_ERROR_INIT;
    return dicom_header_read(&header, path.c_str(), &err);
}

/* ---- depth ---- */

enum class way { sequence, sequence_of_known_length, unknown };

/* One more level around `inner`; in explicit VR, UN holds implicit VR. */
std::string wrapped(const std::string &inner, way how, bool explicit_vr)
{
    const auto size = uint32_t(inner.size());
    if (how == way::sequence_of_known_length) {
        const std::string body = item(size) + inner;
        return (explicit_vr ? head(0x40, 0xa730, "SQ", uint32_t(body.size()))
                            : implicit_head(0x40, 0xa730, uint32_t(body.size()))) +
               body;
    }
    const std::string body = item(UNDEFINED) + inner + item_end() + sequence_end();
    if (!explicit_vr) return implicit_head(0x40, 0xa730, UNDEFINED) + body;
    return head(0x40, 0xa730, how == way::unknown ? "UN" : "SQ", UNDEFINED) + body;
}

/* Levels of every kind in any order: what counts is how many there are. */
void nesting(void **)
{
    const TempDir dir;
    const std::string path = dir / "deep.dcm";
    std::mt19937 random(7); /* the same bombs in every run */
    const int depths[] = {1, 31, 32, 33, 34, 64, 1000, 20000};
    for (const int depth : depths)
        for (int variant = 0; variant < 6; variant++) {
            const bool outer_explicit = variant % 2 == 0;
            /* From the inside out: below a UN all is implicit, so the UN's place decides. */
            const int un_at = outer_explicit && variant >= 2 ? int(random() % unsigned(depth)) : -1;
            std::string s;
            for (int level = depth - 1; level >= 0 && depth <= 1000; level--) {
                const bool below_un = un_at >= 0 && level > un_at;
                const way how = level == un_at        ? way::unknown
                                : depth > 64          ? way::sequence
                                : (random() & 1) != 0 ? way::sequence
                                                      : way::sequence_of_known_length;
                s = wrapped(s, how, outer_explicit && !below_un);
            }
            if (depth > 1000) { /* built at once: wrapping copies */
                const std::string open = (outer_explicit ? head(0x40, 0xa730, "SQ", UNDEFINED)
                                                         : implicit_head(0x40, 0xa730, UNDEFINED)) +
                                         item(UNDEFINED);
                for (int i = 0; i < depth; i++)
                    s += open;
            }
            write_bytes(path, part10(outer_explicit ? EXPLICIT_LE : IMPLICIT_LE, s));
            dicom::Prescan scan;
            msa_error err = MSA_ERROR_INIT;
            const msa_status got = dicom::prescan(scan, path.c_str(), &err);
            const msa_status wanted = depth <= 32 ? MSA_OK : MSA_E_UNSUPPORTED;
            if (got != wanted)
                fail_msg("depth %d variant %d: %s '%s'", depth, variant, msa_status_name(got), err.what);
            assert_int_not_equal(read(path, err), MSA_OK); /* no image: but DCMTK comes back from it */
        }
}

/* ---- lengths ---- */

void lengths(void **)
{
    const TempDir dir;
    const std::string path = dir / "long.dcm";
    const long before = memory_kib();
    const uint32_t classes[] = {0,       1,         2,          8,           9,           0xfffe,   0xffff,
                                0x10000, 0x1000001, 0x7fffffff, 0x80000000u, 0xfffffffeu, UNDEFINED};
    int refused = 0;
    for (const bool in_item : {false, true})
        for (size_t k = 0;
             k < sizeof SHORT_FORMS / sizeof *SHORT_FORMS + sizeof LONG_FORMS / sizeof *LONG_FORMS; k++)
            for (const uint32_t length : classes) {
                const size_t shorts = sizeof SHORT_FORMS / sizeof *SHORT_FORMS;
                const bool long_form = k >= shorts;
                const char *vr = long_form ? LONG_FORMS[k - shorts] : SHORT_FORMS[k];
                const std::string bomb = stated(vr, length, long_form) + "12345678";
                const std::string s = in_item ? head(0x40, 0xa730, "SQ", uint32_t(8 + bomb.size())) +
                                                    item(uint32_t(bomb.size())) + bomb
                                              : bomb;
                write_bytes(path, part10(EXPLICIT_LE, s));
                dicom::Prescan scan;
                msa_error err = MSA_ERROR_INIT;
                const msa_status got = dicom::prescan(scan, path.c_str(), &err);
                const uint32_t said = long_form ? length : length & 0xffff;
                const bool fits = said <= 8;
                if (!fits && got == MSA_OK) fail_msg("%s of length %x went through", vr, said);
                if (got != MSA_OK) assert_int_not_equal(err.what[0], 0);
                refused += got != MSA_OK;
                assert_int_not_equal(read(path, err), MSA_OK);
            }
    assert_true(refused > 500);
    /* The largest stated length is 4 GiB; nothing near it was ever allocated. */
    assert_true(memory_kib() - before < 65536);
}

/* ---- products ---- */

std::string image(uint32_t rows, uint32_t cols, const char *rows_vr, const std::string &frames, unsigned bits,
                  uint32_t bytes)
{
    const auto number = [](uint32_t v, const char *vr) {
        return std::strcmp(vr, "US") == 0 ? u16(uint16_t(v)) : u32(v);
    };
    const bool many = !frames.empty();
    std::string s =
        element(8, 0x16, "UI", many ? "1.2.840.10008.5.1.4.1.1.2.1" : "1.2.840.10008.5.1.4.1.1.2") +
        element(8, 0x18, "UI", "1.2.3.4") + element(8, 0x60, "CS", "CT") + element(0x20, 0xd, "UI", "1.2.3") +
        element(0x20, 0xe, "UI", "1.2.3.5") + element(0x28, 2, "US", u16(1)) +
        element(0x28, 4, "CS", "MONOCHROME2");
    if (many) s += element(0x28, 8, "IS", frames);
    s += element(0x28, 0x10, rows_vr, number(rows, rows_vr)) +
         element(0x28, 0x11, "US", u16(uint16_t(cols))) + element(0x28, 0x100, "US", u16(uint16_t(bits))) +
         element(0x28, 0x101, "US", u16(uint16_t(bits))) +
         element(0x28, 0x102, "US", u16(uint16_t(bits - 1))) + element(0x28, 0x103, "US", u16(0));
    return part10(EXPLICIT_LE, s + element(0x7fe0, 0x10, "OW", std::string(bytes, '\0')));
}

/* What is taken is what 128-bit arithmetic says fits; nothing wraps into fitting. */
void products(void **)
{
    const TempDir dir;
    const std::string path = dir / "product.dcm";
    const uint32_t sides[] = {0,     1,     2,     3,     255,   256,         16384,
                              16385, 32768, 65535, 65536, 65537, 0x80000000u, 0xffffffffu};
    const char *const frames[] = {"",
                                  "1",
                                  "2",
                                  "16384",
                                  "16385",
                                  "65536",
                                  "2147483647",
                                  "4294967297",
                                  "-1",
                                  "0",
                                  "99999999999999999999"};
    int taken = 0, tried = 0;
    for (const uint32_t rows : sides)
        for (const uint32_t cols : sides)
            for (const char *n : frames)
                for (const unsigned bits : {8u, 16u}) {
                    const bool wide = rows > 65535;
                    const uint32_t bytes = 12;
                    write_bytes(path, image(rows, cols, wide ? "UL" : "US", n, bits, bytes));
                    msa_error err;
                    const msa_status got = read(path, err);
                    const uint32_t cols_there = cols & 0xffff;
                    const uint128 needed = (uint128)rows * cols_there *
                                           (*n != '\0' ? std::strtoull(n, nullptr, 10) : 1) * (bits / 8);
                    tried++;
                    taken += got == MSA_OK;
                    if (got == MSA_OK &&
                        (needed > bytes || needed == 0 || rows > 16384 || cols_there > 16384))
                        fail_msg("%u rows, %u columns, frames '%s' were taken", rows, cols_there, n);
                    if (got != MSA_OK && needed > bytes) assert_int_not_equal(err.what[0], 0);
                }
    printf("%d of %d sizes taken\n", taken, tried);
    assert_true(taken > 0);
}

/* ---- other ways in ---- */

/* `msa inspect` and the sender read whole files with their meta group: they are pre-scanned as well. */
void whole_files(void **)
{
    const TempDir dir;
    const std::string path = dir / "whole.dcm";
    std::string deep;
    for (int i = 0; i < 20000; i++)
        deep += head(0x40, 0xa730, "SQ", UNDEFINED) + item(UNDEFINED);
    const std::string seg =
        element(8, 0x16, "UI", "1.2.840.10008.5.1.4.1.1.66.4") + element(8, 0x18, "UI", "1.2.3.4");
    std::string in_meta;
    for (int i = 0; i < 2000; i++) {
        in_meta = item(uint32_t(in_meta.size())) + in_meta;
        in_meta = head(2, 0x7777, "SQ", uint32_t(in_meta.size())) + in_meta;
    }
    const std::string good = part10(EXPLICIT_LE, seg);
    const std::string bombs[] = {part10(EXPLICIT_LE, seg + deep),
                                 good.substr(0, good.find(seg)) + in_meta + seg,
                                 part10(EXPLICIT_LE, seg + element(0x7fe0, 0x10, "OB", "12") + deep)};
    for (const std::string &bomb : bombs) {
        write_bytes(path, bomb);
        dicom_seg_summary summary;
        int32_t defects = 0;
        const msa_status checked = dicom_seg_check(
            path.c_str(), nullptr, [](void *ctx, const char *) { ++*static_cast<int32_t *>(ctx); }, &defects,
            &summary, nullptr);
        assert_true(checked != MSA_OK || defects > 0);
        DcmFileFormat whole;
        msa_error err = MSA_ERROR_INIT;
        const msa_status got = dicom::load_whole(whole, path.c_str(), &err);
        assert_int_not_equal(got, MSA_OK);
    }
}

} // namespace

int main()
{
    const CMUnitTest tests[] = {cmocka_unit_test(nesting), cmocka_unit_test(lengths),
                                cmocka_unit_test(products), cmocka_unit_test(whole_files)};
    return cmocka_run_group_tests(tests, start_dicom, nullptr);
}
