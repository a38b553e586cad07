#include "dicom/find.h"

#include "dcmtk/dcmdata/dcdatset.h"
#include "dcmtk/dcmdata/dcdeftag.h"
#include "dcmtk/dcmdata/dcuid.h"
#include "dcmtk/dcmnet/diutil.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <set>
#include <string>

#include "dicom/guard.h"
#include "dicom/net/connect.h"
#include "dicom/net/status.h"

namespace dicom
{
namespace
{

constexpr int64_t ANSWER_MAX_BYTES =
    64 << 20; /* of all answers to one question: a quarter of a million images */
constexpr size_t IMAGES_MAX = 1000000;

struct answers {
    answers(const char *series, net_link &l) : series_uid(series), link(l) {}
    const char *series_uid;
    net_link &link;
    int64_t until_ms = 0; /* the link's own limit counts while it waits, and an archive may never pause */
    bool late = false;
    int32_t told = 0; /* Number of Series Related Instances */
    std::set<std::string> images;
};

std::string value(DcmItem &item, const DcmTagKey &tag)
{
    OFString text;
    if (item.findAndGetOFString(tag, text).bad()) return "";
    std::string s(text.c_str());
    while (!s.empty() && (s.back() == ' ' || s.back() == '\0'))
        s.pop_back();
    return s;
}

/* DCMTK's callback: nothing may be thrown through it. */
void take_answer(void *ctx, T_DIMSE_C_FindRQ *, int, T_DIMSE_C_FindRSP *, DcmDataset *identifiers)
{
    answers &a = *static_cast<answers *>(ctx);
    a.late = a.late || now_ms() > a.until_ms;
    if (a.late) {
        a.link.close();
        return;
    }
    try {
        if (identifiers == nullptr || value(*identifiers, DCM_SeriesInstanceUID) != a.series_uid) return;
        const long told =
            std::strtol(value(*identifiers, DCM_NumberOfSeriesRelatedInstances).c_str(), nullptr, 10);
        if (told > 0 && told <= long(IMAGES_MAX)) a.told = std::max(a.told, int32_t(told));
        const std::string image = value(*identifiers, DCM_SOPInstanceUID);
        if (!image.empty() && a.images.size() < IMAGES_MAX) a.images.insert(image);
    } catch (...) { /* out of memory: fewer are counted, and quiet time decides */
    }
}

class question
{
  public:
    question(const dicom_destination &s, const char *study, const char *series, dicom_find_result &r)
        : source(s), study_uid(study), series_uid(series), result(r),
          patience_ms(int64_t(s.timeout_s) * 1000), link(now_ms() + 4 * patience_ms), as(link)
    {
    }
    msa_status run(msa_error *err);

  private:
    bool ask(const char *level, answers &found);

    const dicom_destination &source;
    const char *study_uid, *series_uid;
    dicom_find_result &result;
    const int64_t patience_ms;
    net_link link;
    association as;
    T_ASC_PresentationContextID context = 0;
    DIC_US message_id = 0;
};

/* false: result says why there is no answer. */
bool question::ask(const char *level, answers &found)
{
    const bool images = std::strcmp(level, "IMAGE") == 0;
    DcmDataset keys;
    (void)keys.putAndInsertString(DCM_QueryRetrieveLevel, level);
    (void)keys.putAndInsertString(DCM_StudyInstanceUID, study_uid);
    (void)keys.putAndInsertString(DCM_SeriesInstanceUID, series_uid);
    (void)keys.insertEmptyElement(images ? DCM_SOPInstanceUID : DCM_NumberOfSeriesRelatedInstances);
    T_DIMSE_C_FindRQ rq;
    T_DIMSE_C_FindRSP rsp;
    std::memset(static_cast<void *>(&rq), 0, sizeof rq);
    std::memset(static_cast<void *>(&rsp), 0, sizeof rsp);
    rq.MessageID = ++message_id;
    rq.DataSetType = DIMSE_DATASET_PRESENT;
    rq.Priority = DIMSE_PRIORITY_MEDIUM;
    (void)std::snprintf(rq.AffectedSOPClassUID, sizeof rq.AffectedSOPClassUID, "%s",
                        UID_FINDStudyRootQueryRetrieveInformationModel);
    DcmDataset *detail = nullptr;
    int n = 0;
    link.begin_message(2 * patience_ms, ANSWER_MAX_BYTES);
    found.until_ms = now_ms() + 2 * patience_ms;
    const OFCondition cond = DIMSE_findUser(as.assoc, context, &rq, &keys, n, take_answer, &found,
                                            DIMSE_NONBLOCKING, 86400, &rsp, &detail);
    delete detail;
    if (cond.bad()) {
        conclude(result.said, source, DICOM_RETRY, -1, "did not answer the C-FIND: %s",
                 found.late ? "its answer does not end" : describe(link.end()));
        return false;
    }
    if (rsp.DimseStatus != STATUS_Success) {
        conclude(result.said, source, DICOM_REFUSED, rsp.DimseStatus, "answered the C-FIND with status %04X",
                 unsigned(rsp.DimseStatus));
        return false;
    }
    return true;
}

msa_status question::run(msa_error *err)
{
    const proposal p = {UID_FINDStudyRootQueryRetrieveInformationModel,
                        {UID_LittleEndianExplicitTransferSyntax, UID_LittleEndianImplicitTransferSyntax}};
    bool stands = false;
    MSA_TRY(connect(as, source, p, stands, result.said, err));
    if (!stands) return MSA_OK;
    context = ASC_findAcceptedPresentationContextID(as.assoc, UID_FINDStudyRootQueryRetrieveInformationModel);
    answers found(series_uid, link);
    bool answered = ask("SERIES", found);
    const bool told = found.told > 0;
    if (answered && !told) answered = ask("IMAGE", found);
    if (answered) result.images = told ? found.told : int32_t(found.images.size());
    if (!answered) return MSA_OK;
    conclude(result.said, source, DICOM_DELIVERED, STATUS_Success, "has %d images of the series",
             result.images);
    release(as);
    return MSA_OK;
}

} // namespace
} // namespace dicom

msa_status dicom_find_images(const dicom_destination *source, const char *study_uid, const char *series_uid,
                             dicom_find_result *result, msa_error *err)
{
    std::memset(result, 0, sizeof *result);
    result->said.outcome = DICOM_RETRY;
    result->said.dimse_status = -1;
    return dicom::guard(err, [&]() -> msa_status {
        dicom_destination limited = *source;
        if (limited.timeout_s <= 0) limited.timeout_s = 60;
        if (limited.host[0] == '\0' || limited.port < 1 || limited.port > 65535 ||
            limited.ae_title[0] == '\0' || limited.calling_ae[0] == '\0')
            return msa_fail(err, MSA_E_INVALID, "the source lacks a host, a port or an AE title");
        MSA_TRY(dicom::net_setup(err));
        dicom::question q(limited, study_uid, series_uid, *result);
        return q.run(err);
    });
}
