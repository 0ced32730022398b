
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * Where a token may go.
 */


#include "ngx_http_aoai_aad.h"


/* errors about hosts, per hour, location and worker */
#define NGX_HTTP_AOAI_AAD_DENIALS_LOGGED  100


/* what nginx is about to connect to */
typedef struct {
    ngx_str_t                       name;
    in_port_t                       port;
    unsigned                        ssl:1;
    unsigned                        looked_up:1;    /* by the resolver */
    unsigned                        local:1;        /* name: a socket's path */
} ngx_http_aoai_aad_destination_t;


static char *ngx_http_aoai_aad_parse_host(ngx_conf_t *cf, ngx_str_t *value,
    ngx_http_aoai_aad_host_t *host);
static ngx_int_t ngx_http_aoai_aad_split_host(ngx_str_t *text,
    ngx_str_t *name, in_port_t *port);
static ngx_int_t ngx_http_aoai_aad_upstream_allowed(ngx_http_request_t *r,
    ngx_http_aoai_aad_loc_conf_t *alcf, ngx_http_upstream_srv_conf_t *uscf);
static ngx_uint_t ngx_http_aoai_aad_is_local(
    ngx_http_upstream_server_t *server);
static ngx_http_upstream_srv_conf_t *ngx_http_aoai_aad_find_upstream(
    ngx_http_request_t *r);
static ngx_int_t ngx_http_aoai_aad_host_allowed(ngx_http_request_t *r,
    ngx_http_aoai_aad_loc_conf_t *alcf,
    ngx_http_aoai_aad_destination_t *destination);
static ngx_uint_t ngx_http_aoai_aad_denial_level(
    ngx_http_aoai_aad_loc_conf_t *alcf, ngx_str_t *name);


static ngx_str_t  ngx_http_aoai_aad_default_names[] = {
    ngx_string("*.openai.azure.com"),
    ngx_string("*.cognitiveservices.azure.com"),
    ngx_string("*.services.ai.azure.com"),
    ngx_string("*.openai.azure.us"),
    ngx_string("*.cognitiveservices.azure.us"),
    ngx_string("*.services.ai.azure.us"),
    ngx_string("*.openai.azure.cn"),
    ngx_string("*.cognitiveservices.azure.cn"),
    ngx_string("*.services.ai.azure.cn"),
    ngx_null_string
};


char *
ngx_http_aoai_aad_allowed_hosts(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_aoai_aad_loc_conf_t *alcf = conf;

    ngx_str_t                 *value;
    ngx_uint_t                 i;
    ngx_http_aoai_aad_host_t  *host;

    if (alcf->allowed_hosts == NGX_CONF_UNSET_PTR) {

        alcf->allowed_hosts = ngx_array_create(cf->pool, 4,
                                            sizeof(ngx_http_aoai_aad_host_t));
        if (alcf->allowed_hosts == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        host = ngx_array_push(alcf->allowed_hosts);
        if (host == NULL) {
            return NGX_CONF_ERROR;
        }

        if (ngx_http_aoai_aad_parse_host(cf, &value[i], host)
            != NGX_CONF_OK)
        {
            return NGX_CONF_ERROR;
        }

        ngx_http_aoai_aad_set_place(cf, &host->place);
    }

    return NGX_CONF_OK;
}


ngx_array_t *
ngx_http_aoai_aad_default_hosts(ngx_conf_t *cf)
{
    ngx_str_t                 *name;
    ngx_array_t               *hosts;
    ngx_http_aoai_aad_host_t  *host;

    hosts = ngx_array_create(cf->pool, 9, sizeof(ngx_http_aoai_aad_host_t));
    if (hosts == NULL) {
        return NULL;
    }

    for (name = ngx_http_aoai_aad_default_names; name->len; name++) {

        host = ngx_array_push(hosts);
        if (host == NULL
            || ngx_http_aoai_aad_parse_host(cf, name, host) != NGX_CONF_OK)
        {
            return NULL;
        }
    }

    return hosts;
}


static char *
ngx_http_aoai_aad_parse_host(ngx_conf_t *cf, ngx_str_t *value,
    ngx_http_aoai_aad_host_t *host)
{
    ngx_str_t  text, name;

    text = *value;
    ngx_memzero(host, sizeof(ngx_http_aoai_aad_host_t));

    if (text.len > 2 && text.data[0] == '*' && text.data[1] == '.') {
        host->wildcard = 1;
        text.data += 2;
        text.len -= 2;
    }

    if (ngx_http_aoai_aad_split_host(&text, &name, &host->port) != NGX_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"aoai_aad_allowed_hosts\": \"%V\" is no host, "
                           "write a name, an address or \"*.suffix\", with "
                           "\":port\" if only that is meant, and nothing of "
                           "a URL around it", value);
        return NGX_CONF_ERROR;
    }

    if (host->wildcard) {
        name.data--;
        name.len++;
    }

    host->name.data = ngx_pnalloc(cf->pool, name.len);
    if (host->name.data == NULL) {
        return NGX_CONF_ERROR;
    }

    host->name.len = name.len;
    ngx_strlow(host->name.data, name.data, name.len);

    return NGX_CONF_OK;
}


/*
 * Takes "name", "name:port", "[address]:port" apart.  Anything that is made
 * of other characters than a host's is refused: what nginx or a resolver
 * would make of userinfo, '#' or a blank in it is not for us to guess.
 */
static ngx_int_t
ngx_http_aoai_aad_split_host(ngx_str_t *text, ngx_str_t *name,
    in_port_t *port)
{
    u_char     *p, *last;
    ngx_int_t   n;

    p = text->data;
    last = text->data + text->len;

    if (p < last && *p == '[') {

        for (p++; p < last && *p != ']'; p++) {
            if (ngx_hextoi(p, 1) == NGX_ERROR && *p != ':' && *p != '.') {
                return NGX_ERROR;
            }
        }

        if (p == last) {
            return NGX_ERROR;
        }

        p++;

    } else {
        while (p < last
               && ((*p >= '0' && *p <= '9') || (*p >= 'a' && *p <= 'z')
                   || (*p >= 'A' && *p <= 'Z') || *p == '-' || *p == '.'
                   || *p == '_'))
        {
            p++;
        }
    }

    name->data = text->data;
    name->len = p - text->data;
    *port = 0;

    if (p != last) {

        if (*p++ != ':') {
            return NGX_ERROR;
        }

        n = ngx_atoi(p, last - p);
        if (n < 1 || n > 65535) {
            return NGX_ERROR;
        }

        *port = (in_port_t) n;
    }

    /* "host." is "host", but "127.0.0.1." is a name to be looked up */

    if (name->len && name->data[name->len - 1] == '.'
        && ngx_inet_addr(name->data, name->len - 1) == INADDR_NONE)
    {
        name->len--;
    }

    return name->len ? NGX_OK : NGX_ERROR;
}


/*
 * Whether the request may take a token to where nginx is about to connect:
 * called when u->resolved or the location's upstream is known, and before
 * anything is sent.  Returns NGX_OK, or NGX_DECLINED with the host logged.
 */
ngx_int_t
ngx_http_aoai_aad_look_at_destination(ngx_http_request_t *r,
    ngx_http_aoai_aad_loc_conf_t *alcf)
{
    ngx_int_t                         rc;
    ngx_http_upstream_t              *u;
    ngx_http_upstream_srv_conf_t     *uscf;
    ngx_http_aoai_aad_destination_t   destination;

    u = r->upstream;

    if (u->resolved == NULL) {
        uscf = u->conf->upstream;
        rc = ngx_http_aoai_aad_upstream_allowed(r, alcf, uscf);

        if (rc == NGX_OK) {
            alcf->allowed_upstream = uscf;
        }

        return rc;
    }

    uscf = ngx_http_aoai_aad_find_upstream(r);

    if (uscf) {
        return ngx_http_aoai_aad_upstream_allowed(r, alcf, uscf);
    }

    destination.name = u->resolved->host;
    destination.port = u->resolved->port;
    destination.looked_up = u->resolved->sockaddr == NULL;
    destination.local = u->resolved->sockaddr
                        && u->resolved->sockaddr->sa_family == AF_UNIX;
#if (NGX_HTTP_SSL)
    destination.ssl = u->ssl;
#else
    destination.ssl = 0;
#endif

    return ngx_http_aoai_aad_host_allowed(r, alcf, &destination);
}


/* every server of an upstream block counts, for any may be the one */
static ngx_int_t
ngx_http_aoai_aad_upstream_allowed(ngx_http_request_t *r,
    ngx_http_aoai_aad_loc_conf_t *alcf, ngx_http_upstream_srv_conf_t *uscf)
{
    ngx_uint_t                        i, level;
    ngx_http_upstream_server_t       *server;
    ngx_http_aoai_aad_destination_t   destination;

    destination.looked_up = 0;
#if (NGX_HTTP_SSL)
    destination.ssl = r->upstream->ssl;
#else
    destination.ssl = 0;
#endif

    if (!(uscf->flags & NGX_HTTP_UPSTREAM_CREATE)) {
        destination.name = uscf->host;
        destination.port = uscf->port;
        destination.local = 0;

        if (uscf->servers) {
            server = uscf->servers->elts;
            destination.local = ngx_http_aoai_aad_is_local(server);
        }

        return ngx_http_aoai_aad_host_allowed(r, alcf, &destination);
    }

    if (uscf->servers == NULL || uscf->servers->nelts == 0) {
        level = ngx_http_aoai_aad_denial_level(alcf, &uscf->host);

        ngx_log_error(level, r->connection->log, 0,
                      "aoai_aad: no token may go to \"%V\": its servers are "
                      "not known (host_not_allowed, chain: %V)",
                      &uscf->host, &alcf->identity->name);
        return NGX_DECLINED;
    }

    server = uscf->servers->elts;

    for (i = 0; i < uscf->servers->nelts; i++) {

        /* nginx's own default there, with TLS too */

        destination.name = server[i].name;
        destination.port = 80;
        destination.local = ngx_http_aoai_aad_is_local(&server[i]);

#if (nginx_version >= 1027003 && NGX_HTTP_UPSTREAM_ZONE)
        destination.looked_up = server[i].host.len != 0;
#endif

        if (ngx_http_aoai_aad_host_allowed(r, alcf, &destination) != NGX_OK) {
            return NGX_DECLINED;
        }
    }

    return NGX_OK;
}


static ngx_uint_t
ngx_http_aoai_aad_is_local(ngx_http_upstream_server_t *server)
{
    return server->naddrs
           && server->addrs[0].sockaddr->sa_family == AF_UNIX;
}


/* as ngx_http_upstream_init_request() finds it, for the same answer */
static ngx_http_upstream_srv_conf_t *
ngx_http_aoai_aad_find_upstream(ngx_http_request_t *r)
{
    ngx_uint_t                       i;
    ngx_http_upstream_srv_conf_t   **uscfp;
    ngx_http_upstream_resolved_t    *resolved;
    ngx_http_upstream_main_conf_t   *umcf;

    resolved = r->upstream->resolved;

    umcf = ngx_http_get_module_main_conf(r, ngx_http_upstream_module);
    uscfp = umcf->upstreams.elts;

    for (i = 0; i < umcf->upstreams.nelts; i++) {

        if (uscfp[i]->host.len == resolved->host.len
            && ((uscfp[i]->port == 0 && resolved->no_port)
                || uscfp[i]->port == resolved->port)
            && ngx_strncasecmp(uscfp[i]->host.data, resolved->host.data,
                               resolved->host.len) == 0)
        {
            return uscfp[i];
        }
    }

    return NULL;
}


static ngx_int_t
ngx_http_aoai_aad_host_allowed(ngx_http_request_t *r,
    ngx_http_aoai_aad_loc_conf_t *alcf,
    ngx_http_aoai_aad_destination_t *destination)
{
    size_t                     skip;
    ngx_str_t                  name;
    in_port_t                  port;
    ngx_uint_t                 i, level, plain;
    ngx_http_aoai_aad_host_t  *host;

    plain = 0;
    port = destination->port;

    if (destination->local
        || ngx_http_aoai_aad_split_host(&destination->name, &name, &port)
           != NGX_OK)
    {
        goto refused;
    }

    if (port == 0) {
        port = destination->port;
    }

    if (port == 0) {
        port = destination->ssl ? 443 : 80;
    }

    host = alcf->allowed_hosts->elts;

    for (i = 0; i < alcf->allowed_hosts->nelts; i++) {

        if (host[i].port && host[i].port != port) {
            continue;
        }

        if (host[i].wildcard ? name.len <= host[i].name.len
                             : name.len != host[i].name.len)
        {
            continue;
        }

        skip = name.len - host[i].name.len;

        if (ngx_strncasecmp(name.data + skip, host[i].name.data,
                            host[i].name.len)
            != 0)
        {
            continue;
        }

        if (destination->ssl
            || (!host[i].wildcard && !destination->looked_up
                && ngx_http_aoai_aad_is_loopback(&name)))
        {
            return NGX_OK;
        }

        plain = 1;
    }

refused:

    level = ngx_http_aoai_aad_denial_level(alcf, &destination->name);

    ngx_log_error(level, r->connection->log, 0,
                  "aoai_aad: no token may go to \"%V\" port %d%s "
                  "(host_not_allowed, chain: %V)",
                  &destination->name, (int) port,
                  plain ? " over plain HTTP: write \"https://\" in "
                          "\"proxy_pass\""
                        : ": it is not in \"aoai_aad_allowed_hosts\"",
                  &alcf->identity->name);

    return NGX_DECLINED;
}


/*
 * A host is an error once an hour; of names that clients may choose there are
 * not more than some.  The others are there for who wants to know.
 */
static ngx_uint_t
ngx_http_aoai_aad_denial_level(ngx_http_aoai_aad_loc_conf_t *alcf,
    ngx_str_t *name)
{
    time_t    now;
    uint32_t  host;

    now = ngx_time();
    host = ngx_crc32_short(name->data, name->len);

    if (now < alcf->denial_logged || now - alcf->denial_logged >= 3600) {
        alcf->denial_logged = now;
        alcf->denials_logged = 0;
    }

    if (alcf->denials_logged == NGX_HTTP_AOAI_AAD_DENIALS_LOGGED
        || (alcf->denials_logged && alcf->denied_host == host))
    {
        return NGX_LOG_INFO;
    }

    alcf->denied_host = host;
    alcf->denials_logged++;

    return NGX_LOG_ERR;
}


/*
 * Whether it is a host, as it is written with or without a port, and not this
 * machine.
 */
ngx_uint_t
ngx_http_aoai_aad_is_remote(ngx_str_t *text)
{
    ngx_str_t  name;
    in_port_t  port;

    return ngx_http_aoai_aad_split_host(text, &name, &port) == NGX_OK
           && !ngx_http_aoai_aad_is_loopback(&name);
}


ngx_uint_t
ngx_http_aoai_aad_is_loopback(ngx_str_t *name)
{
    in_addr_t  address;

    if (name->len == 9
        && ngx_strncasecmp(name->data, (u_char *) "localhost", 9) == 0)
    {
        return 1;
    }

    if (name->len == 5 && ngx_strncmp(name->data, "[::1]", 5) == 0) {
        return 1;
    }

    address = ngx_inet_addr(name->data, name->len);

    return address != INADDR_NONE && (ntohl(address) >> 24) == 127;
}
