#include "dicom/net/object.h"

#include "dicom/net/file_meta.h"

namespace dicom
{

object_stream::~object_stream()
{
    drop();
}

void object_stream::drop()
{
    if (begun) sink.abort(sink.ctx);
    begun = false;
}

void object_stream::refuse(msa_status status, const char *what)
{
    (void)msa_fail(&error, status, "%s", what);
    drop();
}

void object_stream::begin(const dicom_store_info &info)
{
    if (sink.begin(sink.ctx, &info, &error) != MSA_OK) {
        (void)msa_fail(&error, MSA_E_INTERNAL, "the object could not be begun");
        return;
    }
    begun = true;
    const std::string meta = file_meta(info);
    if (sink.write(sink.ctx, meta.data(), meta.size(), &error) != MSA_OK)
        refuse(MSA_E_INTERNAL, "the object could not be written");
}

void object_stream::write(const void *bytes, size_t size)
{
    received += int64_t(size);
    if (!begun) return;
    if (limit > 0 && received > limit) {
        refuse(MSA_E_UNSUPPORTED, "the object is larger than this service takes; see dicom.object_max_mib");
    } else if (sink.write(sink.ctx, bytes, size, &error) != MSA_OK) {
        refuse(MSA_E_INTERNAL, "the object could not be written");
    } else {
        written += int64_t(size);
    }
}

object_end object_stream::receive()
{
    for (;;) {
        DUL_PDV pdv;
        OFCondition cond = DUL_NextPDV(&as.assoc->DULassociation, &pdv);
        if (cond.bad()) {
            /* The limits are net_link's; DCMTK's own timeout must only not fire earlier. */
            cond = DUL_ReadPDVs(&as.assoc->DULassociation, nullptr, DUL_NOBLOCK, 86400);
            if (cond == DUL_PDATAPDUARRIVED) continue;
            if (as.link.end() != link_end::open) return object_end::lost;
            if (cond == DUL_PEERABORTEDASSOCIATION) return object_end::aborted;
            if (cond == DUL_PEERREQUESTEDRELEASE) return object_end::released;
            return object_end::protocol;
        }
        if (pdv.pdvType != DUL_DATASETPDV || pdv.presentationContextID != context)
            return object_end::protocol;
        write(pdv.data, pdv.fragmentLength);
        if (pdv.lastPDV) return object_end::whole;
    }
}

msa_status object_stream::commit(const dicom_store_info &info)
{
    if (error.status != MSA_OK) return error.status;
    if (received == 0) refuse(MSA_E_PARSE, "the dataset is empty");
    if (written != received) refuse(MSA_E_INTERNAL, "not every byte received was written");
    if (error.status != MSA_OK) return error.status;
    begun = false; /* from here on the sink owns the outcome: no abort after commit */
    if (sink.commit(sink.ctx, &info, &error) != MSA_OK)
        (void)msa_fail(&error, MSA_E_INTERNAL, "the object could not be committed");
    return error.status;
}

} // namespace dicom
