
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * Tokens in shared memory: one slot an identity, kept across reloads, and
 * each worker's copy of what is in it.  Nothing here fetches.
 */


#include "ngx_http_aoai_aad.h"

#include <sys/mman.h>


typedef struct {
    ngx_queue_t                     slots;
    ngx_uint_t                      configuration;  /* counts the reloads */
} ngx_http_aoai_aad_shared_t;


static ngx_int_t ngx_http_aoai_aad_init_zone(ngx_shm_zone_t *zone,
    void *data);
static ngx_http_aoai_aad_slot_t *ngx_http_aoai_aad_find_slot(
    ngx_http_aoai_aad_shared_t *shared, u_char *digest);
static ngx_http_aoai_aad_slot_t *ngx_http_aoai_aad_add_slot(
    ngx_slab_pool_t *shpool, ngx_http_aoai_aad_shared_t *shared);
static ngx_slab_pool_t *ngx_http_aoai_aad_lock(
    ngx_http_aoai_aad_identity_t *identity);
static ngx_int_t ngx_http_aoai_aad_is_alive(ngx_pid_t pid);
static ngx_int_t ngx_http_aoai_aad_owns_slot(
    ngx_http_aoai_aad_identity_t *identity);
static int64_t ngx_http_aoai_aad_wall_msec(void);
static ngx_int_t ngx_http_aoai_aad_usable(ngx_http_aoai_aad_token_t *token);
static ngx_int_t ngx_http_aoai_aad_copy(
    ngx_http_aoai_aad_identity_t *identity);


ngx_int_t
ngx_http_aoai_aad_add_zone(ngx_conf_t *cf, ngx_http_aoai_aad_main_conf_t *amcf)
{
    ngx_str_t        name = ngx_string("aoai_aad");
    ngx_shm_zone_t  *zone;

    zone = ngx_shared_memory_add(cf, &name, amcf->cache_size,
                                 &ngx_http_aoai_aad_module);
    if (zone == NULL) {
        return NGX_ERROR;
    }

    zone->init = ngx_http_aoai_aad_init_zone;
    zone->data = amcf;

    return NGX_OK;
}


static ngx_int_t
ngx_http_aoai_aad_init_zone(ngx_shm_zone_t *zone, void *data)
{
    ngx_uint_t                       i;
    ngx_slab_pool_t                 *shpool;
    ngx_http_aoai_aad_slot_t        *slot;
    ngx_http_aoai_aad_shared_t      *shared;
    ngx_http_aoai_aad_identity_t   **identity;
    ngx_http_aoai_aad_main_conf_t   *amcf;

    amcf = zone->data;
    shpool = (ngx_slab_pool_t *) zone->shm.addr;
    shared = shpool->data;

    if (shared == NULL) {

        shared = ngx_slab_calloc(shpool, sizeof(ngx_http_aoai_aad_shared_t));
        if (shared == NULL) {
            return NGX_ERROR;
        }

        ngx_queue_init(&shared->slots);
        shpool->data = shared;

#ifdef MADV_DONTDUMP
        /* a core file of a worker shall hold no token of the others */
        (void) madvise(zone->shm.addr, zone->shm.size, MADV_DONTDUMP);
#endif
    }

    shpool->log_nomem = 0;

    identity = amcf->identities.elts;

    /* first those that are there, lest their slots be taken for new ones */

    for (i = 0; i < amcf->identities.nelts; i++) {

        identity[i]->shpool = shpool;

        slot = ngx_http_aoai_aad_find_slot(shared, identity[i]->digest);

        if (slot) {
            identity[i]->slot = slot;
        }
    }

    for (i = 0; i < amcf->identities.nelts; i++) {

        if (identity[i]->slot) {
            continue;
        }

        slot = ngx_http_aoai_aad_add_slot(shpool, shared);

        if (slot == NULL) {
            ngx_log_error(NGX_LOG_EMERG, zone->shm.log, 0,
                          "\"aoai_aad_cache_size\" is too small for %ui "
                          "identities, make it at least %uzk",
                          amcf->identities.nelts,
                          (amcf->identities.nelts + 4)
                          * (sizeof(ngx_http_aoai_aad_slot_t) / 1024 + 8));
            return NGX_ERROR;
        }

        ngx_memcpy(slot->digest, identity[i]->digest, AAD_DIGEST_BYTES);
        slot->configuration = shared->configuration;
        identity[i]->slot = slot;
    }

    return NGX_OK;
}


/*
 * The configuration is in force now, which is what counts: one that is
 * refused must not age the slots of the one that goes on.  What no location
 * of this one or the last has asked for is wiped.
 */
ngx_int_t
ngx_http_aoai_aad_init_module(ngx_cycle_t *cycle)
{
    ngx_uint_t                       i;
    ngx_queue_t                     *q;
    ngx_slab_pool_t                 *shpool;
    ngx_http_aoai_aad_slot_t        *slot;
    ngx_http_aoai_aad_shared_t      *shared;
    ngx_http_aoai_aad_identity_t   **identity;
    ngx_http_aoai_aad_main_conf_t   *amcf;

    amcf = ngx_http_aoai_aad_cycle_conf(cycle);

    if (amcf == NULL || amcf->identities.nelts == 0) {
        return NGX_OK;
    }

    identity = amcf->identities.elts;
    shpool = identity[0]->shpool;
    shared = shpool->data;

    ngx_shmtx_lock(&shpool->mutex);

    shared->configuration++;

    for (i = 0; i < amcf->identities.nelts; i++) {
        identity[i]->slot->configuration = shared->configuration;
    }

    for (q = ngx_queue_head(&shared->slots);
         q != ngx_queue_sentinel(&shared->slots);
         q = ngx_queue_next(q))
    {
        slot = ngx_queue_data(q, ngx_http_aoai_aad_slot_t, queue);

        if (slot->configuration + 1 < shared->configuration) {
            ngx_explicit_memzero(slot->record, sizeof(slot->record));
        }
    }

    ngx_shmtx_unlock(&shpool->mutex);

    return NGX_OK;
}


static ngx_http_aoai_aad_slot_t *
ngx_http_aoai_aad_find_slot(ngx_http_aoai_aad_shared_t *shared,
    u_char *digest)
{
    ngx_queue_t               *q;
    ngx_http_aoai_aad_slot_t  *slot;

    for (q = ngx_queue_head(&shared->slots);
         q != ngx_queue_sentinel(&shared->slots);
         q = ngx_queue_next(q))
    {
        slot = ngx_queue_data(q, ngx_http_aoai_aad_slot_t, queue);

        if (ngx_memcmp(slot->digest, digest, AAD_DIGEST_BYTES) == 0) {
            return slot;
        }
    }

    return NULL;
}


/*
 * A slot that no location has used for two configurations waits for its
 * identity to come back, until the room is needed.  Workers of an older one
 * may still have it: its digest is what they look at before they use it.
 */
static ngx_http_aoai_aad_slot_t *
ngx_http_aoai_aad_add_slot(ngx_slab_pool_t *shpool,
    ngx_http_aoai_aad_shared_t *shared)
{
    ngx_queue_t               *q;
    ngx_http_aoai_aad_slot_t  *slot;

    slot = ngx_slab_calloc(shpool, sizeof(ngx_http_aoai_aad_slot_t));

    if (slot) {
        ngx_queue_insert_tail(&shared->slots, &slot->queue);
        return slot;
    }

    for (q = ngx_queue_head(&shared->slots);
         q != ngx_queue_sentinel(&shared->slots);
         q = ngx_queue_next(q))
    {
        slot = ngx_queue_data(q, ngx_http_aoai_aad_slot_t, queue);

        if (slot->configuration + 1 < shared->configuration) {

            ngx_shmtx_lock(&shpool->mutex);

            ngx_queue_remove(&slot->queue);
            ngx_explicit_memzero(slot, sizeof(ngx_http_aoai_aad_slot_t));
            ngx_queue_insert_tail(&shared->slots, &slot->queue);

            ngx_shmtx_unlock(&shpool->mutex);

            return slot;
        }
    }

    return NULL;
}


/*
 * Whether there is a token to send now, in identity->header: the question of
 * every request.  No lock is taken while the worker's copy is the newest.
 */
ngx_int_t
ngx_http_aoai_aad_has_token(ngx_http_aoai_aad_identity_t *identity)
{
    if (identity->slot->generation != identity->generation
        && ngx_http_aoai_aad_copy(identity) != NGX_OK)
    {
        return 0;
    }

    return identity->generation != 0
           && ngx_http_aoai_aad_usable(&identity->token);
}


/*
 * Takes the right to fetch.  Returns NGX_OK when the caller has it now,
 * NGX_AGAIN when another worker has it, NGX_DECLINED when it is not the time;
 * in the latter two cases 'delay' is how long to leave it alone.
 */
ngx_int_t
ngx_http_aoai_aad_lease(ngx_http_aoai_aad_identity_t *identity,
    ngx_msec_t *delay)
{
    ngx_int_t                  rc;
    ngx_msec_int_t             left;
    ngx_slab_pool_t           *shpool;
    ngx_http_aoai_aad_slot_t  *slot;

    slot = identity->slot;

    shpool = ngx_http_aoai_aad_lock(identity);

    if (!ngx_http_aoai_aad_owns_slot(identity)) {
        rc = NGX_DECLINED;
        left = NGX_MAX_INT32_VALUE;
        goto done;
    }

    left = (ngx_msec_int_t) (slot->lease_until - ngx_current_msec);

    if (slot->lease && left > 0 && ngx_http_aoai_aad_is_alive(slot->lease)) {
        rc = NGX_AGAIN;
        goto done;
    }

    left = (ngx_msec_int_t) (slot->refresh_at - ngx_current_msec);

    /* without a token only a failure is a reason to wait */

    if (left > 0
        && (slot->failures
            || (slot->generation
                && ngx_http_aoai_aad_usable(
                                        &slot->record[slot->current].token))))
    {
        rc = NGX_DECLINED;
        goto done;
    }

    slot->lease = ngx_pid;
    slot->lease_until = ngx_current_msec + identity->timeout + 1000;

    rc = NGX_OK;
    left = 0;

done:

    ngx_shmtx_unlock(&shpool->mutex);

    *delay = (ngx_msec_t) left;

    return rc;
}


/* Gives the right to fetch back unused; harmless for who does not have it. */
void
ngx_http_aoai_aad_release(ngx_http_aoai_aad_identity_t *identity)
{
    ngx_slab_pool_t  *shpool;

    shpool = ngx_http_aoai_aad_lock(identity);

    if (identity->slot->lease == ngx_pid) {
        identity->slot->lease = 0;
    }

    ngx_shmtx_unlock(&shpool->mutex);
}


/*
 * Publishes a fetched token and gives the right to fetch back.  Returns
 * NGX_OK, or NGX_DECLINED when it comes too late: another worker, which took
 * the right over, has put in a better one, or the slot is another identity's.
 */
ngx_int_t
ngx_http_aoai_aad_store(ngx_http_aoai_aad_identity_t *identity,
    aad_token_t *token)
{
    int64_t                      now;
    ngx_int_t                    rc;
    aad_schedule_t               schedule;
    ngx_slab_pool_t             *shpool;
    ngx_http_aoai_aad_slot_t    *slot;
    ngx_http_aoai_aad_token_t   *t;
    ngx_http_aoai_aad_record_t  *record;

    slot = identity->slot;
    now = ngx_http_aoai_aad_wall_msec();

    schedule = aad_schedule(ngx_max(token->expires_on * 1000 - now, 0),
                            token->refresh_in, (uint32_t) ngx_random());

    shpool = ngx_http_aoai_aad_lock(identity);

    rc = ngx_http_aoai_aad_owns_slot(identity)
         && (slot->lease == ngx_pid || slot->generation == 0
             || token->expires_on
                > slot->record[slot->current].token.expires_on)
         ? NGX_OK : NGX_DECLINED;

    if (rc == NGX_OK) {
        record = &slot->record[!slot->current];
        t = &record->token;

        t->expires_on = (time_t) token->expires_on;
        t->usable_until_wall = now + schedule.usable_ms;
        t->usable_until_msec = ngx_current_msec + schedule.usable_ms;
        t->step = token->step;

        ngx_cpystrn((u_char *) t->credential, (u_char *) token->credential,
                    AAD_ID_BYTES);
        ngx_cpystrn((u_char *) t->client_id, (u_char *) token->client_id,
                    AAD_ID_BYTES);
        ngx_cpystrn((u_char *) t->object_id, (u_char *) token->object_id,
                    AAD_ID_BYTES);
        ngx_cpystrn((u_char *) t->tenant_id, (u_char *) token->tenant_id,
                    AAD_ID_BYTES);

        record->length = token->access_token.length;
        ngx_memcpy(record->data, token->access_token.data, record->length);

        slot->refresh_at = ngx_current_msec + schedule.refresh_ms;
        slot->failures = 0;
        slot->tries = 0;
        slot->failure_logged = 0;

        if (slot->lease == ngx_pid) {
            slot->lease = 0;
        }

        slot->current = !slot->current;
        slot->generation++;

        ngx_explicit_memzero(slot->record[!slot->current].data,
                             slot->record[!slot->current].length);
    }

    ngx_shmtx_unlock(&shpool->mutex);

    return rc;
}


/*
 * Counts a failed fetch, plans the next one, and gives the right to fetch
 * back; where another worker took the right over, its result counts.  Returns
 * true when it is time for a line in the error log: at the first failure, and
 * every hour.
 */
ngx_uint_t
ngx_http_aoai_aad_failed(ngx_http_aoai_aad_identity_t *identity,
    int retry_after)
{
    ngx_uint_t                  log, has_token;
    ngx_msec_t                  delay;
    ngx_slab_pool_t            *shpool;
    ngx_http_aoai_aad_slot_t   *slot;
    ngx_http_aoai_aad_token_t  *token;

    slot = identity->slot;

    shpool = ngx_http_aoai_aad_lock(identity);

    if (!ngx_http_aoai_aad_owns_slot(identity) || slot->lease != ngx_pid) {
        ngx_shmtx_unlock(&shpool->mutex);
        return 0;
    }

    token = &slot->record[slot->current].token;
    has_token = slot->generation && ngx_http_aoai_aad_usable(token);

    /* the patience with a service is another one when nothing is left */

    if (slot->failed_with_token != has_token) {
        slot->failed_with_token = has_token;
        slot->tries = 0;
    }

    slot->failures++;
    slot->tries++;

    delay = (ngx_msec_t) aad_retry_ms((unsigned) slot->tries, has_token,
                                      retry_after);

    if (has_token) {
        delay = ngx_min(delay, token->usable_until_msec - ngx_current_msec);
    }

    slot->refresh_at = ngx_current_msec + delay;
    slot->lease = 0;

    log = slot->failure_logged == 0
          || ngx_time() - slot->failure_logged >= 3600
          || ngx_time() < slot->failure_logged;

    if (log) {
        slot->failure_logged = ngx_time();
    }

    ngx_shmtx_unlock(&shpool->mutex);

    return log;
}


/* Milliseconds until the next fetch may start, 0: now. */
ngx_msec_t
ngx_http_aoai_aad_retry_msec(ngx_http_aoai_aad_identity_t *identity)
{
    ngx_msec_int_t    left;
    ngx_slab_pool_t  *shpool;

    shpool = ngx_http_aoai_aad_lock(identity);

    left = (ngx_msec_int_t) (identity->slot->refresh_at - ngx_current_msec);

    ngx_shmtx_unlock(&shpool->mutex);

    return left > 0 ? (ngx_msec_t) left : 0;
}


/* the pool's own mutex: the master unlocks it when its holder dies */
static ngx_slab_pool_t *
ngx_http_aoai_aad_lock(ngx_http_aoai_aad_identity_t *identity)
{
    ngx_slab_pool_t  *shpool;

    shpool = identity->shpool;

    ngx_shmtx_lock(&shpool->mutex);

    return shpool;
}


/* a worker that was killed gives nothing back */
static ngx_int_t
ngx_http_aoai_aad_is_alive(ngx_pid_t pid)
{
    return kill(pid, 0) == 0 || ngx_errno != NGX_ESRCH;
}


/* false for a worker of an old configuration, whose slot was given away */
static ngx_int_t
ngx_http_aoai_aad_owns_slot(ngx_http_aoai_aad_identity_t *identity)
{
    return ngx_memcmp(identity->slot->digest, identity->digest,
                      AAD_DIGEST_BYTES)
           == 0;
}


/* Wipes the worker's copy. */
void
ngx_http_aoai_aad_forget(ngx_http_aoai_aad_identity_t *identity)
{
    if (identity->header.data) {
        ngx_explicit_memzero(identity->header.data, identity->header.len);
        ngx_free(identity->header.data);
        ngx_str_null(&identity->header);
    }

    identity->generation = 0;
}


static int64_t
ngx_http_aoai_aad_wall_msec(void)
{
    ngx_time_t  *tp;

    tp = ngx_timeofday();

    return (int64_t) tp->sec * 1000 + tp->msec;
}


/* either clock may be the one that was set, or that stood still */
static ngx_int_t
ngx_http_aoai_aad_usable(ngx_http_aoai_aad_token_t *token)
{
    return ngx_http_aoai_aad_wall_msec() < token->usable_until_wall
           && (ngx_msec_int_t) (token->usable_until_msec - ngx_current_msec)
              > 0;
}


static ngx_int_t
ngx_http_aoai_aad_copy(ngx_http_aoai_aad_identity_t *identity)
{
    u_char                      *p;
    size_t                       length;
    ngx_slab_pool_t             *shpool;
    ngx_http_aoai_aad_slot_t    *slot;
    ngx_http_aoai_aad_record_t  *record;

    static const char  name[] = "Authorization: Bearer ";

    slot = identity->slot;

    ngx_http_aoai_aad_forget(identity);

    shpool = ngx_http_aoai_aad_lock(identity);

    if (slot->generation == 0 || !ngx_http_aoai_aad_owns_slot(identity)) {
        ngx_shmtx_unlock(&shpool->mutex);
        return NGX_DECLINED;
    }

    record = &slot->record[slot->current];

    length = sizeof(name) - 1 + record->length + sizeof(CRLF) - 1;

    p = ngx_alloc(length, ngx_cycle->log);

    if (p) {
        identity->header.data = p;
        identity->header.len = length;

        p = ngx_cpymem(p, name, sizeof(name) - 1);
        p = ngx_cpymem(p, record->data, record->length);
        *p++ = CR; *p++ = LF;

        identity->token = record->token;
        identity->generation = slot->generation;
    }

    ngx_shmtx_unlock(&shpool->mutex);

    return p ? NGX_OK : NGX_ERROR;
}
