
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * An app registration with a client secret.
 */


#include "internal.h"


static int aad_client_secret_complete(aad_credential_t *credential,
    aad_error_t *error);
static aad_result_t aad_client_secret_prove(
    const aad_credential_t *credential, aad_call_t *call,
    const char *token_endpoint, aad_secret_t *form);


enum {
    AAD_CLIENT_SECRET = AAD_APP_VALUES
};


static const aad_value_t  aad_client_secret_values[] = {
    { "tenant_id", NULL, AAD_APP_TENANT_ID, &aad_form_tenant,
      AAD_VALUE_REQUIRED },
    { "client_id", NULL, AAD_APP_CLIENT_ID, &aad_form_guid,
      AAD_VALUE_REQUIRED },
    { "secret_file", NULL, AAD_CLIENT_SECRET, NULL,
      AAD_VALUE_SECRET|AAD_VALUE_FILE },
    { "secret", NULL, AAD_CLIENT_SECRET, NULL, AAD_VALUE_SECRET },
    { NULL, NULL, 0, NULL, 0 }
};


const aad_credential_type_t  aad_client_secret = {
    "client_secret",
    aad_client_secret_values,
    aad_client_secret_complete,
    aad_oauth_get_token,
    aad_client_secret_prove,
    NULL,
    NULL,
    NULL
};


aad_result_t
aad_client_secret_authenticate(aad_call_t *call,
    const aad_secret_t *client_secret, aad_secret_t *form)
{
    if (aad_secret_append_pair(form, "client_secret", client_secret->data)
        != 0)
    {
        return aad_reason(call, AAD_FAILED, "out of memory");
    }

    return AAD_OK;
}


static int
aad_client_secret_complete(aad_credential_t *credential, aad_error_t *error)
{
    if (credential->values[AAD_CLIENT_SECRET].length == 0) {
        return aad_error(error, "\"client_secret\" needs \"secret_file=\" "
                         "(or \"secret=\")");
    }

    return 0;
}


static aad_result_t
aad_client_secret_prove(const aad_credential_t *credential, aad_call_t *call,
    const char *token_endpoint, aad_secret_t *form)
{
    (void) token_endpoint;

    return aad_client_secret_authenticate(call,
                            &credential->values[AAD_CLIENT_SECRET], form);
}
