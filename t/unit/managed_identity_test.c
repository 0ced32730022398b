
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * Managed identities: what is asked of IMDS and of App Service, and which of
 * their answers hand on to the next step.
 */


#include "identity.h"


#define HEADER          "Header~0123456789abcdef"
#define RESOURCE_ID     "/subscriptions/" UNIT_TENANT "/resourceGroups/rg"    \
                        "/providers/Microsoft.ManagedIdentity"                \
                        "/userAssignedIdentities/id"

#define RESOURCE_QUERY  "resource=https%3A%2F%2Fcognitiveservices.azure.com"
#define RESOURCE_ID_QUERY                                                     \
    "%2Fsubscriptions%2F" UNIT_TENANT "%2FresourceGroups%2Frg"                \
    "%2Fproviders%2FMicrosoft.ManagedIdentity%2FuserAssignedIdentities%2Fid"

#define IMDS_TARGET                                                           \
    "/metadata/identity/oauth2/token?api-version=2018-02-01&" RESOURCE_QUERY
#define APP_SERVICE_TARGET                                                    \
    "/msi/token?api-version=2019-08-01&" RESOURCE_QUERY


static void
app_service(unit_identity_t *identity, const char *path)
{
    char  url[128];

    snprintf(url, sizeof(url), "%s%s", identity->machine.url, path);

    unit_identity_variable(identity, "IDENTITY_ENDPOINT", url);
    unit_identity_variable(identity, "IDENTITY_HEADER", HEADER);
}


/* Asks once with a parameter, or none, and compares all of the request. */
static void
check_request(unit_identity_t *identity, const char *name, const char *value,
    const char *target, const char *header, const char *header_value)
{
    char           line[512], host[64];
    const char    *request;
    unit_header_t  headers[] = {
        { "Host", host },
        { "User-Agent", "ngx_http_aoai_aad_module/" AAD_VERSION },
        { "Accept", "application/json" },
        { header, header_value },
        { NULL, NULL }
    };

    unit_identity_step(identity, "managed_identity", name, value, NULL);
    unit_server_answer(&identity->machine, 200, "", UNIT_MACHINE_TOKEN);

    assert_int_equal(unit_identity_ask(identity), AAD_OK);
    assert_string_equal(identity->token.access_token.data, "machine-token");

    request = unit_server_request(&identity->machine, 0);

    snprintf(line, sizeof(line), "GET %s HTTP/1.1", target);
    snprintf(host, sizeof(host), "127.0.0.1:%d", identity->machine.port);

    unit_assert_request_line(request, line);
    unit_assert_headers(request, headers);
    assert_string_equal(unit_request_body(request), "");
}


static void
test_imds_is_asked_for_the_machines_own(void **state)
{
    check_request(*state, NULL, NULL, IMDS_TARGET, "Metadata", "true");
}


static void
test_imds_is_asked_by_client_id(void **state)
{
    check_request(*state, "client_id", UNIT_CLIENT,
                  IMDS_TARGET "&client_id=" UNIT_CLIENT, "Metadata", "true");
}


static void
test_imds_is_asked_by_object_id(void **state)
{
    check_request(*state, "object_id", UNIT_OBJECT,
                  IMDS_TARGET "&object_id=" UNIT_OBJECT, "Metadata", "true");
}


static void
test_imds_is_asked_by_resource_id(void **state)
{
    check_request(*state, "resource_id", RESOURCE_ID,
                  IMDS_TARGET "&msi_res_id=" RESOURCE_ID_QUERY, "Metadata",
                  "true");
}


static void
test_imds_host_may_end_with_a_slash(void **state)
{
    char              url[128];
    unit_identity_t  *identity = *state;

    snprintf(url, sizeof(url), "%s/", identity->machine.url);
    unit_identity_variable(identity, "AZURE_POD_IDENTITY_AUTHORITY_HOST", url);

    check_request(identity, NULL, NULL, IMDS_TARGET, "Metadata", "true");
}


static void
test_service_principal_does_not_choose_an_identity(void **state)
{
    unit_identity_t  *identity = *state;

    unit_identity_variable(identity, "AZURE_CLIENT_ID", UNIT_CLIENT);

    check_request(identity, NULL, NULL, IMDS_TARGET, "Metadata", "true");
}


static void
test_half_of_app_service_is_imds(void **state)
{
    unit_identity_t  *identity = *state;

    unit_identity_variable(identity, "IDENTITY_ENDPOINT",
                           identity->closed_url);

    check_request(identity, NULL, NULL, IMDS_TARGET, "Metadata", "true");
}


static void
test_header_without_endpoint_is_imds(void **state)
{
    unit_identity_t  *identity = *state;

    unit_identity_variable(identity, "IDENTITY_HEADER", HEADER);

    check_request(identity, NULL, NULL, IMDS_TARGET, "Metadata", "true");
}


static void
test_app_service_is_asked_for_the_apps_own(void **state)
{
    app_service(*state, "/msi/token");
    check_request(*state, NULL, NULL, APP_SERVICE_TARGET, "X-IDENTITY-HEADER",
                  HEADER);
}


static void
test_app_service_is_asked_by_client_id(void **state)
{
    app_service(*state, "/msi/token");
    check_request(*state, "client_id", UNIT_CLIENT,
                  APP_SERVICE_TARGET "&client_id=" UNIT_CLIENT,
                  "X-IDENTITY-HEADER", HEADER);
}


static void
test_app_service_is_asked_by_object_id(void **state)
{
    app_service(*state, "/msi/token");
    check_request(*state, "object_id", UNIT_OBJECT,
                  APP_SERVICE_TARGET "&principal_id=" UNIT_OBJECT,
                  "X-IDENTITY-HEADER", HEADER);
}


static void
test_app_service_is_asked_by_resource_id(void **state)
{
    app_service(*state, "/msi/token");
    check_request(*state, "resource_id", RESOURCE_ID,
                  APP_SERVICE_TARGET "&mi_res_id=" RESOURCE_ID_QUERY,
                  "X-IDENTITY-HEADER", HEADER);
}


static void
test_endpoint_may_have_a_query(void **state)
{
    app_service(*state, "/msi/token?a=b");
    check_request(*state, NULL, NULL, "/msi/token?a=b&api-version=2019-08-01&"
                  RESOURCE_QUERY, "X-IDENTITY-HEADER", HEADER);
}


static void
test_slash_of_the_resource_is_kept(void **state)
{
    unit_identity_t  *identity = *state;

    identity->settings.scope = "https://example.com//.default";

    check_request(identity, NULL, NULL, "/metadata/identity/oauth2/token"
                  "?api-version=2018-02-01"
                  "&resource=https%3A%2F%2Fexample.com%2F", "Metadata",
                  "true");
}


/* Python's rule; 'code' and 'reason' are of the step that was refused. */
typedef struct {
    int                     status;
    const char             *body;
    aad_result_t            result;
    const char             *code;
    const char             *reason;
} refusal_t;


/* A step behind shows whether the chain has gone on. */
static void
check_refusals(unit_identity_t *identity, const refusal_t *refusals,
    size_t count, const char *name, const char *value)
{
    size_t                i, asked;
    const aad_attempt_t  *attempt;

    unit_identity_step(identity, "managed_identity", name, value, NULL);
    unit_identity_secret_step(identity, "secret");

    asked = 0;

    for (i = 0; i < count; i++) {
        unit_server_answer(&identity->machine, refusals[i].status, "",
                           refusals[i].body);

        if (refusals[i].result == AAD_UNAVAILABLE) {
            unit_server_answer(&identity->authority, 200, "", UNIT_APP_TOKEN);
            asked++;
        }

        assert_int_equal(unit_identity_ask(identity),
                         refusals[i].result == AAD_FAILED ? AAD_FAILED
                                                          : AAD_OK);

        attempt = &identity->report.attempts[0];

        assert_int_equal(attempt->result, refusals[i].result);
        assert_string_equal(attempt->code, refusals[i].code);
        unit_assert_contains(attempt->reason, refusals[i].reason);
        assert_int_equal(unit_server_requests(&identity->authority), asked);
    }
}


static void
test_imds_400_goes_on(void **state)
{
    static const refusal_t  refusals[] = {
        { 400, "{\"error\":\"invalid_request\",\"error_description\":"
          "\"Identity not found\"}", AAD_UNAVAILABLE, "invalid_request",
          "has no system-assigned identity; enable it, or name a "
          "user-assigned one with \"client_id=\" (IMDS: status 400, "
          "invalid_request: Identity not found)" },
        { 400, "{\"error\":\"invalid_resource\",\"error_description\":"
          "\"AADSTS500011: The resource principal was not found.\"}",
          AAD_UNAVAILABLE, "AADSTS500011", "The resource principal" },
        { 400, "", AAD_UNAVAILABLE, "", "status 400 with nothing" }
    };

    check_refusals(*state, refusals, unit_count(refusals), NULL, NULL);
}


static void
test_imds_400_for_a_named_identity_says_so(void **state)
{
    static const refusal_t  refusals[] = {
        { 400, "{\"error\":\"invalid_request\",\"error_description\":"
          "\"Identity not found\"}", AAD_UNAVAILABLE, "invalid_request",
          "has no such identity; assign it to the machine" }
    };

    check_refusals(*state, refusals, unit_count(refusals), "client_id",
                   UNIT_CLIENT);
}


static void
test_imds_403_unreachable_goes_on(void **state)
{
    static const refusal_t  refusals[] = {
        { 403, "connecting to 169.254.169.254:80: connecting to "
          "169.254.169.254:80: dial tcp 169.254.169.254:80: connectex: A "
          "socket operation was attempted to an unreachable network.",
          AAD_UNAVAILABLE, "", "IMDS is not reachable here" },
        { 403, "{\"error\":\"forbidden\"}", AAD_FAILED, "forbidden",
          "IMDS: status 403, forbidden" }
    };

    check_refusals(*state, refusals, unit_count(refusals), NULL, NULL);
}


static void
test_imds_other_statuses_stop(void **state)
{
    static const refusal_t  refusals[] = {
        { 401, "{\"error\":\"unknown_source\"}", AAD_FAILED, "unknown_source",
          "IMDS: status 401, unknown_source" },
        { 404, "{\"error\":\"not_found\"}", AAD_FAILED, "not_found",
          "IMDS: status 404, not_found" },
        { 404, "<html>unreachable</html>", AAD_FAILED, "",
          "IMDS: status 404 with HTML" },
        { 410, "", AAD_FAILED, "", "IMDS: status 410 with nothing" },
        { 429, "{\"error\":\"throttled\"}", AAD_FAILED, "throttled",
          "IMDS: status 429, throttled" },
        { 500, "{\"error\":\"unknown\"}", AAD_FAILED, "unknown",
          "IMDS: status 500, unknown" },
        { 502, "<html>proxy</html>", AAD_FAILED, "",
          "IMDS: status 502 with HTML" },
        { 302, "", AAD_FAILED, "", "IMDS: status 302" }
    };

    check_refusals(*state, refusals, unit_count(refusals), NULL, NULL);
}


static void
test_imds_200_that_is_no_json_goes_on(void **state)
{
    static const refusal_t  refusals[] = {
        { 200, "<html>Sign in to this network</html>", AAD_UNAVAILABLE, "",
          "IMDS: the answer is no JSON object" },
        { 200, "", AAD_UNAVAILABLE, "", "IMDS: the answer is no JSON object" },
        { 200, "OK", AAD_UNAVAILABLE, "",
          "IMDS: the answer is no JSON object" }
    };

    check_refusals(*state, refusals, unit_count(refusals), NULL, NULL);
}


static void
test_imds_200_without_a_good_token_stops(void **state)
{
    static const refusal_t  refusals[] = {
        { 200, "{}", AAD_FAILED, "", "IMDS: the answer has no access token" },
        { 200, "{\"access_token\":\"a b\",\"expires_in\":\"60\"}", AAD_FAILED,
          "", "IMDS: the answer's token has characters" },
        { 200, "{\"access_token\":\"a\",\"expires_in\":\"0\"}", AAD_FAILED,
          "", "IMDS: the answer's token is valid for 0 s" }
    };

    check_refusals(*state, refusals, unit_count(refusals), NULL, NULL);
}


static void
test_imds_wish_to_wait_is_told(void **state)
{
    unit_identity_t  *identity = *state;

    unit_identity_step(identity, "managed_identity", NULL);
    unit_server_answer(&identity->machine, 429, "Retry-After: 17\r\n", "");

    assert_int_equal(unit_identity_ask(identity), AAD_FAILED);
    assert_int_equal(identity->report.attempts[0].retry_after, 17);
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


static void
test_imds_redirect_is_not_followed(void **state)
{
    char              location[128];
    unit_identity_t  *identity = *state;

    snprintf(location, sizeof(location), "Location: %s/\r\n",
             identity->authority.url);

    unit_identity_step(identity, "managed_identity", NULL);
    unit_server_answer(&identity->machine, 307, location, "");

    assert_int_equal(unit_identity_ask(identity), AAD_FAILED);
    assert_int_equal(unit_server_requests(&identity->authority), 0);
}


static void
test_proxy_is_not_for_managed_identities(void **state)
{
    unit_identity_t  *identity = *state;

    identity->settings.proxy = identity->closed_url;
    identity->settings.ca_certificates = "none";

    check_request(identity, NULL, NULL, IMDS_TARGET, "Metadata", "true");
}


static void
test_app_service_errors_stop(void **state)
{
    static const refusal_t  refusals[] = {
        { 400, "{\"statusCode\":400,\"message\":\"No User Assigned or "
          "Delegated Managed Identity found\",\"correlationId\":\""
          UNIT_OBJECT "\"}", AAD_FAILED, "", "App Service: status 400: No "
          "User Assigned or Delegated Managed Identity found; has the app a "
          "system-assigned identity?" },
        { 401, "", AAD_FAILED, "", "App Service: status 401 with nothing" },
        { 403, "unreachable", AAD_FAILED, "", "App Service: status 403" },
        { 404, "<html></html>", AAD_FAILED, "",
          "App Service: status 404 with HTML" },
        { 500, "{\"statusCode\":500,\"message\":\"x\"}", AAD_FAILED, "",
          "App Service: status 500: x" },
        { 200, "<html></html>", AAD_FAILED, "",
          "App Service: the answer is no JSON object" },
        { 200, "", AAD_FAILED, "",
          "App Service: the answer is no JSON object" },
        { 200, "{}", AAD_FAILED, "",
          "App Service: the answer has no access token" }
    };

    app_service(*state, "/msi/token");
    check_refusals(*state, refusals, unit_count(refusals), NULL, NULL);
}


static void
test_app_service_error_for_a_named_identity_says_so(void **state)
{
    static const refusal_t  refusals[] = {
        { 400, "{\"statusCode\":400,\"message\":\"x\"}", AAD_FAILED, "",
          "has the app this user-assigned identity?" }
    };

    app_service(*state, "/msi/token");
    check_refusals(*state, refusals, unit_count(refusals), "client_id",
                   UNIT_CLIENT);
}


static void
test_app_service_correlation_id_is_told(void **state)
{
    unit_identity_t  *identity = *state;

    app_service(identity, "/msi/token");
    unit_identity_step(identity, "managed_identity", NULL);
    unit_server_answer(&identity->machine, 500, "", "{\"statusCode\":500,"
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
    unit_identity_variable(identity, "IDENTITY_HEADER", HEADER);
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
                       "\"message\":\"wrong header " HEADER "\"}");

    assert_int_equal(unit_identity_ask(identity), AAD_FAILED);
    unit_assert_lacks(unit_identity_reason(identity, 0), HEADER);
    assert_string_not_equal(unit_identity_reason(identity, 0), "");
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
        unit_identity_test(test_half_of_app_service_is_imds),
        unit_identity_test(test_header_without_endpoint_is_imds),
        unit_identity_test(test_app_service_is_asked_for_the_apps_own),
        unit_identity_test(test_app_service_is_asked_by_client_id),
        unit_identity_test(test_app_service_is_asked_by_object_id),
        unit_identity_test(test_app_service_is_asked_by_resource_id),
        unit_identity_test(test_endpoint_may_have_a_query),
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
        unit_identity_test(test_imds_redirect_is_not_followed),
        unit_identity_test(test_proxy_is_not_for_managed_identities),
        unit_identity_test(test_app_service_errors_stop),
        unit_identity_test(
            test_app_service_error_for_a_named_identity_says_so),
        unit_identity_test(test_app_service_correlation_id_is_told),
        unit_identity_test(test_closed_port_of_app_service_stops),
        unit_identity_test(test_app_service_token_ends_when_it_says),
        unit_identity_test(test_header_that_app_service_repeats_is_not_told)
    };

    if (aad_global_init() != 0) {
        return 1;
    }

    return cmocka_run_group_tests_name("managed identity", tests, NULL, NULL);
}
