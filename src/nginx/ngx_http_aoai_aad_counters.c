
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * Counting.  A request that finds its token costs one addition.
 */


#include "ngx_http_aoai_aad.h"


static ngx_http_aoai_aad_counters_t *ngx_http_aoai_aad_counters(
    ngx_http_aoai_aad_identity_t *identity);
static void ngx_http_aoai_aad_count_step(ngx_http_aoai_aad_totals_t *totals,
    aad_attempt_t *attempt);


/* a metadata service answers within some milliseconds, Entra ID within some
   hundred, "az" within seconds */
const ngx_msec_t
    ngx_http_aoai_aad_bucket_msec[NGX_HTTP_AOAI_AAD_BUCKETS - 1] =
{
    10, 25, 50, 100, 250, 500, 1000, 2500, 10000
};


/*
 * To be called once for each time that a request comes to a location with a
 * token, when it is known how that ends.
 */
void
ngx_http_aoai_aad_count_request(ngx_http_aoai_aad_identity_t *identity,
    ngx_http_aoai_aad_ctx_t *ctx)
{
    ngx_http_aoai_aad_counters_t  *counters;

    /* where the token was just found, the slot is the identity's */

    counters = identity->slot && ctx->cache_status <= NGX_HTTP_AOAI_AAD_STALE
               ? &identity->slot->counters
               : ngx_http_aoai_aad_counters(identity);

    if (counters) {
        (void) ngx_atomic_fetch_add(&counters->requests[ctx->cache_status],
                                    1);
    }
}


void
ngx_http_aoai_aad_count_wait(ngx_http_aoai_aad_identity_t *identity,
    ngx_msec_t msec)
{
    ngx_http_aoai_aad_counters_t  *counters;

    counters = ngx_http_aoai_aad_counters(identity);

    if (counters) {
        (void) ngx_atomic_fetch_add(&counters->waits, 1);
        (void) ngx_atomic_fetch_add(&counters->wait_msec, msec);
    }
}


void
ngx_http_aoai_aad_count_denied_host(ngx_http_aoai_aad_identity_t *identity)
{
    ngx_http_aoai_aad_counters_t  *counters;

    counters = ngx_http_aoai_aad_counters(identity);

    if (counters) {
        (void) ngx_atomic_fetch_add(&counters->denied_hosts, 1);
    }
}


void
ngx_http_aoai_aad_count_fetch(ngx_http_aoai_aad_identity_t *identity,
    aad_result_t result, aad_report_t *report)
{
    size_t                          i;
    ngx_http_aoai_aad_counters_t   *counters;
    ngx_http_aoai_aad_main_conf_t  *amcf;

    amcf = ngx_http_aoai_aad_cycle_conf((ngx_cycle_t *) ngx_cycle);

    if (identity->tenant_id) {
        (void) ngx_atomic_fetch_add(result == AAD_OK
                                    ? &amcf->totals->key_fetches
                                    : &amcf->totals->key_failures, 1);
        return;
    }

    for (i = 0; i < report->count; i++) {
        ngx_http_aoai_aad_count_step(amcf->totals, &report->attempts[i]);
    }

    counters = ngx_http_aoai_aad_counters(identity);

    if (counters) {
        (void) ngx_atomic_fetch_add(result == AAD_OK ? &counters->refreshes
                                                     : &counters->failures,
                                    1);
    }
}


static void
ngx_http_aoai_aad_count_step(ngx_http_aoai_aad_totals_t *totals,
    aad_attempt_t *attempt)
{
    size_t                              type;
    ngx_uint_t                          i;
    ngx_msec_t                          msec;
    const char                         *name;
    ngx_http_aoai_aad_step_counters_t  *step;

    for (type = 0; /* void */; type++) {

        name = aad_credential_type_name(type);

        if (name == NULL) {
            return;
        }

        if (ngx_strcmp(name, attempt->credential) == 0) {
            break;
        }
    }

    step = &totals->steps[type];
    msec = (ngx_msec_t) attempt->elapsed_ms;

    for (i = 0; i < NGX_HTTP_AOAI_AAD_BUCKETS - 1; i++) {
        if (msec <= ngx_http_aoai_aad_bucket_msec[i]) {
            break;
        }
    }

    (void) ngx_atomic_fetch_add(&step->buckets[i], 1);
    (void) ngx_atomic_fetch_add(&step->msec, msec);
    (void) ngx_atomic_fetch_add(&step->results[attempt->result], 1);
}


/*
 * NULL where there is no slot, and in a worker of an old configuration whose
 * slot was given away.  No lock is taken: one that is being given away is not
 * counted in any more.
 */
static ngx_http_aoai_aad_counters_t *
ngx_http_aoai_aad_counters(ngx_http_aoai_aad_identity_t *identity)
{
    if (identity->slot == NULL
        || ngx_memcmp(identity->slot->digest, identity->digest,
                      AAD_DIGEST_BYTES)
           != 0)
    {
        return NULL;
    }

    return &identity->slot->counters;
}
