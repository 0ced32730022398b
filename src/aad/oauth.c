
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * The token POST that all app credentials share.
 */


#include "internal.h"

#include <stdio.h>
#include <string.h>


static aad_result_t aad_oauth_post(aad_call_t *call, const char *endpoint,
    const aad_secret_t *form, aad_token_t *token);


aad_result_t
aad_oauth_get_token(const aad_credential_t *credential, aad_call_t *call,
    aad_token_t *token)
{
    char          endpoint[AAD_URL_BYTES_MAX];
    aad_result_t  result;
    aad_secret_t  form;

    snprintf(endpoint, sizeof(endpoint), "%s/%s/oauth2/v2.0/token",
             call->settings->authority_host,
             aad_value(credential, AAD_APP_TENANT_ID));

    aad_secret_init(&form, AAD_BODY_BYTES_MAX);

    result = AAD_OK;

    if (aad_secret_append_pair(&form, "client_id",
                               aad_value(credential, AAD_APP_CLIENT_ID)) != 0)
    {
        result = aad_reason(call, AAD_FAILED, "out of memory");
    }

    if (result == AAD_OK) {
        result = credential->type->authenticate(credential, call, endpoint,
                                                &form);
    }

    if (result == AAD_OK
        && (aad_secret_append_pair(&form, "grant_type", "client_credentials")
            != 0
            || aad_secret_append_pair(&form, "scope", call->settings->scope)
               != 0))
    {
        result = aad_reason(call, AAD_FAILED, "out of memory");
    }

    if (result == AAD_OK) {
        result = aad_oauth_post(call, endpoint, &form, token);
    }

    aad_secret_wipe(&form);

    return result;
}


static aad_result_t
aad_oauth_post(aad_call_t *call, const char *endpoint,
    const aad_secret_t *form, aad_token_t *token)
{
    int                   rc;
    char                  id[AAD_ID_BYTES], header[AAD_ID_BYTES + 32];
    aad_error_t           error;
    aad_result_t          result;
    aad_http_request_t    request;
    aad_http_response_t   response;

    /* Entra answers with it as "correlation_id" and finds it in its logs */

    (void) aad_uuid(id, sizeof(id));
    snprintf(header, sizeof(header), "client-request-id: %s", id);
    snprintf(call->attempt->correlation_id,
             sizeof(call->attempt->correlation_id), "%s", id);

    memset(&request, 0, sizeof(aad_http_request_t));
    request.url = endpoint;
    request.headers[0] = header;
    request.form = form;
    request.connect_timeout_ms = AAD_CONNECT_TIMEOUT_MS;
    request.authority = 1;

    rc = aad_http_retry(call, &request, &aad_retry_authority, &response,
                        &error);

    if (rc != 0) {
        result = aad_reason(call, AAD_FAILED, "%s", error.text);

    } else if (response.status != 200) {
        aad_error_response(call, &response, &error);
        result = aad_reason(call, AAD_FAILED, "%.200s: %s", endpoint,
                            error.text);

    } else if (aad_token_response(&response.body, response.sent_on,
                                  call->hooks->now(call->hooks->data), token,
                                  &error)
               != 0)
    {
        result = aad_reason(call, AAD_FAILED, "%.200s: %s", endpoint,
                            error.text);

    } else {
        result = AAD_OK;
    }

    aad_secret_wipe(&response.body);

    return result;
}
