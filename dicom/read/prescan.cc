#include "dicom/read/prescan.h"
#include "dicom/read/source.h"
#include "dicom/read/syntax.h"

#include "dcmtk/dcmdata/dctag.h"

#include <cerrno>
#include <cstring>
#include <vector>

namespace dicom
{
namespace
{

constexpr uint64_t UNDEFINED = ~uint64_t{0};
constexpr uint32_t UNDEFINED_LENGTH = 0xffffffffu;

struct Encoding {
    bool explicit_vr = true, big_endian = false, encapsulated = false;
};

struct Level {            /* what we are inside of */
    uint64_t end;         /* UNDEFINED: until its delimiter */
    bool sequence;        /* holds items, not elements */
    bool implicit_little; /* below a UN of undefined length (PS3.5 section 6.2.2, note 4) */
};

struct Element {
    uint16_t group = 0, element = 0;
    char vr[3] = "";
    uint32_t length = 0;

    bool is(uint16_t g, uint16_t e) const
    {
        return group == g && element == e;
    }
    bool vr_is(const char *what) const
    {
        return std::strcmp(vr, what) == 0;
    }
};

uint16_t u16(const uint8_t *p, bool big)
{
    return big ? uint16_t(p[0] << 8 | p[1]) : uint16_t(p[1] << 8 | p[0]);
}

uint32_t u32(const uint8_t *p, bool big)
{
    return big ? uint32_t(u16(p, true)) << 16 | u16(p + 2, true)
               : uint32_t(u16(p + 2, false)) << 16 | u16(p, false);
}

bool listed(const char *vr, const char *list) /* list: VRs joined by blanks */
{
    for (const char *p = list; *p != '\0'; p += p[2] == '\0' ? 2 : 3)
        if (p[0] == vr[0] && p[1] == vr[1]) return true;
    return false;
}

bool has_long_length(const char *vr)
{
    return listed(vr, "OB OD OF OL OV OW SQ SV UC UN UR UT UV");
}

bool has_short_length(const char *vr)
{
    return listed(vr, "AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US");
}

class Scanner
{
  public:
    Scanner(Source &in, Prescan &out, uint64_t elements_max, bool to_end, msa_error *err)
        : in_(in), out_(out), elements_max_(elements_max), to_end_(to_end), err_(err)
    {
    }

    msa_status meta(bool &has_syntax);
    msa_status dataset(Encoding encoding);

  private:
    msa_status truncated()
    {
        if (out_.deflated)
            return msa_fail(
                err_, MSA_E_PARSE,
                "the deflated dataset is damaged, ends inside an element or inflates beyond %llu MiB",
                (unsigned long long)(PRESCAN_INFLATED_MAX >> 20));
        if (in_.failed()) return msa_fail(err_, MSA_E_IO, "cannot read the file: %s", std::strerror(errno));
        return msa_fail(err_, MSA_E_PARSE, "the file is truncated: it ends inside an element");
    }
    msa_status element(Element &e, bool &at_end, bool explicit_vr, bool big);
    msa_status inside_sequence(const Element &e);
    msa_status inside_item(const Element &e, bool &done);
    msa_status value(const Element &e, uint64_t room, bool &done);
    msa_status fragments();
    msa_status offset_table(uint32_t length);
    msa_status push(uint32_t length, bool sequence, bool implicit_little, uint64_t room);
    bool nested(const Element &e);
    uint64_t room() const /* bytes left up to the nearest defined end around us */
    {
        uint64_t end = in_.end();
        for (size_t i = levels_.size(); i-- > 0;)
            if (levels_[i].end != UNDEFINED) {
                end = levels_[i].end;
                break;
            }
        return end > in_.offset() ? end - in_.offset()
                                  : 0; /* a header may have run over it: dataset() tells */
    }

    Source &in_;
    Prescan &out_;
    uint64_t elements_max_;
    bool to_end_;
    msa_error *err_;
    Encoding encoding_;
    std::vector<Level> levels_;
    unsigned depth_ = 0;
    uint64_t count_ = 0;
};

/* Reads tag, VR and length. at_end: not one byte was there. */
msa_status Scanner::element(Element &e, bool &at_end, bool explicit_vr, bool big)
{
    uint8_t head[8];
    const size_t got = in_.read(head, sizeof head);
    at_end = got == 0 && !in_.failed();
    if (at_end) return MSA_OK;
    if (got != sizeof head) return truncated();
    if (++count_ > elements_max_)
        return msa_fail(err_, MSA_E_UNSUPPORTED, "the dataset has more than %llu elements",
                        (unsigned long long)elements_max_);
    e = Element{};
    e.group = u16(head, big);
    e.element = u16(head + 2, big);
    if (e.group == 0xfffe || !explicit_vr) {
        e.length = u32(head + 4, big);
        return MSA_OK;
    }
    std::memcpy(e.vr, head + 4, 2);
    if (has_short_length(e.vr)) {
        e.length = u16(head + 6, big);
        return MSA_OK;
    }
    if (!has_long_length(e.vr))
        return msa_fail(
            err_, MSA_E_PARSE,
            "element (%04x,%04x) has no known value representation; the dataset is not encoded as its "
            "transfer syntax says",
            e.group, e.element);
    uint8_t length[4];
    if (in_.read(length, sizeof length) != sizeof length) return truncated();
    e.length = u32(length, big);
    return MSA_OK;
}

msa_status Scanner::push(uint32_t length, bool sequence, bool implicit_little, uint64_t space)
{
    if (length != UNDEFINED_LENGTH && length > space) return truncated();
    if (sequence && ++depth_ > PRESCAN_DEPTH_MAX)
        return msa_fail(err_, MSA_E_UNSUPPORTED, "sequences are nested deeper than %u levels",
                        PRESCAN_DEPTH_MAX);
    levels_.push_back(
        {length == UNDEFINED_LENGTH ? UNDEFINED : in_.offset() + length, sequence, implicit_little});
    return MSA_OK;
}

msa_status Scanner::inside_sequence(const Element &e)
{
    const bool open_ended = levels_.back().end == UNDEFINED;
    if (e.is(0xfffe, 0xe000)) return push(e.length, false, levels_.back().implicit_little, room());
    if (e.is(0xfffe, 0xe0dd) && open_ended) {
        levels_.pop_back();
        depth_--;
        return MSA_OK;
    }
    return msa_fail(err_, MSA_E_PARSE, "a sequence holds (%04x,%04x) where an item is due", e.group,
                    e.element);
}

/* Is the value a sequence of items for DCMTK? Explicit VR says so; implicit VR needs the dictionary, and
 * private elements, whose dictionary depends on their creator, are walked whenever they begin like a
 * sequence. */
bool Scanner::nested(const Element &e)
{
    const bool implicit = !encoding_.explicit_vr || levels_.back().implicit_little;
    if (!implicit) return e.vr_is("SQ") || (e.vr_is("UN") && e.length == UNDEFINED_LENGTH);
    if (e.is(0x7fe0, 0x0010)) return false;
    if (e.length == UNDEFINED_LENGTH) return true;
    return (e.group & 1) == 0 && DcmTag(e.group, e.element).getEVR() == EVR_SQ;
}

msa_status Scanner::inside_item(const Element &e, bool &done)
{
    const uint64_t space = room();
    if (e.is(0xfffe, 0xe00d) && levels_.size() > 1 && levels_.back().end == UNDEFINED) {
        levels_.pop_back();
        return MSA_OK;
    }
    if (e.group == 0xfffe)
        return msa_fail(err_, MSA_E_PARSE, "a delimiter (%04x,%04x) stands where an element is due", e.group,
                        e.element);
    if (nested(e)) {
        const bool implicit = levels_.back().implicit_little || e.vr_is("UN");
        return push(e.length, true, implicit, space);
    }
    return value(e, space, done);
}

msa_status Scanner::value(const Element &e, uint64_t space, bool &done)
{
    const bool pixels = e.is(0x7fe0, 0x0010), own = pixels && levels_.size() == 1;
    if (pixels && own && out_.has_pixel_data)
        return msa_fail(err_, MSA_E_PARSE, "the dataset has two Pixel Data elements");
    if (pixels && e.length == UNDEFINED_LENGTH) return fragments();
    if (e.length == UNDEFINED_LENGTH)
        return msa_fail(err_, MSA_E_PARSE, "element (%04x,%04x) has no length and is no sequence", e.group,
                        e.element);
    if (own && encoding_.encapsulated)
        return msa_fail(err_, MSA_E_PARSE, "Pixel Data is not in fragments, as its transfer syntax demands");
    if (e.length > space) return truncated();
    if (!own && e.length > PRESCAN_VALUE_MAX)
        return msa_fail(err_, MSA_E_UNSUPPORTED, "element (%04x,%04x) is longer than %llu MiB", e.group,
                        e.element, (unsigned long long)(PRESCAN_VALUE_MAX >> 20));
    if (own) {
        out_.has_pixel_data = true;
        out_.pixel_words = !e.vr_is("OB");
        out_.pixel_offset = in_.offset();
        out_.pixel_length = e.length;
    }
    const bool implicit = !encoding_.explicit_vr || levels_.back().implicit_little;
    if (implicit && (e.group & 1) != 0 && e.length >= 8) {
        uint8_t head[4];
        if (in_.read(head, sizeof head) != sizeof head) return truncated();
        if (u32(head, false) == 0xe000fffeu) { /* a private sequence of defined length: see nested() */
            if (++depth_ > PRESCAN_DEPTH_MAX)
                return msa_fail(err_, MSA_E_UNSUPPORTED, "sequences are nested deeper than %u levels",
                                PRESCAN_DEPTH_MAX);
            levels_.push_back({in_.offset() - 4 + e.length, true, levels_.back().implicit_little});
            uint8_t length[4];
            if (in_.read(length, sizeof length) != sizeof length) return truncated();
            return push(u32(length, false), false, levels_.back().implicit_little, room());
        }
        return in_.skip(e.length - 4) ? MSA_OK : truncated();
    }
    if (!in_.skip(e.length)) return truncated();
    done = own && !out_.deflated && !to_end_;
    return MSA_OK;
}

msa_status Scanner::offset_table(uint32_t length)
{
    if (length > room()) return truncated();
    for (uint32_t i = 0; i + 4 <= length && i / 4 < PRESCAN_ELEMENTS_MAX; i += 4) {
        uint8_t entry[4];
        if (in_.read(entry, sizeof entry) != sizeof entry) return truncated();
        out_.offset_table.push_back(u32(entry, false));
    }
    return in_.skip(length - 4 * out_.offset_table.size()) ? MSA_OK : truncated();
}

/* Encapsulated pixel data (PS3.5 annex A.4): an offset table, fragments, a delimiter. */
msa_status Scanner::fragments()
{
    const bool own = levels_.size() == 1;
    if (own && !encoding_.encapsulated)
        return msa_fail(err_, MSA_E_PARSE,
                        "Pixel Data has no length although its transfer syntax is uncompressed");
    uint64_t total = 0;
    for (uint32_t n = 0;; n++) {
        Element e;
        bool at_end = false;
        MSA_TRY(element(e, at_end, true, encoding_.big_endian));
        if (at_end) return truncated();
        if (e.is(0xfffe, 0xe0dd)) break;
        if (!e.is(0xfffe, 0xe000) || e.length == UNDEFINED_LENGTH)
            return msa_fail(err_, MSA_E_PARSE, "Pixel Data holds (%04x,%04x) where a fragment is due",
                            e.group, e.element);
        if (own && n == 0) {
            MSA_TRY(offset_table(e.length));
            continue;
        }
        const uint64_t offset = in_.offset();
        if (e.length > room() || !in_.skip(e.length)) return truncated();
        if (own) out_.fragments.push_back({offset, e.length});
        total += e.length;
    }
    if (!own) return MSA_OK;
    out_.has_pixel_data = out_.encapsulated = true;
    out_.pixel_length = total;
    return MSA_OK;
}

msa_status Scanner::dataset(Encoding encoding)
{
    encoding_ = encoding;
    levels_.assign(1, {out_.deflated ? UNDEFINED : in_.end(), false, false});
    for (bool done = false; !done;) {
        const Level level = levels_.back();
        if (level.end != UNDEFINED && in_.offset() >= level.end) {
            if (in_.offset() > level.end)
                return msa_fail(err_, MSA_E_PARSE, "an element runs over the end of the item that holds it");
            if (levels_.size() == 1) break;
            depth_ -= level.sequence ? 1 : 0;
            levels_.pop_back();
            continue;
        }
        Element e;
        bool at_end = false;
        MSA_TRY(element(e, at_end, encoding.explicit_vr && !level.implicit_little,
                        encoding.big_endian && !level.implicit_little));
        if (at_end && levels_.size() == 1) break;
        if (at_end) return truncated();
        MSA_TRY(level.sequence ? inside_sequence(e) : inside_item(e, done));
    }
    return MSA_OK;
}

/* File meta information: group 0002 to its end, whatever its group length says. */
msa_status Scanner::meta(bool &has_syntax)
{
    has_syntax = false;
    for (;;) {
        uint8_t peek[6];
        const uint64_t start = in_.offset();
        const size_t got = in_.read(peek, sizeof peek);
        if (got < 2 || u16(peek, false) != 0x0002) {
            out_.dataset_offset = start;
            return MSA_OK;
        }
        if (got != sizeof peek) return truncated();
        uint8_t rest[6];
        const char vr[3] = {char(peek[4]), char(peek[5]), '\0'};
        uint32_t length;
        if (has_short_length(vr)) {
            if (in_.read(rest, 2) != 2) return truncated();
            length = u16(rest, false);
        } else if (has_long_length(vr)) {
            if (in_.read(rest, 6) != 6) return truncated();
            length = u32(rest + 2, false);
        } else {
            return msa_fail(err_, MSA_E_PARSE, "the file meta information is not explicit VR little endian");
        }
        if (length > in_.end() - in_.offset()) return truncated();
        if (std::strcmp(vr, "SQ") ==
            0) /* there is none in the standard, and nesting in it would not be counted */
            return msa_fail(err_, MSA_E_PARSE, "the file meta information holds a sequence");
        if (++count_ > 1000 || length > PRESCAN_VALUE_MAX)
            return msa_fail(err_, MSA_E_PARSE, "the file meta information is implausibly large");
        if (u16(peek + 2, false) == 0x0010 && length < DICOM_UID_MAX) {
            char *uid = out_.transfer_syntax_uid;
            if (in_.read(uid, length) != length) return truncated();
            uid[length] = '\0';
            while (length > 0 && (uid[length - 1] == ' ' || uid[length - 1] == '\0'))
                uid[--length] = '\0';
            has_syntax = uid[0] != '\0';
        } else if (!in_.skip(length)) {
            return truncated();
        }
    }
}

/* The first element of a dataset gives its encoding away: a low group number, then a VR or not. */
bool guess_encoding(const uint8_t head[6], E_TransferSyntax &xfer)
{
    const uint16_t little = u16(head, false), big = u16(head, true);
    const char vr[3] = {char(head[4]), char(head[5]), '\0'};
    const bool explicit_vr = has_short_length(vr) || has_long_length(vr);
    if (little >= 0x0008 && little <= 0x0020)
        xfer = explicit_vr ? EXS_LittleEndianExplicit : EXS_LittleEndianImplicit;
    else if (big >= 0x0008 && big <= 0x0020 && explicit_vr)
        xfer = EXS_BigEndianExplicit;
    else
        return false;
    return true;
}

bool plain_uid(const char *uid)
{
    return uid[std::strspn(uid, "0123456789.")] == '\0';
}

msa_status choose_syntax(Prescan &out, bool has_syntax, const char *path, msa_error *err)
{
    if (has_syntax) {
        const Syntax *known = find_syntax(out.transfer_syntax_uid);
        out.xfer = known != nullptr                     ? known->structure
                   : plain_uid(out.transfer_syntax_uid) ? DcmXfer(out.transfer_syntax_uid).getXfer()
                                                        : EXS_Unknown;
        if (std::strcmp(out.transfer_syntax_uid, UID_DEFLATED_FRAMES) ==
            0) /* structured as every compressed one */
            out.xfer = EXS_JPEG2000LosslessOnly;
        if (out.xfer == EXS_Unknown)
            return msa_fail(err, MSA_E_UNSUPPORTED, "the transfer syntax %s is not known",
                            plain_uid(out.transfer_syntax_uid) ? out.transfer_syntax_uid : "of the file");
        return MSA_OK;
    }
    const std::unique_ptr<Source> in = open_file_source(path);
    uint8_t head[6];
    if (!in || !in->skip(out.dataset_offset) || in->read(head, sizeof head) != sizeof head ||
        !guess_encoding(head, out.xfer))
        return msa_fail(err, MSA_E_PARSE, "not a DICOM file");
    (void)std::strncpy(out.transfer_syntax_uid, DcmXfer(out.xfer).getXferID(), DICOM_UID_MAX - 1);
    return MSA_OK;
}

} // namespace

msa_status prescan(Prescan &out, const char *path, msa_error *err, uint64_t elements_max, bool to_end)
{
    out = Prescan{};
    std::unique_ptr<Source> in = open_file_source(path);
    if (!in)
        return msa_fail(err, errno == ENOENT ? MSA_E_NOT_FOUND : MSA_E_IO, "cannot open the DICOM file: %s",
                        std::strerror(errno));
    char preamble[132];
    out.part10 =
        in->read(preamble, sizeof preamble) == sizeof preamble && std::memcmp(preamble + 128, "DICM", 4) == 0;
    if (!out.part10) in = open_file_source(path); /* no preamble: maybe a bare dataset */
    if (!in) return msa_fail(err, MSA_E_IO, "cannot open the DICOM file: %s", std::strerror(errno));

    bool has_syntax = false;
    MSA_TRY(Scanner(*in, out, elements_max, to_end, err).meta(has_syntax));
    MSA_TRY(choose_syntax(out, has_syntax, path, err));

    in = open_file_source(path);
    if (!in || !in->skip(out.dataset_offset))
        return msa_fail(err, MSA_E_IO, "the file changed while it was read");
    const DcmXfer xfer(out.xfer);
    out.deflated = xfer.getStreamCompression() != ESC_none;
    const Encoding encoding = {xfer.isExplicitVR() == OFTrue, xfer.isBigEndian() == OFTrue,
                               xfer.isEncapsulated() == OFTrue};
    if (!out.deflated) return Scanner(*in, out, elements_max, to_end, err).dataset(encoding);
    const std::unique_ptr<Source> inflated = open_inflate_source(*in, PRESCAN_INFLATED_MAX);
    return Scanner(*inflated, out, elements_max, to_end, err).dataset(encoding);
}

} // namespace dicom
