
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * The clouds: which names belong together, row by row of the table, and what
 * is said of those that do not.
 */


#include "check.h"


#define PUBLIC  "https://login.microsoftonline.com"
#define US      "https://login.microsoftonline.us"
#define CHINA   "https://login.chinacloudapi.cn"


static aad_settings_t
settings_of(const char *authority_host, const char *scope)
{
    aad_settings_t  settings;

    memset(&settings, 0, sizeof(aad_settings_t));
    settings.authority_host = authority_host;
    settings.scope = scope;

    return settings;
}


static const char *
scope_warning(const char *authority_host, const char *scope)
{
    aad_settings_t      settings;
    static aad_error_t  warning;

    settings = settings_of(authority_host, scope);
    warning.text[0] = '\0';

    return aad_settings_warning(&settings, &warning) == 0 ? NULL
                                                          : warning.text;
}


static const char *
host_warning(const char *authority_host, const char *host)
{
    aad_settings_t      settings;
    static aad_error_t  warning;

    settings = settings_of(authority_host, UNIT_SCOPE);
    warning.text[0] = '\0';

    return aad_host_warning(&settings, host, &warning) == 0 ? NULL
                                                            : warning.text;
}


/* contract 8.1, 11.2, 11.3 and 7: one line a cloud, with its aliases */
static const struct {
    const char             *cloud;
    const char             *authorities[5];
    const char             *scopes[3];
    const char             *hosts[4];
    const char             *audience;
} clouds[] = {
    { "the public cloud",
      { PUBLIC, "https://login.windows.net", "https://login.microsoft.com",
        "https://sts.windows.net" },
      { "https://cognitiveservices.azure.com/.default",
        "https://ai.azure.com/.default" },
      { "x.openai.azure.com", "x.cognitiveservices.azure.com",
        "x.services.ai.azure.com" },
      "api://AzureADTokenExchange" },
    { "Azure Government",
      { US, "https://login.usgovcloudapi.net",
        "https://login-us.microsoftonline.com" },
      { "https://cognitiveservices.azure.us/.default",
        "https://ai.azure.us/.default" },
      { "x.openai.azure.us", "x.cognitiveservices.azure.us",
        "x.services.ai.azure.us" },
      "api://AzureADTokenExchangeUSGov" },
    { "Azure in China",
      { CHINA, "https://login.partner.microsoftonline.cn" },
      { "https://cognitiveservices.azure.cn/.default",
        "https://ai.azure.cn/.default" },
      { "x.openai.azure.cn", "x.cognitiveservices.azure.cn",
        "x.services.ai.azure.cn" },
      "api://AzureADTokenExchangeChina" }
};


/* Checks one authority with the scopes and hosts of one cloud. */
static void
check_pair(const char *authority, size_t own, size_t other)
{
    size_t              i;
    const char         *words;
    const char *const  *text;

    for (i = 0; i < 2; i++) {
        text = i == 0 ? clouds[other].scopes : clouds[other].hosts;

        for ( /* void */ ; *text != NULL; text++) {
            words = i == 0 ? scope_warning(authority, *text)
                           : host_warning(authority, *text);

            if (own == other) {
                assert_null(words);
                continue;
            }

            assert_non_null(words);
            unit_assert_contains(words, *text);
            unit_assert_contains(words, authority);
            unit_assert_contains(words, clouds[own].cloud);
            unit_assert_contains(words, clouds[other].cloud);
            unit_assert_contains(words, clouds[other].authorities[0]);
        }
    }
}


static void
test_8_1_authority_scope_and_hosts_go_together(void **state)
{
    size_t              own, other;
    const char *const  *authority;

    (void) state;

    for (own = 0; own < unit_count(clouds); own++) {
        for (authority = clouds[own].authorities; *authority; authority++) {
            for (other = 0; other < unit_count(clouds); other++) {
                check_pair(*authority, own, other);
            }
        }
    }
}


static void
test_7_exchange_audience_is_the_clouds_own(void **state)
{
    size_t              i;
    const char *const  *authority;

    (void) state;

    for (i = 0; i < unit_count(clouds); i++) {
        for (authority = clouds[i].authorities; *authority; authority++) {
            assert_string_equal(aad_cloud_exchange_audience(*authority),
                                clouds[i].audience);
        }
    }

    /* where nobody knows, the one that nearly everybody has */

    assert_string_equal(aad_cloud_exchange_audience("http://127.0.0.1:1"),
                        clouds[0].audience);
    assert_string_equal(
        aad_cloud_exchange_audience("https://login.sovcloud-identity.fr"),
        clouds[0].audience);
}


static void
test_the_mend_is_for_the_same_service(void **state)
{
    (void) state;

    assert_string_equal(
        scope_warning(PUBLIC, "https://cognitiveservices.azure.us/.default"),
        "the scope \"https://cognitiveservices.azure.us/.default\" is of "
        "Azure Government, but the authority "
        "\"https://login.microsoftonline.com\" is of the public cloud: write "
        "\"aoai_aad_scope https://cognitiveservices.azure.com/.default;\", "
        "or \"aoai_aad_authority_host https://login.microsoftonline.us;\"");

    unit_assert_contains(scope_warning(US, "https://ai.azure.com/.default"),
                         "\"aoai_aad_scope https://ai.azure.us/.default;\"");

    assert_string_equal(
        host_warning(CHINA, "*.services.ai.azure.com"),
        "the host \"*.services.ai.azure.com\" is of the public cloud, but "
        "the authority \"https://login.chinacloudapi.cn\" is of Azure in "
        "China: name a host under \"*.services.ai.azure.cn\", or write "
        "\"aoai_aad_authority_host https://login.microsoftonline.com;\"");
}


static void
test_8_1_sovereign_and_retired_clouds_are_no_others(void **state)
{
    size_t       i;
    const char  *words;

    static const char *const  authorities[][2] = {
        { "https://login.sovcloud-identity.fr", "a sovereign cloud" },
        { "https://login.sovcloud-identity.de", "a sovereign cloud" },
        { "https://login.sovcloud-identity.sg", "a sovereign cloud" },
        { "https://login.microsoftonline.de",   "was closed" }
    };

    (void) state;

    for (i = 0; i < unit_count(authorities); i++) {

        words = scope_warning(authorities[i][0], UNIT_SCOPE);
        assert_non_null(words);
        unit_assert_contains(words, authorities[i][1]);
        unit_assert_contains(words, "own \"aoai_aad_scope\"");

        words = host_warning(authorities[i][0], "x.openai.azure.com");
        assert_non_null(words);
        unit_assert_contains(words, authorities[i][1]);

        assert_null(scope_warning(authorities[i][0], "api://app/.default"));
        assert_null(host_warning(authorities[i][0], "x.example.com"));
    }
}


static void
test_names_of_nobodys_cloud_are_left_alone(void **state)
{
    size_t  i, j;

    static const char *const  authorities[] = {
        "https://login.example.com", "http://127.0.0.1:8080",
        "http://[::1]:8080", "https://login.microsoftonline.us.example.com",
        "https://xlogin.microsoftonline.us",
        "https://login.microsoftonline.usx", "", "x"
    };
    static const char *const  scopes[] = {
        "api://app/.default", "https://example.com/.default",
        "11111111-aaaa-4aaa-8aaa-111111111111/.default",
        "https://xcognitiveservices.azure.us/.default",
        "https://cognitiveservices.azure.us.example.com/.default",
        "https://example.com/cognitiveservices.azure.us/.default"
    };
    static const char *const  hosts[] = {
        "example.com", "127.0.0.1", "127.0.0.1:80", "[::1]:80", "localhost",
        "openai.azure.us.example.com", "xopenai.azure.us", ".openai.azure.us",
        "openai.azure.us", "", "*"
    };

    (void) state;

    for (i = 0; i < unit_count(authorities); i++) {
        for (j = 0; j < unit_count(clouds); j++) {
            assert_null(scope_warning(authorities[i], clouds[j].scopes[0]));
            assert_null(host_warning(authorities[i], clouds[j].hosts[0]));
        }
    }

    for (i = 0; i < unit_count(scopes); i++) {
        assert_null(scope_warning(PUBLIC, scopes[i]));
    }

    for (i = 0; i < unit_count(hosts); i++) {
        assert_null(host_warning(PUBLIC, hosts[i]));
    }
}


static void
test_case_and_port_do_not_matter(void **state)
{
    (void) state;

    assert_null(scope_warning("https://LOGIN.MicrosoftOnline.com:443",
                              UNIT_SCOPE));
    assert_non_null(scope_warning("https://LOGIN.MicrosoftOnline.us:443",
                                  UNIT_SCOPE));
    assert_non_null(scope_warning(PUBLIC,
                             "https://CognitiveServices.azure.US/.default"));
    assert_non_null(scope_warning(PUBLIC,
                             "https://cognitiveservices.azure.us//.default"));
    assert_non_null(host_warning(PUBLIC, "X.OpenAI.azure.US:443"));
    assert_non_null(host_warning(PUBLIC, "*.openai.azure.us:443"));
    assert_null(host_warning(US, "X.OpenAI.azure.US:443"));
}


static void
test_long_names_leave_room_for_the_mend(void **state)
{
    char  scope[2048];

    (void) state;

    snprintf(scope, sizeof(scope),
             "https://cognitiveservices.azure.us/%01500d/.default", 0);

    unit_assert_contains(scope_warning(PUBLIC, scope),
                 "aoai_aad_authority_host https://login.microsoftonline.us;");
}


int
main(void)
{
    static const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_8_1_authority_scope_and_hosts_go_together),
        cmocka_unit_test(test_7_exchange_audience_is_the_clouds_own),
        cmocka_unit_test(test_the_mend_is_for_the_same_service),
        cmocka_unit_test(test_8_1_sovereign_and_retired_clouds_are_no_others),
        cmocka_unit_test(test_names_of_nobodys_cloud_are_left_alone),
        cmocka_unit_test(test_case_and_port_do_not_matter),
        cmocka_unit_test(test_long_names_leave_room_for_the_mend)
    };

    return cmocka_run_group_tests_name("clouds", tests, NULL, NULL);
}
