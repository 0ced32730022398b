
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * The service account of a Kubernetes pod: its token, which kubelet writes
 * into a file and renews there, is the app's assertion.  The variables are
 * those that the webhook of "Microsoft Entra Workload ID" sets.
 *
 * With an identity binding of AKS the token goes to a proxy in the cluster,
 * which passes the request on to Entra ID.  azure-identity has an option for
 * that; here the variables alone decide, which are set for no other purpose.
 */


#include "internal.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>


/* a path and a tenant follow it in AAD_URL_BYTES_MAX */
#define AAD_WI_PROXY_BYTES_MAX  2048


enum {
    AAD_WI_TOKEN_FILE = AAD_APP_VALUES,
    AAD_WI_PROXY,
    AAD_WI_SERVER_NAME,
    AAD_WI_CA_FILE,
    AAD_WI_CA_DATA
};


/* the last good content of the CA file */
typedef struct {
    pthread_mutex_t         mutex;
    aad_secret_t            ca_certificates;
} aad_wi_state_t;


static int aad_wi_complete(aad_credential_t *credential, aad_error_t *error);
static int aad_wi_is_given(const aad_credential_t *credential);
static int aad_wi_check_proxy(const aad_credential_t *credential,
    aad_error_t *error);
static aad_result_t aad_wi_get_token(const aad_credential_t *credential,
    aad_call_t *call, aad_token_t *token);
static aad_result_t aad_wi_not_set(const aad_credential_t *credential,
    aad_call_t *call);
static aad_result_t aad_wi_ask_proxy(const aad_credential_t *credential,
    aad_call_t *call, aad_token_t *token);
static int aad_wi_trust(const aad_credential_t *credential,
    aad_secret_t *pem, aad_error_t *error);
static int aad_wi_read_ca(const char *file, aad_secret_t *last,
    aad_error_t *error);
static aad_result_t aad_wi_authenticate(const aad_credential_t *credential,
    aad_call_t *call, const char *token_endpoint, aad_secret_t *form);
static int aad_wi_read_token(const char *file, aad_secret_t *assertion,
    aad_error_t *error);
static int aad_wi_is_jwt(const char *text);
static void aad_wi_destroy(aad_credential_t *credential);


static const aad_value_t  aad_wi_values[] = {
    { "tenant_id", "AZURE_TENANT_ID", AAD_APP_TENANT_ID, &aad_form_tenant,
      0 },
    { "client_id", "AZURE_CLIENT_ID", AAD_APP_CLIENT_ID, &aad_form_guid, 0 },
    { "token_file", NULL, AAD_WI_TOKEN_FILE, NULL, 0 },

    /* nobody could say what a relative one would be relative to */

    { NULL, "AZURE_FEDERATED_TOKEN_FILE", AAD_WI_TOKEN_FILE, &aad_form_path,
      0 },

    { NULL, "AZURE_KUBERNETES_TOKEN_PROXY", AAD_WI_PROXY, NULL, 0 },
    { NULL, "AZURE_KUBERNETES_SNI_NAME", AAD_WI_SERVER_NAME,
      &aad_form_host_name, 0 },
    { NULL, "AZURE_KUBERNETES_CA_FILE", AAD_WI_CA_FILE, &aad_form_path, 0 },
    { NULL, "AZURE_KUBERNETES_CA_DATA", AAD_WI_CA_DATA, NULL,
      AAD_VALUE_LARGE },
    { NULL, NULL, 0, NULL, 0 }
};


const aad_credential_type_t  aad_workload_identity = {
    "workload_identity",
    aad_wi_values,
    aad_wi_complete,
    aad_wi_get_token,
    aad_wi_authenticate,
    aad_wi_destroy,
    NULL,
    aad_wi_is_given
};


/*
 * All that is wrong is what the step says when it is asked, and nginx starts.
 * Once tenant, client and token file are given the pod is meant to have this
 * identity, and must not go on to that of its node: azure-identity for Python
 * stops there too.  Before that nobody means it, and a placeholder among the
 * variables is none of its business.
 */
static int
aad_wi_complete(aad_credential_t *credential, aad_error_t *error)
{
    aad_error_t      wrong;
    aad_wi_state_t  *state;

    if (!aad_wi_is_given(credential)) {
        credential->complaint[0] = '\0';
        return 0;
    }

    if (credential->complaint[0] == '\0'
        && aad_wi_check_proxy(credential, &wrong) != 0)
    {
        memcpy(credential->complaint, wrong.text, sizeof(wrong.text));
    }

    credential->complaint_result = AAD_FAILED;

    if (aad_value(credential, AAD_WI_CA_FILE)[0] == '\0') {
        return 0;
    }

    state = calloc(1, sizeof(aad_wi_state_t));
    if (state == NULL) {
        return aad_error(error, "out of memory");
    }

    if (pthread_mutex_init(&state->mutex, NULL) != 0) {
        free(state);
        return aad_error(error, "out of memory");
    }

    aad_secret_init(&state->ca_certificates, AAD_PEM_BYTES_MAX);
    credential->state = state;

    return 0;
}


static int
aad_wi_is_given(const aad_credential_t *credential)
{
    return aad_value_is_given(credential, AAD_APP_TENANT_ID)
           && aad_value_is_given(credential, AAD_APP_CLIENT_ID)
           && aad_value_is_given(credential, AAD_WI_TOKEN_FILE);
}


/* azidentity's rules for the four variables */
static int
aad_wi_check_proxy(const aad_credential_t *credential, aad_error_t *error)
{
    aad_url_t            url;
    const char          *proxy;
    const aad_value_t   *v;
    const aad_secret_t  *ca_data;

    proxy = aad_value(credential, AAD_WI_PROXY);

    if (proxy[0] == '\0') {

        for (v = aad_wi_values; v->parameter || v->variable; v++) {
            if (v->slot > AAD_WI_PROXY
                && aad_value(credential, v->slot)[0] != '\0')
            {
                return aad_error(error, "%s is set, but "
                                 "AZURE_KUBERNETES_TOKEN_PROXY is not",
                                 v->variable);
            }
        }

        return 0;
    }

    /* the value is not repeated, it may have a password in it */

    if (strlen(proxy) > AAD_WI_PROXY_BYTES_MAX
        || aad_url_parse(proxy, &url) != 0 || !url.https || url.userinfo
        || strpbrk(url.rest, "?#") != NULL)
    {
        return aad_error(error, "AZURE_KUBERNETES_TOKEN_PROXY is wrong, it "
                         "must be an https:// URL without user, query and "
                         "fragment");
    }

    ca_data = &credential->values[AAD_WI_CA_DATA];

    if (ca_data->length == 0) {
        return 0;
    }

    if (aad_value(credential, AAD_WI_CA_FILE)[0] != '\0') {
        return aad_error(error, "AZURE_KUBERNETES_CA_FILE and "
                         "AZURE_KUBERNETES_CA_DATA are both set, one of them "
                         "must go");
    }

    return aad_check_certificates("AZURE_KUBERNETES_CA_DATA", ca_data, error);
}


static aad_result_t
aad_wi_get_token(const aad_credential_t *credential, aad_call_t *call,
    aad_token_t *token)
{
    if (!aad_wi_is_given(credential)) {
        return aad_wi_not_set(credential, call);
    }

    if (aad_value(credential, AAD_WI_PROXY)[0] != '\0') {
        return aad_wi_ask_proxy(credential, call, token);
    }

    return aad_oauth_get_token(credential, call, token);
}


static aad_result_t
aad_wi_not_set(const aad_credential_t *credential, aad_call_t *call)
{
    char                names[AAD_REASON_BYTES];
    size_t              used;
    const aad_value_t  *v;

    used = 0;

    for (v = aad_wi_values; v->slot <= AAD_WI_TOKEN_FILE; v++) {
        if (v->variable != NULL && !aad_value_is_given(credential, v->slot)) {
            used += snprintf(names + used, sizeof(names) - used,
                             "%s%s is not set", used ? ", " : "",
                             v->variable);
        }
    }

    return aad_reason(call, AAD_UNAVAILABLE, "%s", names);
}


static aad_result_t
aad_wi_ask_proxy(const aad_credential_t *credential, aad_call_t *call,
    aad_token_t *token)
{
    char                url[AAD_WI_PROXY_BYTES_MAX + 1];
    size_t              length;
    const char         *server_name;
    aad_error_t         error;
    aad_result_t        result;
    aad_secret_t        ca_certificates;
    aad_oauth_relay_t   proxy;

    aad_secret_init(&ca_certificates, AAD_PEM_BYTES_MAX);

    if (aad_wi_trust(credential, &ca_certificates, &error) != 0) {
        return aad_reason(call, AAD_FAILED, "%s", error.text);
    }

    length = snprintf(url, sizeof(url), "%s",
                      aad_value(credential, AAD_WI_PROXY));

    while (url[length - 1] == '/') {
        url[--length] = '\0';
    }

    server_name = aad_value(credential, AAD_WI_SERVER_NAME);

    proxy.name = "AZURE_KUBERNETES_TOKEN_PROXY";
    proxy.url = url;
    proxy.server_name = server_name[0] != '\0' ? server_name : NULL;
    proxy.ca_certificates = ca_certificates.length != 0 ? ca_certificates.data
                                                        : NULL;

    result = aad_oauth_get_token_by(credential, call, &proxy, token);

    aad_secret_wipe(&ca_certificates);

    return result;
}


/*
 * Appends the CAs of the proxy, nothing for the system's.  Returns 0, or -1
 * with the reason in 'error' and nothing in 'pem'.
 */
static int
aad_wi_trust(const aad_credential_t *credential, aad_secret_t *pem,
    aad_error_t *error)
{
    int              rc;
    const char      *file, *data;
    aad_wi_state_t  *state;

    file = aad_value(credential, AAD_WI_CA_FILE);

    if (file[0] == '\0') {
        data = aad_value(credential, AAD_WI_CA_DATA);

        return aad_secret_append_text(pem, data) == 0
               ? 0 : aad_error(error, "out of memory");
    }

    state = credential->state;

    pthread_mutex_lock(&state->mutex);

    rc = aad_wi_read_ca(file, &state->ca_certificates, error);

    if (rc == 0
        && aad_secret_append_text(pem, state->ca_certificates.data) != 0)
    {
        rc = aad_error(error, "out of memory");
    }

    pthread_mutex_unlock(&state->mutex);

    return rc;
}


/*
 * The file is renewed in its place: it may be empty for a moment, and then
 * the CAs that it had last are still the right ones.
 */
static int
aad_wi_read_ca(const char *file, aad_secret_t *last, aad_error_t *error)
{
    aad_error_t   wrong;
    aad_secret_t  pem;

    aad_secret_init(&pem, AAD_PEM_BYTES_MAX);

    if (aad_file_read(file, &pem, &wrong) != 0) {
        return aad_error(error, "AZURE_KUBERNETES_CA_FILE: %.400s",
                         wrong.text);
    }

    if (pem.length == 0) {
        return last->length != 0
               ? 0 : aad_error(error, "AZURE_KUBERNETES_CA_FILE: the file "
                               "\"%.400s\" is empty", file);
    }

    if (aad_check_certificates(file, &pem, &wrong) != 0) {
        aad_secret_wipe(&pem);
        return aad_error(error, "AZURE_KUBERNETES_CA_FILE: %.400s",
                         wrong.text);
    }

    aad_secret_wipe(last);
    *last = pem;

    return 0;
}


static aad_result_t
aad_wi_authenticate(const aad_credential_t *credential, aad_call_t *call,
    const char *token_endpoint, aad_secret_t *form)
{
    char          path[AAD_URL_BYTES_MAX];
    aad_error_t   error;
    aad_result_t  result;
    aad_secret_t  assertion;

    (void) token_endpoint;

    aad_secret_init(&assertion, AAD_ASSERTION_BYTES_MAX);

    if (aad_credential_path(credential,
                            aad_value(credential, AAD_WI_TOKEN_FILE), path,
                            sizeof(path), &error)
        != 0
        || aad_wi_read_token(path, &assertion, &error) != 0)
    {
        result = aad_reason(call, AAD_FAILED, "%s", error.text);

    } else {
        result = aad_oauth_add_assertion(call, assertion.data, form);
    }

    aad_secret_wipe(&assertion);

    return result;
}


/*
 * At each use: kubelet renews the token when a fifth of its life is left, and
 * an old one is refused with AADSTS700024.
 */
static int
aad_wi_read_token(const char *file, aad_secret_t *assertion,
    aad_error_t *error)
{
    aad_error_t  wrong;

    if (aad_file_read(file, assertion, &wrong) != 0) {
        return aad_error(error, "%.300s; has the pod the label "
                         "\"azure.workload.identity/use\", and may the user "
                         "of nginx's workers read the file (\"fsGroup\")?",
                         wrong.text);
    }

    aad_secret_trim(assertion);

    if (assertion->length == 0) {
        return aad_error(error, "the file \"%.300s\" is empty, it must have "
                         "the service account's token", file);
    }

    if (!aad_wi_is_jwt(assertion->data)) {
        return aad_error(error, "the file \"%.300s\" has something else than "
                         "one token, which would be three words of base64url "
                         "with dots between them", file);
    }

    return 0;
}


/* RFC 7515 7.1: three parts in base64url, none of them empty here */
static int
aad_wi_is_jwt(const char *text)
{
    size_t  parts, length;

    for (parts = 1; /* void */ ; parts++) {

        for (length = 0; aad_is_unreserved(text[length])
                         && text[length] != '.' && text[length] != '~';
             length++)
        {
            /* void */
        }

        if (length == 0) {
            return 0;
        }

        if (text[length] != '.') {
            return parts == 3 && text[length] == '\0';
        }

        text += length + 1;
    }
}


static void
aad_wi_destroy(aad_credential_t *credential)
{
    aad_wi_state_t  *state;

    state = credential->state;

    if (state == NULL) {
        return;
    }

    aad_secret_wipe(&state->ca_certificates);
    pthread_mutex_destroy(&state->mutex);
    free(state);
}
