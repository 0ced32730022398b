
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * The service principal of the AZURE_* variables, with a secret or with a
 * certificate.
 */


#include "certificates.h"


#define SECRET  "Aa1~.-_+/="

#define FORM    "client_id=" UNIT_CLIENT "&client_secret=Aa1~.-_%2B%2F%3D"    \
                "&grant_type=client_credentials"                              \
                "&scope=https%3A%2F%2Fcognitiveservices.azure.com%2F.default"


static const unit_variable_t  principal[] = {
    { "AZURE_TENANT_ID",     UNIT_TENANT },
    { "AZURE_CLIENT_ID",     UNIT_CLIENT },
    { "AZURE_CLIENT_SECRET", SECRET }
};


/* all variables, but one of them has another value, or is not set */
static void
principal_but(unit_identity_t *identity, const char *name, const char *value)
{
    size_t  i;

    for (i = 0; i < unit_count(principal); i++) {

        if (name == NULL || strcmp(principal[i].name, name) != 0) {
            unit_identity_variable(identity, principal[i].name,
                                   principal[i].value);

        } else if (value != NULL) {
            unit_identity_variable(identity, name, value);
        }
    }

    unit_identity_step(identity, "environment", NULL);
}


/* The step says this, and the one behind it is asked. */
static void
check_handed_on(unit_identity_t *identity, const char *reason)
{
    unit_identity_step(identity, "managed_identity", NULL);
    unit_server_answer(&identity->machine, 200, "", UNIT_MACHINE_TOKEN);

    assert_int_equal(unit_identity_ask(identity), AAD_OK);
    assert_int_equal(identity->token.step, 1);
    assert_int_equal(identity->report.attempts[0].result, AAD_UNAVAILABLE);
    assert_string_equal(unit_identity_reason(identity, 0), reason);
    assert_int_equal(unit_server_requests(&identity->authority), 0);
}


static void
test_secret_of_the_environment_is_posted(void **state)
{
    char              host[64], length[24];
    const char       *request;
    unit_identity_t  *identity = *state;
    unit_header_t     headers[] = {
        { "Host", host },
        { "User-Agent", "ngx_http_aoai_aad_module/" AAD_VERSION },
        { "Accept", "application/json" },
        { "client-request-id", NULL },
        { "Content-Type", "application/x-www-form-urlencoded" },
        { "Content-Length", length },
        { NULL, NULL }
    };

    snprintf(host, sizeof(host), "127.0.0.1:%d", identity->authority.port);
    snprintf(length, sizeof(length), "%zu", strlen(FORM));

    principal_but(identity, NULL, NULL);
    unit_server_answer(&identity->authority, 200, "", UNIT_APP_TOKEN);

    assert_int_equal(unit_identity_ask(identity), AAD_OK);
    assert_string_equal(identity->token.access_token.data, "app-token");
    assert_string_equal(identity->token.credential, "environment");

    request = unit_server_request(&identity->authority, 0);

    unit_assert_request_line(request, "POST " UNIT_TOKEN_TARGET " HTTP/1.1");
    unit_assert_headers(request, headers);
    assert_string_equal(unit_request_body(request), FORM);
}


static void
test_tenant_that_is_not_set_hands_on(void **state)
{
    principal_but(*state, "AZURE_TENANT_ID", NULL);
    check_handed_on(*state, "AZURE_TENANT_ID is not set");
}


static void
test_client_that_is_not_set_hands_on(void **state)
{
    principal_but(*state, "AZURE_CLIENT_ID", NULL);
    check_handed_on(*state, "AZURE_CLIENT_ID is not set");
}


static void
test_secret_that_is_not_set_hands_on(void **state)
{
    principal_but(*state, "AZURE_CLIENT_SECRET", NULL);
    check_handed_on(*state, "AZURE_CLIENT_SECRET is not set, nor is "
                    "AZURE_CLIENT_CERTIFICATE_PATH");
}


static void
test_empty_variable_hands_on(void **state)
{
    principal_but(*state, "AZURE_CLIENT_SECRET", "");
    check_handed_on(*state, "AZURE_CLIENT_SECRET is not set, nor is "
                    "AZURE_CLIENT_CERTIFICATE_PATH");
}


static void
test_placeholder_hands_on(void **state)
{
    principal_but(*state, "AZURE_CLIENT_ID", "your-client-id");
    check_handed_on(*state, "AZURE_CLIENT_ID is not a GUID");
}


static void
test_shared_tenant_hands_on(void **state)
{
    principal_but(*state, "AZURE_TENANT_ID", "organizations");
    check_handed_on(*state, "AZURE_TENANT_ID is not a tenant's GUID or domain "
                    "name");
}


static void
test_variables_are_read_once(void **state)
{
    unit_identity_t  *identity = *state;

    principal_but(identity, NULL, NULL);
    unit_identity_variable(identity, "AZURE_CLIENT_SECRET", "changed");
    unit_server_answer(&identity->authority, 200, "", UNIT_APP_TOKEN);

    assert_int_equal(unit_identity_ask(identity), AAD_OK);
    assert_string_equal(unit_request_body(
                            unit_server_request(&identity->authority, 0)),
                        FORM);
}


static void
test_refused_secret_stops(void **state)
{
    unit_identity_t  *identity = *state;

    principal_but(identity, NULL, NULL);
    unit_identity_step(identity, "managed_identity", NULL);
    unit_server_answer(&identity->authority, 401, "",
                       "{\"error\":\"invalid_client\",\"error_description\":"
                       "\"AADSTS7000222: expired\","
                       "\"error_codes\":[7000222]}");

    assert_int_equal(unit_identity_ask(identity), AAD_FAILED);
    assert_int_equal(identity->report.count, 1);
    assert_string_equal(identity->report.attempts[0].credential,
                        "environment");
    assert_string_equal(identity->report.attempts[0].code, "AADSTS7000222");
    assert_int_equal(unit_server_requests(&identity->machine), 0);
}


static void
test_closed_port_of_the_authority_stops(void **state)
{
    unit_identity_t  *identity = *state;

    unit_identity_authority(identity, identity->closed_url);
    principal_but(identity, NULL, NULL);
    unit_identity_step(identity, "managed_identity", NULL);

    assert_int_equal(unit_identity_ask(identity), AAD_FAILED);
    assert_int_equal(identity->report.count, 1);
    assert_int_equal(unit_server_requests(&identity->machine), 0);
}


static void
test_secret_that_is_repeated_is_not_told(void **state)
{
    unit_identity_t  *identity = *state;

    principal_but(identity, NULL, NULL);
    unit_server_answer(&identity->authority, 400, "", "{\"error\":\"x\","
                       "\"error_description\":\"no: " SECRET "\"}");

    assert_int_equal(unit_identity_ask(identity), AAD_FAILED);
    unit_assert_lacks(unit_identity_reason(identity, 0), SECRET);
}


/* The variables of a principal with a certificate, whose file is "app.pem". */
static void
certificate_of_key(unit_identity_t *identity, const char *password)
{
    char   path[UNIT_PATH_BYTES];
    X509  *x509;

    x509 = unit_app_certificate(unit_key(0));
    unit_pem_file(identity->directory, "app.pem", unit_key(0), password, x509,
                  NULL);
    X509_free(x509);

    snprintf(path, sizeof(path), "%sapp.pem", identity->directory);
    unit_identity_variable(identity, "AZURE_CLIENT_CERTIFICATE_PATH", path);
}


/* The certificate is what the authority gets, with x5c or without. */
static void
check_certificate(unit_identity_t *identity, int has_x5c)
{
    size_t             n;
    unit_assertion_t  *assertion;

    n = unit_server_requests(&identity->authority);
    unit_server_answer(&identity->authority, 200, "", UNIT_APP_TOKEN);

    assert_int_equal(unit_identity_ask(identity), AAD_OK);
    assert_string_equal(identity->token.credential, "environment");

    assertion = unit_assertion(unit_server_request(&identity->authority, n));

    assert_true(unit_assertion_is_signed(assertion, unit_key(0)));
    assert_int_equal(cJSON_HasObjectItem(assertion->header, "x5c"), has_x5c);

    unit_assertion_free(assertion);
    unit_remove(identity->directory, "app.pem");
}


static void
test_azure_client_secret_is_checked_first(void **state)
{
    unit_identity_t  *identity = *state;

    /* so that a certificate is not even looked for */

    unit_identity_variable(identity, "AZURE_CLIENT_CERTIFICATE_PATH",
                           "/nowhere/app.pem");
    principal_but(identity, NULL, NULL);
    unit_server_answer(&identity->authority, 200, "", UNIT_APP_TOKEN);

    assert_int_equal(unit_identity_ask(identity), AAD_OK);
    assert_string_equal(unit_request_body(
                            unit_server_request(&identity->authority, 0)),
                        FORM);
}


static void
test_azure_client_certificate_path_selects_the_certificate(void **state)
{
    certificate_of_key(*state, NULL);
    principal_but(*state, "AZURE_CLIENT_SECRET", NULL);
    check_certificate(*state, 0);
}


static void
test_azure_client_certificate_path_is_read_once(void **state)
{
    unit_identity_t  *identity = *state;

    certificate_of_key(identity, NULL);
    principal_but(identity, "AZURE_CLIENT_SECRET", "");
    unit_remove(identity->directory, "app.pem");

    check_certificate(identity, 0);
}


static void
test_azure_client_certificate_path_may_be_pkcs12(void **state)
{
    X509             *x509;
    unit_identity_t  *identity = *state;

    x509 = unit_app_certificate(unit_key(0));
    unit_pkcs12_file(identity->directory, "app.pem", unit_key(0), x509, NULL,
                     SECRET, 0);
    X509_free(x509);

    unit_identity_variable(identity, "AZURE_CLIENT_CERTIFICATE_PATH",
                           "app.pem");
    unit_identity_variable(identity, "AZURE_CLIENT_CERTIFICATE_PASSWORD",
                           SECRET);
    principal_but(identity, "AZURE_CLIENT_SECRET", NULL);
    check_certificate(identity, 0);
}


static void
test_azure_client_certificate_password_opens_the_key(void **state)
{
    unit_identity_t  *identity = *state;

    certificate_of_key(identity, " " SECRET " ");
    unit_identity_variable(identity, "AZURE_CLIENT_CERTIFICATE_PASSWORD",
                           " " SECRET " ");
    principal_but(identity, "AZURE_CLIENT_SECRET", NULL);
    check_certificate(identity, 0);
}


static void
test_azure_client_send_certificate_chain_is_1_or_true(void **state)
{
    size_t            i;
    unit_identity_t  *identity = *state;

    static const struct {
        const char             *value;
        int                     has_x5c;
    } values[] = {
        { "1", 1 }, { "true", 1 }, { "TRUE", 1 }, { "True", 1 },
        { "0", 0 }, { "false", 0 }, { "yes", 0 }, { "on", 0 }, { "11", 0 },
        { "", 0 }
    };

    for (i = 0; i < unit_count(values); i++) {
        certificate_of_key(identity, NULL);
        unit_identity_variable(identity,
                               "AZURE_CLIENT_SEND_CERTIFICATE_CHAIN",
                               values[i].value);
        principal_but(identity, "AZURE_CLIENT_SECRET", NULL);
        check_certificate(identity, values[i].has_x5c);

        aad_credential_destroy(identity->settings.chain[0]);
        identity->settings.chain_length = 0;
    }
}


static void
test_empty_azure_client_certificate_path_is_as_if_unset(void **state)
{
    unit_identity_variable(*state, "AZURE_CLIENT_CERTIFICATE_PATH", "");
    principal_but(*state, "AZURE_CLIENT_SECRET", NULL);
    check_handed_on(*state, "AZURE_CLIENT_SECRET is not set, nor is "
                    "AZURE_CLIENT_CERTIFICATE_PATH");
}


static void
test_azure_username_is_not_supported(void **state)
{
    unit_identity_variable(*state, "AZURE_USERNAME", "me@example.com");
    unit_identity_variable(*state, "AZURE_PASSWORD", SECRET);
    principal_but(*state, "AZURE_CLIENT_SECRET", NULL);
    check_handed_on(*state, "AZURE_CLIENT_SECRET is not set, nor is "
                    "AZURE_CLIENT_CERTIFICATE_PATH; AZURE_USERNAME is, but "
                    "signing in with a user's password is not supported");
}


static void
test_azure_username_without_password_is_not_supported(void **state)
{
    unit_identity_variable(*state, "AZURE_USERNAME", "me@example.com");
    principal_but(*state, "AZURE_CLIENT_SECRET", NULL);
    check_handed_on(*state, "AZURE_CLIENT_SECRET is not set, nor is "
                    "AZURE_CLIENT_CERTIFICATE_PATH; AZURE_USERNAME is, but "
                    "signing in with a user's password is not supported");
}


/* the tenant is never another one than that of the variable */
static void
test_azure_additionally_allowed_tenants_changes_nothing(void **state)
{
    unit_identity_variable(*state, "AZURE_ADDITIONALLY_ALLOWED_TENANTS", "*");
    test_secret_of_the_environment_is_posted(state);
}


/* for Microsoft's own apps */
static void
test_azure_regional_authority_name_changes_nothing(void **state)
{
    unit_identity_variable(*state, "AZURE_REGIONAL_AUTHORITY_NAME",
                           "westeurope");
    test_secret_of_the_environment_is_posted(state);
}


/* The step stops the chain and says this. */
static void
check_stopped(unit_identity_t *identity, const char *reason)
{
    principal_but(identity, "AZURE_CLIENT_SECRET", NULL);
    unit_identity_step(identity, "managed_identity", NULL);

    assert_int_equal(unit_identity_ask(identity), AAD_FAILED);
    assert_int_equal(identity->report.count, 1);
    unit_assert_contains(unit_identity_reason(identity, 0),
                         "AZURE_CLIENT_CERTIFICATE_PATH: ");
    unit_assert_contains(unit_identity_reason(identity, 0), reason);
    unit_assert_lacks(unit_identity_reason(identity, 0), SECRET);
    assert_int_equal(unit_server_requests(&identity->authority), 0);
    assert_int_equal(unit_server_requests(&identity->machine), 0);
}


static void
test_bad_certificate_file_stops_missing(void **state)
{
    unit_identity_variable(*state, "AZURE_CLIENT_CERTIFICATE_PATH",
                           "/nowhere/app.pem");
    check_stopped(*state, "\"/nowhere/app.pem\": No such file");
}


static void
test_bad_certificate_file_stops_without_password(void **state)
{
    unit_identity_t  *identity = *state;

    certificate_of_key(identity, SECRET);
    check_stopped(identity, "is encrypted: set "
                  "AZURE_CLIENT_CERTIFICATE_PASSWORD");
    unit_remove(identity->directory, "app.pem");
}


static void
test_bad_certificate_file_stops_without_key(void **state)
{
    X509             *x509;
    unit_identity_t  *identity = *state;

    certificate_of_key(identity, NULL);
    x509 = unit_app_certificate(unit_key(0));
    unit_pem_file(identity->directory, "app.pem", NULL, NULL, x509, NULL);
    X509_free(x509);

    check_stopped(identity, "has no private key: put it into the same file");
    unit_assert_lacks(unit_identity_reason(identity, 0), "key=");
    unit_remove(identity->directory, "app.pem");
}


/* a pod or an app with an identity has such an environment */
static void
test_bad_certificate_file_hands_on_where_the_tenant_is_not_set(void **state)
{
    unit_identity_variable(*state, "AZURE_CLIENT_ID", UNIT_CLIENT);
    unit_identity_variable(*state, "AZURE_CLIENT_CERTIFICATE_PATH",
                           "/nowhere/app.pem");
    unit_identity_step(*state, "environment", NULL);
    check_handed_on(*state, "AZURE_TENANT_ID is not set");
}


static void
test_refused_certificate_stops(void **state)
{
    unit_identity_t  *identity = *state;

    certificate_of_key(identity, NULL);
    principal_but(identity, "AZURE_CLIENT_SECRET", NULL);
    unit_identity_step(identity, "managed_identity", NULL);
    unit_server_answer(&identity->authority, 401, "",
                       "{\"error\":\"invalid_client\",\"error_codes\":"
                       "[700027]}");

    assert_int_equal(unit_identity_ask(identity), AAD_FAILED);
    assert_int_equal(identity->report.count, 1);
    assert_string_equal(identity->report.attempts[0].code, "AADSTS700027");
    assert_int_equal(unit_server_requests(&identity->machine), 0);
    unit_remove(identity->directory, "app.pem");
}


static void
test_warning_of_a_certificate_of_the_environment(void **state)
{
    char              path[UNIT_PATH_BYTES];
    X509             *x509;
    aad_error_t       warning;
    unit_identity_t  *identity = *state;

    x509 = unit_certificate(unit_key(0), "app", unit_key(0), "app", -1, 20);
    unit_pem_file(identity->directory, "app.pem", unit_key(0), NULL, x509,
                  NULL);
    X509_free(x509);

    snprintf(path, sizeof(path), "%sapp.pem", identity->directory);
    unit_identity_variable(identity, "AZURE_CLIENT_CERTIFICATE_PATH", path);
    principal_but(identity, "AZURE_CLIENT_SECRET", NULL);

    assert_int_equal(aad_credential_warning(identity->settings.chain[0],
                                            time(NULL), &warning), 1);
    unit_assert_contains(warning.text, path);
    unit_assert_contains(warning.text, "expires on ");
    unit_remove(identity->directory, "app.pem");
}


int
main(void)
{
    static const struct CMUnitTest  tests[] = {
        unit_identity_test(test_secret_of_the_environment_is_posted),
        unit_identity_test(test_tenant_that_is_not_set_hands_on),
        unit_identity_test(test_client_that_is_not_set_hands_on),
        unit_identity_test(test_secret_that_is_not_set_hands_on),
        unit_identity_test(test_empty_variable_hands_on),
        unit_identity_test(test_placeholder_hands_on),
        unit_identity_test(test_shared_tenant_hands_on),
        unit_identity_test(test_variables_are_read_once),
        unit_identity_test(test_refused_secret_stops),
        unit_identity_test(test_closed_port_of_the_authority_stops),
        unit_identity_test(test_secret_that_is_repeated_is_not_told),
        unit_identity_test(test_azure_client_secret_is_checked_first),
        unit_identity_test(
            test_azure_client_certificate_path_selects_the_certificate),
        unit_identity_test(test_azure_client_certificate_path_is_read_once),
        unit_identity_test(test_azure_client_certificate_path_may_be_pkcs12),
        unit_identity_test(
            test_azure_client_certificate_password_opens_the_key),
        unit_identity_test(
            test_azure_client_send_certificate_chain_is_1_or_true),
        unit_identity_test(
            test_empty_azure_client_certificate_path_is_as_if_unset),
        unit_identity_test(test_azure_username_is_not_supported),
        unit_identity_test(
            test_azure_username_without_password_is_not_supported),
        unit_identity_test(
            test_azure_additionally_allowed_tenants_changes_nothing),
        unit_identity_test(test_azure_regional_authority_name_changes_nothing),
        unit_identity_test(test_bad_certificate_file_stops_missing),
        unit_identity_test(test_bad_certificate_file_stops_without_password),
        unit_identity_test(test_bad_certificate_file_stops_without_key),
        unit_identity_test(
            test_bad_certificate_file_hands_on_where_the_tenant_is_not_set),
        unit_identity_test(test_refused_certificate_stops),
        unit_identity_test(test_warning_of_a_certificate_of_the_environment)
    };

    if (aad_global_init() != 0) {
        return 1;
    }

    return cmocka_run_group_tests_name("environment", tests, NULL, NULL);
}
