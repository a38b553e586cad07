/* DCMTK's globals: dictionary, decoders, logger, SIGPIPE. Call once per process, before any other dicom_ call. */
#ifndef DICOM_INIT_H
#define DICOM_INIT_H

#include "engine/base/error.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Implementation identity that we put into file meta information and associations (PS3.7 annex D.3.3.2). */
#define DICOM_IMPLEMENTATION_CLASS_UID "2.25.302405143526163904713126302586741385216"
#define DICOM_IMPLEMENTATION_VERSION   "MSAD_0_1"
#define DICOM_UID_MAX                  65 /* 64 characters and NUL (PS3.5 table 6.2-1) */
#define DICOM_AE_MAX                   17 /* 16 characters and NUL */
#define DICOM_LABEL_MAX                260 /* 64 characters of UTF-8, and NUL */

/* Errors: MSA_E_IO when the data dictionary did not load (without it DCMTK mislabels value representations). */
MSA_NODISCARD msa_status dicom_init(msa_error *err);
/* Loads the tables of every character set that DICOM names, which glibc keeps in files of their own: before a sandbox in
 * which those are out of reach. Once per process. A table that a slim system lacks is passed over. */
MSA_NODISCARD msa_status dicom_charsets_load(msa_error *err);

#ifdef __cplusplus
}
#endif
#endif
