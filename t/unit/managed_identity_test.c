
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * Managed identities: which source is asked, by the variables that are there.
 * What each of them is asked is in the tests of its own.
 */


#include "source.h"


#define THUMBPRINT  "0123456789abcdef0123456789ABCDEF01234567"


/* letters of what is set, and the words by which a source is known */
typedef struct {
    const char             *set;
    const char             *source;
} place_t;


/*
 * e, h, t, m: IDENTITY_ENDPOINT, _HEADER, _SERVER_THUMBPRINT, IMDS_ENDPOINT;
 * E, S: MSI_ENDPOINT, MSI_SECRET; D: DEFAULT_IDENTITY_CLIENT_ID.
 */
static void
set_variables(unit_identity_t *identity, const char *set)
{
    size_t  i;

    static const struct {
        char                    letter;
        const char             *name;
        const char             *value;      /* NULL: the machine's URL */
    } variables[] = {
        { 'e', "IDENTITY_ENDPOINT", NULL },
        { 'h', "IDENTITY_HEADER", UNIT_HEADER },
        { 't', "IDENTITY_SERVER_THUMBPRINT", THUMBPRINT },
        { 'm', "IMDS_ENDPOINT", NULL },
        { 'E', "MSI_ENDPOINT", NULL },
        { 'S', "MSI_SECRET", UNIT_HEADER },
        { 'D', "DEFAULT_IDENTITY_CLIENT_ID", UNIT_CLIENT }
    };

    for (i = 0; i < unit_count(variables); i++) {

        if (strchr(set, variables[i].letter) == NULL) {
            unit_identity_variable(identity, variables[i].name, "");

        } else if (variables[i].value == NULL) {
            unit_source_endpoint(identity, variables[i].name, "/place");

        } else {
            unit_identity_variable(identity, variables[i].name,
                                   variables[i].value);
        }
    }
}


/*
 * The order of MSAL (contract 3.1).  Every source answers 404 in its own
 * name, but for Service Fabric, which is not asked at all without TLS.
 */
static void
test_sources_are_detected_in_their_order(void **state)
{
    size_t            i, tries;
    unit_identity_t  *identity = *state;

    static const place_t  places[] = {
        { "eht", "IDENTITY_SERVER_THUMBPRINT is set" },
        { "ehtm", "IDENTITY_SERVER_THUMBPRINT is set" },
        { "ehtmESD", "IDENTITY_SERVER_THUMBPRINT is set" },
        { "eh", "App Service: status 404" },
        { "ehm", "App Service: status 404" },
        { "ehES", "App Service: status 404" },
        { "ehmESD", "App Service: status 404" },
        { "ES", "Azure ML: status 404" },
        { "ESD", "Azure ML: status 404" },
        { "ESem", "Azure ML: status 404" },
        { "EShtm", "Azure ML: status 404" },
        { "E", "Cloud Shell: status 404" },
        { "ED", "Cloud Shell: status 404" },
        { "Eem", "Cloud Shell: status 404" },
        { "Ehtm", "Cloud Shell: status 404" },
        { "em", "Azure Arc: status 404" },
        { "emt", "Azure Arc: status 404" },
        { "emS", "Azure Arc: status 404" },
        { "emD", "Azure Arc: status 404" },
        { "", "IMDS: status 404" },
        { "e", "IMDS: status 404" },
        { "h", "IMDS: status 404" },
        { "t", "IMDS: status 404" },
        { "et", "IMDS: status 404" },
        { "htm", "IMDS: status 404" },
        { "S", "IMDS: status 404" },
        { "m", "IMDS: status 404" },
        { "D", "IMDS: status 404" }
    };

    for (i = 0; i < unit_count(places); i++) {

        tries = strncmp(places[i].source, "IMDS", 4) == 0 ? UNIT_IMDS_TRIES
                : strstr(places[i].source, "status") ? 1 : 0;

        set_variables(identity, places[i].set);
        unit_identity_step(identity, "managed_identity", NULL);
        unit_server_answers(&identity->machine, tries, 404, "", "");

        assert_int_equal(unit_identity_ask(identity), AAD_FAILED);
        unit_assert_contains(unit_identity_reason(identity, 0),
                             places[i].source);

        identity->settings.chain_length = 0;
        aad_credential_destroy(identity->settings.chain[0]);
    }
}


/* nothing that was to say where the identity is may be passed over */
static void
test_variable_that_decides_stops_where_it_is_wrong(void **state)
{
    size_t            i;
    unit_identity_t  *identity = *state;

    static const char *const  variables[][3] = {
        { "IDENTITY_ENDPOINT", "nowhere", "an http:// or https:// URL" },
        { "IDENTITY_HEADER", "a b", "made of visible characters" },
        { "IDENTITY_SERVER_THUMBPRINT", "0123", "40 hexadecimal digits" },
        { "MSI_ENDPOINT", "ftp://127.0.0.1/", "an http:// or https:// URL" },
        { "MSI_SECRET", "a\r\nb: c", "made of visible characters" }
    };

    for (i = 0; i < unit_count(variables); i++) {

        set_variables(identity, "");
        unit_identity_variable(identity, variables[i][0], variables[i][1]);
        unit_identity_step(identity, "managed_identity", NULL);

        assert_int_equal(unit_identity_ask(identity), AAD_FAILED);
        unit_assert_contains(unit_identity_reason(identity, 0),
                             variables[i][0]);
        unit_assert_contains(unit_identity_reason(identity, 0),
                             variables[i][2]);

        identity->settings.chain_length = 0;
        aad_credential_destroy(identity->settings.chain[0]);
    }

    assert_int_equal(unit_server_requests(&identity->machine), 0);
}


/* what an app that stands on a managed identity asks for (contract 7) */
static void
test_other_scope_than_the_settings_can_be_asked_for(void **state)
{
    aad_call_t        call;
    aad_attempt_t     attempt;
    unit_identity_t  *identity = *state;

    unit_identity_step(identity, "managed_identity", "client_id", UNIT_CLIENT,
                       NULL);
    unit_server_answer(&identity->machine, 200, "", UNIT_MACHINE_TOKEN);

    memset(&call, 0, sizeof(aad_call_t));
    memset(&attempt, 0, sizeof(aad_attempt_t));
    call.settings = &identity->settings;
    call.hooks = &identity->hooks;
    call.attempt = &attempt;
    call.deadline_ms = UNIT_TIMEOUT_MS;
    aad_secret_init(&identity->token.access_token, AAD_TOKEN_BYTES_MAX);

    assert_int_equal(aad_managed_identity_token(identity->settings.chain[0],
                                                &call,
                                                "api://AzureADTokenExchange",
                                                &identity->token),
                     AAD_OK);
    assert_string_equal(identity->token.access_token.data, "machine-token");
    unit_assert_request_line(unit_server_request(&identity->machine, 0),
                             "GET /metadata/identity/oauth2/token"
                             "?api-version=2018-02-01"
                             "&resource=api%3A%2F%2FAzureADTokenExchange"
                             "&client_id=" UNIT_CLIENT " HTTP/1.1");
    assert_string_equal(identity->settings.scope, UNIT_SCOPE);
    assert_null(call.credential);
}


int
main(void)
{
    static const struct CMUnitTest  tests[] = {
        unit_identity_test(test_sources_are_detected_in_their_order),
        unit_identity_test(test_variable_that_decides_stops_where_it_is_wrong),
        unit_identity_test(test_other_scope_than_the_settings_can_be_asked_for)
    };

    if (aad_global_init() != 0) {
        return 1;
    }

    return cmocka_run_group_tests_name("managed identity", tests, NULL, NULL);
}
