#include "server/http/internal.h"

int srv_http_status(msa_status status)
{
    static const struct {
        msa_status from;
        int to;
    } table[] = {
        {MSA_OK, MHD_HTTP_OK},
        {MSA_E_PARSE, MHD_HTTP_BAD_REQUEST},
        {MSA_E_NOT_FOUND, MHD_HTTP_NOT_FOUND},
        {MSA_E_INVALID, MHD_HTTP_CONFLICT}, /* the state of the thing does not allow it */
        {MSA_E_UNSUPPORTED, MHD_HTTP_UNPROCESSABLE_CONTENT},
        {MSA_E_BUSY, MHD_HTTP_SERVICE_UNAVAILABLE},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (table[i].from == status) return table[i].to;
    return MHD_HTTP_INTERNAL_SERVER_ERROR;
}
