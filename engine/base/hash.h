/* SHA-256 (FIPS 180-4) by libcrypto: it uses the CPU's SHA instructions, and DCMTK brings it in anyway. */
#ifndef MSA_ENGINE_BASE_HASH_H
#define MSA_ENGINE_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

#include "engine/base/error.h"

#ifdef __cplusplus
extern "C" {
#endif

#define MSA_SHA256_SIZE 32
#define MSA_SHA256_HEX  65 /* with the final NUL */

typedef struct msa_sha256 msa_sha256;

/* NULL when out of memory. `_free` accepts NULL. */
msa_sha256 *msa_sha256_new(void);
void msa_sha256_free(msa_sha256 *h);
void msa_sha256_update(msa_sha256 *h, const void *data, size_t size);
/* Ends the hash; the object may then only be freed. hex: lower case, NUL-terminated. */
void msa_sha256_hex(msa_sha256 *h, char hex[MSA_SHA256_HEX]);

/* One call for bytes in memory; digest may be NULL, hex may be NULL. */
void msa_sha256_bytes(const void *data, size_t size, uint8_t digest[MSA_SHA256_SIZE],
                      char hex[MSA_SHA256_HEX]);
/* A whole file. Errors: MSA_E_IO, MSA_E_NOT_FOUND. */
MSA_NODISCARD msa_status msa_sha256_file(const char *path, char hex[MSA_SHA256_HEX], msa_error *err);

/**
 * A UID that is a function of `name` alone: "2.25." and the decimal form of a version 8 UUID made of the
 * first 128 bits of SHA-256(name). Source: DICOM PS3.5 annex B.2, RFC 9562 section 5.8.
 */
#define MSA_UID_MAX 65
void msa_uid_derive(const char *name, char uid[MSA_UID_MAX]);

#ifdef __cplusplus
}
#endif
#endif
