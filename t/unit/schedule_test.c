
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * When a token may be used, when the next one is fetched, and how soon again
 * after a failure.
 */


#include "check.h"


#define LIFETIME_MAX_S  172800
#define HOUR_MS         ((int64_t) 3600000)


/* The plan for a token with so many seconds left. */
static aad_schedule_t
schedule_of(int64_t lifetime, int64_t refresh_in, uint32_t random)
{
    return aad_schedule(lifetime * 1000, refresh_in, random);
}


static void
test_margins_shrink_with_the_lifetime(void **state)
{
    size_t          i;
    aad_schedule_t  schedule;

    static const struct {
        int64_t                 lifetime;
        int64_t                 usable_ms;
        int64_t                 refresh_ms;
    } lives[] = {
        { 1,         900,        750 },
        { 8,         7200,       6000 },
        { 60,        54000,      45000 },

        /* a tenth is a minute, a quarter is five minutes */

        { 599,       539100,     449250 },
        { 600,       540000,     450000 },
        { 601,       541000,     450750 },
        { 1199,      1139000,    899250 },
        { 1200,      1140000,    900000 },
        { 1201,      1141000,    901000 },

        { 3599,      3539000,    3299000 },
        { 3600,      3540000,    3300000 },

        /* half of a life over two hours */

        { 7200,      7140000,    6900000 },
        { 7201,      7141000,    3600500 },
        { 86400,     86340000,   43200000 },
        { 172800,    172740000,  86400000 }
    };

    (void) state;

    for (i = 0; i < unit_count(lives); i++) {
        schedule = schedule_of(lives[i].lifetime, 0, 0);
        assert_int_equal(schedule.usable_ms, lives[i].usable_ms);
        assert_int_equal(schedule.refresh_ms, lives[i].refresh_ms);
    }
}


static void
test_refresh_comes_before_the_usable_end(void **state)
{
    size_t          i;
    int64_t         lifetime;
    aad_schedule_t  schedule;

    static const uint32_t  randoms[] = { 0, 1, 0x7fffffff, 0xffffffff };

    (void) state;

    for (lifetime = 1; lifetime <= LIFETIME_MAX_S; lifetime++) {

        for (i = 0; i < unit_count(randoms); i++) {
            schedule = schedule_of(lifetime, 0, randoms[i]);

            assert_true(schedule.refresh_ms > 0);
            assert_true(schedule.refresh_ms < schedule.usable_ms);
            assert_true(schedule.usable_ms < lifetime * 1000);
        }
    }
}


static void
test_wish_of_the_service_is_followed(void **state)
{
    (void) state;

    assert_int_equal(schedule_of(86399, 43199, 0).refresh_ms, 43199000);
    assert_int_equal(schedule_of(3599, 60, 0).refresh_ms, 60000);
    assert_int_equal(schedule_of(3600, 30, 0).refresh_ms, 30000);
    assert_int_equal(schedule_of(3600, 3539, 0).refresh_ms, 3539000);
}


static void
test_wish_that_comes_too_late_is_not_followed(void **state)
{
    size_t          i;
    aad_schedule_t  schedule;

    static const int64_t  wishes[] = { -1, 0, 3540, 3600, 172800 };

    (void) state;

    for (i = 0; i < unit_count(wishes); i++) {
        schedule = schedule_of(3600, wishes[i], 0);
        assert_int_equal(schedule.refresh_ms, 3300000);
        assert_int_equal(schedule.usable_ms, 3540000);
    }
}


static void
test_jitter_is_early_by_up_to_a_tenth(void **state)
{
    size_t          i;
    int64_t         refresh_ms, least, most;
    uint32_t        random;
    unsigned        n;
    aad_schedule_t  schedule;

    static const struct {
        int64_t                 lifetime;
        int64_t                 refresh_in;
    } lives[] = {
        { 1, 0 }, { 8, 0 }, { 60, 0 }, { 3600, 0 }, { 86400, 0 },
        { 86400, 43199 }
    };

    (void) state;

    for (i = 0; i < unit_count(lives); i++) {

        refresh_ms = schedule_of(lives[i].lifetime, lives[i].refresh_in, 0)
                     .refresh_ms;
        least = refresh_ms;
        most = 0;
        random = 0;

        /* an odd step over all 2^32 values */

        for (n = 0; n < 100000; n++, random += 2654435769u) {
            schedule = schedule_of(lives[i].lifetime, lives[i].refresh_in,
                                    random);

            least = schedule.refresh_ms < least ? schedule.refresh_ms : least;
            most = schedule.refresh_ms > most ? schedule.refresh_ms : most;
        }

        assert_in_range(least, refresh_ms - refresh_ms / 10,
                        refresh_ms - refresh_ms / 11);
        assert_in_range(most, refresh_ms - refresh_ms / 1000, refresh_ms);
    }
}


static void
test_usable_end_has_no_jitter(void **state)
{
    (void) state;

    assert_int_equal(schedule_of(3600, 0, 0xffffffff).usable_ms, 3540000);
    assert_int_equal(schedule_of(60, 0, 12345).usable_ms, 54000);
}


static void
test_life_that_is_over_is_not_usable(void **state)
{
    int64_t         lifetime;
    aad_schedule_t  schedule;

    (void) state;

    for (lifetime = -100; lifetime <= 0; lifetime++) {
        schedule = schedule_of(lifetime, 0, 12345);
        assert_true(schedule.usable_ms <= 0);
        assert_true(schedule.refresh_ms <= 0);
    }
}


static void
test_retry_doubles_up_to_its_maximum(void **state)
{
    size_t  i;

    static const struct {
        unsigned                failures;
        int64_t                 empty_ms;
        int64_t                 stale_ms;
    } retries[] = {
        { 0,            1000,   30000 },
        { 1,            1000,   30000 },
        { 2,            2000,   60000 },
        { 3,            4000,   120000 },
        { 4,            8000,   240000 },
        { 5,            16000,  300000 },
        { 6,            32000,  300000 },
        { 7,            60000,  300000 },
        { 8,            60000,  300000 },
        { 1000000,      60000,  300000 },
        { 0xffffffff,   60000,  300000 }
    };

    (void) state;

    for (i = 0; i < unit_count(retries); i++) {
        assert_int_equal(aad_retry_ms(retries[i].failures, 0, 0, 0),
                         retries[i].empty_ms);
        assert_int_equal(aad_retry_ms(retries[i].failures, HOUR_MS, 0, 0),
                         retries[i].stale_ms);
        assert_int_equal(aad_retry_ms(retries[i].failures, 24 * HOUR_MS, 0,
                                      0),
                         retries[i].stale_ms);
    }
}


static void
test_retry_waits_as_long_as_the_service_asks(void **state)
{
    (void) state;

    assert_int_equal(aad_retry_ms(1, 0, 17, 0), 17000);
    assert_int_equal(aad_retry_ms(1, HOUR_MS, 17, 0), 30000);
    assert_int_equal(aad_retry_ms(1, HOUR_MS, 31, 0), 31000);
    assert_int_equal(aad_retry_ms(9, 0, 59, 0), 60000);
    assert_int_equal(aad_retry_ms(9, HOUR_MS, 600, 0), 600000);
    assert_int_equal(aad_retry_ms(1, 0, 3600, 0), 3600000);
}


static void
test_retry_shrinks_with_a_short_life(void **state)
{
    (void) state;

    assert_int_equal(aad_retry_ms(1, HOUR_MS / 2, 0, 0), 15000);
    assert_int_equal(aad_retry_ms(9, HOUR_MS / 2, 0, 0), 150000);
    assert_int_equal(aad_retry_ms(1, 60000, 0, 0), 500);
    assert_int_equal(aad_retry_ms(9, 60000, 0, 0), 5000);

    /* as it would be at once, for seconds */

    assert_int_equal(aad_retry_ms(1, 6000, 0, 0), 100);
    assert_int_equal(aad_retry_ms(1, 1, 0, 0), 100);
    assert_int_equal(aad_retry_ms(1, 6000, 2, 0), 2000);
}


static void
test_wish_of_a_moment_is_not_followed(void **state)
{
    (void) state;

    assert_int_equal(schedule_of(3600, 1, 0).refresh_ms, 30000);
    assert_int_equal(schedule_of(3600, 29, 0).refresh_ms, 30000);
    assert_int_equal(schedule_of(3600, 31, 0).refresh_ms, 31000);

    /* in proportion */

    assert_int_equal(schedule_of(360, 1, 0).refresh_ms, 3000);
    assert_int_equal(schedule_of(60, 1, 0).refresh_ms, 1000);
    assert_int_equal(schedule_of(86400, 1, 0).refresh_ms, 30000);
}


static void
test_wish_to_wait_has_limits(void **state)
{
    (void) state;

    assert_int_equal(aad_retry_ms(1, 0, 3601, 0), 3600000);
    assert_int_equal(aad_retry_ms(1, HOUR_MS, 86400, 0), 3600000);
    assert_int_equal(aad_retry_ms(1, 0, 2147483647, 0), 3600000);
    assert_int_equal(aad_retry_ms(1, 0, -1, 0), 1000);
    assert_int_equal(aad_retry_ms(1, HOUR_MS, -2147483647 - 1, 0), 30000);
}


static void
test_retry_is_spread_and_never_early(void **state)
{
    size_t    i;
    int64_t   wait_ms;
    uint32_t  random;

    static const struct {
        unsigned  failures;
        int64_t   lifetime_ms;
        int       retry_after;
        int64_t   least_ms;
        int64_t   most_ms;
    } retries[] = {
        { 1, 0, 0, 1000, 1200 },
        { 4, 0, 0, 8000, 9600 },
        { 1, HOUR_MS, 0, 30000, 36000 },
        { 1, 0, 60, 60000, 72000 },
        { 1, HOUR_MS, 31, 31000, 37200 },

        /* the longest is the longest */

        { 9, 0, 0, 60000, 60000 },
        { 9, HOUR_MS, 0, 300000, 300000 }
    };

    (void) state;

    for (i = 0; i < unit_count(retries); i++) {

        for (random = 0; random < 100000; random += 7) {

            wait_ms = aad_retry_ms(retries[i].failures, retries[i].lifetime_ms,
                                   retries[i].retry_after, random);

            assert_in_range(wait_ms, retries[i].least_ms, retries[i].most_ms);
        }

        assert_int_equal(aad_retry_ms(retries[i].failures,
                                      retries[i].lifetime_ms,
                                      retries[i].retry_after,
                                      retries[i].most_ms
                                      - retries[i].least_ms),
                         retries[i].most_ms);
    }
}


int
main(void)
{
    static const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_margins_shrink_with_the_lifetime),
        cmocka_unit_test(test_refresh_comes_before_the_usable_end),
        cmocka_unit_test(test_wish_of_the_service_is_followed),
        cmocka_unit_test(test_wish_that_comes_too_late_is_not_followed),
        cmocka_unit_test(test_jitter_is_early_by_up_to_a_tenth),
        cmocka_unit_test(test_usable_end_has_no_jitter),
        cmocka_unit_test(test_life_that_is_over_is_not_usable),
        cmocka_unit_test(test_retry_doubles_up_to_its_maximum),
        cmocka_unit_test(test_retry_waits_as_long_as_the_service_asks),
        cmocka_unit_test(test_retry_shrinks_with_a_short_life),
        cmocka_unit_test(test_wish_of_a_moment_is_not_followed),
        cmocka_unit_test(test_wish_to_wait_has_limits),
        cmocka_unit_test(test_retry_is_spread_and_never_early)
    };

    return cmocka_run_group_tests_name("schedule", tests, NULL, NULL);
}
