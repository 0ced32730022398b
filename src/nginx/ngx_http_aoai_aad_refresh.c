
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * When tokens are fetched, and who is told: one task of the thread pool per
 * identity for all workers, ahead of time, and requests that wait for it.
 */


#include "ngx_http_aoai_aad.h"


/* how often a worker looks for what another one fetched, while requests of
   its own wait for it */
#define NGX_HTTP_AOAI_AAD_WATCH_MSEC    2

/* the same for newer keys than the worker has */
#define NGX_HTTP_AOAI_AAD_WATCH_KEYS_MSEC  50

/* how often it is looked whether the worker that fetches still does */
#define NGX_HTTP_AOAI_AAD_LEASE_MSEC    500

/* how long nothing is looked at: bounds what a missed change can cost */
#define NGX_HTTP_AOAI_AAD_IDLE_MSEC     60000

/* of an entry about a failure: its chain's name, and date, process and words
   around all that is said */
#define NGX_HTTP_AOAI_AAD_NAME_BYTES    256
#define NGX_HTTP_AOAI_AAD_AROUND_BYTES    160


/* clocks are read in whole seconds on the way, and may be adjusted a little */
#define NGX_HTTP_AOAI_AAD_CLOCK_MSEC    3000


struct ngx_http_aoai_aad_fetch_s {
    ngx_http_aoai_aad_identity_t   *identity;
    aad_moment_t                    started;
    size_t                          only;
    aad_result_t                    result;
    aad_token_t                     token;
    aad_report_t                    report;
};


static ngx_int_t ngx_http_aoai_aad_start(
    ngx_http_aoai_aad_identity_t *identity);
static void ngx_http_aoai_aad_thread(void *data, ngx_log_t *log);
static void ngx_http_aoai_aad_done(ngx_event_t *ev);
static ngx_uint_t ngx_http_aoai_aad_clock_was_set(
    ngx_http_aoai_aad_fetch_t *fetch);
static void ngx_http_aoai_aad_log_token(
    ngx_http_aoai_aad_identity_t *identity, aad_token_t *token);
static void ngx_http_aoai_aad_log_failure(
    ngx_http_aoai_aad_identity_t *identity, ngx_uint_t level,
    aad_report_t *report);
static void ngx_http_aoai_aad_refresh_handler(ngx_event_t *ev);
static void ngx_http_aoai_aad_watch_handler(ngx_event_t *ev);
static ngx_int_t ngx_http_aoai_aad_setup(
    ngx_http_aoai_aad_identity_t *identity);

static int64_t ngx_http_aoai_aad_now(void *data);
static int64_t ngx_http_aoai_aad_monotonic(void *data);


const aad_hooks_t  ngx_http_aoai_aad_hooks = {
    ngx_http_aoai_aad_now,
    ngx_http_aoai_aad_monotonic,
    ngx_http_aoai_aad_cancelled,
    NULL,
    NULL
};

ngx_int_t
ngx_http_aoai_aad_init_process(ngx_cycle_t *cycle)
{
    ngx_uint_t                       i;
    ngx_http_aoai_aad_identity_t   **identity;
    ngx_http_aoai_aad_main_conf_t   *amcf;

    /* cache manager and loader have no threads */

    if (ngx_process != NGX_PROCESS_WORKER
        && ngx_process != NGX_PROCESS_SINGLE)
    {
        return NGX_OK;
    }

    amcf = ngx_http_aoai_aad_cycle_conf(cycle);

    if (amcf == NULL || amcf->thread_pool == NULL) {
        return NGX_OK;
    }

    if (aad_global_init() != 0) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                      "aoai_aad: libcurl cannot be used");
        return NGX_ERROR;
    }

    if (ngx_http_aoai_aad_init_behalf(cycle, amcf) != NGX_OK) {
        return NGX_ERROR;
    }

    identity = amcf->fetched.elts;

    for (i = 0; i < amcf->fetched.nelts; i++) {

        if (ngx_http_aoai_aad_setup(identity[i]) != NGX_OK) {
            return NGX_ERROR;
        }

        ngx_add_timer(&identity[i]->refresh, 1);
    }

    return NGX_OK;
}


/* the threads have ended by now, and their results are not told any more */
void
ngx_http_aoai_aad_exit_process(ngx_cycle_t *cycle)
{
    ngx_uint_t                       i;
    ngx_http_aoai_aad_identity_t   **identity;
    ngx_http_aoai_aad_main_conf_t   *amcf;

    amcf = ngx_http_aoai_aad_cycle_conf(cycle);

    if (amcf == NULL) {
        return;
    }

    aad_token_digest_destroy(amcf->token_digest);
    amcf->token_digest = NULL;

    identity = amcf->fetched.elts;

    for (i = 0; i < amcf->fetched.nelts; i++) {
        if (identity[i]->fetching) {
            ngx_http_aoai_aad_release(identity[i]);
        }

        ngx_http_aoai_aad_forget(identity[i]);
    }
}


/*
 * Sees to it that a token is on its way.  Returns NGX_AGAIN when it is, or
 * NGX_DECLINED when the last try failed a moment ago.
 */
ngx_int_t
ngx_http_aoai_aad_fetch(ngx_http_aoai_aad_identity_t *identity)
{
    ngx_int_t   rc;
    ngx_msec_t  delay;

    if (identity->fetching) {
        return NGX_AGAIN;
    }

    rc = ngx_http_aoai_aad_lease(identity, &delay);

    if (rc == NGX_OK) {
        return ngx_http_aoai_aad_start(identity);
    }

    return rc;
}


/* Has the worker look at once whether there is something to fetch. */
void
ngx_http_aoai_aad_refresh(ngx_http_aoai_aad_identity_t *identity)
{
    /* the timer is set when a fetch ends, and by nobody in a worker that
       goes */

    if (identity->refresh.timer_set) {
        ngx_add_timer(&identity->refresh, 1);
    }
}


/* For requests that wait: has the worker look at it every moment. */
void
ngx_http_aoai_aad_watch(ngx_http_aoai_aad_identity_t *identity)
{
    if (!identity->watch.timer_set) {
        ngx_add_timer(&identity->watch, NGX_HTTP_AOAI_AAD_WATCH_MSEC);
    }
}


/* The caller has the lease. */
static ngx_int_t
ngx_http_aoai_aad_start(ngx_http_aoai_aad_identity_t *identity)
{
    ngx_http_aoai_aad_fetch_t      *fetch;
    ngx_http_aoai_aad_main_conf_t  *amcf;

    fetch = identity->task->ctx;

    fetch->identity = identity;

    ngx_http_aoai_aad_moment(&fetch->started);

    /* under a valid token the identity must not change */

    fetch->only = ngx_http_aoai_aad_has_token(identity)
                  ? identity->token.step : identity->settings.chain_length;

    amcf = ngx_http_aoai_aad_cycle_conf((ngx_cycle_t *) ngx_cycle);

    if (ngx_thread_task_post(amcf->thread_pool, identity->task) != NGX_OK) {
        (void) ngx_http_aoai_aad_failed(identity, 0, NULL, 0);
        return NGX_DECLINED;
    }

    identity->fetching = 1;

    return NGX_AGAIN;
}


/* in a thread: nothing of nginx may be touched but what was handed over */
static void
ngx_http_aoai_aad_thread(void *data, ngx_log_t *log)
{
    ngx_http_aoai_aad_fetch_t *fetch = data;

    if (fetch->identity->tenant_id) {
        fetch->result = ngx_http_aoai_aad_get_key_set(fetch->identity,
                                                      &fetch->token,
                                                      &fetch->report);

    } else {
        fetch->result = aad_get_token(&fetch->identity->settings,
                                      &ngx_http_aoai_aad_hooks,
                                      (int64_t) fetch->identity->timeout,
                                      fetch->only, &fetch->token,
                                      &fetch->report);
    }

    aad_thread_end();
}


static void
ngx_http_aoai_aad_done(ngx_event_t *ev)
{
    aad_attempt_t                 *last;
    ngx_uint_t                     level;
    ngx_http_aoai_aad_fetch_t     *fetch;
    ngx_http_aoai_aad_identity_t  *identity;

    fetch = ev->data;
    identity = fetch->identity;

    identity->fetching = 0;

    if (ngx_http_aoai_aad_clock_was_set(fetch)) {

        /* when the token ends nobody can say: it is fetched once more */

        ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                      "aoai_aad: this machine's clock was set while a token "
                      "was fetched, it is fetched again (chain: %V)",
                      &identity->name);

        aad_token_wipe(&fetch->token);
        ngx_http_aoai_aad_release(identity);

    } else if (fetch->result == AAD_OK) {

        identity->late = 0;

        ngx_http_aoai_aad_count_fetch(identity, AAD_OK, &fetch->report);

        if (ngx_http_aoai_aad_store(identity, &fetch->token, &fetch->report,
                                    fetch->only)
            == NGX_OK)
        {
            ngx_http_aoai_aad_log_token(identity, &fetch->token);
        }

        aad_token_wipe(&fetch->token);

    } else if (ngx_http_aoai_aad_cancelled(NULL)) {

        /* given up because this worker goes, not for a fault */

        ngx_http_aoai_aad_release(identity);

    } else {
        ngx_http_aoai_aad_count_fetch(identity, fetch->result, &fetch->report);

        last = &fetch->report.attempts[fetch->report.count - 1];

        level = ngx_http_aoai_aad_failed(identity, last->retry_after,
                                         &fetch->report, fetch->only)
                ? NGX_LOG_ERR : NGX_LOG_INFO;

        ngx_http_aoai_aad_log_failure(identity, level, &fetch->report);
    }

    ngx_http_aoai_aad_wake(&identity->waiting);

    if (!ngx_exiting) {
        ngx_add_timer(&identity->refresh, 1);
    }
}


static ngx_uint_t
ngx_http_aoai_aad_clock_was_set(ngx_http_aoai_aad_fetch_t *fetch)
{
    int64_t       difference;
    aad_moment_t  now;

    ngx_http_aoai_aad_moment(&now);

    difference = (now.wall_ms - fetch->started.wall_ms)
                 - (now.monotonic_ms - fetch->started.monotonic_ms);

    return difference > NGX_HTTP_AOAI_AAD_CLOCK_MSEC
           || difference < -NGX_HTTP_AOAI_AAD_CLOCK_MSEC;
}


static void
ngx_http_aoai_aad_log_token(ngx_http_aoai_aad_identity_t *identity,
    aad_token_t *token)
{
    ngx_tm_t  tm;

    if (identity->tenant_id) {
        ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                      "aoai_aad: new %V", &identity->name);
        return;
    }

    ngx_gmtime((time_t) token->expires_on, &tm);

    ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                  "aoai_aad: token from %s, valid until "
                  "%4d-%02d-%02dT%02d:%02d:%02dZ, client id \"%s\", object id "
                  "\"%s\", tenant \"%s\" (chain: %V)",
                  token->credential, tm.ngx_tm_year, tm.ngx_tm_mon,
                  tm.ngx_tm_mday, tm.ngx_tm_hour, tm.ngx_tm_min,
                  tm.ngx_tm_sec, token->client_id, token->object_id,
                  token->tenant_id, &identity->name);
}


/*
 * One entry that answers "why have I no token" without a search.  nginx cuts
 * it at NGX_MAX_ERROR_STR: the chain's name and what stands around the report
 * are kept short, and the report shares out the rest.
 */
static void
ngx_http_aoai_aad_log_failure(ngx_http_aoai_aad_identity_t *identity,
    ngx_uint_t level, aad_report_t *report)
{
    char       text[NGX_MAX_ERROR_STR];
    ngx_str_t  name;

    name = identity->name;
    name.len = ngx_min(name.len, NGX_HTTP_AOAI_AAD_NAME_BYTES);

    (void) aad_report_text(report, text, sizeof(text) - name.len
                                         - NGX_HTTP_AOAI_AAD_AROUND_BYTES);

    ngx_log_error(level, ngx_cycle->log, 0,
                  "aoai_aad: no %s%s: %s (%s%V%s)",
                  ngx_http_aoai_aad_has_token(identity) ? "new " : "",
                  identity->tenant_id ? "keys of callers" : "token", text,
                  identity->tenant_id ? "" : "chain: ", &name,
                  name.len < identity->name.len ? "..." : "");
}


static void
ngx_http_aoai_aad_refresh_handler(ngx_event_t *ev)
{
    ngx_int_t                      rc;
    ngx_msec_t                     delay, limit;
    ngx_http_aoai_aad_identity_t  *identity;

    identity = ev->data;

    if (ngx_exiting || identity->fetching) {
        return;
    }

    rc = ngx_http_aoai_aad_lease(identity, &delay);

    if (rc == NGX_OK && ngx_http_aoai_aad_start(identity) == NGX_AGAIN) {
        return;
    }

    /* the task's end sets the timer again, here nothing else would */

    limit = rc == NGX_AGAIN ? NGX_HTTP_AOAI_AAD_LEASE_MSEC
                            : NGX_HTTP_AOAI_AAD_IDLE_MSEC;

    ngx_add_timer(ev, ngx_min(ngx_max(delay, 10), limit));
}


static void
ngx_http_aoai_aad_watch_handler(ngx_event_t *ev)
{
    ngx_msec_t                     msec;
    ngx_http_aoai_aad_identity_t  *identity;

    identity = ev->data;

    if (ngx_queue_empty(&identity->waiting)) {
        return;
    }

    msec = NGX_HTTP_AOAI_AAD_WATCH_MSEC;

    if (ngx_http_aoai_aad_has_token(identity)) {
        ngx_http_aoai_aad_wake(&identity->waiting);

        /* those that wait on wait for newer keys, and may be many */

        msec = NGX_HTTP_AOAI_AAD_WATCH_KEYS_MSEC;

    } else if (ngx_http_aoai_aad_fetch(identity) != NGX_AGAIN) {
        ngx_http_aoai_aad_wake(&identity->waiting);
    }

    ngx_add_timer(ev, msec);
}


static ngx_int_t
ngx_http_aoai_aad_setup(ngx_http_aoai_aad_identity_t *identity)
{
    ngx_thread_task_t  *task;

    task = ngx_thread_task_alloc(ngx_cycle->pool,
                                 sizeof(ngx_http_aoai_aad_fetch_t));
    if (task == NULL) {
        return NGX_ERROR;
    }

    task->handler = ngx_http_aoai_aad_thread;
    task->event.handler = ngx_http_aoai_aad_done;
    task->event.data = task->ctx;
    task->event.log = ngx_cycle->log;

    /* it must not keep a worker that is told to go */

    identity->refresh.handler = ngx_http_aoai_aad_refresh_handler;
    identity->refresh.data = identity;
    identity->refresh.log = ngx_cycle->log;
    identity->refresh.cancelable = 1;

    identity->watch.handler = ngx_http_aoai_aad_watch_handler;
    identity->watch.data = identity;
    identity->watch.log = ngx_cycle->log;
    identity->watch.cancelable = 1;

    identity->task = task;

    return NGX_OK;
}


/* NULL where there is no http block */
ngx_http_aoai_aad_main_conf_t *
ngx_http_aoai_aad_cycle_conf(ngx_cycle_t *cycle)
{
    return ngx_http_cycle_get_module_main_conf(cycle,
                                               ngx_http_aoai_aad_module);
}


static int64_t
ngx_http_aoai_aad_now(void *data)
{
    return (int64_t) time(NULL);
}


static int64_t
ngx_http_aoai_aad_monotonic(void *data)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_MONOTONIC, &ts);

    return (int64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}
