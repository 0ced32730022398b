
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * An app registration with a client secret.
 */


#include "internal.h"


static aad_result_t aad_client_secret_get_token(
    const aad_credential_t *credential, aad_call_t *call, aad_token_t *token);
static int aad_client_secret_complete(aad_credential_t *credential,
    aad_error_t *error);


enum {
    AAD_TENANT_ID,
    AAD_CLIENT_ID,
    AAD_SECRET
};


static const aad_value_t  aad_client_secret_values[] = {
    { "tenant_id", NULL, AAD_TENANT_ID, &aad_form_tenant,
      AAD_VALUE_REQUIRED },
    { "client_id", NULL, AAD_CLIENT_ID, &aad_form_guid, AAD_VALUE_REQUIRED },
    { "secret_file", NULL, AAD_SECRET, NULL,
      AAD_VALUE_SECRET|AAD_VALUE_FILE },
    { "secret", NULL, AAD_SECRET, NULL, AAD_VALUE_SECRET },
    { NULL, NULL, 0, NULL, 0 }
};


const aad_credential_type_t  aad_client_secret = {
    "client_secret",
    aad_client_secret_values,
    aad_client_secret_complete,
    aad_client_secret_get_token
};


aad_result_t
aad_client_secret_token(aad_call_t *call, const char *tenant_id,
    const char *client_id, const aad_secret_t *client_secret,
    aad_token_t *token)
{
    aad_result_t  result;
    aad_secret_t  form;

    aad_secret_init(&form, AAD_BODY_BYTES_MAX);

    if (aad_secret_append_pair(&form, "client_id", client_id) != 0
        || aad_secret_append_pair(&form, "client_secret",
                                  client_secret->data) != 0)
    {
        result = aad_reason(call, AAD_FAILED, "out of memory");

    } else {
        result = aad_oauth_client_credentials(call, tenant_id, &form, token);
    }

    aad_secret_wipe(&form);

    return result;
}


static aad_result_t
aad_client_secret_get_token(const aad_credential_t *credential,
    aad_call_t *call, aad_token_t *token)
{
    return aad_client_secret_token(call, aad_value(credential, AAD_TENANT_ID),
                                   aad_value(credential, AAD_CLIENT_ID),
                                   &credential->values[AAD_SECRET], token);
}


static int
aad_client_secret_complete(aad_credential_t *credential, aad_error_t *error)
{
    if (credential->values[AAD_SECRET].length == 0) {
        return aad_error(error, "\"client_secret\" needs \"secret_file=\" "
                         "(or \"secret=\")");
    }

    return 0;
}
