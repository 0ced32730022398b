
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * The chain of a location, and the identity that its settings make.
 */


#include "ngx_http_aoai_aad.h"


/* a fetch may take so long, however short the requests' patience is: what
   comes too late for one request is there for the next */


static aad_credential_t *ngx_http_aoai_aad_create_credential(ngx_conf_t *cf,
    const char *type);
static void ngx_http_aoai_aad_destroy_credential(void *data);
static ngx_int_t ngx_http_aoai_aad_default_chain(ngx_conf_t *cf,
    ngx_http_aoai_aad_main_conf_t *amcf);
static ngx_int_t ngx_http_aoai_aad_read_environment(ngx_conf_t *cf,
    ngx_http_aoai_aad_main_conf_t *amcf);
static void ngx_http_aoai_aad_wipe_environment(void *data);
static ngx_http_aoai_aad_identity_t *ngx_http_aoai_aad_add_identity(
    ngx_conf_t *cf, ngx_array_t *known, aad_settings_t *settings,
    u_char *digest);
static ngx_int_t ngx_http_aoai_aad_name_identity(ngx_conf_t *cf,
    ngx_http_aoai_aad_main_conf_t *amcf,
    ngx_http_aoai_aad_identity_t *identity);
static ngx_uint_t ngx_http_aoai_aad_is_named(
    ngx_http_aoai_aad_main_conf_t *amcf,
    ngx_http_aoai_aad_identity_t *identity);


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

        if (aad_credential_set_parameter(*credential, (char *) value[i].data,
                                         &error)
            != 0)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"aoai_aad_credential\": %s", error.text);
            return NGX_CONF_ERROR;
        }
    }

    if (aad_credential_complete(*credential, &error) != 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"aoai_aad_credential\": %s", error.text);
        return NGX_CONF_ERROR;
    }

    if (aad_credential_warning(*credential, ngx_time(), &error)) {
        ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                           "\"aoai_aad_credential\": %s", error.text);
    }

    return NGX_CONF_OK;
}


/* The credential lives, and is wiped, with the configuration. */
static aad_credential_t *
ngx_http_aoai_aad_create_credential(ngx_conf_t *cf, const char *type)
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

    environment.variable = aad_process_variable;
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
    ngx_uint_t                      i;
    ngx_array_t                    *chain;
    aad_error_t                     error;
    aad_settings_t                  settings;
    aad_credential_t              **credential;
    ngx_array_t                    *known;
    ngx_http_aoai_aad_identity_t   *identity, **identities;
    ngx_http_aoai_aad_main_conf_t  *amcf;

    amcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_aoai_aad_module);

    if (amcf->defaults == NULL
        && ngx_http_aoai_aad_read_environment(cf, amcf) != NGX_OK)
    {
        return NGX_ERROR;
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

    settings.proxy = (char *) alcf->proxy.data;

    aad_settings_complete(&settings, amcf->defaults);

    credential = chain->elts;

    for (i = 0; i < chain->nelts; i++) {
        settings.chain[i] = credential[i];
    }

    settings.chain_length = chain->nelts;

    if (aad_settings_digest(&settings, digest) != 0) {
        return NGX_ERROR;
    }

    /* one that is only stood behind needs no token of its own */

    known = alcf->mode == NGX_HTTP_AOAI_AAD_ON_BEHALF_OF ? &amcf->behalf
                                                         : &amcf->identities;
    identity = NULL;
    identities = known->elts;

    for (i = 0; i < known->nelts; i++) {
        if (ngx_memcmp(identities[i]->digest, digest, AAD_DIGEST_BYTES) == 0) {
            identity = identities[i];
            break;
        }
    }

    if (identity == NULL) {
        identity = ngx_http_aoai_aad_add_identity(cf, known, &settings, digest);
        if (identity == NULL) {
            return NGX_ERROR;
        }
    }

    if (alcf->mode == NGX_HTTP_AOAI_AAD_ON_BEHALF_OF
        && aad_on_behalf_of_check(&settings, &error) != 0)
    {
        ngx_http_aoai_aad_log_at(cf, NGX_LOG_EMERG, &alcf->mode_place,
                                 "aoai_aad", error.text);
        return NGX_ERROR;
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
    aad_error_t         error;
    ngx_array_t        *chain;
    aad_credential_t  **credential;
    const char *const  *type;

    chain = ngx_array_create(cf->pool, 4, sizeof(aad_credential_t *));
    if (chain == NULL) {
        return NGX_ERROR;
    }

    for (type = aad_default_chain; *type; type++) {

        credential = ngx_array_push(chain);
        if (credential == NULL) {
            return NGX_ERROR;
        }

        *credential = ngx_http_aoai_aad_create_credential(cf, *type);
        if (*credential == NULL) {
            return NGX_ERROR;
        }

        /* no line of a configuration is to blame here */

        if (aad_credential_complete(*credential, &error) != 0) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0, "%s", error.text);
            return NGX_ERROR;
        }

        if (aad_credential_warning(*credential, ngx_time(), &error)) {
            ngx_log_error(NGX_LOG_WARN, cf->log, 0, "%s", error.text);
        }
    }

    amcf->default_chain = chain;

    return NGX_OK;
}


/* here the whole environment is at hand, in a worker nothing of it is */
static ngx_int_t
ngx_http_aoai_aad_read_environment(ngx_conf_t *cf,
    ngx_http_aoai_aad_main_conf_t *amcf)
{
    aad_error_t          error;
    aad_defaults_t      *defaults;
    aad_environment_t    environment;
    ngx_pool_cleanup_t  *cln;

    cln = ngx_pool_cleanup_add(cf->pool, sizeof(aad_defaults_t));
    if (cln == NULL) {
        return NGX_ERROR;
    }

    defaults = cln->data;

    environment.variable = aad_process_variable;
    environment.data = NULL;
    environment.directory = NULL;

    if (aad_defaults_read(defaults, &environment, &error) != 0) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0, "%s", error.text);
        return NGX_ERROR;
    }

    cln->handler = ngx_http_aoai_aad_wipe_environment;

    amcf->defaults = defaults;

    return NGX_OK;
}


static void
ngx_http_aoai_aad_wipe_environment(void *data)
{
    aad_defaults_wipe(data);
}


static ngx_http_aoai_aad_identity_t *
ngx_http_aoai_aad_add_identity(ngx_conf_t *cf, ngx_array_t *known,
    aad_settings_t *settings, u_char *digest)
{
    ngx_http_aoai_aad_identity_t   *identity, **identityp;
    ngx_http_aoai_aad_main_conf_t  *amcf;

    amcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_aoai_aad_module);

    identity = ngx_pcalloc(cf->pool, sizeof(ngx_http_aoai_aad_identity_t));
    if (identity == NULL) {
        return NULL;
    }

    identity->settings = *settings;
    identity->timeout = NGX_HTTP_AOAI_AAD_FETCH_MSEC;
    ngx_memcpy(identity->digest, digest, AAD_DIGEST_BYTES);
    ngx_queue_init(&identity->waiting);

    if (ngx_http_aoai_aad_name_identity(cf, amcf, identity) != NGX_OK) {
        return NULL;
    }

    identityp = ngx_array_push(known);
    if (identityp == NULL) {
        return NULL;
    }

    *identityp = identity;

    if (known == &amcf->identities) {

        identityp = ngx_array_push(&amcf->fetched);
        if (identityp == NULL) {
            return NULL;
        }

        *identityp = identity;
    }

    return identity;
}


/*
 * So that a log line, or a metric, says which of several it is about.  Equal
 * chains may differ in what a name does not show, such as the scope: those
 * after the first are numbered.
 */
static ngx_int_t
ngx_http_aoai_aad_name_identity(ngx_conf_t *cf,
    ngx_http_aoai_aad_main_conf_t *amcf,
    ngx_http_aoai_aad_identity_t *identity)
{
    char        text[1024];
    size_t      length;
    ngx_uint_t  number;

    aad_settings_describe(&identity->settings, text, sizeof(text));

    length = ngx_strlen(text);

    identity->name.data = ngx_pnalloc(cf->pool,
                                      length + sizeof(" #") + NGX_INT_T_LEN);
    if (identity->name.data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(identity->name.data, text, length);
    identity->name.len = length;

    for (number = 2; ngx_http_aoai_aad_is_named(amcf, identity); number++) {
        identity->name.len = ngx_sprintf(identity->name.data + length,
                                         " #%ui", number)
                             - identity->name.data;
    }

    return NGX_OK;
}


/* whether another one has the name */
static ngx_uint_t
ngx_http_aoai_aad_is_named(ngx_http_aoai_aad_main_conf_t *amcf,
    ngx_http_aoai_aad_identity_t *identity)
{
    ngx_uint_t                      i;
    ngx_http_aoai_aad_identity_t  **other;

    other = amcf->identities.elts;

    for (i = 0; i < amcf->identities.nelts; i++) {
        if (other[i]->name.len == identity->name.len
            && ngx_memcmp(other[i]->name.data, identity->name.data,
                          identity->name.len)
               == 0)
        {
            return 1;
        }
    }

    return 0;
}
