
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * What is asked again, after which wait, and when it is given up.  The waits
 * are those of the test's clock: nobody sleeps.
 */


#include "identity.h"


#define HOUR_MS     3600000


static void
test_waits_grow_and_are_spread(void **state)
{
    size_t    i;
    uint32_t  random;
    int64_t   wait_ms, least_ms, most_ms;

    static const struct {
        const aad_retry_t      *retry;
        unsigned                tries;
        int64_t                 least_ms;
        int64_t                 most_ms;
    } waits[] = {
        { &aad_retry_authority, 1, 640, 1040 },
        { &aad_retry_authority, 2, 1920, 3120 },
        { &aad_retry_authority, 3, 4480, 7280 },
        { &aad_retry_authority, 99, 60000, 60000 },
        { &aad_retry_imds, 1, 1600, 2600 },
        { &aad_retry_imds, 2, 4800, 7800 },
        { &aad_retry_imds, 3, 11200, 18200 },
        { &aad_retry_imds, 4, 24000, 25000 },
        { &aad_retry_imds, 5, 24000, 25000 },
        { &aad_retry_imds, 4000000000, 24000, 25000 },
        { &aad_retry_machine, 1, 640, 1040 },
        { &aad_retry_machine, 2, 1920, 3120 }
    };

    (void) state;

    for (i = 0; i < unit_count(waits); i++) {

        least_ms = INT64_MAX;
        most_ms = 0;

        for (random = 4294967295 - 200; random != 100; random++) {
            wait_ms = aad_retry_wait_ms(waits[i].retry, waits[i].tries,
                                        random);

            least_ms = wait_ms < least_ms ? wait_ms : least_ms;
            most_ms = wait_ms > most_ms ? wait_ms : most_ms;
        }

        assert_int_equal(least_ms, waits[i].least_ms);
        assert_int_equal(most_ms, waits[i].most_ms);
    }
}


/* contract 8.7 */
static void
test_authority_is_asked_again_for_what_passes(void **state)
{
    size_t            i;
    unit_identity_t  *identity = *state;

    static const int  statuses[] = { 408, 429, 500, 502, 503, 504 };

    unit_identity_secret_step(identity, "secret");

    for (i = 0; i < unit_count(statuses); i++) {
        identity->clock.waited_ms = 0;

        unit_server_answer(&identity->authority, statuses[i], "", "");
        unit_server_answer(&identity->authority, 200, "", UNIT_APP_TOKEN);

        assert_int_equal(unit_identity_ask(identity), AAD_OK);
        assert_in_range(identity->clock.waited_ms, 640, 1040);
        assert_int_equal(unit_server_requests(&identity->authority), 2 + 2 * i);
        assert_string_equal(unit_identity_reason(identity, 0), "");
    }
}


static void
test_failed_connection_to_the_authority_is_tried_again(void **state)
{
    size_t            i;
    unit_identity_t  *identity = *state;

    static const char *const  answers[] = {
        "", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"half"
    };

    unit_identity_secret_step(identity, "secret");

    for (i = 0; i < unit_count(answers); i++) {
        unit_server_bytes(&identity->authority, answers[i],
                          strlen(answers[i]));
        unit_server_answer(&identity->authority, 200, "", UNIT_APP_TOKEN);

        assert_int_equal(unit_identity_ask(identity), AAD_OK);
        assert_string_equal(identity->token.access_token.data, "app-token");
        assert_int_equal(unit_server_requests(&identity->authority), 2 + 2 * i);
    }
}


static void
test_what_the_authority_refuses_is_never_asked_again(void **state)
{
    size_t            i;
    unit_identity_t  *identity = *state;

    static const int  statuses[] = {
        201, 302, 307, 400, 401, 403, 404, 410, 501, 505, 599
    };

    unit_identity_secret_step(identity, "secret");

    for (i = 0; i < unit_count(statuses); i++) {
        unit_server_answer(&identity->authority, statuses[i],
                           "Retry-After: 1\r\n", "");

        assert_int_equal(unit_identity_ask_step(identity, AAD_CHAIN_STEPS_MAX,
                                                HOUR_MS),
                         AAD_FAILED);
        assert_int_equal(unit_server_requests(&identity->authority), 1 + i);
    }

    assert_int_equal(identity->clock.waited_ms, 0);
}


/* each time the same request, in the hour in which it was sent */
static void
test_every_try_is_the_whole_request(void **state)
{
    char              id[2][64];
    size_t            i;
    unit_identity_t  *identity = *state;

    unit_identity_secret_step(identity, "secret");
    unit_server_answer(&identity->authority, 503, "", "");
    unit_server_answer(&identity->authority, 200, "", UNIT_APP_TOKEN);

    assert_int_equal(unit_identity_ask(identity), AAD_OK);
    assert_int_equal(identity->token.received_on, UNIT_NOW);
    assert_int_equal(identity->token.expires_on, UNIT_NOW + 3599);

    for (i = 0; i < 2; i++) {
        unit_assert_request_line(unit_server_request(&identity->authority, i),
                                 "POST " UNIT_TOKEN_TARGET " HTTP/1.1");
        (void) unit_request_header(unit_server_request(&identity->authority,
                                                       i),
                                   "client-request-id", id[i], sizeof(id[i]));
    }

    assert_string_equal(unit_request_body(
                            unit_server_request(&identity->authority, 0)),
                        unit_request_body(
                            unit_server_request(&identity->authority, 1)));
    assert_string_equal(id[0], id[1]);
}


static void
test_number_of_tries_has_an_end(void **state)
{
    unit_identity_t  *identity = *state;

    unit_identity_secret_step(identity, "secret");
    unit_server_answers(&identity->authority, 4, 503, "", "");

    assert_int_equal(unit_identity_ask_step(identity, AAD_CHAIN_STEPS_MAX,
                                            HOUR_MS),
                     AAD_FAILED);
    assert_int_equal(unit_server_requests(&identity->authority), 4);
    assert_in_range(identity->clock.waited_ms, 7040, 11440);
    unit_assert_contains(unit_identity_reason(identity, 0), "status 503");
}


/* half of the call's time: requests wait for its end */
static void
test_tries_end_at_half_of_the_time(void **state)
{
    size_t            i, asked;
    unit_identity_t  *identity = *state;

    static const struct {
        int64_t                 timeout_ms;
        size_t                  tries;
        int64_t                 waited_ms;
    } calls[] = {
        { 1200, 1, 0 },
        { 3000, 2, 1040 },
        { 10000, 3, 4160 },
        { 60000, 4, 11440 }
    };

    unit_identity_secret_step(identity, "secret");
    asked = 0;

    for (i = 0; i < unit_count(calls); i++) {
        identity->clock.waited_ms = 0;
        asked += calls[i].tries;

        unit_server_answers(&identity->authority, calls[i].tries, 503, "",
                            "");

        assert_int_equal(unit_identity_ask_step(identity, AAD_CHAIN_STEPS_MAX,
                                                calls[i].timeout_ms),
                         AAD_FAILED);
        assert_int_equal(unit_server_requests(&identity->authority), asked);
        assert_in_range(identity->clock.waited_ms, 0, calls[i].waited_ms);

        /* it is the service's own word that is told, not that time is up */

        unit_assert_contains(unit_identity_reason(identity, 0), "status 503");
        assert_int_equal(identity->report.attempts[0].retry_after, 0);
    }
}


static void
test_wish_to_wait_is_honoured(void **state)
{
    size_t            i;
    unit_identity_t  *identity = *state;

    static const struct {
        const char             *headers;
        int64_t                 waited_ms;
    } wishes[] = {
        { "Retry-After: 3\r\n", 3000 },
        { "retry-after-ms: 250\r\n", 250 },
        { "x-ms-retry-after-ms: 1234\r\n", 1234 },
        { "Retry-After: 4\r\nretry-after-ms: 20\r\n", 20 }
    };

    unit_identity_secret_step(identity, "secret");

    for (i = 0; i < unit_count(wishes); i++) {
        identity->clock.waited_ms = 0;

        unit_server_answer(&identity->authority, 429, wishes[i].headers, "");
        unit_server_answer(&identity->authority, 200, "", UNIT_APP_TOKEN);

        assert_int_equal(unit_identity_ask(identity), AAD_OK);
        assert_in_range(identity->clock.waited_ms, wishes[i].waited_ms - 20,
                        wishes[i].waited_ms);
        assert_int_equal(identity->report.attempts[0].retry_after, 0);
    }
}


static void
test_wish_to_wait_too_long_is_handed_on(void **state)
{
    size_t            i;
    unit_identity_t  *identity = *state;

    static const struct {
        const char             *headers;
        int                     retry_after;
    } wishes[] = {
        { "Retry-After: 6\r\n", 6 },
        { "Retry-After: 86400\r\n", 86400 },
        { "retry-after-ms: 5001\r\n", 6 }
    };

    unit_identity_secret_step(identity, "secret");

    for (i = 0; i < unit_count(wishes); i++) {
        unit_server_answer(&identity->authority, 429, wishes[i].headers, "");

        assert_int_equal(unit_identity_ask(identity), AAD_FAILED);
        assert_int_equal(identity->report.attempts[0].retry_after,
                         wishes[i].retry_after);
        assert_int_equal(unit_server_requests(&identity->authority), 1 + i);
    }

    assert_int_equal(identity->clock.waited_ms, 0);
}


/* all steps of a chain together have one time */
static void
test_time_is_that_of_the_whole_chain(void **state)
{
    unit_identity_t  *identity = *state;

    unit_identity_step(identity, "managed_identity", NULL);
    unit_identity_secret_step(identity, "secret");

    /* 4.9 s of 5 s are waited for the first step, which then has no token */

    unit_server_answer(&identity->machine, 429, "retry-after-ms: 4900\r\n",
                       "");
    unit_server_answer(&identity->machine, 400, "", "");
    unit_server_answer(&identity->authority, 503, "", "");

    assert_int_equal(unit_identity_ask(identity), AAD_FAILED);
    assert_int_equal(identity->report.count, 2);
    assert_int_equal(unit_server_requests(&identity->machine), 2);
    assert_int_equal(unit_server_requests(&identity->authority), 1);
}


/* without the test's wait: the thread itself sleeps */
static void
test_wait_is_given_up_when_the_call_is(void **state)
{
    int64_t           started_ms;
    unit_identity_t  *identity = *state;

    identity->hooks.wait = NULL;
    unit_identity_secret_step(identity, "secret");
    unit_server_answer(&identity->authority, 503, "Retry-After: 600\r\n", "");

    started_ms = unit_real_ms();
    identity->clock.cancel_after_ms = started_ms - identity->clock.started_ms
                                      + 400;

    assert_int_equal(unit_identity_ask_step(identity, AAD_CHAIN_STEPS_MAX,
                                            HOUR_MS),
                     AAD_FAILED);
    assert_in_range(unit_real_ms() - started_ms, 350, 60000);
    assert_int_equal(unit_server_requests(&identity->authority), 1);
    unit_assert_contains(unit_identity_reason(identity, 0), "status 503");
}


static void
test_wait_is_slept_where_nobody_else_lets_it_pass(void **state)
{
    int64_t           started_ms;
    unit_identity_t  *identity = *state;

    identity->hooks.wait = NULL;
    unit_identity_secret_step(identity, "secret");
    unit_server_answer(&identity->authority, 503, "retry-after-ms: 150\r\n",
                       "");
    unit_server_answer(&identity->authority, 200, "", UNIT_APP_TOKEN);

    started_ms = unit_real_ms();

    assert_int_equal(unit_identity_ask_step(identity, AAD_CHAIN_STEPS_MAX,
                                            HOUR_MS),
                     AAD_OK);
    assert_in_range(unit_real_ms() - started_ms, 150, 60000);
}


int
main(void)
{
    static const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_waits_grow_and_are_spread),
        unit_identity_test(test_authority_is_asked_again_for_what_passes),
        unit_identity_test(
            test_failed_connection_to_the_authority_is_tried_again),
        unit_identity_test(
            test_what_the_authority_refuses_is_never_asked_again),
        unit_identity_test(test_every_try_is_the_whole_request),
        unit_identity_test(test_number_of_tries_has_an_end),
        unit_identity_test(test_tries_end_at_half_of_the_time),
        unit_identity_test(test_wish_to_wait_is_honoured),
        unit_identity_test(test_wish_to_wait_too_long_is_handed_on),
        unit_identity_test(test_time_is_that_of_the_whole_chain),
        unit_identity_test(test_wait_is_given_up_when_the_call_is),
        unit_identity_test(test_wait_is_slept_where_nobody_else_lets_it_pass)
    };

    if (aad_global_init() != 0) {
        return 1;
    }

    return cmocka_run_group_tests_name("retry", tests, NULL, NULL);
}
