#include "dicom/init.h"
#include "dicom/guard.h"

#include "dcmtk/dcmdata/dcdict.h"
#include "dcmtk/dcmdata/dcerror.h"
#include "dcmtk/dcmdata/dcrledrg.h"
#include "dcmtk/dcmdata/dctk.h"
#include "dcmtk/dcmjpeg/djdecode.h"
#include "dcmtk/dcmjpls/djdecode.h"
#include "dcmtk/oflog/oflog.h"

#include <csignal>

namespace
{

struct known_condition {
    const OFConditionConst *cond;
    msa_status status;
};

/* What is not listed is MSA_E_PARSE and is named by its number. */
const known_condition known[] = {
    {&EC_MemoryExhausted, MSA_E_NOMEM},
    {&EC_InvalidFilename, MSA_E_IO},
    {&EC_InvalidStream, MSA_E_IO},
    {&EC_UnknownTransferSyntax, MSA_E_UNSUPPORTED},
    {&EC_UnsupportedEncoding, MSA_E_UNSUPPORTED},
    {&EC_RepresentationNotFound, MSA_E_UNSUPPORTED},
    {&EC_CannotChangeRepresentation, MSA_E_UNSUPPORTED},
    {&EC_InvalidTag, MSA_E_PARSE},
    {&EC_TagNotFound, MSA_E_PARSE},
    {&EC_InvalidVR, MSA_E_PARSE},
    {&EC_EndOfStream, MSA_E_PARSE},
    {&EC_CorruptedData, MSA_E_PARSE},
    {&EC_IllegalCall, MSA_E_INTERNAL},
    {&EC_SequEnd, MSA_E_PARSE},
    {&EC_ItemEnd, MSA_E_PARSE},
    {&EC_StreamNotifyClient, MSA_E_PARSE},
    {&EC_WrongStreamMode, MSA_E_INTERNAL},
    {&EC_InvalidValue, MSA_E_PARSE},
    {&EC_ValueRepresentationViolated, MSA_E_PARSE},
    {&EC_ElemLengthLargerThanItem, MSA_E_PARSE},
};

} // namespace

msa_status dicom::fail(msa_error *err, const OFCondition &cond, const char *what)
{
    for (const known_condition &k : known) {
        const OFCondition constant(*k.cond);
        if (constant == cond) return msa_fail(err, k.status, "cannot %s: %s", what, constant.text());
    }
    return msa_fail(err, MSA_E_PARSE, "cannot %s: DCMTK condition %u:%u", what, unsigned(cond.module()),
                    unsigned(cond.code()));
}

msa_status dicom_init(msa_error *err)
{
    return dicom::guard(err, [&]() -> msa_status {
        /* DCMTK's messages quote values of the dataset, so none may reach a log; our errors say what matters.
         */
        OFLog::configure(OFLogger::OFF_LOG_LEVEL);
        if (!dcmDataDict.isDictionaryLoaded())
            return msa_fail(err, MSA_E_IO,
                            "DCMTK's data dictionary did not load; install libdcmtk-dev or libdcmtk17, or "
                            "set DCMDICTPATH to dicom.dic");
        DJDecoderRegistration::registerCodecs();
        DJLSDecoderRegistration::registerCodecs();
        DcmRLEDecoderRegistration::registerCodecs();
        if (std::signal(SIGPIPE, SIG_IGN) == SIG_ERR)
            return msa_fail(err, MSA_E_INTERNAL, "cannot ignore SIGPIPE");
        return MSA_OK;
    });
}
