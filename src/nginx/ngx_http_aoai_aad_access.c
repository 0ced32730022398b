
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * A request's way to a token: there already, waited for, or refused.
 */


#include "ngx_http_aoai_aad.h"


static ngx_int_t ngx_http_aoai_aad_obtain(ngx_http_request_t *r,
    ngx_http_aoai_aad_loc_conf_t *alcf);
static ngx_int_t ngx_http_aoai_aad_start_waiting(ngx_http_request_t *r,
    ngx_http_aoai_aad_loc_conf_t *alcf, ngx_http_aoai_aad_ctx_t *ctx);
static void ngx_http_aoai_aad_stop_waiting(ngx_http_aoai_aad_ctx_t *ctx);
static ngx_int_t ngx_http_aoai_aad_go_on(ngx_http_request_t *r);
static void ngx_http_aoai_aad_event_handler(ngx_event_t *ev);
static void ngx_http_aoai_aad_cleanup(void *data);
static ngx_int_t ngx_http_aoai_aad_retry_after(ngx_http_request_t *r,
    ngx_http_aoai_aad_identity_t *identity);
static ngx_int_t ngx_http_aoai_aad_has_error_page(ngx_http_request_t *r,
    ngx_uint_t status);


/*
 * NGX_OK would grant access under "satisfy any": never returned here.  Where
 * some check has refused already, the request does not get to its end.
 */
ngx_int_t
ngx_http_aoai_aad_access_handler(ngx_http_request_t *r)
{
    ngx_http_aoai_aad_loc_conf_t  *alcf;

    alcf = ngx_http_get_module_loc_conf(r, ngx_http_aoai_aad_module);

    if (alcf->identity == NULL || r->access_code) {
        return NGX_DECLINED;
    }

    return ngx_http_aoai_aad_obtain(r, alcf);
}


/* for subrequests, and after a grant of "satisfy any": both skip access */
ngx_int_t
ngx_http_aoai_aad_precontent_handler(ngx_http_request_t *r)
{
    ngx_http_aoai_aad_loc_conf_t  *alcf;

    alcf = ngx_http_get_module_loc_conf(r, ngx_http_aoai_aad_module);

    if (alcf->identity == NULL) {
        return NGX_DECLINED;
    }

    return ngx_http_aoai_aad_obtain(r, alcf);
}


static ngx_int_t
ngx_http_aoai_aad_obtain(ngx_http_request_t *r,
    ngx_http_aoai_aad_loc_conf_t *alcf)
{
    ngx_int_t                 rc;
    ngx_http_aoai_aad_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_aoai_aad_module);

    if (ngx_http_aoai_aad_has_token(alcf->identity)) {

        if (ctx && ctx->waiting) {
            ngx_http_aoai_aad_stop_waiting(ctx);

            if (ngx_http_aoai_aad_go_on(r) != NGX_OK) {
                return NGX_HTTP_INTERNAL_SERVER_ERROR;
            }
        }

        return NGX_DECLINED;
    }

    ctx = ngx_http_aoai_aad_get_ctx(r);
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (!ctx->timed_out
        && ngx_http_aoai_aad_fetch(alcf->identity) == NGX_AGAIN)
    {
        return ctx->waiting ? NGX_AGAIN
                            : ngx_http_aoai_aad_start_waiting(r, alcf, ctx);
    }

    if (ctx->waiting) {
        ngx_http_aoai_aad_stop_waiting(ctx);

        if (ngx_http_aoai_aad_go_on(r) != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }

    rc = ngx_http_aoai_aad_unavailable(r);

    if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {
        return rc;
    }

    ngx_http_finalize_request(r, rc);

    return NGX_DONE;
}


/* The request's context, made at need; NULL when memory is out. */
ngx_http_aoai_aad_ctx_t *
ngx_http_aoai_aad_get_ctx(ngx_http_request_t *r)
{
    ngx_http_aoai_aad_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_aoai_aad_module);

    if (ctx == NULL) {
        ctx = ngx_pcalloc(r->pool, sizeof(ngx_http_aoai_aad_ctx_t));
        if (ctx == NULL) {
            return NULL;
        }

        ctx->request = r;
        ngx_http_set_ctx(r, ctx, ngx_http_aoai_aad_module);
    }

    return ctx;
}


static ngx_int_t
ngx_http_aoai_aad_start_waiting(ngx_http_request_t *r,
    ngx_http_aoai_aad_loc_conf_t *alcf, ngx_http_aoai_aad_ctx_t *ctx)
{
    ngx_http_cleanup_t  *cln;

    cln = ngx_http_cleanup_add(r, 0);
    if (cln == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    cln->handler = ngx_http_aoai_aad_cleanup;
    cln->data = ctx;

    /* a client that goes away must be noticed */

    if (r == r->main) {

        if (r->connection->read->ready) {
            ngx_post_event(r->connection->read, &ngx_posted_events);

        } else if (ngx_handle_read_event(r->connection->read, 0) != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        r->read_event_handler = ngx_http_test_reading;
    }

    r->write_event_handler = ngx_http_core_run_phases;

    ctx->identity = alcf->identity;
    ctx->wait_started = ngx_current_msec;
    ctx->waiting = 1;

    ctx->event.handler = ngx_http_aoai_aad_event_handler;
    ctx->event.data = ctx;
    ctx->event.log = r->connection->log;

    /* not cancelable: it is what keeps a worker here that is told to go */

    ngx_add_timer(&ctx->event, alcf->timeout);

    ngx_http_aoai_aad_wait(alcf->identity, &ctx->queue);

    return NGX_AGAIN;
}


static void
ngx_http_aoai_aad_stop_waiting(ngx_http_aoai_aad_ctx_t *ctx)
{
    ngx_msec_t  msec;

    msec = ngx_current_msec - ctx->wait_started;

    ctx->waiting = 0;
    ctx->wait_time += msec;
    ctx->cache_status = NGX_HTTP_AOAI_AAD_MISS;

    ngx_http_aoai_aad_count_wait(ctx->identity, msec);

    ngx_http_aoai_aad_leave(&ctx->queue);

    if (ctx->event.timer_set) {
        ngx_del_timer(&ctx->event);
    }

    if (ctx->event.posted) {
        ngx_delete_posted_event(&ctx->event);
    }
}


static ngx_int_t
ngx_http_aoai_aad_go_on(ngx_http_request_t *r)
{
    if (r != r->main) {
        return NGX_OK;
    }

    r->read_event_handler = ngx_http_block_reading;

    return ngx_handle_read_event(r->connection->read, 0);
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


/*
 * The answer to a request that cannot have a token.  Returns what a content
 * handler would: a status, or the result of having sent the response.
 */
ngx_int_t
ngx_http_aoai_aad_unavailable(ngx_http_request_t *r)
{
    ngx_uint_t                     level;
    ngx_http_aoai_aad_ctx_t       *ctx;
    ngx_http_aoai_aad_loc_conf_t  *alcf;

    static ngx_str_t  body = ngx_string(
        "{\"error\":{\"code\":\"token_unavailable\",\"message\":\"The gateway "
        "has no access token for this service at the moment. Its error log "
        "says why.\",\"type\":\"gateway_error\"}}");

    alcf = ngx_http_get_module_loc_conf(r, ngx_http_aoai_aad_module);

    ctx = ngx_http_aoai_aad_get_ctx(r);
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->cache_status = NGX_HTTP_AOAI_AAD_ERROR;

    ngx_http_aoai_aad_count_request(alcf->identity, ctx);

    /* that a fetch has failed was said, that it takes long was not */

    level = ctx->timed_out && !alcf->identity->late ? NGX_LOG_ERR
                                                    : NGX_LOG_INFO;
    alcf->identity->late |= ctx->timed_out;

    ngx_log_error(level, r->connection->log, 0,
                  "aoai_aad: no token%s (chain: %V)",
                  ctx->timed_out ? " within \"aoai_aad_timeout\", the fetch "
                                   "goes on" : "",
                  &alcf->identity->name);

    if (ngx_http_aoai_aad_retry_after(r, alcf->identity) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_aoai_aad_answer(r, NGX_HTTP_SERVICE_UNAVAILABLE, &body);
}


/* an error_page may have brought the request here with one already */
static ngx_int_t
ngx_http_aoai_aad_retry_after(ngx_http_request_t *r,
    ngx_http_aoai_aad_identity_t *identity)
{
    ngx_uint_t        i;
    ngx_msec_t        msec;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *header;

    static ngx_str_t  name = ngx_string("Retry-After");

    part = &r->headers_out.headers.part;
    header = part->elts;

    for (i = 0; /* void */; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                break;
            }

            part = part->next;
            header = part->elts;
            i = 0;
        }

        if (header[i].key.data == name.data) {
            return NGX_OK;
        }
    }

    header = ngx_list_push(&r->headers_out.headers);
    if (header == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(header, sizeof(ngx_table_elt_t));

    header->hash = 1;
    header->key = name;

    header->value.data = ngx_pnalloc(r->pool, NGX_TIME_T_LEN);
    if (header->value.data == NULL) {
        header->hash = 0;
        return NGX_ERROR;
    }

    msec = ngx_http_aoai_aad_retry_msec(identity);

    header->value.len = ngx_sprintf(header->value.data, "%M",
                                    msec ? (msec + 999) / 1000 : 1)
                        - header->value.data;

    return NGX_OK;
}


/* a location's own error_page for the status is honoured */
ngx_int_t
ngx_http_aoai_aad_answer(ngx_http_request_t *r, ngx_uint_t status,
    ngx_str_t *body)
{
    ngx_str_t                 type = ngx_string("application/json");
    ngx_http_complex_value_t  value;

    if (ngx_http_aoai_aad_has_error_page(r, status)) {
        return status;
    }

    ngx_memzero(&value, sizeof(ngx_http_complex_value_t));
    value.value = *body;

    return ngx_http_send_response(r, status, &type, &value);
}


static ngx_int_t
ngx_http_aoai_aad_has_error_page(ngx_http_request_t *r, ngx_uint_t status)
{
    ngx_uint_t                 i;
    ngx_http_err_page_t       *page;
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    if (r->error_page || clcf->error_pages == NULL || r->uri_changes == 0) {
        return 0;
    }

    page = clcf->error_pages->elts;

    for (i = 0; i < clcf->error_pages->nelts; i++) {
        if (page[i].status == (ngx_int_t) status) {
            return 1;
        }
    }

    return 0;
}
