
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * The life of a token: each way from a state to the next, and days of it with
 * four workers, requests, an endpoint that comes and goes, workers that are
 * killed and a clock that is set.
 */


#include "check.h"


#define HOUR_MS             ((int64_t) 3600000)
#define LEASE_MS            11000

#define WORKERS             4
#define SIMULATED_MS        (72 * HOUR_MS)
#define SEEDS               24

/* as the module has them: how long a worker leaves it alone at most */
#define IDLE_MS             60000
#define WATCH_MS            500
#define LEAST_MS            10

#define FETCH_MAX_MS        10000
#define BACKOFF_MAX_MS      60000
#define RETRY_AFTER_MAX_S   90


static aad_moment_t
moment(int64_t ms)
{
    aad_moment_t  now;

    now.wall_ms = UNIT_NOW * (int64_t) 1000 + ms;
    now.monotonic_ms = 777 + ms;

    return now;
}


/* Whose turn it is at a moment, for owner 1. */
static aad_turn_t
lease(aad_life_t *life, int64_t ms, int64_t *delay_ms)
{
    aad_moment_t  now;

    now = moment(ms);

    return aad_life_lease(life, &now, 1, LEASE_MS, delay_ms);
}


/* Owner 1 fetches a token at a moment that lives so long from then. */
static void
fetch(aad_life_t *life, int64_t ms, int64_t lifetime_ms)
{
    aad_moment_t  now;

    now = moment(ms);

    life->lease = 1;
    assert_true(aad_life_store(life, &now, 1,
                               (now.wall_ms + lifetime_ms) / 1000, 0, 0));
}


static void
fail_at(aad_life_t *life, int64_t ms, int retry_after)
{
    aad_moment_t  now;

    now = moment(ms);

    life->lease = 1;
    assert_true(aad_life_failed(life, &now, 1, retry_after, 0));
}


static aad_state_t
state_at(const aad_life_t *life, int64_t ms)
{
    aad_moment_t  now;

    now = moment(ms);

    return aad_life_state(life, &now);
}


static void
test_empty_life_is_to_be_fetched_at_once(void **state)
{
    int64_t     delay_ms;
    aad_life_t  life = { 0 };

    (void) state;

    assert_int_equal(state_at(&life, 0), AAD_STATE_EMPTY);
    assert_int_equal(lease(&life, 0, &delay_ms), AAD_TURN_OURS);
    assert_int_equal(state_at(&life, 0), AAD_STATE_EMPTY);
}


static void
test_one_owner_has_the_lease_until_its_end(void **state)
{
    int64_t       delay_ms;
    aad_life_t    life = { 0 };
    aad_moment_t  now;

    (void) state;

    assert_int_equal(lease(&life, 0, &delay_ms), AAD_TURN_OURS);

    now = moment(1000);
    assert_int_equal(aad_life_lease(&life, &now, 2, LEASE_MS, &delay_ms),
                     AAD_TURN_OTHERS);
    assert_int_equal(delay_ms, LEASE_MS - 1000);

    aad_life_release(&life, 2);
    assert_int_equal(aad_life_lease(&life, &now, 2, LEASE_MS, &delay_ms),
                     AAD_TURN_OTHERS);

    /* its owner must have died */

    now = moment(LEASE_MS);
    assert_int_equal(aad_life_lease(&life, &now, 2, LEASE_MS, &delay_ms),
                     AAD_TURN_OURS);

    aad_life_release(&life, 2);
    assert_int_equal(lease(&life, LEASE_MS, &delay_ms), AAD_TURN_OURS);
}


static void
test_valid_token_is_left_alone_until_its_refresh(void **state)
{
    int64_t     delay_ms;
    aad_life_t  life = { 0 };

    (void) state;

    fetch(&life, 0, HOUR_MS);

    assert_int_equal(state_at(&life, 0), AAD_STATE_VALID);
    assert_int_equal(lease(&life, 1000, &delay_ms), AAD_TURN_LATER);
    assert_int_equal(delay_ms, 3300000 - 1000);
    assert_int_equal(lease(&life, 3300000, &delay_ms), AAD_TURN_OURS);
    assert_int_equal(state_at(&life, 3300000), AAD_STATE_REFRESHING);
    assert_int_equal(state_at(&life, 3539999), AAD_STATE_VALID);
    assert_int_equal(state_at(&life, 3540000), AAD_STATE_EMPTY);
}


static void
test_token_ends_by_either_clock(void **state)
{
    aad_life_t    life = { 0 };
    aad_moment_t  now;

    (void) state;

    fetch(&life, 0, HOUR_MS);

    now = moment(1000);
    assert_true(aad_life_usable(&life, &now));

    /* set forward, and set back while the hour passed */

    now.wall_ms += HOUR_MS;
    assert_false(aad_life_usable(&life, &now));

    now = moment(HOUR_MS);
    now.wall_ms -= HOUR_MS;
    assert_false(aad_life_usable(&life, &now));
}


static void
test_clock_set_forward_is_a_reason_to_fetch(void **state)
{
    int64_t       delay_ms;
    aad_life_t    life = { 0 };
    aad_moment_t  now;

    (void) state;

    fetch(&life, 0, HOUR_MS);
    fail_at(&life, 1000, 300);

    now = moment(2000);
    assert_int_equal(aad_life_lease(&life, &now, 1, LEASE_MS, &delay_ms),
                     AAD_TURN_LATER);

    now.wall_ms += HOUR_MS;
    assert_int_equal(aad_life_lease(&life, &now, 1, LEASE_MS, &delay_ms),
                     AAD_TURN_OURS);
}


static void
test_failure_keeps_the_token_to_its_end(void **state)
{
    int64_t     delay_ms;
    aad_life_t  life = { 0 };

    (void) state;

    fetch(&life, 0, HOUR_MS);
    fail_at(&life, 3300000, 0);

    assert_int_equal(state_at(&life, 3300000), AAD_STATE_STALE);
    assert_int_equal(lease(&life, 3300000, &delay_ms), AAD_TURN_LATER);
    assert_int_equal(delay_ms, 30000);

    fail_at(&life, 3330000, 0);
    assert_int_equal(lease(&life, 3330000, &delay_ms), AAD_TURN_LATER);
    assert_int_equal(delay_ms, 60000);

    /* never beyond the end, whatever is asked for */

    fail_at(&life, 3390000, 3000);
    assert_int_equal(lease(&life, 3390000, &delay_ms), AAD_TURN_LATER);
    assert_int_equal(delay_ms, 150000);

    assert_int_equal(state_at(&life, 3540000), AAD_STATE_FAILED);
    assert_int_equal(lease(&life, 3540000, &delay_ms), AAD_TURN_OURS);
}


static void
test_failure_without_a_token_backs_off(void **state)
{
    size_t      i;
    int64_t     delay_ms, ms;
    aad_life_t  life = { 0 };

    static const int64_t  delays[] = {
        1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000
    };

    (void) state;

    for (ms = 0, i = 0; i < unit_count(delays); i++) {
        fail_at(&life, ms, 0);

        assert_int_equal(state_at(&life, ms), AAD_STATE_FAILED);
        assert_int_equal(lease(&life, ms, &delay_ms), AAD_TURN_LATER);
        assert_int_equal(delay_ms, delays[i]);

        ms += delay_ms;
        assert_int_equal(lease(&life, ms, &delay_ms), AAD_TURN_OURS);
    }

    fail_at(&life, ms, 7);
    assert_int_equal(life.failures, unit_count(delays) + 1);

    fetch(&life, ms, HOUR_MS);
    assert_int_equal(state_at(&life, ms), AAD_STATE_VALID);
    assert_int_equal(life.failures, 0);
}


static void
test_patience_begins_anew_when_the_token_ends(void **state)
{
    int64_t     delay_ms;
    aad_life_t  life = { 0 };

    (void) state;

    fetch(&life, 0, HOUR_MS);
    fail_at(&life, 3300000, 0);
    fail_at(&life, 3330000, 0);
    fail_at(&life, 3540000, 0);

    assert_int_equal(lease(&life, 3540000, &delay_ms), AAD_TURN_LATER);
    assert_int_equal(delay_ms, 1000);
    assert_int_equal(life.failures, 3);
}


static void
test_repeated_token_waits_before_it_is_asked_again(void **state)
{
    int64_t       delay_ms;
    aad_life_t    life = { 0 };
    aad_moment_t  now;

    (void) state;

    fetch(&life, 0, HOUR_MS);

    /* the same one again, and "refresh it in a second" */

    now = moment(3300000);
    life.lease = 1;
    assert_true(aad_life_store(&life, &now, 1, UNIT_NOW + 3600, 1, 0));

    assert_int_equal(lease(&life, 3300000, &delay_ms), AAD_TURN_LATER);
    assert_int_equal(delay_ms, 30000);

    /* in proportion where little is left */

    now = moment(3560000);
    life.lease = 1;
    assert_true(aad_life_store(&life, &now, 1, UNIT_NOW + 3600, 1, 0));

    assert_int_equal(lease(&life, 3560000, &delay_ms), AAD_TURN_LATER);
    assert_int_equal(delay_ms, 10000);
}


static void
test_late_result_counts_when_it_is_better(void **state)
{
    aad_life_t    life = { 0 };
    aad_moment_t  now;

    (void) state;

    fetch(&life, 0, HOUR_MS);

    now = moment(1000);
    assert_false(aad_life_store(&life, &now, 2, UNIT_NOW + 3600, 0, 0));
    assert_false(aad_life_failed(&life, &now, 2, 0, 0));
    assert_int_equal(life.failures, 0);

    /* and leaves the lease with who has it */

    life.lease = 1;
    assert_true(aad_life_store(&life, &now, 2, UNIT_NOW + 4000, 0, 0));
    assert_int_equal(life.lease, 1);
}


static void
test_suspicion_is_followed_once_a_minute(void **state)
{
    int64_t       delay_ms;
    aad_life_t    life = { 0 };
    aad_moment_t  now;

    (void) state;

    fetch(&life, 0, HOUR_MS);

    now = moment(1000);
    assert_true(aad_life_suspect(&life, &now));
    assert_int_equal(lease(&life, 1000, &delay_ms), AAD_TURN_OURS);

    fetch(&life, 1100, HOUR_MS);

    now = moment(60999);
    assert_false(aad_life_suspect(&life, &now));
    assert_int_equal(lease(&life, 60999, &delay_ms), AAD_TURN_LATER);

    now = moment(61000);
    assert_true(aad_life_suspect(&life, &now));
}


static void
test_suspicion_does_not_shorten_a_back_off(void **state)
{
    int64_t       delay_ms;
    aad_life_t    life = { 0 };
    aad_moment_t  now;

    (void) state;

    fetch(&life, 0, HOUR_MS);
    fail_at(&life, 1000, 0);

    now = moment(2000);
    assert_false(aad_life_suspect(&life, &now));
    assert_int_equal(lease(&life, 2000, &delay_ms), AAD_TURN_LATER);
}


/* A worker of the simulation. */
typedef struct {
    int64_t                 owner;
    int64_t                 timer_ms;           /* when it looks again */
    int64_t                 done_ms;            /* of its fetch, 0: none */
} worker_t;

typedef struct {
    uint64_t                random;
    int64_t                 now_ms;             /* true time, monotonic */
    int64_t                 wall_shift_ms;
    int64_t                 owners;
    aad_life_t              life;
    worker_t                workers[WORKERS];

    int                     up;                 /* the endpoint */
    int64_t                 up_since_ms;
    int64_t                 quiet_since_ms;     /* nobody killed, no clock
                                                   set, endpoint up */
    int64_t                 issued_end_ms;      /* true end of the token that
                                                   the endpoint has */
    int64_t                 held_end_ms;        /* and of ours */

    aad_state_t             state;
    int64_t                 state_since_ms;

    unsigned                fetches;
    unsigned                hits;
    unsigned                refused;
    unsigned                seen;               /* bit a state */
} simulation_t;


static uint32_t
draw(simulation_t *s, uint32_t below)
{
    s->random = s->random * 6364136223846793005u + 1442695040888963407u;

    return (uint32_t) (s->random >> 33) % below;
}


static aad_moment_t
simulated_moment(const simulation_t *s)
{
    aad_moment_t  now;

    now.monotonic_ms = s->now_ms;
    now.wall_ms = UNIT_NOW * (int64_t) 1000 + s->now_ms + s->wall_shift_ms;

    return now;
}


static void
begin_fetch(simulation_t *s, worker_t *worker)
{
    size_t  i;

    for (i = 0; i < WORKERS; i++) {
        assert_true(s->workers[i].done_ms == 0);
    }

    worker->done_ms = s->now_ms + 1
                      + (draw(s, 4) ? draw(s, 300) : draw(s, FETCH_MAX_MS));
    s->fetches++;
}


/* The endpoint's token: a new one, or the one that it has already. */
static int64_t
issue(simulation_t *s)
{
    static const int64_t  lifetimes_s[] = {
        4, 30, 300, 1200, 3599, 3600, 7200, 7201, 86400
    };

    if (s->issued_end_ms - s->now_ms > 2000 && draw(s, 3) == 0) {
        return s->issued_end_ms;
    }

    s->issued_end_ms = s->now_ms
                       + lifetimes_s[draw(s, unit_count(lifetimes_s))] * 1000;

    return s->issued_end_ms;
}


static void
end_fetch(simulation_t *s, worker_t *worker)
{
    int64_t       end_ms, wall_s;
    aad_moment_t  now;

    now = simulated_moment(s);

    worker->done_ms = 0;
    worker->timer_ms = s->now_ms + 1;

    if (!s->up) {
        (void) aad_life_failed(&s->life, &now, worker->owner,
                               draw(s, 4) ? 0
                                          : (int) draw(s, RETRY_AFTER_MAX_S),
                               (uint32_t) draw(s, 1000000));
        return;
    }

    /* whole seconds, rounded down as services do */

    end_ms = issue(s);
    wall_s = (now.wall_ms + end_ms - s->now_ms) / 1000;

    if (aad_life_store(&s->life, &now, worker->owner, wall_s,
                       draw(s, 5) ? 0 : draw(s, 4000), draw(s, 1u << 31)))
    {
        s->held_end_ms = end_ms;
    }
}


/* as ngx_http_aoai_aad_refresh_handler() does */
static void
look(simulation_t *s, worker_t *worker)
{
    int64_t       delay_ms, limit_ms;
    aad_turn_t    turn;
    aad_moment_t  now;

    now = simulated_moment(s);

    if (worker->done_ms != 0) {
        worker->timer_ms = worker->done_ms + 1;
        return;
    }

    turn = aad_life_lease(&s->life, &now, worker->owner, LEASE_MS, &delay_ms);

    if (turn == AAD_TURN_OURS) {
        begin_fetch(s, worker);
        return;
    }

    limit_ms = turn == AAD_TURN_OTHERS ? WATCH_MS : IDLE_MS;

    delay_ms = delay_ms < LEAST_MS ? LEAST_MS : delay_ms;
    worker->timer_ms = s->now_ms + (delay_ms < limit_ms ? delay_ms : limit_ms);
}


/* A request: a token that has not ended, or a good reason for none. */
static void
ask(simulation_t *s, worker_t *worker)
{
    int64_t       delay_ms;
    aad_turn_t    turn;
    aad_moment_t  now;

    now = simulated_moment(s);

    if (aad_life_usable(&s->life, &now)) {
        assert_true(s->now_ms < s->held_end_ms);
        s->hits++;
        return;
    }

    if (worker->done_ms != 0) {
        return;
    }

    turn = aad_life_lease(&s->life, &now, worker->owner, LEASE_MS, &delay_ms);

    if (turn == AAD_TURN_OURS) {
        begin_fetch(s, worker);
    }

    if (turn == AAD_TURN_LATER) {
        assert_true(s->life.failures != 0);
        assert_true(!s->up || s->now_ms - s->up_since_ms
                              <= RETRY_AFTER_MAX_S * 1000 + FETCH_MAX_MS);
        s->refused++;
    }
}


/* What may break does, now and then. */
static void
disturb(simulation_t *s)
{
    worker_t  *worker;

    switch (draw(s, 8)) {

    case 0:
    case 1:
        s->up = !s->up;
        s->up_since_ms = s->now_ms;
        break;

    case 2:
        worker = &s->workers[draw(s, WORKERS)];

        /* the kernel tells that it is gone, or its number is taken again */

        if (draw(s, 2)) {
            aad_life_release(&s->life, worker->owner);
        }

        worker->owner = ++s->owners;
        worker->done_ms = 0;
        worker->timer_ms = s->now_ms + 1;
        break;

    case 3:

        /* not in the midst of a fetch, which the module starts again then */

        if (s->life.lease == 0) {
            s->wall_shift_ms += draw(s, 2) ? HOUR_MS : -HOUR_MS;
        }

        break;

    default:
        return;
    }

    s->quiet_since_ms = s->now_ms;
}


/* No state may last when its reason is gone. */
static void
observe(simulation_t *s)
{
    int64_t       lasted_ms;
    aad_state_t   state;
    aad_moment_t  now;

    now = simulated_moment(s);
    state = aad_life_state(&s->life, &now);

    s->seen |= 1u << state;

    if (state != s->state) {
        s->state = state;
        s->state_since_ms = s->now_ms;
    }

    lasted_ms = s->now_ms - (s->state_since_ms > s->quiet_since_ms
                             ? s->state_since_ms : s->quiet_since_ms);

    switch (state) {

    case AAD_STATE_EMPTY:
        assert_true(lasted_ms <= IDLE_MS + LEASE_MS);
        break;

    case AAD_STATE_REFRESHING:
        assert_true(lasted_ms <= LEASE_MS + WATCH_MS);
        break;

    case AAD_STATE_VALID:
        assert_true(s->now_ms < s->held_end_ms);
        break;

    case AAD_STATE_STALE:
    case AAD_STATE_FAILED:
        assert_true(!s->up || lasted_ms <= 5 * IDLE_MS + FETCH_MAX_MS);
        break;
    }
}


static void
simulate(simulation_t *s, uint64_t seed)
{
    size_t    i;
    int64_t   next_ms, request_ms, disturbance_ms;

    memset(s, 0, sizeof(simulation_t));
    s->random = seed;
    s->now_ms = 1;
    s->up = 1;

    for (i = 0; i < WORKERS; i++) {
        s->workers[i].owner = ++s->owners;
        s->workers[i].timer_ms = s->now_ms;
    }

    request_ms = 1;
    disturbance_ms = HOUR_MS;

    while (s->now_ms < SIMULATED_MS) {

        if (s->now_ms >= disturbance_ms) {
            disturb(s);
            disturbance_ms = s->now_ms + 1000 + draw(s, 1200000);
        }

        for (i = 0; i < WORKERS; i++) {

            if (s->workers[i].done_ms != 0
                && s->workers[i].done_ms <= s->now_ms)
            {
                end_fetch(s, &s->workers[i]);
            }

            if (s->workers[i].timer_ms <= s->now_ms) {
                look(s, &s->workers[i]);
            }
        }

        if (s->now_ms >= request_ms) {
            ask(s, &s->workers[draw(s, WORKERS)]);
            request_ms = s->now_ms + 1 + draw(s, draw(s, 10) ? 2000 : 60000);
        }

        observe(s);

        next_ms = request_ms < disturbance_ms ? request_ms : disturbance_ms;

        for (i = 0; i < WORKERS; i++) {

            if (s->workers[i].done_ms != 0
                && s->workers[i].done_ms < next_ms)
            {
                next_ms = s->workers[i].done_ms;
            }

            if (s->workers[i].timer_ms < next_ms) {
                next_ms = s->workers[i].timer_ms;
            }
        }

        s->now_ms = next_ms > s->now_ms ? next_ms : s->now_ms + 1;
    }
}


static void
test_days_of_tokens_have_no_gap_and_no_end(void **state)
{
    uint64_t      seed;
    simulation_t  simulation;

    (void) state;

    for (seed = 1; seed <= SEEDS; seed++) {
        simulate(&simulation, seed);

        /* it was a life indeed */

        assert_int_equal(simulation.seen, 0x1f);
        assert_true(simulation.hits > 10000);
        assert_true(simulation.refused > 0);
        assert_true(simulation.fetches > 72);
    }
}


/* Without a disturbance nobody ever waits but for the first token. */
static void
test_days_without_a_disturbance_are_all_hits(void **state)
{
    size_t        i;
    int64_t       lifetime_ms, step_ms, done_ms, at_ms;
    int64_t       delay_ms;
    aad_life_t    life;
    aad_moment_t  now;

    static const int64_t  lifetimes_s[] = {
        8, 30, 300, 1200, 3599, 7200, 7201, 86400
    };

    (void) state;

    for (i = 0; i < unit_count(lifetimes_s); i++) {

        lifetime_ms = lifetimes_s[i] * 1000;
        memset(&life, 0, sizeof(aad_life_t));
        fetch(&life, 0, lifetime_ms);
        done_ms = 0;

        step_ms = lifetime_ms / 97 < 5000 ? lifetime_ms / 97 : 5000;

        for (at_ms = 0; at_ms < 72 * HOUR_MS; at_ms += step_ms) {

            now = moment(at_ms);
            assert_true(aad_life_usable(&life, &now));

            if (done_ms != 0 && at_ms >= done_ms) {
                fetch(&life, at_ms, lifetime_ms);
                done_ms = 0;

            } else if (done_ms == 0
                       && lease(&life, at_ms, &delay_ms) == AAD_TURN_OURS)
            {
                done_ms = at_ms + 2 * step_ms;
            }
        }
    }
}


int
main(void)
{
    static const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_empty_life_is_to_be_fetched_at_once),
        cmocka_unit_test(test_one_owner_has_the_lease_until_its_end),
        cmocka_unit_test(test_valid_token_is_left_alone_until_its_refresh),
        cmocka_unit_test(test_token_ends_by_either_clock),
        cmocka_unit_test(test_clock_set_forward_is_a_reason_to_fetch),
        cmocka_unit_test(test_failure_keeps_the_token_to_its_end),
        cmocka_unit_test(test_failure_without_a_token_backs_off),
        cmocka_unit_test(test_patience_begins_anew_when_the_token_ends),
        cmocka_unit_test(test_repeated_token_waits_before_it_is_asked_again),
        cmocka_unit_test(test_late_result_counts_when_it_is_better),
        cmocka_unit_test(test_suspicion_is_followed_once_a_minute),
        cmocka_unit_test(test_suspicion_does_not_shorten_a_back_off),
        cmocka_unit_test(test_days_of_tokens_have_no_gap_and_no_end),
        cmocka_unit_test(test_days_without_a_disturbance_are_all_hits)
    };

    return cmocka_run_group_tests_name("life", tests, NULL, NULL);
}
