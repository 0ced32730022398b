
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * The life of a token: pure arithmetic, so that years of it can be tested.
 */


#include "aad.h"


#define AAD_USABLE_MARGIN_MS        60000
#define AAD_REFRESH_MARGIN_MS       300000
#define AAD_LONG_LIFETIME_MS        7200000
#define AAD_REFRESH_FIRST_MS        30000

#define AAD_RETRY_EMPTY_FIRST_MS    1000
#define AAD_RETRY_EMPTY_MAX_MS      60000
#define AAD_RETRY_STALE_FIRST_MS    30000
#define AAD_RETRY_STALE_MAX_MS      300000
#define AAD_RETRY_LEAST_MS          100
#define AAD_RETRY_AFTER_MAX_S       3600

/* the lifetime that the figures for short waits are made for */
#define AAD_USUAL_LIFETIME_MS       3600000


static int64_t aad_in_proportion(int64_t wait_ms, int64_t lifetime_ms);
static int64_t aad_later(int64_t wait_ms, uint32_t random);
static int64_t aad_least(int64_t a, int64_t b);
static int64_t aad_most(int64_t a, int64_t b);


/*
 * Usable until a minute before the end, refreshed at half of a long life (as
 * every SDK does with managed identities) or five minutes before the end of a
 * short one; all margins shrink with the lifetime, so that a token of seconds
 * follows the same rules.
 */
aad_schedule_t
aad_schedule(int64_t lifetime_ms, int64_t refresh_in, uint32_t random)
{
    int64_t         refresh_ms, jitter_ms;
    aad_schedule_t  schedule;

    schedule.usable_ms = lifetime_ms
                         - aad_least(AAD_USABLE_MARGIN_MS, lifetime_ms / 10);

    if (refresh_in > 0 && refresh_in * 1000 < schedule.usable_ms) {

        /* a service that always says "now" is not asked without end */

        refresh_ms = aad_most(refresh_in * 1000,
                              aad_in_proportion(AAD_REFRESH_FIRST_MS,
                                                lifetime_ms));

    } else if (lifetime_ms > AAD_LONG_LIFETIME_MS) {
        refresh_ms = lifetime_ms / 2;

    } else {
        refresh_ms = lifetime_ms
                     - aad_least(AAD_REFRESH_MARGIN_MS, lifetime_ms / 4);
    }

    /* earlier, never later: a fleet started at once must not march in step */

    jitter_ms = refresh_ms / 10;
    schedule.refresh_ms = refresh_ms
                          - (jitter_ms ? random % (jitter_ms + 1) : 0);

    return schedule;
}


/*
 * Between two fetches, each of which has tried for a while by itself: retry.c
 * says how the two share the work.
 */
int64_t
aad_retry_ms(unsigned failures, int64_t lifetime_ms, int retry_after,
    uint32_t random)
{
    int64_t  delay_ms, max_ms, after_ms;

    if (lifetime_ms != 0) {
        delay_ms = aad_in_proportion(AAD_RETRY_STALE_FIRST_MS, lifetime_ms);
        max_ms = aad_in_proportion(AAD_RETRY_STALE_MAX_MS, lifetime_ms);

    } else {
        delay_ms = AAD_RETRY_EMPTY_FIRST_MS;
        max_ms = AAD_RETRY_EMPTY_MAX_MS;
    }

    while (failures > 1 && delay_ms < max_ms) {
        delay_ms *= 2;
        failures--;
    }

    /* later, never earlier: what failed together must not come back so; what
       waits the longest has been spread on its way there */

    delay_ms = aad_least(aad_later(delay_ms, random), max_ms);
    delay_ms = aad_most(delay_ms, AAD_RETRY_LEAST_MS);

    /* a service may ask for a day; nothing may stay without a token so long
       when it is well again */

    after_ms = aad_least(retry_after, AAD_RETRY_AFTER_MAX_S) * 1000;

    return aad_most(delay_ms, aad_later(after_ms, random));
}


/* by up to a fifth */
static int64_t
aad_later(int64_t wait_ms, uint32_t random)
{
    return wait_ms + (wait_ms > 0 ? random % (wait_ms / 5 + 1) : 0);
}


/*
 * Under a token of seconds a wait shrinks as the margins do; a token that
 * lives longer than usual is no reason for more patience.
 */
static int64_t
aad_in_proportion(int64_t wait_ms, int64_t lifetime_ms)
{
    return wait_ms * aad_least(lifetime_ms, AAD_USUAL_LIFETIME_MS)
           / AAD_USUAL_LIFETIME_MS;
}


static int64_t
aad_least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}


static int64_t
aad_most(int64_t a, int64_t b)
{
    return a > b ? a : b;
}
