
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * A managed identity's token as an app's assertion: both halves, how long the
 * first one is kept, and which half decides what.  The numbers in the names
 * are those of the contract's tables.
 */


#include "identity.h"


#define IDENTITY            "44444444-dddd-4ddd-8ddd-444444444444"

#define ASSERTION           "eyJhbGciOiJSUzI1NiJ9.eyJhdWQiOiJmYi42MGY5OWMifQ" \
                            ".c2lnbmF0dXJlLW9mLXRoZS1maXJzdA"
#define OTHER_ASSERTION     "eyJhbGciOiJSUzI1NiJ9.eyJhdWQiOiJmYi42MGY5OWMifQ" \
                            ".c2lnbmF0dXJlLW9mLXRoZS1zZWNvbmQ"

#define FORM_OF(assertion)  "client_id=" UNIT_CLIENT                          \
                            "&client_assertion_type=urn%3Aietf%3Aparams"      \
                            "%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer"   \
                            "&client_assertion=" assertion                    \
                            "&grant_type=client_credentials"                  \
                            "&scope=https%3A%2F%2Fcognitiveservices.azure"    \
                            ".com%2F.default"

#define IMDS_TARGET(audience)                                                 \
    "/metadata/identity/oauth2/token?api-version=2018-02-01&resource="        \
    "api%3A%2F%2F" audience "&client_id=" IDENTITY

#define LIFE_S              86400


static void
step(unit_identity_t *identity)
{
    unit_identity_step(identity, "federated_managed_identity", "tenant_id",
                       UNIT_TENANT, "client_id", UNIT_CLIENT,
                       "identity_client_id", IDENTITY, NULL);
}


/* what the machine answers next: strings, as IMDS has them */
static void
machine_answers(unit_identity_t *identity, const char *assertion, int life_s)
{
    char  body[512];

    snprintf(body, sizeof(body), "{\"access_token\":\"%s\","
             "\"expires_in\":\"%d\",\"token_type\":\"Bearer\"}", assertion,
             life_s);
    unit_server_answer(&identity->machine, 200, "", body);
}


static void
entra_accepts(unit_identity_t *identity)
{
    unit_server_answer(&identity->authority, 200, "", UNIT_APP_TOKEN);
}


static void
entra_refuses(unit_identity_t *identity, int code)
{
    char  body[256];

    snprintf(body, sizeof(body), "{\"error\":\"invalid_client\","
             "\"error_description\":\"AADSTS%d: The words of it.\","
             "\"error_codes\":[%d]}", code, code);
    unit_server_answer(&identity->authority, 401, "", body);
}


/* So many requests were made of either half, and the last had this. */
static void
check_requests(unit_identity_t *identity, size_t machine, size_t authority,
    const char *assertion_form)
{
    assert_int_equal(unit_server_requests(&identity->machine), machine);
    assert_int_equal(unit_server_requests(&identity->authority), authority);
    assert_string_equal(unit_request_body(
                            unit_server_request(&identity->authority,
                                                authority - 1)),
                        assertion_form);
}


static void
test_7_token_of_the_machine_is_the_assertion_of_the_app(void **state)
{
    char              host[64];
    const char       *request;
    unit_identity_t  *identity = *state;
    unit_header_t     headers[] = {
        { "Host", host },
        { "User-Agent", "ngx_http_aoai_aad_module/" AAD_VERSION },
        { "Accept", "application/json" },
        { "Metadata", "true" },
        { NULL, NULL }
    };

    snprintf(host, sizeof(host), "127.0.0.1:%d", identity->machine.port);

    step(identity);
    machine_answers(identity, ASSERTION, LIFE_S);
    entra_accepts(identity);

    assert_int_equal(unit_identity_ask(identity), AAD_OK);
    assert_string_equal(identity->token.access_token.data, "app-token");
    assert_string_equal(identity->token.credential,
                        "federated_managed_identity");
    assert_int_equal(identity->token.expires_on, UNIT_NOW + 3599);

    request = unit_server_request(&identity->machine, 0);

    unit_assert_request_line(request, "GET "
                             IMDS_TARGET("AzureADTokenExchange")
                             " HTTP/1.1");
    unit_assert_headers(request, headers);

    request = unit_server_request(&identity->authority, 0);

    unit_assert_request_line(request, "POST " UNIT_TOKEN_TARGET " HTTP/1.1");
    check_requests(identity, 1, 1, FORM_OF(ASSERTION));
}


/*
 * The machine refuses, so that nobody of the cloud is asked; whoever would ask
 * nevertheless would not get past the proxy.
 */
static void
check_audience(unit_identity_t *identity, const char *authority_host,
    const char *target)
{
    char  line[256];

    unit_identity_authority(identity, authority_host);
    identity->settings.proxy = identity->closed_url;
    step(identity);
    unit_server_answer(&identity->machine, 400, "", "");

    assert_int_equal(unit_identity_ask(identity), AAD_UNAVAILABLE);

    snprintf(line, sizeof(line), "GET %s HTTP/1.1", target);
    unit_assert_request_line(unit_server_request(&identity->machine, 0), line);
}


static void
test_7_audience_of_the_public_cloud(void **state)
{
    check_audience(*state, "https://login.microsoftonline.com/",
                   IMDS_TARGET("AzureADTokenExchange"));
}


static void
test_7_audience_of_us_government(void **state)
{
    check_audience(*state, "https://login.microsoftonline.us/",
                   IMDS_TARGET("AzureADTokenExchangeUSGov"));
}


static void
test_7_audience_of_china(void **state)
{
    check_audience(*state, "https://login.chinacloudapi.cn",
                   IMDS_TARGET("AzureADTokenExchangeChina"));
}


static void
test_7_app_service_is_asked_where_it_is(void **state)
{
    char              url[128], value[64];
    const char       *request;
    unit_identity_t  *identity = *state;

    snprintf(url, sizeof(url), "%s/msi/token", identity->machine.url);
    unit_identity_variable(identity, "IDENTITY_ENDPOINT", url);
    unit_identity_variable(identity, "IDENTITY_HEADER", "identity-header");

    step(identity);
    machine_answers(identity, ASSERTION, LIFE_S);
    entra_accepts(identity);

    assert_int_equal(unit_identity_ask(identity), AAD_OK);

    request = unit_server_request(&identity->machine, 0);

    unit_assert_request_line(request, "GET /msi/token?api-version=2019-08-01"
                             "&resource=api%3A%2F%2FAzureADTokenExchange"
                             "&client_id=" IDENTITY " HTTP/1.1");
    assert_int_equal(unit_request_header(request, "X-IDENTITY-HEADER", value,
                                         sizeof(value)), 1);
    assert_string_equal(value, "identity-header");
}


static void
test_7_variables_of_the_machine_are_read_once(void **state)
{
    unit_identity_t  *identity = *state;

    step(identity);
    unit_identity_variable(identity, "AZURE_POD_IDENTITY_AUTHORITY_HOST",
                           identity->closed_url);
    machine_answers(identity, ASSERTION, LIFE_S);
    entra_accepts(identity);

    assert_int_equal(unit_identity_ask(identity), AAD_OK);
}


static void
test_7_assertion_is_used_until_five_minutes_before_its_end(void **state)
{
    unit_identity_t  *identity = *state;

    step(identity);
    machine_answers(identity, ASSERTION, LIFE_S);
    entra_accepts(identity);
    assert_int_equal(unit_identity_ask(identity), AAD_OK);

    identity->clock.now = UNIT_NOW + LIFE_S - 300;
    entra_accepts(identity);
    assert_int_equal(unit_identity_ask(identity), AAD_OK);
    check_requests(identity, 1, 2, FORM_OF(ASSERTION));

    identity->clock.now++;
    machine_answers(identity, OTHER_ASSERTION, LIFE_S);
    entra_accepts(identity);
    assert_int_equal(unit_identity_ask(identity), AAD_OK);
    check_requests(identity, 2, 3, FORM_OF(OTHER_ASSERTION));
}


static void
test_7_assertion_of_short_life_is_used_once(void **state)
{
    unit_identity_t  *identity = *state;

    step(identity);

    machine_answers(identity, ASSERTION, 299);
    entra_accepts(identity);
    assert_int_equal(unit_identity_ask(identity), AAD_OK);

    machine_answers(identity, OTHER_ASSERTION, 299);
    entra_accepts(identity);
    assert_int_equal(unit_identity_ask(identity), AAD_OK);
    check_requests(identity, 2, 2, FORM_OF(OTHER_ASSERTION));
}


/* A refusal of the one that is kept costs one more of each half. */
static void
check_code(unit_identity_t *identity, int code, const char *hint)
{
    char  text[32];

    snprintf(text, sizeof(text), "AADSTS%d", code);

    step(identity);
    machine_answers(identity, ASSERTION, LIFE_S);
    entra_accepts(identity);
    assert_int_equal(unit_identity_ask(identity), AAD_OK);

    entra_refuses(identity, code);
    machine_answers(identity, OTHER_ASSERTION, LIFE_S);
    entra_accepts(identity);
    assert_int_equal(unit_identity_ask(identity), AAD_OK);
    check_requests(identity, 2, 3, FORM_OF(OTHER_ASSERTION));

    /* what led to it is no news any more */

    assert_int_equal(identity->report.count, 1);
    assert_string_equal(identity->report.attempts[0].code, "");
    assert_string_equal(identity->report.attempts[0].reason, "");
    assert_null(identity->report.attempts[0].hint);

    /* and a second refusal is final */

    entra_refuses(identity, code);
    machine_answers(identity, ASSERTION, LIFE_S);
    entra_refuses(identity, code);
    assert_int_equal(unit_identity_ask(identity), AAD_FAILED);
    check_requests(identity, 3, 5, FORM_OF(ASSERTION));

    assert_string_equal(identity->report.attempts[0].code, text);
    unit_assert_contains(unit_identity_reason(identity, 0), text);
    assert_non_null(identity->report.attempts[0].hint);
    unit_assert_contains(identity->report.attempts[0].hint, hint);

    /* of which nothing is kept */

    machine_answers(identity, OTHER_ASSERTION, LIFE_S);
    entra_accepts(identity);
    assert_int_equal(unit_identity_ask(identity), AAD_OK);
    check_requests(identity, 4, 6, FORM_OF(OTHER_ASSERTION));
}


static void
test_7_aadsts700211(void **state)
{
    check_code(*state, 700211, "issuer");
}


static void
test_7_aadsts700212(void **state)
{
    check_code(*state, 700212, "audience");
}


static void
test_7_aadsts700213(void **state)
{
    check_code(*state, 700213, "subject");
}


static void
test_7_aadsts700229(void **state)
{
    check_code(*state, 700229, "no app's token");
}


static void
test_2_4_aadsts700024(void **state)
{
    check_code(*state, 700024, "clock");
}


/* Nothing is wrong with the assertion: it is kept, and not sent again. */
static void
check_other_code(unit_identity_t *identity, int code, const char *hint)
{
    step(identity);
    machine_answers(identity, ASSERTION, LIFE_S);
    entra_refuses(identity, code);

    assert_int_equal(unit_identity_ask(identity), AAD_FAILED);
    check_requests(identity, 1, 1, FORM_OF(ASSERTION));
    assert_non_null(identity->report.attempts[0].hint);
    unit_assert_contains(identity->report.attempts[0].hint, hint);

    entra_refuses(identity, code);
    assert_int_equal(unit_identity_ask(identity), AAD_FAILED);
    check_requests(identity, 1, 2, FORM_OF(ASSERTION));
}


static void
test_7_aadsts700016(void **state)
{
    check_other_code(*state, 700016, "client id");
}


static void
test_7_aadsts7000229(void **state)
{
    check_other_code(*state, 7000229, "service principal");
}


static void
test_7_refusal_of_a_new_assertion_is_final(void **state)
{
    unit_identity_t  *identity = *state;

    step(identity);
    machine_answers(identity, ASSERTION, LIFE_S);
    entra_refuses(identity, 700213);

    assert_int_equal(unit_identity_ask(identity), AAD_FAILED);
    check_requests(identity, 1, 1, FORM_OF(ASSERTION));
}


static void
test_7_refusal_without_a_number_is_one(void **state)
{
    unit_identity_t  *identity = *state;

    step(identity);
    machine_answers(identity, ASSERTION, LIFE_S);
    entra_accepts(identity);
    assert_int_equal(unit_identity_ask(identity), AAD_OK);

    unit_server_answer(&identity->authority, 401, "",
                       "{\"error\":\"invalid_client\"}");
    machine_answers(identity, OTHER_ASSERTION, LIFE_S);
    entra_accepts(identity);
    assert_int_equal(unit_identity_ask(identity), AAD_OK);
    check_requests(identity, 2, 3, FORM_OF(OTHER_ASSERTION));
}


static void
test_7_authority_that_is_down_costs_no_assertion(void **state)
{
    unit_identity_t  *identity = *state;

    step(identity);
    machine_answers(identity, ASSERTION, LIFE_S);
    unit_server_answer(&identity->authority, 503, "Retry-After: 3600\r\n",
                       "");
    assert_int_equal(unit_identity_ask(identity), AAD_FAILED);

    entra_accepts(identity);
    assert_int_equal(unit_identity_ask(identity), AAD_OK);
    check_requests(identity, 1, 2, FORM_OF(ASSERTION));
}


/* The machine's half says this, and the next step is asked, or is not. */
static void
check_machine(unit_identity_t *identity, aad_result_t result,
    const char *reason)
{
    step(identity);
    unit_identity_secret_step(identity, "secret");
    entra_accepts(identity);

    assert_int_equal(unit_identity_ask(identity),
                     result == AAD_UNAVAILABLE ? AAD_OK : AAD_FAILED);
    assert_int_equal(identity->report.attempts[0].result, result);
    unit_assert_contains(unit_identity_reason(identity, 0), reason);
    assert_int_equal(strncmp(unit_identity_reason(identity, 0),
                             "managed_identity: ", 18), 0);
    assert_int_equal(unit_server_requests(&identity->authority),
                     result == AAD_UNAVAILABLE);
}


static void
test_7_no_managed_identity_here_is_unavailable(void **state)
{
    unit_identity_variable(*state, "AZURE_POD_IDENTITY_AUTHORITY_HOST",
                           ((unit_identity_t *) *state)->closed_url);
    check_machine(*state, AAD_UNAVAILABLE,
                  "no managed identity endpoint here");
}


static void
test_7_identity_that_the_machine_has_not_is_unavailable(void **state)
{
    unit_identity_t  *identity = *state;

    unit_server_answer(&identity->machine, 400, "", "{\"error\":"
                       "\"invalid_request\",\"error_description\":"
                       "\"Identity not found\"}");
    check_machine(identity, AAD_UNAVAILABLE, "assign it to the machine");
}


static void
test_7_machine_that_refuses_stops(void **state)
{
    unit_identity_t  *identity = *state;

    unit_server_answer(&identity->machine, 403, "",
                       "{\"error\":\"forbidden\"}");
    check_machine(identity, AAD_FAILED, "IMDS: status 403, forbidden");
}


static void
test_7_wrong_variable_of_the_machine_stops(void **state)
{
    unit_identity_variable(*state, "IDENTITY_ENDPOINT", "localhost");
    unit_identity_variable(*state, "IDENTITY_HEADER", "x");
    check_machine(*state, AAD_FAILED, "IDENTITY_ENDPOINT is not an http://");
}


static void
test_7_app_half_names_the_token_endpoint(void **state)
{
    char              start[256];
    unit_identity_t  *identity = *state;

    step(identity);
    machine_answers(identity, ASSERTION, LIFE_S);
    entra_refuses(identity, 700213);

    snprintf(start, sizeof(start), "%s" UNIT_TOKEN_TARGET ": status 401",
             identity->authority.url);

    assert_int_equal(unit_identity_ask(identity), AAD_FAILED);
    assert_int_equal(strncmp(unit_identity_reason(identity, 0), start,
                             strlen(start)), 0);
}


static void
test_7_secrets_of_either_half_are_not_told(void **state)
{
    char              url[128];
    unit_identity_t  *identity = *state;

    snprintf(url, sizeof(url), "%s/msi/token", identity->machine.url);
    unit_identity_variable(identity, "IDENTITY_ENDPOINT", url);
    unit_identity_variable(identity, "IDENTITY_HEADER", "identity-header");
    step(identity);

    unit_server_answer(&identity->machine, 401, "",
                       "{\"message\":\"not identity-header\"}");
    assert_int_equal(unit_identity_ask(identity), AAD_FAILED);
    unit_assert_contains(unit_identity_reason(identity, 0), "status 401");
    unit_assert_lacks(unit_identity_reason(identity, 0), "identity-header");

    machine_answers(identity, ASSERTION, LIFE_S);
    unit_server_answer(&identity->authority, 400, "", "{\"error\":\"x\","
                       "\"error_description\":\"no: " ASSERTION "\"}");
    assert_int_equal(unit_identity_ask(identity), AAD_FAILED);
    unit_assert_contains(unit_identity_reason(identity, 0), "status 400");
    unit_assert_lacks(unit_identity_reason(identity, 0), "eyJ");
}


static void
test_7_half_the_parameters_are_refused(void **state)
{
    size_t              i;
    aad_error_t         error;
    unit_identity_t    *identity = *state;
    aad_credential_t   *credential;
    aad_environment_t   environment;

    static const char *const  needed[][3] = {
        { "tenant_id", UNIT_TENANT, "needs \"tenant_id=\"" },
        { "client_id", UNIT_CLIENT, "needs \"client_id=\"" },
        { "identity_client_id", IDENTITY, "needs \"identity_client_id=\"" }
    };

    /* whose values are no defaults here: the app is named, not found */

    unit_identity_variable(identity, "AZURE_TENANT_ID", UNIT_TENANT);
    unit_identity_variable(identity, "AZURE_CLIENT_ID", UNIT_CLIENT);

    environment = unit_environment(identity->variables, NULL);
    credential = aad_credential_create("federated_managed_identity",
                                       &environment, &error);
    assert_non_null(credential);

    for (i = 0; i < unit_count(needed); i++) {
        assert_int_equal(aad_credential_complete(credential, &error), -1);
        unit_assert_contains(error.text, needed[i][2]);
        assert_int_equal(aad_credential_set(credential, needed[i][0],
                                            needed[i][1], &error), 0);
    }

    assert_int_equal(aad_credential_complete(credential, &error), 0);
    aad_credential_destroy(credential);
}


static void
test_7_machine_is_asked_in_the_time_of_the_call(void **state)
{
    int64_t           started_ms;
    unit_identity_t  *identity = *state;

    step(identity);
    unit_server_answer(&identity->machine, 200, "", "{}")->pause_ms = 4000;

    started_ms = unit_real_ms();

    (void) unit_identity_ask_step(identity, 0, 300);

    assert_in_range(unit_real_ms() - started_ms, 250, 2000);
    assert_int_equal(unit_server_requests(&identity->authority), 0);
}


int
main(void)
{
    static const struct CMUnitTest  tests[] = {
        unit_identity_test(
            test_7_token_of_the_machine_is_the_assertion_of_the_app),
        unit_identity_test(test_7_audience_of_the_public_cloud),
        unit_identity_test(test_7_audience_of_us_government),
        unit_identity_test(test_7_audience_of_china),
        unit_identity_test(test_7_app_service_is_asked_where_it_is),
        unit_identity_test(test_7_variables_of_the_machine_are_read_once),
        unit_identity_test(
            test_7_assertion_is_used_until_five_minutes_before_its_end),
        unit_identity_test(test_7_assertion_of_short_life_is_used_once),
        unit_identity_test(test_7_aadsts700211),
        unit_identity_test(test_7_aadsts700212),
        unit_identity_test(test_7_aadsts700213),
        unit_identity_test(test_7_aadsts700229),
        unit_identity_test(test_7_aadsts700016),
        unit_identity_test(test_7_aadsts7000229),
        unit_identity_test(test_2_4_aadsts700024),
        unit_identity_test(test_7_refusal_of_a_new_assertion_is_final),
        unit_identity_test(test_7_refusal_without_a_number_is_one),
        unit_identity_test(test_7_authority_that_is_down_costs_no_assertion),
        unit_identity_test(test_7_no_managed_identity_here_is_unavailable),
        unit_identity_test(
            test_7_identity_that_the_machine_has_not_is_unavailable),
        unit_identity_test(test_7_machine_that_refuses_stops),
        unit_identity_test(test_7_wrong_variable_of_the_machine_stops),
        unit_identity_test(test_7_app_half_names_the_token_endpoint),
        unit_identity_test(test_7_secrets_of_either_half_are_not_told),
        unit_identity_test(test_7_half_the_parameters_are_refused),
        unit_identity_test(test_7_machine_is_asked_in_the_time_of_the_call)
    };

    if (aad_global_init() != 0) {
        return 1;
    }

    return cmocka_run_group_tests_name("federated managed identity", tests,
                                       NULL, NULL);
}
