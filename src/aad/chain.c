
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * The chain: steps in order, next and stop, every reason kept.
 */


#include "internal.h"

#include <string.h>


aad_result_t
aad_get_token(const aad_settings_t *settings, const aad_hooks_t *hooks,
    int64_t timeout_ms, size_t only, aad_token_t *token, aad_report_t *report)
{
    size_t        step;
    aad_call_t    call;
    aad_result_t  result;

    memset(token, 0, sizeof(aad_token_t));
    aad_secret_init(&token->access_token, AAD_TOKEN_BYTES_MAX);

    memset(report, 0, sizeof(aad_report_t));

    aad_call_init(&call, settings, hooks, timeout_ms);

    if (only < settings->chain_length) {
        return aad_chain_step(&call, only, token, report);
    }

    result = AAD_UNAVAILABLE;

    for (step = 0; step < settings->chain_length; step++) {

        if (result != AAD_UNAVAILABLE) {
            report->skipped[report->skipped_count++]
                = settings->chain[step]->type->name;
            continue;
        }

        call.more_steps = step + 1 < settings->chain_length;

        result = aad_chain_step(&call, step, token, report);
    }

    return result;
}


void
aad_token_wipe(aad_token_t *token)
{
    aad_secret_wipe(&token->access_token);
}


void
aad_call_init(aad_call_t *call, const aad_settings_t *settings,
    const aad_hooks_t *hooks, int64_t timeout_ms)
{
    int64_t  now_ms;

    memset(call, 0, sizeof(aad_call_t));

    now_ms = hooks->monotonic_ms(hooks->data);

    call->settings = settings;
    call->hooks = hooks;
    call->deadline_ms = now_ms + timeout_ms;
    call->retry_until_ms = now_ms + aad_retry_share_ms(timeout_ms);
}


int64_t
aad_time_left_ms(const aad_call_t *call)
{
    int64_t             left;
    const aad_hooks_t  *hooks;

    hooks = call->hooks;

    if (hooks->cancelled(hooks->data)) {
        return 0;
    }

    left = call->deadline_ms - hooks->monotonic_ms(hooks->data);

    return left > 0 ? left : 0;
}


aad_result_t
aad_chain_step(aad_call_t *call, size_t step, aad_token_t *token,
    aad_report_t *report)
{
    int64_t                  started_ms;
    aad_result_t             result;
    aad_attempt_t           *attempt;
    const aad_hooks_t       *hooks;
    const aad_credential_t  *credential;

    hooks = call->hooks;
    credential = call->settings->chain[step];
    started_ms = hooks->monotonic_ms(hooks->data);

    attempt = &report->attempts[report->count++];
    attempt->credential = credential->type->name;

    call->attempt = attempt;
    call->credential = credential;

    if (aad_time_left_ms(call) == 0) {
        result = aad_reason(call, AAD_FAILED, "no time was left to ask it");

    } else if (credential->complaint[0] != '\0') {
        result = aad_reason(call, credential->complaint_result, "%s",
                            credential->complaint);

    } else {
        result = credential->type->get_token(credential, call, token);
    }

    attempt->result = result;
    attempt->elapsed_ms = hooks->monotonic_ms(hooks->data) - started_ms;

    if (attempt->hint == NULL) {
        attempt->hint = aad_hint(attempt->code);
    }

    if (result == AAD_OK) {
        token->step = step;
        token->credential = credential->type->name;

    } else {
        aad_token_wipe(token);
    }

    return result;
}
