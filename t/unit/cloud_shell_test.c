
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * Cloud Shell: a form instead of a query, and nobody to choose from.
 */


#include "source.h"


static void
cloud_shell(unit_identity_t *identity)
{
    unit_source_endpoint(identity, "MSI_ENDPOINT", "/oauth2/token");
}


static void
test_cloud_shell_is_asked_by_a_form(void **state)
{
    unit_identity_t  *identity = *state;

    static const unit_header_t  headers[] = {
        { "Metadata", "true" },
        { "Content-Type", "application/x-www-form-urlencoded" },
        { "Content-Length", "50" },
        { NULL, NULL }
    };

    cloud_shell(identity);
    unit_identity_step(identity, "managed_identity", NULL);
    unit_server_answer(&identity->machine, 200, "", UNIT_MACHINE_TOKEN);

    assert_int_equal(unit_identity_ask(identity), AAD_OK);
    unit_assert_source_request(identity, 0, "POST /oauth2/token", headers,
                               UNIT_RESOURCE_QUERY);
}


static void
test_cloud_shell_cannot_choose(void **state)
{
    size_t            i;
    char              reason[128];
    unit_identity_t  *identity = *state;

    static const char *const  ids[][2] = {
        { "client_id", UNIT_CLIENT },
        { "object_id", UNIT_OBJECT },
        { "resource_id", UNIT_RESOURCE_ID }
    };

    cloud_shell(identity);

    for (i = 0; i < unit_count(ids); i++) {
        snprintf(reason, sizeof(reason), "Cloud Shell cannot choose an "
                 "identity by \"%s=\", leave it out to use the one that is "
                 "there", ids[i][0]);

        unit_source_cannot_choose(identity, ids[i][0], ids[i][1], reason);

        while (identity->settings.chain_length != 0) {
            aad_credential_destroy(identity->settings.chain[
                                          --identity->settings.chain_length]);
        }
    }
}


static void
test_cloud_shell_errors_stop(void **state)
{
    static const unit_refusal_t  refusals[] = {
        { 400, "{\"error\":{\"code\":\"AudienceNotSupported\",\"message\":"
          "\"Audience is not a supported MSI token audience\"}}", AAD_FAILED,
          "AudienceNotSupported", "Cloud Shell: status 400, "
          "AudienceNotSupported: Audience is not a supported MSI token "
          "audience", 1 },
        { 404, "", AAD_FAILED, "", "Cloud Shell: status 404 with nothing", 1 },
        { 503, "", AAD_FAILED, "", "Cloud Shell: status 503 with nothing",
          UNIT_MACHINE_TRIES },
        { 200, "", AAD_FAILED, "", "Cloud Shell: the answer is no JSON", 1 }
    };

    cloud_shell(*state);
    unit_source_refusals(*state, NULL, NULL, refusals, unit_count(refusals));
}


static void
test_cloud_shell_keeps_the_rules_of_all(void **state)
{
    cloud_shell(*state);
    unit_source_rules(*state);
}


int
main(void)
{
    static const struct CMUnitTest  tests[] = {
        unit_identity_test(test_cloud_shell_is_asked_by_a_form),
        unit_identity_test(test_cloud_shell_cannot_choose),
        unit_identity_test(test_cloud_shell_errors_stop),
        unit_identity_test(test_cloud_shell_keeps_the_rules_of_all)
    };

    if (aad_global_init() != 0) {
        return 1;
    }

    return cmocka_run_group_tests_name("Cloud Shell", tests, NULL, NULL);
}
