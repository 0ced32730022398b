
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * What there is to say of all identities at a moment, as plain data.
 */


#include "ngx_http_aoai_aad_status.h"


/* DESIGN 1.5, /ready: a token that is valid for so long is one */
#define NGX_HTTP_AOAI_AAD_READY_MSEC    60000


static ngx_int_t ngx_http_aoai_aad_collect_identity(ngx_http_request_t *r,
    ngx_http_aoai_aad_identity_t *identity,
    ngx_http_aoai_aad_status_identity_t *to);
static ngx_int_t ngx_http_aoai_aad_collect_chain(ngx_http_request_t *r,
    aad_settings_t *settings, ngx_http_aoai_aad_status_identity_t *to);
static void ngx_http_aoai_aad_collect_life(aad_life_t *life,
    ngx_http_aoai_aad_status_identity_t *to);
static ngx_uint_t ngx_http_aoai_aad_lasts(aad_life_t *life,
    ngx_http_aoai_aad_token_t *token, aad_moment_t *now);
static ngx_uint_t ngx_http_aoai_aad_thousandths(int64_t part, int64_t whole);


/* NULL when memory is out */
ngx_http_aoai_aad_status_t *
ngx_http_aoai_aad_collect(ngx_http_request_t *r)
{
    ngx_uint_t                       i;
    ngx_http_aoai_aad_status_t      *status;
    ngx_http_aoai_aad_identity_t   **identity;
    ngx_http_aoai_aad_main_conf_t   *amcf;

    amcf = ngx_http_get_module_main_conf(r, ngx_http_aoai_aad_module);

    status = ngx_pcalloc(r->pool, sizeof(ngx_http_aoai_aad_status_t));
    if (status == NULL) {
        return NULL;
    }

    status->now = ngx_time();
    status->totals = *amcf->totals;
    status->count = amcf->identities.nelts;

    status->identities = ngx_pcalloc(r->pool, status->count
                                * sizeof(ngx_http_aoai_aad_status_identity_t)
                                + 1);
    if (status->identities == NULL) {
        return NULL;
    }

    identity = amcf->identities.elts;

    for (i = 0; i < status->count; i++) {

        if (ngx_http_aoai_aad_collect_identity(r, identity[i],
                                               &status->identities[i])
            != NGX_OK)
        {
            return NULL;
        }

        status->ready += status->identities[i].ready;
    }

    return status;
}


static ngx_int_t
ngx_http_aoai_aad_collect_identity(ngx_http_request_t *r,
    ngx_http_aoai_aad_identity_t *identity,
    ngx_http_aoai_aad_status_identity_t *to)
{
    aad_moment_t                   now;
    ngx_http_aoai_aad_snapshot_t  *snapshot;

    to->name = ngx_pnalloc(r->pool, identity->name.len + 1);
    if (to->name == NULL) {
        return NGX_ERROR;
    }

    (void) ngx_cpystrn((u_char *) to->name, identity->name.data,
                       identity->name.len + 1);

    to->scope = (char *) identity->settings.scope;
    to->authority = (char *) identity->settings.authority_host;

    if (ngx_http_aoai_aad_collect_chain(r, &identity->settings, to)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    /* all zeros, as of one never used, where the slot is another's by now */

    snapshot = &to->snapshot;

    (void) ngx_http_aoai_aad_snapshot(identity, snapshot);

    to->has_token = snapshot->state.tokens != 0;
    to->token = snapshot->token;
    to->fetched = snapshot->state.fetched;
    to->failing_since = snapshot->state.failing_since;
    to->counters = snapshot->counters;

    to->verdict_count = ngx_http_aoai_aad_read_report(&snapshot->report,
                                                      to->verdicts);
    to->has_error = ngx_http_aoai_aad_read_error(&snapshot->report,
                                                 &to->error);

    ngx_http_aoai_aad_moment(&now);

    to->ready = ngx_http_aoai_aad_lasts(&snapshot->state.life, &to->token,
                                        &now);

    ngx_http_aoai_aad_collect_life(&snapshot->state.life, to);

    return NGX_OK;
}


static ngx_int_t
ngx_http_aoai_aad_collect_chain(ngx_http_request_t *r,
    aad_settings_t *settings, ngx_http_aoai_aad_status_identity_t *to)
{
    char       text[1024];
    size_t     i;
    ngx_str_t  step;

    to->chain_length = settings->chain_length;

    for (i = 0; i < settings->chain_length; i++) {

        to->chain[i] = (char *) aad_credential_type(settings->chain[i]);

        aad_credential_describe(settings->chain[i], text, sizeof(text));

        step.data = (u_char *) text;
        step.len = ngx_strlen(text) + 1;

        to->steps[i] = (char *) ngx_pstrdup(r->pool, &step);
        if (to->steps[i] == NULL) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static void
ngx_http_aoai_aad_collect_life(aad_life_t *life,
    ngx_http_aoai_aad_status_identity_t *to)
{
    int64_t       started_ms, left_ms;
    aad_moment_t  now;

    ngx_http_aoai_aad_moment(&now);

    to->state = aad_life_state(life, &now);

    to->fetching = life->lease != 0 && life->lease_until_ms
                                       > now.monotonic_ms;

    to->expires_in = -1;

    if (to->has_token) {
        left_ms = life->expires_at_ms - now.monotonic_ms;
        to->expires_in = ngx_max(ngx_min(left_ms / 1000,
                                         to->token.expires_on - ngx_time()),
                                 0);

        started_ms = life->expires_at_ms - life->lifetime_ms;

        to->used = ngx_http_aoai_aad_thousandths(
                       now.monotonic_ms - started_ms, life->lifetime_ms);
        to->refresh_point = ngx_http_aoai_aad_thousandths(
                       life->refresh_at_ms - started_ms, life->lifetime_ms);
        to->last_use = ngx_http_aoai_aad_thousandths(
                       life->usable_until_ms - started_ms,
                       life->lifetime_ms);
    }

    /* a fetch is on its way, or was never tried: its time says nothing */

    to->refresh_in = -1;

    if (!to->fetching && life->refresh_at_ms != 0) {
        left_ms = life->refresh_at_ms - now.monotonic_ms;
        to->refresh_in = ngx_max((left_ms + 999) / 1000, 0);
    }
}


/* by the worker's own copy: the question of a probe every second */
ngx_uint_t
ngx_http_aoai_aad_is_ready(ngx_http_aoai_aad_identity_t *identity)
{
    aad_moment_t  now;

    if (!ngx_http_aoai_aad_has_token(identity)) {
        return 0;
    }

    ngx_http_aoai_aad_moment(&now);

    return ngx_http_aoai_aad_lasts(&identity->life, &identity->token, &now);
}


/* by both clocks, as aad_life_usable() */
static ngx_uint_t
ngx_http_aoai_aad_lasts(aad_life_t *life, ngx_http_aoai_aad_token_t *token,
    aad_moment_t *now)
{
    return aad_life_usable(life, now)
           && life->expires_at_ms - now->monotonic_ms
              >= NGX_HTTP_AOAI_AAD_READY_MSEC
           && (int64_t) token->expires_on * 1000 - now->wall_ms
              >= NGX_HTTP_AOAI_AAD_READY_MSEC;
}


static ngx_uint_t
ngx_http_aoai_aad_thousandths(int64_t part, int64_t whole)
{
    if (whole <= 0 || part < 0) {
        return 0;
    }

    return part >= whole ? 1000 : (ngx_uint_t) (part * 1000 / whole);
}


const char *
ngx_http_aoai_aad_state_name(aad_state_t state)
{
    static const char *const  names[] = {
        "empty", "valid", "refreshing", "stale", "failed"
    };

    return names[state];
}


const char *
ngx_http_aoai_aad_result_name(ngx_http_aoai_aad_verdict_t *verdict)
{
    static const char *const  names[] = { "ok", "unavailable", "failed" };

    return verdict->asked ? names[verdict->result] : "skipped";
}
