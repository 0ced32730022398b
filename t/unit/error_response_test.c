
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

        /* ids on the same line, which are told apart from it */

        { 400, "{\"error\":\"x\",\"error_description\":\"AADSTS90002: No "
          "tenant. Trace ID: 1 Correlation ID: 2 Timestamp: 3\","
          "\"trace_id\":\"1\"}",
          "status 400, x: AADSTS90002: No tenant.", "AADSTS90002", "" },
        { 400, "{\"error\":\"x\",\"error_description\":\"AADSTS90002: No "
          "tenant. Trace ID: 1\"}",
          "status 400, x: AADSTS90002: No tenant. Trace ID: 1",
          "AADSTS90002", "" },

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
          "ManagedIdentityNotFound", "1" },

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


/* Whether words that hold this are kept back. */
static int
is_kept_back(fixture_t *fixture, const char *words)
{
    char  text[1024];

    snprintf(text, sizeof(text), "It was: %s", words);

    return aad_repeats_secret(fixture->call.credential, text);
}


/* The fixture's credential with another secret. */
static void
use_secret(fixture_t *fixture, const char *secret)
{
    aad_credential_t  *credential;

    credential = (aad_credential_t *) fixture->call.credential;
    credential->set = 0;

    assert_int_equal(aad_credential_set(credential, "secret", secret,
                                        &fixture->error), 0);
}


static void
test_secrets_are_found_in_any_usual_form(void **state)
{
    size_t              i;
    fixture_t          *fixture = *state;
    const char *const  *form;

    static const struct {
        const char             *secret;
        const char             *forms[10];
    } secrets[] = {
        { "pass word+plus/slash=",
          { "pass word+plus/slash=",

            /* a form, with all escaped, and with what a browser escapes */
            "pass+word%2Bplus%2Fslash%3D", "pass+word%2bplus/slash=",
            "pass%20word%2Bplus%2fslash%3D",
            "p%61ss%20%77ord+plus/slash=",

            /* JSON in a JSON string, and a form in it */
            "pass\\u0020word\\u002bplus\\/slash\\u003D",
            "pass+word%2Bplus%2Fslash\\u00253D",

            /* twice escaped */
            "pass%2Bword%252Bplus%252Fslash%253D",

            /* a page */
            "pass word&#43;plus&#x2F;slash&#61;" } },

        { "\"quoted\"\\back&amp;<x>",
          { "\\\"quoted\\\"\\\\back&amp;<x>",
            "\\u0022quoted\\u0022\\u005cback\\u0026amp;\\u003cx\\u003e",
            "&quot;quoted&quot;\\back&amp;amp;&lt;x&gt;",
            "%22quoted%22%5Cback%26amp%3B%3Cx%3E" } },

        { "r\xc3\xa4tsel-\xe2\x82\xac-1",
          { "r\xc3\xa4tsel-\xe2\x82\xac-1", "r\\u00e4tsel-\\u20AC-1",
            "r%C3%A4tsel-%e2%82%ac-1", "r&#228;tsel-&#x20ac;-1" } },

        /* base64, base64url, and behind what is one and two bytes long */

        { "very?secret>~value",
          { "dmVyeT9zZWNyZXQ+fnZhbHVl", "dmVyeT9zZWNyZXQ-fnZhbHVl",
            "YTp2ZXJ5P3NlY3JldD5+dmFsdWU=", "OnZlcnk_c2VjcmV0Pn52YWx1ZQ",
            "dmVyeT9zZWNyZXQ%2BfnZhbHVl" } },

        { "pa55",
          { "pa55", "xpa55x", "%70a55", "cGE1NQ==" } },

        { "x", { "x", "%78", "\\u0078" } }
    };

    for (i = 0; i < unit_count(secrets); i++) {

        use_secret(fixture, secrets[i].secret);

        for (form = secrets[i].forms; *form != NULL; form++) {

            if (!is_kept_back(fixture, *form)) {
                fail_msg("\"%s\" is not found in \"%s\"", secrets[i].secret,
                         *form);
            }
        }
    }
}


static void
test_other_words_are_told(void **state)
{
    size_t      i;
    fixture_t  *fixture = *state;

    static const char *const  words[] = {
        "", "AADSTS7000215: Invalid client secret provided.", "Very/Secret",
        "ery/Secret+0123456789=", "Very/Secret 0123456789=", "%", "%2",
        "%zz", "\\", "\\u12", "&", "&#;", "&#x110000;", "+", "VmVyeS9TZWNyZXQ"
    };

    for (i = 0; i < unit_count(words); i++) {

        if (is_kept_back(fixture, words[i])) {
            fail_msg("\"%s\" is kept back", words[i]);
        }
    }
}


static void
test_tokens_and_assertions_are_not_told(void **state)
{
    fixture_t  *fixture = *state;

    refusal(fixture, 400, "{\"error\":\"invalid_client\",\"error_codes\":"
            "[50027],\"error_description\":\"AADSTS50027: Invalid JWT "
            "eyJhbGciOiJub25lIn0.e30.\"}");

    assert_string_equal(fixture->error.text,
                        "status 400: words that repeat a secret");
    assert_string_equal(fixture->attempt.code, "AADSTS50027");
    unit_assert_contains(fixture->attempt.hint, "no JWT");
}


static void
test_password_in_a_url_is_a_secret_by_itself(void **state)
{
    fixture_t  *fixture = *state;

    use_secret(fixture, "http://user:pa%73s-word@proxy.example.com:3128");
    assert_true(is_kept_back(fixture, "pa%73s-word"));
    assert_true(is_kept_back(fixture, "user:pa%73s-word"));
    assert_false(is_kept_back(fixture, "proxy.example.com:3128"));

    use_secret(fixture, "http://proxy.example.com:3128");
    assert_false(is_kept_back(fixture, "3128"));

    use_secret(fixture, "http://proxy.example.com/a:b@c");
    assert_false(is_kept_back(fixture, "b"));
}


static void
test_code_ids_and_hint_are_told_where_words_are_not(void **state)
{
    fixture_t  *fixture = *state;

    fixture->response.authority = 1;

    refusal(fixture, 401, "{\"error\":\"invalid_client\",\"error_codes\":"
            "[7000215],\"error_description\":\"AADSTS7000215: " SECRET
            "\",\"correlation_id\":\"" UNIT_OBJECT "\",\"trace_id\":\""
            UNIT_CLIENT "\"}");

    assert_string_equal(fixture->error.text,
                        "status 401: words that repeat a secret");
    assert_string_equal(fixture->attempt.code, "AADSTS7000215");
    assert_string_equal(fixture->attempt.correlation_id, UNIT_OBJECT);
    assert_string_equal(fixture->attempt.trace_id, UNIT_CLIENT);
    unit_assert_contains(fixture->attempt.hint, "secret's value");
}


static void
test_trace_ids_are_read(void **state)
{
    size_t      i;
    fixture_t  *fixture = *state;

    static const char *const  bodies[][2] = {
        { "{\"error\":\"x\",\"trace_id\":\"" UNIT_CLIENT "\"}", UNIT_CLIENT },
        { "{\"error\":{\"code\":\"x\",\"traceId\":\"" UNIT_CLIENT "\"}}",
          UNIT_CLIENT },
        { "{\"error\":\"x\",\"trace_id\":12}", "" },
        { "{\"error\":\"x\",\"trace_id\":\"" SECRET "\"}", "" }
    };

    for (i = 0; i < unit_count(bodies); i++) {
        refusal(fixture, 400, bodies[i][0]);
        assert_string_equal(fixture->attempt.trace_id, bodies[i][1]);
    }
}


static void
test_hint_is_of_who_answers(void **state)
{
    size_t      i;
    fixture_t  *fixture = *state;

    static const struct {
        int                     authority;
        long                    status;
        const char             *body;
        const char             *hint;
    } answers[] = {
        { 1, 400, "{\"error\":\"invalid_request\"}", "tenant id" },
        { 0, 400, "{\"error\":\"invalid_request\"}", "assign" },
        { 1, 404, "", "aoai_aad_authority_host" },
        { 0, 404, "", "being updated" },
        { 0, 410, "{}", "70 seconds" },
        { 1, 502, "<html></html>", "passes" },

        /* of several numbers that about which there is something to say */

        { 1, 400, "{\"error\":\"x\",\"error_codes\":[1,50076,2]}",
          "second factor" }
    };

    for (i = 0; i < unit_count(answers); i++) {
        fixture->response.authority = answers[i].authority;
        refusal(fixture, answers[i].status, answers[i].body);

        assert_non_null(fixture->attempt.hint);
        unit_assert_contains(fixture->attempt.hint, answers[i].hint);
    }

    assert_string_equal(fixture->attempt.code, "AADSTS50076");

    refusal(fixture, 400, "{\"error\":\"x\",\"error_codes\":[7,8]}");
    assert_string_equal(fixture->attempt.code, "AADSTS7");
    assert_null(fixture->attempt.hint);
}


static void
test_second_answer_replaces_the_first(void **state)
{
    fixture_t  *fixture = *state;

    refusal(fixture, 400, "{\"error\":\"x\",\"error_codes\":[50076]}");

    aad_secret_wipe(&fixture->response.body);
    fixture->response.status = 418;
    aad_error_response(&fixture->call, &fixture->response, &fixture->error);

    assert_string_equal(fixture->attempt.code, "");
    assert_null(fixture->attempt.hint);
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
        test(test_words_that_repeat_a_secret_are_not_told),
        test(test_secrets_are_found_in_any_usual_form),
        test(test_other_words_are_told),
        test(test_tokens_and_assertions_are_not_told),
        test(test_password_in_a_url_is_a_secret_by_itself),
        test(test_code_ids_and_hint_are_told_where_words_are_not),
        test(test_trace_ids_are_read),
        test(test_hint_is_of_who_answers),
        test(test_second_answer_replaces_the_first)
    };

    return cmocka_run_group_tests_name("error response", tests, NULL, NULL);
}
