/* Private: which presentation contexts an association gets (PS3.8 section 7.1.1.13), and why the others do
 * not. */
#ifndef DICOM_NET_NEGOTIATE_H
#define DICOM_NET_NEGOTIATE_H

#include "dcmtk/config/osconfig.h"
#include "dcmtk/dcmnet/assoc.h"

#include <functional>
#include <string>

namespace dicom
{

struct refusal {
    std::string what;   /* name of the SOP class */
    std::string reason; /* one sentence for the administrator */
};

/**
 * The transfer syntax that we take out of those proposed: Explicit VR Little Endian, else Implicit, else the
 * first one that can be decoded. nullptr: none of them.
 */
const char *choose_transfer_syntax(const char *const *proposed, int n);

/* Marks every proposed context as accepted or refused. on_refusal: once for each different refusal. Returns
 * the number accepted. */
int negotiate(T_ASC_Parameters *params, const std::function<void(const refusal &)> &on_refusal);

} // namespace dicom
#endif
