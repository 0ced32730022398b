
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * Tokens in shared memory: one slot an identity, kept across reloads, and
 * each worker's copy of what is in it.  Nothing here fetches.
 */


#include "ngx_http_aoai_aad.h"

#include <sys/mman.h>


/* what a fetch may take beyond its deadline, to end and to be told */
#define NGX_HTTP_AOAI_AAD_LEASE_GRACE_MSEC  1000


static ngx_int_t ngx_http_aoai_aad_init_zone(ngx_shm_zone_t *zone,
    void *data);
static void ngx_http_aoai_aad_wipe(ngx_http_aoai_aad_slot_t *slot);
static ngx_http_aoai_aad_slot_t *ngx_http_aoai_aad_find_slot(
    ngx_http_aoai_aad_shared_t *shared, u_char *digest);
static ngx_http_aoai_aad_slot_t *ngx_http_aoai_aad_add_slot(
    ngx_slab_pool_t *shpool, ngx_http_aoai_aad_shared_t *shared);
static void ngx_http_aoai_aad_describe(ngx_http_aoai_aad_token_t *to,
    aad_token_t *from);
static void ngx_http_aoai_aad_keep_report(
    ngx_http_aoai_aad_identity_t *identity, ngx_http_aoai_aad_state_t *state,
    aad_report_t *report, size_t only);
static ngx_int_t ngx_http_aoai_aad_lock(
    ngx_http_aoai_aad_identity_t *identity, ngx_http_aoai_aad_state_t *state);
static void ngx_http_aoai_aad_unlock(ngx_http_aoai_aad_identity_t *identity,
    ngx_http_aoai_aad_state_t *state);
static void ngx_http_aoai_aad_commit(ngx_http_aoai_aad_slot_t *slot,
    ngx_http_aoai_aad_state_t *state);
static ngx_int_t ngx_http_aoai_aad_copy(
    ngx_http_aoai_aad_identity_t *identity);
static void ngx_http_aoai_aad_set_usable(
    ngx_http_aoai_aad_identity_t *identity);
static ngx_int_t ngx_http_aoai_aad_copy_key_set(
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

        ngx_http_aoai_aad_keep_out_of_dumps(zone);
    }

    shpool->log_nomem = 0;
    amcf->totals = &shared->totals;

    identity = amcf->fetched.elts;

    /* first those that are there, lest their slots be taken for new ones */

    for (i = 0; i < amcf->fetched.nelts; i++) {

        identity[i]->shpool = shpool;

        slot = ngx_http_aoai_aad_find_slot(shared, identity[i]->digest);

        if (slot) {
            identity[i]->slot = slot;
        }
    }

    for (i = 0; i < amcf->fetched.nelts; i++) {

        if (identity[i]->slot) {
            continue;
        }

        slot = ngx_http_aoai_aad_add_slot(shpool, shared);

        if (slot == NULL) {
            ngx_log_error(NGX_LOG_EMERG, zone->shm.log, 0,
                          "\"aoai_aad_cache_size\" is too small for %ui "
                          "identities, make it at least %uzk",
                          amcf->fetched.nelts,
                          (amcf->fetched.nelts + 4)
                          * (sizeof(ngx_http_aoai_aad_slot_t) / 1024 + 8));
            return NGX_ERROR;
        }

        ngx_memcpy(slot->digest, identity[i]->digest, AAD_DIGEST_BYTES);
        slot->configuration = shared->configuration;
        identity[i]->slot = slot;
    }

    return NGX_OK;
}


/* a core file of a worker shall hold no token of the others */
void
ngx_http_aoai_aad_keep_out_of_dumps(ngx_shm_zone_t *zone)
{
#ifdef MADV_DONTDUMP
    (void) madvise(zone->shm.addr, zone->shm.size, MADV_DONTDUMP);
#endif
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

    if (amcf == NULL || amcf->fetched.nelts == 0) {
        return NGX_OK;
    }

    identity = amcf->fetched.elts;
    shpool = identity[0]->shpool;
    shared = shpool->data;

    ngx_shmtx_lock(&shpool->mutex);

    shared->configuration++;

    for (i = 0; i < amcf->fetched.nelts; i++) {
        identity[i]->slot->configuration = shared->configuration;
    }

    for (q = ngx_queue_head(&shared->slots);
         q != ngx_queue_sentinel(&shared->slots);
         q = ngx_queue_next(q))
    {
        slot = ngx_queue_data(q, ngx_http_aoai_aad_slot_t, queue);

        if (slot->configuration + 1 < shared->configuration) {
            ngx_http_aoai_aad_wipe(slot);
        }
    }

    ngx_shmtx_unlock(&shpool->mutex);

    return NGX_OK;
}


/* as if there had never been a token */
static void
ngx_http_aoai_aad_wipe(ngx_http_aoai_aad_slot_t *slot)
{
    ngx_http_aoai_aad_state_t  empty;

    ngx_memzero(&empty, sizeof(ngx_http_aoai_aad_state_t));

    ngx_http_aoai_aad_commit(slot, &empty);

    ngx_explicit_memzero(slot->record, sizeof(slot->record));

    ngx_memzero(slot->report, sizeof(slot->report));
    ngx_memzero(&slot->counters, sizeof(ngx_http_aoai_aad_counters_t));
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


/* ngx_http_aoai_aad_has_token(), when it is not plain to see. */
ngx_int_t
ngx_http_aoai_aad_look(ngx_http_aoai_aad_identity_t *identity)
{
    aad_moment_t  now;

    if (identity->slot->sequence != identity->sequence
        && ngx_http_aoai_aad_copy(identity) != NGX_OK)
    {
        return 0;
    }

    if (identity->line == NULL && identity->key_set == NULL) {
        return 0;
    }

    ngx_http_aoai_aad_moment(&now);

    return aad_life_usable(&identity->life, &now);
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
    int64_t                     delay_ms;
    aad_turn_t                  turn;
    aad_moment_t                now;
    ngx_http_aoai_aad_state_t   state;

    if (ngx_http_aoai_aad_lock(identity, &state) != NGX_OK) {
        *delay = NGX_MAX_INT32_VALUE;
        return NGX_DECLINED;
    }

    if (state.life.lease
        && !ngx_http_aoai_aad_is_alive((ngx_pid_t) state.life.lease))
    {
        state.life.lease = 0;
    }

    ngx_http_aoai_aad_moment(&now);

    turn = aad_life_lease(&state.life, &now, ngx_pid,
                          (int64_t) identity->timeout
                          + NGX_HTTP_AOAI_AAD_LEASE_GRACE_MSEC,
                          &delay_ms);

    ngx_http_aoai_aad_unlock(identity,
                             turn == AAD_TURN_OURS ? &state : NULL);

    *delay = (ngx_msec_t) ngx_min(delay_ms, NGX_MAX_INT32_VALUE);

    return turn == AAD_TURN_OURS ? NGX_OK
           : turn == AAD_TURN_OTHERS ? NGX_AGAIN : NGX_DECLINED;
}


/* Gives the right to fetch back unused; harmless for who does not have it. */
void
ngx_http_aoai_aad_release(ngx_http_aoai_aad_identity_t *identity)
{
    ngx_http_aoai_aad_state_t  state;

    if (ngx_http_aoai_aad_lock(identity, &state) == NGX_OK) {
        aad_life_release(&state.life, ngx_pid);
        ngx_http_aoai_aad_unlock(identity, &state);
    }
}


/*
 * Publishes a fetched token and gives the right to fetch back.  Returns
 * NGX_OK, or NGX_DECLINED when it comes too late: another worker, which took
 * the right over, has put in a better one, or the slot is another identity's.
 */
ngx_int_t
ngx_http_aoai_aad_store(ngx_http_aoai_aad_identity_t *identity,
    aad_token_t *token, aad_report_t *report, size_t only)
{
    aad_moment_t                 now;
    ngx_http_aoai_aad_slot_t    *slot;
    ngx_http_aoai_aad_state_t    state;
    ngx_http_aoai_aad_record_t  *record, *previous;

    if (ngx_http_aoai_aad_lock(identity, &state) != NGX_OK) {
        return NGX_DECLINED;
    }

    ngx_http_aoai_aad_moment(&now);

    if (!aad_life_store(&state.life, &now, ngx_pid, token->expires_on,
                        token->refresh_in, aad_random()))
    {
        ngx_http_aoai_aad_unlock(identity, NULL);
        return NGX_DECLINED;
    }

    slot = identity->slot;
    previous = &slot->record[state.record];

    state.tokens++;
    state.record = !state.record;
    state.fetched = ngx_time();
    state.failing_since = 0;
    state.failure_logged = 0;

    ngx_http_aoai_aad_keep_report(identity, &state, report, only);

    record = &slot->record[state.record];

    ngx_http_aoai_aad_describe(&record->token, token);

    record->length = token->access_token.length;
    ngx_memcpy(record->data, token->access_token.data, record->length);

    ngx_http_aoai_aad_commit(slot, &state);

    ngx_explicit_memzero(previous->data, previous->length);

    ngx_http_aoai_aad_unlock(identity, NULL);

    return NGX_OK;
}


static void
ngx_http_aoai_aad_describe(ngx_http_aoai_aad_token_t *to, aad_token_t *from)
{
    to->expires_on = (time_t) from->expires_on;
    to->step = from->step;

    ngx_cpystrn((u_char *) to->credential, (u_char *) from->credential,
                AAD_ID_BYTES);
    ngx_cpystrn((u_char *) to->client_id, (u_char *) from->client_id,
                AAD_ID_BYTES);
    ngx_cpystrn((u_char *) to->object_id, (u_char *) from->object_id,
                AAD_ID_BYTES);
    ngx_cpystrn((u_char *) to->tenant_id, (u_char *) from->tenant_id,
                AAD_ID_BYTES);
}


/*
 * Counts a failed fetch, plans the next one, and gives the right to fetch
 * back; where another worker took the right over, its result counts.  Returns
 * true when it is time for a line in the error log: at the first failure, at
 * the first without a token, and every hour.
 */
ngx_uint_t
ngx_http_aoai_aad_failed(ngx_http_aoai_aad_identity_t *identity,
    int retry_after, aad_report_t *report, size_t only)
{
    ngx_uint_t                 log;
    aad_moment_t               now;
    ngx_http_aoai_aad_state_t  state;

    if (ngx_http_aoai_aad_lock(identity, &state) != NGX_OK) {
        return 0;
    }

    ngx_http_aoai_aad_moment(&now);

    if (!aad_life_failed(&state.life, &now, ngx_pid, retry_after,
                         aad_random()))
    {
        ngx_http_aoai_aad_unlock(identity, NULL);
        return 0;
    }

    if (state.life.failures == 1) {
        state.failing_since = ngx_time();
    }

    if (report) {
        ngx_http_aoai_aad_keep_report(identity, &state, report, only);
    }

    /* that the token is gone now is news, too */

    if (state.life.tries == 1) {
        state.failure_logged = 0;
    }

    log = ngx_http_aoai_aad_log_due(&state.failure_logged);

    ngx_http_aoai_aad_unlock(identity, &state);

    return log;
}


/* It is in force with the state. */
static void
ngx_http_aoai_aad_keep_report(ngx_http_aoai_aad_identity_t *identity,
    ngx_http_aoai_aad_state_t *state, aad_report_t *report, size_t only)
{
    ngx_http_aoai_aad_report_t  *reports;

    reports = identity->slot->report;

    ngx_http_aoai_aad_write_report(identity, &reports[!state->report],
                                   &reports[state->report], report, only);

    state->report = !state->report;
}


/*
 * The upstream refused the token.  Returns NGX_OK when a refresh is due for
 * that, else NGX_DECLINED.
 */
ngx_int_t
ngx_http_aoai_aad_suspect(ngx_http_aoai_aad_identity_t *identity)
{
    ngx_int_t                  rc;
    aad_moment_t               now;
    ngx_http_aoai_aad_state_t  state;

    if (ngx_http_aoai_aad_lock(identity, &state) != NGX_OK) {
        return NGX_DECLINED;
    }

    ngx_http_aoai_aad_moment(&now);

    rc = aad_life_suspect(&state.life, &now) ? NGX_OK : NGX_DECLINED;

    ngx_http_aoai_aad_unlock(identity, rc == NGX_OK ? &state : NULL);

    return rc;
}


/* Returns true when it is time to say that the identity lacks a role. */
ngx_uint_t
ngx_http_aoai_aad_denied(ngx_http_aoai_aad_identity_t *identity)
{
    ngx_uint_t                 log;
    ngx_http_aoai_aad_state_t  state;

    if (ngx_http_aoai_aad_lock(identity, &state) != NGX_OK) {
        return 0;
    }

    log = ngx_http_aoai_aad_log_due(&state.denial_logged);

    ngx_http_aoai_aad_unlock(identity, log ? &state : NULL);

    return log;
}


/* at the first time, and every hour */
ngx_uint_t
ngx_http_aoai_aad_log_due(time_t *logged)
{
    time_t  now;

    now = ngx_time();

    if (*logged && now >= *logged && now - *logged < 3600) {
        return 0;
    }

    *logged = now;

    return 1;
}


/* Milliseconds until the next fetch may start, 0: now. */
ngx_msec_t
ngx_http_aoai_aad_retry_msec(ngx_http_aoai_aad_identity_t *identity)
{
    int64_t                    left_ms;
    aad_moment_t               now;
    ngx_http_aoai_aad_state_t  state;

    if (ngx_http_aoai_aad_lock(identity, &state) != NGX_OK) {
        return 0;
    }

    ngx_http_aoai_aad_unlock(identity, NULL);

    ngx_http_aoai_aad_moment(&now);

    left_ms = state.life.refresh_at_ms - now.monotonic_ms;

    return left_ms > 0 ? (ngx_msec_t) left_ms : 0;
}


/* Returns NGX_DECLINED where the slot is another identity's by now. */
ngx_int_t
ngx_http_aoai_aad_snapshot(ngx_http_aoai_aad_identity_t *identity,
    ngx_http_aoai_aad_snapshot_t *snapshot)
{
    ngx_http_aoai_aad_slot_t  *slot;

    if (ngx_http_aoai_aad_lock(identity, &snapshot->state) != NGX_OK) {
        return NGX_DECLINED;
    }

    slot = identity->slot;

    snapshot->token = slot->record[snapshot->state.record].token;
    snapshot->report = slot->report[snapshot->state.report];
    snapshot->counters = slot->counters;

    ngx_http_aoai_aad_unlock(identity, NULL);

    return NGX_OK;
}


/*
 * The pool's own mutex: the master unlocks it when its holder dies.  'state'
 * gets the one in force.  Returns NGX_DECLINED, and locks nothing, in a worker
 * of an old configuration whose slot was given away.
 */
static ngx_int_t
ngx_http_aoai_aad_lock(ngx_http_aoai_aad_identity_t *identity,
    ngx_http_aoai_aad_state_t *state)
{
    ngx_http_aoai_aad_slot_t  *slot;

    slot = identity->slot;

    ngx_shmtx_lock(&identity->shpool->mutex);

    if (ngx_memcmp(slot->digest, identity->digest, AAD_DIGEST_BYTES) != 0) {
        ngx_shmtx_unlock(&identity->shpool->mutex);
        return NGX_DECLINED;
    }

    *state = slot->state[slot->sequence & 1];

    return NGX_OK;
}


/* Unlocks, after a change if there was one; else 'state' is NULL. */
static void
ngx_http_aoai_aad_unlock(ngx_http_aoai_aad_identity_t *identity,
    ngx_http_aoai_aad_state_t *state)
{
    if (state) {
        ngx_http_aoai_aad_commit(identity->slot, state);
    }

    ngx_shmtx_unlock(&identity->shpool->mutex);
}


static void
ngx_http_aoai_aad_commit(ngx_http_aoai_aad_slot_t *slot,
    ngx_http_aoai_aad_state_t *state)
{
    slot->state[!(slot->sequence & 1)] = *state;

    ngx_memory_barrier();

    slot->sequence++;
}


/* a worker that was killed gives nothing back */
ngx_uint_t
ngx_http_aoai_aad_is_alive(ngx_pid_t pid)
{
    return kill(pid, 0) == 0 || ngx_errno != NGX_ESRCH;
}


/* Wipes the worker's copy. */
void
ngx_http_aoai_aad_forget(ngx_http_aoai_aad_identity_t *identity)
{
    aad_key_set_destroy(identity->key_set);
    identity->key_set = NULL;

    identity->usable_until = 0;

    if (identity->line) {
        ngx_http_aoai_aad_release_line(identity->line);
        identity->line = NULL;
    }
}


/* One use less. */
void
ngx_http_aoai_aad_release_line(ngx_http_aoai_aad_line_t *line)
{
    if (--line->uses == 0) {
        ngx_explicit_memzero(line->data, line->length);
        ngx_free(line);
    }
}


/* by the clocks that nginx has read already */
void
ngx_http_aoai_aad_moment(aad_moment_t *now)
{
    ngx_time_t  *tp;

    tp = ngx_timeofday();

    now->wall_ms = (int64_t) tp->sec * 1000 + tp->msec;
    now->monotonic_ms = (int64_t) ngx_current_msec;
}


/* Copies what is new in the slot; a sequence copied once is not again. */
static ngx_int_t
ngx_http_aoai_aad_copy(ngx_http_aoai_aad_identity_t *identity)
{
    u_char                      *p;
    size_t                       length;
    ngx_http_aoai_aad_line_t    *line;
    ngx_http_aoai_aad_state_t    state;
    ngx_http_aoai_aad_record_t  *record;

    if (identity->tenant_id) {
        return ngx_http_aoai_aad_copy_key_set(identity);
    }

    ngx_http_aoai_aad_forget(identity);

    if (ngx_http_aoai_aad_lock(identity, &state) != NGX_OK) {
        return NGX_DECLINED;
    }

    identity->sequence = identity->slot->sequence;
    identity->life = state.life;
    identity->tokens = state.tokens;

    record = &identity->slot->record[state.record];

    if (record->length == 0) {
        ngx_http_aoai_aad_unlock(identity, NULL);
        return NGX_OK;
    }

    length = NGX_HTTP_AOAI_AAD_LINE_BYTES + record->length;

    line = ngx_alloc(sizeof(ngx_http_aoai_aad_line_t) + length,
                     ngx_cycle->log);

    if (line) {
        p = ngx_http_aoai_aad_write_line(line->data, record->data,
                                         record->length);
        line->uses = 1;
        line->length = p - line->data;

        identity->line = line;
        identity->token = record->token;
        ngx_http_aoai_aad_set_usable(identity);
    }

    ngx_http_aoai_aad_unlock(identity, NULL);

    return line ? NGX_OK : NGX_ERROR;
}


/* Writes the end of a head with the token.  Returns where it ends. */
u_char *
ngx_http_aoai_aad_write_line(u_char *p, u_char *token, size_t length)
{
    p = ngx_cpymem(p, NGX_HTTP_AOAI_AAD_LINE,
                   sizeof(NGX_HTTP_AOAI_AAD_LINE) - 1);
    p = ngx_cpymem(p, token, length);

    return ngx_cpymem(p, CRLF CRLF, sizeof(CRLF CRLF) - 1);
}


/* in the units of the clocks that nginx has read already */
static void
ngx_http_aoai_aad_set_usable(ngx_http_aoai_aad_identity_t *identity)
{
    identity->usable_until = (ngx_msec_t)
                             ngx_max(identity->life.usable_until_ms, 0);
    identity->usable_until_sec = (time_t)
                             (identity->life.usable_until_wall_ms / 1000);
}


/* It is read again when there is a new one only, and without the lock. */
static ngx_int_t
ngx_http_aoai_aad_copy_key_set(ngx_http_aoai_aad_identity_t *identity)
{
    u_char                      *document;
    size_t                       length;
    ngx_int_t                    rc;
    ngx_uint_t                   tokens;
    ngx_http_aoai_aad_state_t    state;
    ngx_http_aoai_aad_record_t  *record;

    document = ngx_alloc(AAD_KEY_SET_BYTES_MAX, ngx_cycle->log);
    if (document == NULL) {
        return NGX_ERROR;
    }

    if (ngx_http_aoai_aad_lock(identity, &state) != NGX_OK) {
        ngx_free(document);
        ngx_http_aoai_aad_forget(identity);
        return NGX_DECLINED;
    }

    tokens = identity->tokens;

    identity->sequence = identity->slot->sequence;
    identity->life = state.life;
    identity->tokens = state.tokens;

    record = &identity->slot->record[state.record];

    length = record->length;
    ngx_memcpy(document, record->data, length);

    ngx_http_aoai_aad_unlock(identity, NULL);

    rc = NGX_OK;

    if (identity->tokens != tokens) {
        rc = ngx_http_aoai_aad_read_key_set(identity, document, length);
    }

    if (identity->key_set) {
        ngx_http_aoai_aad_set_usable(identity);
    }

    ngx_free(document);

    return rc;
}
