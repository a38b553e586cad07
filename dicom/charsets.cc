#include "dicom/init.h"

#include <iconv.h>

#include "dcmtk/dcmdata/dcspchrs.h"

#include <memory>
#include <vector>

#include "dicom/guard.h"

namespace
{

/* Specific Character Set (PS3.3 tables C.12-2 to C.12-5); DCMTK knows what glibc calls them. */
const char *const terms[] = {
    "ISO_IR 100", "ISO_IR 101", "ISO_IR 109",     "ISO_IR 110",      "ISO_IR 144",      "ISO_IR 127",
    "ISO_IR 126", "ISO_IR 138", "ISO_IR 148",     "ISO_IR 203",      "ISO_IR 13",       "ISO_IR 166",
    "GB18030",    "GBK",        "ISO 2022 IR 87", "ISO 2022 IR 159", "ISO 2022 IR 149", "ISO 2022 IR 58",
};
/* And what results are written in (dicom/seg/coded_sets.cc). */
const char *const written[] = {"EUC-JP", "EUC-KR", "EUC-CN", "ISO-8859-15", "TIS-620", "GB18030", "GBK"};

} // namespace

/* glibc drops a table that no converter uses, so one of each stays for good. */
msa_status dicom_charsets_load(msa_error *err)
{
    return dicom::guard(err, [&]() -> msa_status {
        static std::vector<std::unique_ptr<DcmSpecificCharacterSet>> kept;
        for (const char *term : terms) {
            auto converter = std::make_unique<DcmSpecificCharacterSet>();
            /* The first value says what is in G0 and G1 at the start; sets with escapes are further values.
             */
            const std::string all =
                std::string(term).compare(0, 8, "ISO 2022") == 0 ? std::string("\\") + term : term;
            if (converter->selectCharacterSet(all.c_str(), "ISO_IR 192").good())
                kept.push_back(std::move(converter));
        }
        for (const char *name : written)
            (void)iconv_open(name, "UTF-8");
        return MSA_OK;
    });
}
