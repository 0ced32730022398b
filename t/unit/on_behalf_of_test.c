
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * The exchange of a caller's token: the request byte for byte, by which step
 * of the chain it is made, and whose fault each refusal is.
 */


#include "certificates.h"


#define ASSERTION       "eyJhbGciOiJSUzI1NiJ9.eyJhdWQiOiJhcGk6Ly9nYXRld2F5In0" \
                        ".c2lnbmF0dXJlLW9mLXRoZS1jYWxsZXI"

#define GRANT           "&grant_type=urn%3Aietf%3Aparams%3Aoauth"             \
                        "%3Agrant-type%3Ajwt-bearer&assertion=" ASSERTION     \
                        "&requested_token_use=on_behalf_of"                   \
                        "&scope=https%3A%2F%2Fcognitiveservices.azure.com"    \
                        "%2F.default"

#define CLIENT_ASSERTION                                                      \
    "&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth"                      \
    "%3Aclient-assertion-type%3Ajwt-bearer&client_assertion="

#define SECRET_FORM     "client_id=" UNIT_CLIENT "&client_secret=secret" GRANT

/* as the On-Behalf-Of flow's page has it */
#define CLAIMS          "{\\\"access_token\\\":{\\\"polids\\\":"              \
                        "{\\\"essential\\\":true,\\\"values\\\":"             \
                        "[\\\"9ab03e19-ed42-4168-b6b7-7001fb3e933a\\\"]}}}"
#define CLAIMS_BASE64   "eyJhY2Nlc3NfdG9rZW4iOnsicG9saWRzIjp7ImVzc2VudGlhbCI" \
                        "6dHJ1ZSwidmFsdWVzIjpbIjlhYjAzZTE5LWVkNDItNDE2OC1iNm" \
                        "I3LTcwMDFmYjNlOTMzYSJdfX19"


/* what the last exchange came to */
static aad_refusal_t  refusal;


static aad_result_t
ask_with(unit_identity_t *identity, const char *text, int64_t timeout_ms)
{
    aad_result_t  result;
    aad_secret_t  assertion;

    aad_token_wipe(&identity->token);
    aad_secret_init(&assertion, AAD_TOKEN_BYTES_MAX);
    aad_secret_append_text(&assertion, text);

    memset(&refusal, 'x', sizeof(aad_refusal_t));

    result = aad_get_token_on_behalf_of(&identity->settings,
                                        &identity->hooks, timeout_ms,
                                        &assertion, &identity->token,
                                        &identity->report, &refusal);
    aad_secret_wipe(&assertion);

    return result;
}


static aad_result_t
ask(unit_identity_t *identity)
{
    return ask_with(identity, ASSERTION, UNIT_TIMEOUT_MS);
}


static void
ask_good(unit_identity_t *identity)
{
    unit_server_answer(&identity->authority, 200, "", UNIT_APP_TOKEN);

    if (ask(identity) != AAD_OK) {
        fail_msg("%s", unit_identity_reason(identity, 0));
    }

    assert_string_equal(identity->token.access_token.data, "app-token");
    assert_int_equal(refusal.kind, AAD_REFUSAL_NONE);
    assert_string_equal(refusal.reason, "");
    assert_string_equal(refusal.claims, "");
}


static void
refuse(unit_identity_t *identity, int status, const char *word, int code,
    const char *more)
{
    char  body[8192];

    snprintf(body, sizeof(body), "{\"error\":\"%s\",\"error_description\":"
             "\"AADSTS%d: Words.\\r\\nTrace ID: x\",\"error_codes\":[%d]%s}",
             word, code, code, more);
    unit_server_answer(&identity->authority, status, "", body);
}


static void
assert_refused(unit_identity_t *identity, aad_refusal_kind_t kind)
{
    char  text[4096];

    assert_int_equal(ask(identity), AAD_FAILED);
    assert_int_equal(identity->token.access_token.length, 0);
    assert_int_equal(refusal.kind, kind);
    assert_string_not_equal(refusal.reason, "");
    assert_null(strpbrk(refusal.reason, "\"\\\r\n"));

    (void) aad_report_text(&identity->report, text, sizeof(text));
    unit_assert_lacks(text, "eyJ");
    unit_assert_lacks(text, "c2lnbmF0dXJl");
}


static const char *
request_body(unit_identity_t *identity, size_t n)
{
    return unit_request_body(unit_server_request(&identity->authority, n));
}


static void
test_secret_and_assertion_are_posted(void **state)
{
    unit_identity_t  *identity = *state;

    unit_identity_secret_step(identity, "secret");
    ask_good(identity);

    unit_assert_request_line(unit_server_request(&identity->authority, 0),
                             "POST " UNIT_TOKEN_TARGET " HTTP/1.1");
    assert_string_equal(request_body(identity, 0), SECRET_FORM);
    assert_string_equal(identity->token.credential, "client_secret");
}


static void
test_own_token_is_asked_for_as_before(void **state)
{
    unit_identity_t  *identity = *state;

    unit_identity_secret_step(identity, "secret");
    ask_good(identity);

    unit_server_answer(&identity->authority, 200, "", UNIT_APP_TOKEN);
    assert_int_equal(unit_identity_ask(identity), AAD_OK);
    assert_string_equal(request_body(identity, 1),
                        "client_id=" UNIT_CLIENT "&client_secret=secret"
                        "&grant_type=client_credentials&scope=https%3A%2F%2F"
                        "cognitiveservices.azure.com%2F.default");
}


static void
test_certificate_signs(void **state)
{
    char              form[8192], value[4096];
    X509             *x509;
    unit_identity_t  *identity = *state;

    x509 = unit_app_certificate(unit_key(0));
    unit_pem_file(identity->directory, "app.pem", unit_key(0), NULL, x509,
                  NULL);
    X509_free(x509);

    unit_identity_step(identity, "client_certificate", "tenant_id",
                       UNIT_TENANT, "client_id", UNIT_CLIENT, "certificate",
                       "app.pem", NULL);
    ask_good(identity);

    unit_form_field(request_body(identity, 0), "client_assertion", value,
                    sizeof(value));
    snprintf(form, sizeof(form), "%s%s%s",
             "client_id=" UNIT_CLIENT CLIENT_ASSERTION, value, GRANT);
    assert_string_equal(request_body(identity, 0), form);

    unit_remove(identity->directory, "app.pem");
}


static void
test_workload_identity_is_passed_over_where_it_is_not_set(void **state)
{
    unit_identity_t  *identity = *state;

    unit_identity_step(identity, "workload_identity", NULL);
    unit_identity_step(identity, "managed_identity", NULL);
    unit_identity_secret_step(identity, "secret");
    unit_identity_step(identity, "azure_cli", NULL);
    unit_identity_step(identity, "environment", NULL);
    ask_good(identity);

    /* what is no app has no part in it, and the machine is not asked */

    assert_int_equal(identity->report.count, 2);
    assert_string_equal(identity->report.attempts[0].credential,
                        "workload_identity");
    assert_int_equal(identity->report.attempts[0].result, AAD_UNAVAILABLE);
    assert_string_equal(identity->report.attempts[1].credential,
                        "client_secret");
    assert_int_equal(identity->report.skipped_count, 1);
    assert_string_equal(identity->report.skipped[0], "environment");
    assert_int_equal(unit_server_requests(&identity->machine), 0);
    assert_int_equal(identity->token.step, 2);
}


static void
test_workload_identity_shows_its_file(void **state)
{
    unit_identity_t  *identity = *state;

    unit_file(identity->directory, "token", "YQ.YQ.YQ", 8, 0600);
    unit_identity_step(identity, "workload_identity", "tenant_id",
                       UNIT_TENANT, "client_id", UNIT_CLIENT, "token_file",
                       "token", NULL);
    ask_good(identity);

    assert_string_equal(request_body(identity, 0), "client_id=" UNIT_CLIENT
                        CLIENT_ASSERTION "YQ.YQ.YQ" GRANT);

    unit_remove(identity->directory, "token");
    assert_refused(identity, AAD_REFUSAL_CREDENTIAL);
}


static void
test_federated_managed_identity_shows_the_machines_token(void **state)
{
    unit_identity_t  *identity = *state;

    unit_identity_step(identity, "federated_managed_identity", "tenant_id",
                       UNIT_TENANT, "client_id", UNIT_CLIENT,
                       "identity_client_id", UNIT_OBJECT, NULL);

    unit_server_answer(&identity->machine, 200, "", UNIT_MACHINE_TOKEN);
    ask_good(identity);

    assert_string_equal(request_body(identity, 0), "client_id=" UNIT_CLIENT
                        CLIENT_ASSERTION "machine-token" GRANT);

    /* kept for the next caller */

    ask_good(identity);
    assert_int_equal(unit_server_requests(&identity->machine), 1);
}


static void
test_environment_shows_its_secret(void **state)
{
    unit_identity_t  *identity = *state;

    unit_identity_variable(identity, "AZURE_TENANT_ID", UNIT_TENANT);
    unit_identity_variable(identity, "AZURE_CLIENT_ID", UNIT_CLIENT);
    unit_identity_variable(identity, "AZURE_CLIENT_SECRET", "secret");
    unit_identity_step(identity, "environment", NULL);
    ask_good(identity);

    assert_string_equal(request_body(identity, 0), SECRET_FORM);
}


static void
test_codes_say_whose_fault_it_is(void **state)
{
    size_t            i;
    unit_identity_t  *identity = *state;

    static const struct {
        const char          *word;
        int                  code;
        int                  status;
        aad_refusal_kind_t   kind;
        const char          *reason;
    } answers[] = {
        { "invalid_grant", 50013, 400, AAD_REFUSAL_TOKEN,
          "the token is not for this gateway's app" },
        { "invalid_grant", 500131, 400, AAD_REFUSAL_TOKEN,
          "the token is not for this gateway's app" },
        { "invalid_grant", 500133, 400, AAD_REFUSAL_TOKEN,
          "the token has expired" },
        { "invalid_grant", 50057, 400, AAD_REFUSAL_TOKEN,
          "the account cannot sign in any more" },
        { "invalid_grant", 50173, 400, AAD_REFUSAL_TOKEN,
          "the sign-in has ended: sign in again" },
        { "invalid_grant", 700082, 400, AAD_REFUSAL_TOKEN,
          "the sign-in has ended: sign in again" },
        { "invalid_request", 50027, 400, AAD_REFUSAL_TOKEN,
          "Microsoft Entra ID does not take the token: get a new one" },
        { "invalid_grant", 999999, 400, AAD_REFUSAL_TOKEN,
          "Microsoft Entra ID does not take the token: get a new one" },

        { "invalid_grant", 65001, 400, AAD_REFUSAL_INTERACTION,
          "consent is missing: the user or an administrator has to grant "
          "it" },
        { "interaction_required", 50076, 400, AAD_REFUSAL_INTERACTION,
          "the user has to sign in again, in a stronger way" },
        { "invalid_grant", 50079, 400, AAD_REFUSAL_INTERACTION,
          "the user has to sign in again, in a stronger way" },
        { "interaction_required", 53003, 400, AAD_REFUSAL_INTERACTION,
          "a Conditional Access policy forbids it" },
        { "interaction_required", 999999, 400, AAD_REFUSAL_INTERACTION,
          "the user has to sign in again, in a stronger way" },

        { "invalid_grant", 7000114, 400, AAD_REFUSAL_FORBIDDEN,
          "the token is an app's own: there is no user to act for" },
        { "invalid_grant", 50105, 400, AAD_REFUSAL_FORBIDDEN,
          "the user is not assigned to the gateway's app" },

        { "invalid_client", 7000215, 401, AAD_REFUSAL_CREDENTIAL,
          "the gateway cannot act on behalf of its callers at present" },
        { "invalid_client", 50027, 401, AAD_REFUSAL_CREDENTIAL,
          "the gateway cannot act on behalf of its callers at present" },
        { "unauthorized_client", 700016, 400, AAD_REFUSAL_CREDENTIAL,
          "the gateway cannot act on behalf of its callers at present" },
        { "invalid_scope", 70011, 400, AAD_REFUSAL_CREDENTIAL,
          "the gateway cannot act on behalf of its callers at present" },
        { "invalid_request", 900144, 400, AAD_REFUSAL_CREDENTIAL,
          "the gateway cannot act on behalf of its callers at present" },
        { "invalid_resource", 500011, 400, AAD_REFUSAL_CREDENTIAL,
          "the gateway cannot act on behalf of its callers at present" },

        { "invalid_grant", 90033, 400, AAD_REFUSAL_UNAVAILABLE,
          "Microsoft Entra ID is not available at present" }
    };

    unit_identity_secret_step(identity, "secret");

    for (i = 0; i < unit_count(answers); i++) {
        char  code[32];

        refuse(identity, answers[i].status, answers[i].word, answers[i].code,
               "");
        assert_refused(identity, answers[i].kind);
        assert_string_equal(refusal.reason, answers[i].reason);
        assert_string_equal(refusal.claims, "");

        snprintf(code, sizeof(code), "AADSTS%d", answers[i].code);
        assert_string_equal(refusal.code, code);
        assert_int_equal(unit_server_requests(&identity->authority), i + 1);
    }
}


static void
test_words_are_enough_without_codes(void **state)
{
    size_t            i;
    unit_identity_t  *identity = *state;

    static const struct {
        const char          *body;
        aad_refusal_kind_t   kind;
    } answers[] = {
        { "{\"error\":\"invalid_grant\"}", AAD_REFUSAL_TOKEN },
        { "{\"error\":\"invalid_grant\",\"suberror\":\"consent_required\"}",
          AAD_REFUSAL_INTERACTION },
        { "{\"error\":\"invalid_grant\",\"suberror\":\"bad_token\"}",
          AAD_REFUSAL_TOKEN },
        { "{\"error\":\"consent_required\"}", AAD_REFUSAL_INTERACTION },
        { "{\"error\":\"invalid_grant\",\"error_description\":"
          "\"AADSTS7000114: Words.\"}", AAD_REFUSAL_FORBIDDEN },
        { "{\"error\":\"invalid_grant\",\"error_codes\":[\"x\",1e99,-1,"
          "7000114]}", AAD_REFUSAL_FORBIDDEN },
        { "{\"error\":\"temporarily_unavailable\"}",
          AAD_REFUSAL_UNAVAILABLE },
        { "{\"error\":\"something_new\"}", AAD_REFUSAL_CREDENTIAL },
        { "{}", AAD_REFUSAL_CREDENTIAL },
        { "<html>a proxy's page</html>", AAD_REFUSAL_UNAVAILABLE }
    };

    unit_identity_secret_step(identity, "secret");

    for (i = 0; i < unit_count(answers); i++) {
        unit_server_answer(&identity->authority, 400, "", answers[i].body);
        assert_refused(identity, answers[i].kind);
    }
}


static void
test_claims_are_passed_on(void **state)
{
    unit_identity_t  *identity = *state;

    unit_identity_secret_step(identity, "secret");

    refuse(identity, 400, "interaction_required", 50076,
           ",\"claims\":\"" CLAIMS "\"");
    assert_refused(identity, AAD_REFUSAL_INTERACTION);
    assert_string_equal(refusal.claims, CLAIMS_BASE64);

    /* a word that is another one does not hide them */

    refuse(identity, 400, "invalid_grant", 999999,
           ",\"claims\":\"" CLAIMS "\"");
    assert_refused(identity, AAD_REFUSAL_INTERACTION);
    assert_string_equal(refusal.claims, CLAIMS_BASE64);

    /* nor do they make the caller's what is the gateway's fault */

    refuse(identity, 401, "invalid_client", 7000215,
           ",\"claims\":\"" CLAIMS "\"");
    assert_refused(identity, AAD_REFUSAL_CREDENTIAL);
    assert_string_equal(refusal.claims, "");
}


static void
test_claims_that_are_none_are_left_out(void **state)
{
    size_t            i;
    char              large[4096];
    unit_identity_t  *identity = *state;

    static const char *const  claims[] = {
        ",\"claims\":\"not JSON\"", ",\"claims\":\"[]\"", ",\"claims\":{}",
        ",\"claims\":\"\"", ",\"claims\":\"{} {}\"",
        ",\"claims\":\"{\\\"x\\\":\\\"" ASSERTION "\\\"}\"",
        ",\"claims\":\"{\\\"x\\\":\\\"secret\\\"}\""
    };

    unit_identity_secret_step(identity, "secret");

    for (i = 0; i < unit_count(claims); i++) {
        refuse(identity, 400, "interaction_required", 50076, claims[i]);
        assert_refused(identity, AAD_REFUSAL_INTERACTION);
        assert_string_equal(refusal.claims, "");
    }

    /* the longest that fits, and one that does not */

    for (i = 0; i < 2; i++) {
        snprintf(large, sizeof(large),
                 ",\"claims\":\"{\\\"x\\\":\\\"%0*d\\\"}\"",
                 (AAD_CLAIMS_BYTES - 4) / 4 * 3 - 8 + (int) i, 0);
        refuse(identity, 400, "interaction_required", 50076, large);
        assert_refused(identity, AAD_REFUSAL_INTERACTION);
        assert_int_equal(strlen(refusal.claims),
                         i ? 0 : (AAD_CLAIMS_BYTES - 4) / 4 * 4);
    }
}


static void
test_entra_down_is_not_the_callers_fault(void **state)
{
    unit_identity_t  *identity = *state;

    unit_identity_secret_step(identity, "secret");

    unit_server_answers(&identity->authority, UNIT_AUTHORITY_TRIES, 503, "",
                        "");
    assert_refused(identity, AAD_REFUSAL_UNAVAILABLE);

    unit_server_answer(&identity->authority, 429, "Retry-After: 77\r\n",
                       "{\"error\":\"invalid_grant\"}");
    assert_refused(identity, AAD_REFUSAL_UNAVAILABLE);
    assert_int_equal(refusal.retry_after, 77);

    unit_server_answer(&identity->authority, 200, "", "{}");
    assert_refused(identity, AAD_REFUSAL_UNAVAILABLE);

    assert_int_equal(ask_with(identity, ASSERTION, 0), AAD_FAILED);
    assert_int_equal(refusal.kind, AAD_REFUSAL_UNAVAILABLE);

    unit_identity_authority(identity, identity->closed_url);
    assert_refused(identity, AAD_REFUSAL_UNAVAILABLE);
}


static void
test_a_failure_that_passes_leaves_nothing_behind(void **state)
{
    unit_identity_t  *identity = *state;

    unit_identity_secret_step(identity, "secret");

    unit_server_answer(&identity->authority, 503, "", "");
    ask_good(identity);
    assert_int_equal(unit_server_requests(&identity->authority), 2);
}


/* Entra repeats what it was sent in some of its messages, and a proxy may. */
static void
test_the_token_is_not_in_the_report(void **state)
{
    size_t            i;
    char              text[4096], body[1024];
    unit_identity_t  *identity = *state;

    static const char *const  words[] = {
        ASSERTION, "c2lnbmF0dXJlLW9mLXRoZS1jYWxsZXI",
        "%632lnbmF0dXJlLW9mLXRoZS1jYWxsZXI",
        "YzJsbmJtRjBkWEpsTFc5bUxYUm9aUzFqWVd4c1pYSQ"
    };

    unit_identity_secret_step(identity, "secret");

    for (i = 0; i < unit_count(words); i++) {
        snprintf(body, sizeof(body), "{\"error\":\"%s\","
                 "\"error_description\":\"no %s\",\"trace_id\":\"%s\","
                 "\"correlation_id\":\"%s\"}", words[i], words[i], words[i],
                 words[i]);
        unit_server_answer(&identity->authority, 400, "", body);

        assert_int_equal(ask(identity), AAD_FAILED);
        (void) aad_report_text(&identity->report, text, sizeof(text));
        unit_assert_lacks(text, words[i]);
        unit_assert_lacks(refusal.code, words[i]);
        unit_assert_contains(text, "words that repeat a secret");
    }
}


static void
test_a_chain_without_an_app_is_known_at_once(void **state)
{
    aad_error_t       error;
    unit_identity_t  *identity = *state;

    assert_int_equal(aad_on_behalf_of_check(&identity->settings, &error), -1);

    unit_identity_step(identity, "workload_identity", NULL);
    unit_identity_step(identity, "managed_identity", NULL);
    unit_identity_step(identity, "environment", NULL);
    unit_identity_step(identity, "azure_cli", NULL);

    assert_int_equal(aad_on_behalf_of_check(&identity->settings, &error), -1);
    unit_assert_contains(error.text, "\"aoai_aad on_behalf_of\" needs an app "
                         "that can prove who it is: write an "
                         "\"aoai_aad_credential\" line of type "
                         "client_secret, ");

    assert_int_equal(ask(identity), AAD_FAILED);
    assert_int_equal(refusal.kind, AAD_REFUSAL_CREDENTIAL);
    assert_int_equal(unit_server_requests(&identity->machine), 0);

    unit_identity_secret_step(identity, "secret");
    assert_int_equal(aad_on_behalf_of_check(&identity->settings, &error), 0);
}


static void
test_variables_make_an_app(void **state)
{
    size_t            i;
    aad_error_t       error;
    unit_identity_t  *identity = *state;

    static const struct {
        const char  *type;
        const char  *variable;
        const char  *value;
        int          is_app;
    } steps[] = {
        { "environment", "AZURE_TENANT_ID", UNIT_TENANT, 0 },
        { "environment", "AZURE_CLIENT_ID", UNIT_CLIENT, 0 },
        { "workload_identity", "AZURE_CLIENT_ID", UNIT_CLIENT, 0 },
        { "environment", "AZURE_CLIENT_SECRET", "secret", 1 },
        { "workload_identity", "AZURE_FEDERATED_TOKEN_FILE", "/token", 1 },

        /* meant to be one, which is what it will say when it is asked */

        { "environment", "AZURE_TENANT_ID", "a placeholder", 1 }
    };

    for (i = 0; i < unit_count(steps); i++) {
        unit_identity_variable(identity, steps[i].variable, steps[i].value);
        unit_identity_step(identity, steps[i].type, NULL);

        assert_int_equal(aad_on_behalf_of_check(&identity->settings, &error),
                         steps[i].is_app ? 0 : -1);

        aad_credential_destroy(identity->settings.chain[0]);
        identity->settings.chain_length = 0;
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        unit_identity_test(test_secret_and_assertion_are_posted),
        unit_identity_test(test_own_token_is_asked_for_as_before),
        unit_identity_test(test_certificate_signs),
        unit_identity_test(
            test_workload_identity_is_passed_over_where_it_is_not_set),
        unit_identity_test(test_workload_identity_shows_its_file),
        unit_identity_test(
            test_federated_managed_identity_shows_the_machines_token),
        unit_identity_test(test_environment_shows_its_secret),
        unit_identity_test(test_codes_say_whose_fault_it_is),
        unit_identity_test(test_words_are_enough_without_codes),
        unit_identity_test(test_claims_are_passed_on),
        unit_identity_test(test_claims_that_are_none_are_left_out),
        unit_identity_test(test_entra_down_is_not_the_callers_fault),
        unit_identity_test(test_a_failure_that_passes_leaves_nothing_behind),
        unit_identity_test(test_the_token_is_not_in_the_report),
        unit_identity_test(test_a_chain_without_an_app_is_known_at_once),
        unit_identity_test(test_variables_make_an_app)
    };

    return cmocka_run_group_tests_name("on behalf of", tests, NULL, NULL);
}
