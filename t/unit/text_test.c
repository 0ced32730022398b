
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * The forms of values, URLs, loopback addresses, words for a log.
 */


#include "check.h"


typedef struct {
    const char             *value;
    int                     valid;
} form_t;


static void
check_form(int (*valid)(const char *value), const form_t *forms, size_t count)
{
    size_t  i, wrong;

    wrong = 0;

    for (i = 0; i < count; i++) {
        if (!valid(forms[i].value) != !forms[i].valid) {
            print_error("\"%s\" is%s valid\n", forms[i].value,
                        forms[i].valid ? " not" : "");
            wrong++;
        }
    }

    assert_int_equal(wrong, 0);
}


static int
is_loopback(const char *value)
{
    return aad_is_loopback(value, strlen(value));
}


static void
test_guid_has_36_characters_of_the_right_kind(void **state)
{
    static const form_t  forms[] = {
        { "00000000-0000-0000-0000-000000000000",   1 },
        { UNIT_TENANT,                              1 },
        { "ABCDEFab-cdef-0123-4567-89abcdefABCD",   1 },
        { "",                                       0 },
        { "11111111-aaaa-4aaa-8aaa-11111111111",    0 },
        { "11111111-aaaa-4aaa-8aaa-1111111111111",  0 },
        { "11111111-aaaa-4aaa-8aaa-11111111111g",   0 },
        { "11111111aaaaa-4aaa-8aaa-111111111111",   0 },
        { "1111111-1aaaa-4aaa-8aaa-111111111111",   0 },
        { "{11111111-aaaa-4aaa-8aaa-111111111111}", 0 },
        { " 11111111-aaaa-4aaa-8aaa-111111111111",  0 },
        { "11111111-aaaa-4aaa-8aaa-111111111111\n", 0 },
        { "11111111-aaaa-4aaa-8aaa",                0 },
        { "<client id>",                            0 },
        { "------------------------------------",   0 }
    };

    (void) state;

    check_form(aad_is_guid, forms, unit_count(forms));
}


static void
test_tenant_is_a_guid_or_a_domain(void **state)
{
    static const form_t  forms[] = {
        { UNIT_TENANT,                              1 },
        { "contoso.onmicrosoft.com",                1 },
        { "sub-domain.example.co.uk",               1 },
        { "",                                       0 },
        { "contoso",                                0 },
        { "common",                                 0 },
        { "organizations",                          0 },
        { "consumers",                              0 },
        { "-contoso.com",                           0 },
        { "--debug.x",                              0 },
        { ".contoso.com",                           0 },
        { "..",                                     0 },
        { "contoso.com/x",                          0 },
        { "contoso.com?x",                          0 },
        { "contoso.com#",                           0 },
        { "contoso.com%2f",                         0 },
        { "contoso.com;ls",                         0 },
        { "contoso com.x",                          0 },
        { "contoso.com\r\n",                        0 },
        { "contoso\xc3\xbc.com",                    0 }
    };

    (void) state;

    check_form(aad_is_tenant, forms, unit_count(forms));
}


static void
test_resource_id_is_a_path_below_subscriptions(void **state)
{
    static const form_t  forms[] = {
        { "/subscriptions/" UNIT_TENANT "/resourceGroups/rg_1-x.(a)/providers"
          "/Microsoft.ManagedIdentity/userAssignedIdentities/id-1",  1 },
        { "",                                                        0 },
        { "subscriptions/x",                                         0 },
        { "/subscriptions",                                          0 },
        { "/resourceGroups/subscriptions/x",                         0 },
        { "/subscriptions/x?y=z",                                    0 },
        { "/subscriptions/x&object_id=y",                            0 },
        { "/subscriptions/x y",                                      0 },
        { "/subscriptions/x#",                                       0 },
        { "/subscriptions/x\n",                                      0 }
    };

    (void) state;

    check_form(aad_is_resource_id, forms, unit_count(forms));
}


static void
test_subscription_is_a_guid_or_a_plain_name(void **state)
{
    static const form_t  forms[] = {
        { UNIT_TENANT,          1 },
        { "My Subscription_1.", 1 },
        { "",                   0 },
        { "-x",                 0 },
        { "--debug",            0 },
        { "a;b",                0 },
        { "a\"b",               0 },
        { "$(id)",              0 },
        { "a\nb",               0 },
        { "a\tb",               0 }
    };

    (void) state;

    check_form(aad_is_subscription, forms, unit_count(forms));
}


static void
test_file_name_is_absolute(void **state)
{
    static const form_t  forms[] = {
        { "/usr/bin/az", 1 },
        { "",            0 },
        { "az",          0 },
        { "./az",        0 }
    };

    (void) state;

    check_form(aad_is_absolute_path, forms, unit_count(forms));
}


static void
test_loopback_is_an_address_never_a_name(void **state)
{
    static const form_t  hosts[] = {
        { "127.0.0.1",             1 },
        { "127.0.1.1",             1 },
        { "127.255.255.254",       1 },
        { "[::1]",                 1 },
        { "localhost",             0 },
        { "127.example.com",       0 },
        { "127.0.0.1.example.com", 0 },
        { "127.0.0.1x",            0 },
        { "",                      0 },
        { "127",                   0 },
        { "127.",                  0 },
        { "1127.0.0.1",            0 },
        { "126.0.0.1",             0 },
        { "128.0.0.1",             0 },
        { "0.0.0.0",               0 },
        { "169.254.169.254",       0 },
        { "::1",                   0 },
        { "[::]",                  0 },
        { "[::2]",                 0 },
        { "[::11]",                0 },

        /* none of these is an address: a resolver is asked for them */

        { "127.0.0.1.5",           0 },
        { "127.0.0.1.",            0 },
        { "127.0.0.256",           0 },
        { "127.999.999.999",       0 },
        { "127..",                 0 },
        { "127..1",                0 }
    };

    (void) state;

    check_form(is_loopback, hosts, unit_count(hosts));
}


static void
test_loopback_looks_at_the_host_alone(void **state)
{
    (void) state;

    assert_true(aad_is_loopback("127.0.0.1:8080/x", 9));
    assert_true(aad_is_loopback("[::1]:8080/x", 5));
    assert_false(aad_is_loopback("127.0.0.1:8080/x", 14));
    assert_false(aad_is_loopback("127.0.0.1", 4));
}


static void
test_url_is_taken_apart(void **state)
{
    size_t     i;
    char       host[64];
    aad_url_t  url;

    static const struct {
        const char             *text;
        int                     https;
        int                     userinfo;
        const char             *host;
        const char             *rest;
    } urls[] = {
        { "https://login.microsoftonline.com", 1, 0,
          "login.microsoftonline.com", "" },
        { "http://127.0.0.1:8080/a/b?c=d", 0, 0, "127.0.0.1", "/a/b?c=d" },
        { "https://host:443", 1, 0, "host", "" },
        { "http://host:65535/", 0, 0, "host", "/" },
        { "http://[::1]:8080/x", 0, 0, "[::1]", "/x" },
        { "http://[fe80::1]", 0, 0, "[fe80::1]", "" },
        { "http://host?x", 0, 0, "host", "?x" },
        { "http://host/a:b", 0, 0, "host", "/a:b" },

        /* what stands before the last '@' is no host */

        { "http://user:secret@host:8080/", 0, 1, "host", "/" },
        { "http://user@host", 0, 1, "host", "" },
        { "https://login.microsoftonline.com@evil.example", 1, 1,
          "evil.example", "" },
        { "https://127.0.0.1:80@evil.example:443/", 1, 1, "evil.example",
          "/" },
        { "http://a@b@[::1]/", 0, 1, "[::1]", "/" },

        /* and behind '/', '?' and '#' there is no userinfo */

        { "http://host/@evil.example", 0, 0, "host", "/@evil.example" },
        { "http://host?@evil.example", 0, 0, "host", "?@evil.example" },
        { "http://host#@evil.example/", 0, 0, "host", "#@evil.example/" },
        { "http://host:80#@evil.example", 0, 0, "host", "#@evil.example" }
    };

    (void) state;

    for (i = 0; i < unit_count(urls); i++) {

        if (aad_url_parse(urls[i].text, &url) != 0) {
            fail_msg("\"%s\" is refused", urls[i].text);
        }

        snprintf(host, sizeof(host), "%.*s", (int) url.host_length, url.host);

        assert_string_equal(host, urls[i].host);
        assert_string_equal(url.rest, urls[i].rest);
        assert_int_equal(url.https != 0, urls[i].https);
        assert_int_equal(url.userinfo != 0, urls[i].userinfo);
    }
}


static void
test_url_without_scheme_or_host_is_refused(void **state)
{
    static const form_t  urls[] = {
        { "",                       0 },
        { "host",                   0 },
        { "host:80",                0 },
        { "//host",                 0 },
        { "/host",                  0 },
        { "https:/host",            0 },
        { "ftp://host",             0 },
        { "file:///etc/passwd",     0 },
        { " http://host",           0 },
        { "https://",               0 },
        { "http:///x",              0 },
        { "http://?x",              0 },
        { "http://#x",              0 },
        { "http://:80",             0 },
        { "http://user@",           0 },
        { "http://@",               0 },
        { "http://user@/x",         0 },
        { "http://[::1",            0 },
        { "http://[::1/]",          0 },
        { "http://[::1]x",          0 },
        { "http://host:8x",         0 },
        { "http://host:-1",         0 },
        { "http://host:80:80",      0 }
    };

    (void) state;

    check_form(aad_is_url, urls, unit_count(urls));
}


static void
test_url_with_port_out_of_range_is_refused(void **state)
{
    static const form_t  urls[] = {
        { "http://host:65536",                      0 },
        { "http://host:99999999999999999999",       0 }
    };

    (void) state;

    check_form(aad_is_url, urls, unit_count(urls));
}


static void
test_url_with_blanks_or_control_characters_is_refused(void **state)
{
    static const form_t  urls[] = {
        { "http://ho st",                           0 },
        { "http://host ",                           0 },
        { "http://host/a b",                        0 },
        { "http://host/\tb",                        0 },
        { "http://host\r\n",                        0 },
        { "http://host/\r\nX-Header: 1",            0 },
        { "http://host/\x7f",                       0 },
        { "http://host/\x01",                       0 },
        { "http://h\xc3\xb6st/",                    0 },
        { "http://us er@host",                      0 },
        { "http://user\r\nX-Header: 1@host",        0 }
    };

    (void) state;

    check_form(aad_is_url, urls, unit_count(urls));
}


static void
test_resource_is_the_scope_without_its_suffix(void **state)
{
    char    resource[128];
    size_t  i;

    static const char *const  scopes[][2] = {
        { UNIT_SCOPE,                   UNIT_RESOURCE },
        { "https://host//.default",     "https://host/" },
        { "api://x/.default",           "api://x" },
        { "https://host/",              "https://host/" },
        { "https://host/.default/x",    "https://host/.default/x" },
        { "https://host/x.default",     "https://host/x.default" },
        { "/.default",                  "/.default" },
        { "",                           "" }
    };

    (void) state;

    for (i = 0; i < unit_count(scopes); i++) {
        aad_resource(scopes[i][0], resource, sizeof(resource));
        assert_string_equal(resource, scopes[i][1]);
    }

    aad_resource(UNIT_SCOPE, resource, 6);
    assert_string_equal(resource, "https");
}


static void
test_words_are_cleaned_for_a_log(void **state)
{
    char    clean[32];
    size_t  i;

    static const char *const  texts[][2] = {
        { "",                               "" },
        { "plain words ~!",                 "plain words ~!" },
        { "one\r\ntwo",                     "one  two" },
        { "a\tb",                           "a b" },
        { "end \r\n",                       "end" },
        { "\x1b[31mred\x01\x7f",            "?[31mred??" },
        { "\xc3\xa4",                       "??" },
        { "\v\f\b",                         "???" },
        { "0123456789012345678901234567890123456789",
          "0123456789012345678901234567890" }
    };

    (void) state;

    for (i = 0; i < unit_count(texts); i++) {
        aad_text_clean(clean, sizeof(clean), texts[i][0]);
        assert_string_equal(clean, texts[i][1]);
    }
}


static void
test_words_can_be_cleaned_in_place(void **state)
{
    char  text[] = "a\nb\x01 c ";

    (void) state;

    aad_text_clean(text, sizeof(text), text);
    assert_string_equal(text, "a b? c");
}


static void
test_long_error_is_cut(void **state)
{
    char         long_text[AAD_REASON_BYTES * 2];
    aad_error_t  error;

    (void) state;

    memset(long_text, 'x', sizeof(long_text) - 1);
    long_text[sizeof(long_text) - 1] = '\0';

    assert_int_equal(aad_error(&error, "%s", long_text), -1);
    assert_int_equal(strlen(error.text), AAD_REASON_BYTES - 1);
}


int
main(void)
{
    static const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_guid_has_36_characters_of_the_right_kind),
        cmocka_unit_test(test_tenant_is_a_guid_or_a_domain),
        cmocka_unit_test(test_resource_id_is_a_path_below_subscriptions),
        cmocka_unit_test(test_subscription_is_a_guid_or_a_plain_name),
        cmocka_unit_test(test_file_name_is_absolute),
        cmocka_unit_test(test_loopback_is_an_address_never_a_name),
        cmocka_unit_test(test_loopback_looks_at_the_host_alone),
        cmocka_unit_test(test_url_is_taken_apart),
        cmocka_unit_test(test_url_without_scheme_or_host_is_refused),
        cmocka_unit_test(test_url_with_port_out_of_range_is_refused),
        cmocka_unit_test(
            test_url_with_blanks_or_control_characters_is_refused),
        cmocka_unit_test(test_resource_is_the_scope_without_its_suffix),
        cmocka_unit_test(test_words_are_cleaned_for_a_log),
        cmocka_unit_test(test_words_can_be_cleaned_in_place),
        cmocka_unit_test(test_long_error_is_cut)
    };

    return cmocka_run_group_tests_name("text", tests, NULL, NULL);
}
