
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * What a request gets that does not go upstream: in the form of the service's
 * own errors, so that its clients show it.
 */


#include "ngx_http_aoai_aad.h"


static ngx_int_t ngx_http_aoai_aad_retry_after(ngx_http_request_t *r,
    ngx_msec_t msec);
static ngx_int_t ngx_http_aoai_aad_challenge(ngx_http_request_t *r,
    ngx_http_aoai_aad_answer_t *answer);
static ngx_int_t ngx_http_aoai_aad_has_error_page(ngx_http_request_t *r,
    ngx_uint_t status);


/*
 * The answer to a request that cannot have a token, for which there may be
 * another reason in its context.  Returns what a content handler would: a
 * status, or the result of having sent the response.
 */
ngx_int_t
ngx_http_aoai_aad_unavailable(ngx_http_request_t *r)
{
    ngx_uint_t                     level;
    ngx_msec_t                     msec;
    ngx_http_aoai_aad_ctx_t       *ctx;
    ngx_http_aoai_aad_answer_t     answer;
    ngx_http_aoai_aad_loc_conf_t  *alcf;

    alcf = ngx_http_get_module_loc_conf(r, ngx_http_aoai_aad_module);

    ctx = ngx_http_aoai_aad_get_ctx(r);
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->cache_status = NGX_HTTP_AOAI_AAD_ERROR;

    ngx_http_aoai_aad_count_request(alcf->identity, ctx);

    if (ctx->answer) {
        return ngx_http_aoai_aad_answer(r, ctx->answer);
    }

    /* that a fetch has failed was said, that it takes long was not */

    level = ctx->timed_out && !alcf->identity->late ? NGX_LOG_ERR
                                                    : NGX_LOG_INFO;
    alcf->identity->late |= ctx->timed_out;

    ngx_log_error(level, r->connection->log, 0,
                  "aoai_aad: no token%s (chain: %V)",
                  ctx->timed_out ? " within \"aoai_aad_timeout\", the fetch "
                                   "goes on" : "",
                  &alcf->identity->name);

    msec = alcf->identity->slot
           ? ngx_http_aoai_aad_retry_msec(alcf->identity) : 0;

    ngx_memzero(&answer, sizeof(ngx_http_aoai_aad_answer_t));

    answer.status = NGX_HTTP_SERVICE_UNAVAILABLE;
    answer.code = "token_unavailable";
    answer.message = "The gateway has no access token for this service at the "
                     "moment. Its error log says why.";
    answer.retry_after = msec ? msec : 1000;

    return ngx_http_aoai_aad_answer(r, &answer);
}


/* a location's own error_page for the status is honoured */
ngx_int_t
ngx_http_aoai_aad_answer(ngx_http_request_t *r,
    ngx_http_aoai_aad_answer_t *answer)
{
    size_t                    length;
    ngx_str_t                 type = ngx_string("application/json");
    ngx_http_complex_value_t  value;

    static const char  format[] = "{\"error\":{\"code\":\"%s\",\"message\":"
                                  "\"%s\",\"type\":\"gateway_error\"}}";

    if ((answer->retry_after
         && ngx_http_aoai_aad_retry_after(r, answer->retry_after) != NGX_OK)
        || (answer->error
            && ngx_http_aoai_aad_challenge(r, answer) != NGX_OK))
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (ngx_http_aoai_aad_has_error_page(r, answer->status)) {
        return answer->status;
    }

    ngx_memzero(&value, sizeof(ngx_http_complex_value_t));

    length = sizeof(format) + ngx_strlen(answer->code)
             + ngx_strlen(answer->message);

    value.value.data = ngx_pnalloc(r->pool, length);
    if (value.value.data == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    value.value.len = ngx_snprintf(value.value.data, length, format,
                                   answer->code, answer->message)
                      - value.value.data;

    return ngx_http_send_response(r, answer->status, &type, &value);
}


/* an error_page may have brought the request here with one already */
static ngx_int_t
ngx_http_aoai_aad_retry_after(ngx_http_request_t *r, ngx_msec_t msec)
{
    ngx_str_t  value;

    static const char  name[] = "Retry-After";

    if (ngx_http_aoai_aad_find_header(&r->headers_out.headers, name, 0)) {
        return NGX_OK;
    }

    value.data = ngx_pnalloc(r->pool, NGX_TIME_T_LEN);
    if (value.data == NULL) {
        return NGX_ERROR;
    }

    value.len = ngx_sprintf(value.data, "%M", (msec + 999) / 1000)
                - value.data;

    return ngx_http_aoai_aad_add_header(r, name, &value);
}


/*
 * RFC 6750, 3: without a token in the request there is no error to name.  The
 * claims are a challenge of Entra ID's, for its clients to take there.
 */
static ngx_int_t
ngx_http_aoai_aad_challenge(ngx_http_request_t *r,
    ngx_http_aoai_aad_answer_t *answer)
{
    u_char      *p;
    size_t       length;
    ngx_str_t    value;
    const char  *reason;

    static const char  name[] = "WWW-Authenticate";
    static const char  realm[] = "Bearer realm=\"Azure OpenAI\"";
    static const char  error[] = ", error=\"%s\", error_description=\"%s\"";
    static const char  claims[] = ", claims=\"%V\"";

    if (ngx_http_aoai_aad_find_header(&r->headers_out.headers, name, 0)) {
        return NGX_OK;
    }

    reason = answer->reason ? answer->reason : "";

    length = sizeof(realm) + sizeof(error) + ngx_strlen(answer->error)
             + ngx_strlen(reason) + sizeof(claims) + answer->claims.len;

    value.data = ngx_pnalloc(r->pool, length);
    if (value.data == NULL) {
        return NGX_ERROR;
    }

    p = ngx_cpymem(value.data, realm, sizeof(realm) - 1);

    if (answer->error[0] != '\0') {
        p = ngx_sprintf(p, error, answer->error, reason);
    }

    if (answer->claims.len) {
        p = ngx_sprintf(p, claims, &answer->claims);
    }

    value.len = p - value.data;

    return ngx_http_aoai_aad_add_header(r, name, &value);
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
