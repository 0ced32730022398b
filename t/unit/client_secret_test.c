
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * An app with a client secret: the request to the authority, byte for byte,
 * and what is made of its answers.
 */


#include "identity.h"


#define SECRET      "Aa1~.-_+/= &?%\xc3\xa4"
#define ESCAPED     "Aa1~.-_%2B%2F%3D%20%26%3F%25%C3%A4"

#define FORM        "client_id=" UNIT_CLIENT "&client_secret=" ESCAPED        \
                    "&grant_type=client_credentials"                          \
                    "&scope=https%3A%2F%2Fcognitiveservices.azure.com"        \
                    "%2F.default"


/* Compares all of a token request; the id that it has is written. */
static void
check_request(unit_server_t *server, const char *target, const char *host,
    const char *form, char *id, size_t size)
{
    char           line[512], length[24];
    const char    *request;
    unit_header_t  headers[] = {
        { "Host", host },
        { "User-Agent", "ngx_http_aoai_aad_module/" AAD_VERSION },
        { "Accept", "application/json" },
        { "client-request-id", NULL },
        { "Content-Type", "application/x-www-form-urlencoded" },
        { "Content-Length", length },
        { NULL, NULL }
    };

    snprintf(line, sizeof(line), "POST %s HTTP/1.1", target);
    snprintf(length, sizeof(length), "%zu", strlen(form));

    request = unit_server_request(server, 0);

    unit_assert_request_line(request, line);
    unit_assert_headers(request, headers);
    assert_string_equal(unit_request_body(request), form);

    (void) unit_request_header(request, "client-request-id", id, size);
    assert_true(aad_is_guid(id));
}


static void
test_secret_is_posted_in_a_form(void **state)
{
    char              host[64], id[64];
    unit_identity_t  *identity = *state;

    unit_identity_secret_step(identity, SECRET);
    unit_server_answer(&identity->authority, 200, "", UNIT_APP_TOKEN);

    assert_int_equal(unit_identity_ask(identity), AAD_OK);
    assert_string_equal(identity->token.access_token.data, "app-token");
    assert_string_equal(identity->token.credential, "client_secret");
    assert_int_equal(identity->token.received_on, UNIT_NOW);
    assert_int_equal(identity->token.expires_on, UNIT_NOW + 3599);

    snprintf(host, sizeof(host), "127.0.0.1:%d", identity->authority.port);
    check_request(&identity->authority, UNIT_TOKEN_TARGET, host, FORM, id,
                  sizeof(id));

    assert_string_equal(identity->report.attempts[0].correlation_id, id);
    assert_int_equal(unit_server_requests(&identity->authority), 1);
}


static void
test_authority_with_a_slash_gives_no_double_one(void **state)
{
    char              url[128], host[64], id[64];
    unit_identity_t  *identity = *state;

    snprintf(url, sizeof(url), "%s/", identity->authority.url);
    unit_identity_authority(identity, url);
    unit_identity_secret_step(identity, SECRET);
    unit_server_answer(&identity->authority, 200, "", UNIT_APP_TOKEN);

    assert_int_equal(unit_identity_ask(identity), AAD_OK);

    snprintf(host, sizeof(host), "127.0.0.1:%d", identity->authority.port);
    check_request(&identity->authority, UNIT_TOKEN_TARGET, host, FORM, id,
                  sizeof(id));
}


static void
test_tenant_may_be_a_domain_and_the_secret_in_a_file(void **state)
{
    char              host[64], id[64];
    unit_identity_t  *identity = *state;

    unit_file(identity->directory, "secret", SECRET "\n", strlen(SECRET) + 1,
              0600);
    unit_identity_step(identity, "client_secret", "tenant_id",
                       "contoso.onmicrosoft.com", "client_id", UNIT_CLIENT,
                       "secret_file", "secret", NULL);

    /* it is read once, when the configuration is */

    unit_remove(identity->directory, "secret");
    unit_server_answer(&identity->authority, 200, "", UNIT_APP_TOKEN);

    assert_int_equal(unit_identity_ask(identity), AAD_OK);

    snprintf(host, sizeof(host), "127.0.0.1:%d", identity->authority.port);
    check_request(&identity->authority,
                  "/contoso.onmicrosoft.com/oauth2/v2.0/token", host, FORM,
                  id, sizeof(id));
}


static void
test_every_request_has_an_id_of_its_own(void **state)
{
    char              ids[2][64];
    size_t            i;
    unit_identity_t  *identity = *state;

    unit_identity_secret_step(identity, SECRET);

    for (i = 0; i < 2; i++) {
        unit_server_answer(&identity->authority, 200, "", UNIT_APP_TOKEN);
        assert_int_equal(unit_identity_ask(identity), AAD_OK);
        assert_int_equal(unit_request_header(
                             unit_server_request(&identity->authority, i),
                             "client-request-id", ids[i], sizeof(ids[i])), 1);
    }

    assert_string_not_equal(ids[0], ids[1]);
}


static void
test_longest_secret_is_sent_whole(void **state)
{
    size_t            i;
    char              secret[AAD_VALUE_BYTES_MAX + 1];
    const char       *body;
    unit_identity_t  *identity = *state;

    memset(secret, '%', AAD_VALUE_BYTES_MAX);
    secret[AAD_VALUE_BYTES_MAX] = '\0';

    unit_identity_secret_step(identity, secret);
    unit_server_answer(&identity->authority, 200, "", UNIT_APP_TOKEN);

    assert_int_equal(unit_identity_ask(identity), AAD_OK);

    body = strstr(unit_server_request(&identity->authority, 0),
                  "client_secret=");
    assert_non_null(body);
    body += 14;

    for (i = 0; i < AAD_VALUE_BYTES_MAX; i++) {
        assert_memory_equal(body + 3 * i, "%25", 3);
    }

    assert_int_equal(body[3 * i], '&');
}


static void
test_refused_secret_stops_with_code_and_hint(void **state)
{
    unit_identity_t      *identity = *state;
    const aad_attempt_t  *attempt;

    unit_identity_secret_step(identity, SECRET);
    unit_identity_step(identity, "managed_identity", NULL);
    unit_server_answer(&identity->authority, 401, "",
                       "{\"error\":\"invalid_client\",\"error_description\":"
                       "\"AADSTS7000215: Invalid client secret provided. "
                       "Ensure the secret being sent is the value.\\r\\n"
                       "Trace ID: 1\\r\\nTimestamp: 2\","
                       "\"error_codes\":[7000215],"
                       "\"correlation_id\":\"" UNIT_OBJECT "\"}");

    assert_int_equal(unit_identity_ask(identity), AAD_FAILED);
    assert_int_equal(identity->report.count, 1);

    attempt = &identity->report.attempts[0];

    assert_string_equal(attempt->code, "AADSTS7000215");
    assert_string_equal(attempt->correlation_id, UNIT_OBJECT);
    unit_assert_contains(attempt->reason, UNIT_TOKEN_TARGET ": status 401, "
                         "invalid_client: AADSTS7000215: Invalid client "
                         "secret provided.");
    unit_assert_lacks(attempt->reason, "Trace");
    assert_non_null(attempt->hint);
}


static void
test_errors_of_the_authority_stop(void **state)
{
    size_t                i, asked;
    char                  id[64];
    unit_identity_t      *identity = *state;
    const aad_attempt_t  *attempt;

    static const struct {
        int                     status;
        const char             *headers;
        const char             *body;
        const char             *reason;
        const char             *code;
        int                     retry_after;
        size_t                  tries;
    } answers[] = {
        { 400, "", "{\"error\":\"invalid_request\",\"error_description\":"
          "\"AADSTS90002: Tenant not found.\"}", "status 400, invalid_request",
          "AADSTS90002", 0, 1 },
        { 429, "Retry-After: 17\r\n", "", "status 429 with nothing", "", 17,
          1 },
        { 503, "Retry-After: 9\r\n", "<html></html>", "status 503 with HTML",
          "", 9, 1 },
        { 500, "", "{}", "status 500", "", 0, UNIT_AUTHORITY_TRIES },
        { 404, "", "not here", "status 404 with something", "", 0, 1 },
        { 201, "", UNIT_APP_TOKEN, "status 201", "", 0, 1 },
        { 200, "", "", "no JSON object", "", 0, 1 },
        { 200, "", "<html></html>", "no JSON object", "", 0, 1 },
        { 200, "", "{\"access_token\":\"t\"", "no JSON object", "", 0, 1 },
        { 200, "", "{\"error\":\"x\"}", "no access token", "", 0, 1 },
        { 200, "", "{\"access_token\":\"t\"}", "does not say when", "", 0, 1 }
    };

    asked = 0;

    unit_identity_secret_step(identity, SECRET);
    unit_identity_step(identity, "managed_identity", NULL);

    for (i = 0; i < unit_count(answers); i++) {
        unit_server_answers(&identity->authority, answers[i].tries,
                            answers[i].status, answers[i].headers,
                            answers[i].body);

        assert_int_equal(unit_identity_ask(identity), AAD_FAILED);
        assert_int_equal(identity->report.count, 1);
        assert_int_equal(identity->token.access_token.length, 0);

        asked += answers[i].tries;
        assert_int_equal(unit_server_requests(&identity->authority), asked);

        attempt = &identity->report.attempts[0];

        unit_assert_contains(attempt->reason, answers[i].reason);
        assert_string_equal(attempt->code, answers[i].code);
        assert_int_equal(attempt->retry_after, answers[i].retry_after);

        /* what Entra's logs can be searched for is what was sent */

        (void) unit_request_header(unit_server_request(&identity->authority,
                                                       asked - 1),
                                   "client-request-id", id, sizeof(id));
        assert_string_equal(attempt->correlation_id, id);
    }

    assert_int_equal(unit_server_requests(&identity->machine), 0);
}


static void
test_redirect_does_not_carry_the_secret_away(void **state)
{
    size_t            i;
    char              location[128];
    unit_identity_t  *identity = *state;

    static const int  statuses[] = { 301, 302, 303, 307, 308 };

    snprintf(location, sizeof(location), "Location: %s/\r\n",
             identity->machine.url);

    unit_identity_secret_step(identity, SECRET);

    for (i = 0; i < unit_count(statuses); i++) {
        unit_server_answer(&identity->authority, statuses[i], location, "");
        assert_int_equal(unit_identity_ask(identity), AAD_FAILED);
    }

    assert_int_equal(unit_server_requests(&identity->machine), 0);
}


static void
test_closed_port_of_the_authority_stops(void **state)
{
    unit_identity_t  *identity = *state;

    unit_identity_authority(identity, identity->closed_url);
    unit_identity_secret_step(identity, SECRET);
    unit_identity_step(identity, "managed_identity", NULL);

    assert_int_equal(unit_identity_ask(identity), AAD_FAILED);
    assert_int_equal(identity->report.count, 1);
    unit_assert_contains(unit_identity_reason(identity, 0),
                         UNIT_TOKEN_TARGET ": ");
    unit_assert_contains(unit_identity_reason(identity, 0), "connect");
    assert_int_equal(unit_server_requests(&identity->machine), 0);
}


static void
test_proxy_carries_the_request(void **state)
{
    char              host[64], id[64], target[512];
    unit_identity_t  *identity = *state;

    /* in this test the machine's server is the proxy */

    identity->settings.proxy = identity->machine.url;
    unit_identity_secret_step(identity, SECRET);
    unit_server_answer(&identity->machine, 502, "", "");

    assert_int_equal(unit_identity_ask(identity), AAD_FAILED);
    assert_int_equal(unit_server_requests(&identity->authority), 0);

    snprintf(host, sizeof(host), "127.0.0.1:%d", identity->authority.port);
    snprintf(target, sizeof(target), "%s" UNIT_TOKEN_TARGET,
             identity->authority.url);

    unit_assert_lacks(unit_server_request(&identity->machine, 0),
                      "Authorization");
    unit_assert_contains(unit_server_request(&identity->machine, 0), target);
    assert_int_equal(unit_request_header(unit_server_request(
                                             &identity->machine, 0),
                                         "Host", id, sizeof(id)), 1);
    assert_string_equal(id, host);
}


static void
test_identity_of_the_token_is_told(void **state)
{
    char              token[512], body[1024];
    unit_identity_t  *identity = *state;

    unit_jwt(token, sizeof(token), "{\"appid\":\"" UNIT_CLIENT "\",\"oid\":\""
             UNIT_OBJECT "\",\"tid\":\"" UNIT_TENANT "\"}");
    snprintf(body, sizeof(body), "{\"access_token\":\"%s\","
             "\"expires_in\":86399,\"refresh_in\":43199}", token);

    unit_identity_secret_step(identity, SECRET);
    unit_server_answer(&identity->authority, 200, "", body);

    assert_int_equal(unit_identity_ask(identity), AAD_OK);
    assert_string_equal(identity->token.client_id, UNIT_CLIENT);
    assert_string_equal(identity->token.object_id, UNIT_OBJECT);
    assert_string_equal(identity->token.tenant_id, UNIT_TENANT);
    assert_int_equal(identity->token.refresh_in, 43199);
}


int
main(void)
{
    static const struct CMUnitTest  tests[] = {
        unit_identity_test(test_secret_is_posted_in_a_form),
        unit_identity_test(test_authority_with_a_slash_gives_no_double_one),
        unit_identity_test(
            test_tenant_may_be_a_domain_and_the_secret_in_a_file),
        unit_identity_test(test_every_request_has_an_id_of_its_own),
        unit_identity_test(test_longest_secret_is_sent_whole),
        unit_identity_test(test_refused_secret_stops_with_code_and_hint),
        unit_identity_test(test_errors_of_the_authority_stop),
        unit_identity_test(test_redirect_does_not_carry_the_secret_away),
        unit_identity_test(test_closed_port_of_the_authority_stops),
        unit_identity_test(test_proxy_carries_the_request),
        unit_identity_test(test_identity_of_the_token_is_told)
    };

    if (aad_global_init() != 0) {
        return 1;
    }

    return cmocka_run_group_tests_name("client secret", tests, NULL, NULL);
}
