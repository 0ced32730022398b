
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * Azure Machine Learning: what it is asked, and which identity.
 */


#include "source.h"


#define TARGET  "/msi/token?api-version=2017-09-01&" UNIT_RESOURCE_QUERY


static const unit_header_t  headers[] = {
    { "secret", UNIT_HEADER },
    { "Metadata", "true" },
    { NULL, NULL }
};


static void
azure_ml(unit_identity_t *identity)
{
    unit_source_endpoint(identity, "MSI_ENDPOINT", "/msi/token");
    unit_identity_variable(identity, "MSI_SECRET", UNIT_HEADER);
}


static void
test_azure_ml_is_asked_for_the_computes_own(void **state)
{
    azure_ml(*state);
    unit_source_get(*state, NULL, NULL, TARGET, headers);

    /* the name of the header has no capital letter */

    unit_assert_contains(unit_server_request(&((unit_identity_t *) *state)
                                              ->machine, 0),
                         "\r\nsecret: " UNIT_HEADER "\r\n");
}


static void
test_azure_ml_is_asked_by_client_id(void **state)
{
    azure_ml(*state);
    unit_source_get(*state, "client_id", UNIT_CLIENT,
                    TARGET "&clientid=" UNIT_CLIENT, headers);
}


static void
test_azure_ml_is_asked_for_the_default_identity(void **state)
{
    unit_identity_variable(*state, "DEFAULT_IDENTITY_CLIENT_ID", UNIT_OBJECT);
    azure_ml(*state);
    unit_source_get(*state, NULL, NULL, TARGET "&clientid=" UNIT_OBJECT,
                    headers);
}


static void
test_chosen_identity_comes_before_the_default(void **state)
{
    unit_identity_variable(*state, "DEFAULT_IDENTITY_CLIENT_ID", UNIT_OBJECT);
    azure_ml(*state);
    unit_source_get(*state, "client_id", UNIT_CLIENT,
                    TARGET "&clientid=" UNIT_CLIENT, headers);
}


static void
test_azure_ml_cannot_choose_by_object_id(void **state)
{
    azure_ml(*state);
    unit_source_cannot_choose(*state, "object_id", UNIT_OBJECT,
                              "Azure ML cannot choose an identity by "
                              "\"object_id=\", use \"client_id=\"");
}


static void
test_azure_ml_cannot_choose_by_resource_id(void **state)
{
    azure_ml(*state);
    unit_source_cannot_choose(*state, "resource_id", UNIT_RESOURCE_ID,
                              "Azure ML cannot choose an identity by "
                              "\"resource_id=\", use \"client_id=\"");
}


/* contract 3.3: text, a number as text, a date */
static void
test_azure_ml_expiry_may_be_a_date(void **state)
{
    size_t            i;
    char              body[256];
    unit_identity_t  *identity = *state;

    static const char *const  dates[] = {
        "1700003600", "11/14/2023 23:13:20 +00:00",
        "11/14/2023 11:13:20 PM +00:00", "2023-11-14 23:13:20",
        "2023-11-14T23:13:20Z"
    };

    azure_ml(identity);
    unit_identity_step(identity, "managed_identity", NULL);

    for (i = 0; i < unit_count(dates); i++) {
        snprintf(body, sizeof(body), "{\"access_token\":\"t\","
                 "\"expires_on\":\"%s\",\"token_type\":\"Bearer\"}",
                 dates[i]);
        unit_server_answer(&identity->machine, 200, "", body);

        assert_int_equal(unit_identity_ask(identity), AAD_OK);
        assert_int_equal(identity->token.expires_on, UNIT_NOW + 3600);
    }
}


static void
test_azure_ml_errors_stop(void **state)
{
    static const unit_refusal_t  refusals[] = {
        { 400, "{\"statusCode\":400,\"message\":\"No identity\"}", AAD_FAILED,
          "", "Azure ML: status 400: No identity; has the compute a "
          "system-assigned identity?", 1 },
        { 401, "", AAD_FAILED, "", "Azure ML: status 401 with nothing", 1 },
        { 401, "{\"message\":\"wrong secret " UNIT_HEADER "\"}", AAD_FAILED,
          "", "words that repeat a secret", 1 },
        { 404, "", AAD_FAILED, "", "Azure ML: status 404 with nothing", 1 },
        { 429, "", AAD_FAILED, "", "Azure ML: status 429 with nothing",
          UNIT_MACHINE_TRIES },
        { 500, "{}", AAD_FAILED, "", "Azure ML: status 500",
          UNIT_MACHINE_TRIES },
        { 200, "<html></html>", AAD_FAILED, "",
          "Azure ML: the answer is no JSON object", 1 },
        { 200, "{}", AAD_FAILED, "",
          "Azure ML: the answer has no access token", 1 },
        { 200, "{\"access_token\":\"t\"}", AAD_FAILED, "",
          "Azure ML: the answer does not say when its token expires", 1 }
    };

    azure_ml(*state);
    unit_source_refusals(*state, NULL, NULL, refusals, unit_count(refusals));
}


static void
test_azure_ml_keeps_the_rules_of_all(void **state)
{
    azure_ml(*state);
    unit_source_rules(*state);
}


int
main(void)
{
    static const struct CMUnitTest  tests[] = {
        unit_identity_test(test_azure_ml_is_asked_for_the_computes_own),
        unit_identity_test(test_azure_ml_is_asked_by_client_id),
        unit_identity_test(test_azure_ml_is_asked_for_the_default_identity),
        unit_identity_test(test_chosen_identity_comes_before_the_default),
        unit_identity_test(test_azure_ml_cannot_choose_by_object_id),
        unit_identity_test(test_azure_ml_cannot_choose_by_resource_id),
        unit_identity_test(test_azure_ml_expiry_may_be_a_date),
        unit_identity_test(test_azure_ml_errors_stop),
        unit_identity_test(test_azure_ml_keeps_the_rules_of_all)
    };

    if (aad_global_init() != 0) {
        return 1;
    }

    return cmocka_run_group_tests_name("Azure ML", tests, NULL, NULL);
}
