
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * The chain: which step is asked, which one stops it, what each one said, and
 * that no secret is among it.
 */


#include "identity.h"


#define SECRET  "Very~Secret~0123456789"


static void
test_first_step_that_has_a_token_is_the_last_asked(void **state)
{
    unit_identity_t  *identity = *state;

    unit_identity_step(identity, "managed_identity", NULL);
    unit_identity_secret_step(identity, SECRET);
    unit_server_answer(&identity->machine, 200, "", UNIT_MACHINE_TOKEN);

    assert_int_equal(unit_identity_ask(identity), AAD_OK);

    assert_string_equal(identity->token.access_token.data, "machine-token");
    assert_string_equal(identity->token.credential, "managed_identity");
    assert_int_equal(identity->token.step, 0);
    assert_int_equal(identity->token.received_on, UNIT_NOW);
    assert_int_equal(identity->token.expires_on, UNIT_NOW + 3599);

    assert_int_equal(identity->report.count, 1);
    assert_int_equal(identity->report.attempts[0].result, AAD_OK);
    assert_string_equal(identity->report.attempts[0].credential,
                        "managed_identity");
    assert_int_equal(unit_server_requests(&identity->authority), 0);
}


static void
test_step_that_does_not_apply_hands_on(void **state)
{
    unit_identity_t  *identity = *state;

    unit_identity_step(identity, "environment", NULL);
    unit_identity_step(identity, "managed_identity", NULL);
    unit_identity_secret_step(identity, SECRET);

    unit_server_answer(&identity->machine, 400, "",
                       "{\"error\":\"invalid_request\","
                       "\"error_description\":\"Identity not found\"}");
    unit_server_answer(&identity->authority, 200, "", UNIT_APP_TOKEN);

    assert_int_equal(unit_identity_ask(identity), AAD_OK);

    assert_string_equal(identity->token.access_token.data, "app-token");
    assert_string_equal(identity->token.credential, "client_secret");
    assert_int_equal(identity->token.step, 2);

    assert_int_equal(identity->report.count, 3);
    assert_int_equal(identity->report.attempts[0].result, AAD_UNAVAILABLE);
    assert_int_equal(identity->report.attempts[1].result, AAD_UNAVAILABLE);
    assert_int_equal(identity->report.attempts[2].result, AAD_OK);
    unit_assert_contains(unit_identity_reason(identity, 0),
                         "AZURE_TENANT_ID");
    unit_assert_contains(unit_identity_reason(identity, 1),
                         "Identity not found");
}


static void
test_step_that_fails_stops_the_chain(void **state)
{
    unit_identity_t  *identity = *state;

    unit_identity_secret_step(identity, SECRET);
    unit_identity_step(identity, "managed_identity", NULL);
    unit_server_answer(&identity->authority, 401, "",
                       "{\"error\":\"invalid_client\"}");

    assert_int_equal(unit_identity_ask(identity), AAD_FAILED);

    assert_int_equal(identity->report.count, 1);
    assert_int_equal(identity->report.attempts[0].result, AAD_FAILED);
    assert_int_equal(unit_server_requests(&identity->machine), 0);
    assert_int_equal(identity->token.access_token.length, 0);
}


static void
test_steps_that_all_do_not_apply_are_all_told(void **state)
{
    size_t            i;
    unit_identity_t  *identity = *state;

    unit_identity_variable(identity, "AZURE_POD_IDENTITY_AUTHORITY_HOST",
                           identity->closed_url);
    unit_identity_variable(identity, "PATH", identity->directory);

    unit_identity_step(identity, "managed_identity", NULL);
    unit_identity_step(identity, "environment", NULL);
    unit_identity_step(identity, "azure_cli", NULL);

    assert_int_equal(unit_identity_ask(identity), AAD_UNAVAILABLE);

    assert_int_equal(identity->report.count, 3);

    for (i = 0; i < 3; i++) {
        assert_int_equal(identity->report.attempts[i].result,
                         AAD_UNAVAILABLE);
    }

    unit_assert_contains(unit_identity_reason(identity, 0),
                         "no managed identity endpoint here");
    unit_assert_contains(unit_identity_reason(identity, 1), "is not set");
    unit_assert_contains(unit_identity_reason(identity, 2),
                         "is not installed");
}


static void
test_only_asks_one_step_alone(void **state)
{
    unit_identity_t  *identity = *state;

    unit_identity_step(identity, "managed_identity", NULL);
    unit_identity_secret_step(identity, SECRET);
    unit_identity_secret_step(identity, "other");
    unit_server_answer(&identity->authority, 200, "", UNIT_APP_TOKEN);

    assert_int_equal(unit_identity_ask_step(identity, 1, UNIT_TIMEOUT_MS),
                     AAD_OK);

    assert_int_equal(identity->token.step, 1);
    assert_int_equal(identity->report.count, 1);
    assert_string_equal(identity->report.attempts[0].credential,
                        "client_secret");
    assert_int_equal(unit_server_requests(&identity->machine), 0);
    assert_int_equal(unit_server_requests(&identity->authority), 1);
}


static void
test_only_does_not_hand_on(void **state)
{
    unit_identity_t  *identity = *state;

    unit_identity_step(identity, "environment", NULL);
    unit_identity_secret_step(identity, SECRET);
    unit_server_answer(&identity->authority, 200, "", UNIT_APP_TOKEN);

    assert_int_equal(unit_identity_ask_step(identity, 0, UNIT_TIMEOUT_MS),
                     AAD_UNAVAILABLE);

    assert_int_equal(identity->report.count, 1);
    assert_int_equal(unit_server_requests(&identity->authority), 0);
    assert_int_equal(identity->token.access_token.length, 0);
}


static void
test_chain_may_be_full(void **state)
{
    size_t            i;
    unit_identity_t  *identity = *state;

    for (i = 1; i < AAD_CHAIN_STEPS_MAX; i++) {
        unit_identity_step(identity, "environment", NULL);
    }

    unit_identity_secret_step(identity, SECRET);
    unit_server_answer(&identity->authority, 200, "", UNIT_APP_TOKEN);

    assert_int_equal(unit_identity_ask(identity), AAD_OK);
    assert_int_equal(identity->token.step, AAD_CHAIN_STEPS_MAX - 1);
    assert_int_equal(identity->report.count, AAD_CHAIN_STEPS_MAX);
}


static void
test_empty_chain_has_no_token(void **state)
{
    unit_identity_t  *identity = *state;

    assert_int_equal(unit_identity_ask(identity), AAD_UNAVAILABLE);
    assert_int_equal(identity->report.count, 0);
    assert_int_equal(identity->token.access_token.length, 0);
}


static void
test_complaint_is_what_a_step_says(void **state)
{
    unit_identity_t  *identity = *state;

    unit_identity_variable(identity, "AZURE_CLIENT_ID", "<client id>");

    unit_identity_step(identity, "environment", NULL);
    unit_identity_secret_step(identity, SECRET);
    unit_server_answer(&identity->authority, 200, "", UNIT_APP_TOKEN);

    assert_int_equal(unit_identity_ask(identity), AAD_OK);
    assert_int_equal(identity->report.attempts[0].result, AAD_UNAVAILABLE);
    assert_string_equal(unit_identity_reason(identity, 0),
                        "AZURE_CLIENT_ID is not a GUID");
}


static void
test_call_ends_at_its_deadline(void **state)
{
    int64_t           started_ms;
    unit_identity_t  *identity = *state;

    unit_identity_secret_step(identity, SECRET);
    unit_server_answer(&identity->authority, 200, "", UNIT_APP_TOKEN)
        ->pause_ms = 4000;

    started_ms = unit_real_ms();

    assert_int_equal(unit_identity_ask_step(identity, AAD_CHAIN_STEPS_MAX,
                                            300), AAD_FAILED);
    assert_in_range(unit_real_ms() - started_ms, 250, 1500);
    unit_assert_contains(unit_identity_reason(identity, 0), "timed out");
}


static void
test_step_that_no_time_is_left_for_stops_the_chain(void **state)
{
    unit_identity_t  *identity = *state;

    unit_identity_step(identity, "managed_identity", NULL);
    unit_identity_secret_step(identity, SECRET);
    unit_server_answer(&identity->machine, 200, "", UNIT_MACHINE_TOKEN)
        ->pause_ms = 4000;

    assert_int_equal(unit_identity_ask_step(identity, AAD_CHAIN_STEPS_MAX,
                                            300), AAD_FAILED);
    assert_int_equal(identity->report.count, 2);
    unit_assert_contains(unit_identity_reason(identity, 1),
                         "no time was left");
    assert_int_equal(unit_server_requests(&identity->authority), 0);
}


static void
test_cancelled_call_asks_nobody(void **state)
{
    unit_identity_t  *identity = *state;

    identity->clock.cancel_after_ms = 0;

    unit_identity_secret_step(identity, SECRET);
    unit_server_answer(&identity->authority, 200, "", UNIT_APP_TOKEN);

    assert_int_equal(unit_identity_ask(identity), AAD_FAILED);
    assert_int_equal(unit_server_requests(&identity->authority), 0);
}


static void
test_second_call_starts_afresh(void **state)
{
    unit_identity_t  *identity = *state;

    unit_identity_secret_step(identity, SECRET);
    unit_server_answer(&identity->authority, 429, "Retry-After: 9\r\n",
                       "{\"error\":\"x\",\"error_codes\":[90055]}");
    unit_server_answer(&identity->authority, 200, "", UNIT_APP_TOKEN);

    assert_int_equal(unit_identity_ask(identity), AAD_FAILED);
    assert_int_equal(identity->report.attempts[0].retry_after, 9);
    assert_string_equal(identity->report.attempts[0].code, "AADSTS90055");

    assert_int_equal(unit_identity_ask(identity), AAD_OK);
    assert_int_equal(identity->report.count, 1);
    assert_int_equal(identity->report.attempts[0].retry_after, 0);
    assert_string_equal(identity->report.attempts[0].code, "");
    assert_string_equal(identity->report.attempts[0].reason, "");
}


static void
test_token_can_be_wiped_twice(void **state)
{
    unit_identity_t  *identity = *state;

    unit_identity_secret_step(identity, SECRET);
    unit_server_answer(&identity->authority, 200, "", UNIT_APP_TOKEN);

    assert_int_equal(unit_identity_ask(identity), AAD_OK);

    aad_token_wipe(&identity->token);
    aad_token_wipe(&identity->token);
    assert_string_equal(identity->token.access_token.data, "");
}


static void *
ask_in_thread(void *data)
{
    aad_token_t             token;
    aad_report_t            report;
    aad_result_t            result;
    const unit_identity_t  *identity = data;

    result = aad_get_token(&identity->settings, &identity->hooks,
                           UNIT_TIMEOUT_MS, AAD_CHAIN_STEPS_MAX, &token,
                           &report);

    if (result == AAD_OK
        && strcmp(token.access_token.data, "app-token") != 0)
    {
        result = AAD_FAILED;
    }

    aad_token_wipe(&token);

    return (void *) (intptr_t) result;
}


static void
test_threads_share_the_settings(void **state)
{
    int               i;
    void             *result;
    pthread_t         threads[8];
    unit_identity_t  *identity = *state;

    unit_identity_step(identity, "environment", NULL);
    unit_identity_secret_step(identity, SECRET);

    for (i = 0; i < 8; i++) {
        unit_server_answer(&identity->authority, 200, "", UNIT_APP_TOKEN);
    }

    for (i = 0; i < 8; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, ask_in_thread,
                                        identity), 0);
    }

    for (i = 0; i < 8; i++) {
        assert_int_equal(pthread_join(threads[i], &result), 0);
        assert_int_equal((intptr_t) result, AAD_OK);
    }

    assert_int_equal(unit_server_requests(&identity->authority), 8);
}


/* Asks with a secret, gets the body, and finds nothing of the secret told. */
static void
check_redaction(unit_identity_t *identity, const char *secret,
    const char *part, const char *body)
{
    const aad_attempt_t  *attempt;

    unit_identity_secret_step(identity, secret);
    unit_server_answer(&identity->authority, 401, "", body);

    assert_int_equal(unit_identity_ask(identity), AAD_FAILED);

    attempt = &identity->report.attempts[0];

    assert_string_not_equal(attempt->reason, "");
    unit_assert_lacks(attempt->reason, part);
    unit_assert_lacks(attempt->code, part);
    unit_assert_lacks(attempt->correlation_id, part);
}


static void
test_secret_in_the_words_is_not_told(void **state)
{
    check_redaction(*state, SECRET, SECRET, "{\"error\":\"invalid_client\","
                    "\"error_description\":\"the secret '" SECRET
                    "' is wrong\"}");
}


static void
test_secret_as_the_code_is_not_told(void **state)
{
    check_redaction(*state, SECRET, SECRET, "{\"error\":\"" SECRET "\"}");
}


static void
test_secret_as_the_correlation_id_is_not_told(void **state)
{
    check_redaction(*state, SECRET, SECRET, "{\"error\":\"invalid_client\","
                    "\"correlation_id\":\"" SECRET "\"}");
}


static void
test_secret_of_the_form_is_not_told(void **state)
{
    check_redaction(*state, "Very/Secret+0123456789=", "Secret",
                    "{\"error\":\"invalid_request\",\"error_description\":"
                    "\"cannot read client_secret="
                    "Very%2FSecret%2B0123456789%3D&grant_type=x\"}");
}


static void
test_secret_at_the_end_of_what_is_shown_is_not_told(void **state)
{
    size_t            i;
    char              body[1024], padding[512];
    unit_identity_t  *identity = *state;

    unit_identity_secret_step(identity, SECRET);

    /* wherever the words are cut, no half of it stays */

    memset(padding, '.', sizeof(padding));

    for (i = 0; i < 16; i++) {
        snprintf(body, sizeof(body), "{\"error\":\"x\","
                 "\"error_description\":\"%.*s" SECRET "\"}",
                 (int) (376 + 2 * i), padding);
        unit_server_answer(&identity->authority, 401, "", body);

        assert_int_equal(unit_identity_ask(identity), AAD_FAILED);
        unit_assert_lacks(unit_identity_reason(identity, 0), "Very~");
    }
}


static void
test_secret_of_another_step_is_not_told(void **state)
{
    unit_identity_t  *identity = *state;

    unit_identity_variable(identity, "AZURE_CLIENT_SECRET", SECRET);
    unit_identity_step(identity, "environment", NULL);
    unit_identity_step(identity, "managed_identity", NULL);
    unit_server_answers(&identity->machine, UNIT_IMDS_TRIES, 500, "",
                        "{\"error\":\"x\"}");

    assert_int_equal(unit_identity_ask(identity), AAD_FAILED);
    unit_assert_lacks(unit_identity_reason(identity, 0), SECRET);
    unit_assert_lacks(unit_identity_reason(identity, 1), SECRET);
}


int
main(void)
{
    static const struct CMUnitTest  tests[] = {
        unit_identity_test(test_first_step_that_has_a_token_is_the_last_asked),
        unit_identity_test(test_step_that_does_not_apply_hands_on),
        unit_identity_test(test_step_that_fails_stops_the_chain),
        unit_identity_test(test_steps_that_all_do_not_apply_are_all_told),
        unit_identity_test(test_only_asks_one_step_alone),
        unit_identity_test(test_only_does_not_hand_on),
        unit_identity_test(test_chain_may_be_full),
        unit_identity_test(test_empty_chain_has_no_token),
        unit_identity_test(test_complaint_is_what_a_step_says),
        unit_identity_test(test_call_ends_at_its_deadline),
        unit_identity_test(test_step_that_no_time_is_left_for_stops_the_chain),
        unit_identity_test(test_cancelled_call_asks_nobody),
        unit_identity_test(test_second_call_starts_afresh),
        unit_identity_test(test_token_can_be_wiped_twice),
        unit_identity_test(test_threads_share_the_settings),
        unit_identity_test(test_secret_in_the_words_is_not_told),
        unit_identity_test(test_secret_as_the_code_is_not_told),
        unit_identity_test(test_secret_as_the_correlation_id_is_not_told),
        unit_identity_test(test_secret_of_the_form_is_not_told),
        unit_identity_test(
            test_secret_at_the_end_of_what_is_shown_is_not_told),
        unit_identity_test(test_secret_of_another_step_is_not_told)
    };

    if (aad_global_init() != 0) {
        return 1;
    }

    return cmocka_run_group_tests_name("chain", tests, NULL, NULL);
}
