
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * What to do about an error code of Entra ID.
 */


#include "check.h"


static void
test_known_codes_have_a_hint(void **state)
{
    size_t       i;
    const char  *hint;

    static const char *const  hints[][2] = {
        { "AADSTS7000215", "the secret's value" },
        { "AADSTS7000222", "expired" },
        { "AADSTS700016",  "client id" },
        { "AADSTS90002",   "tenant" },
        { "AADSTS500011",  "scope" },
        { "AADSTS50001",   "scope" },
        { "AADSTS70011",   "/.default" },
        { "AADSTS1002012", "/.default" },
        { "AADSTS700027",  "certificate" },
        { "AADSTS700024",  "clock" },
        { "AADSTS70021",   "federated" },
        { "AADSTS700213",  "subject" },
        { "AADSTS53003",   "Conditional Access" }
    };

    (void) state;

    for (i = 0; i < unit_count(hints); i++) {

        hint = aad_hint(hints[i][0]);

        if (hint == NULL) {
            fail_msg("%s has no hint", hints[i][0]);
            return;
        }

        unit_assert_contains(hint, hints[i][1]);
    }
}


static void
test_other_codes_have_none(void **state)
{
    size_t  i;

    static const char *const  codes[] = {
        "", "x", "invalid_client", "7000215", "aadsts7000215", "AADSTS",
        "AADSTS0", "AADSTS-7000215", "AADSTS1", "AADSTS70002150",
        "AADSTS70011999999999999999999999999"
    };

    (void) state;

    for (i = 0; i < unit_count(codes); i++) {
        assert_null(aad_hint(codes[i]));
    }
}


int
main(void)
{
    static const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_known_codes_have_a_hint),
        cmocka_unit_test(test_other_codes_have_none)
    };

    return cmocka_run_group_tests_name("hint", tests, NULL, NULL);
}
