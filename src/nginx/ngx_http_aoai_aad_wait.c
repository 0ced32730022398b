
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * Requests that wait: in the queue of what they wait for, with a timer that
 * ends it, and with the phase that they are in to be run again.
 */


#include "ngx_http_aoai_aad.h"


static void ngx_http_aoai_aad_stop_waiting(ngx_http_aoai_aad_ctx_t *ctx);
static void ngx_http_aoai_aad_event_handler(ngx_event_t *ev);
static void ngx_http_aoai_aad_cleanup(void *data);


/* requests of this worker that wait; read by the threads too */
static ngx_atomic_t  ngx_http_aoai_aad_waiting;


/*
 * Puts the request into the queue that it awaits, from another one where it was
 * in that, and returns NGX_AGAIN; its time goes on.
 */
ngx_int_t
ngx_http_aoai_aad_wait(ngx_http_request_t *r,
    ngx_http_aoai_aad_loc_conf_t *alcf, ngx_http_aoai_aad_ctx_t *ctx)
{
    ngx_http_cleanup_t        *cln;
    ngx_http_aoai_aad_wait_t  *wait;

    wait = ctx->wait;

    if (wait == NULL) {
        wait = ngx_pcalloc(r->pool, sizeof(ngx_http_aoai_aad_wait_t));
        if (wait == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        ctx->wait = wait;
    }

    if (wait->queued == ctx->awaited) {
        return NGX_AGAIN;
    }

    if (wait->queued) {
        ngx_queue_remove(&wait->queue);
    }

    ngx_queue_insert_tail(ctx->awaited, &wait->queue);
    wait->queued = ctx->awaited;

    if (ctx->waiting) {
        return NGX_AGAIN;
    }

    wait->started = ngx_current_msec;
    ctx->waiting = 1;

    (void) ngx_atomic_fetch_add(&ngx_http_aoai_aad_waiting, 1);

    ngx_memzero(&wait->event, sizeof(ngx_event_t));

    wait->event.handler = ngx_http_aoai_aad_event_handler;
    wait->event.data = ctx;
    wait->event.log = r->connection->log;

    /* not cancelable: it is what keeps a worker here that is told to go */

    ngx_add_timer(&wait->event, alcf->timeout);

    cln = ngx_http_cleanup_add(r, 0);
    if (cln == NULL) {
        ngx_http_aoai_aad_stop_waiting(ctx);
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    cln->handler = ngx_http_aoai_aad_cleanup;
    cln->data = ctx;

    /* a client that goes away must be noticed */

    if (r == r->main) {

        if (r->connection->read->ready) {
            ngx_post_event(r->connection->read, &ngx_posted_events);

        } else if (ngx_handle_read_event(r->connection->read, 0) != NGX_OK) {
            ngx_http_aoai_aad_stop_waiting(ctx);
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        r->read_event_handler = ngx_http_test_reading;
    }

    r->write_event_handler = ngx_http_core_run_phases;

    return NGX_AGAIN;
}


/* What was waited for is there, or will not come. */
ngx_int_t
ngx_http_aoai_aad_go_on(ngx_http_request_t *r, ngx_http_aoai_aad_ctx_t *ctx)
{
    if (!ctx->waiting) {
        return NGX_OK;
    }

    ngx_http_aoai_aad_stop_waiting(ctx);

    if (r != r->main) {
        return NGX_OK;
    }

    r->read_event_handler = ngx_http_block_reading;

    return ngx_handle_read_event(r->connection->read, 0);
}


static void
ngx_http_aoai_aad_stop_waiting(ngx_http_aoai_aad_ctx_t *ctx)
{
    ngx_msec_t                 msec;
    ngx_http_aoai_aad_wait_t  *wait;

    wait = ctx->wait;
    msec = ngx_current_msec - wait->started;

    ctx->waiting = 0;
    ctx->wait_time += msec;
    ctx->cache_status = NGX_HTTP_AOAI_AAD_MISS;

    ngx_http_aoai_aad_count_wait(ctx->identity, msec);

    (void) ngx_atomic_fetch_add(&ngx_http_aoai_aad_waiting, -1);

    if (wait->queued) {
        ngx_queue_remove(&wait->queue);
        wait->queued = NULL;
    }

    if (wait->event.timer_set) {
        ngx_del_timer(&wait->event);
    }

    if (wait->event.posted) {
        ngx_delete_posted_event(&wait->event);
    }
}


/*
 * Posted, not called: one request's end may be another one's.  Each leaves
 * the queue by itself when it has what it waits for.
 */
void
ngx_http_aoai_aad_wake(ngx_queue_t *queue)
{
    ngx_queue_t               *q;
    ngx_http_aoai_aad_wait_t  *wait;

    for (q = ngx_queue_head(queue);
         q != ngx_queue_sentinel(queue);
         q = ngx_queue_next(q))
    {
        wait = ngx_queue_data(q, ngx_http_aoai_aad_wait_t, queue);

        ngx_post_event(&wait->event, &ngx_posted_events);
    }
}


/* Wakes all, and takes them out of a queue that will be no more. */
void
ngx_http_aoai_aad_dismiss(ngx_queue_t *queue)
{
    ngx_queue_t               *q;
    ngx_http_aoai_aad_wait_t  *wait;

    ngx_http_aoai_aad_wake(queue);

    while (!ngx_queue_empty(queue)) {
        q = ngx_queue_head(queue);
        ngx_queue_remove(q);

        wait = ngx_queue_data(q, ngx_http_aoai_aad_wait_t, queue);
        wait->queued = NULL;
    }
}


/*
 * A client that goes away may send its request on, to a post_action: it has
 * another context there, or none, and waits for nothing any more.
 */
static void
ngx_http_aoai_aad_event_handler(ngx_event_t *ev)
{
    ngx_connection_t         *c;
    ngx_http_request_t       *r;
    ngx_http_aoai_aad_ctx_t  *ctx;

    ctx = ev->data;
    r = ctx->request;
    c = r->connection;

    if (ngx_http_get_module_ctx(r, ngx_http_aoai_aad_module) != ctx) {
        ngx_http_aoai_aad_stop_waiting(ctx);
        ngx_http_aoai_aad_count_request(ctx->identity, ctx);
        return;
    }

    if (ev->timedout) {
        ev->timedout = 0;
        ctx->timed_out = 1;
    }

    ngx_http_set_log_request(c->log, r);

    r->write_event_handler(r);

    ngx_http_run_posted_requests(c);
}


static void
ngx_http_aoai_aad_cleanup(void *data)
{
    ngx_http_aoai_aad_ctx_t *ctx = data;

    if (ctx->waiting) {
        ngx_http_aoai_aad_stop_waiting(ctx);
        ngx_http_aoai_aad_count_request(ctx->identity, ctx);
    }
}


/* a worker's end waits for its threads: not for one that nobody waits for */
int
ngx_http_aoai_aad_cancelled(void *data)
{
    return ngx_terminate || (ngx_exiting && ngx_http_aoai_aad_waiting == 0);
}
