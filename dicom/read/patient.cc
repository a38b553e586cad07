/* Which objects are of one patient. */
#include "dicom/guard.h"
#include "dicom/header.h"
#include "dicom/read/file.h"
#include "dicom/read/values.h"

#include "engine/base/hash.h"

#include "dcmtk/dcmdata/dcdeftag.h"

#include <cstring>

namespace dicom
{
namespace
{

/* The kind goes in first, so that a patient whose ID looks like a UID is no study. */
msa_status hash_of(const char *kind, const std::string &value, char out[DICOM_PATIENT_KEY], msa_error *err)
{
    msa_sha256 *h = msa_sha256_new();
    if (h == nullptr) return msa_fail(err, MSA_E_NOMEM, "out of memory for a patient's key");
    msa_sha256_update(h, kind, std::strlen(kind) + 1);
    msa_sha256_update(h, value.data(), value.size());
    msa_sha256_hex(h, out);
    msa_sha256_free(h);
    return MSA_OK;
}

} // namespace
} // namespace dicom

msa_status dicom_patient_key(char out[DICOM_PATIENT_KEY], const char *path, msa_error *err)
{
    out[0] = '\0';
    return dicom::guard(err, [&]() -> msa_status {
        dicom::File file;
        MSA_TRY(dicom::read_file(file, path, err));
        const std::string id = dicom::text(*file.content->getDataset(), DCM_PatientID);
        return id.empty() ? dicom::hash_of("study", file.header.study_uid, out, err)
                          : dicom::hash_of("patient", id, out, err);
    });
}
