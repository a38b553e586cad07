/* What the settings name: keys and certificates are opened and forgotten, so that a wrong file is found at
 * the start and not by the first association. */
#include "server/core/config.h"

static msa_status try_tls(const dicom_tls *tls, bool server, const char *where, msa_error *err)
{
    MSA_AUTO(dicom_tls_context) context = NULL;
    msa_error why = MSA_ERROR_INIT;
    if (!tls->on) return MSA_OK;
    const msa_status status = dicom_tls_open(&context, tls, server, &why);
    return status == MSA_OK ? MSA_OK : msa_fail(err, status, "%.80s: %s", where, why.what);
}

static msa_status try_peers(const dicom_destination *peers, int32_t n, msa_error *err)
{
    for (int32_t i = 0; i < n; i++)
        MSA_TRY(
            try_tls(&peers[i].tls, false, peers[i].name[0] != '\0' ? peers[i].name : peers[i].ae_title, err));
    return MSA_OK;
}

msa_status srv_config_check_files(const srv_config *config, msa_error *err)
{
    const dicom_tls own = srv_config_tls(config);
    MSA_TRY(try_tls(&own, true, "dicom", err));
    MSA_TRY(try_peers(config->destinations, config->n_destinations, err));
    return try_peers(config->sources, config->n_sources, err);
}
