
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * Warnings about what else a location with a token says: an upstream that is
 * not verified, headers that do not reach it, a handler that takes no token.
 */


#include "ngx_http_aoai_aad.h"

#if (nginx_version >= 1029004)
#include <ngx_http_proxy_module.h>
#endif


/* what TLS lacks */
#define NGX_HTTP_AOAI_AAD_NOT_VERIFIED  1
#define NGX_HTTP_AOAI_AAD_NOT_NAMED     2


#if (NGX_HTTP_SSL)
static ngx_int_t ngx_http_aoai_aad_check_tls(ngx_conf_t *cf,
    ngx_http_aoai_aad_loc_conf_t *alcf);
static ngx_str_t *ngx_http_aoai_aad_remote_host(
    ngx_http_upstream_srv_conf_t *uscf, ngx_array_t *allowed_hosts);
#endif
static ngx_int_t ngx_http_aoai_aad_check_headers(ngx_conf_t *cf);


ngx_int_t
ngx_http_aoai_aad_check_location(ngx_conf_t *cf,
    ngx_http_aoai_aad_loc_conf_t *alcf)
{
#if (NGX_HTTP_SSL)
    if (ngx_http_aoai_aad_check_tls(cf, alcf) != NGX_OK) {
        return NGX_ERROR;
    }
#endif

    if (ngx_http_aoai_aad_check_headers(cf) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_aoai_aad_look_at_heads(cf, &alcf->plain);
}


/* that a level above has it on for locations of all kinds is no mistake */
void
ngx_http_aoai_aad_check_handler(ngx_conf_t *cf,
    ngx_http_aoai_aad_loc_conf_t *alcf)
{
    if (alcf->mode_place.line) {
        ngx_http_aoai_aad_log_at(cf, NGX_LOG_WARN, &alcf->mode_place,
                                 "aoai_aad",
                                 "it has no effect on this location, whose "
                                 "requests go without a token: only those of "
                                 "\"proxy_pass\" can have one");
    }
}


/* What proxy_pass and its directives have set, of the location being merged. */
ngx_http_upstream_conf_t *
ngx_http_aoai_aad_upstream_conf(ngx_conf_t *cf)
{
    void  *plcf;

    plcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_proxy_module);

#if (nginx_version >= 1029004)
    return &((ngx_http_proxy_loc_conf_t *) plcf)->upstream;
#else
    /* it is declared in no header, and begins with this in every release */
    return plcf;
#endif
}


#if (NGX_HTTP_SSL)

/*
 * Whether TLS proves who gets the token.  It is said once of an upstream, and
 * not of loopback; to all else no token goes without TLS.
 */
static ngx_int_t
ngx_http_aoai_aad_check_tls(ngx_conf_t *cf,
    ngx_http_aoai_aad_loc_conf_t *alcf)
{
    void                      *one;
    uintptr_t                  lack;
    ngx_int_t                  rc;
    ngx_str_t                 *host;
    ngx_http_core_loc_conf_t  *clcf;
    ngx_http_upstream_conf_t  *conf;

    conf = ngx_http_aoai_aad_upstream_conf(cf);

    host = ngx_http_aoai_aad_remote_host(conf->upstream, alcf->allowed_hosts);

    if (host == NULL) {
        return NGX_OK;
    }

    lack = 0;

    if (conf->ssl_verify == 0) {
        lack |= NGX_HTTP_AOAI_AAD_NOT_VERIFIED;
    }

    if (conf->ssl_server_name == 0) {
        lack |= NGX_HTTP_AOAI_AAD_NOT_NAMED;
    }

    if (lack == 0) {
        return NGX_OK;
    }

    one = conf->upstream ? (void *) conf->upstream : alcf->allowed_hosts;

    rc = ngx_http_aoai_aad_is_new(cf, one, (void *) lack);

    if (rc != NGX_OK) {
        return rc == NGX_ERROR ? NGX_ERROR : NGX_OK;
    }

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                  "\"aoai_aad\": location \"%V\" sends tokens to \"%V\" and "
                  "%s: write%s%s",
                  &clcf->name, host,
                  lack & NGX_HTTP_AOAI_AAD_NOT_VERIFIED
                      ? "does not verify its certificate"
                      : "does not name it in TLS",
                  lack & NGX_HTTP_AOAI_AAD_NOT_VERIFIED
                      ? " \"proxy_ssl_verify on\", with "
                        "\"proxy_ssl_trusted_certificate\"" : "",
                  lack == NGX_HTTP_AOAI_AAD_NOT_VERIFIED ? ""
                  : lack == NGX_HTTP_AOAI_AAD_NOT_NAMED
                      ? " \"proxy_ssl_server_name on\""
                      : ", and \"proxy_ssl_server_name on\"");

    return NGX_OK;
}


/*
 * A host of the upstream that is not this machine, as it is written; NULL if
 * there is none.  Where variables will say it, it is one of those allowed.
 */
static ngx_str_t *
ngx_http_aoai_aad_remote_host(ngx_http_upstream_srv_conf_t *uscf,
    ngx_array_t *allowed_hosts)
{
    ngx_uint_t                   i;
    ngx_http_aoai_aad_host_t    *host;
    ngx_http_upstream_server_t  *server;

    if (uscf == NULL) {
        host = allowed_hosts->elts;

        for (i = 0; i < allowed_hosts->nelts; i++) {
            if (host[i].wildcard
                || !ngx_http_aoai_aad_is_loopback(&host[i].name))
            {
                return &host[i].name;
            }
        }

        return NULL;
    }

    if (!(uscf->flags & NGX_HTTP_UPSTREAM_CREATE)) {
        return ngx_http_aoai_aad_is_remote(&uscf->host) ? &uscf->host : NULL;
    }

    if (uscf->servers == NULL) {
        return NULL;
    }

    server = uscf->servers->elts;

    for (i = 0; i < uscf->servers->nelts; i++) {
        if (ngx_http_aoai_aad_is_remote(&server[i].name)) {
            return &server[i].name;
        }
    }

    return NULL;
}

#endif


/*
 * Ways to prove who asks are taken off the finished request, those that the
 * configuration puts on it too.  An empty value takes them off as well.
 */
static ngx_int_t
ngx_http_aoai_aad_check_headers(ngx_conf_t *cf)
{
    ngx_int_t                  rc;
    ngx_uint_t                 i;
    ngx_array_t              **headers;
    ngx_keyval_t              *header;
    ngx_http_core_loc_conf_t  *clcf;

    headers = ngx_http_aoai_aad_proxy_value(cf, "proxy_set_header");

    if (headers == NULL || *headers == NULL || *headers == NGX_CONF_UNSET_PTR)
    {
        return NGX_OK;
    }

    rc = ngx_http_aoai_aad_is_new(cf, *headers, NULL);

    if (rc != NGX_OK) {
        return rc == NGX_ERROR ? NGX_ERROR : NGX_OK;
    }

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    header = (*headers)->elts;

    for (i = 0; i < (*headers)->nelts; i++) {

        if (header[i].value.len == 0
            || !ngx_http_aoai_aad_is_credential(header[i].key.data,
                                                header[i].key.len))
        {
            continue;
        }

        ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                      "\"proxy_set_header %V\" has no effect in location "
                      "\"%V\", whose requests have nothing but the token of "
                      "\"aoai_aad\" to prove who asks: remove it",
                      &header[i].key, &clcf->name);
    }

    return NGX_OK;
}


/*
 * Where the location's value of one of proxy_pass's own directives is, set
 * there or inherited: that is what the directive itself says.  NULL if there
 * is no such directive.
 */
void *
ngx_http_aoai_aad_proxy_value(ngx_conf_t *cf, const char *directive)
{
    u_char         *plcf;
    ngx_command_t  *cmd;

    plcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_proxy_module);

    for (cmd = ngx_http_proxy_module.commands; cmd->name.len; cmd++) {

        if (ngx_strcmp(cmd->name.data, directive) == 0) {
            return plcf + cmd->offset;
        }
    }

    return NULL;
}
