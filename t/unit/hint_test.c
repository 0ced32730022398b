
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * What to do about an error: a row for each code of the contract's tables.
 */


#include "check.h"


#define AUTHORITY   0
#define MACHINE     1


/* the table, the code or status of it, and what the hint has to speak of */
typedef struct {
    const char             *table;
    const char             *code;
    long                    status;
    int                     where;
    const char             *about;
} row_t;


static void
check(const row_t *row)
{
    const char  *hint;

    hint = row->where == MACHINE
           ? aad_hint_of_machine(row->code, row->code, row->status)
           : aad_hint_of_authority(row->code, row->code, row->status);

    if (hint == NULL) {
        fail_msg("%s: %s %ld has no hint", row->table, row->code,
                 row->status);
        return;
    }

    if (strstr(hint, row->about) == NULL) {
        fail_msg("%s: the hint of %s %ld is not about \"%s\" but \"%s\"",
                 row->table, row->code, row->status, row->about, hint);
    }

    /* the whole of an entry has little more than two thousand bytes */

    if (strlen(hint) > 180) {
        fail_msg("%s: the hint of %s %ld has %zu bytes", row->table,
                 row->code, row->status, strlen(hint));
    }
}


static void
test_2_4_federation_errors(void **state)
{
    size_t  i;

    static const row_t  rows[] = {
        { "2.4", "AADSTS70021",  400, AUTHORITY, "issuer, subject" },
        { "2.4", "AADSTS700213", 400, AUTHORITY, "subject" },
        { "2.4", "AADSTS700211", 400, AUTHORITY, "issuer" },
        { "2.4", "AADSTS700212", 400, AUTHORITY, "audience" },
        { "2.4", "AADSTS700024", 401, AUTHORITY, "clock" },
        { "2.4", "AADSTS90061",  400, AUTHORITY, "openid-configuration" },
        { "2.4", "AADSTS700016", 400, AUTHORITY, "client id" }
    };

    (void) state;

    for (i = 0; i < unit_count(rows); i++) {
        check(&rows[i]);
    }
}


static void
test_3_4_imds_errors(void **state)
{
    size_t  i;

    static const row_t  rows[] = {
        { "3.4", "bad_request_102",     400, MACHINE, "Metadata: true" },
        { "3.4", "invalid_resource",    400, MACHINE, "aoai_aad_scope" },
        { "3.4", "AADSTS50001",         400, MACHINE, "aoai_aad_scope" },
        { "3.4", "AADSTS500011",        400, MACHINE, "aoai_aad_scope" },
        { "3.4", "invalid_request",     400, MACHINE, "assign" },
        { "3.4", "unknown_source",      401, MACHINE, "endpoint" },
        { "3.4", "unauthorized_client", 401, MACHINE, "endpoint" },
        { "3.4", "",                    403, MACHINE, "firewall" },
        { "3.4", "",                    404, MACHINE, "updated" },
        { "3.4", "not_found",           404, MACHINE, "updated" },
        { "3.4", "",                    410, MACHINE, "70 seconds" },
        { "3.4", "",                    429, MACHINE, "too many requests" },
        { "3.4", "unknown",             500, MACHINE, "passes" },
        { "3.4", "",                    503, MACHINE, "passes" },
        { "3.4", "",                    302, MACHINE, "redirect" }
    };

    (void) state;

    for (i = 0; i < unit_count(rows); i++) {
        check(&rows[i]);
    }
}


static void
test_3_7_cloud_shell_and_service_fabric_errors(void **state)
{
    size_t  i;

    static const row_t  rows[] = {
        { "3.7", "AudienceNotSupported",    400, MACHINE, "scope" },
        { "3.7", "SecretHeaderNotFound",    401, MACHINE, "IDENTITY_HEADER" },
        { "3.7", "ManagedIdentityNotFound", 404, MACHINE, "assign" },
        { "3.7", "ArgumentNullOrEmpty",     400, MACHINE, "endpoint" },
        { "3.7", "InvalidApiVersion",       400, MACHINE, "runtime" }
    };

    (void) state;

    for (i = 0; i < unit_count(rows); i++) {
        check(&rows[i]);
    }
}


static void
test_6_on_behalf_of_errors(void **state)
{
    size_t  i;

    static const row_t  rows[] = {
        { "6", "interaction_required", 400, AUTHORITY, "second factor" },
        { "6", "AADSTS50076",          400, AUTHORITY, "second factor" },
        { "6", "AADSTS50079",          400, AUTHORITY, "second factor" },
        { "6", "AADSTS50158",          400, AUTHORITY, "second factor" },
        { "6", "AADSTS53003",          400, AUTHORITY, "Conditional Access" },
        { "6", "invalid_grant",        400, AUTHORITY, "expired" },
        { "6", "AADSTS65001",          400, AUTHORITY, "consent" },
        { "6", "AADSTS50013",          400, AUTHORITY, "audience" },
        { "6", "AADSTS500133",         400, AUTHORITY, "expired" },
        { "6", "AADSTS7000114",        400, AUTHORITY, "app" },
        { "6", "AADSTS70043",          400, AUTHORITY, "sign in" },
        { "6", "AADSTS700082",         400, AUTHORITY, "sign in" },
        { "6", "AADSTS50105",          400, AUTHORITY, "assign" },
        { "6", "invalid_request",      400, AUTHORITY, "tenant" },
        { "6", "AADSTS50027",          400, AUTHORITY, "no JWT" },
        { "6", "AADSTS900144",         400, AUTHORITY, "parameter" },
        { "6", "invalid_client",       401, AUTHORITY, "secret" },
        { "6", "AADSTS7000215",        401, AUTHORITY, "secret's value" },
        { "6", "AADSTS7000222",        401, AUTHORITY, "expired" }
    };

    (void) state;

    for (i = 0; i < unit_count(rows); i++) {
        check(&rows[i]);
    }
}


static void
test_7_federated_managed_identity_errors(void **state)
{
    size_t  i;

    static const row_t  rows[] = {
        { "7", "AADSTS700211",  400, AUTHORITY, "issuer" },
        { "7", "AADSTS700212",  400, AUTHORITY, "api://AzureADTokenExch" },
        { "7", "AADSTS700213",  400, AUTHORITY, "object id" },
        { "7", "AADSTS700229",  400, AUTHORITY, "managed identity" },
        { "7", "AADSTS700016",  400, AUTHORITY, "client id" },
        { "7", "AADSTS7000229", 400, AUTHORITY, "service principal" }
    };

    (void) state;

    for (i = 0; i < unit_count(rows); i++) {
        check(&rows[i]);
    }
}


static void
test_8_6_codes_worth_a_hint(void **state)
{
    size_t  i;

    static const row_t  rows[] = {
        { "8.6", "AADSTS7000215", 401, AUTHORITY, "secret's value" },
        { "8.6", "AADSTS7000222", 401, AUTHORITY, "expired" },
        { "8.6", "AADSTS7000218", 401, AUTHORITY, "neither secret" },
        { "8.6", "AADSTS700016",  400, AUTHORITY, "client id" },
        { "8.6", "AADSTS7000229", 400, AUTHORITY, "service principal" },
        { "8.6", "AADSTS7000112", 400, AUTHORITY, "disabled" },
        { "8.6", "AADSTS90002",   400, AUTHORITY, "no such tenant" },
        { "8.6", "AADSTS900023",  400, AUTHORITY, "wrong form" },
        { "8.6", "AADSTS900021",  400, AUTHORITY, "wrong form" },
        { "8.6", "AADSTS50059",   400, AUTHORITY, "no tenant" },
        { "8.6", "AADSTS500011",  400, AUTHORITY, "aoai_aad_scope" },
        { "8.6", "AADSTS50001",   400, AUTHORITY, "aoai_aad_scope" },
        { "8.6", "AADSTS70011",   400, AUTHORITY, "/.default" },
        { "8.6", "AADSTS1002012", 400, AUTHORITY, "/.default" },
        { "8.6", "AADSTS700027",  401, AUTHORITY, "certificate" },
        { "8.6", "AADSTS700021",  401, AUTHORITY, "client id" },
        { "8.6", "AADSTS700023",  401, AUTHORITY, "audience" },
        { "8.6", "AADSTS700024",  401, AUTHORITY, "clock" },
        { "8.6", "AADSTS50027",   400, AUTHORITY, "no JWT" },
        { "8.6", "AADSTS5002723", 400, AUTHORITY, "no JWT" },
        { "8.6", "AADSTS70021",   400, AUTHORITY, "federated" },
        { "8.6", "AADSTS700211",  400, AUTHORITY, "issuer" },
        { "8.6", "AADSTS700212",  400, AUTHORITY, "audience" },
        { "8.6", "AADSTS700213",  400, AUTHORITY, "subject" },
        { "8.6", "AADSTS700229",  400, AUTHORITY, "app's token" },
        { "8.6", "AADSTS90061",   400, AUTHORITY, "keys" },
        { "8.6", "AADSTS53003",   400, AUTHORITY, "Conditional Access" },
        { "8.6", "AADSTS530032",  400, AUTHORITY, "security defaults" },
        { "8.6", "AADSTS530033",  400, AUTHORITY, "security defaults" },
        { "8.6", "AADSTS530034",  400, AUTHORITY, "security defaults" },
        { "8.6", "AADSTS530035",  400, AUTHORITY, "security defaults" },
        { "8.6", "AADSTS50076",   400, AUTHORITY, "second factor" },
        { "8.6", "AADSTS50079",   400, AUTHORITY, "second factor" },
        { "8.6", "AADSTS50158",   400, AUTHORITY, "second factor" },
        { "8.6", "AADSTS65001",   400, AUTHORITY, "consent" },
        { "8.6", "AADSTS50013",   400, AUTHORITY, "audience" },
        { "8.6", "AADSTS500133",  400, AUTHORITY, "expired" },
        { "8.6", "AADSTS90033",   503, AUTHORITY, "passes" },
        { "8.6", "AADSTS90006",   503, AUTHORITY, "passes" },
        { "8.6", "AADSTS90024",   503, AUTHORITY, "passes" },
        { "8.6", "AADSTS90055",   503, AUTHORITY, "passes" },
        { "8.6", "AADSTS50196",   400, AUTHORITY, "equal requests" }
    };

    (void) state;

    for (i = 0; i < unit_count(rows); i++) {
        check(&rows[i]);
    }
}


static void
test_8_5_words_and_statuses_of_the_token_endpoint(void **state)
{
    size_t  i;

    static const row_t  rows[] = {
        { "8.5", "invalid_client",          401, AUTHORITY, "secret" },
        { "8.5", "invalid_request",         400, AUTHORITY, "tenant" },
        { "8.5", "invalid_grant",           400, AUTHORITY, "expired" },
        { "8.5", "invalid_scope",           400, AUTHORITY, "/.default" },
        { "8.5", "unauthorized_client",     400, AUTHORITY, "client id" },
        { "8.5", "invalid_resource",        400, AUTHORITY, "aoai_aad_sc" },
        { "8.5", "interaction_required",    400, AUTHORITY, "second factor" },
        { "8.5", "temporarily_unavailable", 503, AUTHORITY, "passes" },
        { "8.5", "server_error",            500, AUTHORITY, "passes" },
        { "8.5", "",                        429, AUTHORITY, "too many" },
        { "8.5", "",                        500, AUTHORITY, "passes" },
        { "8.5", "",                        503, AUTHORITY, "passes" },
        { "8.5", "",                        302, AUTHORITY, "redirect" },
        { "8.5", "",                        403, AUTHORITY, "firewalls" },
        { "8.5", "",                        404, AUTHORITY, "aoai_aad_auth" },
        { "8.5", "",                        407, AUTHORITY, "aoai_aad_prox" }
    };

    (void) state;

    for (i = 0; i < unit_count(rows); i++) {
        check(&rows[i]);
    }
}


static void
test_11_4_what_the_service_says_of_a_token(void **state)
{
    size_t  i;

    static const row_t  rows[] = {
        { "11.4", "PermissionDenied", 401, AUTHORITY,
          "\"Cognitive Services OpenAI User\"" },
        { "11.4", "Tenant provided in token does not match resource token",
          400, AUTHORITY, "two tenants" }
    };

    (void) state;

    for (i = 0; i < unit_count(rows); i++) {
        check(&rows[i]);
        assert_non_null(aad_hint(rows[i].code));
    }
}


static void
test_a_code_counts_more_than_a_word_and_that_than_a_status(void **state)
{
    (void) state;

    unit_assert_contains(aad_hint_of_authority("AADSTS90002",
                                               "invalid_request", 400),
                         "no such tenant");
    unit_assert_contains(aad_hint_of_authority("AADSTS1", "invalid_client",
                                               500),
                         "secret");
    unit_assert_contains(aad_hint_of_authority("AADSTS1", "x", 500),
                         "passes");
    unit_assert_contains(aad_hint_of_machine("AADSTS500011",
                                             "invalid_request", 400),
                         "aoai_aad_scope");
    unit_assert_contains(aad_hint_of_machine("AADSTS1", "invalid_request",
                                             400),
                         "assign");
}


static void
test_other_codes_have_none(void **state)
{
    size_t  i;

    static const char *const  codes[] = {
        "", "x", "7000215", "aadsts7000215", "AADSTS", "AADSTS0",
        "AADSTS-7000215", "AADSTS1", "AADSTS70002150", "AADSTS7000215 ",
        "AADSTS70011999999999999999999999999", "INVALID_CLIENT"
    };

    (void) state;

    for (i = 0; i < unit_count(codes); i++) {
        assert_null(aad_hint(codes[i]));
        assert_null(aad_hint_of_authority(codes[i], codes[i], 400));
        assert_null(aad_hint_of_machine(codes[i], codes[i], 400));
        assert_null(aad_hint_of_machine(codes[i], codes[i], 0));
    }
}


int
main(void)
{
    static const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_2_4_federation_errors),
        cmocka_unit_test(test_3_4_imds_errors),
        cmocka_unit_test(test_3_7_cloud_shell_and_service_fabric_errors),
        cmocka_unit_test(test_6_on_behalf_of_errors),
        cmocka_unit_test(test_7_federated_managed_identity_errors),
        cmocka_unit_test(test_8_6_codes_worth_a_hint),
        cmocka_unit_test(test_8_5_words_and_statuses_of_the_token_endpoint),
        cmocka_unit_test(test_11_4_what_the_service_says_of_a_token),
        cmocka_unit_test(
            test_a_code_counts_more_than_a_word_and_that_than_a_status),
        cmocka_unit_test(test_other_codes_have_none)
    };

    return cmocka_run_group_tests_name("hint", tests, NULL, NULL);
}
