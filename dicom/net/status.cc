#include "dicom/net/status.h"

namespace dicom
{

uint16_t store_status(msa_status status)
{
    switch (status) {
    case MSA_OK:
        return STATUS_SUCCESS;
    case MSA_E_NOMEM:
    case MSA_E_IO:
    case MSA_E_BUSY:
        return STATUS_OUT_OF_RESOURCES;
    case MSA_E_PARSE:
    case MSA_E_UNSUPPORTED:
        return STATUS_CANNOT_UNDERSTAND;
    case MSA_E_NOT_FOUND:
    case MSA_E_CANCELED:
    case MSA_E_INVALID:
    case MSA_E_INTERNAL:
        return STATUS_PROCESSING;
    }
    return STATUS_PROCESSING;
}

dicom_delivery delivery_outcome(uint16_t status)
{
    if (status == STATUS_SUCCESS) return DICOM_DELIVERED;
    if ((status & 0xF000) == 0xB000) return DICOM_DELIVERED; /* stored, with a warning */
    if (status == 0x0001 || status == 0x0107 || status == 0x0116)
        return DICOM_DELIVERED; /* likewise, PS3.7 C.3 */
    /* Duplicate SOP instance: it is there. One UID of ours never has other bytes, so an earlier try got
     * through. */
    if (status == 0x0111) return DICOM_DELIVERED;
    if ((status & 0xFF00) == 0xA700) return DICOM_RETRY;
    if (status == STATUS_PROCESSING || status == 0x0213 || status == 0xFE00) return DICOM_RETRY;
    return DICOM_REFUSED;
}

const char *status_meaning(uint16_t status)
{
    if ((status & 0xFF00) == 0xA700) return "out of resources";
    if ((status & 0xFF00) == 0xA900) return "the dataset does not match the SOP class";
    if ((status & 0xF000) == 0xC000) return "cannot understand the object";
    switch (status) {
    case 0x0000:
        return "success";
    case 0x0105:
        return "no such attribute";
    case 0x0106:
        return "invalid attribute value";
    case 0x0107:
        return "attribute list error";
    case 0x0110:
        return "processing failure";
    case 0x0111:
        return "duplicate SOP instance";
    case 0x0112:
        return "no such SOP instance";
    case 0x0115:
        return "invalid argument value";
    case 0x0116:
        return "attribute value out of range";
    case 0x0117:
        return "invalid object instance";
    case 0x0118:
        return "no such SOP class";
    case 0x0119:
        return "class and instance conflict";
    case 0x0120:
        return "missing attribute";
    case 0x0121:
        return "missing attribute value";
    case 0x0122:
        return "SOP class not supported";
    case 0x0124:
        return "not authorized";
    case 0x0210:
        return "duplicate invocation";
    case 0x0211:
        return "unrecognized operation";
    case 0x0212:
        return "mistyped argument";
    case 0x0213:
        return "resource limitation";
    case 0xB000:
        return "coercion of data elements";
    case 0xB006:
        return "elements discarded";
    case 0xB007:
        return "the dataset does not match the SOP class (warning)";
    case 0xFE00:
        return "cancelled";
    default:
        return "an unlisted status";
    }
}

} // namespace dicom
