
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * On behalf of the caller: its token is exchanged for one of the service's,
 * which all requests with the same token get until one of the two ends.
 */


#include "ngx_http_aoai_aad_behalf.h"


/* another worker may be killed while it exchanges; none may be killed often */
#define NGX_HTTP_AOAI_AAD_EXCHANGES_AWAITED_MAX  3


static ngx_int_t ngx_http_aoai_aad_use_known(ngx_http_request_t *r,
    ngx_http_aoai_aad_loc_conf_t *alcf, ngx_http_aoai_aad_ctx_t *ctx,
    ngx_http_aoai_aad_caller_key_t *key, ngx_http_aoai_aad_known_t *known,
    ngx_str_t *line);
static ngx_int_t ngx_http_aoai_aad_refuse_behalf(ngx_http_request_t *r,
    ngx_http_aoai_aad_ctx_t *ctx, ngx_http_aoai_aad_known_t *known,
    ngx_str_t *texts);


/* Returns as ngx_http_aoai_aad_prepare(), with ctx->behalf on NGX_OK. */
ngx_int_t
ngx_http_aoai_aad_act_on_behalf(ngx_http_request_t *r,
    ngx_http_aoai_aad_loc_conf_t *alcf, ngx_http_aoai_aad_ctx_t *ctx)
{
    int64_t                          expires_on;
    ngx_int_t                        rc;
    ngx_str_t                        token, data;
    ngx_http_aoai_aad_known_t        known;
    ngx_http_aoai_aad_main_conf_t   *amcf;
    ngx_http_aoai_aad_caller_key_t   key;

    static ngx_http_aoai_aad_answer_t  app_only = {
        NGX_HTTP_FORBIDDEN, "on_behalf_of_refused",
        "The caller's access token is of an app without a user, on whose "
        "behalf nobody can act.", "insufficient_scope",
        "a token of an app alone cannot be exchanged", ngx_null_string, 0
    };

    static ngx_http_aoai_aad_answer_t  expired = {
        NGX_HTTP_UNAUTHORIZED, "invalid_token",
        "The caller's access token has expired, or says no end.",
        "invalid_token", "the token has expired", ngx_null_string, 0
    };

    rc = ngx_http_aoai_aad_caller_token(r, ctx, &token);

    if (rc != NGX_OK) {
        return rc;
    }

    if (ctx->behalf && ngx_time() < ctx->behalf->usable_until) {
        return NGX_OK;
    }

    if (ctx->caller && ctx->caller->app_only) {
        return ngx_http_aoai_aad_refuse_caller(r, ctx, &app_only);
    }

    amcf = ngx_http_get_module_main_conf(r, ngx_http_aoai_aad_module);

    ngx_memcpy(key.token, ctx->token_digest, AAD_DIGEST_BYTES);
    ngx_memcpy(key.context, alcf->identity->digest, AAD_DIGEST_BYTES);

    rc = ngx_http_aoai_aad_recall(amcf->callers, &key, &known, r->pool, &data,
                                  0);

    if (rc == NGX_OK) {
        rc = ngx_http_aoai_aad_use_known(r, alcf, ctx, &key, &known, &data);

        if (rc != NGX_AGAIN) {
            return rc;
        }
    }

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (ctx->timed_out) {
        return NGX_DECLINED;
    }

    ctx->awaited = ngx_http_aoai_aad_find_exchange(amcf, &key);

    if (ctx->awaited) {
        return NGX_AGAIN;
    }

    /* the authority would say so, too, and some minutes late */

    if (aad_caller_expires_on((char *) token.data, token.len, &expires_on)
        != 0
        || expires_on <= (int64_t) ngx_time())
    {
        return ngx_http_aoai_aad_refuse_caller(r, ctx, &expired);
    }

    /* before a place is taken for it, which others would have to make room
       for */

    if (ctx->exchanges++ == NGX_HTTP_AOAI_AAD_EXCHANGES_AWAITED_MAX
        || ngx_http_aoai_aad_is_crowded(amcf))
    {
        return NGX_DECLINED;
    }

    rc = ngx_http_aoai_aad_recall(amcf->callers, &key, &known, r->pool, &data,
                                  alcf->identity->timeout
                                  + NGX_HTTP_AOAI_AAD_EXCHANGE_GRACE_MSEC);

    if (rc == NGX_OK) {

        /* by another worker, a moment ago */

        return ngx_http_aoai_aad_use_known(r, alcf, ctx, &key, &known, &data)
               == NGX_OK ? NGX_OK : NGX_DECLINED;
    }

    ctx->awaited = rc == NGX_BUSY
                   ? ngx_http_aoai_aad_watch_exchange(amcf, &key)
                   : ngx_http_aoai_aad_start_exchange(amcf, alcf->identity,
                                                      &key, &token);

    return ctx->awaited ? NGX_AGAIN : NGX_ERROR;
}


/* NGX_AGAIN: for this location it is too old. */
static ngx_int_t
ngx_http_aoai_aad_use_known(ngx_http_request_t *r,
    ngx_http_aoai_aad_loc_conf_t *alcf, ngx_http_aoai_aad_ctx_t *ctx,
    ngx_http_aoai_aad_caller_key_t *key, ngx_http_aoai_aad_known_t *known,
    ngx_str_t *line)
{
    time_t                          usable_until, max_age;
    ngx_http_aoai_aad_behalf_t     *behalf;
    ngx_http_aoai_aad_main_conf_t  *amcf;

    amcf = ngx_http_get_module_main_conf(r, ngx_http_aoai_aad_module);

    if (known->refusal != AAD_REFUSAL_NONE) {
        return ngx_http_aoai_aad_refuse_behalf(r, ctx, known, line);
    }

    usable_until = known->expires_on;

    if (alcf->behalf_max_age) {
        max_age = (time_t) ((alcf->behalf_max_age + 999) / 1000);

        if (usable_until - known->created > max_age) {
            usable_until = known->created + max_age;
        }

        if (ngx_time() >= usable_until) {
            ngx_http_aoai_aad_forget_caller(amcf->callers, key);
            return NGX_AGAIN;
        }
    }

    behalf = ngx_pcalloc(r->pool, sizeof(ngx_http_aoai_aad_behalf_t));
    if (behalf == NULL) {
        return NGX_ERROR;
    }

    behalf->line = *line;
    behalf->created = known->created;
    behalf->usable_until = usable_until;

    behalf->token.expires_on = known->expires_on;
    ngx_memcpy(behalf->token.credential, known->name, AAD_ID_BYTES);
    ngx_memcpy(behalf->token.client_id, known->client_id, AAD_ID_BYTES);
    ngx_memcpy(behalf->token.object_id, known->object_id, AAD_ID_BYTES);
    ngx_memcpy(behalf->token.tenant_id, known->tenant_id, AAD_ID_BYTES);

    if (!ctx->waiting) {
        (void) ngx_atomic_fetch_add(&amcf->totals->behalf.hits, 1);
    }

    ctx->behalf = behalf;

    return NGX_OK;
}


static ngx_int_t
ngx_http_aoai_aad_refuse_behalf(ngx_http_request_t *r,
    ngx_http_aoai_aad_ctx_t *ctx, ngx_http_aoai_aad_known_t *known,
    ngx_str_t *texts)
{
    char                        *text[NGX_HTTP_AOAI_AAD_REFUSAL_TEXTS], *p;
    ngx_uint_t                   i;
    ngx_http_aoai_aad_answer_t  *answer;

    answer = ngx_pcalloc(r->pool, sizeof(ngx_http_aoai_aad_answer_t));
    if (answer == NULL) {
        return NGX_ERROR;
    }

    p = (char *) texts->data;

    for (i = 0; i < NGX_HTTP_AOAI_AAD_REFUSAL_TEXTS; i++) {
        text[i] = p;
        p += ngx_strlen(p) + 1;
    }

    answer->reason = text[NGX_HTTP_AOAI_AAD_REFUSAL_REASON];

    switch (known->refusal) {

    case AAD_REFUSAL_INTERACTION:
        answer->status = NGX_HTTP_UNAUTHORIZED;
        answer->code = "insufficient_claims";
        answer->message = "Entra ID wants more of the user than the caller's "
                          "access token shows: consent, or a second factor. "
                          "WWW-Authenticate says what.";
        answer->error = "insufficient_claims";
        answer->claims.data = (u_char *)
                              text[NGX_HTTP_AOAI_AAD_REFUSAL_CLAIMS];
        answer->claims.len = ngx_strlen(answer->claims.data);
        break;

    case AAD_REFUSAL_FORBIDDEN:
        answer->status = NGX_HTTP_FORBIDDEN;
        answer->code = "on_behalf_of_refused";
        answer->message = "Entra ID does not let the gateway act on behalf of "
                          "this caller. WWW-Authenticate says why.";
        answer->error = "insufficient_scope";
        break;

    case AAD_REFUSAL_TOKEN:
        answer->status = NGX_HTTP_UNAUTHORIZED;
        answer->code = "invalid_token";
        answer->message = "Entra ID does not exchange the caller's access "
                          "token. WWW-Authenticate says why.";
        answer->error = "invalid_token";
        break;

    default:
        answer->status = NGX_HTTP_SERVICE_UNAVAILABLE;
        answer->code = "token_unavailable";
        answer->message = "The gateway has no access token for this caller at "
                          "the moment. Its error log says why.";
        answer->retry_after = (known->expires_on - ngx_time()) * 1000;

        ctx->answer = answer;

        return NGX_DECLINED;
    }

    ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                  "aoai_aad: the caller's token is not exchanged (%s)",
                  text[NGX_HTTP_AOAI_AAD_REFUSAL_CODE]);

    return ngx_http_aoai_aad_refuse_caller(r, ctx, answer);
}


/*
 * The upstream does not take the exchanged token: the next request gets
 * another one, unless it was exchanged within the last minute.
 */
void
ngx_http_aoai_aad_drop_behalf(ngx_http_request_t *r,
    ngx_http_aoai_aad_identity_t *identity, ngx_http_aoai_aad_ctx_t *ctx)
{
    ngx_http_aoai_aad_main_conf_t   *amcf;
    ngx_http_aoai_aad_caller_key_t   key;

    if (ctx->behalf == NULL || ngx_time() - ctx->behalf->created < 60) {
        return;
    }

    amcf = ngx_http_get_module_main_conf(r, ngx_http_aoai_aad_module);

    ngx_memcpy(key.token, ctx->token_digest, AAD_DIGEST_BYTES);
    ngx_memcpy(key.context, identity->digest, AAD_DIGEST_BYTES);

    ngx_http_aoai_aad_forget_caller(amcf->callers, &key);

    ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                  "aoai_aad: the upstream does not take the caller's exchanged "
                  "token (status 401), the next request exchanges it again");
}
