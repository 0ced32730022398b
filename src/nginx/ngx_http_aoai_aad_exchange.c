
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * Exchanges of callers' tokens: a task of the thread pool for each caller, of
 * all workers one at a time, and the requests of this worker that wait for
 * it, or for another worker's.
 */


#include "ngx_http_aoai_aad_behalf.h"


/*
 * Of one worker at a time, the others wait: the threads are the ones that
 * fetch the gateway's own tokens, and an authority that hangs must not have
 * all of them.
 */
#define NGX_HTTP_AOAI_AAD_EXCHANGES_MAX     16

/* that run, wait for these, or are another worker's; some 16 MB of memory */
#define NGX_HTTP_AOAI_AAD_EXCHANGES_KNOWN_MAX  1024

/* how often it is looked whether another worker has finished */
#define NGX_HTTP_AOAI_AAD_EXCHANGE_WATCH_MSEC  2

/* for how long a refusal is repeated without asking: a caller that tries
   again and again asks nothing of the authority, and one that has mended it
   does not wait long */
#define NGX_HTTP_AOAI_AAD_REFUSED_SEC       10
#define NGX_HTTP_AOAI_AAD_UNAVAILABLE_SEC   2
#define NGX_HTTP_AOAI_AAD_UNAVAILABLE_MAX_SEC  60

/* how long after an entry of the log a success makes the next failure news */
#define NGX_HTTP_AOAI_AAD_NEWS_SEC          60


typedef struct {
    ngx_queue_t                     queue;
    ngx_queue_t                     waiting;    /* requests */
    ngx_http_aoai_aad_caller_key_t  key;
    ngx_http_aoai_aad_main_conf_t  *conf;
    ngx_http_aoai_aad_identity_t   *identity;   /* NULL: another worker's */
    unsigned                        started:1;

    ngx_thread_task_t               task;
    aad_secret_t                    assertion;
    aad_result_t                    result;
    aad_token_t                     token;
    aad_refusal_t                   refusal;
    aad_report_t                    report;
} ngx_http_aoai_aad_exchange_t;


static ngx_http_aoai_aad_exchange_t *ngx_http_aoai_aad_add_exchange(
    ngx_http_aoai_aad_main_conf_t *amcf,
    ngx_http_aoai_aad_caller_key_t *key);
static void ngx_http_aoai_aad_end_exchange(
    ngx_http_aoai_aad_exchange_t *exchange);
static ngx_int_t ngx_http_aoai_aad_post_exchange(
    ngx_http_aoai_aad_exchange_t *exchange);
static void ngx_http_aoai_aad_give_up(ngx_http_aoai_aad_exchange_t *exchange);
static void ngx_http_aoai_aad_start_others(
    ngx_http_aoai_aad_main_conf_t *amcf);
static void ngx_http_aoai_aad_exchange_thread(void *data, ngx_log_t *log);
static void ngx_http_aoai_aad_exchange_done(ngx_event_t *ev);
static void ngx_http_aoai_aad_exchanged(
    ngx_http_aoai_aad_exchange_t *exchange);
static time_t ngx_http_aoai_aad_exchanged_until(
    ngx_http_aoai_aad_exchange_t *exchange);
static void ngx_http_aoai_aad_not_exchanged(
    ngx_http_aoai_aad_exchange_t *exchange);
static void ngx_http_aoai_aad_log_exchange(
    ngx_http_aoai_aad_exchange_t *exchange);
static void ngx_http_aoai_aad_exchange_watch_handler(ngx_event_t *ev);


/* In a worker that begins. */
ngx_int_t
ngx_http_aoai_aad_init_behalf(ngx_cycle_t *cycle,
    ngx_http_aoai_aad_main_conf_t *amcf)
{
    if (amcf->callers == NULL) {
        return NGX_OK;
    }

    amcf->token_digest = aad_token_digest_create();
    if (amcf->token_digest == NULL) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                      "aoai_aad: libcrypto cannot make digests");
        return NGX_ERROR;
    }

    ngx_queue_init(&amcf->exchanges);

    amcf->exchange_watch.handler = ngx_http_aoai_aad_exchange_watch_handler;
    amcf->exchange_watch.data = amcf;
    amcf->exchange_watch.log = cycle->log;
    amcf->exchange_watch.cancelable = 1;

    return NGX_OK;
}


ngx_queue_t *
ngx_http_aoai_aad_find_exchange(ngx_http_aoai_aad_main_conf_t *amcf,
    ngx_http_aoai_aad_caller_key_t *key)
{
    ngx_queue_t                   *q;
    ngx_http_aoai_aad_exchange_t  *exchange;

    for (q = ngx_queue_head(&amcf->exchanges);
         q != ngx_queue_sentinel(&amcf->exchanges);
         q = ngx_queue_next(q))
    {
        exchange = ngx_queue_data(q, ngx_http_aoai_aad_exchange_t, queue);

        if (ngx_memcmp(&exchange->key, key,
                       sizeof(ngx_http_aoai_aad_caller_key_t))
            == 0)
        {
            return &exchange->waiting;
        }
    }

    return NULL;
}


/*
 * Whether no other one may begin to wait: anybody can ask for an exchange of
 * what looks like a token, and what has no limit is a way to take the worker's
 * memory and time.
 */
ngx_uint_t
ngx_http_aoai_aad_is_crowded(ngx_http_aoai_aad_main_conf_t *amcf)
{
    ngx_queue_t                   *q, *next;
    ngx_http_aoai_aad_exchange_t  *exchange;

    if (amcf->exchanges_known < NGX_HTTP_AOAI_AAD_EXCHANGES_KNOWN_MAX) {
        return 0;
    }

    /* those of clients that have gone make room */

    for (q = ngx_queue_head(&amcf->exchanges);
         q != ngx_queue_sentinel(&amcf->exchanges);
         q = next)
    {
        next = ngx_queue_next(q);

        exchange = ngx_queue_data(q, ngx_http_aoai_aad_exchange_t, queue);

        if (exchange->identity && !exchange->started
            && ngx_queue_empty(&exchange->waiting))
        {
            ngx_http_aoai_aad_give_up(exchange);
        }
    }

    return amcf->exchanges_known >= NGX_HTTP_AOAI_AAD_EXCHANGES_KNOWN_MAX;
}


ngx_queue_t *
ngx_http_aoai_aad_start_exchange(ngx_http_aoai_aad_main_conf_t *amcf,
    ngx_http_aoai_aad_identity_t *identity,
    ngx_http_aoai_aad_caller_key_t *key, ngx_str_t *assertion)
{
    ngx_http_aoai_aad_exchange_t  *exchange;

    exchange = ngx_http_aoai_aad_add_exchange(amcf, key);
    if (exchange == NULL) {
        return NULL;
    }

    exchange->identity = identity;

    if (aad_secret_append(&exchange->assertion, (char *) assertion->data,
                          assertion->len)
        != 0)
    {
        ngx_http_aoai_aad_end_exchange(exchange);
        return NULL;
    }

    exchange->task.ctx = exchange;
    exchange->task.handler = ngx_http_aoai_aad_exchange_thread;
    exchange->task.event.handler = ngx_http_aoai_aad_exchange_done;
    exchange->task.event.data = exchange;
    exchange->task.event.log = ngx_cycle->log;

    if (amcf->exchanging < NGX_HTTP_AOAI_AAD_EXCHANGES_MAX
        && ngx_http_aoai_aad_post_exchange(exchange) != NGX_OK)
    {
        return NULL;
    }

    return &exchange->waiting;
}


ngx_queue_t *
ngx_http_aoai_aad_watch_exchange(ngx_http_aoai_aad_main_conf_t *amcf,
    ngx_http_aoai_aad_caller_key_t *key)
{
    ngx_http_aoai_aad_exchange_t  *exchange;

    exchange = ngx_http_aoai_aad_add_exchange(amcf, key);
    if (exchange == NULL) {
        return NULL;
    }

    if (!amcf->exchange_watch.timer_set) {
        ngx_add_timer(&amcf->exchange_watch,
                      NGX_HTTP_AOAI_AAD_EXCHANGE_WATCH_MSEC);
    }

    return &exchange->waiting;
}


static ngx_http_aoai_aad_exchange_t *
ngx_http_aoai_aad_add_exchange(ngx_http_aoai_aad_main_conf_t *amcf,
    ngx_http_aoai_aad_caller_key_t *key)
{
    ngx_http_aoai_aad_exchange_t  *exchange;

    exchange = ngx_calloc(sizeof(ngx_http_aoai_aad_exchange_t),
                          ngx_cycle->log);
    if (exchange == NULL) {
        return NULL;
    }

    exchange->conf = amcf;
    exchange->key = *key;
    aad_secret_init(&exchange->assertion, AAD_TOKEN_BYTES_MAX);

    ngx_queue_init(&exchange->waiting);
    ngx_queue_insert_tail(&amcf->exchanges, &exchange->queue);
    amcf->exchanges_known++;

    return exchange;
}


/* Those who wait look for what has come of it. */
static void
ngx_http_aoai_aad_end_exchange(ngx_http_aoai_aad_exchange_t *exchange)
{
    ngx_http_aoai_aad_dismiss(&exchange->waiting);

    ngx_queue_remove(&exchange->queue);
    exchange->conf->exchanges_known--;

    aad_secret_wipe(&exchange->assertion);
    ngx_free(exchange);
}


/* It has ended when there is no thread for it. */
static ngx_int_t
ngx_http_aoai_aad_post_exchange(ngx_http_aoai_aad_exchange_t *exchange)
{
    ngx_http_aoai_aad_main_conf_t  *amcf;

    amcf = exchange->conf;

    if (ngx_thread_task_post(amcf->thread_pool, &exchange->task) != NGX_OK) {
        ngx_http_aoai_aad_give_up(exchange);
        return NGX_ERROR;
    }

    exchange->started = 1;
    amcf->exchanging++;

    return NGX_OK;
}


/* so that whoever asks next may exchange it */
static void
ngx_http_aoai_aad_give_up(ngx_http_aoai_aad_exchange_t *exchange)
{
    ngx_http_aoai_aad_forget_caller(exchange->conf->callers, &exchange->key);
    ngx_http_aoai_aad_end_exchange(exchange);
}


/* Those that had to wait for others to end. */
static void
ngx_http_aoai_aad_start_others(ngx_http_aoai_aad_main_conf_t *amcf)
{
    ngx_queue_t                   *q, *next;
    ngx_http_aoai_aad_exchange_t  *exchange;

    for (q = ngx_queue_head(&amcf->exchanges);
         q != ngx_queue_sentinel(&amcf->exchanges)
             && amcf->exchanging < NGX_HTTP_AOAI_AAD_EXCHANGES_MAX;
         q = next)
    {
        next = ngx_queue_next(q);

        exchange = ngx_queue_data(q, ngx_http_aoai_aad_exchange_t, queue);

        if (exchange->identity == NULL || exchange->started) {
            continue;
        }

        /* all who asked for it may have gone meanwhile */

        if (ngx_queue_empty(&exchange->waiting)) {
            ngx_http_aoai_aad_give_up(exchange);
            continue;
        }

        (void) ngx_http_aoai_aad_post_exchange(exchange);
    }
}


/* in a thread: nothing of nginx may be touched but what was handed over */
static void
ngx_http_aoai_aad_exchange_thread(void *data, ngx_log_t *log)
{
    ngx_http_aoai_aad_exchange_t *exchange = data;

    exchange->result = aad_get_token_on_behalf_of(
                           &exchange->identity->settings,
                           &ngx_http_aoai_aad_hooks,
                           (int64_t) exchange->identity->timeout,
                           &exchange->assertion, &exchange->token,
                           &exchange->report, &exchange->refusal);
    aad_thread_end();
}


static void
ngx_http_aoai_aad_exchange_done(ngx_event_t *ev)
{
    ngx_http_aoai_aad_exchange_t   *exchange;
    ngx_http_aoai_aad_main_conf_t  *amcf;

    exchange = ev->data;
    amcf = exchange->conf;

    amcf->exchanging--;

    if (exchange->result == AAD_OK) {
        ngx_http_aoai_aad_exchanged(exchange);

    } else if (ngx_http_aoai_aad_cancelled(NULL)) {

        /* because this worker goes, not for a fault */

        ngx_http_aoai_aad_forget_caller(amcf->callers, &exchange->key);

    } else {
        ngx_http_aoai_aad_not_exchanged(exchange);
    }

    aad_token_wipe(&exchange->token);

    ngx_http_aoai_aad_end_exchange(exchange);

    ngx_http_aoai_aad_start_others(amcf);
}


static void
ngx_http_aoai_aad_exchanged(ngx_http_aoai_aad_exchange_t *exchange)
{
    ngx_str_t                   line;
    aad_token_t                *token;
    ngx_http_aoai_aad_known_t   known;

    token = &exchange->token;

    (void) ngx_atomic_fetch_add(&exchange->conf->totals->behalf.exchanges, 1);

    /* between them, callers can make as much of both as they like */

    if (ngx_time() - exchange->identity->behalf_logged
        >= NGX_HTTP_AOAI_AAD_NEWS_SEC)
    {
        exchange->identity->behalf_logged = 0;
    }

    ngx_memzero(&known, sizeof(ngx_http_aoai_aad_known_t));

    known.exchanged = 1;
    known.created = ngx_time();
    known.expires_on = ngx_http_aoai_aad_exchanged_until(exchange);

    ngx_cpystrn((u_char *) known.name, (u_char *) token->credential,
                AAD_ID_BYTES);
    ngx_cpystrn((u_char *) known.client_id, (u_char *) token->client_id,
                AAD_ID_BYTES);
    ngx_cpystrn((u_char *) known.object_id, (u_char *) token->object_id,
                AAD_ID_BYTES);
    ngx_cpystrn((u_char *) known.tenant_id, (u_char *) token->tenant_id,
                AAD_ID_BYTES);

    line.len = NGX_HTTP_AOAI_AAD_LINE_BYTES + token->access_token.length;
    line.data = ngx_alloc(line.len, ngx_cycle->log);

    if (line.data == NULL) {
        ngx_http_aoai_aad_forget_caller(exchange->conf->callers,
                                        &exchange->key);
        return;
    }

    (void) ngx_http_aoai_aad_write_line(line.data,
                                        (u_char *) token->access_token.data,
                                        token->access_token.length);

    ngx_http_aoai_aad_remember(exchange->conf->callers, &exchange->key, &known,
                               &line);

    ngx_explicit_memzero(line.data, line.len);
    ngx_free(line.data);
}


/* as the gateway's own tokens, and never past the end of the caller's */
static time_t
ngx_http_aoai_aad_exchanged_until(ngx_http_aoai_aad_exchange_t *exchange)
{
    int64_t         now, until, expires_on;
    aad_schedule_t  schedule;

    now = (int64_t) ngx_time();

    schedule = aad_schedule((exchange->token.expires_on - now) * 1000, 0, 0);
    until = now + schedule.usable_ms / 1000;

    if (aad_caller_expires_on(exchange->assertion.data,
                              exchange->assertion.length, &expires_on)
        != 0)
    {
        return (time_t) now;
    }

    return (time_t) ngx_min(until, expires_on);
}


static void
ngx_http_aoai_aad_not_exchanged(ngx_http_aoai_aad_exchange_t *exchange)
{
    char                        texts[AAD_CODE_BYTES + AAD_CLAIMS_BYTES
                                      + AAD_REASON_BYTES];
    u_char                     *p;
    time_t                      seconds;
    ngx_str_t                   data;
    aad_refusal_t              *refusal;
    ngx_http_aoai_aad_known_t   known;

    refusal = &exchange->refusal;

    (void) ngx_atomic_fetch_add(&exchange->conf->totals->behalf.failures, 1);

    seconds = NGX_HTTP_AOAI_AAD_REFUSED_SEC;

    if (refusal->kind == AAD_REFUSAL_UNAVAILABLE
        || refusal->kind == AAD_REFUSAL_CREDENTIAL)
    {
        seconds = ngx_max(refusal->retry_after,
                          NGX_HTTP_AOAI_AAD_UNAVAILABLE_SEC);
        seconds = ngx_min(seconds, NGX_HTTP_AOAI_AAD_UNAVAILABLE_MAX_SEC);

        ngx_http_aoai_aad_log_exchange(exchange);
    }

    ngx_memzero(&known, sizeof(ngx_http_aoai_aad_known_t));

    known.exchanged = 1;
    known.refusal = refusal->kind;
    known.created = ngx_time();
    known.expires_on = known.created + seconds;

    p = ngx_cpystrn((u_char *) texts, (u_char *) refusal->code,
                    AAD_CODE_BYTES) + 1;
    p = ngx_cpystrn(p, (u_char *) refusal->claims, AAD_CLAIMS_BYTES) + 1;
    p = ngx_cpystrn(p, (u_char *) refusal->reason, AAD_REASON_BYTES) + 1;

    data.data = (u_char *) texts;
    data.len = p - data.data;

    ngx_http_aoai_aad_remember(exchange->conf->callers, &exchange->key, &known,
                               &data);
}


/* at the first time, and every hour of it */
static void
ngx_http_aoai_aad_log_exchange(ngx_http_aoai_aad_exchange_t *exchange)
{
    char        text[NGX_MAX_ERROR_STR / 2];
    ngx_uint_t  level;

    level = ngx_http_aoai_aad_log_due(&exchange->identity->behalf_logged)
            ? NGX_LOG_ERR : NGX_LOG_INFO;

    (void) aad_report_text(&exchange->report, text, sizeof(text));

    ngx_log_error(level, ngx_cycle->log, 0,
                  "aoai_aad: no token on behalf of a caller: %s (chain: %V)",
                  text, &exchange->identity->name);
}


static void
ngx_http_aoai_aad_exchange_watch_handler(ngx_event_t *ev)
{
    ngx_uint_t                      watched;
    ngx_queue_t                    *q, *next;
    ngx_http_aoai_aad_exchange_t   *exchange;
    ngx_http_aoai_aad_main_conf_t  *amcf;

    amcf = ev->data;
    watched = 0;

    for (q = ngx_queue_head(&amcf->exchanges);
         q != ngx_queue_sentinel(&amcf->exchanges);
         q = next)
    {
        next = ngx_queue_next(q);

        exchange = ngx_queue_data(q, ngx_http_aoai_aad_exchange_t, queue);

        if (exchange->identity) {
            continue;
        }

        if (ngx_queue_empty(&exchange->waiting)
            || !ngx_http_aoai_aad_is_busy(amcf->callers, &exchange->key))
        {
            ngx_http_aoai_aad_end_exchange(exchange);
            continue;
        }

        watched = 1;
    }

    if (watched) {
        ngx_add_timer(ev, NGX_HTTP_AOAI_AAD_EXCHANGE_WATCH_MSEC);
    }
}
