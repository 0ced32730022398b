
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * What is counted in shared memory, by all workers, and shown by
 * aoai_aad_status.  Each number is added to by itself and without a lock: a
 * worker that is killed leaves out no more than what it was about to add.
 * Zeros at first.
 */


#ifndef _NGX_HTTP_AOAI_AAD_COUNTERS_H_INCLUDED_
#define _NGX_HTTP_AOAI_AAD_COUNTERS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "aad.h"


/* how a request came by its token */
typedef enum {
    NGX_HTTP_AOAI_AAD_NONE = 0,
    NGX_HTTP_AOAI_AAD_HIT,
    NGX_HTTP_AOAI_AAD_STALE,
    NGX_HTTP_AOAI_AAD_MISS,
    NGX_HTTP_AOAI_AAD_ERROR
} ngx_http_aoai_aad_cache_status_e;

#define NGX_HTTP_AOAI_AAD_STATUSES  (NGX_HTTP_AOAI_AAD_ERROR + 1)


/* of an identity; in its slot, with which they are kept and wiped */
typedef struct {
    ngx_atomic_t                    requests[NGX_HTTP_AOAI_AAD_STATUSES];
    ngx_atomic_t                    refreshes;      /* tokens fetched */
    ngx_atomic_t                    failures;       /* fetches without one */
    ngx_atomic_t                    waits;          /* that have ended */
    ngx_atomic_t                    wait_msec;      /* of all of them */
    ngx_atomic_t                    denied_hosts;   /* requests to such */
} ngx_http_aoai_aad_counters_t;


#define NGX_HTTP_AOAI_AAD_BUCKETS   10

/* upper ends in milliseconds of all buckets but the last, which has none */
extern const ngx_msec_t
    ngx_http_aoai_aad_bucket_msec[NGX_HTTP_AOAI_AAD_BUCKETS - 1];

typedef struct {
    ngx_atomic_t                    buckets[NGX_HTTP_AOAI_AAD_BUCKETS];
    ngx_atomic_t                    msec;           /* of all of them */
    ngx_atomic_t                    results[AAD_FAILED + 1];
} ngx_http_aoai_aad_step_counters_t;


typedef enum {
    NGX_HTTP_AOAI_AAD_INVALID_TOKEN = 0,
    NGX_HTTP_AOAI_AAD_INSUFFICIENT_ROLE,
    NGX_HTTP_AOAI_AAD_CALLER_CODES
} ngx_http_aoai_aad_caller_code_e;


typedef struct {
    ngx_atomic_t                    entries;        /* now */
    ngx_atomic_t                    capacity;       /* now */
    ngx_atomic_t                    exchanges;      /* that brought a token */
    ngx_atomic_t                    failures;       /* and that did not */
    ngx_atomic_t                    hits;
    ngx_atomic_t                    evictions;
} ngx_http_aoai_aad_behalf_counters_t;


/* of all identities, and of callers; in the zone, with which they are kept */
typedef struct {
    /* by the type's number; steps of the chain that were asked */
    ngx_http_aoai_aad_step_counters_t    steps[AAD_TYPES_MAX];

    /* by the code of the answer */
    ngx_atomic_t                    refused[NGX_HTTP_AOAI_AAD_CALLER_CODES];

    /* sets of keys that callers' tokens are signed with */
    ngx_atomic_t                    key_fetches;
    ngx_atomic_t                    key_failures;

    ngx_http_aoai_aad_behalf_counters_t  behalf;
} ngx_http_aoai_aad_totals_t;


#endif /* _NGX_HTTP_AOAI_AAD_COUNTERS_H_INCLUDED_ */
