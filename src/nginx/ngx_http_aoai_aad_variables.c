
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 */


#include "ngx_http_aoai_aad.h"


static ngx_int_t ngx_http_aoai_aad_cache_status_variable(
    ngx_http_request_t *r, ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_aoai_aad_text_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_aoai_aad_expires_in_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_aoai_aad_wait_time_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_aoai_aad_caller_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_aoai_aad_copy_text(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, u_char *text);
static ngx_http_aoai_aad_token_t *ngx_http_aoai_aad_variable_token(
    ngx_http_request_t *r);


static ngx_http_variable_t  ngx_http_aoai_aad_variables[] = {

    { ngx_string("aoai_aad_cache_status"), NULL,
      ngx_http_aoai_aad_cache_status_variable, 0,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("aoai_aad_credential"), NULL,
      ngx_http_aoai_aad_text_variable,
      offsetof(ngx_http_aoai_aad_token_t, credential),
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("aoai_aad_client_id"), NULL,
      ngx_http_aoai_aad_text_variable,
      offsetof(ngx_http_aoai_aad_token_t, client_id),
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("aoai_aad_object_id"), NULL,
      ngx_http_aoai_aad_text_variable,
      offsetof(ngx_http_aoai_aad_token_t, object_id),
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("aoai_aad_tenant_id"), NULL,
      ngx_http_aoai_aad_text_variable,
      offsetof(ngx_http_aoai_aad_token_t, tenant_id),
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("aoai_aad_expires_in"), NULL,
      ngx_http_aoai_aad_expires_in_variable, 0,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("aoai_aad_wait_time"), NULL,
      ngx_http_aoai_aad_wait_time_variable, 0,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("aoai_aad_caller_object_id"), NULL,
      ngx_http_aoai_aad_caller_variable, offsetof(aad_caller_t, object_id),
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("aoai_aad_caller_client_id"), NULL,
      ngx_http_aoai_aad_caller_variable, offsetof(aad_caller_t, client_id),
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("aoai_aad_caller_name"), NULL,
      ngx_http_aoai_aad_caller_variable, offsetof(aad_caller_t, name),
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

      ngx_http_null_variable
};


ngx_int_t
ngx_http_aoai_aad_add_variables(ngx_conf_t *cf)
{
    ngx_http_variable_t  *var, *v;

    for (v = ngx_http_aoai_aad_variables; v->name.len; v++) {

        var = ngx_http_add_variable(cf, &v->name, v->flags);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = v->get_handler;
        var->data = v->data;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_aoai_aad_cache_status_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_http_aoai_aad_ctx_t  *ctx;

    static ngx_str_t  names[] = {
        ngx_null_string,
        ngx_string("HIT"),
        ngx_string("STALE"),
        ngx_string("MISS"),
        ngx_string("ERROR")
    };

    ctx = ngx_http_aoai_aad_last_ctx(r);

    if (ctx == NULL || ctx->cache_status == NGX_HTTP_AOAI_AAD_NONE) {
        v->not_found = 1;
        return NGX_OK;
    }

    v->data = names[ctx->cache_status].data;
    v->len = names[ctx->cache_status].len;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    return NGX_OK;
}


static ngx_int_t
ngx_http_aoai_aad_text_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_http_aoai_aad_token_t  *token;

    token = ngx_http_aoai_aad_variable_token(r);

    if (token == NULL) {
        v->not_found = 1;
        return NGX_OK;
    }

    return ngx_http_aoai_aad_copy_text(r, v, (u_char *) token + data);
}


/* who was let in, and so nothing for who was not; an app may have no name */
static ngx_int_t
ngx_http_aoai_aad_caller_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    u_char        *text;
    aad_caller_t  *caller;

    caller = ngx_http_aoai_aad_who(r);

    text = caller ? (u_char *) caller + data : NULL;

    if (text == NULL || *text == '\0') {
        v->not_found = 1;
        return NGX_OK;
    }

    return ngx_http_aoai_aad_copy_text(r, v, text);
}


/* copied: the worker's copy may change while the value is in use */
static ngx_int_t
ngx_http_aoai_aad_copy_text(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, u_char *text)
{
    v->len = ngx_strlen(text);

    v->data = ngx_pnalloc(r->pool, v->len);
    if (v->data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(v->data, text, v->len);

    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    return NGX_OK;
}


static ngx_int_t
ngx_http_aoai_aad_expires_in_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    time_t                      left;
    ngx_http_aoai_aad_token_t  *token;

    token = ngx_http_aoai_aad_variable_token(r);

    if (token == NULL) {
        v->not_found = 1;
        return NGX_OK;
    }

    v->data = ngx_pnalloc(r->pool, NGX_TIME_T_LEN);
    if (v->data == NULL) {
        return NGX_ERROR;
    }

    left = token->expires_on - ngx_time();

    v->len = ngx_sprintf(v->data, "%T", ngx_max(left, 0)) - v->data;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    return NGX_OK;
}


static ngx_int_t
ngx_http_aoai_aad_wait_time_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_http_aoai_aad_ctx_t  *ctx;

    ctx = ngx_http_aoai_aad_last_ctx(r);

    if (ctx == NULL || ctx->cache_status == NGX_HTTP_AOAI_AAD_NONE) {
        v->not_found = 1;
        return NGX_OK;
    }

    v->data = ngx_pnalloc(r->pool, NGX_TIME_T_LEN + 4);
    if (v->data == NULL) {
        return NGX_ERROR;
    }

    v->len = ngx_sprintf(v->data, "%T.%03M", (time_t) ctx->wait_time / 1000,
                         ctx->wait_time % 1000)
             - v->data;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    return NGX_OK;
}


/* NULL unless the request has a token, or had to do without one */
static ngx_http_aoai_aad_token_t *
ngx_http_aoai_aad_variable_token(ngx_http_request_t *r)
{
    ngx_http_aoai_aad_ctx_t  *ctx;

    ctx = ngx_http_aoai_aad_last_ctx(r);

    if (ctx == NULL || ctx->cache_status == NGX_HTTP_AOAI_AAD_NONE) {
        return NULL;
    }

    if (ctx->behalf) {
        return &ctx->behalf->token;
    }

    return ctx->identity && ctx->identity->line ? &ctx->identity->token
                                                : NULL;
}
