
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * What the upstream says about the token.  A 401 is ambiguous: a token that
 * it does not take is worth a new one, a role that is missing is not, and is
 * said by the same status.  So of an answer with such a status, and of no
 * other, the beginning is read in passing.
 */


#include "ngx_http_aoai_aad.h"


/* an error of the service is some hundred bytes of JSON */
#define NGX_HTTP_AOAI_AAD_REFUSAL_BYTES_MAX  4096


struct ngx_http_aoai_aad_refusal_s {
    ngx_int_t                     (*input_filter)(void *data, ssize_t bytes);
    ngx_event_pipe_input_filter_pt  pipe_filter;
    size_t                          length;
    u_char                          text[NGX_HTTP_AOAI_AAD_REFUSAL_BYTES_MAX];
};


static ngx_int_t ngx_http_aoai_aad_input_filter(void *data, ssize_t bytes);
static ngx_int_t ngx_http_aoai_aad_pipe_filter(ngx_event_pipe_t *p,
    ngx_buf_t *buf);
static void ngx_http_aoai_aad_read(ngx_http_aoai_aad_refusal_t *refusal,
    u_char *text, size_t length);
static ngx_uint_t ngx_http_aoai_aad_is_denial(
    ngx_http_aoai_aad_refusal_t *refusal);
static void ngx_http_aoai_aad_request_id(ngx_http_request_t *r,
    char id[AAD_ID_BYTES]);
static void ngx_http_aoai_aad_log_denial(ngx_http_request_t *r,
    ngx_http_aoai_aad_identity_t *identity, ngx_http_aoai_aad_ctx_t *ctx,
    ngx_uint_t status);


/* Its head is here, its body comes: NGX_ERROR without memory. */
ngx_int_t
ngx_http_aoai_aad_read_refusal(ngx_http_request_t *r)
{
    ngx_http_upstream_t          *u;
    ngx_http_aoai_aad_ctx_t      *ctx;
    ngx_http_aoai_aad_refusal_t  *refusal;

    ctx = ngx_http_get_module_ctx(r, ngx_http_aoai_aad_module);

    if (ctx == NULL) {
        return NGX_OK;
    }

    refusal = ngx_palloc(r->pool, sizeof(ngx_http_aoai_aad_refusal_t));
    if (refusal == NULL) {
        return NGX_ERROR;
    }

    u = r->upstream;

    refusal->length = 0;
    refusal->input_filter = u->input_filter;
    refusal->pipe_filter = u->pipe->input_filter;

    u->input_filter = ngx_http_aoai_aad_input_filter;
    u->pipe->input_filter = ngx_http_aoai_aad_pipe_filter;

    ctx->refusal = refusal;

    return NGX_OK;
}


/* without proxy_buffering */
static ngx_int_t
ngx_http_aoai_aad_input_filter(void *data, ssize_t bytes)
{
    ngx_http_request_t *r = data;

    ngx_http_aoai_aad_ctx_t  *ctx;

    /* a filter of the answer may have ended it, and taken the context away */

    ctx = ngx_http_aoai_aad_last_ctx(r);

    ngx_http_aoai_aad_read(ctx->refusal, r->upstream->buffer.last, bytes);

    return ctx->refusal->input_filter(data, bytes);
}


static ngx_int_t
ngx_http_aoai_aad_pipe_filter(ngx_event_pipe_t *p, ngx_buf_t *buf)
{
    ngx_http_request_t       *r;
    ngx_http_aoai_aad_ctx_t  *ctx;

    r = p->input_ctx;
    ctx = ngx_http_aoai_aad_last_ctx(r);

    ngx_http_aoai_aad_read(ctx->refusal, buf->pos, buf->last - buf->pos);

    return ctx->refusal->pipe_filter(p, buf);
}


/* chunk headers among it do no harm */
static void
ngx_http_aoai_aad_read(ngx_http_aoai_aad_refusal_t *refusal, u_char *text,
    size_t length)
{
    length = ngx_min(length, sizeof(refusal->text) - refusal->length);

    ngx_memcpy(refusal->text + refusal->length, text, length);

    refusal->length += length;
}


/* It has ended, with what could be read of it. */
void
ngx_http_aoai_aad_end_refusal(ngx_http_request_t *r)
{
    char                           id[AAD_ID_BYTES];
    ngx_uint_t                     status;
    ngx_http_aoai_aad_ctx_t       *ctx;
    ngx_http_aoai_aad_loc_conf_t  *alcf;
    ngx_http_aoai_aad_identity_t  *identity;

    status = r->upstream->headers_in.status_n;

    /* a redirect took the context away, and the location with it */

    ctx = ngx_http_get_module_ctx(r, ngx_http_aoai_aad_module);
    alcf = ngx_http_get_module_loc_conf(r, ngx_http_aoai_aad_module);
    identity = alcf->identity;

    if (ctx == NULL || identity == NULL || !ctx->sent) {
        return;
    }

    if (ctx->refusal && ngx_http_aoai_aad_is_denial(ctx->refusal)) {
        ngx_http_aoai_aad_log_denial(r, identity, ctx, status);
        return;
    }

    if (status != NGX_HTTP_UNAUTHORIZED) {
        return;
    }

    /* a body that could not be read may be about anything: to ask once a
       minute for nothing does less harm than to stay with a dead token */

    if (alcf->mode == NGX_HTTP_AOAI_AAD_ON_BEHALF_OF) {
        ngx_http_aoai_aad_drop_behalf(r, identity, ctx);
        return;
    }

    if (ctx->token == identity->tokens
        && ngx_http_aoai_aad_suspect(identity) == NGX_OK)
    {
        ngx_http_aoai_aad_request_id(r, id);

        ngx_log_error(NGX_LOG_NOTICE, r->connection->log, 0,
                      "aoai_aad: the upstream does not take the token of %s "
                      "(status 401, request id \"%s\"), another one is "
                      "fetched (chain: %V)",
                      identity->token.credential, id, &identity->name);

        ngx_http_aoai_aad_refresh(identity);
    }
}


static ngx_uint_t
ngx_http_aoai_aad_is_denial(ngx_http_aoai_aad_refusal_t *refusal)
{
    static const char  code[] = "\"PermissionDenied\"";

    return memmem(refusal->text, refusal->length, code, sizeof(code) - 1)
           != NULL;
}


/*
 * "Role-based access control for Azure OpenAI": the role that may use the
 * models, and no more.
 */
static void
ngx_http_aoai_aad_log_denial(ngx_http_request_t *r,
    ngx_http_aoai_aad_identity_t *identity, ngx_http_aoai_aad_ctx_t *ctx,
    ngx_uint_t status)
{
    char                        id[AAD_ID_BYTES];
    ngx_http_aoai_aad_token_t  *token;

    if (ctx->behalf) {
        token = &ctx->behalf->token;

        if (!ngx_http_aoai_aad_log_due(&identity->denial_logged)) {
            return;
        }

    } else {
        token = &identity->token;

        if (!ngx_http_aoai_aad_denied(identity)) {
            return;
        }
    }

    ngx_http_aoai_aad_request_id(r, id);

    ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                  "aoai_aad: the identity of %s may not use the service "
                  "(status %ui, PermissionDenied, request id \"%s\"): grant "
                  "the role \"Cognitive Services OpenAI User\" on the "
                  "resource to the principal with the object id \"%s\", "
                  "client id \"%s\"; it takes some five minutes to act "
                  "(chain: %V)",
                  token->credential, status, id, token->object_id,
                  token->client_id, &identity->name);
}


/*
 * What Microsoft's support finds the request by: the header of Azure OpenAI's
 * gateway, or that of its own services.
 */
static void
ngx_http_aoai_aad_request_id(ngx_http_request_t *r, char id[AAD_ID_BYTES])
{
    char              text[AAD_ID_BYTES];
    size_t            length;
    ngx_list_t       *headers;
    ngx_table_elt_t  *header;

    headers = &r->upstream->headers_in.headers;

    header = ngx_http_aoai_aad_find_header(headers, "apim-request-id", 0);

    if (header == NULL) {
        header = ngx_http_aoai_aad_find_header(headers, "x-ms-request-id", 0);
    }

    length = header ? ngx_min(header->value.len, sizeof(text) - 1) : 0;

    if (length) {
        ngx_memcpy(text, header->value.data, length);
    }

    text[length] = '\0';

    aad_text_clean(id, AAD_ID_BYTES, text);
}
