
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * The identity that Azure gives to the machine or the app: App Service,
 * Functions and Container Apps where their variables are set, else IMDS.
 *
 * AZURE_CLIENT_ID does not choose a user-assigned identity here, other than
 * in the SDKs' DefaultAzureCredential: with a service principal's variables
 * set it would name an app that is no identity of the machine, and lock the
 * machine's own out.  "client_id=" says which.
 */


#include "internal.h"

#include <stdio.h>
#include <string.h>


#define AAD_IMDS_HOST           "http://169.254.169.254"
#define AAD_IMDS_PATH           "/metadata/identity/oauth2/token"
#define AAD_IMDS_VERSION        "2018-02-01"
#define AAD_APP_SERVICE_VERSION "2019-08-01"


enum {
    AAD_MI_CLIENT_ID,
    AAD_MI_OBJECT_ID,
    AAD_MI_RESOURCE_ID,
    AAD_MI_ENDPOINT,
    AAD_MI_HEADER,
    AAD_MI_IMDS_HOST
};


/* A place to ask, and its own names for the three ways to choose. */
typedef struct {
    const char             *name;
    const char             *client_id;
    const char             *object_id;
    const char             *resource_id;
} aad_mi_source_t;


static aad_result_t aad_mi_get_token(const aad_credential_t *credential,
    aad_call_t *call, aad_token_t *token);
static aad_result_t aad_mi_imds(const aad_credential_t *credential,
    aad_call_t *call, aad_token_t *token);
static aad_result_t aad_mi_imds_refused(const aad_credential_t *credential,
    aad_call_t *call, const aad_http_response_t *response);
static aad_result_t aad_mi_app_service(const aad_credential_t *credential,
    aad_call_t *call, aad_token_t *token);
static int aad_mi_url(const aad_credential_t *credential,
    const aad_call_t *call, const aad_mi_source_t *source,
    const char *endpoint, const char *version, aad_secret_t *url);
static int aad_mi_ask(aad_call_t *call, const char *url, const char *header,
    int64_t connect_timeout_ms, aad_http_response_t *response,
    aad_error_t *error);
static aad_result_t aad_mi_token(aad_call_t *call,
    const aad_mi_source_t *source, const aad_http_response_t *response,
    int64_t received_on, aad_result_t otherwise, aad_token_t *token);
static int aad_mi_complete(aad_credential_t *credential, aad_error_t *error);


static const aad_value_t  aad_mi_values[] = {
    { "client_id", NULL, AAD_MI_CLIENT_ID, &aad_form_guid, 0 },
    { "object_id", NULL, AAD_MI_OBJECT_ID, &aad_form_guid, 0 },
    { "resource_id", NULL, AAD_MI_RESOURCE_ID, &aad_form_resource_id, 0 },
    { NULL, "IDENTITY_ENDPOINT", AAD_MI_ENDPOINT, &aad_form_url,
      AAD_VALUE_DECIDES },
    { NULL, "IDENTITY_HEADER", AAD_MI_HEADER, &aad_form_visible,
      AAD_VALUE_SECRET|AAD_VALUE_DECIDES },
    { NULL, "AZURE_POD_IDENTITY_AUTHORITY_HOST", AAD_MI_IMDS_HOST,
      &aad_form_url, 0 },
    { NULL, NULL, 0, NULL, 0 }
};


const aad_credential_type_t  aad_managed_identity = {
    "managed_identity",
    aad_mi_values,
    aad_mi_complete,
    aad_mi_get_token,
    NULL,
    NULL,
    NULL
};


/* "How to use managed identities for App Service and Azure Functions" */
static const aad_mi_source_t  aad_mi_source_app_service = {
    "App Service", "client_id", "principal_id", "mi_res_id"
};

/* "How to use managed identities on an Azure VM to acquire a token" */
static const aad_mi_source_t  aad_mi_source_imds = {
    "IMDS", "client_id", "object_id", "msi_res_id"
};


aad_result_t
aad_managed_identity_token(const aad_credential_t *credential,
    aad_call_t *call, const char *scope, aad_token_t *token)
{
    aad_call_t      other;
    aad_settings_t  settings;

    settings = *call->settings;
    settings.scope = scope;

    other = *call;
    other.settings = &settings;

    return aad_mi_get_token(credential, &other, token);
}


static aad_result_t
aad_mi_get_token(const aad_credential_t *credential, aad_call_t *call,
    aad_token_t *token)
{
    if (credential->values[AAD_MI_ENDPOINT].length != 0
        && credential->values[AAD_MI_HEADER].length != 0)
    {
        return aad_mi_app_service(credential, call, token);
    }

    return aad_mi_imds(credential, call, token);
}


/*
 * Outside Azure the address leads nowhere, so that with a step to go on to
 * the wait for a connection is short.
 */
static aad_result_t
aad_mi_imds(const aad_credential_t *credential, aad_call_t *call,
    aad_token_t *token)
{
    int                   rc;
    char                  endpoint[AAD_URL_BYTES_MAX];
    int64_t               received_on;
    const char           *host;
    aad_error_t           error;
    aad_secret_t          url;
    aad_result_t          result;
    aad_http_response_t   response;

    host = aad_value(credential, AAD_MI_IMDS_HOST);
    if (host[0] == '\0') {
        host = AAD_IMDS_HOST;
    }

    snprintf(endpoint, sizeof(endpoint), "%.*s%s",
             (int) (strlen(host) - (host[strlen(host) - 1] == '/')), host,
             AAD_IMDS_PATH);

    if (aad_mi_url(credential, call, &aad_mi_source_imds, endpoint,
                   AAD_IMDS_VERSION, &url)
        != 0)
    {
        return aad_reason(call, AAD_FAILED, "out of memory");
    }

    received_on = call->hooks->now(call->hooks->data);

    rc = aad_mi_ask(call, url.data, "Metadata: true",
                    call->more_steps ? AAD_PROBE_TIMEOUT_MS
                                     : AAD_CONNECT_TIMEOUT_MS,
                    &response, &error);

    if (rc != 0) {
        result = aad_reason(call, AAD_UNAVAILABLE,
                            "no managed identity endpoint here: %s",
                            error.text);

    } else if (response.status != 200) {
        result = aad_mi_imds_refused(credential, call, &response);

    } else {
        /* something else that answers at this address is no reason to stop */

        result = aad_mi_token(call, &aad_mi_source_imds, &response,
                              received_on,
                              response.body.data[0] == '{' ? AAD_FAILED
                                                           : AAD_UNAVAILABLE,
                              token);
    }

    aad_secret_wipe(&response.body);
    aad_secret_wipe(&url);

    return result;
}


/* azure-identity for Python: 400, and Docker Desktop's 403, go on */
static aad_result_t
aad_mi_imds_refused(const aad_credential_t *credential, aad_call_t *call,
    const aad_http_response_t *response)
{
    int          chosen;
    aad_error_t  error;

    aad_error_response(call, response, &error);

    if (response->status == 400) {

        chosen = credential->set != 0;

        return aad_reason(call, AAD_UNAVAILABLE,
                          "this machine has no %s identity%s (IMDS: %s)",
                          chosen ? "such" : "system-assigned",
                          chosen ? "; assign it to the machine"
                                 : "; enable it, or name a user-assigned one "
                                   "with \"client_id=\"",
                          error.text);
    }

    if (response->status == 403
        && strstr(response->body.data, "unreachable") != NULL)
    {
        return aad_reason(call, AAD_UNAVAILABLE, "IMDS is not reachable here");
    }

    return aad_reason(call, AAD_FAILED, "IMDS: %s", error.text);
}


/* The variables are set: this is the place, and every error is final. */
static aad_result_t
aad_mi_app_service(const aad_credential_t *credential, aad_call_t *call,
    aad_token_t *token)
{
    int                   rc;
    int64_t               received_on;
    aad_error_t           error;
    aad_secret_t          url, header;
    aad_result_t          result;
    aad_http_response_t   response;

    aad_secret_init(&header, AAD_VALUE_BYTES_MAX * 2);

    if (aad_mi_url(credential, call, &aad_mi_source_app_service,
                   aad_value(credential, AAD_MI_ENDPOINT),
                   AAD_APP_SERVICE_VERSION, &url)
        != 0)
    {
        return aad_reason(call, AAD_FAILED, "out of memory");
    }

    if (aad_secret_append_text(&header, "X-IDENTITY-HEADER: ") != 0
        || aad_secret_append_text(&header, aad_value(credential,
                                                     AAD_MI_HEADER)) != 0)
    {
        aad_secret_wipe(&header);
        aad_secret_wipe(&url);
        return aad_reason(call, AAD_FAILED, "out of memory");
    }

    received_on = call->hooks->now(call->hooks->data);

    rc = aad_mi_ask(call, url.data, header.data, AAD_CONNECT_TIMEOUT_MS,
                    &response, &error);

    if (rc != 0) {
        result = aad_reason(call, AAD_FAILED, "IDENTITY_ENDPOINT: %s",
                            error.text);

    } else if (response.status != 200) {
        aad_error_response(call, &response, &error);
        result = aad_reason(call, AAD_FAILED, "App Service: %s; has the app "
                            "%s identity?", error.text,
                            credential->set ? "this user-assigned"
                                            : "a system-assigned");

    } else {
        result = aad_mi_token(call, &aad_mi_source_app_service, &response,
                              received_on, AAD_FAILED, token);
    }

    aad_secret_wipe(&response.body);
    aad_secret_wipe(&header);
    aad_secret_wipe(&url);

    return result;
}


/* Returns 0, or -1 when memory is out; the caller wipes the URL. */
static int
aad_mi_url(const aad_credential_t *credential, const aad_call_t *call,
    const aad_mi_source_t *source, const char *endpoint, const char *version,
    aad_secret_t *url)
{
    int          rc;
    char         resource[AAD_URL_BYTES_MAX];
    size_t       i;

    const struct {
        size_t       slot;
        const char  *name;
    } ids[] = {
        { AAD_MI_CLIENT_ID, source->client_id },
        { AAD_MI_OBJECT_ID, source->object_id },
        { AAD_MI_RESOURCE_ID, source->resource_id }
    };

    aad_secret_init(url, AAD_URL_BYTES_MAX * 4);
    aad_resource(call->settings->scope, resource, sizeof(resource));

    rc = aad_secret_append_text(url, endpoint);

    if (strchr(endpoint, '?') == NULL) {
        rc |= aad_secret_append(url, "?", 1);
    }

    rc |= aad_secret_append_pair(url, "api-version", version);
    rc |= aad_secret_append_pair(url, "resource", resource);

    for (i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
        if (credential->values[ids[i].slot].length != 0) {
            rc |= aad_secret_append_pair(url, ids[i].name,
                                         aad_value(credential, ids[i].slot));
        }
    }

    if (rc != 0) {
        aad_secret_wipe(url);
        return -1;
    }

    return 0;
}


static int
aad_mi_ask(aad_call_t *call, const char *url, const char *header,
    int64_t connect_timeout_ms, aad_http_response_t *response,
    aad_error_t *error)
{
    aad_http_request_t  request;

    memset(&request, 0, sizeof(aad_http_request_t));
    request.url = url;
    request.headers[0] = header;
    request.connect_timeout_ms = connect_timeout_ms;

    return aad_http(call, &request, response, error);
}


static aad_result_t
aad_mi_token(aad_call_t *call, const aad_mi_source_t *source,
    const aad_http_response_t *response, int64_t received_on,
    aad_result_t otherwise, aad_token_t *token)
{
    aad_error_t  error;

    if (aad_token_response(&response->body, received_on,
                           call->hooks->now(call->hooks->data), token, &error)
        != 0)
    {
        return aad_reason(call, otherwise, "%s: %s", source->name,
                          error.text);
    }

    return AAD_OK;
}


static int
aad_mi_complete(aad_credential_t *credential, aad_error_t *error)
{
    if (credential->set & (credential->set - 1)) {
        return aad_error(error, "\"managed_identity\" takes one of "
                         "\"client_id=\", \"object_id=\" and "
                         "\"resource_id=\", not several");
    }

    return 0;
}
