
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * The client's credentials, hidden while nginx makes the request for the
 * upstream.  To look at each line of the finished head costs more than all
 * else that is done for a request, and most heads can have no other lines
 * than those of the client's headers, which nginx has parsed, and of names
 * that the configuration says.
 */


#include "ngx_http_aoai_aad.h"


static ngx_uint_t ngx_http_aoai_aad_is_plain_header(ngx_keyval_t *header);
static ngx_uint_t ngx_http_aoai_aad_is_name(u_char ch);
static ngx_uint_t ngx_http_aoai_aad_is_safe_variable(ngx_str_t *name);


/*
 * Whether no head that the location makes has a credential but in a header
 * that the client sent, or in its URI, and whether a body is in it.  A value
 * that may have a line end in it, as a decoded URI, can begin a line of any
 * name.
 */
ngx_uint_t
ngx_http_aoai_aad_is_plain(ngx_conf_t *cf)
{
    ngx_str_t                   *body;
    ngx_uint_t                   i;
    ngx_array_t                **headers;
    ngx_keyval_t                *header;
    ngx_http_upstream_conf_t    *conf;
    ngx_http_core_srv_conf_t   **cscfp;
    ngx_http_complex_value_t   **method;
    ngx_http_core_main_conf_t   *cmcf;

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

    if (*headers == NULL || *headers == NGX_CONF_UNSET_PTR) {
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
    u_char       name[NGX_HTTP_AOAI_AAD_CREDENTIAL_BYTES_MAX];
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

    if (header->value.len && header->key.len <= sizeof(name)) {

        ngx_strlow(name, header->key.data, header->key.len);

        if (ngx_http_aoai_aad_is_credential(name, header->key.len)
            || ngx_http_aoai_aad_has_subprotocols(name, header->key.len))
        {
            return 0;
        }
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


/* a letter of a variable's */
static ngx_uint_t
ngx_http_aoai_aad_is_name(u_char ch)
{
    return (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z')
           || (ch >= '0' && ch <= '9') || ch == '_';
}


/*
 * Those of nginx that are made of what it has parsed or made itself, without
 * decoding, and do not come from the headers that are hidden.  A location
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
        ngx_string("http_traceparent"),
        ngx_string("http_upgrade"),
        ngx_string("http_user_agent"),
        ngx_string("http_x_request_id"),
        ngx_string("msec"),
        ngx_string("proxy_add_x_forwarded_for"),
        ngx_string("proxy_host"),
        ngx_string("proxy_port"),
        ngx_string("remote_addr"),
        ngx_string("remote_port"),
        ngx_string("request_id"),
        ngx_string("scheme"),
        ngx_string("server_addr"),
        ngx_string("server_name"),
        ngx_string("server_port"),
        ngx_string("server_protocol"),
        ngx_string("ssl_cipher"),
        ngx_string("ssl_client_fingerprint"),
        ngx_string("ssl_client_serial"),
        ngx_string("ssl_client_verify"),
        ngx_string("ssl_protocol"),
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
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *header;

    static u_char  name[] = "te";

    hidden->count = 0;

    for (part = &r->headers_in.headers.part; part; part = part->next) {

        header = part->elts;

        for (i = 0; i < part->nelts; i++) {

            if (!NGX_HTTP_AOAI_AAD_MAY_HAVE_KEY(header[i].key.len)) {
                continue;
            }

            if (!ngx_http_aoai_aad_is_credential(header[i].lowcase_key,
                                                 header[i].key.len))
            {
                if (ngx_http_aoai_aad_has_subprotocols(header[i].lowcase_key,
                                                       header[i].key.len))
                {
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

            header[i].hash = ngx_hash(name[0], name[1]);
            header[i].key.len = sizeof(name) - 1;
            header[i].key.data = name;
            header[i].lowcase_key = name;
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
