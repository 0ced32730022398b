
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * The token POST that all app credentials share.
 */


#include "internal.h"

#include <stdio.h>
#include <string.h>


static aad_result_t aad_oauth_try(const aad_credential_t *credential,
    aad_call_t *call, const char *endpoint, unsigned tries, int *again,
    aad_token_t *token);
static aad_result_t aad_oauth_form(const aad_credential_t *credential,
    aad_call_t *call, const char *endpoint, aad_secret_t *form);
static aad_result_t aad_oauth_token(aad_call_t *call, const char *endpoint,
    const aad_http_response_t *response, aad_token_t *token);


aad_result_t
aad_oauth_get_token(const aad_credential_t *credential, aad_call_t *call,
    aad_token_t *token)
{
    int           again;
    char          endpoint[AAD_URL_BYTES_MAX];
    unsigned      tries;
    aad_result_t  result;

    snprintf(endpoint, sizeof(endpoint), "%s/%s/oauth2/v2.0/token",
             call->settings->authority_host,
             aad_value(credential, AAD_APP_TENANT_ID));

    /* Entra answers with it as "correlation_id" and finds it in its logs */

    (void) aad_uuid(call->attempt->correlation_id,
                    sizeof(call->attempt->correlation_id));

    tries = 0;

    do {
        result = aad_oauth_try(credential, call, endpoint, ++tries, &again,
                               token);
    } while (again);

    return result;
}


/* The form is made anew for each try: an assertion is good for one request. */
static aad_result_t
aad_oauth_try(const aad_credential_t *credential, aad_call_t *call,
    const char *endpoint, unsigned tries, int *again, aad_token_t *token)
{
    int                   rc;
    char                  header[AAD_ID_BYTES + 32];
    aad_error_t           error;
    aad_secret_t          form;
    aad_result_t          result;
    aad_http_request_t    request;
    aad_http_response_t   response;

    *again = 0;

    aad_secret_init(&form, AAD_BODY_BYTES_MAX);

    result = aad_oauth_form(credential, call, endpoint, &form);

    if (result != AAD_OK) {
        aad_secret_wipe(&form);
        return result;
    }

    snprintf(header, sizeof(header), "client-request-id: %s",
             call->attempt->correlation_id);

    memset(&request, 0, sizeof(aad_http_request_t));
    request.url = endpoint;
    request.headers[0] = header;
    request.form = &form;
    request.connect_timeout_ms = AAD_CONNECT_TIMEOUT_MS;
    request.authority = 1;

    rc = aad_http(call, &request, &response, &error);

    aad_secret_wipe(&form);

    *again = aad_retry(call, &aad_retry_authority, tries, rc, &response);

    result = *again ? AAD_FAILED
             : rc != 0 ? aad_reason(call, AAD_FAILED, "%s", error.text)
             : aad_oauth_token(call, endpoint, &response, token);

    aad_secret_wipe(&response.body);

    return result;
}


static aad_result_t
aad_oauth_form(const aad_credential_t *credential, aad_call_t *call,
    const char *endpoint, aad_secret_t *form)
{
    aad_result_t  result;

    if (aad_secret_append_pair(form, "client_id",
                               aad_value(credential, AAD_APP_CLIENT_ID)) != 0)
    {
        return aad_reason(call, AAD_FAILED, "out of memory");
    }

    result = credential->type->authenticate(credential, call, endpoint, form);

    if (result == AAD_OK
        && (aad_secret_append_pair(form, "grant_type", "client_credentials")
            != 0
            || aad_secret_append_pair(form, "scope", call->settings->scope)
               != 0))
    {
        result = aad_reason(call, AAD_FAILED, "out of memory");
    }

    return result;
}


static aad_result_t
aad_oauth_token(aad_call_t *call, const char *endpoint,
    const aad_http_response_t *response, aad_token_t *token)
{
    aad_error_t  error;

    if (response->status != 200) {
        aad_error_response(call, response, &error);

    } else if (aad_token_response(&response->body, response->sent_on,
                                  call->hooks->now(call->hooks->data), token,
                                  &error)
               == 0)
    {
        return AAD_OK;
    }

    return aad_reason(call, AAD_FAILED, "%.200s: %s", endpoint, error.text);
}
