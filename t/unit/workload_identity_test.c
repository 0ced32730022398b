
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * Workload identities: the variables, the token's file, the proxy of AKS, and
 * what makes the step hand on.  The numbers in the names are those of the
 * contract's tables.
 */


#include "identity.h"
#include "pem.h"


/* as Kubernetes signs them */
#define ASSERTION           "eyJhbGciOiJSUzI1NiIsImtpZCI6Ik1hZGUtdXAifQ"      \
                            ".eyJhdWQiOlsiYXBpOi8vQXp1cmVBRFRva2VuRXhjaGFuZ" \
                            "2UiXX0.c2lnbmF0dXJl-_c2lnbmF0dXJl"
#define OTHER_ASSERTION     "eyJhbGciOiJSUzI1NiJ9.eyJhIjoxfQ.b3RoZXI"

#define FORM_OF(assertion)  "client_id=" UNIT_CLIENT                          \
                            "&client_assertion_type=urn%3Aietf%3Aparams"      \
                            "%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer"   \
                            "&client_assertion=" assertion                    \
                            "&grant_type=client_credentials"                  \
                            "&scope=https%3A%2F%2Fcognitiveservices.azure"    \
                            ".com%2F.default"

#define FILE_NAME           "token"


static void
token_file(unit_identity_t *identity, const char *content)
{
    unit_file(identity->directory, FILE_NAME, content, strlen(content), 0600);
}


/* as the webhook of AKS makes a pod */
static void
pod(unit_identity_t *identity)
{
    char  path[UNIT_PATH_BYTES];

    snprintf(path, sizeof(path), "%s" FILE_NAME, identity->directory);
    token_file(identity, ASSERTION);

    unit_identity_variable(identity, "AZURE_TENANT_ID", UNIT_TENANT);
    unit_identity_variable(identity, "AZURE_CLIENT_ID", UNIT_CLIENT);
    unit_identity_variable(identity, "AZURE_FEDERATED_TOKEN_FILE", path);
}


static int
teardown(void **state)
{
    unit_identity_t  *identity = *state;

    unit_remove(identity->directory, FILE_NAME);
    unit_remove(identity->directory, "ca.pem");

    return unit_identity_teardown(state);
}


static void
check_form(unit_identity_t *identity, size_t n, const char *form)
{
    assert_string_equal(unit_request_body(
                            unit_server_request(&identity->authority, n)),
                        form);
}


/* The step says this, and the one behind it is asked, or is not. */
static void
check_step(unit_identity_t *identity, aad_result_t result, const char *reason)
{
    unit_identity_step(identity, "workload_identity", NULL);
    unit_identity_step(identity, "managed_identity", NULL);
    unit_server_answer(&identity->machine, 200, "", UNIT_MACHINE_TOKEN);

    assert_int_equal(unit_identity_ask(identity),
                     result == AAD_UNAVAILABLE ? AAD_OK : AAD_FAILED);
    assert_int_equal(identity->report.attempts[0].result, result);
    unit_assert_contains(unit_identity_reason(identity, 0), reason);
    assert_int_equal(unit_server_requests(&identity->machine),
                     result == AAD_UNAVAILABLE);
    assert_int_equal(unit_server_requests(&identity->authority), 0);
}


static void
check_unavailable(unit_identity_t *identity, const char *reason)
{
    check_step(identity, AAD_UNAVAILABLE, reason);
    assert_string_equal(unit_identity_reason(identity, 0), reason);
}


static void
test_2_1_variables_are_enough(void **state)
{
    unit_identity_t  *identity = *state;

    pod(identity);
    unit_identity_step(identity, "workload_identity", NULL);
    unit_server_answer(&identity->authority, 200, "", UNIT_APP_TOKEN);

    assert_int_equal(unit_identity_ask(identity), AAD_OK);
    assert_string_equal(identity->token.access_token.data, "app-token");
    assert_string_equal(identity->token.credential, "workload_identity");
}


static void
test_2_1_client_id_that_is_not_set_is_unavailable(void **state)
{
    pod(*state);
    unit_identity_variable(*state, "AZURE_CLIENT_ID", "");
    check_unavailable(*state, "AZURE_CLIENT_ID is not set");
}


static void
test_2_1_tenant_id_that_is_not_set_is_unavailable(void **state)
{
    pod(*state);
    unit_identity_variable(*state, "AZURE_TENANT_ID", "");
    check_unavailable(*state, "AZURE_TENANT_ID is not set");
}


static void
test_2_1_federated_token_file_that_is_not_set_is_unavailable(void **state)
{
    pod(*state);
    unit_identity_variable(*state, "AZURE_FEDERATED_TOKEN_FILE", "");
    check_unavailable(*state, "AZURE_FEDERATED_TOKEN_FILE is not set");
}


static void
test_2_1_authority_host_may_end_with_a_slash(void **state)
{
    char              url[128];
    unit_identity_t  *identity = *state;

    snprintf(url, sizeof(url), "%s/", identity->authority.url);
    unit_identity_authority(identity, url);

    pod(identity);
    unit_identity_step(identity, "workload_identity", NULL);
    unit_server_answer(&identity->authority, 200, "", UNIT_APP_TOKEN);

    assert_int_equal(unit_identity_ask(identity), AAD_OK);
    unit_assert_request_line(unit_server_request(&identity->authority, 0),
                             "POST " UNIT_TOKEN_TARGET " HTTP/1.1");
}


static void
test_2_1_all_that_is_not_set_is_named(void **state)
{
    check_unavailable(*state, "AZURE_TENANT_ID is not set, AZURE_CLIENT_ID is "
                      "not set, AZURE_FEDERATED_TOKEN_FILE is not set");
}


/* where nobody means a pod's identity, they are of other steps */
static void
test_2_1_placeholder_without_a_token_file_is_unavailable(void **state)
{
    unit_identity_variable(*state, "AZURE_TENANT_ID", "<your tenant>");
    unit_identity_variable(*state, "AZURE_CLIENT_ID", UNIT_CLIENT);
    check_unavailable(*state, "AZURE_FEDERATED_TOKEN_FILE is not set");
}


static void
test_2_1_placeholder_in_a_pod_stops(void **state)
{
    pod(*state);
    unit_identity_variable(*state, "AZURE_CLIENT_ID", "<your client id>");
    check_step(*state, AAD_FAILED, "AZURE_CLIENT_ID is not a GUID");
}


static void
test_2_1_relative_token_file_of_the_variable_stops(void **state)
{
    pod(*state);
    unit_identity_variable(*state, "AZURE_FEDERATED_TOKEN_FILE", FILE_NAME);
    check_step(*state, AAD_FAILED,
               "AZURE_FEDERATED_TOKEN_FILE is not an absolute file name");
}


static void
test_2_1_parameters_are_before_variables(void **state)
{
    unit_identity_t  *identity = *state;

    unit_identity_variable(identity, "AZURE_TENANT_ID", "<your tenant>");
    unit_identity_variable(identity, "AZURE_CLIENT_ID", UNIT_OBJECT);
    unit_identity_variable(identity, "AZURE_FEDERATED_TOKEN_FILE", "/nowhere");
    token_file(identity, ASSERTION);

    unit_identity_step(identity, "workload_identity", "tenant_id", UNIT_TENANT,
                       "client_id", UNIT_CLIENT, "token_file", FILE_NAME,
                       NULL);
    unit_server_answer(&identity->authority, 200, "", UNIT_APP_TOKEN);

    assert_int_equal(unit_identity_ask(identity), AAD_OK);
    unit_assert_request_line(unit_server_request(&identity->authority, 0),
                             "POST " UNIT_TOKEN_TARGET " HTTP/1.1");
    check_form(identity, 0, FORM_OF(ASSERTION));
}


static void
test_2_2_request_is_all_that_is_sent(void **state)
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
    snprintf(length, sizeof(length), "%zu", strlen(FORM_OF(ASSERTION)));

    pod(identity);
    unit_identity_step(identity, "workload_identity", NULL);
    unit_server_answer(&identity->authority, 200, "", UNIT_APP_TOKEN);

    assert_int_equal(unit_identity_ask(identity), AAD_OK);

    request = unit_server_request(&identity->authority, 0);

    unit_assert_request_line(request, "POST " UNIT_TOKEN_TARGET " HTTP/1.1");
    unit_assert_headers(request, headers);
    check_form(identity, 0, FORM_OF(ASSERTION));
}


static void
test_2_2_file_is_read_at_each_use(void **state)
{
    unit_identity_t  *identity = *state;

    pod(identity);
    unit_identity_step(identity, "workload_identity", NULL);
    unit_server_answer(&identity->authority, 200, "", UNIT_APP_TOKEN);
    unit_server_answer(&identity->authority, 200, "", UNIT_APP_TOKEN);

    assert_int_equal(unit_identity_ask(identity), AAD_OK);
    token_file(identity, OTHER_ASSERTION);
    assert_int_equal(unit_identity_ask(identity), AAD_OK);

    check_form(identity, 0, FORM_OF(ASSERTION));
    check_form(identity, 1, FORM_OF(OTHER_ASSERTION));
}


static void
test_2_2_file_is_read_when_it_is_used_not_before(void **state)
{
    unit_identity_t  *identity = *state;

    pod(identity);
    unit_remove(identity->directory, FILE_NAME);
    unit_identity_step(identity, "workload_identity", NULL);
    token_file(identity, ASSERTION);
    unit_server_answer(&identity->authority, 200, "", UNIT_APP_TOKEN);

    assert_int_equal(unit_identity_ask(identity), AAD_OK);
}


static void
test_2_2_white_space_is_trimmed(void **state)
{
    unit_identity_t  *identity = *state;

    pod(identity);
    token_file(identity, " \t\r\n" ASSERTION "\r\n\n ");
    unit_identity_step(identity, "workload_identity", NULL);
    unit_server_answer(&identity->authority, 200, "", UNIT_APP_TOKEN);

    assert_int_equal(unit_identity_ask(identity), AAD_OK);
    check_form(identity, 0, FORM_OF(ASSERTION));
}


static void
test_2_2_empty_file_stops(void **state)
{
    pod(*state);
    token_file(*state, "");
    check_step(*state, AAD_FAILED, FILE_NAME "\" is empty, it must have the "
               "service account's token");
}


static void
test_2_2_file_of_white_space_stops(void **state)
{
    pod(*state);
    token_file(*state, " \n\t\n");
    check_step(*state, AAD_FAILED, FILE_NAME "\" is empty");
}


static void
test_2_2_unreadable_file_stops(void **state)
{
    unit_identity_t  *identity = *state;

    pod(identity);
    unit_remove(identity->directory, FILE_NAME);
    check_step(identity, AAD_FAILED, FILE_NAME "\": No such file or "
               "directory; has the pod the label "
               "\"azure.workload.identity/use\"");
}


static void
test_2_2_directory_as_file_stops(void **state)
{
    unit_identity_t  *identity = *state;

    pod(identity);
    unit_identity_variable(identity, "AZURE_FEDERATED_TOKEN_FILE",
                           identity->directory);
    check_step(identity, AAD_FAILED, "Is a directory");
}


static void
test_2_2_file_without_one_token_stops(void **state)
{
    char              content[64];
    size_t            i;
    unit_identity_t  *identity = *state;

    static const char *const  contents[] = {
        "none", "a.b", "a.b.c.d", "a.b.c.d.e", "..", "a..c", ".b.c", "a.b.",
        "a.b.c a.b.c", "a.b.c\na.b.c", "a.b.c=", "a.b/.c", "a.b+.c", "a~.b.c",
        "{\"a.b\":1.0}", "<html>a.b.c</html>", "a.b.\xc3\xa4", "a.b.c&scope=x"
    };

    pod(identity);
    unit_identity_step(identity, "workload_identity", NULL);

    for (i = 0; i < unit_count(contents); i++) {
        token_file(identity, contents[i]);

        if (unit_identity_ask(identity) != AAD_FAILED) {
            fail_msg("\"%s\" is taken", contents[i]);
        }

        unit_assert_contains(unit_identity_reason(identity, 0), FILE_NAME
                             "\" has something else than one token");

        snprintf(content, sizeof(content), "\"%s\"", contents[i]);
        unit_assert_lacks(unit_identity_reason(identity, 0), content);
    }

    assert_int_equal(unit_server_requests(&identity->authority), 0);
}


static void
test_2_2_file_has_a_maximum(void **state)
{
    char             *content;
    unit_identity_t  *identity = *state;

    content = malloc(AAD_ASSERTION_BYTES_MAX + 2);
    assert_non_null(content);

    memset(content, 'x', AAD_ASSERTION_BYTES_MAX + 1);
    content[AAD_ASSERTION_BYTES_MAX + 1] = '\0';
    content[1] = content[3] = '.';

    pod(identity);
    token_file(identity, content);
    unit_identity_step(identity, "workload_identity", NULL);

    assert_int_equal(unit_identity_ask(identity), AAD_FAILED);
    unit_assert_contains(unit_identity_reason(identity, 0),
                         "is larger than 65536 bytes");

    /* as much as that fits into the form */

    content[AAD_ASSERTION_BYTES_MAX] = '\0';
    token_file(identity, content);
    free(content);

    identity->settings.authority_host = identity->closed_url;

    assert_int_equal(unit_identity_ask(identity), AAD_FAILED);

    unit_assert_contains(unit_identity_reason(identity, 0), "onnect");
}


static void
test_2_2_refusal_stops(void **state)
{
    unit_identity_t  *identity = *state;

    pod(identity);
    unit_identity_step(identity, "workload_identity", NULL);
    unit_identity_step(identity, "managed_identity", NULL);
    unit_server_answer(&identity->authority, 401, "", "{\"error\":"
                       "\"invalid_client\",\"error_description\":"
                       "\"AADSTS700213: No matching federated identity record "
                       "found for presented assertion subject 'x'.\","
                       "\"error_codes\":[700213]}");

    assert_int_equal(unit_identity_ask(identity), AAD_FAILED);
    assert_int_equal(identity->report.count, 1);
    assert_int_equal(unit_server_requests(&identity->machine), 0);
}


static void
test_2_2_closed_port_of_the_authority_stops(void **state)
{
    unit_identity_t  *identity = *state;

    unit_identity_authority(identity, identity->closed_url);
    pod(identity);
    unit_identity_step(identity, "workload_identity", NULL);
    unit_identity_step(identity, "managed_identity", NULL);

    assert_int_equal(unit_identity_ask(identity), AAD_FAILED);
    assert_int_equal(identity->report.count, 1);
    assert_int_equal(unit_server_requests(&identity->machine), 0);
}


static void
test_2_2_assertion_that_is_repeated_is_not_told(void **state)
{
    size_t            i;
    unit_identity_t  *identity = *state;

    static const char *const  bodies[] = {
        "{\"error\":\"x\",\"error_description\":\"no: " ASSERTION "\"}",
        "{\"error\":\"" ASSERTION "\"}",
        "{\"error\":\"x\",\"correlation_id\":\"" ASSERTION "\"}"
    };

    pod(identity);
    unit_identity_step(identity, "workload_identity", NULL);

    for (i = 0; i < unit_count(bodies); i++) {
        unit_server_answer(&identity->authority, 400, "", bodies[i]);

        assert_int_equal(unit_identity_ask(identity), AAD_FAILED);
        unit_assert_lacks(unit_identity_reason(identity, 0), "eyJ");
        unit_assert_lacks(identity->report.attempts[0].code, "eyJ");
        unit_assert_lacks(identity->report.attempts[0].correlation_id, "eyJ");
    }
}


/* The variables of an identity binding; NULL: not set. */
typedef struct {
    const char             *proxy;
    const char             *server_name;
    const char             *ca_file;
    const char             *ca_data;
    const char             *reason;
} binding_t;


static void
bind_to(unit_identity_t *identity, const binding_t *binding)
{
    unit_identity_variable(identity, "AZURE_KUBERNETES_TOKEN_PROXY",
                           binding->proxy ? binding->proxy : "");
    unit_identity_variable(identity, "AZURE_KUBERNETES_SNI_NAME",
                           binding->server_name ? binding->server_name : "");
    unit_identity_variable(identity, "AZURE_KUBERNETES_CA_FILE",
                           binding->ca_file ? binding->ca_file : "");
    unit_identity_variable(identity, "AZURE_KUBERNETES_CA_DATA",
                           binding->ca_data ? binding->ca_data : "");
}


/* Each of them stops the chain, and nobody is asked. */
static void
check_bindings(unit_identity_t *identity, const binding_t *bindings,
    size_t count)
{
    size_t  i;

    pod(identity);

    for (i = 0; i < count; i++) {
        bind_to(identity, &bindings[i]);
        check_step(identity, AAD_FAILED, bindings[i].reason);
        unit_assert_lacks(unit_identity_reason(identity, 0), "pass-word");

        while (identity->settings.chain_length != 0) {
            aad_credential_destroy(
                identity->settings.chain[--identity->settings.chain_length]);
        }
    }
}


static void
test_2_3_token_proxy_is_an_https_url_alone(void **state)
{
    char       url[3000];
    binding_t  bindings[12];
    size_t     i;

    static const char *const  urls[] = {
        "http://127.0.0.1:1", "127.0.0.1:1", "ftp://127.0.0.1:1", "https://",
        "https://me:pass-word@127.0.0.1:1", "https://me@127.0.0.1:1",
        "https://127.0.0.1:1?a=b", "https://127.0.0.1:1/path?",
        "https://127.0.0.1:1#fragment", "https://127.0.0.1:1/path#",
        "https://127.0.0.1:1/ path"
    };

    memset(bindings, 0, sizeof(bindings));

    for (i = 0; i < 12; i++) {
        bindings[i].proxy = i < unit_count(urls) ? urls[i] : url;
        bindings[i].reason = "AZURE_KUBERNETES_TOKEN_PROXY is wrong, it must "
                             "be an https:// URL without user, query and "
                             "fragment";
    }

    memset(url, 'x', sizeof(url));
    memcpy(url, "https://127.0.0.1:1/", 20);
    url[sizeof(url) - 1] = '\0';

    check_bindings(*state, bindings, 12);
}


static void
test_2_3_sni_name_is_a_host_name(void **state)
{
    static const binding_t  bindings[] = {
        { "https://127.0.0.1:1", "a/b", NULL, NULL,
          "AZURE_KUBERNETES_SNI_NAME is not a host name" },
        { "https://127.0.0.1:1", "a:1", NULL, NULL, "is not a host name" },
        { "https://127.0.0.1:1", "a@b", NULL, NULL, "is not a host name" },
        { "https://127.0.0.1:1", "-a", NULL, NULL, "is not a host name" },
        { "https://127.0.0.1:1", ".a", NULL, NULL, "is not a host name" }
    };

    check_bindings(*state, bindings, unit_count(bindings));
}


static void
test_2_3_ca_file_and_ca_data_exclude_each_other(void **state)
{
    static const binding_t  bindings[] = {
        { "https://127.0.0.1:1", NULL, "/ca.pem", "pem",
          "AZURE_KUBERNETES_CA_FILE and AZURE_KUBERNETES_CA_DATA are both "
          "set" }
    };

    check_bindings(*state, bindings, unit_count(bindings));
}


static void
test_2_3_ca_data_is_checked(void **state)
{
    static const binding_t  bindings[] = {
        { "https://127.0.0.1:1", NULL, NULL, "pem",
          "\"AZURE_KUBERNETES_CA_DATA\" has no certificate in PEM form" }
    };

    check_bindings(*state, bindings, unit_count(bindings));
}


static void
test_2_3_others_without_a_token_proxy_stop(void **state)
{
    static const binding_t  bindings[] = {
        { NULL, "name", NULL, NULL, "AZURE_KUBERNETES_SNI_NAME is set, but "
          "AZURE_KUBERNETES_TOKEN_PROXY is not" },
        { NULL, NULL, "/ca.pem", NULL, "AZURE_KUBERNETES_CA_FILE is set, but "
          "AZURE_KUBERNETES_TOKEN_PROXY is not" },
        { NULL, NULL, NULL, "pem", "AZURE_KUBERNETES_CA_DATA is set, but "
          "AZURE_KUBERNETES_TOKEN_PROXY is not" }
    };

    check_bindings(*state, bindings, unit_count(bindings));
}


static void
test_2_3_wrong_binding_of_no_pod_is_unavailable(void **state)
{
    static const binding_t  binding = { "http://x", "a/b", "c", "pem", NULL };

    bind_to(*state, &binding);
    check_unavailable(*state, "AZURE_TENANT_ID is not set, AZURE_CLIENT_ID is "
                      "not set, AZURE_FEDERATED_TOKEN_FILE is not set");
}


static void
test_2_3_without_the_variables_the_authority_is_asked(void **state)
{
    unit_identity_t  *identity = *state;

    static const binding_t  binding = { NULL, NULL, NULL, NULL, NULL };

    pod(identity);
    bind_to(identity, &binding);
    unit_identity_step(identity, "workload_identity", NULL);
    unit_server_answer(&identity->authority, 200, "", UNIT_APP_TOKEN);

    assert_int_equal(unit_identity_ask(identity), AAD_OK);
}


/* A pod with a proxy that is closed, and a CA file. */
static void
closed_proxy(unit_identity_t *identity, const char *ca_data)
{
    char       url[128], path[UNIT_PATH_BYTES];
    binding_t  binding;

    snprintf(path, sizeof(path), "%sca.pem", identity->directory);
    snprintf(url, sizeof(url), "https%s/", identity->closed_url + 4);

    memset(&binding, 0, sizeof(binding_t));
    binding.proxy = url;
    binding.ca_data = ca_data;
    binding.ca_file = ca_data == NULL ? path : NULL;

    pod(identity);
    bind_to(identity, &binding);
    unit_identity_step(identity, "workload_identity", NULL);
}


/* The step fails, at the CA file or behind it. */
static void
check_failed(unit_identity_t *identity, const char *reason)
{
    assert_int_equal(unit_identity_ask(identity), AAD_FAILED);
    unit_assert_contains(unit_identity_reason(identity, 0), reason);
    assert_int_equal(unit_server_requests(&identity->authority), 0);
}


#define PROXY_REACHED   "AZURE_KUBERNETES_TOKEN_PROXY: https://127.0.0.1:"


static void
test_2_3_ca_file_is_read_at_each_use(void **state)
{
    char              pem[UNIT_PEM_BYTES];
    unit_identity_t  *identity = *state;

    unit_certificate(pem);
    closed_proxy(identity, NULL);

    check_failed(identity, "AZURE_KUBERNETES_CA_FILE: cannot open the file");

    unit_file(identity->directory, "ca.pem", pem, strlen(pem), 0600);
    check_failed(identity, PROXY_REACHED);

    unit_file(identity->directory, "ca.pem", "x", 1, 0600);
    check_failed(identity, "ca.pem\" has no certificate in PEM form");

    unit_remove(identity->directory, "ca.pem");
    check_failed(identity, "AZURE_KUBERNETES_CA_FILE: cannot open the file");

    unit_file(identity->directory, "ca.pem", pem, strlen(pem), 0600);
    check_failed(identity, PROXY_REACHED);
}


static void
test_2_3_empty_ca_file_keeps_the_last_good_one(void **state)
{
    char              pem[UNIT_PEM_BYTES];
    unit_identity_t  *identity = *state;

    unit_certificate(pem);
    closed_proxy(identity, NULL);

    unit_file(identity->directory, "ca.pem", pem, strlen(pem), 0600);
    check_failed(identity, PROXY_REACHED);

    unit_file(identity->directory, "ca.pem", "", 0, 0600);
    check_failed(identity, PROXY_REACHED);

    /* one that was not good has not taken its place */

    unit_file(identity->directory, "ca.pem", "x", 1, 0600);
    check_failed(identity, "has no certificate");

    unit_file(identity->directory, "ca.pem", "", 0, 0600);
    check_failed(identity, PROXY_REACHED);
}


static void
test_2_3_empty_ca_file_without_a_last_one_stops(void **state)
{
    unit_identity_t  *identity = *state;

    unit_file(identity->directory, "ca.pem", "", 0, 0600);
    closed_proxy(identity, NULL);

    check_failed(identity, "ca.pem\" is empty");
}


static void
test_2_3_ca_data_may_be_long(void **state)
{
    char              pem[UNIT_PEM_BYTES], data[40 * UNIT_PEM_BYTES];
    size_t            length;
    unit_identity_t  *identity = *state;

    unit_certificate(pem);
    length = 0;

    while (length < 4 * AAD_VALUE_BYTES_MAX) {
        length += snprintf(data + length, sizeof(data) - length, "%s", pem);
    }

    closed_proxy(identity, data);
    check_failed(identity, PROXY_REACHED);
}


static void
test_2_3_egress_proxy_is_not_asked(void **state)
{
    char              pem[UNIT_PEM_BYTES];
    unit_identity_t  *identity = *state;

    unit_certificate(pem);
    identity->settings.proxy = identity->machine.url;
    closed_proxy(identity, pem);

    check_failed(identity, PROXY_REACHED);
    assert_int_equal(unit_server_requests(&identity->machine), 0);
}


/* What is wrong with the token's file is not said to be the proxy's fault. */
static void
test_2_3_file_of_the_token_is_read_with_a_proxy_too(void **state)
{
    char              pem[UNIT_PEM_BYTES];
    unit_identity_t  *identity = *state;

    unit_certificate(pem);
    closed_proxy(identity, pem);
    unit_remove(identity->directory, FILE_NAME);

    check_failed(identity, "cannot open the file");
    unit_assert_lacks(unit_identity_reason(identity, 0),
                      "AZURE_KUBERNETES_TOKEN_PROXY");
}


/* Each code is kept, stops the chain, and has its hint. */
static void
check_code(unit_identity_t *identity, int code, const char *hint)
{
    char  body[256], text[32];

    snprintf(body, sizeof(body), "{\"error\":\"invalid_client\","
             "\"error_description\":\"AADSTS%d: The words of it.\","
             "\"error_codes\":[%d]}", code, code);
    snprintf(text, sizeof(text), "AADSTS%d", code);

    pod(identity);
    unit_identity_step(identity, "workload_identity", NULL);
    unit_identity_step(identity, "managed_identity", NULL);
    unit_server_answer(&identity->authority, 401, "", body);

    assert_int_equal(unit_identity_ask(identity), AAD_FAILED);
    assert_int_equal(identity->report.count, 1);
    assert_string_equal(identity->report.attempts[0].code, text);
    unit_assert_contains(unit_identity_reason(identity, 0),
                         "The words of it.");
    assert_non_null(identity->report.attempts[0].hint);
    unit_assert_contains(identity->report.attempts[0].hint, hint);
}


static void
test_2_4_aadsts70021(void **state)
{
    check_code(*state, 70021, "issuer, subject and audience");
}


static void
test_2_4_aadsts700213(void **state)
{
    check_code(*state, 700213, "subject");
}


static void
test_2_4_aadsts700211(void **state)
{
    check_code(*state, 700211, "issuer");
}


static void
test_2_4_aadsts700212(void **state)
{
    check_code(*state, 700212, "audience");
}


static void
test_2_4_aadsts700024(void **state)
{
    check_code(*state, 700024, "clock");
}


static void
test_2_4_aadsts90061(void **state)
{
    check_code(*state, 90061, "issuer's keys");
}


static void
test_2_4_aadsts700016(void **state)
{
    check_code(*state, 700016, "client id");
}


#define test(name)                                                            \
    cmocka_unit_test_setup_teardown(name, unit_identity_setup, teardown)


int
main(void)
{
    static const struct CMUnitTest  tests[] = {
        test(test_2_1_variables_are_enough),
        test(test_2_1_client_id_that_is_not_set_is_unavailable),
        test(test_2_1_tenant_id_that_is_not_set_is_unavailable),
        test(test_2_1_federated_token_file_that_is_not_set_is_unavailable),
        test(test_2_1_authority_host_may_end_with_a_slash),
        test(test_2_1_all_that_is_not_set_is_named),
        test(test_2_1_placeholder_without_a_token_file_is_unavailable),
        test(test_2_1_placeholder_in_a_pod_stops),
        test(test_2_1_relative_token_file_of_the_variable_stops),
        test(test_2_1_parameters_are_before_variables),
        test(test_2_2_request_is_all_that_is_sent),
        test(test_2_2_file_is_read_at_each_use),
        test(test_2_2_file_is_read_when_it_is_used_not_before),
        test(test_2_2_white_space_is_trimmed),
        test(test_2_2_empty_file_stops),
        test(test_2_2_file_of_white_space_stops),
        test(test_2_2_unreadable_file_stops),
        test(test_2_2_directory_as_file_stops),
        test(test_2_2_file_without_one_token_stops),
        test(test_2_2_file_has_a_maximum),
        test(test_2_2_refusal_stops),
        test(test_2_2_closed_port_of_the_authority_stops),
        test(test_2_2_assertion_that_is_repeated_is_not_told),
        test(test_2_3_token_proxy_is_an_https_url_alone),
        test(test_2_3_sni_name_is_a_host_name),
        test(test_2_3_ca_file_and_ca_data_exclude_each_other),
        test(test_2_3_ca_data_is_checked),
        test(test_2_3_others_without_a_token_proxy_stop),
        test(test_2_3_wrong_binding_of_no_pod_is_unavailable),
        test(test_2_3_without_the_variables_the_authority_is_asked),
        test(test_2_3_ca_file_is_read_at_each_use),
        test(test_2_3_empty_ca_file_keeps_the_last_good_one),
        test(test_2_3_empty_ca_file_without_a_last_one_stops),
        test(test_2_3_ca_data_may_be_long),
        test(test_2_3_egress_proxy_is_not_asked),
        test(test_2_3_file_of_the_token_is_read_with_a_proxy_too),
        test(test_2_4_aadsts70021),
        test(test_2_4_aadsts700213),
        test(test_2_4_aadsts700211),
        test(test_2_4_aadsts700212),
        test(test_2_4_aadsts700024),
        test(test_2_4_aadsts90061),
        test(test_2_4_aadsts700016)
    };

    if (aad_global_init() != 0) {
        return 1;
    }

    return cmocka_run_group_tests_name("workload identity", tests, NULL,
                                       NULL);
}
