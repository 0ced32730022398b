
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * IMDS: what it is asked, which of its answers hand on to the next step, and
 * how long it is waited for.
 */


#include "source.h"


#define TARGET  "/metadata/identity/oauth2/token?api-version=2018-02-01&"     \
                UNIT_RESOURCE_QUERY


static const unit_header_t  headers[] = {
    { "Metadata", "true" },
    { NULL, NULL }
};


static void
test_imds_is_asked_for_the_machines_own(void **state)
{
    unit_source_get(*state, NULL, NULL, TARGET, headers);
}


static void
test_imds_is_asked_by_client_id(void **state)
{
    unit_source_get(*state, "client_id", UNIT_CLIENT,
                  TARGET "&client_id=" UNIT_CLIENT, headers);
}


static void
test_imds_is_asked_by_object_id(void **state)
{
    unit_source_get(*state, "object_id", UNIT_OBJECT,
                  TARGET "&object_id=" UNIT_OBJECT, headers);
}


static void
test_imds_is_asked_by_resource_id(void **state)
{
    unit_source_get(*state, "resource_id", UNIT_RESOURCE_ID,
                  TARGET "&msi_res_id=" UNIT_RESOURCE_ID_QUERY, headers);
}


static void
test_imds_host_may_end_with_a_slash(void **state)
{
    char              url[128];
    unit_identity_t  *identity = *state;

    snprintf(url, sizeof(url), "%s/", identity->machine.url);
    unit_identity_variable(identity, "AZURE_POD_IDENTITY_AUTHORITY_HOST", url);

    unit_source_get(identity, NULL, NULL, TARGET, headers);
}


static void
test_service_principal_does_not_choose_an_identity(void **state)
{
    unit_identity_t  *identity = *state;

    unit_identity_variable(identity, "AZURE_CLIENT_ID", UNIT_CLIENT);

    unit_source_get(identity, NULL, NULL, TARGET, headers);
}


static void
test_slash_of_the_resource_is_kept(void **state)
{
    unit_identity_t  *identity = *state;

    identity->settings.scope = "https://example.com//.default";

    unit_source_get(identity, NULL, NULL,
                    "/metadata/identity/oauth2/token"
                  "?api-version=2018-02-01"
                  "&resource=https%3A%2F%2Fexample.com%2F", headers);
}


static void
test_imds_400_goes_on(void **state)
{
    static const unit_refusal_t  refusals[] = {
        { 400, "{\"error\":\"invalid_request\",\"error_description\":"
          "\"Identity not found\"}", AAD_UNAVAILABLE, "invalid_request",
          "has no system-assigned identity; enable it, or name a "
          "user-assigned one with \"client_id=\" (IMDS: status 400, "
          "invalid_request: Identity not found)", 1 },
        { 400, "{\"error\":\"invalid_resource\",\"error_description\":"
          "\"AADSTS500011: The resource principal was not found.\"}",
          AAD_UNAVAILABLE, "AADSTS500011", "The resource principal", 1 },
        { 400, "", AAD_UNAVAILABLE, "", "status 400 with nothing", 1 }
    };

    unit_source_refusals(*state, NULL, NULL, refusals,
                         unit_count(refusals));
}


static void
test_imds_400_for_a_named_identity_says_so(void **state)
{
    static const unit_refusal_t  refusals[] = {
        { 400, "{\"error\":\"invalid_request\",\"error_description\":"
          "\"Identity not found\"}", AAD_UNAVAILABLE, "invalid_request",
          "has no such identity; assign it to the machine", 1 }
    };

    unit_source_refusals(*state, "client_id", UNIT_CLIENT, refusals,
                         unit_count(refusals));
}


static void
test_imds_403_unreachable_goes_on(void **state)
{
    static const unit_refusal_t  refusals[] = {
        { 403, "connecting to 169.254.169.254:80: connecting to "
          "169.254.169.254:80: dial tcp 169.254.169.254:80: connectex: A "
          "socket operation was attempted to an unreachable network.",
          AAD_UNAVAILABLE, "", "IMDS is not reachable here", 1 },
        { 403, "{\"error\":\"forbidden\"}", AAD_FAILED, "forbidden",
          "IMDS: status 403, forbidden", 1 }
    };

    unit_source_refusals(*state, NULL, NULL, refusals,
                         unit_count(refusals));
}


static void
test_imds_other_statuses_stop(void **state)
{
    static const unit_refusal_t  refusals[] = {
        { 401, "{\"error\":\"unknown_source\"}", AAD_FAILED, "unknown_source",
          "IMDS: status 401, unknown_source", 1 },
        { 404, "{\"error\":\"not_found\"}", AAD_FAILED, "not_found",
          "IMDS: status 404, not_found",
          UNIT_IMDS_TRIES },
        { 404, "<html>unreachable</html>", AAD_FAILED, "",
          "IMDS: status 404 with HTML",
          UNIT_IMDS_TRIES },
        { 410, "", AAD_FAILED, "", "IMDS: status 410 with nothing",
          UNIT_IMDS_TRIES },
        { 429, "{\"error\":\"throttled\"}", AAD_FAILED, "throttled",
          "IMDS: status 429, throttled",
          UNIT_IMDS_TRIES },
        { 500, "{\"error\":\"unknown\"}", AAD_FAILED, "unknown",
          "IMDS: status 500, unknown",
          UNIT_IMDS_TRIES },
        { 502, "<html>proxy</html>", AAD_FAILED, "",
          "IMDS: status 502 with HTML",
          UNIT_IMDS_TRIES },
        { 302, "", AAD_FAILED, "", "IMDS: status 302", 1 }
    };

    unit_source_refusals(*state, NULL, NULL, refusals,
                         unit_count(refusals));
}


static void
test_imds_200_that_is_no_json_goes_on(void **state)
{
    static const unit_refusal_t  refusals[] = {
        { 200, "<html>Sign in to this network</html>", AAD_UNAVAILABLE, "",
          "IMDS: the answer is no JSON object", 1 },
        { 200, "", AAD_UNAVAILABLE, "",
          "IMDS: the answer is no JSON object", 1 },
        { 200, "OK", AAD_UNAVAILABLE, "",
          "IMDS: the answer is no JSON object", 1 }
    };

    unit_source_refusals(*state, NULL, NULL, refusals,
                         unit_count(refusals));
}


static void
test_imds_200_without_a_good_token_stops(void **state)
{
    static const unit_refusal_t  refusals[] = {
        { 200, "{}", AAD_FAILED, "",
          "IMDS: the answer has no access token", 1 },
        { 200, "{\"access_token\":\"a b\",\"expires_in\":\"60\"}", AAD_FAILED,
          "", "IMDS: the answer's token has characters", 1 },
        { 200, "{\"access_token\":\"a\",\"expires_in\":\"0\"}", AAD_FAILED,
          "", "IMDS: the answer's token is valid for 0 s", 1 }
    };

    unit_source_refusals(*state, NULL, NULL, refusals,
                         unit_count(refusals));
}


static void
test_imds_wish_to_wait_is_told(void **state)
{
    unit_identity_t  *identity = *state;

    unit_identity_step(identity, "managed_identity", NULL);
    unit_server_answer(&identity->machine, 429, "Retry-After: 17\r\n", "");

    assert_int_equal(unit_identity_ask(identity), AAD_FAILED);
    assert_int_equal(identity->report.attempts[0].retry_after, 17);
    assert_int_equal(identity->clock.waited_ms, 0);
}


static void
test_nobody_at_imds_goes_on(void **state)
{
    size_t            i;
    unit_identity_t  *identity = *state;

    static const char *const  answers[] = {
        "", "SSH-2.0-OpenSSH_9.2\r\n", "HTTP/1.1 200 OK\r\n"
        "Content-Length: 100\r\n\r\n{\"access_token\":\"half"
    };

    unit_identity_step(identity, "managed_identity", NULL);
    unit_identity_secret_step(identity, "secret");

    for (i = 0; i < unit_count(answers); i++) {
        unit_server_bytes(&identity->machine, answers[i], strlen(answers[i]));
        unit_server_answer(&identity->authority, 200, "", UNIT_APP_TOKEN);

        assert_int_equal(unit_identity_ask(identity), AAD_OK);
        assert_int_equal(identity->token.step, 1);
        unit_assert_contains(unit_identity_reason(identity, 0),
                             "no managed identity endpoint here");
        unit_assert_lacks(unit_identity_reason(identity, 0), "half");
    }
}


static void
test_closed_port_of_imds_goes_on(void **state)
{
    unit_identity_t  *identity = *state;

    unit_identity_variable(identity, "AZURE_POD_IDENTITY_AUTHORITY_HOST",
                           identity->closed_url);
    unit_identity_step(identity, "managed_identity", NULL);
    unit_identity_secret_step(identity, "secret");
    unit_server_answer(&identity->authority, 200, "", UNIT_APP_TOKEN);

    assert_int_equal(unit_identity_ask(identity), AAD_OK);
    assert_int_equal(identity->report.attempts[0].result, AAD_UNAVAILABLE);
    unit_assert_contains(unit_identity_reason(identity, 0),
                         "no managed identity endpoint here");
}


/* the first step that is not alone must not keep the next one waiting */
static void
test_imds_that_cannot_be_reached_is_asked_once_before_a_step(void **state)
{
    unit_identity_t  *identity = *state;

    unit_identity_variable(identity, "AZURE_POD_IDENTITY_AUTHORITY_HOST",
                           identity->closed_url);
    unit_identity_step(identity, "managed_identity", NULL);
    unit_identity_secret_step(identity, "secret");
    unit_server_answer(&identity->authority, 200, "", UNIT_APP_TOKEN);

    assert_int_equal(unit_identity_ask(identity), AAD_OK);
    assert_int_equal(identity->token.step, 1);
    assert_int_equal(identity->clock.waited_ms, 0);
}


static void
test_imds_that_cannot_be_reached_is_asked_again_as_the_last(void **state)
{
    unit_identity_t  *identity = *state;

    unit_identity_step(identity, "managed_identity", NULL);
    unit_server_bytes(&identity->machine, "", 0);
    unit_server_answer(&identity->machine, 200, "", UNIT_MACHINE_TOKEN);

    assert_int_equal(unit_identity_ask(identity), AAD_OK);
    assert_in_range(identity->clock.waited_ms, 1600, 2600);
}


/* the token that is there is its: nobody else is asked */
static void
test_imds_that_has_won_is_asked_again(void **state)
{
    unit_identity_t  *identity = *state;

    unit_identity_step(identity, "managed_identity", NULL);
    unit_identity_secret_step(identity, "secret");
    unit_server_bytes(&identity->machine, "", 0);
    unit_server_answer(&identity->machine, 200, "", UNIT_MACHINE_TOKEN);

    assert_int_equal(unit_identity_ask_step(identity, 0, UNIT_TIMEOUT_MS),
                     AAD_OK);
    assert_in_range(identity->clock.waited_ms, 1600, 2600);
    assert_int_equal(unit_server_requests(&identity->authority), 0);
}


/* with a step behind it too: it is there, and it will be ready */
static void
test_imds_that_is_being_updated_is_waited_for(void **state)
{
    size_t            i;
    unit_identity_t  *identity = *state;

    static const int  statuses[] = { 404, 410, 429, 500, 502, 503, 599 };

    unit_identity_step(identity, "managed_identity", NULL);
    unit_identity_secret_step(identity, "secret");

    for (i = 0; i < unit_count(statuses); i++) {
        identity->clock.waited_ms = 0;

        unit_server_answer(&identity->machine, statuses[i], "", "");
        unit_server_answer(&identity->machine, 200, "", UNIT_MACHINE_TOKEN);

        assert_int_equal(unit_identity_ask(identity), AAD_OK);
        assert_int_equal(identity->token.step, 0);
        assert_in_range(identity->clock.waited_ms, 1600, 2600);
    }
}


/* "ready again within 70 s" */
static void
test_imds_410_is_asked_for_70_seconds_where_there_is_time(void **state)
{
    unit_identity_t  *identity = *state;

    unit_identity_step(identity, "managed_identity", NULL);
    unit_server_answers(&identity->machine, 7, 410, "", "");

    assert_int_equal(unit_identity_ask_step(identity, AAD_CHAIN_STEPS_MAX,
                                            600000),
                     AAD_FAILED);
    unit_assert_contains(unit_identity_reason(identity, 0), "status 410");
    assert_int_equal(unit_server_requests(&identity->machine), 7);
    assert_in_range(identity->clock.waited_ms, 70000, 150000);
}


static void
test_imds_keeps_the_rules_of_all(void **state)
{
    unit_source_rules(*state);
}


int
main(void)
{
    static const struct CMUnitTest  tests[] = {
        unit_identity_test(test_imds_is_asked_for_the_machines_own),
        unit_identity_test(test_imds_is_asked_by_client_id),
        unit_identity_test(test_imds_is_asked_by_object_id),
        unit_identity_test(test_imds_is_asked_by_resource_id),
        unit_identity_test(test_imds_host_may_end_with_a_slash),
        unit_identity_test(test_service_principal_does_not_choose_an_identity),
        unit_identity_test(test_slash_of_the_resource_is_kept),
        unit_identity_test(test_imds_400_goes_on),
        unit_identity_test(test_imds_400_for_a_named_identity_says_so),
        unit_identity_test(test_imds_403_unreachable_goes_on),
        unit_identity_test(test_imds_other_statuses_stop),
        unit_identity_test(test_imds_200_that_is_no_json_goes_on),
        unit_identity_test(test_imds_200_without_a_good_token_stops),
        unit_identity_test(test_imds_wish_to_wait_is_told),
        unit_identity_test(test_nobody_at_imds_goes_on),
        unit_identity_test(test_closed_port_of_imds_goes_on),
        unit_identity_test(
            test_imds_that_cannot_be_reached_is_asked_once_before_a_step),
        unit_identity_test(
            test_imds_that_cannot_be_reached_is_asked_again_as_the_last),
        unit_identity_test(test_imds_that_has_won_is_asked_again),
        unit_identity_test(test_imds_that_is_being_updated_is_waited_for),
        unit_identity_test(
            test_imds_410_is_asked_for_70_seconds_where_there_is_time),
        unit_identity_test(test_imds_keeps_the_rules_of_all)
    };

    if (aad_global_init() != 0) {
        return 1;
    }

    return cmocka_run_group_tests_name("IMDS", tests, NULL, NULL);
}
