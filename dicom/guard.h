/* Private: where C++ ends. The only place a C++ exception may stop, and the only words a DCMTK condition may
 * get. */
#ifndef DICOM_GUARD_H
#define DICOM_GUARD_H

#include "dcmtk/config/osconfig.h"
#include "dcmtk/ofstd/ofcond.h"

#include <exception>
#include <new>

#include "engine/base/error.h"

namespace dicom
{

/* Runs `body` (which returns msa_status); an exception becomes a status. Every extern "C" body is one
 * guard(). */
template <typename Body> msa_status guard(msa_error *err, Body &&body) noexcept
{
    try {
        return body();
    } catch (const std::bad_alloc &) {
        return msa_fail(err, MSA_E_NOMEM, "out of memory");
    } catch (const std::exception &e) {
        return msa_fail(err, MSA_E_INTERNAL, "C++ exception: %s", e.what());
    } catch (...) {
        return msa_fail(err, MSA_E_INTERNAL, "unknown C++ exception");
    }
}

/**
 * Records "cannot <what>: <why>" for a bad condition and returns its status. <why> is one of DCMTK's constant
 * texts, never the condition's own: that may hold values of the dataset or file names. `what` is a verb
 * phrase of ours.
 */
msa_status fail(msa_error *err, const OFCondition &cond, const char *what);

} // namespace dicom
#endif
