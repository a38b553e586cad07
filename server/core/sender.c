#include "server/core/sender.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define SUBJECT     "subject:"
#define BITS        128
#define IPV4_PREFIX 96 /* of an IPv4 address as IPv6 writes it: ::ffff:a.b.c.d (RFC 4291 section 2.5.5.2) */

typedef struct range {
    unsigned char bytes[16];
    int bits; /* that count */
} range;

static bool parse_address(const char *text, unsigned char out[16], int *prefix)
{
    static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff};
    *prefix = 0;
    if (inet_pton(AF_INET6, text, out) == 1) return true;
    memcpy(out, mapped, sizeof mapped);
    *prefix = IPV4_PREFIX;
    return inet_pton(AF_INET, text, out + sizeof mapped) == 1;
}

/* One "10.1.0.0/16" or "10.2.3.4". */
static bool parse_range(const char *text, range *out)
{
    char address[64];
    int prefix = 0;
    const size_t n = strcspn(text, "/");
    if (n >= sizeof address) return false;
    memcpy(address, text, n);
    address[n] = '\0';
    if (!parse_address(address, out->bytes, &prefix)) return false;
    out->bits = BITS;
    if (text[n] == '\0') return true;
    const char *digits = text + n + 1;
    const size_t m = strspn(digits, "0123456789");
    if (m == 0 || m > 3 || digits[m] != '\0') return false;
    out->bits = prefix + atoi(digits);
    return out->bits <= BITS;
}

static bool contains(const range *r, const unsigned char address[16])
{
    const int whole = r->bits / 8, rest = r->bits % 8;
    if (memcmp(r->bytes, address, (size_t)whole) != 0) return false;
    const unsigned mask = rest == 0 ? 0 : 0xffu << (8 - rest) & 0xffu;
    return rest == 0 || ((r->bytes[whole] ^ address[whole]) & mask) == 0;
}

/* The next word of a list with commas or spaces between; false at its end. A word that is too long is cut,
 * and then no address. */
static bool next_word(const char **text, char out[64])
{
    *text += strspn(*text, ", ");
    const size_t n = strcspn(*text, ", ");
    (void)snprintf(out, 64, "%.*s", (int)n, *text);
    *text += n;
    return n > 0;
}

const char *srv_sender_addresses_wrong(const char *text)
{
    char word[64];
    range r;
    if (strcmp(text, "*") == 0) return NULL;
    if (text[strspn(text, ", ")] == '\0') return "is empty; write addresses, or \"*\" for any";
    while (next_word(&text, word))
        if (!parse_range(word, &r))
            return "is not a list of addresses and ranges, as \"10.1.0.0/16, 10.2.3.4\", nor \"*\"";
    return NULL;
}

/* 64 hexadecimal digits, whatever colons stand between, in lower case. */
static bool parse_fingerprint(const char *text, char out[DICOM_FINGERPRINT_MAX])
{
    size_t n = 0;
    for (; *text != '\0'; text++) {
        if (*text == ':') continue;
        if (!isxdigit((unsigned char)*text) || n == DICOM_FINGERPRINT_MAX - 1) return false;
        out[n++] = (char)tolower((unsigned char)*text);
    }
    out[n] = '\0';
    return n == DICOM_FINGERPRINT_MAX - 1;
}

const char *srv_sender_certificate_wrong(const char *text)
{
    char fingerprint[DICOM_FINGERPRINT_MAX];
    if (text[0] == '\0' || strcmp(text, "*") == 0 || parse_fingerprint(text, fingerprint)) return NULL;
    if (strncmp(text, SUBJECT, strlen(SUBJECT)) == 0 && text[strlen(SUBJECT)] != '\0') return NULL;
    return "is neither a SHA-256 fingerprint (64 hexadecimal digits), nor \"subject:CN=...\", nor \"*\" for "
           "any "
           "that dicom.tls_ca vouches for";
}

bool srv_address_in(const char *ranges, const char *address)
{
    unsigned char bytes[16];
    char word[64];
    int prefix = 0;
    range r;
    if (strcmp(ranges, "*") == 0) return true;
    if (!parse_address(address, bytes, &prefix)) return false;
    while (next_word(&ranges, word))
        if (parse_range(word, &r) && contains(&r, bytes)) return true;
    return false;
}

bool srv_sender_knows_address(const srv_sender *senders, int32_t n, const char *address)
{
    for (int32_t i = 0; i < n; i++)
        if (srv_address_in(senders[i].addresses, address)) return true;
    return n == 0;
}

static bool certificate_fits(const srv_sender *s, const dicom_assoc_info *who)
{
    char fingerprint[DICOM_FINGERPRINT_MAX];
    if (s->certificate[0] == '\0') return true;
    if (who->certificate[0] == '\0') return false;
    if (strcmp(s->certificate, "*") == 0) return true;
    if (strncmp(s->certificate, SUBJECT, strlen(SUBJECT)) == 0)
        return strcmp(s->certificate + strlen(SUBJECT), who->subject) == 0;
    return parse_fingerprint(s->certificate, fingerprint) && strcmp(fingerprint, who->certificate) == 0;
}

static void say_certificate(const srv_sender *s, const dicom_assoc_info *who, char why[MSA_ERROR_WHAT_MAX])
{
    if (who->certificate[0] == '\0')
        (void)snprintf(
            why, MSA_ERROR_WHAT_MAX,
            "\"%s\" called %s, and senders entry %.40s asks for one: let it use TLS on dicom.tls_port, or "
            "clear the entry's certificate",
            who->calling_ae, who->tls[0] == '\0' ? "without TLS" : "without a certificate", s->name);
    else if (strncmp(s->certificate, SUBJECT, strlen(SUBJECT)) == 0)
        (void)snprintf(
            why, MSA_ERROR_WHAT_MAX,
            "\"%s\" showed a certificate of %.56s, which is not that of senders entry %.40s: set it "
            "there (" SUBJECT "...) if it is right",
            who->calling_ae, who->subject, s->name);
    else
        (void)snprintf(why, MSA_ERROR_WHAT_MAX,
                       "\"%s\" showed the certificate %s, which is not that of senders entry %.40s: set it "
                       "there if it is right",
                       who->calling_ae, who->certificate, s->name);
}

const srv_sender *srv_sender_find(const srv_sender *senders, int32_t n, const dicom_assoc_info *who,
                                  char why[MSA_ERROR_WHAT_MAX])
{
    const srv_sender *named = NULL, *placed = NULL; /* fits in the AE title; in that and the address */
    for (int32_t i = 0; i < n; i++) {
        const srv_sender *s = &senders[i];
        if (strcmp(s->ae_title, "*") != 0 && strcmp(s->ae_title, who->calling_ae) != 0) continue;
        if (named == NULL) named = s;
        if (!srv_address_in(s->addresses, who->peer)) continue;
        if (certificate_fits(s, who)) return s;
        if (placed == NULL) placed = s;
    }
    if (placed != NULL)
        say_certificate(placed, who, why);
    else if (named != NULL)
        (void)snprintf(
            why, MSA_ERROR_WHAT_MAX,
            "\"%s\" called from %s, which senders entry %.40s does not allow: add it to the entry's "
            "addresses, if it is right",
            who->calling_ae, who->peer, named->name);
    else
        (void)snprintf(
            why, MSA_ERROR_WHAT_MAX,
            "the calling AE title \"%s\" is not among the senders: add an entry for it (from %s) under "
            "senders, or correct it at the sender",
            who->calling_ae, who->peer);
    return NULL;
}
