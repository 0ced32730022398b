
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * Locations whose requests can be told to be clean before they are made: a
 * head can have no other lines than those of the request's headers and of
 * names that the configuration says.
 */


#include "ngx_http_aoai_aad.h"

#if (nginx_version >= 1029004)
#include <ngx_http_proxy_module.h>
#endif


static ngx_uint_t ngx_http_aoai_aad_is_plain(ngx_conf_t *cf, ngx_int_t *host);
static ngx_uint_t ngx_http_aoai_aad_is_plain_header(ngx_keyval_t *header);
static ngx_uint_t ngx_http_aoai_aad_is_name(u_char ch);
static ngx_uint_t ngx_http_aoai_aad_is_safe_variable(ngx_str_t *name);
static void ngx_http_aoai_aad_set_own(ngx_conf_t *cf,
    ngx_http_aoai_aad_plain_t *plain);
#if (nginx_version >= 1029004)
static void ngx_http_aoai_aad_add_own(ngx_http_aoai_aad_plain_t *plain,
    ngx_hash_t *hash);
#else
static void ngx_http_aoai_aad_add_own(ngx_http_aoai_aad_plain_t *plain,
    ngx_keyval_t *headers, ngx_uint_t n);
#endif


static ngx_str_t  ngx_http_aoai_aad_proxy_host = ngx_string("proxy_host");


/*
 * Keeps in 'plain' what there is to know of the location's heads; NULL if each
 * of them has to be looked at.  Returns NGX_ERROR without memory.
 */
ngx_int_t
ngx_http_aoai_aad_look_at_heads(ngx_conf_t *cf,
    ngx_http_aoai_aad_plain_t **plain)
{
    ngx_int_t  host;

    *plain = NULL;

    if (!ngx_http_aoai_aad_is_plain(cf, &host)) {
        return NGX_OK;
    }

    *plain = ngx_pcalloc(cf->pool, sizeof(ngx_http_aoai_aad_plain_t));
    if (*plain == NULL) {
        return NGX_ERROR;
    }

    (*plain)->host = host;

    ngx_http_aoai_aad_set_own(cf, *plain);

    return NGX_OK;
}


/*
 * Whether no head that the location makes has a credential but in one of the
 * request's headers or in its URI, and no body is behind it in its buffer.  A
 * value that may have a line end in it, as a decoded URI, can begin a line of
 * any name.
 */
static ngx_uint_t
ngx_http_aoai_aad_is_plain(ngx_conf_t *cf, ngx_int_t *host)
{
    ngx_str_t                      *body;
    ngx_uint_t                      i;
    ngx_array_t                   **headers;
    ngx_keyval_t                   *header;
    ngx_http_upstream_conf_t       *conf;
    ngx_http_core_srv_conf_t      **cscfp;
    ngx_http_complex_value_t      **method;
    ngx_http_core_main_conf_t      *cmcf;
    ngx_http_aoai_aad_main_conf_t  *amcf;

    conf = ngx_http_aoai_aad_upstream_conf(cf);
    headers = ngx_http_aoai_aad_proxy_value(cf, "proxy_set_header");
    method = ngx_http_aoai_aad_proxy_value(cf, "proxy_method");
    body = ngx_http_aoai_aad_proxy_value(cf, "proxy_set_body");

    /* with variables in proxy_pass, the URI may be of any bytes */

    if (conf->upstream == NULL
        || ngx_strlchr(conf->upstream->host.data,
                       conf->upstream->host.data + conf->upstream->host.len,
                       LF)
        || headers == NULL
        || method == NULL || *method != NULL
        || body == NULL || body->len != 0)
    {
        return 0;
    }

    /* a header's name may be odd, and yet be understood by the upstream */

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);
    cscfp = cmcf->servers.elts;

    for (i = 0; i < cmcf->servers.nelts; i++) {
        if (!cscfp[i]->ignore_invalid_headers) {
            return 0;
        }
    }

    /* it is in the default "Host" before 1.31.4, and "map" may give it any
       value; whether "set" or a capture has is to be seen in each request */

    amcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_aoai_aad_module);

    *host = ngx_http_get_variable_index(cf, &ngx_http_aoai_aad_proxy_host);

    if (*host == NGX_ERROR
        || ngx_http_aoai_aad_proxy_host_handler(cf) != amcf->proxy_host_handler
        || *headers == NGX_CONF_UNSET_PTR)
    {
        return 0;
    }

    if (*headers == NULL) {
        return 1;
    }

    header = (*headers)->elts;

    for (i = 0; i < (*headers)->nelts; i++) {

        if (!ngx_http_aoai_aad_is_plain_header(&header[i])) {
            return 0;
        }
    }

    return 1;
}


/* What makes the value of $proxy_host; NULL if there is no such variable. */
ngx_http_get_variable_pt
ngx_http_aoai_aad_proxy_host_handler(ngx_conf_t *cf)
{
    ngx_http_variable_t  *var;

    var = ngx_http_add_variable(cf, &ngx_http_aoai_aad_proxy_host,
                                NGX_HTTP_VAR_CHANGEABLE|NGX_HTTP_VAR_WEAK);

    return var ? var->get_handler : NULL;
}


/* one line, and none of a credential's but to keep the client's away */
static ngx_uint_t
ngx_http_aoai_aad_is_plain_header(ngx_keyval_t *header)
{
    u_char      *p, *last;
    size_t       i;
    ngx_str_t    variable;
    ngx_uint_t   braces;

    for (i = 0; i < header->key.len; i++) {
        if (!ngx_http_aoai_aad_is_name(header->key.data[i])
            && header->key.data[i] != '-')
        {
            return 0;
        }
    }

    if (header->value.len
        && (ngx_http_aoai_aad_is_credential(header->key.data, header->key.len)
            || ngx_http_aoai_aad_has_subprotocols(header->key.data,
                                                  header->key.len)))
    {
        return 0;
    }

    p = header->value.data;
    last = p + header->value.len;

    while (p < last) {

        if (*p == LF) {
            return 0;
        }

        if (*p++ != '$') {
            continue;
        }

        braces = (p < last && *p == '{');

        variable.data = p + braces;

        for (p = variable.data; p < last; p++) {
            if (!ngx_http_aoai_aad_is_name(*p)) {
                break;
            }
        }

        variable.len = p - variable.data;

        if (!ngx_http_aoai_aad_is_safe_variable(&variable)) {
            return 0;
        }
    }

    return 1;
}


/* a character of a variable's name, and with "-" of a header's */
static ngx_uint_t
ngx_http_aoai_aad_is_name(u_char ch)
{
    return (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z')
           || (ch >= '0' && ch <= '9') || ch == '_';
}


/*
 * Those that nginx makes of what it has parsed or made itself, without
 * decoding, not of the headers that are hidden, and that the configuration
 * cannot make anew; "proxy_host" is looked at in each request.  A location
 * with any other is as safe, and slower.
 */
static ngx_uint_t
ngx_http_aoai_aad_is_safe_variable(ngx_str_t *name)
{
    ngx_str_t  *safe;

    static ngx_str_t  names[] = {
        ngx_string("connection"),
        ngx_string("host"),
        ngx_string("hostname"),
        ngx_string("http_host"),
        ngx_string("http_user_agent"),
        ngx_string("msec"),
        ngx_string("proxy_add_x_forwarded_for"),
        ngx_string("proxy_host"),
        ngx_string("remote_addr"),
        ngx_string("remote_port"),
        ngx_string("request_id"),
        ngx_string("scheme"),
        ngx_string("server_addr"),
        ngx_string("server_name"),
        ngx_string("server_port"),
        ngx_string("server_protocol"),
        ngx_string("time_iso8601"),
        ngx_null_string
    };

    for (safe = names; safe->len; safe++) {

        if (name->len == safe->len
            && ngx_strncasecmp(name->data, safe->data, name->len) == 0)
        {
            return 1;
        }
    }

    return 0;
}


#if (nginx_version >= 1029004)

static void
ngx_http_aoai_aad_set_own(ngx_conf_t *cf, ngx_http_aoai_aad_plain_t *plain)
{
    ngx_http_proxy_loc_conf_t  *plcf;

    plcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_proxy_module);

    ngx_http_aoai_aad_add_own(plain, &plcf->headers.hash);
#if (NGX_HTTP_CACHE)
    ngx_http_aoai_aad_add_own(plain, &plcf->headers_cache.hash);
#endif
}


static void
ngx_http_aoai_aad_add_own(ngx_http_aoai_aad_plain_t *plain, ngx_hash_t *hash)
{
    ngx_uint_t       i;
    ngx_hash_elt_t  *elt;

    if (hash->buckets == NULL) {
        return;
    }

    for (i = 0; i < hash->size; i++) {

        elt = hash->buckets[i];

        while (elt && elt->value) {
            plain->own[ngx_hash_key(elt->name, elt->len) & 0xff] = 1;

            elt = (ngx_hash_elt_t *) ngx_align_ptr(&elt->name[0] + elt->len,
                                                   sizeof(void *));
        }
    }
}

#else

/* what it has them in was declared in no header */
static void
ngx_http_aoai_aad_set_own(ngx_conf_t *cf, ngx_http_aoai_aad_plain_t *plain)
{
    ngx_array_t  **headers;

    static ngx_keyval_t  names[] = {
        { ngx_string("Host"), ngx_null_string },
        { ngx_string("Connection"), ngx_null_string },
        { ngx_string("Content-Length"), ngx_null_string },
        { ngx_string("Transfer-Encoding"), ngx_null_string },
        { ngx_string("TE"), ngx_null_string },
        { ngx_string("Keep-Alive"), ngx_null_string },
        { ngx_string("Expect"), ngx_null_string },
        { ngx_string("Upgrade"), ngx_null_string },

        /* where there is a cache */
        { ngx_string("If-Modified-Since"), ngx_null_string },
        { ngx_string("If-Unmodified-Since"), ngx_null_string },
        { ngx_string("If-None-Match"), ngx_null_string },
        { ngx_string("If-Match"), ngx_null_string },
        { ngx_string("Range"), ngx_null_string },
        { ngx_string("If-Range"), ngx_null_string }
    };

    headers = ngx_http_aoai_aad_proxy_value(cf, "proxy_set_header");

    ngx_http_aoai_aad_add_own(plain, names,
                              sizeof(names) / sizeof(ngx_keyval_t));

    if (*headers) {
        ngx_http_aoai_aad_add_own(plain, (*headers)->elts, (*headers)->nelts);
    }
}


static void
ngx_http_aoai_aad_add_own(ngx_http_aoai_aad_plain_t *plain,
    ngx_keyval_t *headers, ngx_uint_t n)
{
    ngx_uint_t  i;

    for (i = 0; i < n; i++) {
        plain->own[ngx_hash_key_lc(headers[i].key.data, headers[i].key.len)
                   & 0xff] = 1;
    }
}

#endif
