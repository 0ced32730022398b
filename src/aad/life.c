
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * The states of an identity's token and the ways between them.  Each has a
 * moment that leads out of it: a lease its end, a token its refresh and its
 * end, a failure the next try.  No clock is read here and nothing is fetched,
 * so that days of it can be lived through in a test.
 */


#include "aad.h"


#define AAD_SUSPECT_MS              60000
#define AAD_REPEATED_MS             30000

/* services tell the end of a token in whole seconds */
#define AAD_LONGER_MS               1000


static int64_t aad_life_left_ms(const aad_life_t *life,
    const aad_moment_t *now);


/* by both clocks: a token must not outlive its end by the one that was set */
int
aad_life_usable(const aad_life_t *life, const aad_moment_t *now)
{
    return now->monotonic_ms < life->usable_until_ms
           && now->wall_ms < life->usable_until_wall_ms;
}


aad_state_t
aad_life_state(const aad_life_t *life, const aad_moment_t *now)
{
    if (!aad_life_usable(life, now)) {
        return life->failures ? AAD_STATE_FAILED : AAD_STATE_EMPTY;
    }

    if (life->failures) {
        return AAD_STATE_STALE;
    }

    return life->lease != 0 && life->lease_until_ms > now->monotonic_ms
           ? AAD_STATE_REFRESHING : AAD_STATE_VALID;
}


aad_turn_t
aad_life_lease(aad_life_t *life, const aad_moment_t *now, int64_t owner,
    int64_t lease_ms, int64_t *delay_ms)
{
    int  usable;

    *delay_ms = life->lease_until_ms - now->monotonic_ms;

    if (life->lease != 0 && *delay_ms > 0) {
        return AAD_TURN_OTHERS;
    }

    *delay_ms = life->refresh_at_ms - now->monotonic_ms;
    usable = aad_life_usable(life, now);

    /*
     * Without a token only a failure is a reason to wait, and none from the
     * days when there was one.
     */

    if (*delay_ms > 0
        && (usable || (life->failures != 0 && !life->tried_with_token)))
    {
        return AAD_TURN_LATER;
    }

    life->lease = owner;
    life->lease_until_ms = now->monotonic_ms + lease_ms;

    *delay_ms = 0;

    return AAD_TURN_OURS;
}


void
aad_life_release(aad_life_t *life, int64_t owner)
{
    if (life->lease == owner) {
        life->lease = 0;
    }
}


int
aad_life_store(aad_life_t *life, const aad_moment_t *now, int64_t owner,
    int64_t expires_on, int64_t refresh_in, uint32_t random)
{
    int64_t         lifetime_ms, longer_ms, repeated_ms;
    aad_schedule_t  schedule;

    lifetime_ms = expires_on * 1000 - now->wall_ms;

    if (lifetime_ms < 0) {
        lifetime_ms = 0;
    }

    /* compared by the clock that is never set */

    longer_ms = now->monotonic_ms + lifetime_ms - life->expires_at_ms;

    if (life->lease != owner && life->lifetime_ms != 0 && longer_ms <= 0) {
        return 0;
    }

    schedule = aad_schedule(lifetime_ms, refresh_in, random);

    /* managed identity endpoints repeat the token that they have: to ask
       again at once would only bring it once more */

    if (life->lifetime_ms != 0 && longer_ms < AAD_LONGER_MS) {

        repeated_ms = lifetime_ms / 4;

        if (repeated_ms > AAD_REPEATED_MS) {
            repeated_ms = AAD_REPEATED_MS;
        }

        if (schedule.refresh_ms < repeated_ms) {
            schedule.refresh_ms = repeated_ms;
        }
    }

    life->lifetime_ms = lifetime_ms;
    life->expires_at_ms = now->monotonic_ms + lifetime_ms;
    life->usable_until_ms = now->monotonic_ms + schedule.usable_ms;
    life->usable_until_wall_ms = now->wall_ms + schedule.usable_ms;
    life->refresh_at_ms = now->monotonic_ms + schedule.refresh_ms;

    life->failures = 0;
    life->tries = 0;

    aad_life_release(life, owner);

    return 1;
}


int
aad_life_failed(aad_life_t *life, const aad_moment_t *now, int64_t owner,
    int retry_after, uint32_t random)
{
    int      usable;
    int64_t  delay_ms, left_ms;

    if (life->lease != owner) {
        return 0;
    }

    usable = aad_life_usable(life, now);

    /* the patience with a service is another one when nothing is left */

    if (life->tried_with_token != usable) {
        life->tried_with_token = usable;
        life->tries = 0;
    }

    life->failures++;
    life->tries++;

    delay_ms = aad_retry_ms(life->tries, usable ? life->lifetime_ms : 0,
                            retry_after, random);

    if (usable) {
        left_ms = aad_life_left_ms(life, now);

        if (delay_ms > left_ms) {
            delay_ms = left_ms;
        }
    }

    life->refresh_at_ms = now->monotonic_ms + delay_ms;
    life->lease = 0;

    return 1;
}


int
aad_life_suspect(aad_life_t *life, const aad_moment_t *now)
{
    if (life->failures != 0
        || (life->suspected_ms != 0
            && now->monotonic_ms - life->suspected_ms < AAD_SUSPECT_MS))
    {
        return 0;
    }

    life->suspected_ms = now->monotonic_ms;
    life->refresh_at_ms = now->monotonic_ms;

    return 1;
}


static int64_t
aad_life_left_ms(const aad_life_t *life, const aad_moment_t *now)
{
    int64_t  left_ms, left_wall_ms;

    left_ms = life->usable_until_ms - now->monotonic_ms;
    left_wall_ms = life->usable_until_wall_ms - now->wall_ms;

    return left_ms < left_wall_ms ? left_ms : left_wall_ms;
}
