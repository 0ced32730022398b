
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * Exchanges of callers' tokens, of this worker.
 */


#ifndef _NGX_HTTP_AOAI_AAD_BEHALF_H_INCLUDED_
#define _NGX_HTTP_AOAI_AAD_BEHALF_H_INCLUDED_


#include "ngx_http_aoai_aad_callers.h"


/* what may pass between the end of an exchange and others' knowing of it */
#define NGX_HTTP_AOAI_AAD_EXCHANGE_GRACE_MSEC  1000


/* What is known of a refused exchange: texts of C, one after the other. */
typedef enum {
    NGX_HTTP_AOAI_AAD_REFUSAL_CODE = 0,
    NGX_HTTP_AOAI_AAD_REFUSAL_CLAIMS,
    NGX_HTTP_AOAI_AAD_REFUSAL_REASON,
    NGX_HTTP_AOAI_AAD_REFUSAL_TEXTS
} ngx_http_aoai_aad_refusal_text_e;


/* The queue to wait in for an exchange that goes on; NULL: there is none. */
ngx_queue_t *ngx_http_aoai_aad_find_exchange(
    ngx_http_aoai_aad_main_conf_t *amcf, ngx_http_aoai_aad_caller_key_t *key);

/* Whether no other exchange can begin, or be waited for, in this worker. */
ngx_uint_t ngx_http_aoai_aad_is_crowded(ngx_http_aoai_aad_main_conf_t *amcf);

/*
 * Exchanges the caller's token; the right to was given to this worker.  The
 * token is copied.  Returns the queue to wait in, or NULL without memory.
 */
ngx_queue_t *ngx_http_aoai_aad_start_exchange(
    ngx_http_aoai_aad_main_conf_t *amcf,
    ngx_http_aoai_aad_identity_t *identity,
    ngx_http_aoai_aad_caller_key_t *key, ngx_str_t *assertion);

/* The same for an exchange by another worker. */
ngx_queue_t *ngx_http_aoai_aad_watch_exchange(
    ngx_http_aoai_aad_main_conf_t *amcf,
    ngx_http_aoai_aad_caller_key_t *key);


#endif /* _NGX_HTTP_AOAI_AAD_BEHALF_H_INCLUDED_ */
