
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * The token POST that all app credentials share.
 */


#include "internal.h"

#include <stdio.h>
#include <string.h>

#include <openssl/rand.h>


#define AAD_ASSERTION_TYPE                                                    \
    "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


static aad_result_t aad_oauth_post(aad_call_t *call, const char *endpoint,
    const aad_oauth_relay_t *relay, const aad_secret_t *form,
    aad_token_t *token);
static void aad_oauth_request_id(char *id, size_t size);


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
    char          endpoint[AAD_URL_BYTES_MAX];
    aad_result_t  result;
    aad_secret_t  form;

    snprintf(endpoint, sizeof(endpoint), "%s/%s/oauth2/v2.0/token",
             relay != NULL ? relay->url : call->settings->authority_host,
             aad_value(credential, AAD_APP_TENANT_ID));

    aad_secret_init(&form, AAD_FORM_BYTES_MAX);

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
        result = aad_oauth_post(call, endpoint, relay, &form, token);

        if (result != AAD_OK && relay != NULL) {
            result = aad_reason_of(call, result, relay->name);
        }
    }

    aad_secret_wipe(&form);

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


static aad_result_t
aad_oauth_post(aad_call_t *call, const char *endpoint,
    const aad_oauth_relay_t *relay, const aad_secret_t *form,
    aad_token_t *token)
{
    int                   rc;
    char                  id[AAD_ID_BYTES], header[AAD_ID_BYTES + 32];
    int64_t               received_on;
    aad_error_t           error;
    aad_result_t          result;
    aad_http_request_t    request;
    aad_http_response_t   response;

    /* Entra answers with it as "correlation_id" and finds it in its logs */

    aad_oauth_request_id(id, sizeof(id));
    snprintf(header, sizeof(header), "client-request-id: %s", id);
    snprintf(call->attempt->correlation_id,
             sizeof(call->attempt->correlation_id), "%s", id);

    memset(&request, 0, sizeof(aad_http_request_t));
    request.url = endpoint;
    request.headers[0] = header;
    request.form = form;
    request.connect_timeout_ms = AAD_CONNECT_TIMEOUT_MS;

    /*
     * A relay is a neighbour: the egress proxy does not lead to it, and it
     * has not the authority's CA.
     */

    if (relay != NULL) {
        request.ca_certificates = relay->ca_certificates;
        request.server_name = relay->server_name;

    } else {
        request.authority = 1;
    }

    received_on = call->hooks->now(call->hooks->data);

    rc = aad_http(call, &request, &response, &error);

    if (rc != 0) {
        result = aad_reason(call, AAD_FAILED, "%s", error.text);

    } else if (response.status != 200) {
        aad_error_response(call, &response, &error);
        result = aad_reason(call, AAD_FAILED, "%.200s: %s", endpoint,
                            error.text);

    } else if (aad_token_response(&response.body, received_on,
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


/* a random UUID, RFC 4122 4.4; ends up empty where there is no randomness */
static void
aad_oauth_request_id(char *id, size_t size)
{
    unsigned char  b[16];

    if (RAND_bytes(b, sizeof(b)) != 1) {
        id[0] = '\0';
        return;
    }

    b[6] = (b[6] & 0x0f) | 0x40;
    b[8] = (b[8] & 0x3f) | 0x80;

    snprintf(id, size, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-"
             "%02x%02x%02x%02x%02x%02x", b[0], b[1], b[2], b[3], b[4], b[5],
             b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14],
             b[15]);
}
