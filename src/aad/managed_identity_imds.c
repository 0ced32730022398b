
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * The Instance Metadata Service: virtual machines, scale sets, nodes of AKS
 * ("How to use managed identities on an Azure VM to acquire a token").
 */


#include "managed_identity.h"

#include <stdio.h>
#include <string.h>


#define AAD_IMDS_HOST           "http://169.254.169.254"
#define AAD_IMDS_PATH           "/metadata/identity/oauth2/token"


static int aad_imds_is_here(const aad_credential_t *credential);
static aad_result_t aad_imds_get_token(const aad_credential_t *credential,
    aad_call_t *call, aad_token_t *token);
static aad_result_t aad_imds_ask(aad_mi_question_t *question,
    aad_call_t *call, aad_token_t *token);
static aad_result_t aad_imds_refused(const aad_mi_question_t *question,
    aad_call_t *call);


const aad_mi_source_t  aad_mi_imds = {
    "IMDS",
    "2018-02-01",
    "machine",
    { "client_id", "object_id", "msi_res_id" },
    aad_imds_is_here,
    aad_imds_get_token
};


/* nobody says so: it has to be asked */
static int
aad_imds_is_here(const aad_credential_t *credential)
{
    (void) credential;

    return 1;
}


static aad_result_t
aad_imds_get_token(const aad_credential_t *credential, aad_call_t *call,
    aad_token_t *token)
{
    char                endpoint[AAD_URL_BYTES_MAX];
    const char         *host;
    aad_result_t        result;
    aad_mi_question_t   question;

    host = aad_mi_has(credential, AAD_MI_IMDS_HOST)
           ? aad_value(credential, AAD_MI_IMDS_HOST) : AAD_IMDS_HOST;

    snprintf(endpoint, sizeof(endpoint), "%.*s%s",
             (int) (strlen(host) - (host[strlen(host) - 1] == '/')), host,
             AAD_IMDS_PATH);

    if (aad_mi_begin(&question, &aad_mi_imds, credential, call, endpoint)
        != 0)
    {
        result = aad_reason(call, AAD_FAILED, "out of memory");

    } else {
        aad_mi_header(&question, "Metadata: true");
        result = aad_imds_ask(&question, call, token);
    }

    aad_mi_end(&question);

    return result;
}


/*
 * Outside Azure the address leads nowhere.  With a step to go on to the wait
 * for a connection is short, and there is no second one; without, this is the
 * only hope, and IMDS may need a moment after the machine's start.
 */
static aad_result_t
aad_imds_ask(aad_mi_question_t *question, aad_call_t *call,
    aad_token_t *token)
{
    aad_error_t           error;
    aad_retry_t           retry;
    aad_http_response_t  *response;

    retry = aad_retry_imds;
    response = &question->response;

    if (call->more_steps) {
        question->request.connect_timeout_ms = AAD_PROBE_TIMEOUT_MS;
        retry.broken = 0;
    }

    if (aad_http_retry(call, &question->request, &retry, response, &error)
        != 0)
    {
        return aad_reason(call, AAD_UNAVAILABLE, "no managed identity "
                          "endpoint here: %s", error.text);
    }

    if (response->status != 200) {
        return aad_imds_refused(question, call);
    }

    /* something else that answers at this address is no reason to stop */

    return aad_mi_token(question, call,
                        response->body.data[0] == '{' ? AAD_FAILED
                                                      : AAD_UNAVAILABLE,
                        token);
}


/* azure-identity for Python: 400, and Docker Desktop's 403, go on */
static aad_result_t
aad_imds_refused(const aad_mi_question_t *question, aad_call_t *call)
{
    int                         chosen;
    aad_error_t                 error;
    const aad_http_response_t  *response;

    response = &question->response;

    aad_error_response(call, response, &error);

    if (response->status == 400) {

        chosen = question->credential->set != 0;

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
