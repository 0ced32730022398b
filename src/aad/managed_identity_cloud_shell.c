
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * Azure Cloud Shell: the token of the person whose shell it is.
 */


#include "managed_identity.h"


static int aad_cloud_shell_is_here(const aad_credential_t *credential);
static aad_result_t aad_cloud_shell_get_token(
    const aad_credential_t *credential, aad_call_t *call, aad_token_t *token);


const aad_mi_source_t  aad_mi_cloud_shell = {
    "Cloud Shell",
    NULL,
    NULL,
    { NULL, NULL, NULL },
    aad_cloud_shell_is_here,
    aad_cloud_shell_get_token
};


/* with MSI_SECRET beside it this is Azure ML, which was looked for before */
static int
aad_cloud_shell_is_here(const aad_credential_t *credential)
{
    return aad_mi_has(credential, AAD_MI_MSI_ENDPOINT);
}


static aad_result_t
aad_cloud_shell_get_token(const aad_credential_t *credential,
    aad_call_t *call, aad_token_t *token)
{
    aad_result_t       result;
    aad_mi_question_t  question;

    if (aad_mi_begin(&question, &aad_mi_cloud_shell, credential, call,
                     aad_value(credential, AAD_MI_MSI_ENDPOINT))
        != 0)
    {
        result = aad_reason(call, AAD_FAILED, "out of memory");

    } else {
        aad_mi_header(&question, "Metadata: true");
        result = aad_mi_ask(&question, call, "MSI_ENDPOINT", token);
    }

    aad_mi_end(&question);

    return result;
}
