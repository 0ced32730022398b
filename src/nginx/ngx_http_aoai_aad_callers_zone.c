
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * What is known of callers, in a zone of its own: that a token of theirs is
 * valid, or what it was exchanged for.  It is found by the token's SHA-256 and
 * by what was asked of it; what was used least recently goes first.
 *
 * The zone is cut into blocks.  An entry is one of them and, where its data
 * does not fit, a chain of others; blocks are named by number, and 0 is none.
 */


#include "ngx_http_aoai_aad_callers.h"


#define NGX_HTTP_AOAI_AAD_BLOCK_BYTES   512

/* an access token without a list of groups: for this many is the capacity */
#define NGX_HTTP_AOAI_AAD_USUAL_BYTES   2048


typedef struct {
    uint32_t                        next;
    u_char                          data[NGX_HTTP_AOAI_AAD_BLOCK_BYTES
                                         - sizeof(uint32_t)];
} ngx_http_aoai_aad_block_t;


typedef struct {
    uint32_t                        more;       /* the data's next block */
    uint32_t                        next;       /* in its bucket */
    uint32_t                        newer;
    uint32_t                        older;
    uint32_t                        length;     /* of the data */
    ngx_pid_t                       fetching;   /* a worker, 0: nobody */
    ngx_msec_t                      fetching_until;
    ngx_http_aoai_aad_caller_key_t  key;
    ngx_http_aoai_aad_known_t       known;
} ngx_http_aoai_aad_entry_t;


/* in the entry's own block, behind it */
#define NGX_HTTP_AOAI_AAD_OWN_BYTES                                           \
    (NGX_HTTP_AOAI_AAD_BLOCK_BYTES - sizeof(ngx_http_aoai_aad_entry_t))


typedef struct {
    ngx_uint_t                      writing;    /* left so by a worker that
                                                   was killed meanwhile */
    uint32_t                        newest;
    uint32_t                        oldest;
    uint32_t                        entries;
    uint32_t                        blocks;
    uint32_t                        used;       /* blocks ever */
    uint32_t                        free;       /* of them, a list */
    uint32_t                        room;       /* free blocks, and unused */
    uint32_t                        mask;       /* of the buckets */
    uint32_t                       *buckets;
    u_char                         *base;
} ngx_http_aoai_aad_callers_shared_t;


struct ngx_http_aoai_aad_callers_s {
    ngx_slab_pool_t                      *shpool;
    ngx_http_aoai_aad_callers_shared_t   *shared;
    ngx_http_aoai_aad_main_conf_t        *conf;
};


static ngx_int_t ngx_http_aoai_aad_init_callers(ngx_shm_zone_t *zone,
    void *data);
static ngx_http_aoai_aad_callers_shared_t *ngx_http_aoai_aad_lay_out(
    ngx_slab_pool_t *shpool);
static void ngx_http_aoai_aad_lock_callers(
    ngx_http_aoai_aad_callers_t *callers);
static void ngx_http_aoai_aad_begin(ngx_http_aoai_aad_callers_t *callers);
static void ngx_http_aoai_aad_end(ngx_http_aoai_aad_callers_t *callers);
static void ngx_http_aoai_aad_unlock_callers(
    ngx_http_aoai_aad_callers_t *callers);
static void ngx_http_aoai_aad_clear(
    ngx_http_aoai_aad_callers_shared_t *shared);
static uint32_t ngx_http_aoai_aad_find(
    ngx_http_aoai_aad_callers_shared_t *shared,
    ngx_http_aoai_aad_caller_key_t *key);
static uint32_t *ngx_http_aoai_aad_bucket(
    ngx_http_aoai_aad_callers_shared_t *shared,
    ngx_http_aoai_aad_caller_key_t *key);
static ngx_http_aoai_aad_entry_t *ngx_http_aoai_aad_add_entry(
    ngx_http_aoai_aad_callers_t *callers, ngx_http_aoai_aad_caller_key_t *key,
    ngx_str_t *data);
static void ngx_http_aoai_aad_make_room(ngx_http_aoai_aad_callers_t *callers,
    uint32_t blocks);
static void ngx_http_aoai_aad_remove_entry(
    ngx_http_aoai_aad_callers_shared_t *shared, uint32_t number);
static void ngx_http_aoai_aad_link(ngx_http_aoai_aad_callers_shared_t *shared,
    uint32_t number);
static void ngx_http_aoai_aad_unlink(
    ngx_http_aoai_aad_callers_shared_t *shared, uint32_t number);
static uint32_t ngx_http_aoai_aad_take_block(
    ngx_http_aoai_aad_callers_shared_t *shared);
static void ngx_http_aoai_aad_free_block(
    ngx_http_aoai_aad_callers_shared_t *shared, uint32_t number);
static ngx_inline void *ngx_http_aoai_aad_at(
    ngx_http_aoai_aad_callers_shared_t *shared, uint32_t number);
static uint32_t ngx_http_aoai_aad_blocks(size_t length);
static void ngx_http_aoai_aad_write_data(
    ngx_http_aoai_aad_callers_shared_t *shared,
    ngx_http_aoai_aad_entry_t *entry, ngx_str_t *data);
static ngx_int_t ngx_http_aoai_aad_read_data(
    ngx_http_aoai_aad_callers_shared_t *shared,
    ngx_http_aoai_aad_entry_t *entry, ngx_pool_t *pool, ngx_str_t *data);
static ngx_uint_t ngx_http_aoai_aad_is_fetching(
    ngx_http_aoai_aad_entry_t *entry);


ngx_int_t
ngx_http_aoai_aad_add_callers_zone(ngx_conf_t *cf,
    ngx_http_aoai_aad_main_conf_t *amcf)
{
    ngx_str_t        name = ngx_string("aoai_aad_callers");
    ngx_shm_zone_t  *zone;

    amcf->callers = ngx_pcalloc(cf->pool, sizeof(ngx_http_aoai_aad_callers_t));
    if (amcf->callers == NULL) {
        return NGX_ERROR;
    }

    amcf->callers->conf = amcf;

    zone = ngx_shared_memory_add(cf, &name, amcf->cache_size,
                                 &ngx_http_aoai_aad_module);
    if (zone == NULL) {
        return NGX_ERROR;
    }

    zone->init = ngx_http_aoai_aad_init_callers;
    zone->data = amcf->callers;

    return NGX_OK;
}


/* The counters are in the other zone, which comes before this one. */
static ngx_int_t
ngx_http_aoai_aad_init_callers(ngx_shm_zone_t *zone, void *data)
{
    ngx_slab_pool_t                      *shpool;
    ngx_http_aoai_aad_callers_t          *callers;
    ngx_http_aoai_aad_callers_shared_t   *shared;
    ngx_http_aoai_aad_behalf_counters_t  *counters;

    callers = zone->data;
    shpool = (ngx_slab_pool_t *) zone->shm.addr;
    shared = shpool->data;

    if (shared == NULL) {

        ngx_http_aoai_aad_keep_out_of_dumps(zone);

        shared = ngx_http_aoai_aad_lay_out(shpool);
        if (shared == NULL) {
            return NGX_ERROR;
        }

        shpool->data = shared;
    }

    callers->shpool = shpool;
    callers->shared = shared;

    counters = &callers->conf->totals->behalf;

    counters->entries = shared->entries;
    counters->capacity = shared->blocks
             / (1 + ngx_http_aoai_aad_blocks(NGX_HTTP_AOAI_AAD_USUAL_BYTES));

    return NGX_OK;
}


/* All of the zone is taken at once, in blocks but for their directory. */
static ngx_http_aoai_aad_callers_shared_t *
ngx_http_aoai_aad_lay_out(ngx_slab_pool_t *shpool)
{
    size_t                               size;
    ngx_http_aoai_aad_callers_shared_t  *shared;

    shpool->log_nomem = 0;

    shared = ngx_slab_calloc(shpool,
                             sizeof(ngx_http_aoai_aad_callers_shared_t));
    if (shared == NULL) {
        return NULL;
    }

    /* an entry has some four blocks, and no more than one in a full zone is
       to be looked at on the way to another */

    size = shpool->pfree * ngx_pagesize / NGX_HTTP_AOAI_AAD_BLOCK_BYTES / 4;

    for (shared->mask = 1; shared->mask < size; shared->mask *= 2) {
        /* void */
    }

    shared->buckets = ngx_slab_calloc(shpool,
                                      shared->mask * sizeof(uint32_t));
    shared->mask--;

    size = shpool->pfree * ngx_pagesize;

    shared->base = size ? ngx_slab_alloc(shpool, size) : NULL;

    if (shared->buckets == NULL || shared->base == NULL) {
        return NULL;
    }

    shared->blocks = size / NGX_HTTP_AOAI_AAD_BLOCK_BYTES;
    shared->room = shared->blocks;

    return shared;
}


ngx_int_t
ngx_http_aoai_aad_recall(ngx_http_aoai_aad_callers_t *callers,
    ngx_http_aoai_aad_caller_key_t *key, ngx_http_aoai_aad_known_t *known,
    ngx_pool_t *pool, ngx_str_t *data, ngx_msec_t fetching_msec)
{
    uint32_t                             number;
    ngx_int_t                            rc;
    ngx_http_aoai_aad_entry_t           *entry;
    ngx_http_aoai_aad_callers_shared_t  *shared;

    ngx_http_aoai_aad_lock_callers(callers);

    shared = callers->shared;
    rc = NGX_DECLINED;

    number = ngx_http_aoai_aad_find(shared, key);
    entry = number ? ngx_http_aoai_aad_at(shared, number) : NULL;

    if (number && ngx_time() < entry->known.expires_on) {

        *known = entry->known;

        rc = data ? ngx_http_aoai_aad_read_data(shared, entry, pool, data)
                  : NGX_OK;

        if (rc == NGX_OK && shared->newest != number) {
            ngx_http_aoai_aad_begin(callers);
            ngx_http_aoai_aad_unlink(shared, number);
            ngx_http_aoai_aad_link(shared, number);
            ngx_http_aoai_aad_end(callers);
        }

    } else if (number && ngx_http_aoai_aad_is_fetching(entry)) {
        rc = NGX_BUSY;

    } else if (number || fetching_msec) {
        ngx_http_aoai_aad_begin(callers);

        if (number) {
            ngx_http_aoai_aad_remove_entry(shared, number);
        }

        if (fetching_msec) {
            entry = ngx_http_aoai_aad_add_entry(callers, key, NULL);

            if (entry) {
                entry->fetching = ngx_pid;
                entry->fetching_until = ngx_current_msec + fetching_msec;
            }
        }

        ngx_http_aoai_aad_end(callers);
    }

    ngx_http_aoai_aad_unlock_callers(callers);

    return rc;
}


ngx_uint_t
ngx_http_aoai_aad_is_busy(ngx_http_aoai_aad_callers_t *callers,
    ngx_http_aoai_aad_caller_key_t *key)
{
    uint32_t    number;
    ngx_uint_t  busy;

    ngx_http_aoai_aad_lock_callers(callers);

    number = ngx_http_aoai_aad_find(callers->shared, key);

    busy = number && ngx_http_aoai_aad_is_fetching(
                         ngx_http_aoai_aad_at(callers->shared, number));

    ngx_http_aoai_aad_unlock_callers(callers);

    return busy;
}


void
ngx_http_aoai_aad_remember(ngx_http_aoai_aad_callers_t *callers,
    ngx_http_aoai_aad_caller_key_t *key, ngx_http_aoai_aad_known_t *known,
    ngx_str_t *data)
{
    uint32_t                    number;
    ngx_http_aoai_aad_entry_t  *entry;

    ngx_http_aoai_aad_lock_callers(callers);
    ngx_http_aoai_aad_begin(callers);

    number = ngx_http_aoai_aad_find(callers->shared, key);

    if (number) {
        ngx_http_aoai_aad_remove_entry(callers->shared, number);
    }

    entry = ngx_http_aoai_aad_add_entry(callers, key, data);

    if (entry) {
        entry->known = *known;
    }

    ngx_http_aoai_aad_end(callers);
    ngx_http_aoai_aad_unlock_callers(callers);
}


void
ngx_http_aoai_aad_forget_caller(ngx_http_aoai_aad_callers_t *callers,
    ngx_http_aoai_aad_caller_key_t *key)
{
    uint32_t  number;

    ngx_http_aoai_aad_lock_callers(callers);

    number = ngx_http_aoai_aad_find(callers->shared, key);

    if (number) {
        ngx_http_aoai_aad_begin(callers);
        ngx_http_aoai_aad_remove_entry(callers->shared, number);
        ngx_http_aoai_aad_end(callers);
    }

    ngx_http_aoai_aad_unlock_callers(callers);
}


/*
 * The master unlocks what a killed worker has locked.  What that one was
 * writing is not to be trusted: it is a cache, and begins anew.
 */
static void
ngx_http_aoai_aad_lock_callers(ngx_http_aoai_aad_callers_t *callers)
{
    ngx_shmtx_lock(&callers->shpool->mutex);

    if (callers->shared->writing) {
        ngx_http_aoai_aad_clear(callers->shared);
        ngx_http_aoai_aad_end(callers);
    }
}


static void
ngx_http_aoai_aad_begin(ngx_http_aoai_aad_callers_t *callers)
{
    callers->shared->writing = 1;

    ngx_memory_barrier();
}


static void
ngx_http_aoai_aad_end(ngx_http_aoai_aad_callers_t *callers)
{
    callers->conf->totals->behalf.entries = callers->shared->entries;

    ngx_memory_barrier();

    callers->shared->writing = 0;
}


static void
ngx_http_aoai_aad_unlock_callers(ngx_http_aoai_aad_callers_t *callers)
{
    ngx_shmtx_unlock(&callers->shpool->mutex);
}


static void
ngx_http_aoai_aad_clear(ngx_http_aoai_aad_callers_shared_t *shared)
{
    ngx_memzero(shared->buckets, (shared->mask + 1) * sizeof(uint32_t));

    ngx_explicit_memzero(shared->base, (size_t) shared->used
                                       * NGX_HTTP_AOAI_AAD_BLOCK_BYTES);

    shared->newest = 0;
    shared->oldest = 0;
    shared->entries = 0;
    shared->used = 0;
    shared->free = 0;
    shared->room = shared->blocks;
}


static uint32_t
ngx_http_aoai_aad_find(ngx_http_aoai_aad_callers_shared_t *shared,
    ngx_http_aoai_aad_caller_key_t *key)
{
    uint32_t                    number;
    ngx_http_aoai_aad_entry_t  *entry;

    for (number = *ngx_http_aoai_aad_bucket(shared, key);
         number != 0;
         number = entry->next)
    {
        entry = ngx_http_aoai_aad_at(shared, number);

        if (ngx_memcmp(&entry->key, key,
                       sizeof(ngx_http_aoai_aad_caller_key_t))
            == 0)
        {
            break;
        }
    }

    return number;
}


/* both are SHA-256: any bits of them will do */
static uint32_t *
ngx_http_aoai_aad_bucket(ngx_http_aoai_aad_callers_shared_t *shared,
    ngx_http_aoai_aad_caller_key_t *key)
{
    uint32_t  token, context;

    ngx_memcpy(&token, key->token, sizeof(uint32_t));
    ngx_memcpy(&context, key->context, sizeof(uint32_t));

    return &shared->buckets[(token ^ context) & shared->mask];
}


/* An entry of zeros but for its key and data; NULL when it is too large. */
static ngx_http_aoai_aad_entry_t *
ngx_http_aoai_aad_add_entry(ngx_http_aoai_aad_callers_t *callers,
    ngx_http_aoai_aad_caller_key_t *key, ngx_str_t *data)
{
    uint32_t                             blocks, number, *bucket;
    ngx_http_aoai_aad_entry_t           *entry;
    ngx_http_aoai_aad_callers_shared_t  *shared;

    shared = callers->shared;

    blocks = 1 + (data ? ngx_http_aoai_aad_blocks(data->len) : 0);

    if (blocks > shared->blocks) {
        return NULL;
    }

    ngx_http_aoai_aad_make_room(callers, blocks);

    number = ngx_http_aoai_aad_take_block(shared);
    entry = ngx_http_aoai_aad_at(shared, number);

    ngx_memzero(entry, sizeof(ngx_http_aoai_aad_entry_t));
    entry->key = *key;

    if (data) {
        ngx_http_aoai_aad_write_data(shared, entry, data);
    }

    bucket = ngx_http_aoai_aad_bucket(shared, key);
    entry->next = *bucket;
    *bucket = number;

    ngx_http_aoai_aad_link(shared, number);

    shared->entries++;

    return entry;
}


static void
ngx_http_aoai_aad_make_room(ngx_http_aoai_aad_callers_t *callers,
    uint32_t blocks)
{
    ngx_http_aoai_aad_entry_t           *entry;
    ngx_http_aoai_aad_callers_shared_t  *shared;

    shared = callers->shared;

    while (shared->room < blocks) {

        entry = ngx_http_aoai_aad_at(shared, shared->oldest);

        /* what had run out is no loss */

        if (ngx_time() < entry->known.expires_on) {
            (void) ngx_atomic_fetch_add(
                       &callers->conf->totals->behalf.evictions, 1);
        }

        ngx_http_aoai_aad_remove_entry(shared, shared->oldest);
    }
}


static void
ngx_http_aoai_aad_remove_entry(ngx_http_aoai_aad_callers_shared_t *shared,
    uint32_t number)
{
    uint32_t                   *p, block, next;
    ngx_http_aoai_aad_entry_t  *entry, *other;

    entry = ngx_http_aoai_aad_at(shared, number);

    p = ngx_http_aoai_aad_bucket(shared, &entry->key);

    while (*p != number) {
        other = ngx_http_aoai_aad_at(shared, *p);
        p = &other->next;
    }

    *p = entry->next;

    ngx_http_aoai_aad_unlink(shared, number);

    for (block = entry->more; block != 0; block = next) {
        next = ((ngx_http_aoai_aad_block_t *)
                    ngx_http_aoai_aad_at(shared, block))->next;

        ngx_http_aoai_aad_free_block(shared, block);
    }

    ngx_http_aoai_aad_free_block(shared, number);

    shared->entries--;
}


/* as the newest */
static void
ngx_http_aoai_aad_link(ngx_http_aoai_aad_callers_shared_t *shared,
    uint32_t number)
{
    ngx_http_aoai_aad_entry_t  *entry, *newest;

    entry = ngx_http_aoai_aad_at(shared, number);

    entry->newer = 0;
    entry->older = shared->newest;

    if (shared->newest) {
        newest = ngx_http_aoai_aad_at(shared, shared->newest);
        newest->newer = number;

    } else {
        shared->oldest = number;
    }

    shared->newest = number;
}


static void
ngx_http_aoai_aad_unlink(ngx_http_aoai_aad_callers_shared_t *shared,
    uint32_t number)
{
    ngx_http_aoai_aad_entry_t  *entry, *other;

    entry = ngx_http_aoai_aad_at(shared, number);

    if (entry->newer) {
        other = ngx_http_aoai_aad_at(shared, entry->newer);
        other->older = entry->older;

    } else {
        shared->newest = entry->older;
    }

    if (entry->older) {
        other = ngx_http_aoai_aad_at(shared, entry->older);
        other->newer = entry->newer;

    } else {
        shared->oldest = entry->newer;
    }
}


/* There is one.  Pages that were never needed are not touched. */
static uint32_t
ngx_http_aoai_aad_take_block(ngx_http_aoai_aad_callers_shared_t *shared)
{
    uint32_t                    number;
    ngx_http_aoai_aad_block_t  *block;

    shared->room--;

    number = shared->free;

    if (number == 0) {
        return ++shared->used;
    }

    block = ngx_http_aoai_aad_at(shared, number);
    shared->free = block->next;

    return number;
}


/* it may have had a part of a token */
static void
ngx_http_aoai_aad_free_block(ngx_http_aoai_aad_callers_shared_t *shared,
    uint32_t number)
{
    ngx_http_aoai_aad_block_t  *block;

    block = ngx_http_aoai_aad_at(shared, number);

    ngx_explicit_memzero(block, NGX_HTTP_AOAI_AAD_BLOCK_BYTES);

    block->next = shared->free;
    shared->free = number;
    shared->room++;
}


static ngx_inline void *
ngx_http_aoai_aad_at(ngx_http_aoai_aad_callers_shared_t *shared,
    uint32_t number)
{
    return shared->base + (size_t) (number - 1)
                          * NGX_HTTP_AOAI_AAD_BLOCK_BYTES;
}


/* that data of this length needs besides the entry's own */
static uint32_t
ngx_http_aoai_aad_blocks(size_t length)
{
    ngx_http_aoai_aad_block_t  *block;

    if (length <= NGX_HTTP_AOAI_AAD_OWN_BYTES) {
        return 0;
    }

    length -= NGX_HTTP_AOAI_AAD_OWN_BYTES;

    return (length + sizeof(block->data) - 1) / sizeof(block->data);
}


static void
ngx_http_aoai_aad_write_data(ngx_http_aoai_aad_callers_shared_t *shared,
    ngx_http_aoai_aad_entry_t *entry, ngx_str_t *data)
{
    u_char                     *from;
    size_t                      left, part;
    uint32_t                   *p;
    ngx_http_aoai_aad_block_t  *block;

    entry->length = data->len;

    from = data->data;
    left = data->len;

    part = ngx_min(left, NGX_HTTP_AOAI_AAD_OWN_BYTES);
    ngx_memcpy(entry + 1, from, part);

    for (p = &entry->more; (left -= part) != 0; p = &block->next) {
        from += part;

        *p = ngx_http_aoai_aad_take_block(shared);
        block = ngx_http_aoai_aad_at(shared, *p);
        block->next = 0;

        part = ngx_min(left, sizeof(block->data));
        ngx_memcpy(block->data, from, part);
    }
}


static ngx_int_t
ngx_http_aoai_aad_read_data(ngx_http_aoai_aad_callers_shared_t *shared,
    ngx_http_aoai_aad_entry_t *entry, ngx_pool_t *pool, ngx_str_t *data)
{
    u_char                     *to;
    size_t                      left, part;
    uint32_t                    number;
    ngx_http_aoai_aad_block_t  *block;

    data->len = entry->length;
    data->data = ngx_pnalloc(pool, entry->length);

    if (data->data == NULL) {
        return NGX_ERROR;
    }

    left = entry->length;

    part = ngx_min(left, NGX_HTTP_AOAI_AAD_OWN_BYTES);
    to = ngx_cpymem(data->data, entry + 1, part);

    for (number = entry->more; (left -= part) != 0; number = block->next) {

        block = ngx_http_aoai_aad_at(shared, number);

        part = ngx_min(left, sizeof(block->data));
        to = ngx_cpymem(to, block->data, part);
    }

    return NGX_OK;
}


static ngx_uint_t
ngx_http_aoai_aad_is_fetching(ngx_http_aoai_aad_entry_t *entry)
{
    return entry->fetching
           && (ngx_msec_int_t) (entry->fetching_until - ngx_current_msec) > 0
           && ngx_http_aoai_aad_is_alive(entry->fetching);
}
