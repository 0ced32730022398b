
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * The client's credentials, hidden while nginx makes the request for the
 * upstream.  To look at each line of the finished head costs more than all
 * else that is done for a request, and most heads can have no other lines
 * than those of the request's headers and of names that the configuration
 * says.
 */


#include "ngx_http_aoai_aad.h"


static ngx_uint_t ngx_http_aoai_aad_is_plain_header(ngx_keyval_t *header);
static ngx_uint_t ngx_http_aoai_aad_is_name(u_char ch);
static ngx_uint_t ngx_http_aoai_aad_is_safe_variable(ngx_str_t *name);


/*
 * Whether no head that the location makes has a credential but in one of the
 * request's headers or in its URI, and no body is behind it in its buffer.  A
 * value that may have a line end in it, as a decoded URI, can begin a line of
 * any name.
 */
ngx_uint_t
ngx_http_aoai_aad_is_plain(ngx_conf_t *cf, ngx_int_t *host)
{
    ngx_str_t                   *body;
    ngx_uint_t                   i;
    ngx_array_t                **headers;
    ngx_keyval_t                *header;
    ngx_http_upstream_conf_t    *conf;
    ngx_http_core_srv_conf_t   **cscfp;
    ngx_http_complex_value_t   **method;
    ngx_http_core_main_conf_t   *cmcf;

    static ngx_str_t  proxy_host = ngx_string("proxy_host");

    conf = ngx_http_aoai_aad_upstream_conf(cf);
    headers = ngx_http_aoai_aad_proxy_value(cf, "proxy_set_header");
    method = ngx_http_aoai_aad_proxy_value(cf, "proxy_method");
    body = ngx_http_aoai_aad_proxy_value(cf, "proxy_set_body");

    /* with variables in proxy_pass, the URI may be of any bytes */

    if (conf->upstream == NULL
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

    /* in the default "Host", and "set" or a capture may give it any value */

    *host = ngx_http_get_variable_index(cf, &proxy_host);

    if (*host == NGX_ERROR || *headers == NGX_CONF_UNSET_PTR) {
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


/*
 * Puts a header that proxy_pass never forwards in the place of each credential
 * of the client.  Returns NGX_DECLINED, with nothing hidden, for a request
 * whose head has to be looked at all the same.  The caller shows them again
 * before anything else of nginx can run.
 */
ngx_int_t
ngx_http_aoai_aad_hide_credentials(ngx_http_request_t *r,
    ngx_http_aoai_aad_hidden_t *hidden)
{
    u_char           *parsed, *name;
    size_t            length, size;
    ngx_buf_t        *b;
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *header;

    static u_char  te[] = "te";

    hidden->count = 0;

    /* subrequests have the headers of the main request, not its buffer */

    b = r->main->header_in;
    parsed = b ? b->start : NULL;
    size = b ? b->end - b->start : 0;

    for (part = &r->headers_in.headers.part; part; part = part->next) {

        header = part->elts;

        for (i = 0; i < part->nelts; i++) {

            /* what nginx has parsed has no line end, and stands in its buffer
               but for HTTP/2; another module may have put anything here */

            if ((size_t) (header[i].value.data - parsed) >= size
                && header[i].value.len
                && memchr(header[i].value.data, LF, header[i].value.len))
            {
                goto declined;
            }

            length = header[i].key.len;

            if (!NGX_HTTP_AOAI_AAD_MAY_HAVE_KEY(length)) {
                continue;
            }

            /* the name as it would be sent: "lowcase_key" is not always set by
               other modules */

            name = header[i].key.data;

            if (!ngx_http_aoai_aad_is_credential(name, length)) {

                if (ngx_http_aoai_aad_has_subprotocols(name, length)) {
                    goto declined;
                }

                continue;
            }

            if (hidden->count == NGX_HTTP_AOAI_AAD_HIDDEN_MAX) {
                goto declined;
            }

            hidden->header[hidden->count] = &header[i];
            hidden->content[hidden->count++] = header[i];

            /* with no value, that nothing is told if it were forwarded */

            header[i].hash = ngx_hash(te[0], te[1]);
            header[i].key.len = sizeof(te) - 1;
            header[i].key.data = te;
            header[i].lowcase_key = te;
            ngx_str_null(&header[i].value);
        }
    }

    return NGX_OK;

declined:

    ngx_http_aoai_aad_show_credentials(hidden);

    return NGX_DECLINED;
}


void
ngx_http_aoai_aad_show_credentials(ngx_http_aoai_aad_hidden_t *hidden)
{
    ngx_uint_t  i;

    for (i = 0; i < hidden->count; i++) {
        *hidden->header[i] = hidden->content[i];
    }

    hidden->count = 0;
}
