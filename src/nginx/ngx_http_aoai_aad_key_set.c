
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * The keys that a tenant's tokens are signed with: fetched ahead of time and
 * kept for all workers as a token is, and for longer, so that callers can be
 * checked while the authority is down.
 */


#include "ngx_http_aoai_aad.h"


/* "Signing key rollover in the Microsoft identity platform": once a day, and
   at need */
#define NGX_HTTP_AOAI_AAD_KEYS_REFRESH_SEC  86400

#define NGX_HTTP_AOAI_AAD_KEYS_SOON_MSEC    1000

/* without a word from the authority: it may have taken a key back */
#define NGX_HTTP_AOAI_AAD_KEYS_LIFE_SEC     (7 * 86400)


static ngx_http_aoai_aad_identity_t *ngx_http_aoai_aad_create_key_set(
    ngx_conf_t *cf, ngx_http_aoai_aad_loc_conf_t *alcf, const char *tenant_id,
    u_char *digest);


/* Sees to it that the location has the tenant's key set, once. */
ngx_int_t
ngx_http_aoai_aad_add_key_set(ngx_conf_t *cf,
    ngx_http_aoai_aad_loc_conf_t *alcf, const char *tenant_id)
{
    u_char                           digest[AAD_DIGEST_BYTES];
    ngx_uint_t                       i;
    ngx_http_aoai_aad_identity_t    *key_set, **key_sets;
    ngx_http_aoai_aad_main_conf_t   *amcf;

    amcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_aoai_aad_module);

    if (aad_key_set_digest(&alcf->identity->settings, tenant_id, digest)
        != 0)
    {
        return NGX_ERROR;
    }

    key_set = NULL;
    key_sets = amcf->key_sets.elts;

    for (i = 0; i < amcf->key_sets.nelts; i++) {
        if (ngx_memcmp(key_sets[i]->digest, digest, AAD_DIGEST_BYTES) == 0) {
            key_set = key_sets[i];
            break;
        }
    }

    if (key_set == NULL) {
        key_set = ngx_http_aoai_aad_create_key_set(cf, alcf, tenant_id,
                                                   digest);
        if (key_set == NULL) {
            return NGX_ERROR;
        }

        key_sets = ngx_array_push(&amcf->key_sets);
        if (key_sets == NULL) {
            return NGX_ERROR;
        }

        *key_sets = key_set;

        key_sets = ngx_array_push(&amcf->fetched);
        if (key_sets == NULL) {
            return NGX_ERROR;
        }

        *key_sets = key_set;
    }

    if (key_set->timeout < alcf->timeout) {
        key_set->timeout = alcf->timeout;
    }

    key_sets = alcf->key_sets->elts;

    for (i = 0; i < alcf->key_sets->nelts; i++) {
        if (key_sets[i] == key_set) {
            return NGX_OK;
        }
    }

    key_sets = ngx_array_push(alcf->key_sets);
    if (key_sets == NULL) {
        return NGX_ERROR;
    }

    *key_sets = key_set;

    return NGX_OK;
}


static ngx_http_aoai_aad_identity_t *
ngx_http_aoai_aad_create_key_set(ngx_conf_t *cf,
    ngx_http_aoai_aad_loc_conf_t *alcf, const char *tenant_id, u_char *digest)
{
    size_t                         length;
    ngx_http_aoai_aad_identity_t  *key_set;

    static const char  name[] = "keys of tenant %s at %s";

    key_set = ngx_pcalloc(cf->pool, sizeof(ngx_http_aoai_aad_identity_t));
    if (key_set == NULL) {
        return NULL;
    }

    key_set->settings = alcf->identity->settings;
    key_set->settings.chain_length = 0;

    /* it lives with the rule that it is of */

    key_set->tenant_id = (char *) tenant_id;
    key_set->timeout = NGX_HTTP_AOAI_AAD_FETCH_MSEC;
    ngx_memcpy(key_set->digest, digest, AAD_DIGEST_BYTES);
    ngx_queue_init(&key_set->waiting);

    length = sizeof(name) + ngx_strlen(tenant_id)
             + ngx_strlen(key_set->settings.authority_host);

    key_set->name.data = ngx_pnalloc(cf->pool, length);
    if (key_set->name.data == NULL) {
        return NULL;
    }

    key_set->name.len = ngx_snprintf(key_set->name.data, length, name,
                                     tenant_id,
                                     key_set->settings.authority_host)
                        - key_set->name.data;

    return key_set;
}


/* in a thread; the document takes a token's place, and has a life as one */
aad_result_t
ngx_http_aoai_aad_get_key_set(ngx_http_aoai_aad_identity_t *key_set,
    aad_token_t *token, aad_report_t *report)
{
    aad_result_t  result;

    ngx_memzero(token, sizeof(aad_token_t));

    result = aad_get_key_set(&key_set->settings, &ngx_http_aoai_aad_hooks,
                             (int64_t) key_set->timeout, key_set->tenant_id,
                             &token->access_token, report);

    token->credential = "";
    token->expires_on = (int64_t) time(NULL)
                        + NGX_HTTP_AOAI_AAD_KEYS_LIFE_SEC;
    token->refresh_in = NGX_HTTP_AOAI_AAD_KEYS_REFRESH_SEC;

    return result;
}


/* Makes the worker's copy of a document out of shared memory. */
ngx_int_t
ngx_http_aoai_aad_read_key_set(ngx_http_aoai_aad_identity_t *key_set,
    u_char *document, size_t length)
{
    uint32_t      version;
    aad_error_t   error;

    if (length == 0) {
        ngx_http_aoai_aad_forget(key_set);
        return NGX_OK;
    }

    /* the same in every worker, and from fetch to fetch as long as the keys
       are */

    version = ngx_crc32_long(document, length);

    if (key_set->key_set && key_set->key_set_version == version) {
        return NGX_OK;
    }

    ngx_http_aoai_aad_forget(key_set);

    key_set->key_set = aad_key_set_parse((char *) document, length, &error);

    if (key_set->key_set == NULL) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0, "aoai_aad: %s (%V)",
                      error.text, &key_set->name);
        return NGX_ERROR;
    }

    key_set->key_set_version = version;

    return NGX_OK;
}


/*
 * Whether a newer one is on its way, or about to be asked for; another worker,
 * which has said so, may have looked at its clock a moment later than this
 * one.
 */
ngx_uint_t
ngx_http_aoai_aad_is_refreshing(ngx_http_aoai_aad_identity_t *key_set)
{
    aad_moment_t  now;

    ngx_http_aoai_aad_moment(&now);

    return (key_set->life.lease != 0
            && key_set->life.lease_until_ms > now.monotonic_ms)
           || key_set->life.refresh_at_ms
              <= now.monotonic_ms + NGX_HTTP_AOAI_AAD_KEYS_SOON_MSEC;
}
