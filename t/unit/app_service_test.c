
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * App Service, Functions and Container Apps: what they are asked, and that
 * every error of theirs is final.
 */


#include "source.h"


#define TARGET  "/msi/token?api-version=2019-08-01&" UNIT_RESOURCE_QUERY


static const unit_header_t  headers[] = {
    { "X-IDENTITY-HEADER", UNIT_HEADER },
    { NULL, NULL }
};


static void
app_service(unit_identity_t *identity, const char *path)
{
    unit_source_endpoint(identity, "IDENTITY_ENDPOINT", path);
    unit_identity_variable(identity, "IDENTITY_HEADER", UNIT_HEADER);
}


static void
test_app_service_is_asked_for_the_apps_own(void **state)
{
    app_service(*state, "/msi/token");
    unit_source_get(*state, NULL, NULL, TARGET, headers);
}


static void
test_app_service_is_asked_by_client_id(void **state)
{
    app_service(*state, "/msi/token");
    unit_source_get(*state, "client_id", UNIT_CLIENT,
                  TARGET "&client_id=" UNIT_CLIENT, headers);
}


static void
test_app_service_is_asked_by_object_id(void **state)
{
    app_service(*state, "/msi/token");
    unit_source_get(*state, "object_id", UNIT_OBJECT,
                  TARGET "&principal_id=" UNIT_OBJECT, headers);
}


static void
test_app_service_is_asked_by_resource_id(void **state)
{
    app_service(*state, "/msi/token");
    unit_source_get(*state, "resource_id", UNIT_RESOURCE_ID,
                  TARGET "&mi_res_id=" UNIT_RESOURCE_ID_QUERY, headers);
}


static void
test_endpoint_may_have_a_query(void **state)
{
    app_service(*state, "/msi/token?a=b");
    unit_source_get(*state, NULL, NULL, "/msi/token?a=b&api-version=2019-08-01&"
                  UNIT_RESOURCE_QUERY, headers);
}


static void
test_app_service_errors_stop(void **state)
{
    static const unit_refusal_t  refusals[] = {
        { 400, "{\"statusCode\":400,\"message\":\"No User Assigned or "
          "Delegated Managed Identity found\",\"correlationId\":\""
          UNIT_OBJECT "\"}", AAD_FAILED, "", "App Service: status 400: No "
          "User Assigned or Delegated Managed Identity found; has the app a "
          "system-assigned identity?", 1 },
        { 401, "", AAD_FAILED, "", "App Service: status 401 with nothing", 1 },
        { 403, "unreachable", AAD_FAILED, "", "App Service: status 403", 1 },
        { 404, "<html></html>", AAD_FAILED, "",
          "App Service: status 404 with HTML", 1 },
        { 500, "{\"statusCode\":500,\"message\":\"x\"}", AAD_FAILED, "",
          "App Service: status 500: x",
          UNIT_MACHINE_TRIES },
        { 200, "<html></html>", AAD_FAILED, "",
          "App Service: the answer is no JSON object", 1 },
        { 200, "", AAD_FAILED, "",
          "App Service: the answer is no JSON object", 1 },
        { 200, "{}", AAD_FAILED, "",
          "App Service: the answer has no access token", 1 }
    };

    app_service(*state, "/msi/token");
    unit_source_refusals(*state, NULL, NULL, refusals,
                         unit_count(refusals));
}


static void
test_app_service_error_for_a_named_identity_says_so(void **state)
{
    static const unit_refusal_t  refusals[] = {
        { 400, "{\"statusCode\":400,\"message\":\"x\"}", AAD_FAILED, "",
          "has the app this user-assigned identity?", 1 }
    };

    app_service(*state, "/msi/token");
    unit_source_refusals(*state, "client_id", UNIT_CLIENT, refusals,
                         unit_count(refusals));
}


static void
test_app_service_correlation_id_is_told(void **state)
{
    unit_identity_t  *identity = *state;

    app_service(identity, "/msi/token");
    unit_identity_step(identity, "managed_identity", NULL);
    unit_server_answer(&identity->machine, 400, "", "{\"statusCode\":400,"
                       "\"message\":\"x\",\"correlationId\":\"" UNIT_OBJECT
                       "\"}");

    assert_int_equal(unit_identity_ask(identity), AAD_FAILED);
    assert_string_equal(identity->report.attempts[0].correlation_id,
                        UNIT_OBJECT);
}


static void
test_closed_port_of_app_service_stops(void **state)
{
    unit_identity_t  *identity = *state;

    unit_identity_variable(identity, "IDENTITY_ENDPOINT",
                           identity->closed_url);
    unit_identity_variable(identity, "IDENTITY_HEADER", UNIT_HEADER);
    unit_identity_step(identity, "managed_identity", NULL);
    unit_identity_secret_step(identity, "secret");

    assert_int_equal(unit_identity_ask(identity), AAD_FAILED);
    assert_int_equal(identity->report.count, 1);
    unit_assert_contains(unit_identity_reason(identity, 0),
                         "IDENTITY_ENDPOINT: ");
    assert_int_equal(unit_server_requests(&identity->authority), 0);
}


static void
test_app_service_token_ends_when_it_says(void **state)
{
    unit_identity_t  *identity = *state;

    app_service(identity, "/msi/token");
    unit_identity_step(identity, "managed_identity", NULL);
    unit_server_answer(&identity->machine, 200, "",
                       "{\"access_token\":\"t\","
                       "\"expires_on\":\"1700086400\","
                       "\"resource\":\"x\",\"token_type\":\"Bearer\","
                       "\"client_id\":\"" UNIT_CLIENT "\"}");

    assert_int_equal(unit_identity_ask(identity), AAD_OK);
    assert_int_equal(identity->token.expires_on, 1700086400);
}


static void
test_header_that_app_service_repeats_is_not_told(void **state)
{
    unit_identity_t  *identity = *state;

    app_service(identity, "/msi/token");
    unit_identity_step(identity, "managed_identity", NULL);
    unit_server_answer(&identity->machine, 401, "", "{\"statusCode\":401,"
                       "\"message\":\"wrong header " UNIT_HEADER "\"}");

    assert_int_equal(unit_identity_ask(identity), AAD_FAILED);
    unit_assert_lacks(unit_identity_reason(identity, 0), UNIT_HEADER);
    assert_string_not_equal(unit_identity_reason(identity, 0), "");
}


static void
test_app_service_keeps_the_rules_of_all(void **state)
{
    app_service(*state, "/msi/token");
    unit_source_rules(*state);
}


int
main(void)
{
    static const struct CMUnitTest  tests[] = {
        unit_identity_test(test_app_service_is_asked_for_the_apps_own),
        unit_identity_test(test_app_service_is_asked_by_client_id),
        unit_identity_test(test_app_service_is_asked_by_object_id),
        unit_identity_test(test_app_service_is_asked_by_resource_id),
        unit_identity_test(test_endpoint_may_have_a_query),
        unit_identity_test(test_app_service_errors_stop),
        unit_identity_test(test_app_service_error_for_a_named_identity_says_so),
        unit_identity_test(test_app_service_correlation_id_is_told),
        unit_identity_test(test_closed_port_of_app_service_stops),
        unit_identity_test(test_app_service_token_ends_when_it_says),
        unit_identity_test(test_header_that_app_service_repeats_is_not_told),
        unit_identity_test(test_app_service_keeps_the_rules_of_all)
    };

    if (aad_global_init() != 0) {
        return 1;
    }

    return cmocka_run_group_tests_name("App Service", tests, NULL, NULL);
}
