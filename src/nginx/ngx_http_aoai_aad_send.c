
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * The token is added late: to the bytes of the request that nginx has made
 * for the upstream, when nothing stands between them and the upstream's
 * socket.  r->headers_in never has it, so that no mirror, subrequest, redirect,
 * variable or log can come by the token; and whatever the location did to the
 * request, what leaves was looked at, or cannot have what is looked for.
 */


#include "ngx_http_aoai_aad.h"


static void ngx_http_aoai_aad_upstream_init(ngx_http_request_t *r);
static ngx_inline void ngx_http_aoai_aad_go(ngx_http_request_t *r,
    ngx_http_aoai_aad_loc_conf_t *alcf, ngx_http_aoai_aad_ctx_t *ctx);
static void ngx_http_aoai_aad_deny_host(ngx_http_request_t *r,
    ngx_http_aoai_aad_loc_conf_t *alcf, ngx_http_aoai_aad_ctx_t *ctx);
static void ngx_http_aoai_aad_do_without(ngx_http_request_t *r,
    ngx_http_aoai_aad_loc_conf_t *alcf);
static ngx_int_t ngx_http_aoai_aad_create_request(ngx_http_request_t *r);
static ngx_inline ngx_int_t ngx_http_aoai_aad_authorization(
    ngx_http_aoai_aad_loc_conf_t *alcf, ngx_http_aoai_aad_ctx_t *ctx);
static u_char *ngx_http_aoai_aad_make_head(ngx_http_request_t *r,
    ngx_http_aoai_aad_loc_conf_t *alcf, ngx_http_aoai_aad_ctx_t *ctx);
#if (NGX_DEBUG_PALLOC)
static u_char *ngx_http_aoai_aad_prove_head(ngx_http_request_t *r,
    ngx_http_aoai_aad_ctx_t *ctx, ngx_chain_t *body);
#endif
static void ngx_http_aoai_aad_chain(ngx_pool_t *pool,
    ngx_http_aoai_aad_ctx_t *ctx, ngx_chain_t *head);
static ngx_int_t ngx_http_aoai_aad_join(ngx_pool_t *pool, ngx_buf_t *b,
    u_char *end, ngx_str_t *line);
static ngx_int_t ngx_http_aoai_aad_input_filter_init(void *data);
static void ngx_http_aoai_aad_finalize_request(ngx_http_request_t *r,
    ngx_int_t rc);
static ngx_inline ngx_uint_t ngx_http_aoai_aad_is_refusal(
    ngx_http_request_t *r);


/*
 * Stands in the place of proxy_pass's handler, and calls it.  While r->aio is
 * set ngx_http_upstream_init() does nothing: for a request with no body, or
 * one that was read, it would otherwise make the request and send it before
 * the handler returns here.  Where the body is still being read,
 * read_event_handler is the reader's, and the init is left to it.
 */
ngx_int_t
ngx_http_aoai_aad_content_handler(ngx_http_request_t *r)
{
    ngx_int_t                       rc;
    ngx_http_upstream_t            *u;
    ngx_http_aoai_aad_ctx_t        *ctx;
    ngx_http_event_handler_pt       read_event_handler;
    ngx_http_aoai_aad_loc_conf_t   *alcf;
    ngx_http_aoai_aad_main_conf_t  *amcf;

    amcf = ngx_http_get_module_main_conf(r, ngx_http_aoai_aad_module);
    alcf = ngx_http_get_module_loc_conf(r, ngx_http_aoai_aad_module);

    /* an "if" may keep a location's handler and have the token off, or be
       left for another one that knows nothing of either */

    if (alcf->identity == NULL) {
        return amcf->proxy_handler(r);
    }

    ctx = ngx_http_aoai_aad_get_ctx(r);
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    /* a clone of a request (slice, background update) comes here at once, and
       cannot wait; where the token is any caller's, it is looked at later */

    if (alcf->asks_callers) {

        rc = ngx_http_aoai_aad_prepare(r, alcf, ctx);

        if (rc != NGX_OK) {
            return rc == NGX_ERROR ? NGX_HTTP_INTERNAL_SERVER_ERROR
                                   : ngx_http_aoai_aad_unavailable(r);
        }
    }

    read_event_handler = r->read_event_handler;

    r->aio = 1;

    rc = amcf->proxy_handler(r);

    r->aio = 0;

    if (rc != NGX_DONE) {
        return rc;
    }

    u = r->upstream;

    ctx->create_request = u->create_request;
    u->create_request = ngx_http_aoai_aad_create_request;

    /* the same for all requests, and so kept once */

    amcf->input_filter_init = u->input_filter_init;
    u->input_filter_init = ngx_http_aoai_aad_input_filter_init;

    amcf->finalize_request = u->finalize_request;
    u->finalize_request = ngx_http_aoai_aad_finalize_request;

    if (r->read_event_handler == read_event_handler
        || r->read_event_handler == ngx_http_block_reading)
    {
        ngx_http_aoai_aad_go(r, alcf, ctx);

    } else {
        r->request_body->post_handler = ngx_http_aoai_aad_upstream_init;
    }

    return NGX_DONE;
}


/* The body is here, after some time. */
static void
ngx_http_aoai_aad_upstream_init(ngx_http_request_t *r)
{
    ngx_http_aoai_aad_ctx_t       *ctx;
    ngx_http_aoai_aad_loc_conf_t  *alcf;

    alcf = ngx_http_get_module_loc_conf(r, ngx_http_aoai_aad_module);
    ctx = ngx_http_get_module_ctx(r, ngx_http_aoai_aad_module);

    /* an error_page left the reader of the body in place, and went on */

    if (ctx == NULL || ctx->create_request == NULL) {
        return;
    }

    ngx_http_aoai_aad_go(r, alcf, ctx);
}


/* The last look at token and destination before the trip. */
static ngx_inline void
ngx_http_aoai_aad_go(ngx_http_request_t *r,
    ngx_http_aoai_aad_loc_conf_t *alcf, ngx_http_aoai_aad_ctx_t *ctx)
{
    if (ngx_http_aoai_aad_destination(r, alcf) != NGX_OK) {
        ngx_http_aoai_aad_deny_host(r, alcf, ctx);
        return;
    }

    if (ngx_http_aoai_aad_authorization(alcf, ctx) != NGX_OK) {
        ngx_http_aoai_aad_do_without(r, alcf);
        return;
    }

    if (ctx->cache_status == NGX_HTTP_AOAI_AAD_NONE) {
        ctx->cache_status = alcf->identity->life.failures
                            ? NGX_HTTP_AOAI_AAD_STALE : NGX_HTTP_AOAI_AAD_HIT;
    }

    ngx_http_aoai_aad_count_request(alcf->identity, ctx);

    ngx_http_upstream_init(r);
}


static void
ngx_http_aoai_aad_deny_host(ngx_http_request_t *r,
    ngx_http_aoai_aad_loc_conf_t *alcf, ngx_http_aoai_aad_ctx_t *ctx)
{
    static ngx_http_aoai_aad_answer_t  not_allowed = {
        NGX_HTTP_BAD_GATEWAY, "host_not_allowed",
        "The gateway does not send its access token to this host.", NULL, NULL,
        ngx_null_string, 0
    };

    ctx->cache_status = NGX_HTTP_AOAI_AAD_ERROR;
    ngx_http_aoai_aad_count_request(alcf->identity, ctx);
    ngx_http_aoai_aad_count_denied_host(alcf->identity);

    ngx_http_finalize_request(r, ngx_http_aoai_aad_answer(r, &not_allowed));
}


static void
ngx_http_aoai_aad_do_without(ngx_http_request_t *r,
    ngx_http_aoai_aad_loc_conf_t *alcf)
{
    /* nobody will have asked for the one that a clone would need */

    if (alcf->mode != NGX_HTTP_AOAI_AAD_ON_BEHALF_OF) {
        (void) ngx_http_aoai_aad_fetch(alcf->identity);
    }

    ngx_http_finalize_request(r, ngx_http_aoai_aad_unavailable(r));
}


static ngx_int_t
ngx_http_aoai_aad_create_request(ngx_http_request_t *r)
{
    u_char                        *end;
    ngx_buf_t                     *b;
    ngx_http_upstream_t           *u;
    ngx_http_aoai_aad_ctx_t       *ctx;
    ngx_http_aoai_aad_loc_conf_t  *alcf;

    alcf = ngx_http_get_module_loc_conf(r, ngx_http_aoai_aad_module);
    ctx = ngx_http_get_module_ctx(r, ngx_http_aoai_aad_module);

    u = r->upstream;

    /* Lua makes a request anew, of what stands behind the head */

    if (u->request_bufs == &ctx->link) {
        u->request_bufs = ctx->link.next;
    }

    end = ngx_http_aoai_aad_make_head(r, alcf, ctx);

    if (end == NULL) {
        return NGX_ERROR;
    }

    /* a wait for the cache's lock may have been longer than its life */

    if (ctx->authorized != ngx_current_msec
        && ngx_http_aoai_aad_authorization(alcf, ctx) != NGX_OK)
    {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "aoai_aad: the token has expired before the request "
                      "was sent");
        return NGX_ERROR;
    }

    b = u->request_bufs->buf;

    ctx->token = alcf->identity->tokens;
    ctx->sent = 1;

    /* a filter of the body takes the first buffer for the whole head, and in
       that of proxy_set_body the body follows; a request that is made anew has
       a filter too, and must not lend its links again */

    if (end != b->last || u->output.output_filter) {
        return ngx_http_aoai_aad_join(r->pool, b, end, &ctx->authorization);
    }

    ngx_http_aoai_aad_chain(r->pool, ctx, u->request_bufs);

    return NGX_OK;
}


/*
 * Has nginx make the request's head, without the client's credentials.
 * Returns where it ends, with its empty line, or NULL.
 */
static u_char *
ngx_http_aoai_aad_make_head(ngx_http_request_t *r,
    ngx_http_aoai_aad_loc_conf_t *alcf, ngx_http_aoai_aad_ctx_t *ctx)
{
#if (NGX_DEBUG_PALLOC)
    ngx_chain_t          *body;
#endif
    u_char               *end;
    ngx_int_t             rc;
    ngx_uint_t            hidden;
    ngx_http_upstream_t  *u;

    u = r->upstream;

#if (NGX_DEBUG_PALLOC)
    body = u->request_bufs;
#endif

    hidden = alcf->plain
             && ngx_http_aoai_aad_hide_credentials(r, alcf->plain) == NGX_OK;

    rc = ctx->create_request(r);

    if (hidden) {
        ngx_http_aoai_aad_show_credentials(r);
    }

    if (rc != NGX_OK) {
        return NULL;
    }

    if (hidden
        && ngx_http_aoai_aad_is_clean_head(u->request_bufs->buf, &u->uri))
    {
#if (NGX_DEBUG_PALLOC)
        return ngx_http_aoai_aad_prove_head(r, ctx, body);
#else
        return u->request_bufs->buf->last;
#endif
    }

    end = ngx_http_aoai_aad_clean_head(u->request_bufs->buf, &u->uri);

    if (end == NULL) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "aoai_aad: no token can be added, for what would be "
                      "sent has no head of HTTP/1");
    }

    return end;
}


#if (NGX_DEBUG_PALLOC)

/*
 * A build for tests proves of each request that its head is what is left when
 * the credentials are taken out of the one with all of the client's headers.
 */
static u_char *
ngx_http_aoai_aad_prove_head(ngx_http_request_t *r,
    ngx_http_aoai_aad_ctx_t *ctx, ngx_chain_t *body)
{
    u_char               *end;
    ngx_buf_t            *b, *whole;
    ngx_str_t             uri;
    ngx_chain_t          *bufs;
    ngx_http_upstream_t  *u;

    u = r->upstream;
    uri = u->uri;
    bufs = u->request_bufs;
    u->request_bufs = body;

    if (ctx->create_request(r) != NGX_OK) {
        return NULL;
    }

    b = bufs->buf;
    whole = u->request_bufs->buf;
    end = ngx_http_aoai_aad_clean_head(whole, &u->uri);

    if (end == NULL
        || end != whole->last
        || end - whole->pos != b->last - b->pos
        || ngx_memcmp(b->pos, whole->pos, end - whole->pos) != 0)
    {
        ngx_log_error(NGX_LOG_ALERT, r->connection->log, 0,
                      "aoai_aad: a head is not what it has to be");
        return NULL;
    }

    u->uri = uri;
    u->request_bufs = bufs;

    return b->last;
}

#endif


/*
 * Keeps the line to send now, which stays as long as the request, in
 * ctx->authorization.  Returns NGX_DECLINED when there is no token any more.
 */
static ngx_inline ngx_int_t
ngx_http_aoai_aad_authorization(ngx_http_aoai_aad_loc_conf_t *alcf,
    ngx_http_aoai_aad_ctx_t *ctx)
{
    ngx_http_aoai_aad_line_t  *line;

    if (alcf->mode == NGX_HTTP_AOAI_AAD_ON_BEHALF_OF) {

        if (ctx->behalf == NULL || ngx_time() >= ctx->behalf->usable_until) {
            return NGX_DECLINED;
        }

        ctx->authorization = ctx->behalf->line;
        ctx->authorized = ngx_current_msec;

        return NGX_OK;
    }

    if (!ngx_http_aoai_aad_has_token(alcf->identity)) {
        return NGX_DECLINED;
    }

    line = alcf->identity->line;

    if (ctx->line != line) {

        if (ctx->line) {
            ngx_http_aoai_aad_release_line(ctx->line);
        }

        ctx->line = line;
        line->uses++;
    }

    ctx->authorization.data = line->data;
    ctx->authorization.len = line->length;
    ctx->authorized = ngx_current_msec;

    return NGX_OK;
}


/*
 * The head ends with the line in a buffer of its own, so that the token is
 * never copied: with less than a constant header would cost.
 */
static void
ngx_http_aoai_aad_chain(ngx_pool_t *pool, ngx_http_aoai_aad_ctx_t *ctx,
    ngx_chain_t *head)
{
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    head->buf->last -= sizeof(CRLF) - 1;

    b = &ctx->buf;

    ngx_memzero(b, sizeof(ngx_buf_t));

    /* a retry on another server starts again at b->start */

    b->start = ctx->authorization.data;
    b->pos = b->start;
    b->last = b->start + ctx->authorization.len;
    b->end = b->last;
    b->memory = 1;
    b->flush = head->buf->flush;

    ctx->link.buf = b;
    ctx->link.next = head->next;

    head->next = &ctx->link;

    /* the links that nginx needs for one buffer more */

    cl = &ctx->spare[0];
    ngx_free_chain(pool, cl);

    cl = &ctx->spare[1];
    ngx_free_chain(pool, cl);
}


/* The same in one buffer, before what follows the head in it. */
static ngx_int_t
ngx_http_aoai_aad_join(ngx_pool_t *pool, ngx_buf_t *b, u_char *end,
    ngx_str_t *line)
{
    u_char  *start, *p;

    start = ngx_pnalloc(pool, b->last - b->pos + line->len);
    if (start == NULL) {
        return NGX_ERROR;
    }

    p = ngx_cpymem(start, b->pos, end - b->pos - (sizeof(CRLF) - 1));
    p = ngx_cpymem(p, line->data, line->len);
    p = ngx_cpymem(p, end, b->last - end);

    b->start = start;
    b->pos = start;
    b->last = p;
    b->end = p;

    return NGX_OK;
}


/* The head of the answer is here, its body comes. */
static ngx_int_t
ngx_http_aoai_aad_input_filter_init(void *data)
{
    ngx_http_request_t *r = data;

    ngx_int_t                       rc;
    ngx_http_aoai_aad_main_conf_t  *amcf;

    amcf = ngx_http_get_module_main_conf(r, ngx_http_aoai_aad_module);

    rc = amcf->input_filter_init(data);

    return rc == NGX_OK && ngx_http_aoai_aad_is_refusal(r)
           ? ngx_http_aoai_aad_read_refusal(r) : rc;
}


/* The end of the answer, or of a request that never got one. */
static void
ngx_http_aoai_aad_finalize_request(ngx_http_request_t *r, ngx_int_t rc)
{
    ngx_http_aoai_aad_main_conf_t  *amcf;

    amcf = ngx_http_get_module_main_conf(r, ngx_http_aoai_aad_module);

    amcf->finalize_request(r, rc);

    if (ngx_http_aoai_aad_is_refusal(r)) {
        ngx_http_aoai_aad_end_refusal(r);
    }
}


static ngx_inline ngx_uint_t
ngx_http_aoai_aad_is_refusal(ngx_http_request_t *r)
{
    ngx_uint_t  status;

    status = r->upstream->headers_in.status_n;

    return status == NGX_HTTP_UNAUTHORIZED || status == NGX_HTTP_FORBIDDEN;
}
