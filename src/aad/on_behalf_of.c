
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * A token for somebody who has shown one for this app: the request is any
 * app's token request with another grant (oauth.c), made by the first step of
 * the chain that is an app.  What is no app, a managed identity for one, has
 * nobody's token to show, and is passed over.
 */


#include "internal.h"

#include <string.h>


static int aad_on_behalf_of_can(const aad_credential_t *credential);
static void aad_on_behalf_of_refuse(const aad_call_t *call);


aad_result_t
aad_get_token_on_behalf_of(const aad_settings_t *settings,
    const aad_hooks_t *hooks, int64_t timeout_ms,
    const aad_secret_t *assertion, aad_token_t *token, aad_report_t *report,
    aad_refusal_t *refusal)
{
    size_t        step;
    aad_call_t    call;
    aad_result_t  result;

    memset(token, 0, sizeof(aad_token_t));
    aad_secret_init(&token->access_token, AAD_TOKEN_BYTES_MAX);

    memset(report, 0, sizeof(aad_report_t));
    memset(refusal, 0, sizeof(aad_refusal_t));
    refusal->reason = "";

    aad_call_init(&call, settings, hooks, timeout_ms);
    call.assertion = assertion;
    call.refusal = refusal;

    result = AAD_UNAVAILABLE;

    for (step = 0; step < settings->chain_length; step++) {

        if (settings->chain[step]->type->authenticate == NULL) {
            continue;
        }

        if (result != AAD_UNAVAILABLE) {
            report->skipped[report->skipped_count++]
                = settings->chain[step]->type->name;
            continue;
        }

        result = aad_chain_step(&call, step, token, report);
    }

    if (result != AAD_OK) {
        aad_on_behalf_of_refuse(&call);
        return AAD_FAILED;
    }

    /* a try before the last one may have left something */

    memset(refusal, 0, sizeof(aad_refusal_t));
    refusal->reason = "";

    return AAD_OK;
}


int
aad_on_behalf_of_check(const aad_settings_t *settings, aad_error_t *error)
{
    size_t  step;

    for (step = 0; step < settings->chain_length; step++) {
        if (aad_on_behalf_of_can(settings->chain[step])) {
            return 0;
        }
    }

    return aad_error(error, "\"aoai_aad on_behalf_of\" needs an app that can "
                     "prove who it is: write an \"aoai_aad_credential\" line "
                     "of type client_secret, client_certificate, "
                     "workload_identity or federated_managed_identity, or set "
                     "the variables of type environment");
}


static int
aad_on_behalf_of_can(const aad_credential_t *credential)
{
    const aad_credential_type_t  *type;

    type = credential->type;

    return type->authenticate != NULL
           && (type->is_given == NULL || type->is_given(credential));
}


/*
 * Where the authority has not said what it is: the time was over before it
 * was asked, or there is nothing to ask it with.
 */
static void
aad_on_behalf_of_refuse(const aad_call_t *call)
{
    aad_refusal_t  *refusal;

    refusal = call->refusal;

    if (refusal->kind == AAD_REFUSAL_NONE) {
        aad_refusal_set(refusal, aad_time_left_ms(call) == 0
                                 ? AAD_REFUSAL_UNAVAILABLE
                                 : AAD_REFUSAL_CREDENTIAL);
    }
}
