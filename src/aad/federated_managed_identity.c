
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * An app registration that trusts a managed identity: the identity's token
 * for the exchange audience is the app's assertion, as on Microsoft's page
 * "Configure an application to trust a managed identity".  No secret is kept
 * anywhere, and the app may be at home in another tenant.
 *
 * azure-identity has a ClientAssertionCredential for it, with a callback that
 * asks a ManagedIdentityCredential.  What that raises goes through as it is,
 * so here too: a machine without managed identities, or without this one,
 * makes the step unavailable, as it does "managed_identity".  What Entra ID
 * refuses is final.
 */


#include "internal.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>


/* an assertion that ends sooner is not used again */
#define AAD_FMI_REST_S          300


enum {
    AAD_FMI_IDENTITY = AAD_APP_VALUES
};


/*
 * The identity's token, which lives for a day where the app's has an hour.
 * The mutex is not held while a new one is fetched: that two threads do so at
 * once is no harm, that one waits for the other beyond its deadline would be.
 */
typedef struct {
    pthread_mutex_t         mutex;
    aad_secret_t            assertion;
    int64_t                 expires_on;     /* Unix seconds */
} aad_fmi_state_t;


static int aad_fmi_complete(aad_credential_t *credential, aad_error_t *error);
static aad_result_t aad_fmi_get_token(const aad_credential_t *credential,
    aad_call_t *call, aad_token_t *token);
static aad_result_t aad_fmi_authenticate(const aad_credential_t *credential,
    aad_call_t *call, const char *token_endpoint, aad_secret_t *form);
static aad_result_t aad_fmi_ask_machine(const aad_credential_t *credential,
    aad_call_t *call, aad_token_t *token);
static int aad_fmi_is_kept(const aad_credential_t *credential,
    const aad_call_t *call, aad_secret_t *assertion);
static void aad_fmi_keep(const aad_credential_t *credential,
    const aad_token_t *token);
static void aad_fmi_forget(const aad_credential_t *credential);
static int aad_fmi_is_refused(const char *code);
static void aad_fmi_destroy(aad_credential_t *credential);


static const aad_value_t  aad_fmi_values[] = {
    { "tenant_id", NULL, AAD_APP_TENANT_ID, &aad_form_tenant,
      AAD_VALUE_REQUIRED },
    { "client_id", NULL, AAD_APP_CLIENT_ID, &aad_form_guid,
      AAD_VALUE_REQUIRED },

    /* an app cannot trust a system-assigned identity */

    { "identity_client_id", NULL, AAD_FMI_IDENTITY, &aad_form_guid,
      AAD_VALUE_REQUIRED },
    { NULL, NULL, 0, NULL, 0 }
};


const aad_credential_type_t  aad_federated_managed_identity = {
    "federated_managed_identity",
    aad_fmi_values,
    aad_fmi_complete,
    aad_fmi_get_token,
    aad_fmi_authenticate,
    aad_fmi_destroy,
    "managed_identity",
    NULL
};


static int
aad_fmi_complete(aad_credential_t *credential, aad_error_t *error)
{
    aad_fmi_state_t  *state;

    if (aad_credential_set(credential->inner, "client_id",
                           aad_value(credential, AAD_FMI_IDENTITY), error)
        != 0
        || aad_credential_complete(credential->inner, error) != 0)
    {
        return -1;
    }

    state = calloc(1, sizeof(aad_fmi_state_t));
    if (state == NULL) {
        return aad_error(error, "out of memory");
    }

    if (pthread_mutex_init(&state->mutex, NULL) != 0) {
        free(state);
        return aad_error(error, "out of memory");
    }

    aad_secret_init(&state->assertion, AAD_TOKEN_BYTES_MAX);
    credential->state = state;

    return 0;
}


/*
 * An assertion that is kept may have become worthless, by a change of the
 * app's federated credential for one: refused, it is replaced, once.
 */
static aad_result_t
aad_fmi_get_token(const aad_credential_t *credential, aad_call_t *call,
    aad_token_t *token)
{
    int           kept;
    aad_result_t  result;

    kept = aad_fmi_is_kept(credential, call, NULL);

    result = aad_oauth_get_token(credential, call, token);

    if (result == AAD_OK || !aad_fmi_is_refused(call->attempt->code)) {
        return result;
    }

    aad_fmi_forget(credential);

    if (!kept) {
        return result;
    }

    memset(call->attempt, 0, sizeof(aad_attempt_t));
    call->attempt->credential = credential->type->name;

    result = aad_oauth_get_token(credential, call, token);

    if (result != AAD_OK && aad_fmi_is_refused(call->attempt->code)) {
        aad_fmi_forget(credential);
    }

    return result;
}


static aad_result_t
aad_fmi_authenticate(const aad_credential_t *credential, aad_call_t *call,
    const char *token_endpoint, aad_secret_t *form)
{
    aad_token_t   token;
    aad_result_t  result;

    (void) token_endpoint;

    memset(&token, 0, sizeof(aad_token_t));
    aad_secret_init(&token.access_token, AAD_TOKEN_BYTES_MAX);

    result = AAD_OK;

    if (!aad_fmi_is_kept(credential, call, &token.access_token)) {

        result = aad_fmi_ask_machine(credential, call, &token);

        if (result == AAD_OK) {
            aad_fmi_keep(credential, &token);
        }
    }

    if (result == AAD_OK) {
        result = aad_oauth_add_assertion(call, token.access_token.data, form);
    }

    aad_token_wipe(&token);

    return result;
}


static aad_result_t
aad_fmi_ask_machine(const aad_credential_t *credential, aad_call_t *call,
    aad_token_t *token)
{
    char                     scope[AAD_ID_BYTES];
    aad_result_t             result;
    const aad_credential_t  *identity;

    identity = credential->inner;

    snprintf(scope, sizeof(scope), "%s/.default",
             aad_cloud_exchange_audience(call->settings->authority_host));

    if (identity->complaint[0] != '\0') {
        result = aad_reason(call, identity->complaint_result, "%s",
                            identity->complaint);

    } else {
        result = aad_managed_identity_token(identity, call, scope, token);
    }

    return result == AAD_OK ? AAD_OK
           : aad_reason_of(call, result, "managed_identity");
}


/*
 * Whether there is an assertion that can be used again; it is appended to
 * 'assertion', which may be NULL.
 */
static int
aad_fmi_is_kept(const aad_credential_t *credential, const aad_call_t *call,
    aad_secret_t *assertion)
{
    int               kept;
    int64_t           now;
    aad_fmi_state_t  *state;

    state = credential->state;
    now = call->hooks->now(call->hooks->data);

    pthread_mutex_lock(&state->mutex);

    kept = state->assertion.length != 0
           && state->expires_on - now >= AAD_FMI_REST_S;

    if (kept && assertion != NULL) {
        kept = aad_secret_append(assertion, state->assertion.data,
                                 state->assertion.length)
               == 0;
    }

    pthread_mutex_unlock(&state->mutex);

    return kept;
}


/* Without the memory for it, it is fetched again the next time. */
static void
aad_fmi_keep(const aad_credential_t *credential, const aad_token_t *token)
{
    aad_fmi_state_t  *state;

    state = credential->state;

    pthread_mutex_lock(&state->mutex);

    aad_secret_wipe(&state->assertion);
    (void) aad_secret_append(&state->assertion, token->access_token.data,
                             token->access_token.length);
    state->expires_on = token->expires_on;

    pthread_mutex_unlock(&state->mutex);
}


static void
aad_fmi_forget(const aad_credential_t *credential)
{
    aad_fmi_state_t  *state;

    state = credential->state;

    pthread_mutex_lock(&state->mutex);
    aad_secret_wipe(&state->assertion);
    pthread_mutex_unlock(&state->mutex);
}


/*
 * The codes by which Entra ID refuses an assertion, of "Microsoft Entra
 * authentication and authorization error codes"; where it gives none, RFC
 * 6749 5.2 has a word for it.
 */
static int
aad_fmi_is_refused(const char *code)
{
    size_t  i;

    static const char *const  codes[] = {
        "AADSTS50027", "AADSTS5002723",
        "AADSTS70021", "AADSTS700021", "AADSTS700023", "AADSTS700024",
        "AADSTS700027", "AADSTS700211", "AADSTS700212", "AADSTS700213",
        "AADSTS700229",
        "invalid_client"
    };

    for (i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        if (strcmp(codes[i], code) == 0) {
            return 1;
        }
    }

    return 0;
}


static void
aad_fmi_destroy(aad_credential_t *credential)
{
    aad_fmi_state_t  *state;

    state = credential->state;

    if (state == NULL) {
        return;
    }

    aad_secret_wipe(&state->assertion);
    pthread_mutex_destroy(&state->mutex);
    free(state);
}
