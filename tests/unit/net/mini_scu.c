/* One delivery for the tests: mini_scu HOST PORT CALLED_AE TIMEOUT_S [FILE]. Prints outcome, DIMSE status and
 * the sentence. */
#include <stdio.h>
#include <stdlib.h>

#include "dicom/send.h"

int main(int argc, char **argv)
{
    if (argc < 5) return 2;
    msa_error err = MSA_ERROR_INIT;
    dicom_send_result r;
    dicom_destination to = {
        .port = atoi(argv[2]), .timeout_s = atoi(argv[4]), .name = "test", .calling_ae = "MSAD"};
    (void)snprintf(to.host, sizeof to.host, "%s", argv[1]);
    (void)snprintf(to.ae_title, sizeof to.ae_title, "%s", argv[3]);
    const msa_status st = argc > 5 ? dicom_send_file(&to, argv[5], &r, &err) : dicom_send_echo(&to, &r, &err);
    if (st != MSA_OK)
        (void)printf("error %s|%s\n", msa_status_name(st), err.what);
    else
        (void)printf("outcome %d %d|%s\n", r.outcome, r.dimse_status, r.comment);
    return 0;
}
