
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * The service principal that the AZURE_* variables name.
 */


#include "internal.h"


static aad_result_t aad_environment_get_token(
    const aad_credential_t *credential, aad_call_t *call, aad_token_t *token);
static aad_result_t aad_environment_authenticate(
    const aad_credential_t *credential, aad_call_t *call,
    const char *token_endpoint, aad_secret_t *form);


enum {
    AAD_ENVIRONMENT_SECRET = AAD_APP_VALUES
};


static const aad_value_t  aad_environment_values[] = {
    { NULL, "AZURE_TENANT_ID", AAD_APP_TENANT_ID, &aad_form_tenant, 0 },
    { NULL, "AZURE_CLIENT_ID", AAD_APP_CLIENT_ID, &aad_form_guid, 0 },
    { NULL, "AZURE_CLIENT_SECRET", AAD_ENVIRONMENT_SECRET, NULL,
      AAD_VALUE_SECRET },
    { NULL, NULL, 0, NULL, 0 }
};


const aad_credential_type_t  aad_environment = {
    "environment",
    aad_environment_values,
    NULL,
    aad_environment_get_token,
    aad_environment_authenticate,
    NULL,
    NULL
};


/*
 * Half of the variables is the usual environment of a pod or of an app with a
 * user-assigned identity: not an error, the next step is asked.
 */
static aad_result_t
aad_environment_get_token(const aad_credential_t *credential,
    aad_call_t *call, aad_token_t *token)
{
    const aad_value_t  *v;

    for (v = aad_environment_values; v->variable != NULL; v++) {

        if (credential->values[v->slot].length == 0) {
            return aad_reason(call, AAD_UNAVAILABLE, "%s is not set",
                              v->variable);
        }
    }

    return aad_oauth_get_token(credential, call, token);
}


static aad_result_t
aad_environment_authenticate(const aad_credential_t *credential,
    aad_call_t *call, const char *token_endpoint, aad_secret_t *form)
{
    (void) token_endpoint;

    return aad_client_secret_authenticate(call,
                       &credential->values[AAD_ENVIRONMENT_SECRET], form);
}
