
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * aoai_aad_status: the directive, and the requests for what it shows and for
 * readiness.
 */


#include "ngx_http_aoai_aad_status.h"


/* what stands after the location's own path */
typedef enum {
    NGX_HTTP_AOAI_AAD_PATH_STATUS = 0,
    NGX_HTTP_AOAI_AAD_PATH_READY,
    NGX_HTTP_AOAI_AAD_PATH_OTHER
} ngx_http_aoai_aad_path_e;


static char *ngx_http_aoai_aad_status_conflict(ngx_conf_t *cf,
    ngx_http_aoai_aad_loc_conf_t *alcf);
static ngx_int_t ngx_http_aoai_aad_status_handler(ngx_http_request_t *r);
static ngx_http_aoai_aad_path_e ngx_http_aoai_aad_status_path(
    ngx_http_request_t *r);
static ngx_int_t ngx_http_aoai_aad_answer_ready(ngx_http_request_t *r);
static ngx_int_t ngx_http_aoai_aad_answer_status(ngx_http_request_t *r);
static ngx_int_t ngx_http_aoai_aad_page_headers(ngx_http_request_t *r);
static char *ngx_http_aoai_aad_ready_uri(ngx_http_request_t *r);
static ngx_int_t ngx_http_aoai_aad_send_status(ngx_http_request_t *r,
    ngx_uint_t status, const char *type, ngx_http_aoai_aad_writer_t *w);


char *
ngx_http_aoai_aad_set_status(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_aoai_aad_loc_conf_t *alcf = conf;

    ngx_str_t                      *value;
    ngx_http_core_loc_conf_t       *clcf;
    ngx_http_aoai_aad_main_conf_t  *amcf;

    if (alcf->status_place.line) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (cf->args->nelts == 1) {
        alcf->status_form = NGX_HTTP_AOAI_AAD_STATUS_ANY;

    } else if (ngx_strcmp(value[1].data, "json") == 0) {
        alcf->status_form = NGX_HTTP_AOAI_AAD_STATUS_JSON;

    } else if (ngx_strcmp(value[1].data, "html") == 0) {
        alcf->status_form = NGX_HTTP_AOAI_AAD_STATUS_HTML;

    } else if (ngx_strcmp(value[1].data, "prometheus") == 0) {
        alcf->status_form = NGX_HTTP_AOAI_AAD_STATUS_PROMETHEUS;

    } else {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"aoai_aad_status\": \"%V\" is wrong, it must be "
                           "\"json\", \"html\" or \"prometheus\", or nothing "
                           "for what the client asks for", &value[1]);
        return NGX_CONF_ERROR;
    }

    amcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_aoai_aad_module);

    if (amcf->page_policy.data == NULL
        && ngx_http_aoai_aad_page_policy(cf, &amcf->page_policy) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    ngx_http_aoai_aad_set_place(cf, &alcf->status_place);

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->handler) {
        return ngx_http_aoai_aad_status_conflict(cf, alcf);
    }

    clcf->handler = ngx_http_aoai_aad_status_handler;

    return NGX_CONF_OK;
}


/* One location has one handler: of two the later would win, and say nothing. */
char *
ngx_http_aoai_aad_check_status(ngx_conf_t *cf,
    ngx_http_aoai_aad_loc_conf_t *alcf)
{
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (alcf->status_place.line == 0
        || clcf->handler == ngx_http_aoai_aad_status_handler)
    {
        return NGX_CONF_OK;
    }

    return ngx_http_aoai_aad_status_conflict(cf, alcf);
}


static char *
ngx_http_aoai_aad_status_conflict(ngx_conf_t *cf,
    ngx_http_aoai_aad_loc_conf_t *alcf)
{
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                  "\"aoai_aad_status\" cannot be used in location \"%V\", "
                  "which has \"proxy_pass\" or another handler already: give "
                  "it a location of its own, in %V:%ui",
                  &clcf->name, &alcf->status_place.file,
                  alcf->status_place.line);

    return NGX_CONF_ERROR;
}


static ngx_int_t
ngx_http_aoai_aad_status_handler(ngx_http_request_t *r)
{
    ngx_int_t  rc;

    static ngx_str_t  no_store = ngx_string("no-store");

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {
        return NGX_HTTP_NOT_ALLOWED;
    }

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    if (ngx_http_aoai_aad_add_header(r, "Cache-Control", &no_store)
        != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    switch (ngx_http_aoai_aad_status_path(r)) {

    case NGX_HTTP_AOAI_AAD_PATH_STATUS:
        return ngx_http_aoai_aad_answer_status(r);

    case NGX_HTTP_AOAI_AAD_PATH_READY:
        return ngx_http_aoai_aad_answer_ready(r);

    default:
        return NGX_HTTP_NOT_FOUND;
    }
}


/* A location by a regular expression has no path of its own: by the end. */
static ngx_http_aoai_aad_path_e
ngx_http_aoai_aad_status_path(ngx_http_request_t *r)
{
    size_t                     length;
    ngx_str_t                  rest;
    ngx_http_core_loc_conf_t  *clcf;

    static ngx_str_t  ready = ngx_string("/ready");

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

#if (NGX_PCRE)
    if (clcf->regex) {
        return r->uri.len >= ready.len
               && ngx_memcmp(r->uri.data + r->uri.len - ready.len, ready.data,
                             ready.len) == 0
               ? NGX_HTTP_AOAI_AAD_PATH_READY : NGX_HTTP_AOAI_AAD_PATH_STATUS;
    }
#endif

    /* a named location has the URI of another one */

    if (clcf->named || clcf->exact_match || r->uri.len < clcf->name.len) {
        return NGX_HTTP_AOAI_AAD_PATH_STATUS;
    }

    length = clcf->name.len;

    if (length && clcf->name.data[length - 1] == '/') {
        length--;
    }

    rest.data = r->uri.data + length;
    rest.len = r->uri.len - length;

    if (rest.len == 0 || (rest.len == 1 && rest.data[0] == '/')) {
        return NGX_HTTP_AOAI_AAD_PATH_STATUS;
    }

    return rest.len == ready.len
           && ngx_memcmp(rest.data, ready.data, ready.len) == 0
           ? NGX_HTTP_AOAI_AAD_PATH_READY : NGX_HTTP_AOAI_AAD_PATH_OTHER;
}


/* Nothing is fetched for it, and who is ready is seen without a lock. */
static ngx_int_t
ngx_http_aoai_aad_answer_ready(ngx_http_request_t *r)
{
    ngx_uint_t                       i;
    ngx_http_aoai_aad_writer_t       w;
    ngx_http_aoai_aad_status_t      *status, ready;
    ngx_http_aoai_aad_identity_t   **identity;
    ngx_http_aoai_aad_main_conf_t   *amcf;

    amcf = ngx_http_get_module_main_conf(r, ngx_http_aoai_aad_module);

    ngx_memzero(&w, sizeof(ngx_http_aoai_aad_writer_t));
    w.pool = r->pool;

    identity = amcf->identities.elts;

    for (i = 0; i < amcf->identities.nelts; i++) {
        if (!ngx_http_aoai_aad_is_ready(identity[i])) {
            break;
        }
    }

    if (i == amcf->identities.nelts) {
        ngx_memzero(&ready, sizeof(ngx_http_aoai_aad_status_t));
        status = &ready;

    } else {
        status = ngx_http_aoai_aad_collect(r);
        if (status == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }

    ngx_http_aoai_aad_ready_json(&w, status);

    return ngx_http_aoai_aad_send_status(r, status->ready == status->count
                                            ? NGX_HTTP_OK
                                            : NGX_HTTP_SERVICE_UNAVAILABLE,
                                         "application/json", &w);
}


static ngx_int_t
ngx_http_aoai_aad_answer_status(ngx_http_request_t *r)
{
    const char                       *type;
    ngx_http_aoai_aad_writer_t        w;
    ngx_http_aoai_aad_status_t       *status;
    ngx_http_aoai_aad_loc_conf_t     *alcf;
    ngx_http_aoai_aad_status_form_e   form;

    static ngx_str_t  accept = ngx_string("Accept");

    alcf = ngx_http_get_module_loc_conf(r, ngx_http_aoai_aad_module);

    status = ngx_http_aoai_aad_collect(r);
    if (status == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_memzero(&w, sizeof(ngx_http_aoai_aad_writer_t));
    w.pool = r->pool;

    form = ngx_http_aoai_aad_negotiate(r, alcf->status_form);

    if (alcf->status_form == NGX_HTTP_AOAI_AAD_STATUS_ANY
        && ngx_http_aoai_aad_add_header(r, "Vary", &accept) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    switch (form) {

    case NGX_HTTP_AOAI_AAD_STATUS_HTML:

        if (ngx_http_aoai_aad_page_headers(r) != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        status->ready_uri = ngx_http_aoai_aad_ready_uri(r);
        ngx_http_aoai_aad_status_html(&w, status);
        type = "text/html; charset=utf-8";
        break;

    case NGX_HTTP_AOAI_AAD_STATUS_PROMETHEUS:

        ngx_http_aoai_aad_status_prometheus(&w, status);
        type = "text/plain; version=0.0.4; charset=utf-8";
        break;

    default: /* NGX_HTTP_AOAI_AAD_STATUS_JSON */

        ngx_http_aoai_aad_status_json(&w, status);
        type = "application/json";
    }

    return ngx_http_aoai_aad_send_status(r, NGX_HTTP_OK, type, &w);
}


static ngx_int_t
ngx_http_aoai_aad_page_headers(ngx_http_request_t *r)
{
    ngx_http_aoai_aad_main_conf_t  *amcf;

    static ngx_str_t  nosniff = ngx_string("nosniff");
    static ngx_str_t  no_referrer = ngx_string("no-referrer");

    amcf = ngx_http_get_module_main_conf(r, ngx_http_aoai_aad_module);

    if (ngx_http_aoai_aad_add_header(r, "Content-Security-Policy",
                                     &amcf->page_policy)
        != NGX_OK
        || ngx_http_aoai_aad_add_header(r, "X-Content-Type-Options",
                                        &nosniff)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_aoai_aad_add_header(r, "Referrer-Policy", &no_referrer);
}


/*
 * Relative to the page, which may be behind another proxy: "./name/ready".
 * NULL where only the page itself is there.
 */
static char *
ngx_http_aoai_aad_ready_uri(ngx_http_request_t *r)
{
    u_char                    *name, *last, *uri, *p;
    size_t                     length;
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    if (clcf->named || clcf->exact_match || r->uri.len == 0) {
        return NULL;
    }

    last = r->uri.data + r->uri.len;

    for (name = last; name > r->uri.data && name[-1] != '/'; name--) {
        /* void */
    }

    length = last - name;

    uri = ngx_pnalloc(r->pool, 3 * length + sizeof(".//ready"));
    if (uri == NULL) {
        return NULL;
    }

    p = ngx_cpymem(uri, "./", 2);

    if (length) {
        p = (u_char *) ngx_escape_uri(p, name, length,
                                      NGX_ESCAPE_URI_COMPONENT);
        *p++ = '/';
    }

    ngx_memcpy(p, "ready", sizeof("ready"));

    return (char *) uri;
}


static ngx_int_t
ngx_http_aoai_aad_send_status(ngx_http_request_t *r, ngx_uint_t status,
    const char *type, ngx_http_aoai_aad_writer_t *w)
{
    ngx_int_t  rc;

    if (w->failed || w->last == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    w->last->buf->last_buf = (r == r->main) ? 1 : 0;
    w->last->buf->last_in_chain = 1;

    r->headers_out.status = status;
    r->headers_out.content_length_n = w->length;
    r->headers_out.content_type.data = (u_char *) type;
    r->headers_out.content_type.len = ngx_strlen(type);
    r->headers_out.content_type_len = r->headers_out.content_type.len;
    r->headers_out.content_type_lowcase = NULL;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    return ngx_http_output_filter(r, w->first);
}
