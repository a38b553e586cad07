/* Zip archives whose entries are stored as they are: what torch.save() writes. */
#ifndef MSA_ENGINE_IO_ZIP_H
#define MSA_ENGINE_IO_ZIP_H

#include <stddef.h>
#include <stdint.h>

#include "engine/base/cleanup.h"
#include "engine/base/error.h"

typedef struct msa_zip_entry {
    const char *name; /* in the archive's bytes; not ended by NUL */
    size_t name_length;
    uint64_t offset, size; /* of its bytes in the archive */
    uint32_t crc;          /* 0: not recorded, or empty */
} msa_zip_entry;

/* In the order of their bytes in the archive. */
typedef struct msa_zip {
    msa_zip_entry *entries;
    const msa_zip_entry **by_name;
    int32_t n;
} msa_zip;

/**
 * Reads the central directory, with zip64 records where there are any, and holds every entry against its
 * local header: stored, not encrypted, inside the archive, not overlapping another, no name twice. `bytes`
 * are borrowed as long as the archive lives. Memory: 48 bytes for each entry, an entry takes at least 76 of
 * the file. Errors: MSA_E_PARSE, MSA_E_UNSUPPORTED (compressed or encrypted), MSA_E_NOMEM.
 */
MSA_NODISCARD msa_status msa_zip_read(msa_zip **out, const unsigned char *bytes, size_t size, msa_error *err);
void msa_zip_free(msa_zip *z);
MSA_DEFINE_AUTO(msa_zip, msa_zip_free);
/* NULL when there is none of that name. */
const msa_zip_entry *msa_zip_find(const msa_zip *z, const char *name, size_t length);
/* CRC-32 of n bytes as zip has it (ISO 3309); `crc` is that of the bytes before them, 0 at the start. */
uint32_t msa_crc32(uint32_t crc, const unsigned char *bytes, size_t n);

#endif
