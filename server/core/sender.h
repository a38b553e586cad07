/* Who may send to us: entries that bind AE title, address and certificate. Pure functions, any thread. */
#ifndef SRV_CORE_SENDER_H
#define SRV_CORE_SENDER_H

#include <stdbool.h>
#include <stdint.h>

#include "dicom/receive.h"

#define SRV_SENDERS_MAX 64

typedef struct srv_sender {
    char name[64];
    char ae_title[DICOM_AE_MAX]; /* "*": any */
    char addresses[512];         /* "10.1.0.0/16, 10.2.3.4"; "*": any */
    char certificate[256];       /* "": not looked at; "*": any trusted one; a SHA-256; or "subject:CN=..." */
    int32_t max_associations;    /* at once; 0: as many as all together */
    int32_t object_max_mib;      /* 0: dicom.object_max_mib */
} srv_sender;

/* What is wrong with such a text, as the end of a sentence; NULL: nothing. */
const char *srv_sender_addresses_wrong(const char *text);
const char *srv_sender_certificate_wrong(const char *text);

/* `address` (numeric, IPv4 or IPv6; an IPv4 one as IPv6 shows it, too) lies in one of the ranges. */
bool srv_address_in(const char *ranges, const char *address);
/* Some entry allows this address, whoever it may turn out to be. Without entries: yes. */
bool srv_sender_knows_address(const srv_sender *senders, int32_t n, const char *address);
/**
 * The first entry that fits in everything; NULL where none does, and `why` says which is nearest and what is
 * wrong, with the remedy. Call it only where there are entries.
 */
const srv_sender *srv_sender_find(const srv_sender *senders, int32_t n, const dicom_assoc_info *who,
                                  char why[MSA_ERROR_WHAT_MAX]);

#endif
