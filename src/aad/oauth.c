
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * The token POST that all app credentials share.
 */


#include "internal.h"

#include <stdio.h>
#include <string.h>


#define AAD_ASSERTION_TYPE                                                    \
    "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

#define AAD_GRANT_JWT_BEARER                                                  \
    "urn:ietf:params:oauth:grant-type:jwt-bearer"


/* One request for a token, tried until it is answered for good. */
typedef struct {
    const aad_credential_t   *credential;
    const aad_oauth_relay_t  *relay;        /* NULL: to the authority itself */
    char                      endpoint[AAD_URL_BYTES_MAX];
    unsigned                  tries;
    int                       again;        /* true: another try is due */
} aad_oauth_t;


static aad_result_t aad_oauth_try(aad_oauth_t *oauth, aad_call_t *call,
    aad_token_t *token);
static aad_result_t aad_oauth_form(const aad_oauth_t *oauth, aad_call_t *call,
    aad_secret_t *form);
static int aad_oauth_grant(const aad_call_t *call, aad_secret_t *form);
static aad_result_t aad_oauth_token(const aad_oauth_t *oauth,
    aad_call_t *call, const aad_http_response_t *response,
    aad_token_t *token);


aad_result_t
aad_oauth_get_token(const aad_credential_t *credential, aad_call_t *call,
    aad_token_t *token)
{
    return aad_oauth_get_token_by(credential, call, NULL, token);
}


aad_result_t
aad_oauth_get_token_by(const aad_credential_t *credential, aad_call_t *call,
    const aad_oauth_relay_t *relay, aad_token_t *token)
{
    aad_oauth_t   oauth;
    aad_result_t  result;

    memset(&oauth, 0, sizeof(aad_oauth_t));
    oauth.credential = credential;
    oauth.relay = relay;

    snprintf(oauth.endpoint, sizeof(oauth.endpoint), "%s/%s/oauth2/v2.0/token",
             relay != NULL ? relay->url : call->settings->authority_host,
             aad_value(credential, AAD_APP_TENANT_ID));

    /* Entra answers with it as "correlation_id" and finds it in its logs */

    (void) aad_uuid(call->attempt->correlation_id,
                    sizeof(call->attempt->correlation_id));

    do {
        result = aad_oauth_try(&oauth, call, token);
    } while (oauth.again);

    return result;
}


aad_result_t
aad_oauth_add_assertion(aad_call_t *call, const char *assertion,
    aad_secret_t *form)
{
    if (aad_secret_append_pair(form, "client_assertion_type",
                               AAD_ASSERTION_TYPE) != 0
        || aad_secret_append_pair(form, "client_assertion", assertion) != 0)
    {
        return aad_reason(call, AAD_FAILED, "out of memory");
    }

    return AAD_OK;
}


/* The form is made anew for each try: an assertion is good for one request. */
static aad_result_t
aad_oauth_try(aad_oauth_t *oauth, aad_call_t *call, aad_token_t *token)
{
    int                   rc;
    char                  header[AAD_ID_BYTES + 32];
    aad_error_t           error;
    aad_secret_t          form;
    aad_result_t          result;
    aad_http_request_t    request;
    aad_http_response_t   response;

    oauth->again = 0;

    if (call->refusal != NULL) {
        memset(call->refusal, 0, sizeof(aad_refusal_t));
        call->refusal->reason = "";
    }

    aad_secret_init(&form, AAD_FORM_BYTES_MAX);

    result = aad_oauth_form(oauth, call, &form);

    if (result != AAD_OK) {
        aad_secret_wipe(&form);
        return result;
    }

    snprintf(header, sizeof(header), "client-request-id: %s",
             call->attempt->correlation_id);

    memset(&request, 0, sizeof(aad_http_request_t));
    request.url = oauth->endpoint;
    request.headers[0] = header;
    request.form = &form;
    request.connect_timeout_ms = AAD_CONNECT_TIMEOUT_MS;

    /*
     * A relay is a neighbour: the egress proxy does not lead to it, and it
     * has not the authority's CA.
     */

    if (oauth->relay != NULL) {
        request.ca_certificates = oauth->relay->ca_certificates;
        request.server_name = oauth->relay->server_name;

    } else {
        request.authority = 1;
    }

    rc = aad_http(call, &request, &response, &error);

    aad_secret_wipe(&form);

    /* what a relay passes on are the authority's words */

    response.authority = 1;

    if (call->refusal != NULL && rc != 0) {
        aad_refusal_set(call->refusal, AAD_REFUSAL_UNAVAILABLE);
    }

    oauth->tries++;
    oauth->again = aad_retry(call, &aad_retry_authority, oauth->tries, rc,
                             &response);

    result = oauth->again ? AAD_FAILED
             : rc != 0 ? aad_reason(call, AAD_FAILED, "%s", error.text)
             : aad_oauth_token(oauth, call, &response, token);

    if (result != AAD_OK && oauth->relay != NULL && !oauth->again) {
        result = aad_reason_of(call, result, oauth->relay->name);
    }

    aad_secret_wipe(&response.body);

    return result;
}


static aad_result_t
aad_oauth_form(const aad_oauth_t *oauth, aad_call_t *call, aad_secret_t *form)
{
    aad_result_t             result;
    const aad_credential_t  *credential;

    credential = oauth->credential;

    if (aad_secret_append_pair(form, "client_id",
                               aad_value(credential, AAD_APP_CLIENT_ID)) != 0)
    {
        return aad_reason(call, AAD_FAILED, "out of memory");
    }

    result = credential->type->authenticate(credential, call, oauth->endpoint,
                                            form);

    if (result == AAD_OK
        && (aad_oauth_grant(call, form) != 0
            || aad_secret_append_pair(form, "scope", call->settings->scope)
               != 0))
    {
        result = aad_reason(call, AAD_FAILED, "out of memory");
    }

    return result;
}


/* RFC 6749 4.4, or RFC 7523 2.1 as the On-Behalf-Of flow has it */
static int
aad_oauth_grant(const aad_call_t *call, aad_secret_t *form)
{
    if (call->assertion == NULL) {
        return aad_secret_append_pair(form, "grant_type",
                                      "client_credentials");
    }

    return aad_secret_append_pair(form, "grant_type", AAD_GRANT_JWT_BEARER)
           == 0
           && aad_secret_append_pair(form, "assertion",
                                     call->assertion->data) == 0
           && aad_secret_append_pair(form, "requested_token_use",
                                     "on_behalf_of") == 0
           ? 0 : -1;
}


static aad_result_t
aad_oauth_token(const aad_oauth_t *oauth, aad_call_t *call,
    const aad_http_response_t *response, aad_token_t *token)
{
    aad_error_t  error;

    if (response->status != 200) {
        aad_error_response(call, response, &error);

        if (call->refusal != NULL) {
            aad_refusal_read(call, response);
        }

    } else if (aad_token_response(&response->body, response->sent_on,
                                  call->hooks->now(call->hooks->data), token,
                                  &error)
               == 0)
    {
        return AAD_OK;

    } else if (call->refusal != NULL) {
        aad_refusal_set(call->refusal, AAD_REFUSAL_UNAVAILABLE);
    }

    return aad_reason(call, AAD_FAILED, "%.200s: %s", oauth->endpoint,
                      error.text);
}
