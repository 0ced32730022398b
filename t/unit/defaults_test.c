
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * What holds where nothing is configured.
 */


#include "check.h"


#define AUTHORITY   "https://login.microsoftonline.com"


/* reads the environment and completes empty settings, and gives them back */
static aad_settings_t
complete(aad_defaults_t *defaults, const unit_variable_t *variables,
    const char *authority_host, const char *proxy)
{
    aad_error_t        error;
    aad_settings_t     settings;
    aad_environment_t  environment;

    environment = unit_environment(variables, NULL);

    if (aad_defaults_read(defaults, &environment, &error) != 0) {
        fail_msg("%s", error.text);
    }

    memset(&settings, 0, sizeof(aad_settings_t));

    settings.authority_host = authority_host;
    settings.proxy = proxy;

    aad_settings_complete(&settings, defaults);

    return settings;
}


static void
test_empty_environment_leaves_the_public_cloud(void **state)
{
    aad_defaults_t  defaults;
    aad_settings_t  settings;

    static const unit_variable_t  none[] = { { NULL, NULL } };
    static const unit_variable_t  empty[] = {
        { "AZURE_AUTHORITY_HOST", "" },
        { "HTTPS_PROXY", "" },
        { "NO_PROXY", "" },
        { NULL, NULL }
    };

    (void) state;

    settings = complete(&defaults, none, NULL, NULL);
    assert_string_equal(settings.authority_host, AUTHORITY);
    assert_string_equal(settings.scope, UNIT_SCOPE);
    assert_null(settings.proxy);
    assert_null(settings.no_proxy);
    aad_defaults_wipe(&defaults);

    settings = complete(&defaults, empty, NULL, NULL);
    assert_string_equal(settings.authority_host, AUTHORITY);
    assert_null(settings.proxy);
    assert_null(settings.no_proxy);
    aad_defaults_wipe(&defaults);
}


static void
test_settings_win(void **state)
{
    aad_defaults_t  defaults;
    aad_settings_t  settings;

    static const unit_variable_t  variables[] = {
        { "AZURE_AUTHORITY_HOST", "login.microsoftonline.us/" },
        { "HTTPS_PROXY", "http://environment:1" },
        { "NO_PROXY", "host" },
        { NULL, NULL }
    };

    (void) state;

    settings = complete(&defaults, variables, NULL, NULL);
    assert_string_equal(settings.authority_host,
                        "https://login.microsoftonline.us");
    assert_string_equal(settings.proxy, "http://environment:1");
    assert_string_equal(settings.no_proxy, "host");
    aad_defaults_wipe(&defaults);

    /* NO_PROXY is for the environment's own proxy */

    settings = complete(&defaults, variables, "https://own", "http://own:1");
    assert_string_equal(settings.authority_host, "https://own");
    assert_string_equal(settings.proxy, "http://own:1");
    assert_null(settings.no_proxy);
    aad_defaults_wipe(&defaults);

    /* off */

    settings = complete(&defaults, variables, NULL, "");
    assert_null(settings.proxy);
    assert_null(settings.no_proxy);
    aad_defaults_wipe(&defaults);

    /* HTTPS_PROXY is for https */

    settings = complete(&defaults, variables, "http://127.0.0.1", NULL);
    assert_null(settings.proxy);
    assert_null(settings.no_proxy);
    aad_defaults_wipe(&defaults);

    settings = complete(&defaults, variables, "http://127.0.0.1",
                        "http://own:1");
    assert_string_equal(settings.proxy, "http://own:1");
    aad_defaults_wipe(&defaults);
}


static void
test_lower_case_comes_first(void **state)
{
    aad_defaults_t  defaults;
    aad_settings_t  settings;

    static const unit_variable_t  both[] = {
        { "HTTPS_PROXY", "http://capital:1" },
        { "https_proxy", "small:1" },
        { "NO_PROXY", "capital" },
        { "no_proxy", "small" },
        { NULL, NULL }
    };
    static const unit_variable_t  emptied[] = {
        { "HTTPS_PROXY", "http://capital:1" },
        { "https_proxy", "" },
        { NULL, NULL }
    };

    (void) state;

    settings = complete(&defaults, both, NULL, NULL);
    assert_string_equal(settings.proxy, "http://small:1");
    assert_string_equal(settings.no_proxy, "small");
    aad_defaults_wipe(&defaults);

    settings = complete(&defaults, emptied, NULL, NULL);
    assert_null(settings.proxy);
    aad_defaults_wipe(&defaults);
}


static void
test_wrong_variable_is_named_and_its_password_is_not(void **state)
{
    size_t             i;
    aad_error_t        error;
    aad_defaults_t     defaults;
    unit_variable_t    variables[2];
    aad_environment_t  environment;

    static const unit_variable_t  wrong[] = {
        { "AZURE_AUTHORITY_HOST", "http://localhost" },
        { "AZURE_AUTHORITY_HOST", "https://me:hidden@host" },
        { "AZURE_AUTHORITY_HOST", "https://host/tenant" },
        { "HTTPS_PROXY", "ftp://me:hidden@host" },
        { "HTTPS_PROXY", "me:hidden@host:port" }
    };

    (void) state;

    memset(variables, 0, sizeof(variables));

    for (i = 0; i < unit_count(wrong); i++) {

        variables[0] = wrong[i];
        environment = unit_environment(variables, NULL);

        assert_int_equal(aad_defaults_read(&defaults, &environment, &error),
                         -1);
        assert_ptr_equal(strstr(error.text, wrong[i].name), error.text);
        assert_null(strstr(error.text, "hidden"));
    }
}


static void
test_default_chain_has_known_types(void **state)
{
    aad_error_t          error;
    aad_credential_t    *credential;
    aad_environment_t    environment;
    const char *const   *type;

    static const unit_variable_t  none[] = { { NULL, NULL } };

    (void) state;

    environment = unit_environment(none, NULL);

    for (type = aad_default_chain; *type != NULL; type++) {

        credential = aad_credential_create(*type, &environment, &error);
        assert_non_null(credential);
        assert_int_equal(aad_credential_complete(credential, &error), 0);

        aad_credential_destroy(credential);
    }

    assert_true(type - aad_default_chain <= AAD_CHAIN_STEPS_MAX);
}


int
main(void)
{
    static const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_empty_environment_leaves_the_public_cloud),
        cmocka_unit_test(test_settings_win),
        cmocka_unit_test(test_lower_case_comes_first),
        cmocka_unit_test(test_wrong_variable_is_named_and_its_password_is_not),
        cmocka_unit_test(test_default_chain_has_known_types)
    };

    return cmocka_run_group_tests_name("defaults", tests, NULL, NULL);
}
