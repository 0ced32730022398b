
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * The identity that Azure gives to the machine or the app.  Where it is asked
 * for depends on what nginx runs on; the environment says it, and where it
 * says nothing there is IMDS.
 *
 * AZURE_CLIENT_ID does not choose a user-assigned identity here, other than
 * in the SDKs' DefaultAzureCredential: with a service principal's variables
 * set it would name an app that is no identity of the machine, and lock the
 * machine's own out.  "client_id=" says which.
 */


#include "managed_identity.h"

#include <string.h>


static aad_result_t aad_mi_get_token(const aad_credential_t *credential,
    aad_call_t *call, aad_token_t *token);
static aad_result_t aad_mi_cannot_choose(const aad_mi_source_t *source,
    aad_call_t *call, const char *id);
static int aad_mi_complete(aad_credential_t *credential, aad_error_t *error);


static const aad_value_t  aad_mi_values[] = {
    { "client_id", NULL, AAD_MI_CLIENT_ID, &aad_form_guid, 0 },
    { "object_id", NULL, AAD_MI_OBJECT_ID, &aad_form_guid, 0 },
    { "resource_id", NULL, AAD_MI_RESOURCE_ID, &aad_form_resource_id, 0 },
    { NULL, "IDENTITY_ENDPOINT", AAD_MI_IDENTITY_ENDPOINT, &aad_form_url,
      AAD_VALUE_DECIDES },
    { NULL, "IDENTITY_HEADER", AAD_MI_IDENTITY_HEADER, &aad_form_visible,
      AAD_VALUE_SECRET|AAD_VALUE_DECIDES },
    { NULL, "IDENTITY_SERVER_THUMBPRINT", AAD_MI_THUMBPRINT,
      &aad_form_thumbprint, AAD_VALUE_DECIDES },
    { NULL, "IMDS_ENDPOINT", AAD_MI_IMDS_ENDPOINT, NULL, 0 },
    { NULL, "MSI_ENDPOINT", AAD_MI_MSI_ENDPOINT, &aad_form_url,
      AAD_VALUE_DECIDES },
    { NULL, "MSI_SECRET", AAD_MI_MSI_SECRET, &aad_form_visible,
      AAD_VALUE_SECRET|AAD_VALUE_DECIDES },
    { NULL, "DEFAULT_IDENTITY_CLIENT_ID", AAD_MI_DEFAULT_CLIENT_ID, NULL, 0 },
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
    NULL,
    NULL
};


/* MSAL's order; the last one is everywhere */
static const aad_mi_source_t *const  aad_mi_sources[] = {
    &aad_mi_service_fabric,
    &aad_mi_app_service,
    &aad_mi_azure_ml,
    &aad_mi_cloud_shell,
    &aad_mi_arc,
    &aad_mi_imds
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
    other.credential = credential;

    return aad_mi_get_token(credential, &other, token);
}


static aad_result_t
aad_mi_get_token(const aad_credential_t *credential, aad_call_t *call,
    aad_token_t *token)
{
    size_t                         slot;
    const aad_mi_source_t         *source;
    const aad_mi_source_t *const  *s;

    for (s = aad_mi_sources; !(*s)->is_here(credential); s++) { /* void */ }

    source = *s;

    for (slot = 0; slot < AAD_MI_IDS; slot++) {

        if (source->ids[slot] == NULL && aad_mi_has(credential, slot)) {
            return aad_mi_cannot_choose(source, call,
                                        aad_mi_values[slot].parameter);
        }
    }

    return source->get_token(credential, call, token);
}


/*
 * Without the id the source would answer with another identity's token: it is
 * not asked, and no other step either.
 */
static aad_result_t
aad_mi_cannot_choose(const aad_mi_source_t *source, aad_call_t *call,
    const char *id)
{
    const char  *mend;

    mend = source->ids[AAD_MI_CLIENT_ID] != NULL
           ? "use \"client_id=\""
           : "leave it out to use the one that is there";

    return aad_reason(call, AAD_FAILED, "%s cannot choose an identity by "
                      "\"%s=\", %s", source->name, id, mend);
}


int
aad_mi_begin(aad_mi_question_t *question, const aad_mi_source_t *source,
    const aad_credential_t *credential, const aad_call_t *call,
    const char *endpoint)
{
    int     rc;
    char    resource[AAD_URL_BYTES_MAX];
    size_t  slot;

    memset(question, 0, sizeof(aad_mi_question_t));
    question->source = source;
    question->credential = credential;
    question->request.connect_timeout_ms = AAD_CONNECT_TIMEOUT_MS;

    aad_secret_init(&question->url, AAD_URL_BYTES_MAX * 4);
    aad_secret_init(&question->form, AAD_URL_BYTES_MAX);
    aad_secret_init(&question->secret, AAD_VALUE_BYTES_MAX * 2);
    aad_secret_init(&question->response.body, 0);

    aad_resource(call->settings->scope, resource, sizeof(resource));

    rc = aad_secret_append_text(&question->url, endpoint);

    if (source->version == NULL) {
        question->request.form = &question->form;

    } else {
        if (strchr(endpoint, '?') == NULL) {
            rc |= aad_secret_append(&question->url, "?", 1);
        }

        rc |= aad_mi_parameter(question, "api-version", source->version);
    }

    rc |= aad_mi_parameter(question, "resource", resource);

    for (slot = 0; slot < AAD_MI_IDS; slot++) {
        if (aad_mi_has(credential, slot)) {
            rc |= aad_mi_parameter(question, source->ids[slot],
                                   aad_value(credential, slot));
        }
    }

    question->request.url = question->url.data;

    return rc != 0 ? -1 : 0;
}


int
aad_mi_parameter(aad_mi_question_t *question, const char *name,
    const char *value)
{
    int  rc;

    if (question->request.form != NULL) {
        return aad_secret_append_pair(&question->form, name, value);
    }

    rc = aad_secret_append_pair(&question->url, name, value);

    /* it may have moved */

    question->request.url = question->url.data;

    return rc;
}


void
aad_mi_header(aad_mi_question_t *question, const char *header)
{
    size_t  i;

    for (i = 0; question->request.headers[i] != NULL; i++) { /* void */ }

    question->request.headers[i] = header;
}


int
aad_mi_secret(aad_mi_question_t *question, const char *name,
    const char *value)
{
    if (aad_secret_append_text(&question->secret, name) != 0
        || aad_secret_append_text(&question->secret, value) != 0)
    {
        return -1;
    }

    aad_mi_header(question, question->secret.data);

    return 0;
}


aad_result_t
aad_mi_ask(aad_mi_question_t *question, aad_call_t *call,
    const char *endpoint, aad_token_t *token)
{
    aad_error_t             error;
    const aad_mi_source_t  *source;

    source = question->source;

    if (aad_http_retry(call, &question->request, &aad_retry_machine,
                       &question->response, &error)
        != 0)
    {
        return aad_reason(call, AAD_FAILED, "%s: %s", endpoint, error.text);
    }

    if (question->response.status != 200) {
        aad_error_response(call, &question->response, &error);

        if (source->owner == NULL) {
            return aad_reason(call, AAD_FAILED, "%s: %s", source->name,
                              error.text);
        }

        return aad_reason(call, AAD_FAILED, "%s: %s; has the %s %s "
                          "identity?", source->name, error.text,
                          source->owner,
                          question->credential->set ? "this user-assigned"
                                                    : "a system-assigned");
    }

    return aad_mi_token(question, call, AAD_FAILED, token);
}


aad_result_t
aad_mi_token(const aad_mi_question_t *question, aad_call_t *call,
    aad_result_t otherwise, aad_token_t *token)
{
    aad_error_t                 error;
    const aad_http_response_t  *response;

    response = &question->response;

    if (aad_token_response(&response->body, response->sent_on,
                           call->hooks->now(call->hooks->data), token, &error)
        != 0)
    {
        return aad_reason(call, otherwise, "%s: %s", question->source->name,
                          error.text);
    }

    return AAD_OK;
}


void
aad_mi_end(aad_mi_question_t *question)
{
    aad_secret_wipe(&question->response.body);
    aad_secret_wipe(&question->secret);
    aad_secret_wipe(&question->form);
    aad_secret_wipe(&question->url);
}


int
aad_mi_has(const aad_credential_t *credential, size_t slot)
{
    return credential->values[slot].length != 0;
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
