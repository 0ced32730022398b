
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * The chain of a location, and the identity that its settings make.
 */


#include "ngx_http_aoai_aad.h"


#define NGX_HTTP_AOAI_AAD_AUTHORITY_HOST  "https://login.microsoftonline.com"

/* a fetch may take so long, however short the requests' patience is: what
   comes too late for one request is there for the next */
#define NGX_HTTP_AOAI_AAD_FETCH_MSEC      10000


static char *ngx_http_aoai_aad_parameter(ngx_conf_t *cf,
    aad_credential_t *credential, ngx_str_t *value);
static aad_credential_t *ngx_http_aoai_aad_create_credential(ngx_conf_t *cf,
    char *type);
static void ngx_http_aoai_aad_destroy_credential(void *data);
static ngx_int_t ngx_http_aoai_aad_default_chain(ngx_conf_t *cf,
    ngx_http_aoai_aad_main_conf_t *amcf);
static ngx_int_t ngx_http_aoai_aad_read_environment(ngx_conf_t *cf,
    ngx_http_aoai_aad_main_conf_t *amcf);
static ngx_int_t ngx_http_aoai_aad_read_authority_host(ngx_conf_t *cf,
    ngx_http_aoai_aad_main_conf_t *amcf);
static const char *ngx_http_aoai_aad_variable(void *data, const char *name);
static ngx_http_aoai_aad_identity_t *ngx_http_aoai_aad_add_identity(
    ngx_conf_t *cf, ngx_http_aoai_aad_main_conf_t *amcf,
    aad_settings_t *settings, u_char *digest);
static ngx_int_t ngx_http_aoai_aad_name_identity(ngx_conf_t *cf,
    ngx_http_aoai_aad_identity_t *identity);


/* workload identity stands in front: it speaks only where it is configured */
static char  *ngx_http_aoai_aad_default_types[] = {
    "workload_identity",
    "managed_identity",
    "environment",
    "azure_cli",
    NULL
};


char *
ngx_http_aoai_aad_credential(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_aoai_aad_loc_conf_t *alcf = conf;

    ngx_str_t          *value;
    ngx_uint_t          i;
    aad_error_t         error;
    aad_credential_t  **credential;

    if (alcf->credentials == NGX_CONF_UNSET_PTR) {

        alcf->credentials = ngx_array_create(cf->pool, 4,
                                             sizeof(aad_credential_t *));
        if (alcf->credentials == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    if (alcf->credentials->nelts == AAD_CHAIN_STEPS_MAX) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"aoai_aad_credential\": a chain has %d steps at "
                           "most", AAD_CHAIN_STEPS_MAX);
        return NGX_CONF_ERROR;
    }

    credential = ngx_array_push(alcf->credentials);
    if (credential == NULL) {
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;

    *credential = ngx_http_aoai_aad_create_credential(cf,
                                                    (char *) value[1].data);
    if (*credential == NULL) {
        return NGX_CONF_ERROR;
    }

    for (i = 2; i < cf->args->nelts; i++) {

        if (ngx_http_aoai_aad_parameter(cf, *credential, &value[i])
            != NGX_CONF_OK)
        {
            return NGX_CONF_ERROR;
        }
    }

    if (aad_credential_complete(*credential, &error) != 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"aoai_aad_credential\": %s", error.text);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_aoai_aad_parameter(ngx_conf_t *cf, aad_credential_t *credential,
    ngx_str_t *value)
{
    u_char       *equals;
    ngx_int_t     rc;
    aad_error_t   error;

    equals = (u_char *) ngx_strchr(value->data, '=');

    if (equals == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"aoai_aad_credential\": \"%V\" is no parameter, "
                           "write \"name=value\"", value);
        return NGX_CONF_ERROR;
    }

    *equals = '\0';

    rc = aad_credential_set(credential, (char *) value->data,
                            (char *) equals + 1, &error);

    /* it may have been a secret, and nobody reads it again */

    ngx_explicit_memzero(equals + 1, value->data + value->len - equals - 1);

    if (rc != 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"aoai_aad_credential\": %s", error.text);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/* The credential lives, and is wiped, with the configuration. */
static aad_credential_t *
ngx_http_aoai_aad_create_credential(ngx_conf_t *cf, char *type)
{
    u_char              *directory;
    aad_error_t          error;
    aad_credential_t    *credential;
    aad_environment_t    environment;
    ngx_pool_cleanup_t  *cln;

    directory = ngx_pnalloc(cf->pool, cf->cycle->conf_prefix.len + 1);
    cln = ngx_pool_cleanup_add(cf->pool, 0);

    if (directory == NULL || cln == NULL) {
        return NULL;
    }

    *ngx_cpymem(directory, cf->cycle->conf_prefix.data,
                cf->cycle->conf_prefix.len) = '\0';

    environment.variable = ngx_http_aoai_aad_variable;
    environment.data = NULL;
    environment.directory = (char *) directory;

    credential = aad_credential_create(type, &environment, &error);

    if (credential == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"aoai_aad_credential\": %s", error.text);
        return NULL;
    }

    cln->handler = ngx_http_aoai_aad_destroy_credential;
    cln->data = credential;

    return credential;
}


static void
ngx_http_aoai_aad_destroy_credential(void *data)
{
    aad_credential_destroy(data);
}


ngx_int_t
ngx_http_aoai_aad_identify(ngx_conf_t *cf, ngx_http_aoai_aad_loc_conf_t *alcf)
{
    u_char                          digest[AAD_DIGEST_BYTES];
    ngx_str_t                       proxy;
    ngx_uint_t                      i;
    ngx_array_t                    *chain;
    aad_settings_t                  settings;
    aad_credential_t              **credential;
    ngx_http_aoai_aad_identity_t   *identity, **identities;
    ngx_http_aoai_aad_main_conf_t  *amcf;

    amcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_aoai_aad_module);

    if (amcf->authority_host.data == NULL
        && ngx_http_aoai_aad_read_environment(cf, amcf) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (alcf->authority_host.data == NULL) {
        alcf->authority_host = amcf->authority_host;
    }

    proxy = alcf->proxy;

    /* HTTPS_PROXY is for https, as its name says */

    if (proxy.data == NULL
        && ngx_strncmp(alcf->authority_host.data, "https:", 6) == 0)
    {
        proxy = amcf->proxy;
    }

    chain = alcf->credentials;

    if (chain == NULL) {

        if (amcf->default_chain == NULL
            && ngx_http_aoai_aad_default_chain(cf, amcf) != NGX_OK)
        {
            return NGX_ERROR;
        }

        chain = amcf->default_chain;
    }

    ngx_memzero(&settings, sizeof(aad_settings_t));

    settings.authority_host = (char *) alcf->authority_host.data;
    settings.scope = (char *) alcf->scope.data;

    if (alcf->ca_certificates.len) {
        settings.ca_certificates = (char *) alcf->ca_certificates.data;
    }

    if (proxy.len) {
        settings.proxy = (char *) proxy.data;

        /* NO_PROXY belongs to the proxy of the environment */

        if (alcf->proxy.data == NULL && amcf->no_proxy.len) {
            settings.no_proxy = (char *) amcf->no_proxy.data;
        }
    }

    credential = chain->elts;

    for (i = 0; i < chain->nelts; i++) {
        settings.chain[i] = credential[i];
    }

    settings.chain_length = chain->nelts;

    if (aad_settings_digest(&settings, digest) != 0) {
        return NGX_ERROR;
    }

    identity = NULL;
    identities = amcf->identities.elts;

    for (i = 0; i < amcf->identities.nelts; i++) {
        if (ngx_memcmp(identities[i]->digest, digest, AAD_DIGEST_BYTES) == 0) {
            identity = identities[i];
            break;
        }
    }

    if (identity == NULL) {
        identity = ngx_http_aoai_aad_add_identity(cf, amcf, &settings, digest);
        if (identity == NULL) {
            return NGX_ERROR;
        }
    }

    if (identity->timeout < alcf->timeout) {
        identity->timeout = alcf->timeout;
    }

    alcf->identity = identity;

    return NGX_OK;
}


static ngx_int_t
ngx_http_aoai_aad_default_chain(ngx_conf_t *cf,
    ngx_http_aoai_aad_main_conf_t *amcf)
{
    char              **type;
    aad_error_t         error;
    ngx_array_t        *chain;
    aad_credential_t  **credential;

    chain = ngx_array_create(cf->pool, 4, sizeof(aad_credential_t *));
    if (chain == NULL) {
        return NGX_ERROR;
    }

    for (type = ngx_http_aoai_aad_default_types; *type; type++) {

        credential = ngx_array_push(chain);
        if (credential == NULL) {
            return NGX_ERROR;
        }

        *credential = ngx_http_aoai_aad_create_credential(cf, *type);
        if (*credential == NULL) {
            return NGX_ERROR;
        }

        if (aad_credential_complete(*credential, &error) != 0) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"aoai_aad_credential\": %s", error.text);
            return NGX_ERROR;
        }
    }

    amcf->default_chain = chain;

    return NGX_OK;
}


/*
 * Here the whole environment is at hand, in a worker nothing of it is.  The
 * values live in the process's environment, which the master does not change.
 */
static ngx_int_t
ngx_http_aoai_aad_read_environment(ngx_conf_t *cf,
    ngx_http_aoai_aad_main_conf_t *amcf)
{
    char         *value;
    u_char       *proxy;
    aad_error_t   error;

    /* lower case first, as curl has it */

    value = getenv("https_proxy");
    if (value == NULL) {
        value = getenv("HTTPS_PROXY");
    }

    if (value && *value) {

        /* "host:port" is common there, and what it means to curl */

        proxy = ngx_pnalloc(cf->pool, sizeof("http://") + ngx_strlen(value));
        if (proxy == NULL) {
            return NGX_ERROR;
        }

        amcf->proxy.data = proxy;
        amcf->proxy.len = ngx_sprintf(proxy, "%s%s%Z",
                                      ngx_strstr(value, "://") ? ""
                                                               : "http://",
                                      value)
                          - proxy - 1;

        if (aad_proxy((char *) proxy, &error) != 0) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "HTTPS_PROXY in the environment: %s", error.text);
            return NGX_ERROR;
        }
    }

    value = getenv("no_proxy");
    if (value == NULL) {
        value = getenv("NO_PROXY");
    }

    if (value) {
        amcf->no_proxy.data = (u_char *) value;
        amcf->no_proxy.len = ngx_strlen(value);
    }

    return ngx_http_aoai_aad_read_authority_host(cf, amcf);
}


static ngx_int_t
ngx_http_aoai_aad_read_authority_host(ngx_conf_t *cf,
    ngx_http_aoai_aad_main_conf_t *amcf)
{
    char          host[NGX_MAX_CONF_ERRSTR];
    char         *value;
    ngx_str_t     text;
    aad_error_t   error;

    value = getenv("AZURE_AUTHORITY_HOST");

    if (value == NULL || *value == '\0') {
        ngx_str_set(&amcf->authority_host, NGX_HTTP_AOAI_AAD_AUTHORITY_HOST);
        return NGX_OK;
    }

    if (aad_authority_host(value, host, sizeof(host), &error) != 0) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "AZURE_AUTHORITY_HOST in the environment: %s",
                      error.text);
        return NGX_ERROR;
    }

    text.data = (u_char *) host;
    text.len = ngx_strlen(host) + 1;

    amcf->authority_host.data = ngx_pstrdup(cf->pool, &text);
    if (amcf->authority_host.data == NULL) {
        return NGX_ERROR;
    }

    amcf->authority_host.len = text.len - 1;

    return NGX_OK;
}


static const char *
ngx_http_aoai_aad_variable(void *data, const char *name)
{
    return getenv(name);
}


static ngx_http_aoai_aad_identity_t *
ngx_http_aoai_aad_add_identity(ngx_conf_t *cf,
    ngx_http_aoai_aad_main_conf_t *amcf, aad_settings_t *settings,
    u_char *digest)
{
    ngx_http_aoai_aad_identity_t  *identity, **identityp;

    identity = ngx_pcalloc(cf->pool, sizeof(ngx_http_aoai_aad_identity_t));
    if (identity == NULL) {
        return NULL;
    }

    identity->settings = *settings;
    identity->timeout = NGX_HTTP_AOAI_AAD_FETCH_MSEC;
    ngx_memcpy(identity->digest, digest, AAD_DIGEST_BYTES);
    ngx_queue_init(&identity->waiting);

    if (ngx_http_aoai_aad_name_identity(cf, identity) != NGX_OK) {
        return NULL;
    }

    identityp = ngx_array_push(&amcf->identities);
    if (identityp == NULL) {
        return NULL;
    }

    *identityp = identity;

    return identity;
}


/* the chain in short, so that a log line says which of several it is about */
static ngx_int_t
ngx_http_aoai_aad_name_identity(ngx_conf_t *cf,
    ngx_http_aoai_aad_identity_t *identity)
{
    char         step[256], text[1024];
    u_char      *p, *last;
    size_t       i;
    ngx_str_t    name;

    p = (u_char *) text;
    last = p + sizeof(text);

    for (i = 0; i < identity->settings.chain_length; i++) {
        aad_credential_describe(identity->settings.chain[i], step,
                                sizeof(step));
        p = ngx_slprintf(p, last, "%s%s", i ? ", " : "", step);
    }

    name.data = (u_char *) text;
    name.len = p - name.data;

    identity->name.data = ngx_pstrdup(cf->pool, &name);
    identity->name.len = name.len;

    return identity->name.data ? NGX_OK : NGX_ERROR;
}
