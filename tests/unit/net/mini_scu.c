/* One delivery for the tests: mini_scu HOST PORT CALLED_AE TIMEOUT_S [--tls FOLDER NAME] [FILE]. Prints
 * outcome, DIMSE status and the sentence. One question: ... TIMEOUT_S --find STUDY SERIES. Prints the number
 * of images before them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dicom/find.h"
#include "dicom/send.h"

static int find(const dicom_destination *source, const char *study, const char *series)
{
    msa_error err = MSA_ERROR_INIT;
    dicom_find_result r;
    if (dicom_find_images(source, study, series, &r, &err) != MSA_OK)
        (void)printf("error -1 -1 -1|%s\n", err.what);
    else
        (void)printf("images %d %d %d|%s\n", r.images, r.said.outcome, r.said.dimse_status, r.said.comment);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc < 5) return 2;
    msa_error err = MSA_ERROR_INIT;
    dicom_send_result r;
    dicom_destination to = {
        .port = atoi(argv[2]), .timeout_s = atoi(argv[4]), .name = "test", .calling_ae = "MSAD"};
    (void)snprintf(to.host, sizeof to.host, "%s", argv[1]);
    (void)snprintf(to.ae_title, sizeof to.ae_title, "%s", argv[3]);
    if (argc > 6 &&
        strcmp(argv[5], "--tls") == 0) { /* FOLDER with key.pem, cert.pem and ca.pem, NAME or "" */
        to.tls.on = true;
        (void)snprintf(to.tls.key, sizeof to.tls.key, "%s/key.pem", argv[6]);
        (void)snprintf(to.tls.certificate, sizeof to.tls.certificate, "%s/cert.pem", argv[6]);
        (void)snprintf(to.tls.ca, sizeof to.tls.ca, "%s/ca.pem", argv[6]);
        (void)snprintf(to.tls.name, sizeof to.tls.name, "%s", argv[7]);
        argc -= 3;
        argv += 3;
    }
    if (argc == 8 && strcmp(argv[5], "--find") == 0) return find(&to, argv[6], argv[7]);
    const msa_status st = argc > 5 ? dicom_send_file(&to, argv[5], &r, &err) : dicom_send_echo(&to, &r, &err);
    if (st != MSA_OK)
        (void)printf("error %s|%s\n", msa_status_name(st), err.what);
    else
        (void)printf("outcome %d %d|%s\n", r.outcome, r.dimse_status, r.comment);
    return 0;
}
