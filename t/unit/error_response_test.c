
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * Bodies of errors: the words, the code and the correlation id in them.
 */


#include "check.h"


#define SECRET  "Very/Secret+0123456789="


/* one error answer and what was made of it */
typedef struct {
    aad_call_t              call;
    aad_http_response_t     response;
    aad_attempt_t           attempt;
    aad_error_t             error;
} fixture_t;


static int
setup(void **state)
{
    aad_credential_t   *credential;
    aad_environment_t   environment;

    static fixture_t              fixture;
    static const unit_variable_t  no_variables[] = { { NULL, NULL } };

    memset(&fixture, 0, sizeof(fixture_t));
    aad_secret_init(&fixture.response.body, AAD_BODY_BYTES_MAX);

    environment = unit_environment(no_variables, NULL);
    credential = aad_credential_create("client_secret", &environment,
                                       &fixture.error);
    assert_non_null(credential);
    assert_int_equal(aad_credential_set(credential, "secret", SECRET,
                                        &fixture.error), 0);

    fixture.call.credential = credential;
    fixture.call.attempt = &fixture.attempt;
    *state = &fixture;

    return 0;
}


static int
teardown(void **state)
{
    fixture_t  *fixture = *state;

    aad_secret_wipe(&fixture->response.body);
    aad_credential_destroy((aad_credential_t *) fixture->call.credential);

    return 0;
}


static void
refusal(fixture_t *fixture, long status, const char *body)
{
    aad_secret_wipe(&fixture->response.body);
    memset(&fixture->attempt, 0, sizeof(aad_attempt_t));

    fixture->response.status = status;
    assert_int_equal(aad_secret_append_text(&fixture->response.body, body),
                     0);

    aad_error_response(&fixture->call, &fixture->response, &fixture->error);
}


static void
test_documented_forms_are_read(void **state)
{
    size_t      i;
    fixture_t  *fixture = *state;

    static const struct {
        long                    status;
        const char             *body;
        const char             *text;
        const char             *code;
        const char             *correlation_id;
    } answers[] = {
        { 401, "{\"error\":\"invalid_client\",\"error_description\":"
          "\"AADSTS7000215: Invalid client secret provided.\\r\\n"
          "Trace ID: 1\\r\\nCorrelation ID: 2\\r\\nTimestamp: 3\","
          "\"error_codes\":[7000215],\"timestamp\":\"3\","
          "\"trace_id\":\"1\",\"correlation_id\":\"" UNIT_OBJECT "\"}",
          "status 401, invalid_client: AADSTS7000215: Invalid client secret "
          "provided.", "AADSTS7000215", UNIT_OBJECT },

        /* the code of the description where there is no list of them */

        { 400, "{\"error\":\"invalid_request\",\"error_description\":"
          "\"AADSTS90002: Tenant not found.\"}",
          "status 400, invalid_request: AADSTS90002: Tenant not found.",
          "AADSTS90002", "" },
        { 400, "{\"error\":\"invalid_request\",\"error_codes\":[],"
          "\"error_description\":\"AADSTS90002: x\"}",
          "status 400, invalid_request: AADSTS90002: x", "AADSTS90002", "" },
        { 400, "{\"error\":\"x\",\"error_codes\":[70021,1],"
          "\"error_description\":\"y\"}",
          "status 400, x: y", "AADSTS70021", "" },
        { 400, "{\"error\":\"x\",\"error_codes\":\"70021\"}",
          "status 400, x", "x", "" },
        { 400, "{\"error\":\"x\",\"error_codes\":[\"70021\"]}",
          "status 400, x", "x", "" },

        /* IMDS */

        { 400, "{\"error\":\"invalid_request\",\"error_description\":"
          "\"Identity not found\"}",
          "status 400, invalid_request: Identity not found",
          "invalid_request", "" },
        { 404, "{\"error\":\"not_found\"}", "status 404, not_found",
          "not_found", "" },

        /* App Service */

        { 500, "{\"statusCode\":500,\"message\":\"An unexpected error "
          "occured.\",\"correlationId\":\"" UNIT_CLIENT "\"}",
          "status 500: An unexpected error occured.", "", UNIT_CLIENT },

        /* Cloud Shell, Service Fabric */

        { 404, "{\"error\":{\"code\":\"ManagedIdentityNotFound\","
          "\"message\":\"Not found\",\"correlationId\":\"1\"}}",
          "status 404, ManagedIdentityNotFound: Not found",
          "ManagedIdentityNotFound", "" },

        { 500, "{}", "status 500", "", "" },
        { 500, "{\"error\":null,\"error_description\":1,\"message\":[]}",
          "status 500", "", "" },
        { 500, "{\"error\":{}}", "status 500", "", "" }
    };

    for (i = 0; i < unit_count(answers); i++) {
        refusal(fixture, answers[i].status, answers[i].body);

        assert_string_equal(fixture->error.text, answers[i].text);
        assert_string_equal(fixture->attempt.code, answers[i].code);
        assert_string_equal(fixture->attempt.correlation_id,
                            answers[i].correlation_id);
    }
}


static void
test_what_is_no_error_object_is_described(void **state)
{
    size_t      i;
    fixture_t  *fixture = *state;

    static const char *const  bodies[][2] = {
        { "",                                "status 502 with nothing" },
        { "<html><h1>Proxy</h1></html>",     "status 502 with HTML" },
        { "Bad gateway <x> secret",          "status 502 with HTML" },
        { "Bad gateway",                     "status 502 with something" },
        { "[\"x\"]",                         "status 502 with something" },
        { "{\"error\":\"x\"",                "status 502 with something" },
        { "{\"error\":\"x\"}}",              "status 502 with something" },
        { "null",                            "status 502 with something" }
    };

    for (i = 0; i < unit_count(bodies); i++) {
        refusal(fixture, 502, bodies[i][0]);

        unit_assert_contains(fixture->error.text, bodies[i][1]);
        unit_assert_contains(fixture->error.text, "instead of JSON");
        assert_string_equal(fixture->attempt.code, "");
        assert_string_equal(fixture->attempt.correlation_id, "");
    }
}


static void
test_first_line_is_shown_without_control_characters(void **state)
{
    fixture_t  *fixture = *state;

    refusal(fixture, 400, "{\"error\":\"a\\r\\nb\\u0007\","
            "\"error_description\":\"one\\ttwo\\u001b[31m \xc3\xa4\\nthree\","
            "\"correlation_id\":\"c\\r\\nd\"}");

    assert_string_equal(fixture->error.text,
                        "status 400, a  b?: one two?[31m ??");
    assert_string_equal(fixture->attempt.code, "a  b?");
    assert_string_equal(fixture->attempt.correlation_id, "c  d");

    refusal(fixture, 400, "{\"error\":\"a\","
            "\"error_description\":\"one\\rtwo\"}");
    assert_string_equal(fixture->error.text, "status 400, a: one");

    refusal(fixture, 400, "{\"error\":\"a\","
            "\"error_description\":\"\\r\\nAADSTS1: two\"}");
    unit_assert_lacks(fixture->error.text, "\n");
}


static void
test_code_is_made_of_digits(void **state)
{
    size_t      i;
    fixture_t  *fixture = *state;

    static const char *const  bodies[][2] = {
        { "{\"error\":\"x\",\"error_codes\":[-1]}",                 "x" },
        { "{\"error\":\"x\",\"error_codes\":[-1e300]}",             "x" },
        { "{\"error\":\"x\",\"error_description\":\"AADSTS: y\"}",  "x" },
        { "{\"error\":\"x\",\"error_description\":\"AADSTSabc\"}",  "x" }
    };

    for (i = 0; i < unit_count(bodies); i++) {
        refusal(fixture, 400, bodies[i][0]);
        assert_string_equal(fixture->attempt.code, bodies[i][1]);
    }
}


static void
test_long_words_are_cut(void **state)
{
    char        body[4096];
    fixture_t  *fixture = *state;

    snprintf(body, sizeof(body), "{\"error\":\"%0200d\","
             "\"error_description\":\"AADSTS%01000d\","
             "\"correlation_id\":\"%0200d\"}", 0, 1, 2);

    refusal(fixture, 400, body);

    assert_int_equal(strlen(fixture->attempt.code), AAD_CODE_BYTES - 1);
    assert_int_equal(strlen(fixture->attempt.correlation_id),
                     AAD_ID_BYTES - 1);
    assert_true(strlen(fixture->error.text) < AAD_REASON_BYTES - 1);
}


static void
test_words_are_no_format(void **state)
{
    fixture_t  *fixture = *state;

    refusal(fixture, 400, "{\"error\":\"%n%s\","
            "\"error_description\":\"%s%n%1000000d\"}");

    assert_string_equal(fixture->error.text,
                        "status 400, %n%s: %s%n%1000000d");
}


static void
test_id_that_was_sent_stays_where_none_comes_back(void **state)
{
    fixture_t  *fixture = *state;

    memset(&fixture->attempt, 0, sizeof(aad_attempt_t));
    strcpy(fixture->attempt.correlation_id, UNIT_OBJECT);

    fixture->response.status = 400;
    assert_int_equal(aad_secret_append_text(&fixture->response.body,
                                            "{\"error\":\"x\"}"), 0);

    aad_error_response(&fixture->call, &fixture->response, &fixture->error);
    assert_string_equal(fixture->attempt.correlation_id, UNIT_OBJECT);
}


static void
test_wish_to_wait_is_kept_whatever_the_body_is(void **state)
{
    fixture_t  *fixture = *state;

    fixture->response.retry_after_ms = 16001;

    refusal(fixture, 429, "");
    assert_int_equal(fixture->attempt.retry_after, 17);

    refusal(fixture, 429, "{\"error\":\"x\"}");
    assert_int_equal(fixture->attempt.retry_after, 17);
}


static void
test_words_that_repeat_a_secret_are_not_told(void **state)
{
    size_t      i;
    fixture_t  *fixture = *state;

    static const char *const  bodies[] = {
        "{\"error\":\"x\",\"error_description\":\"not " SECRET "!\"}",
        "{\"error\":\"x\",\"error_description\":\"one\\n" SECRET "\"}",
        "{\"error\":\"x\",\"message\":\"" SECRET "\"}",
        "{\"error\":\"" SECRET "\"}",
        "{\"error\":{\"code\":\"" SECRET "\"}}",
        "{\"error\":{\"message\":\"" SECRET "\"}}",
        "{\"error\":\"x\",\"correlation_id\":\"" SECRET "\"}",
        "{\"error\":\"x\",\"correlationId\":\"" SECRET "\"}",
        "{\"error\":\"x\",\"error_description\":"
        "\"client_secret=Very%2FSecret%2B0123456789%3D&a=b\"}",
        "{\"error\":\"x\",\"error_description\":"
        "\"client_secret=Very%2fSecret%2b0123456789%3d&a=b\"}",
        "{\"error\":\"x\",\"error_description\":"
        "\"Very\\/\\u0053ecret+0123456789=\"}",
        "not JSON: " SECRET,
        "<html>" SECRET "</html>"
    };

    for (i = 0; i < unit_count(bodies); i++) {
        refusal(fixture, 400, bodies[i]);

        unit_assert_contains(fixture->error.text, "status 400");
        unit_assert_lacks(fixture->error.text, "Secret");
        unit_assert_lacks(fixture->attempt.code, "Secret");
        unit_assert_lacks(fixture->attempt.correlation_id, "Secret");
    }
}


#define test(name)  cmocka_unit_test_setup_teardown(name, setup, teardown)


int
main(void)
{
    static const struct CMUnitTest  tests[] = {
        test(test_documented_forms_are_read),
        test(test_what_is_no_error_object_is_described),
        test(test_first_line_is_shown_without_control_characters),
        test(test_code_is_made_of_digits),
        test(test_long_words_are_cut),
        test(test_words_are_no_format),
        test(test_id_that_was_sent_stays_where_none_comes_back),
        test(test_wish_to_wait_is_kept_whatever_the_body_is),
        test(test_words_that_repeat_a_secret_are_not_told)
    };

    return cmocka_run_group_tests_name("error response", tests, NULL, NULL);
}
