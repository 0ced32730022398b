
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * Warnings about locations that mix names of two clouds: authority and scope,
 * authority and the host that requests go to.  Each is said once, of the line
 * of the configuration that it comes from.
 */


#include "ngx_http_aoai_aad.h"


/* two things that were looked at together */
typedef struct {
    void                           *one;
    void                           *other;
} ngx_http_aoai_aad_pair_t;


static ngx_int_t ngx_http_aoai_aad_check_scope(ngx_conf_t *cf,
    ngx_http_aoai_aad_loc_conf_t *alcf);
static ngx_int_t ngx_http_aoai_aad_check_upstream(ngx_conf_t *cf,
    ngx_http_aoai_aad_loc_conf_t *alcf);
static void ngx_http_aoai_aad_check_server(ngx_conf_t *cf,
    ngx_http_aoai_aad_loc_conf_t *alcf, ngx_http_upstream_srv_conf_t *uscf,
    ngx_str_t *name);
static ngx_int_t ngx_http_aoai_aad_check_hosts(ngx_conf_t *cf,
    ngx_http_aoai_aad_loc_conf_t *alcf);
static void ngx_http_aoai_aad_host_text(ngx_http_aoai_aad_host_t *host,
    char *text, size_t size);


ngx_int_t
ngx_http_aoai_aad_check_clouds(ngx_conf_t *cf,
    ngx_http_aoai_aad_loc_conf_t *alcf)
{
    if (ngx_http_aoai_aad_check_scope(cf, alcf) != NGX_OK
        || ngx_http_aoai_aad_check_upstream(cf, alcf) != NGX_OK
        || ngx_http_aoai_aad_check_hosts(cf, alcf) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


/*
 * When all locations are known: a list at a higher level may be for those of
 * several clouds, and an entry is wrong where none of them can use it.
 */
void
ngx_http_aoai_aad_check_lists(ngx_conf_t *cf,
    ngx_http_aoai_aad_main_conf_t *amcf)
{
    char                       text[256];
    ngx_uint_t                 i, j;
    ngx_array_t              **list;
    aad_error_t                warning;
    aad_settings_t             settings;
    ngx_http_aoai_aad_host_t  *host;

    list = amcf->host_lists.elts;

    for (i = 0; i < amcf->host_lists.nelts; i++) {

        host = list[i]->elts;

        for (j = 0; j < list[i]->nelts; j++) {

            if (host[j].fits || host[j].misfit == NULL) {
                continue;
            }

            ngx_memzero(&settings, sizeof(aad_settings_t));
            settings.authority_host = host[j].misfit;

            ngx_http_aoai_aad_host_text(&host[j], text, sizeof(text));

            if (aad_host_warning(&settings, text, &warning) != 0) {
                ngx_http_aoai_aad_log_at(cf, NGX_LOG_WARN, &host[j].place,
                                         "aoai_aad_allowed_hosts",
                                         warning.text);
            }
        }
    }
}


void
ngx_http_aoai_aad_set_place(ngx_conf_t *cf, ngx_http_aoai_aad_place_t *place)
{
    place->file = cf->conf_file->file.name;
    place->line = cf->conf_file->line;
}


static ngx_int_t
ngx_http_aoai_aad_check_scope(ngx_conf_t *cf,
    ngx_http_aoai_aad_loc_conf_t *alcf)
{
    ngx_int_t    rc;
    aad_error_t  warning;

    rc = ngx_http_aoai_aad_is_new(cf, alcf->scope.data,
                                  alcf->authority_host.data);

    if (rc != NGX_OK
        || aad_settings_warning(&alcf->identity->settings, &warning) == 0)
    {
        return rc == NGX_ERROR ? NGX_ERROR : NGX_OK;
    }

    if (alcf->scope_place.line) {
        ngx_http_aoai_aad_log_at(cf, NGX_LOG_WARN, &alcf->scope_place,
                                 "aoai_aad_scope", warning.text);

    } else {
        ngx_http_aoai_aad_log_at(cf, NGX_LOG_WARN, &alcf->authority_place,
                                 alcf->authority_place.line
                                     ? "aoai_aad_authority_host"
                                     : "AZURE_AUTHORITY_HOST",
                                 warning.text);
    }

    return NGX_OK;
}


/* of a proxy_pass with variables nothing is known yet */
static ngx_int_t
ngx_http_aoai_aad_check_upstream(ngx_conf_t *cf,
    ngx_http_aoai_aad_loc_conf_t *alcf)
{
    ngx_int_t                      rc;
    ngx_uint_t                     i;
    ngx_http_upstream_server_t    *server;
    ngx_http_upstream_srv_conf_t  *uscf;

    uscf = ngx_http_aoai_aad_upstream_conf(cf)->upstream;

    if (uscf == NULL) {
        return NGX_OK;
    }

    rc = ngx_http_aoai_aad_is_new(cf, uscf, alcf->authority_host.data);

    if (rc != NGX_OK) {
        return rc == NGX_ERROR ? NGX_ERROR : NGX_OK;
    }

    /* of an upstream block too: it is what proxy_pass and "Host" say */

    ngx_http_aoai_aad_check_server(cf, alcf, uscf, &uscf->host);

    if (!(uscf->flags & NGX_HTTP_UPSTREAM_CREATE) || uscf->servers == NULL) {
        return NGX_OK;
    }

    server = uscf->servers->elts;

    for (i = 0; i < uscf->servers->nelts; i++) {
        ngx_http_aoai_aad_check_server(cf, alcf, uscf, &server[i].name);
    }

    return NGX_OK;
}


static void
ngx_http_aoai_aad_check_server(ngx_conf_t *cf,
    ngx_http_aoai_aad_loc_conf_t *alcf, ngx_http_upstream_srv_conf_t *uscf,
    ngx_str_t *name)
{
    char                       text[256];
    aad_error_t                warning;
    ngx_http_aoai_aad_place_t  place;

    (void) ngx_snprintf((u_char *) text, sizeof(text), "%V%Z", name);
    text[sizeof(text) - 1] = '\0';

    if (aad_host_warning(&alcf->identity->settings, text, &warning) == 0) {
        return;
    }

    place.file.data = uscf->file_name;
    place.file.len = ngx_strlen(uscf->file_name);
    place.line = uscf->line;

    ngx_http_aoai_aad_log_at(cf, NGX_LOG_WARN, &place,
                             uscf->flags & NGX_HTTP_UPSTREAM_CREATE
                                 ? "upstream" : "proxy_pass",
                             warning.text);
}


static ngx_int_t
ngx_http_aoai_aad_check_hosts(ngx_conf_t *cf,
    ngx_http_aoai_aad_loc_conf_t *alcf)
{
    char                            text[256];
    ngx_int_t                       rc;
    ngx_uint_t                      i;
    aad_error_t                     warning;
    ngx_array_t                   **list;
    ngx_http_aoai_aad_host_t       *host;
    ngx_http_aoai_aad_main_conf_t  *amcf;

    host = alcf->allowed_hosts->elts;

    /* the default list is nobody's mistake */

    if (host[0].place.line == 0) {
        return NGX_OK;
    }

    for (i = 0; i < alcf->allowed_hosts->nelts; i++) {

        ngx_http_aoai_aad_host_text(&host[i], text, sizeof(text));

        if (aad_host_warning(&alcf->identity->settings, text, &warning) == 0) {
            host[i].fits = 1;

        } else {
            host[i].misfit = (char *) alcf->authority_host.data;
        }
    }

    rc = ngx_http_aoai_aad_is_new(cf, alcf->allowed_hosts, NULL);

    if (rc != NGX_OK) {
        return rc == NGX_ERROR ? NGX_ERROR : NGX_OK;
    }

    amcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_aoai_aad_module);

    list = ngx_array_push(&amcf->host_lists);
    if (list == NULL) {
        return NGX_ERROR;
    }

    *list = alcf->allowed_hosts;

    return NGX_OK;
}


static void
ngx_http_aoai_aad_host_text(ngx_http_aoai_aad_host_t *host, char *text,
    size_t size)
{
    (void) ngx_snprintf((u_char *) text, size, "%s%V%Z",
                        host->wildcard ? "*" : "", &host->name);
    text[size - 1] = '\0';
}


/*
 * Whether the two have not been looked at before: NGX_OK, NGX_DECLINED or
 * NGX_ERROR.  What is inherited is the same in memory too.
 */
ngx_int_t
ngx_http_aoai_aad_is_new(ngx_conf_t *cf, void *one, void *other)
{
    ngx_uint_t                      i;
    ngx_http_aoai_aad_pair_t       *pair;
    ngx_http_aoai_aad_main_conf_t  *amcf;

    amcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_aoai_aad_module);

    if (amcf->checked == NULL) {

        amcf->checked = ngx_array_create(cf->pool, 8,
                                         sizeof(ngx_http_aoai_aad_pair_t));

        if (amcf->checked == NULL
            || ngx_array_init(&amcf->host_lists, cf->pool, 2,
                              sizeof(ngx_array_t *))
               != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    pair = amcf->checked->elts;

    for (i = 0; i < amcf->checked->nelts; i++) {
        if (pair[i].one == one && pair[i].other == other) {
            return NGX_DECLINED;
        }
    }

    pair = ngx_array_push(amcf->checked);
    if (pair == NULL) {
        return NGX_ERROR;
    }

    pair->one = one;
    pair->other = other;

    return NGX_OK;
}


/* as ngx_conf_log_error() at the line that is meant; line 0: at none */
void
ngx_http_aoai_aad_log_at(ngx_conf_t *cf, ngx_uint_t level,
    ngx_http_aoai_aad_place_t *place, const char *name, const char *text)
{
    ngx_conf_file_t  *conf_file, file;

    if (place->line == 0) {
        ngx_log_error(level, cf->log, 0, "\"%s\": %s", name, text);
        return;
    }

    conf_file = cf->conf_file;

    file = *conf_file;
    file.file.name = place->file;
    file.line = place->line;

    cf->conf_file = &file;

    ngx_conf_log_error(level, cf, 0, "\"%s\": %s", name, text);

    cf->conf_file = conf_file;
}
