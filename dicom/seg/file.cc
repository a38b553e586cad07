/* Part 10 file, written by our own write(2) calls: DCMTK's file stream does not say when closing failed. */
#include "dicom/seg/seg_impl.h"

#include "dcmtk/dcmdata/dcmetinf.h"
#include "dcmtk/dcmdata/dcostrmb.h"

#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <unistd.h>

using dicom::seg::put;

namespace
{

const size_t chunk_size = 1u << 20;

class output_file
{
  public:
    explicit output_file(const char *path)
        : fd_(open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0640))
    {
    }
    ~output_file()
    {
        if (fd_ >= 0) (void)::close(fd_);
    }
    output_file(const output_file &) = delete;
    output_file &operator=(const output_file &) = delete;

    bool is_open() const
    {
        return fd_ >= 0;
    }
    bool write(const char *data, size_t size)
    {
        while (size > 0) {
            const ssize_t n = ::write(fd_, data, size);
            if (n < 0 && errno == EINTR) continue;
            if (n < 0) return false;
            data += n;
            size -= static_cast<size_t>(n);
        }
        return true;
    }
    bool sync_and_close()
    {
        const bool synced = fsync(fd_) == 0;
        const bool closed = ::close(fd_) == 0;
        fd_ = -1;
        return synced && closed;
    }

  private:
    int fd_;
};

/* Our own implementation identity: with the other write modes DCMTK puts its name into the file. */
OFCondition put_meta(DcmMetaInfo &meta, DcmDataset &dataset)
{
    static const Uint8 version[2] = {0, 1};
    put to(meta);
    to.note(meta.putAndInsertUint8Array(DCM_FileMetaInformationVersion, version, 2));
    to.text(DCM_MediaStorageSOPClassUID, dicom::seg::text_of(dataset, DCM_SOPClassUID));
    to.text(DCM_MediaStorageSOPInstanceUID, dicom::seg::text_of(dataset, DCM_SOPInstanceUID));
    to.text(DCM_TransferSyntaxUID, UID_LittleEndianExplicitTransferSyntax);
    to.text(DCM_ImplementationClassUID, DICOM_IMPLEMENTATION_CLASS_UID);
    to.text(DCM_ImplementationVersionName, DICOM_IMPLEMENTATION_VERSION);
    Uint32 length = 0; /* of what follows the group length element */
    for (unsigned long k = 0; k < meta.card(); k++)
        length += meta.getElement(k)->calcElementLength(EXS_LittleEndianExplicit, EET_ExplicitLength);
    to.note(meta.putAndInsertUint32(DCM_FileMetaInformationGroupLength, length));
    return to.cond();
}

template <typename Part> msa_status write_part(output_file &file, Part &part, msa_error *err)
{
    std::vector<char> buffer(chunk_size);
    DcmOutputBufferStream stream(buffer.data(), static_cast<offile_off_t>(buffer.size()));
    part.transferInit();
    OFCondition cond = EC_StreamNotifyClient;
    while (cond == EC_StreamNotifyClient) {
        cond = part.write(stream, EXS_LittleEndianExplicit, EET_ExplicitLength, nullptr);
        void *full = nullptr;
        offile_off_t size = 0;
        stream.flushBuffer(full, size);
        if (!file.write(static_cast<const char *>(full), static_cast<size_t>(size)))
            return msa_fail(err, msa_errno_status(errno), "cannot write the segmentation: %s",
                            std::strerror(errno));
    }
    part.transferEnd();
    if (cond.bad()) return dicom::fail(err, cond, "encode the segmentation");
    return MSA_OK;
}

} // namespace

msa_status dicom::seg::write_file(const char *path, DcmDataset &dataset, msa_error *err)
{
    DcmMetaInfo meta;
    const OFCondition cond = put_meta(meta, dataset);
    if (cond.bad()) return fail(err, cond, "write the file meta information");
    output_file file(path);
    if (!file.is_open())
        return msa_fail(err, msa_errno_status(errno), "cannot create the segmentation: %s",
                        std::strerror(errno));
    MSA_TRY(write_part(file, meta, err));
    MSA_TRY(write_part(file, dataset, err));
    if (!file.sync_and_close())
        return msa_fail(err, msa_errno_status(errno), "cannot make the segmentation durable: %s",
                        std::strerror(errno));
    return MSA_OK;
}
