
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 */


#include "ngx_http_aoai_aad.h"

#if (nginx_version >= 1029004)
#include <ngx_http_proxy_module.h>
#endif


#if !(NGX_THREADS)
#error "ngx_http_aoai_aad_module needs an nginx built --with-threads"
#endif


static ngx_int_t ngx_http_aoai_aad_preconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_http_aoai_aad_postconfiguration(ngx_conf_t *cf);
static void *ngx_http_aoai_aad_create_main_conf(ngx_conf_t *cf);
static char *ngx_http_aoai_aad_init_main_conf(ngx_conf_t *cf, void *conf);
static void *ngx_http_aoai_aad_create_loc_conf(ngx_conf_t *cf);
static char *ngx_http_aoai_aad_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child);
static char *ngx_http_aoai_aad_merge_handler(ngx_conf_t *cf,
    ngx_http_aoai_aad_loc_conf_t *prev, ngx_http_aoai_aad_loc_conf_t *conf);
static ngx_int_t ngx_http_aoai_aad_check_version(ngx_conf_t *cf);
static ngx_http_handler_pt ngx_http_aoai_aad_proxy_handler(ngx_conf_t *cf);
static ngx_int_t ngx_http_aoai_aad_run_last(ngx_conf_t *cf,
    ngx_http_phases phase, ngx_http_handler_pt handler);

static char *ngx_http_aoai_aad(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_aoai_aad_scope(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_aoai_aad_authority_host(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
static char *ngx_http_aoai_aad_ssl_trusted_certificate(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
static char *ngx_http_aoai_aad_proxy(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_aoai_aad_time(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_aoai_aad_cache_size(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_aoai_aad_wrong(ngx_conf_t *cf, ngx_command_t *cmd,
    aad_error_t *error);


static ngx_command_t  ngx_http_aoai_aad_commands[] = {

    { ngx_string("aoai_aad"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF
                        |NGX_HTTP_LIF_CONF|NGX_CONF_TAKE1,
      ngx_http_aoai_aad,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("aoai_aad_credential"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF
                        |NGX_CONF_1MORE,
      ngx_http_aoai_aad_credential,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("aoai_aad_scope"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_aoai_aad_scope,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("aoai_aad_authority_host"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_aoai_aad_authority_host,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("aoai_aad_ssl_trusted_certificate"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_aoai_aad_ssl_trusted_certificate,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("aoai_aad_proxy"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_aoai_aad_proxy,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("aoai_aad_allowed_hosts"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_aoai_aad_allowed_hosts,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("aoai_aad_timeout"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_aoai_aad_time,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_aoai_aad_loc_conf_t, timeout),
      NULL },

    { ngx_string("aoai_aad_caller"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF
                        |NGX_CONF_1MORE,
      ngx_http_aoai_aad_caller,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("aoai_aad_on_behalf_of_max_age"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_aoai_aad_time,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_aoai_aad_loc_conf_t, behalf_max_age),
      NULL },

    { ngx_string("aoai_aad_cache_size"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_aoai_aad_cache_size,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("aoai_aad_status"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS|NGX_CONF_TAKE1,
      ngx_http_aoai_aad_set_status,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_aoai_aad_module_ctx = {
    ngx_http_aoai_aad_preconfiguration,    /* preconfiguration */
    ngx_http_aoai_aad_postconfiguration,   /* postconfiguration */

    ngx_http_aoai_aad_create_main_conf,    /* create main configuration */
    ngx_http_aoai_aad_init_main_conf,      /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ngx_http_aoai_aad_create_loc_conf,     /* create location configuration */
    ngx_http_aoai_aad_merge_loc_conf       /* merge location configuration */
};


ngx_module_t  ngx_http_aoai_aad_module = {
    NGX_MODULE_V1,
    &ngx_http_aoai_aad_module_ctx,         /* module context */
    ngx_http_aoai_aad_commands,            /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    ngx_http_aoai_aad_init_module,         /* init module */
    ngx_http_aoai_aad_init_process,        /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    ngx_http_aoai_aad_exit_process,        /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_int_t
ngx_http_aoai_aad_preconfiguration(ngx_conf_t *cf)
{
    ngx_http_aoai_aad_main_conf_t  *amcf;

    amcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_aoai_aad_module);

    amcf->proxy_host_handler = ngx_http_aoai_aad_proxy_host_handler(cf);

    return ngx_http_aoai_aad_add_variables(cf);
}


static void *
ngx_http_aoai_aad_create_main_conf(ngx_conf_t *cf)
{
    ngx_http_aoai_aad_main_conf_t  *amcf;

    amcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_aoai_aad_main_conf_t));
    if (amcf == NULL) {
        return NULL;
    }

    if (ngx_array_init(&amcf->identities, cf->pool, 4,
                       sizeof(ngx_http_aoai_aad_identity_t *))
        != NGX_OK
        || ngx_array_init(&amcf->behalf, cf->pool, 4,
                          sizeof(ngx_http_aoai_aad_identity_t *))
           != NGX_OK
        || ngx_array_init(&amcf->key_sets, cf->pool, 4,
                          sizeof(ngx_http_aoai_aad_identity_t *))
           != NGX_OK
        || ngx_array_init(&amcf->fetched, cf->pool, 4,
                          sizeof(ngx_http_aoai_aad_identity_t *))
           != NGX_OK)
    {
        return NULL;
    }

    /* the zone's own stand in for these, where there is a zone */

    amcf->totals = ngx_pcalloc(cf->pool, sizeof(ngx_http_aoai_aad_totals_t));
    if (amcf->totals == NULL) {
        return NULL;
    }

    amcf->cache_size = NGX_CONF_UNSET_SIZE;

    return amcf;
}


static char *
ngx_http_aoai_aad_init_main_conf(ngx_conf_t *cf, void *conf)
{
    ngx_http_aoai_aad_main_conf_t  *amcf = conf;

    ngx_conf_init_size_value(amcf->cache_size, 1024 * 1024);

    return NGX_CONF_OK;
}


static void *
ngx_http_aoai_aad_create_loc_conf(ngx_conf_t *cf)
{
    ngx_http_aoai_aad_loc_conf_t  *alcf;

    alcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_aoai_aad_loc_conf_t));
    if (alcf == NULL) {
        return NULL;
    }

    /*
     * set by ngx_pcalloc():
     *
     *     alcf->scope = { 0, NULL };
     *     alcf->authority_host = { 0, NULL };
     *     alcf->ca_certificates = { 0, NULL };
     *     alcf->proxy = { 0, NULL };
     *     alcf->mode_place = { { 0, NULL }, 0 };
     *     alcf->scope_place = { { 0, NULL }, 0 };
     *     alcf->authority_place = { { 0, NULL }, 0 };
     *     alcf->status_form = 0;
     *     alcf->status_place = { { 0, NULL }, 0 };
     *     alcf->identity = NULL;
     *     alcf->handler = NULL;
     *     alcf->denial_logged = 0;
     *     alcf->denials_logged = 0;
     *     alcf->denied_host = 0;
     *     alcf->allowed_upstream = NULL;
     */

    alcf->mode = NGX_CONF_UNSET_UINT;
    alcf->credentials = NGX_CONF_UNSET_PTR;
    alcf->allowed_hosts = NGX_CONF_UNSET_PTR;
    alcf->timeout = NGX_CONF_UNSET_MSEC;
    alcf->callers = NGX_CONF_UNSET_PTR;
    alcf->behalf_max_age = NGX_CONF_UNSET_MSEC;

    return alcf;
}


static char *
ngx_http_aoai_aad_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_aoai_aad_loc_conf_t *prev = parent;
    ngx_http_aoai_aad_loc_conf_t *conf = child;

    ngx_conf_merge_uint_value(conf->mode, prev->mode,
                              NGX_HTTP_AOAI_AAD_OFF);
    ngx_conf_merge_ptr_value(conf->credentials, prev->credentials, NULL);
    ngx_conf_merge_ptr_value(conf->allowed_hosts, prev->allowed_hosts, NULL);
    ngx_conf_merge_msec_value(conf->timeout, prev->timeout, 10000);
    ngx_conf_merge_ptr_value(conf->callers, prev->callers, NULL);
    ngx_conf_merge_msec_value(conf->behalf_max_age, prev->behalf_max_age, 0);

    if (conf->scope.data == NULL) {
        conf->scope_place = prev->scope_place;
    }

    ngx_conf_merge_str_value(conf->scope, prev->scope,
                             AAD_SCOPE_DEFAULT);
    ngx_conf_merge_str_value(conf->ca_certificates, prev->ca_certificates,
                             "");

    /* these two end with what the environment says */

    if (conf->authority_host.data == NULL) {
        conf->authority_host = prev->authority_host;
        conf->authority_place = prev->authority_place;
    }

    if (conf->proxy.data == NULL) {
        conf->proxy = prev->proxy;
    }

    if (ngx_http_aoai_aad_check_status(cf, conf) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    return ngx_http_aoai_aad_merge_handler(cf, prev, conf);
}


/*
 * The handler that proxy_pass has set is replaced by ours, which calls it.  A
 * nameless location (if, limit_except) without a proxy_pass of its own is
 * reached with its parent's handler, ours or not, and may differ from the
 * parent in what that has to do.
 */
static char *
ngx_http_aoai_aad_merge_handler(ngx_conf_t *cf,
    ngx_http_aoai_aad_loc_conf_t *prev, ngx_http_aoai_aad_loc_conf_t *conf)
{
    ngx_http_core_loc_conf_t       *clcf;
    ngx_http_aoai_aad_main_conf_t  *amcf;

    amcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_aoai_aad_module);
    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    conf->handler = (clcf->noname && clcf->handler == NULL) ? prev->handler
                                                            : clcf->handler;

    if (conf->mode == NGX_HTTP_AOAI_AAD_OFF || conf->handler == NULL) {
        ngx_http_aoai_aad_check_idle_callers(cf, conf);
        return NGX_CONF_OK;
    }

    if (amcf->proxy_handler == NULL) {
        amcf->proxy_handler = ngx_http_aoai_aad_proxy_handler(cf);
        if (amcf->proxy_handler == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    if (conf->handler != amcf->proxy_handler) {
        ngx_http_aoai_aad_check_handler(cf, conf);
        ngx_http_aoai_aad_check_idle_callers(cf, conf);
        return NGX_CONF_OK;
    }

    if (ngx_http_aoai_aad_check_version(cf) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    if (conf->allowed_hosts == NULL) {
        conf->allowed_hosts = ngx_http_aoai_aad_default_hosts(cf);
        if (conf->allowed_hosts == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    if (ngx_http_aoai_aad_identify(cf, conf) != NGX_OK
        || ngx_http_aoai_aad_check_callers(cf, conf) != NGX_CONF_OK
        || ngx_http_aoai_aad_check_clouds(cf, conf) != NGX_OK
        || ngx_http_aoai_aad_check_location(cf, conf) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    clcf->handler = ngx_http_aoai_aad_content_handler;

    return NGX_CONF_OK;
}


/* the token is put into the head of HTTP/1, which HTTP/2 has not */
static ngx_int_t
ngx_http_aoai_aad_check_version(ngx_conf_t *cf)
{
#if (nginx_version >= 1029004)

    ngx_http_core_loc_conf_t   *clcf;
    ngx_http_proxy_loc_conf_t  *plcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    plcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_proxy_module);

    if (plcf->http_version == NGX_HTTP_VERSION_20) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"aoai_aad\" and \"proxy_http_version 2\" cannot "
                           "be used together in location \"%V\", write "
                           "\"proxy_http_version 1.1\"", &clcf->name);
        return NGX_ERROR;
    }

#endif

    return NGX_OK;
}


/*
 * Which handler is proxy_pass's is known to nobody but proxy_pass: it is made
 * to set it in a location of no consequence.  A URL with a variable in it
 * registers no upstream.
 */
static ngx_http_handler_pt
ngx_http_aoai_aad_proxy_handler(ngx_conf_t *cf)
{
    void                       *plcf;
    ngx_str_t                  *value;
    ngx_conf_t                  save;
    ngx_command_t              *cmd;
    ngx_http_module_t          *module;
    ngx_http_conf_ctx_t         ctx;
    ngx_http_core_loc_conf_t   *clcf;

    module = ngx_http_proxy_module.ctx;

    plcf = module->create_loc_conf(cf);
    clcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_core_loc_conf_t));

    ctx = *(ngx_http_conf_ctx_t *) cf->ctx;
    ctx.loc_conf = ngx_pcalloc(cf->pool,
                               sizeof(void *) * ngx_http_max_module);

    save = *cf;

    cf->ctx = &ctx;
    cf->args = ngx_array_create(cf->pool, 2, sizeof(ngx_str_t));

    if (plcf == NULL || clcf == NULL || ctx.loc_conf == NULL
        || cf->args == NULL)
    {
        *cf = save;
        return NULL;
    }

    ctx.loc_conf[ngx_http_core_module.ctx_index] = clcf;
    ctx.loc_conf[ngx_http_proxy_module.ctx_index] = plcf;

    value = ngx_array_push_n(cf->args, 2);
    ngx_str_set(&value[0], "proxy_pass");
    ngx_str_set(&value[1], "http://$host");

    for (cmd = ngx_http_proxy_module.commands; cmd->name.len; cmd++) {

        if (cmd->name.len == value[0].len
            && ngx_strcmp(cmd->name.data, value[0].data) == 0)
        {
            (void) cmd->set(cf, cmd, plcf);
            break;
        }
    }

    *cf = save;

    return clcf->handler;
}


static ngx_int_t
ngx_http_aoai_aad_postconfiguration(ngx_conf_t *cf)
{
    ngx_http_aoai_aad_main_conf_t  *amcf;

    amcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_aoai_aad_module);

    if (amcf->identities.nelts + amcf->behalf.nelts == 0) {
        return NGX_OK;
    }

    ngx_http_aoai_aad_check_lists(cf, amcf);

    amcf->thread_pool = ngx_thread_pool_add(cf, NULL);
    if (amcf->thread_pool == NULL) {
        return NGX_ERROR;
    }

    if (ngx_http_aoai_aad_add_zone(cf, amcf) != NGX_OK
        || (amcf->behalf.nelts + amcf->key_sets.nelts != 0
            && ngx_http_aoai_aad_add_callers_zone(cf, amcf) != NGX_OK)
        || ngx_http_aoai_aad_run_last(cf, NGX_HTTP_ACCESS_PHASE,
                                      ngx_http_aoai_aad_access_handler)
           != NGX_OK
        || ngx_http_aoai_aad_run_last(cf, NGX_HTTP_PRECONTENT_PHASE,
                                      ngx_http_aoai_aad_precontent_handler)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


/*
 * The handlers of a phase run from the last one of the array to the first, so
 * the first place is the one after every check, in any order of loading.
 */
static ngx_int_t
ngx_http_aoai_aad_run_last(ngx_conf_t *cf, ngx_http_phases phase,
    ngx_http_handler_pt handler)
{
    ngx_array_t                *handlers;
    ngx_http_handler_pt        *h;
    ngx_http_core_main_conf_t  *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);
    handlers = &cmcf->phases[phase].handlers;

    if (ngx_array_push(handlers) == NULL) {
        return NGX_ERROR;
    }

    h = handlers->elts;

    ngx_memmove(&h[1], &h[0],
                (handlers->nelts - 1) * sizeof(ngx_http_handler_pt));
    h[0] = handler;

    return NGX_OK;
}


static char *
ngx_http_aoai_aad(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_aoai_aad_loc_conf_t *alcf = conf;

    ngx_str_t  *value;

    if (alcf->mode != NGX_CONF_UNSET_UINT) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "on") == 0) {
        alcf->mode = NGX_HTTP_AOAI_AAD_ON;

    } else if (ngx_strcmp(value[1].data, "off") == 0) {
        alcf->mode = NGX_HTTP_AOAI_AAD_OFF;

    } else if (ngx_strcmp(value[1].data, "on_behalf_of") == 0) {
        alcf->mode = NGX_HTTP_AOAI_AAD_ON_BEHALF_OF;

    } else {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"aoai_aad\": \"%V\" is wrong, it must be "
                           "\"on\", \"off\" or \"on_behalf_of\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    ngx_http_aoai_aad_set_place(cf, &alcf->mode_place);

    return NGX_CONF_OK;
}


static char *
ngx_http_aoai_aad_scope(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_aoai_aad_loc_conf_t *alcf = conf;

    ngx_str_t    *value;
    aad_error_t   error;

    if (alcf->scope.data) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (aad_scope((char *) value[1].data, &error) != 0) {
        return ngx_http_aoai_aad_wrong(cf, cmd, &error);
    }

    alcf->scope = value[1];
    ngx_http_aoai_aad_set_place(cf, &alcf->scope_place);

    return NGX_CONF_OK;
}


static char *
ngx_http_aoai_aad_authority_host(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_aoai_aad_loc_conf_t *alcf = conf;

    char          host[AAD_HOST_BYTES];
    ngx_str_t    *value, text;
    aad_error_t   error;

    if (alcf->authority_host.data) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (aad_authority_host((char *) value[1].data, host, sizeof(host), &error)
        != 0)
    {
        return ngx_http_aoai_aad_wrong(cf, cmd, &error);
    }

    /* with its NUL: the library takes strings of C */

    text.data = (u_char *) host;
    text.len = ngx_strlen(host) + 1;

    alcf->authority_host.data = ngx_pstrdup(cf->pool, &text);
    if (alcf->authority_host.data == NULL) {
        return NGX_CONF_ERROR;
    }

    alcf->authority_host.len = text.len - 1;
    ngx_http_aoai_aad_set_place(cf, &alcf->authority_place);

    return NGX_CONF_OK;
}


static char *
ngx_http_aoai_aad_ssl_trusted_certificate(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_aoai_aad_loc_conf_t *alcf = conf;

    char          *rv;
    ngx_str_t     *value, text;
    aad_error_t    error;
    aad_secret_t   pem;

    if (alcf->ca_certificates.data) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_conf_full_name(cf->cycle, &value[1], 1) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    aad_secret_init(&pem, AAD_PEM_BYTES_MAX);

    if (aad_ca_certificates((char *) value[1].data, &pem, &error) != 0) {
        rv = ngx_http_aoai_aad_wrong(cf, cmd, &error);

    } else {
        text.data = (u_char *) pem.data;
        text.len = pem.length + 1;

        alcf->ca_certificates.data = ngx_pstrdup(cf->pool, &text);
        alcf->ca_certificates.len = pem.length;

        rv = alcf->ca_certificates.data ? NGX_CONF_OK : NGX_CONF_ERROR;
    }

    aad_secret_wipe(&pem);

    return rv;
}


static char *
ngx_http_aoai_aad_proxy(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_aoai_aad_loc_conf_t *alcf = conf;

    ngx_str_t    *value;
    aad_error_t   error;

    if (alcf->proxy.data) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "off") == 0) {
        ngx_str_set(&alcf->proxy, "");
        return NGX_CONF_OK;
    }

    if (aad_proxy((char *) value[1].data, &error) != 0) {
        return ngx_http_aoai_aad_wrong(cf, cmd, &error);
    }

    alcf->proxy = value[1];

    return NGX_CONF_OK;
}


static char *
ngx_http_aoai_aad_time(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    char  *p = conf;

    int64_t       time_ms;
    ngx_str_t    *value;
    ngx_msec_t   *msec;
    aad_error_t   error;

    msec = (ngx_msec_t *) (p + cmd->offset);

    if (*msec != NGX_CONF_UNSET_MSEC) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (aad_time((char *) value[1].data, &time_ms, &error) != 0) {
        return ngx_http_aoai_aad_wrong(cf, cmd, &error);
    }

    *msec = (ngx_msec_t) time_ms;

    return NGX_CONF_OK;
}


static char *
ngx_http_aoai_aad_cache_size(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_aoai_aad_main_conf_t *amcf = conf;

    ssize_t     size;
    ngx_str_t  *value;

    if (amcf->cache_size != NGX_CONF_UNSET_SIZE) {
        return "is duplicate";
    }

    value = cf->args->elts;
    size = ngx_parse_size(&value[1]);

    if (size == NGX_ERROR || size < (ssize_t) (32 * ngx_pagesize)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"aoai_aad_cache_size\": \"%V\" is wrong, it must "
                           "be a size of %uzk at least, such as \"1m\"",
                           &value[1], 32 * ngx_pagesize / 1024);
        return NGX_CONF_ERROR;
    }

    amcf->cache_size = (size_t) size;

    return NGX_CONF_OK;
}


static char *
ngx_http_aoai_aad_wrong(ngx_conf_t *cf, ngx_command_t *cmd,
    aad_error_t *error)
{
    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "\"%V\": %s", &cmd->name,
                       error->text);
    return NGX_CONF_ERROR;
}
