/* Private: streams one dataset from the association to the sink without looking into it. */
#ifndef DICOM_NET_OBJECT_H
#define DICOM_NET_OBJECT_H

#include "dicom/net/association.h"
#include "dicom/receive.h"

namespace dicom
{

enum class object_end { whole, released, aborted, protocol, lost };

/**
 * One object on its way into the sink. After a failure the rest of the dataset is still read, because the
 * association can only go on after it (PS3.7 9.1.1); `status` and `what` hold the first failure.
 */
class object_stream
{
  public:
    object_stream(association &a, T_ASC_PresentationContextID id, const dicom_receive_sink &s,
                  int64_t max_bytes)
        : as(a), context(id), sink(s), limit(max_bytes)
    {
    }
    ~object_stream(); /* tells the sink when the object was begun and not committed */
    object_stream(const object_stream &) = delete;
    object_stream &operator=(const object_stream &) = delete;

    void begin(const dicom_store_info &info);
    void refuse(msa_status status, const char *what);
    object_end receive();                            /* to the last PDV */
    msa_status commit(const dicom_store_info &info); /* only after receive() said `whole` */

    msa_error error = MSA_ERROR_INIT; /* .status MSA_OK while all is well */

  private:
    void write(const void *bytes, size_t size);
    void drop();

    association &as;
    const T_ASC_PresentationContextID context;
    const dicom_receive_sink &sink;
    const int64_t limit;
    bool begun = false;
    int64_t received = 0, written = 0; /* of the dataset */
};

} // namespace dicom
#endif
