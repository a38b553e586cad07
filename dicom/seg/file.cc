/* The Part 10 file: meta information, header, the frames' items, pixel data. */
#include "dicom/seg/seg_impl.h"
#include "dicom/seg/staging.h"

#include "dcmtk/dcmdata/dcmetinf.h"
#include "dcmtk/dcmdata/dcostrmb.h"

using dicom::seg::put;

namespace
{

constexpr size_t CHUNK = 1u << 18;

const char *transfer_syntax(int32_t compression)
{
    switch (compression) {
    case DICOM_SEG_RLE:
        return UID_RLELosslessTransferSyntax;
    case DICOM_SEG_DEFLATE:
        return UID_DeflatedExplicitVRLittleEndianTransferSyntax;
    default:
        return UID_LittleEndianExplicitTransferSyntax;
    }
}

/* Our own implementation identity: with the other write modes DCMTK puts its name into the file. */
OFCondition put_meta(DcmMetaInfo &meta, DcmDataset &dataset, const char *syntax)
{
    static const Uint8 version[2] = {0, 1};
    put to(meta);
    to.note(meta.putAndInsertUint8Array(DCM_FileMetaInformationVersion, version, 2));
    to.text(DCM_MediaStorageSOPClassUID, dicom::seg::text_of(dataset, DCM_SOPClassUID));
    to.text(DCM_MediaStorageSOPInstanceUID, dicom::seg::text_of(dataset, DCM_SOPInstanceUID));
    to.text(DCM_TransferSyntaxUID, syntax);
    to.text(DCM_ImplementationClassUID, DICOM_IMPLEMENTATION_CLASS_UID);
    to.text(DCM_ImplementationVersionName, DICOM_IMPLEMENTATION_VERSION);
    Uint32 length = 0; /* of what follows the group length element */
    for (unsigned long k = 0; k < meta.card(); k++)
        length += meta.getElement(k)->calcElementLength(EXS_LittleEndianExplicit, EET_ExplicitLength);
    to.note(meta.putAndInsertUint32(DCM_FileMetaInformationGroupLength, length));
    return to.cond();
}

/* What DCMTK encodes of `part`, piece by piece to `sink`. */
template <typename Part, typename Sink>
msa_status encode_part(Part &part, Sink &&sink, msa_error *err,
                       E_TransferSyntax syntax = EXS_LittleEndianExplicit)
{
    std::vector<char> buffer(CHUNK);
    DcmOutputBufferStream stream(buffer.data(), static_cast<offile_off_t>(buffer.size()));
    part.transferInit();
    OFCondition cond = EC_StreamNotifyClient;
    while (cond == EC_StreamNotifyClient) {
        cond = part.write(stream, syntax, EET_ExplicitLength, nullptr);
        void *full = nullptr;
        offile_off_t size = 0;
        stream.flushBuffer(full, size);
        sink(static_cast<const char *>(full), static_cast<size_t>(size));
    }
    part.transferEnd();
    if (cond.bad()) return dicom::fail(err, cond, "encode the object");
    return MSA_OK;
}

} // namespace

msa_status dicom::seg::encode_elements(std::string &out, DcmItem &item, msa_error *err)
{
    DcmObject *at = nullptr;
    while ((at = item.nextInContainer(at)) != nullptr)
        MSA_TRY(encode_part(
            *at, [&](const char *data, size_t size) { out.append(data, size); }, err));
    return MSA_OK;
}

msa_status dicom::seg::write_file(const char *path, DcmDataset &header, const source &from, msa_error *err)
{
    const int32_t compression = from.options.form.compression;
    DcmMetaInfo meta;
    const OFCondition cond = put_meta(meta, header, transfer_syntax(compression));
    if (cond.bad()) return fail(err, cond, "write the file meta information");
    std::string items;
    MSA_TRY(encode_frame_items(items, from, err));
    output file(path);
    const auto sink = [&](const char *data, size_t size) { file.write(data, size); };
    MSA_TRY(encode_part(meta, sink, err));
    if (compression == DICOM_SEG_DEFLATE) file.deflate();
    MSA_TRY(encode_part(header, sink, err));
    file.write(items);
    MSA_TRY(write_pixels(file, from, err));
    return file.finish(err);
}

msa_status dicom::seg::write_dataset(const char *dir, const char *name, DcmDataset &dataset,
                                     E_TransferSyntax syntax, msa_error *err)
{
    DcmMetaInfo meta;
    const OFCondition cond = put_meta(meta, dataset, DcmXfer(syntax).getXferID());
    if (cond.bad()) return fail(err, cond, "write the file meta information");
    staging stage(dir, name);
    output file(stage.add(1).c_str());
    const auto sink = [&](const char *data, size_t size) { file.write(data, size); };
    MSA_TRY(encode_part(meta, sink, err));
    MSA_TRY(encode_part(dataset, sink, err, syntax));
    MSA_TRY(file.finish(err));
    return stage.publish(err);
}
