/* Names and labels in every character set: the patient's as they came, ours in the set of the images. */
#include "dicom/annot/charset.h"
#include "dicom/read/series_impl.h"
#include "dicom/seg.h"
#include "tests/tools/phantom.h"
#include "tests/unit/read/pictures.h"

namespace
{

struct Name {
    std::string set, bytes;
};

std::string raw(DcmItem &d, const DcmTagKey &tag)
{
    OFString value;
    return d.findAndGetOFStringArray(tag, value).good() ? std::string(value.c_str(), value.length())
                                                        : std::string();
}

/* PS3.5 annexes H, I, J and K, and what Western scanners write. */
std::vector<Name> names()
{
    std::vector<Name> list = {
        {"", "Buc^Jerome"},
        {"ISO_IR 100", "Buc^J\xe9r\xf4me"},
        {"ISO_IR 192", "Wang^XiaoDong=\xe7\x8e\x8b^\xe5\xb0\x8f\xe6\x9d\xb1"},
        {"GB18030", "Wang^XiaoDong=\xcd\xf5^\xd0\xa1\xb6\xab"},
        {"ISO_IR 144", "\xbb\xee\xda\x63\x65\xdc\xd1\x79\x70\xd3"},
        {"\\ISO 2022 IR 87", "Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B"},
        {"ISO 2022 IR 13\\ISO 2022 IR 87", "\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J"},
        {"\\ISO 2022 IR 149", "Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7"},
    };
    const std::string folder = shared_data("charsets");
    for (const std::string &path : folder.empty() ? std::vector<std::string>() : files_below(folder)) {
        DcmFileFormat file;
        if (file.loadFile(path.c_str()).bad()) continue;
        const Name n = {raw(*file.getDataset(), DCM_SpecificCharacterSet),
                        raw(*file.getDataset(), DCM_PatientName)};
        if (!n.bytes.empty()) list.push_back(n);
    }
    return list;
}

/* A SEG over a small series whose patient is called `name`, with one segment of that label (UTF-8). */
std::unique_ptr<DcmFileFormat> segment(const TempDir &dir, const Name &name, const std::string &label)
{
    phantom::Options o;
    o.rows = o.cols = 16;
    o.slices = 1;
    (void)phantom::write_series(o, dir / "in");
    const std::string path = files_below(dir / "in")[0];
    DcmFileFormat file;
    assert_true(file.loadFile(path.c_str()).good() && file.getDataset()->loadAllDataIntoMemory().good());
    DcmDataset &d = *file.getDataset();
    delete d.remove(DCM_SpecificCharacterSet);
    if (!name.set.empty())
        assert_true(d.putAndInsertString(DCM_SpecificCharacterSet, name.set.c_str()).good());
    assert_true(
        d.putAndInsertOFStringArray(DCM_PatientName, OFString(name.bytes.data(), name.bytes.size())).good());
    assert_true(file.saveFile(path.c_str(), EXS_LittleEndianExplicit).good());

    const SeriesPtr series = load_series(dir / "in");
    std::vector<uint8_t> mask(256);
    std::fill_n(mask.begin() + 40, 30, uint8_t{1});
    dicom_segment s{};
    s.mask = mask.data();
    (void)std::snprintf(s.label, sizeof s.label, "%s", label.c_str());
    dicom_seg_options options{};
    options.key = "charsets";
    options.series_number = 1;
    dicom_seg_file files[DICOM_SEG_FILES_MAX];
    size_t n = 0;
    msa_error err = MSA_ERROR_INIT;
    std::filesystem::create_directories(dir / "out");
    if (dicom_seg_write(series.get(), &s, 1, &options, (dir / "out").c_str(), files, &n, &err) != MSA_OK)
        fail_msg("%s", err.what);
    auto seg = std::make_unique<DcmFileFormat>();
    assert_true(seg->loadFile((dir / "out/seg.dcm").c_str()).good());
    return seg;
}

std::string label_of(DcmFileFormat &seg)
{
    DcmItem *item = nullptr;
    assert_true(seg.getDataset()->findAndGetSequenceItem(DCM_SegmentSequence, item).good());
    return dicom::to_utf8(raw(*item, DCM_SegmentLabel), raw(*seg.getDataset(), DCM_SpecificCharacterSet));
}

/* The last component group of a name without its delimiters: text of the set, as a label would be. */
std::string word_of(const Name &name)
{
    std::string utf8 = dicom::to_utf8(name.bytes, name.set);
    utf8 = utf8.substr(utf8.rfind('=') + 1);
    for (char &c : utf8)
        if (c == '^' || c == '\\') c = ' ';
    const std::string word = dicom::to_utf8(utf8, "ISO_IR 192");
    return word.empty() ? "Liver" : word;
}

void names_come_back(void **)
{
    for (const Name &name : names()) {
        const TempDir dir;
        const std::string word = word_of(name);
        const auto seg = segment(dir, name, word);
        if (raw(*seg->getDataset(), DCM_PatientName) != name.bytes)
            fail_msg("set '%s': the name came back otherwise", name.set.c_str());
        const std::string set = raw(*seg->getDataset(), DCM_SpecificCharacterSet);
        const bool ascii = !seg->getDataset()->containsExtendedCharacters(OFTrue);
        if (set != name.set && !(ascii || set == "ISO_IR 192"))
            fail_msg("set '%s' became '%s'", name.set.c_str(), set.c_str());
        if (label_of(*seg) != word)
            fail_msg("set '%s': label '%s' became '%s'", name.set.c_str(), word.c_str(),
                     label_of(*seg).c_str());
    }
}

/* A label of another set than the images: whole where the images are ASCII, else as near as their set comes.
 */
void labels_of_another_set(void **)
{
    const struct {
        Name name;
        const char *label, *want, *set;
    } table[] = {
        {{"", "Doe^Jane"}, "\xe8\x82\x9d\xe8\x87\x93", "\xe8\x82\x9d\xe8\x87\x93", "ISO_IR 192"},
        {{"ISO_IR 100", "Doe^Jane"}, "\xea\xb0\x84", "\xea\xb0\x84", "ISO_IR 192"},
        {{"ISO_IR 100", "Doe^Jane"}, "L\xc3\xa4sion", "L\xc3\xa4sion", "ISO_IR 100"},
        {{"ISO_IR 100", "M\xfcller^Jane"}, "\xe8\x82\x9d", "?", "ISO_IR 100"},
        {{"ISO_IR 144", "\xbb\xee\xda"}, "L\xc3\xa4sion", "Lasion", "ISO_IR 144"},
        {{"", "Doe^Jane"}, "Liver", "Liver", ""},
    };
    for (const auto &row : table) {
        const TempDir dir;
        const auto seg = segment(dir, row.name, row.label);
        assert_string_equal(label_of(*seg).c_str(), row.want);
        assert_string_equal(raw(*seg->getDataset(), DCM_SpecificCharacterSet).c_str(), row.set);
        assert_true(raw(*seg->getDataset(), DCM_PatientName) == row.name.bytes);
    }
}

} // namespace

int main()
{
    const CMUnitTest tests[] = {cmocka_unit_test(names_come_back), cmocka_unit_test(labels_of_another_set)};
    return cmocka_run_group_tests(tests, start_dicom, nullptr);
}
