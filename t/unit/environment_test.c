
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * The service principal of the AZURE_* variables.
 */


#include "identity.h"


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
        unit_identity_test(test_secret_that_is_repeated_is_not_told)
    };

    if (aad_global_init() != 0) {
        return 1;
    }

    return cmocka_run_group_tests_name("environment", tests, NULL, NULL);
}
