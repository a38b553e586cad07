#include "engine/base/hash.h"

/*
 * libcrypto's plain functions, which version 3 calls deprecated in favour of EVP: they allocate nothing and
 * cannot fail. EVP_Digest() without memory leaves a digest of zeros, and the first EVP call without memory
 * crashes.
 */
#define OPENSSL_SUPPRESS_DEPRECATED

#include <errno.h>
#include <fcntl.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/cleanup.h"

struct msa_sha256 {
    SHA256_CTX ctx;
};

MSA_DEFINE_AUTO(msa_sha256, msa_sha256_free);

static void to_hex(const uint8_t digest[MSA_SHA256_SIZE], char hex[MSA_SHA256_HEX])
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < MSA_SHA256_SIZE; i++) {
        hex[2 * i] = digits[digest[i] >> 4];
        hex[2 * i + 1] = digits[digest[i] & 15];
    }
    hex[2 * MSA_SHA256_SIZE] = '\0';
}

msa_sha256 *msa_sha256_new(void)
{
    msa_sha256 *h = calloc(1, sizeof *h);
    if (h != NULL) (void)SHA256_Init(&h->ctx);
    return h;
}

void msa_sha256_free(msa_sha256 *h)
{
    free(h);
}

void msa_sha256_update(msa_sha256 *h, const void *data, size_t size)
{
    (void)SHA256_Update(&h->ctx, data, size);
}

void msa_sha256_hex(msa_sha256 *h, char hex[MSA_SHA256_HEX])
{
    uint8_t digest[MSA_SHA256_SIZE] = {0};
    (void)SHA256_Final(digest, &h->ctx);
    to_hex(digest, hex);
}

void msa_sha256_bytes(const void *data, size_t size, uint8_t digest[MSA_SHA256_SIZE],
                      char hex[MSA_SHA256_HEX])
{
    uint8_t local[MSA_SHA256_SIZE] = {0};
    SHA256_CTX ctx;
    (void)SHA256_Init(&ctx);
    (void)SHA256_Update(&ctx, data, size);
    (void)SHA256_Final(local, &ctx);
    if (digest != NULL) memcpy(digest, local, sizeof local);
    if (hex != NULL) to_hex(local, hex);
}

msa_status msa_sha256_file(const char *path, char hex[MSA_SHA256_HEX], msa_error *err)
{
    MSA_AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return msa_fail(err, errno == ENOENT ? MSA_E_NOT_FOUND : MSA_E_IO, "cannot open the file to hash: %s",
                        strerror(errno));
    MSA_AUTO(msa_sha256) h = msa_sha256_new();
    if (h == NULL) return msa_fail(err, MSA_E_NOMEM, "out of memory");
    enum { CHUNK = 1 << 18 };
    MSA_AUTO_FREE uint8_t *buf = malloc(CHUNK);
    if (buf == NULL) return msa_fail(err, MSA_E_NOMEM, "out of memory");
    for (;;) {
        const ssize_t n = read(fd, buf, CHUNK);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return msa_fail(err, MSA_E_IO, "cannot read the file to hash: %s", strerror(errno));
        if (n == 0) break;
        msa_sha256_update(h, buf, (size_t)n);
    }
    msa_sha256_hex(h, hex);
    return MSA_OK;
}

void msa_uid_derive(const char *name, char uid[MSA_UID_MAX])
{
    uint8_t digest[MSA_SHA256_SIZE];
    msa_sha256_bytes(name, strlen(name), digest, NULL);
    digest[6] = (uint8_t)((digest[6] & 0x0f) | 0x80); /* version 8: contents are ours */
    digest[8] = (uint8_t)((digest[8] & 0x3f) | 0x80); /* variant of RFC 9562 */
    char decimal[40];
    size_t used = sizeof decimal;
    decimal[--used] = '\0';
    for (int more = 1; more;) { /* long division of the 128-bit number by ten */
        unsigned rest = 0;
        more = 0;
        for (size_t i = 0; i < 16; i++) {
            const unsigned value = rest * 256u + digest[i];
            digest[i] = (uint8_t)(value / 10u);
            rest = value % 10u;
            more |= digest[i] != 0;
        }
        decimal[--used] = (char)('0' + rest);
    }
    (void)snprintf(uid, MSA_UID_MAX, "2.25.%s", decimal + used);
}
