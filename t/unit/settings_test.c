
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * Authority, scope, proxy, CAs, and the digest that names an identity.
 */


#include "pem.h"


/* what decides on a token; NULL: as usual, or none */
typedef struct {
    const char             *authority_host;
    const char             *scope;
    const char             *ca_certificates;
    const char             *proxy;
    const char             *no_proxy;

    struct {
        const char             *type;
        const char             *name;
        const char             *value;
    } steps[3];

    unit_variable_t         variables[2];
} identity_t;


/* each differs from all others in one thing at least */
static const identity_t  identities[] = {
    { 0 },
    { .authority_host = "https://host" },
    { .scope = "https://host/.default" },
    { .ca_certificates = "pem" },
    { .proxy = "http://proxy" },
    { .no_proxy = "pem" },
    { .proxy = "http://proxy", .no_proxy = "pem" },

    /* the same letters, parted elsewhere */

    { .proxy = "http://pr", .no_proxy = "oxypem" },
    { .proxy = "http://proxypem" },

    { .steps = { { "managed_identity", NULL, NULL } } },
    { .steps = { { "managed_identity", NULL, NULL },
                 { "managed_identity", NULL, NULL } } },
    { .steps = { { "environment", NULL, NULL } } },
    { .steps = { { "environment", NULL, NULL },
                 { "managed_identity", NULL, NULL } } },
    { .steps = { { "managed_identity", NULL, NULL },
                 { "environment", NULL, NULL } } },
    { .steps = { { "azure_cli", NULL, NULL } } },

    { .steps = { { "managed_identity", "client_id", UNIT_CLIENT } } },
    { .steps = { { "managed_identity", "object_id", UNIT_CLIENT } } },
    { .steps = { { "managed_identity", "client_id", UNIT_OBJECT } } },
    { .steps = { { "client_secret", "tenant_id", UNIT_TENANT } } },
    { .steps = { { "client_secret", "client_id", UNIT_TENANT } } },
    { .steps = { { "client_secret", "secret", "one" } } },
    { .steps = { { "client_secret", "secret", "another" } } },
    { .steps = { { "azure_cli", "subscription", "x" } } },

    { .steps = { { "environment", NULL, NULL } },
      .variables = { { "AZURE_CLIENT_SECRET", "one" } } },
    { .steps = { { "managed_identity", NULL, NULL } },
      .variables = { { "AZURE_POD_IDENTITY_AUTHORITY_HOST",
                       "http://127.0.0.1:1" } } },

    { .steps = { { "workload_identity", NULL, NULL } } },
    { .steps = { { "workload_identity", "token_file", "/one" } } },
    { .steps = { { "workload_identity", NULL, NULL } },
      .variables = { { "AZURE_FEDERATED_TOKEN_FILE", "/another" } } },
    { .steps = { { "workload_identity", NULL, NULL } },
      .variables = { { "AZURE_KUBERNETES_CA_DATA", "pem" } } },

    /* the machine's half of it counts too */

    { .steps = { { "federated_managed_identity", NULL, NULL } } },
    { .steps = { { "federated_managed_identity", "identity_client_id",
                   UNIT_CLIENT } } },
    { .steps = { { "federated_managed_identity", NULL, NULL } },
      .variables = { { "AZURE_POD_IDENTITY_AUTHORITY_HOST",
                       "http://127.0.0.1:1" } } },
    { .steps = { { "federated_managed_identity", NULL, NULL } },
      .variables = { { "AZURE_POD_IDENTITY_AUTHORITY_HOST",
                       "http://127.0.0.1:2" } } }
};


static void
test_authority_is_written_without_trailing_slash(void **state)
{
    char         host[64];
    size_t       i;
    aad_error_t  error;

    static const char *const  hosts[][2] = {
        { "https://login.microsoftonline.com",
          "https://login.microsoftonline.com" },
        { "https://login.microsoftonline.com/",
          "https://login.microsoftonline.com" },
        { "https://login.microsoftonline.us//",
          "https://login.microsoftonline.us" },
        { "https://host:8443/",         "https://host:8443" },
        { "https://[2001:db8::1]/",     "https://[2001:db8::1]" },

        /* Python's SDK takes it without a scheme: https is meant */

        { "login.microsoftonline.com",  "https://login.microsoftonline.com" },
        { "login.chinacloudapi.cn/",    "https://login.chinacloudapi.cn" }
    };

    (void) state;

    for (i = 0; i < unit_count(hosts); i++) {

        if (aad_authority_host(hosts[i][0], host, sizeof(host), &error) != 0) {
            fail_msg("%s", error.text);
        }

        assert_string_equal(host, hosts[i][1]);
    }
}


static void
test_authority_is_scheme_and_host_alone(void **state)
{
    char         host[64];
    size_t       i;
    aad_error_t  error;

    static const char *const  hosts[] = {
        "",
        "/",
        "https://",
        "https:///",
        "ftp://host",
        "https:host",
        "https://host/tenant",
        "https://host/tenant/",
        "https://host?x=y",
        "https://host#x",
        "https://host/#@evil.example",
        "https://user@host",
        "https://user:secret@host",
        "https://login.microsoftonline.com@evil.example",
        "user@host",
        "https://ho st",
        "https://host\r\n",
        "https://host:80x",
        "https://a-name-that-does-not-fit-into-what-the-caller-has-got.example"
    };

    (void) state;

    for (i = 0; i < unit_count(hosts); i++) {

        if (aad_authority_host(hosts[i], host, sizeof(host), &error) != -1) {
            fail_msg("\"%s\" is taken", hosts[i]);
        }

        unit_assert_contains(error.text, "must be a URL of scheme and host");
        unit_assert_lacks(error.text, "secret");
    }
}


static void
test_plain_http_is_for_loopback_addresses_alone(void **state)
{
    char         host[64];
    size_t       i;
    aad_error_t  error;

    static const char *const  taken[] = {
        "http://127.0.0.1", "http://127.0.0.1:8080", "http://127.1.2.3",
        "http://[::1]", "http://[::1]:8080"
    };

    static const char *const  refused[] = {
        "http://login.microsoftonline.com", "http://localhost",
        "http://localhost:8080", "http://127.example.com",
        "http://127.0.0.1.example.com", "http://10.0.0.1", "http://0.0.0.0",
        "http://[::2]", "http://127.0.0.1.5", "http://127.0.0.256"
    };

    (void) state;

    for (i = 0; i < unit_count(taken); i++) {
        assert_int_equal(aad_authority_host(taken[i], host, sizeof(host),
                                            &error), 0);
    }

    for (i = 0; i < unit_count(refused); i++) {

        if (aad_authority_host(refused[i], host, sizeof(host), &error) != -1) {
            fail_msg("\"%s\" is taken", refused[i]);
        }

        unit_assert_contains(error.text, "it must begin with \"https://\"");
        unit_assert_contains(error.text, refused[i]);
    }
}


static void
test_loopback_in_userinfo_or_fragment_does_not_allow_http(void **state)
{
    char         host[64];
    size_t       i;
    aad_error_t  error;

    static const char *const  hosts[] = {
        "http://127.0.0.1@evil.example", "http://evil.example#@127.0.0.1",
        "http://evil.example/@127.0.0.1", "http://evil.example?@127.0.0.1",
        "http://127.0.0.1:80@evil.example", "http://[::1]@evil.example",
        "http://127.0.0.1\\@evil.example"
    };

    (void) state;

    for (i = 0; i < unit_count(hosts); i++) {
        if (aad_authority_host(hosts[i], host, sizeof(host), &error) != -1) {
            fail_msg("\"%s\" is taken", hosts[i]);
        }
    }
}


static void
test_scope_ends_with_default(void **state)
{
    char         long_scope[AAD_URL_BYTES_MAX + 16];
    size_t       i;
    aad_error_t  error;

    static const char *const  taken[] = {
        UNIT_SCOPE, "https://cognitiveservices.azure.us/.default",
        "https://host//.default", "api://" UNIT_CLIENT "/.default",
        UNIT_CLIENT "/.default", "https://my-host:8080/a_b~c/.default"
    };

    static const char *const  refused[] = {
        "", "/.default", ".default", UNIT_RESOURCE, UNIT_RESOURCE "/",
        UNIT_SCOPE "/", UNIT_SCOPE " openid", " " UNIT_SCOPE, UNIT_SCOPE "\n",
        "-x/.default", "--debug/.default", "https://host/?x=/.default",
        "https://host/$(id)/.default", "https://h\xc3\xb6st/.default",
        "https://host/%2e/.default", "https://host/\"x\"/.default"
    };

    (void) state;

    for (i = 0; i < unit_count(taken); i++) {
        assert_int_equal(aad_scope(taken[i], &error), 0);
    }

    for (i = 0; i < unit_count(refused); i++) {

        if (aad_scope(refused[i], &error) != -1) {
            fail_msg("\"%s\" is taken", refused[i]);
        }

        unit_assert_contains(error.text, "must be one scope");
    }

    memset(long_scope, 'x', sizeof(long_scope));
    strcpy(long_scope + sizeof(long_scope) - 10, "/.default");
    assert_int_equal(aad_scope(long_scope, &error), -1);
}


static void
test_proxy_is_a_url_whose_password_is_not_repeated(void **state)
{
    size_t       i;
    aad_error_t  error;

    static const char *const  taken[] = {
        "http://proxy.example.com:3128", "https://proxy.example.com",
        "http://user:secret@proxy.example.com:3128/", "http://[::1]:3128",
        "socks5://proxy.example.com:1080", "socks5h://proxy.example.com"
    };

    static const char *const  refused[] = {
        "", "ftp://user:secret@proxy.example.com",
        "http://user:secret@", "http://user:secret@proxy.example.com/path",
        "http://user:secret@proxy.example.com?x",
        "http://user:secret@proxy.example.com:x",
        "http://user:secret@proxy.example.com\r\nX-Header: 1",
        "http://user:sec\r\nret@proxy.example.com"
    };

    (void) state;

    for (i = 0; i < unit_count(taken); i++) {
        assert_int_equal(aad_proxy(taken[i], &error), 0);
    }

    for (i = 0; i < unit_count(refused); i++) {

        if (aad_proxy(refused[i], &error) != -1) {
            fail_msg("\"%s\" is taken", refused[i]);
        }

        unit_assert_contains(error.text, "the proxy is wrong");
        unit_assert_lacks(error.text, "secret");
    }
}


/* The file's content is what is read, or this is the error. */
static void
check_certificates(const char *content, size_t length, size_t maximum,
    const char *reason)
{
    int           rc;
    char          directory[UNIT_DIRECTORY_BYTES], path[UNIT_PATH_BYTES];
    aad_error_t   error;
    aad_secret_t  pem;

    unit_directory(directory, sizeof(directory));

    if (content != NULL) {
        unit_file(directory, "ca.pem", content, length, 0600);
    }

    snprintf(path, sizeof(path), "%sca.pem", directory);
    aad_secret_init(&pem, maximum);

    rc = aad_ca_certificates(path, &pem, &error);

    unit_remove(directory, "ca.pem");
    unit_remove(directory, "");

    if (reason == NULL) {
        assert_int_equal(rc, 0);
        assert_string_equal(pem.data, content);

    } else {
        assert_int_equal(rc, -1);
        unit_assert_contains(error.text, reason);
        unit_assert_contains(error.text, path);
    }

    aad_secret_wipe(&pem);
}


static void
test_certificates_are_pem(void **state)
{
    char  pem[UNIT_PEM_BYTES], text[3 * UNIT_PEM_BYTES];

    (void) state;

    unit_certificate(pem);
    check_certificates(pem, strlen(pem), UNIT_PEM_BYTES, NULL);

    snprintf(text, sizeof(text), "a comment\n%s\n\nanother\n%sthe end", pem,
             pem);
    check_certificates(text, strlen(text), sizeof(text), NULL);
}


static void
test_file_without_good_certificates_is_refused(void **state)
{
    char  pem[UNIT_PEM_BYTES], text[3 * UNIT_PEM_BYTES];

    static const char  key[] = "-----BEGIN PRIVATE KEY-----\nAAAA\n"
                               "-----END PRIVATE KEY-----\n";

    (void) state;

    unit_certificate(pem);

    check_certificates(NULL, 0, 1000, "No such file");
    check_certificates("", 0, 1000, "no certificate");
    check_certificates("hello", 5, 1000, "no certificate");
    check_certificates(key, strlen(key), 1000, "no certificate");
    check_certificates("\x30\x82\x00\x01", 4, 1000, "is no text");
    check_certificates(pem, strlen(pem), 10, "is larger than 10 bytes");

    /* cut off, damaged, and a good one before a bad one */

    check_certificates(pem, strlen(pem) / 2, UNIT_PEM_BYTES, "PEM");
    check_certificates(pem, 28, UNIT_PEM_BYTES, "PEM");

    snprintf(text, sizeof(text), "%s%.*s", pem, (int) strlen(pem) / 2, pem);
    check_certificates(text, strlen(text), sizeof(text), "PEM");

    snprintf(text, sizeof(text), "%s-----BEGIN CERTIFICATE-----\nAAAA\n"
             "-----END CERTIFICATE-----\n", pem);
    check_certificates(text, strlen(text), sizeof(text), "PEM");
}


static void
digest(const identity_t *identity, unsigned char *bytes)
{
    size_t              i;
    aad_error_t         error;
    aad_settings_t      settings;
    aad_credential_t   *credential;
    aad_environment_t   environment;

    memset(&settings, 0, sizeof(aad_settings_t));

    settings.authority_host = identity->authority_host
                              ? identity->authority_host
                              : "https://login.microsoftonline.com";
    settings.scope = identity->scope ? identity->scope : UNIT_SCOPE;
    settings.ca_certificates = identity->ca_certificates;
    settings.proxy = identity->proxy;
    settings.no_proxy = identity->no_proxy;

    environment = unit_environment(identity->variables, NULL);

    for (i = 0; identity->steps[i].type != NULL; i++) {
        credential = aad_credential_create(identity->steps[i].type,
                                           &environment, &error);
        assert_non_null(credential);

        settings.chain[settings.chain_length++] = credential;

        if (identity->steps[i].name != NULL) {
            assert_int_equal(aad_credential_set(credential,
                                                identity->steps[i].name,
                                                identity->steps[i].value,
                                                &error), 0);
        }
    }

    assert_int_equal(aad_settings_digest(&settings, bytes), 0);

    while (i-- != 0) {
        aad_credential_destroy(settings.chain[i]);
    }
}


static void
test_time_is_nginx_notation(void **state)
{
    size_t       i;
    int64_t      time_ms;
    aad_error_t  error;

    static const struct {
        const char  *text;
        int64_t      time_ms;               /* 0: wrong */
    } times[] = {
        { "1", 1000 },
        { "10s", 10000 },
        { "500ms", 500 },
        { "1m", 60000 },
        { "1m30", 90000 },
        { "1h 30m", 5400000 },
        { "1w2d3h4m5s6ms", 788645006 },
        { "0m 1s", 1000 },
        { "9999999999w", 6047999999395200000 },

        { "", 0 }, { "0", 0 }, { "0s", 0 }, { "-1", 0 }, { "+1", 0 },
        { " 1", 0 }, { "s", 0 }, { "1y", 0 }, { "1M", 0 }, { "1S", 0 },
        { "1s1m", 0 }, { "1s1s", 0 }, { "1 1", 0 }, { "1 s", 0 },
        { "1min", 0 }, { "1.5s", 0 }, { "1e3", 0 }, { "10000000000", 0 },
        { "soon", 0 }
    };

    (void) state;

    for (i = 0; i < unit_count(times); i++) {

        if (aad_time(times[i].text, &time_ms, &error) == 0) {
            assert_int_equal(time_ms, times[i].time_ms);
            continue;
        }

        if (times[i].time_ms != 0) {
            fail_msg("%s", error.text);
        }

        assert_non_null(strstr(error.text, "a time above zero"));
    }
}


static void
test_name_is_the_chain_without_secrets(void **state)
{
    char               text[256];
    size_t             i;
    aad_error_t        error;
    aad_settings_t     settings;
    aad_environment_t  environment;

    static const unit_variable_t  none[] = { { NULL, NULL } };

    (void) state;

    memset(&settings, 0, sizeof(aad_settings_t));
    environment = unit_environment(none, NULL);

    aad_settings_describe(&settings, text, sizeof(text));
    assert_string_equal(text, "");

    settings.chain[0] = aad_credential_create("environment", &environment,
                                              &error);
    settings.chain[1] = aad_credential_create("client_secret", &environment,
                                              &error);
    settings.chain_length = 2;

    assert_int_equal(aad_credential_set(settings.chain[1], "client_id",
                                        UNIT_CLIENT, &error), 0);
    assert_int_equal(aad_credential_set(settings.chain[1], "secret",
                                        "hidden", &error), 0);

    aad_settings_describe(&settings, text, sizeof(text));
    assert_string_equal(text, "environment, client_secret client_id="
                        UNIT_CLIENT);

    aad_settings_describe(&settings, text, 16);
    assert_string_equal(text, "environment, cl");

    for (i = 0; i < settings.chain_length; i++) {
        aad_credential_destroy(settings.chain[i]);
    }
}


static void
test_equal_settings_have_equal_digests(void **state)
{
    size_t         i;
    unsigned char  one[AAD_DIGEST_BYTES], other[AAD_DIGEST_BYTES];

    (void) state;

    for (i = 0; i < unit_count(identities); i++) {
        digest(&identities[i], one);
        digest(&identities[i], other);
        assert_memory_equal(one, other, AAD_DIGEST_BYTES);
    }
}


static void
test_any_change_is_another_identity(void **state)
{
    size_t         i, j;
    unsigned char  digests[unit_count(identities)][AAD_DIGEST_BYTES];

    (void) state;

    for (i = 0; i < unit_count(identities); i++) {
        digest(&identities[i], digests[i]);

        for (j = 0; j < i; j++) {
            if (memcmp(digests[i], digests[j], AAD_DIGEST_BYTES) == 0) {
                fail_msg("identities %zu and %zu are the same", j, i);
            }
        }
    }
}


int
main(void)
{
    static const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_authority_is_written_without_trailing_slash),
        cmocka_unit_test(test_authority_is_scheme_and_host_alone),
        cmocka_unit_test(test_plain_http_is_for_loopback_addresses_alone),
        cmocka_unit_test(
            test_loopback_in_userinfo_or_fragment_does_not_allow_http),
        cmocka_unit_test(test_scope_ends_with_default),
        cmocka_unit_test(test_proxy_is_a_url_whose_password_is_not_repeated),
        cmocka_unit_test(test_certificates_are_pem),
        cmocka_unit_test(test_file_without_good_certificates_is_refused),
        cmocka_unit_test(test_time_is_nginx_notation),
        cmocka_unit_test(test_name_is_the_chain_without_secrets),
        cmocka_unit_test(test_equal_settings_have_equal_digests),
        cmocka_unit_test(test_any_change_is_another_identity)
    };

    return cmocka_run_group_tests_name("settings", tests, NULL, NULL);
}
