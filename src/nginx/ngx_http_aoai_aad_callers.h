
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * What is known of callers, for all workers.
 */


#ifndef _NGX_HTTP_AOAI_AAD_CALLERS_H_INCLUDED_
#define _NGX_HTTP_AOAI_AAD_CALLERS_H_INCLUDED_


#include "ngx_http_aoai_aad.h"


/* a caller's token, and what was asked of it: rules, or an identity */
typedef struct {
    u_char                          token[AAD_DIGEST_BYTES];
    u_char                          context[AAD_DIGEST_BYTES];
} ngx_http_aoai_aad_caller_key_t;


typedef struct {
    time_t                          created;
    time_t                          expires_on;     /* not known from then */
    uint32_t                        version;        /* of what it rests on */
    aad_refusal_kind_t              refusal;        /* of an exchange */
    ngx_uint_t                      exchanged;      /* or else validated */
    ngx_uint_t                      app_only;
    char                            object_id[AAD_ID_BYTES];
    char                            client_id[AAD_ID_BYTES];
    char                            tenant_id[AAD_ID_BYTES];
    char                            name[AAD_CALLER_NAME_BYTES];
} ngx_http_aoai_aad_known_t;


/*
 * What is known under the key, with its data out of 'pool' unless 'data' is
 * NULL.  Returns NGX_OK; NGX_DECLINED when it is nothing, and then, with
 * 'fetching_msec', the caller has the right to find it out for that long;
 * NGX_BUSY when another worker does, NGX_ERROR without memory.
 */
ngx_int_t ngx_http_aoai_aad_recall(ngx_http_aoai_aad_callers_t *callers,
    ngx_http_aoai_aad_caller_key_t *key, ngx_http_aoai_aad_known_t *known,
    ngx_pool_t *pool, ngx_str_t *data, ngx_msec_t fetching_msec);

/* Whether another worker is still finding it out. */
ngx_uint_t ngx_http_aoai_aad_is_busy(ngx_http_aoai_aad_callers_t *callers,
    ngx_http_aoai_aad_caller_key_t *key);

/* Keeps it, in the place of what was known before; 'data' is copied. */
void ngx_http_aoai_aad_remember(ngx_http_aoai_aad_callers_t *callers,
    ngx_http_aoai_aad_caller_key_t *key, ngx_http_aoai_aad_known_t *known,
    ngx_str_t *data);

/* Wipes what is known of it, and gives a right to find it out back. */
void ngx_http_aoai_aad_forget_caller(ngx_http_aoai_aad_callers_t *callers,
    ngx_http_aoai_aad_caller_key_t *key);


#endif /* _NGX_HTTP_AOAI_AAD_CALLERS_H_INCLUDED_ */
