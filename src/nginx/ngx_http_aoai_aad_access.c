
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * A request's way to a token: there already, waited for, or refused.
 */


#include "ngx_http_aoai_aad.h"


static ngx_inline ngx_uint_t ngx_http_aoai_aad_needs_nothing(
    ngx_http_request_t *r, ngx_http_aoai_aad_loc_conf_t *alcf);
static ngx_int_t ngx_http_aoai_aad_obtain(ngx_http_request_t *r,
    ngx_http_aoai_aad_loc_conf_t *alcf);
static void ngx_http_aoai_aad_ctx_cleanup(void *data);


/*
 * NGX_OK would grant access under "satisfy any": never returned here.  Where
 * some check has refused already, the request does not get to its end.
 */
ngx_int_t
ngx_http_aoai_aad_access_handler(ngx_http_request_t *r)
{
    ngx_http_aoai_aad_loc_conf_t  *alcf;

    alcf = ngx_http_get_module_loc_conf(r, ngx_http_aoai_aad_module);

    if (alcf->identity == NULL || r->access_code
        || ngx_http_aoai_aad_needs_nothing(r, alcf))
    {
        return NGX_DECLINED;
    }

    return ngx_http_aoai_aad_obtain(r, alcf);
}


/*
 * For subrequests, and after a grant of "satisfy any": both skip access.  Lua
 * may have given the request another caller's token since, and a mirror its
 * own time to read the body.
 */
ngx_int_t
ngx_http_aoai_aad_precontent_handler(ngx_http_request_t *r)
{
    ngx_http_core_loc_conf_t      *clcf;
    ngx_http_aoai_aad_loc_conf_t  *alcf;

    alcf = ngx_http_get_module_loc_conf(r, ngx_http_aoai_aad_module);

    if (alcf->identity == NULL) {
        return NGX_DECLINED;
    }

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    if ((r == r->main
         && clcf->satisfy == NGX_HTTP_SATISFY_ALL
         && !alcf->asks_callers)
        || ngx_http_aoai_aad_needs_nothing(r, alcf))
    {
        return NGX_DECLINED;
    }

    return ngx_http_aoai_aad_obtain(r, alcf);
}


/* as most requests, which have no context either */
static ngx_inline ngx_uint_t
ngx_http_aoai_aad_needs_nothing(ngx_http_request_t *r,
    ngx_http_aoai_aad_loc_conf_t *alcf)
{
    return !alcf->asks_callers
           && ngx_http_get_module_ctx(r, ngx_http_aoai_aad_module) == NULL
           && ngx_http_aoai_aad_has_token(alcf->identity);
}


static ngx_int_t
ngx_http_aoai_aad_obtain(ngx_http_request_t *r,
    ngx_http_aoai_aad_loc_conf_t *alcf)
{
    ngx_int_t                 rc;
    ngx_http_aoai_aad_ctx_t  *ctx;

    ctx = ngx_http_aoai_aad_get_ctx(r);
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = ngx_http_aoai_aad_prepare(r, alcf, ctx);

    if (rc == NGX_AGAIN && !ctx->timed_out) {
        return ngx_http_aoai_aad_wait(r, alcf, ctx);
    }

    if (ngx_http_aoai_aad_go_on(r, ctx) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (rc == NGX_OK) {
        return NGX_DECLINED;
    }

    if (rc == NGX_ERROR) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = ngx_http_aoai_aad_unavailable(r);

    if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {
        return rc;
    }

    ngx_http_finalize_request(r, rc);

    return NGX_DONE;
}


/*
 * Looks whether the request may go, and has what it needs.  Returns NGX_OK,
 * NGX_AGAIN when it is on its way and ctx->awaited is where to wait, or
 * NGX_DECLINED when there is nothing to wait for, with the answer in 'ctx'
 * unless it is that there is no token; NGX_ERROR without memory.
 */
ngx_int_t
ngx_http_aoai_aad_prepare(ngx_http_request_t *r,
    ngx_http_aoai_aad_loc_conf_t *alcf, ngx_http_aoai_aad_ctx_t *ctx)
{
    ngx_int_t                      rc;
    ngx_http_aoai_aad_identity_t  *identity;

    ctx->answer = NULL;

    if (alcf->callers) {
        rc = ngx_http_aoai_aad_check_caller(r, alcf, ctx);

        if (rc != NGX_OK) {
            return rc;
        }
    }

    if (alcf->mode == NGX_HTTP_AOAI_AAD_ON_BEHALF_OF) {
        return ngx_http_aoai_aad_act_on_behalf(r, alcf, ctx);
    }

    identity = alcf->identity;

    if (ngx_http_aoai_aad_has_token(identity)) {
        return NGX_OK;
    }

    if (ctx->timed_out || ngx_http_aoai_aad_fetch(identity) != NGX_AGAIN) {
        return NGX_DECLINED;
    }

    ngx_http_aoai_aad_watch(identity);

    ctx->awaited = &identity->waiting;

    return NGX_AGAIN;
}


/* The first time that the request needs one; NULL when memory is out. */
ngx_http_aoai_aad_ctx_t *
ngx_http_aoai_aad_create_ctx(ngx_http_request_t *r)
{
    ngx_http_aoai_aad_ctx_t       *ctx;
    ngx_http_aoai_aad_loc_conf_t  *alcf;

    ctx = ngx_palloc(r->pool, sizeof(ngx_http_aoai_aad_ctx_t));
    if (ctx == NULL) {
        return NULL;
    }

    ngx_memzero(&ctx->cache_status,
                offsetof(ngx_http_aoai_aad_ctx_t, awaited)
                - offsetof(ngx_http_aoai_aad_ctx_t, cache_status));

    /* as ngx_pool_cleanup_add() does, without two more allocations */

    ctx->cleanup.handler = ngx_http_aoai_aad_ctx_cleanup;
    ctx->cleanup.data = ctx;
    ctx->cleanup.next = r->pool->cleanup;
    r->pool->cleanup = &ctx->cleanup;

    alcf = ngx_http_get_module_loc_conf(r, ngx_http_aoai_aad_module);

    ctx->request = r;
    ctx->identity = alcf->identity;
    ngx_http_set_ctx(r, ctx, ngx_http_aoai_aad_module);

    return ctx;
}


/* what the context is found by, too */
static void
ngx_http_aoai_aad_ctx_cleanup(void *data)
{
    ngx_http_aoai_aad_ctx_t *ctx = data;

    if (ctx->line) {
        ngx_http_aoai_aad_release_line(ctx->line);
        ctx->line = NULL;
    }
}


/*
 * The context of the request, or the one that it had before an internal
 * redirect took it away: what became of the token is to be seen in the log
 * where an error_page, or another location, answers in the end.  For telling
 * alone.  NULL where the request has not met a token.
 */
ngx_http_aoai_aad_ctx_t *
ngx_http_aoai_aad_last_ctx(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t       *cln;
    ngx_http_aoai_aad_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_aoai_aad_module);

    if (ctx || !(r->internal || r->filter_finalize)) {
        return ctx;
    }

    /* the newest comes first; subrequests have the same pool */

    for (cln = r->pool->cleanup; cln; cln = cln->next) {

        if (cln->handler == ngx_http_aoai_aad_ctx_cleanup) {
            ctx = cln->data;

            if (ctx->request == r) {
                return ctx;
            }
        }
    }

    return NULL;
}
