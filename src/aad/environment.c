
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * The service principal that the AZURE_* variables name.
 */


#include "internal.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>


static int aad_environment_complete(aad_credential_t *credential,
    aad_error_t *error);
static aad_result_t aad_environment_get_token(
    const aad_credential_t *credential, aad_call_t *call, aad_token_t *token);
static aad_result_t aad_environment_authenticate(
    const aad_credential_t *credential, aad_call_t *call,
    const char *token_endpoint, aad_secret_t *form);
static int aad_environment_is_given(const aad_credential_t *credential);
static int aad_environment_is_set(const aad_credential_t *credential,
    size_t slot);


enum {
    AAD_ENVIRONMENT_SECRET = AAD_CERTIFICATE_VALUES,
    AAD_ENVIRONMENT_USERNAME
};


static const aad_value_t  aad_environment_values[] = {
    { NULL, "AZURE_TENANT_ID", AAD_APP_TENANT_ID, &aad_form_tenant, 0 },
    { NULL, "AZURE_CLIENT_ID", AAD_APP_CLIENT_ID, &aad_form_guid, 0 },
    { NULL, "AZURE_CLIENT_SECRET", AAD_ENVIRONMENT_SECRET, NULL,
      AAD_VALUE_SECRET },
    { NULL, "AZURE_CLIENT_CERTIFICATE_PATH", AAD_CERTIFICATE_FILE, NULL,
      AAD_VALUE_PLACE },
    { NULL, "AZURE_CLIENT_CERTIFICATE_PASSWORD", AAD_CERTIFICATE_PASSWORD,
      NULL, AAD_VALUE_SECRET },
    { NULL, "AZURE_CLIENT_SEND_CERTIFICATE_CHAIN",
      AAD_CERTIFICATE_SEND_CHAIN, NULL, 0 },
    { NULL, "AZURE_USERNAME", AAD_ENVIRONMENT_USERNAME, NULL, 0 },
    { NULL, NULL, 0, NULL, 0 }
};


const aad_credential_type_t  aad_environment = {
    "environment",
    aad_environment_values,
    aad_environment_complete,
    aad_environment_get_token,
    aad_environment_authenticate,
    NULL,
    NULL,
    aad_environment_is_given
};


/*
 * A bad certificate stops the chain when it is asked, not nginx: the variables
 * may be there for others.  So it does with azure-identity for Python, where
 * the constructor raises an error; that for Go asks the next step, under an
 * identity that nobody may have meant.
 */
static int
aad_environment_complete(aad_credential_t *credential, aad_error_t *error)
{
    const char    *value;
    aad_error_t    wrong;
    aad_secret_t  *send_chain;

    send_chain = &credential->values[AAD_CERTIFICATE_SEND_CHAIN];
    value = send_chain->data;

    if (strcmp(value, "1") == 0 || strcasecmp(value, "true") == 0) {
        aad_secret_wipe(send_chain);

        if (aad_secret_append_text(send_chain, "on") != 0) {
            return aad_error(error, "out of memory");
        }

    } else {
        aad_secret_wipe(send_chain);
    }

    if (credential->complaint[0] == '\0'
        && aad_environment_is_set(credential, AAD_APP_TENANT_ID)
        && aad_environment_is_set(credential, AAD_APP_CLIENT_ID)
        && !aad_environment_is_set(credential, AAD_ENVIRONMENT_SECRET)
        && aad_environment_is_set(credential, AAD_CERTIFICATE_FILE)
        && aad_client_certificate_read(credential, &wrong) != 0)
    {
        snprintf(credential->complaint, sizeof(credential->complaint),
                 "AZURE_CLIENT_CERTIFICATE_PATH: %.400s", wrong.text);
        credential->complaint_result = AAD_FAILED;
    }

    /* not needed any more, or not needed at all */

    aad_secret_wipe(&credential->values[AAD_CERTIFICATE_PASSWORD]);

    return 0;
}


/*
 * Half of the variables is the usual environment of a pod or of an app with a
 * user-assigned identity: not an error, the next step is asked.
 */
static aad_result_t
aad_environment_get_token(const aad_credential_t *credential,
    aad_call_t *call, aad_token_t *token)
{
    if (!aad_environment_is_set(credential, AAD_APP_TENANT_ID)) {
        return aad_reason(call, AAD_UNAVAILABLE,
                          "AZURE_TENANT_ID is not set");
    }

    if (!aad_environment_is_set(credential, AAD_APP_CLIENT_ID)) {
        return aad_reason(call, AAD_UNAVAILABLE,
                          "AZURE_CLIENT_ID is not set");
    }

    if (!aad_environment_is_set(credential, AAD_ENVIRONMENT_SECRET)
        && credential->certificate == NULL)
    {
        return aad_reason(call, AAD_UNAVAILABLE, "AZURE_CLIENT_SECRET is not "
                          "set, nor is AZURE_CLIENT_CERTIFICATE_PATH%s",
                          aad_environment_is_set(credential,
                                                 AAD_ENVIRONMENT_USERNAME)
                          ? "; AZURE_USERNAME is, but signing in with a "
                            "user's password is not supported" : "");
    }

    return aad_oauth_get_token(credential, call, token);
}


/* the secret first, as every SDK has it */
static aad_result_t
aad_environment_authenticate(const aad_credential_t *credential,
    aad_call_t *call, const char *token_endpoint, aad_secret_t *form)
{
    if (credential->certificate != NULL) {
        return aad_client_assertion_authenticate(call,
                            credential->certificate,
                            aad_value(credential, AAD_APP_CLIENT_ID),
                            token_endpoint, form);
    }

    return aad_client_secret_authenticate(call,
                       &credential->values[AAD_ENVIRONMENT_SECRET], form);
}


static int
aad_environment_is_given(const aad_credential_t *credential)
{
    return aad_value_is_given(credential, AAD_APP_TENANT_ID)
           && aad_value_is_given(credential, AAD_APP_CLIENT_ID)
           && (aad_value_is_given(credential, AAD_ENVIRONMENT_SECRET)
               || aad_value_is_given(credential, AAD_CERTIFICATE_FILE));
}


static int
aad_environment_is_set(const aad_credential_t *credential, size_t slot)
{
    return credential->values[slot].length != 0;
}
