
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * Service Fabric ("Access Azure resources from a Service Fabric application
 * using managed identity"): the cluster says which identity it is, and its
 * node is known by the certificate alone.
 */


#include "managed_identity.h"

#include <string.h>


static int aad_service_fabric_is_here(const aad_credential_t *credential);
static aad_result_t aad_service_fabric_get_token(
    const aad_credential_t *credential, aad_call_t *call, aad_token_t *token);


const aad_mi_source_t  aad_mi_service_fabric = {
    "Service Fabric",
    "2019-07-01-preview",
    "application",
    { NULL, NULL, NULL },
    aad_service_fabric_is_here,
    aad_service_fabric_get_token
};


static int
aad_service_fabric_is_here(const aad_credential_t *credential)
{
    return aad_mi_has(credential, AAD_MI_IDENTITY_ENDPOINT)
           && aad_mi_has(credential, AAD_MI_IDENTITY_HEADER)
           && aad_mi_has(credential, AAD_MI_THUMBPRINT);
}


static aad_result_t
aad_service_fabric_get_token(const aad_credential_t *credential,
    aad_call_t *call, aad_token_t *token)
{
    const char         *endpoint;
    aad_result_t        result;
    unsigned char       thumbprint[AAD_THUMBPRINT_BYTES];
    aad_mi_question_t   question;

    endpoint = aad_value(credential, AAD_MI_IDENTITY_ENDPOINT);

    /* without TLS there is no certificate that could be the right one */

    if (strncmp(endpoint, "https://", 8) != 0
        || aad_thumbprint(aad_value(credential, AAD_MI_THUMBPRINT),
                          thumbprint) != 0)
    {
        return aad_reason(call, AAD_FAILED, "IDENTITY_ENDPOINT must begin "
                          "with \"https://\" where "
                          "IDENTITY_SERVER_THUMBPRINT is set");
    }

    if (aad_mi_begin(&question, &aad_mi_service_fabric, credential, call,
                     endpoint)
        != 0
        || aad_mi_secret(&question, "Secret: ",
                         aad_value(credential, AAD_MI_IDENTITY_HEADER))
           != 0)
    {
        result = aad_reason(call, AAD_FAILED, "out of memory");

    } else {
        question.request.thumbprint = thumbprint;
        result = aad_mi_ask(&question, call, "IDENTITY_ENDPOINT", token);
    }

    aad_mi_end(&question);

    return result;
}
