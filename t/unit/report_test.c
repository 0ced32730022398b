
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * "Why have I no token" in one line, in all the room there is and in little.
 */


#include "check.h"


/* what is left of a line of nginx's log */
#define ROOM    1632


/* One step's part; texts are static. */
static void
step(aad_report_t *report, const char *credential, aad_result_t result,
    const char *reason, const char *hint)
{
    aad_attempt_t  *attempt;

    attempt = &report->attempts[report->count++];

    attempt->credential = credential;
    attempt->result = result;
    attempt->hint = hint;
    snprintf(attempt->reason, sizeof(attempt->reason), "%s", reason);
}


static void
ids(aad_report_t *report, const char *correlation_id, const char *trace_id)
{
    aad_attempt_t  *attempt;

    attempt = &report->attempts[report->count - 1];

    snprintf(attempt->correlation_id, sizeof(attempt->correlation_id), "%s",
             correlation_id);
    snprintf(attempt->trace_id, sizeof(attempt->trace_id), "%s", trace_id);
}


/* a reason of so many bytes */
static const char *
words(size_t length)
{
    static char  text[AAD_REASON_BYTES];

    memset(text, 'x', length);
    text[length] = '\0';

    return text;
}


static void
test_each_step_says_its_reason(void **state)
{
    char          text[ROOM];
    size_t        length;
    aad_report_t  report;

    (void) state;

    memset(&report, 0, sizeof(aad_report_t));
    step(&report, "workload_identity", AAD_UNAVAILABLE,
         "AZURE_FEDERATED_TOKEN_FILE is not set", NULL);
    step(&report, "environment", AAD_FAILED, "status 401, invalid_client: "
         "AADSTS7000215: Invalid client secret", "the secret is wrong");
    ids(&report, UNIT_OBJECT, UNIT_CLIENT);
    report.skipped[report.skipped_count++] = "azure_cli";
    report.skipped[report.skipped_count++] = "azure_developer_cli";

    length = aad_report_text(&report, text, sizeof(text));
    assert_int_equal(length, strlen(text));
    assert_string_equal(text,
        "workload_identity is unavailable: AZURE_FEDERATED_TOKEN_FILE is not "
        "set; environment failed: status 401, invalid_client: AADSTS7000215: "
        "Invalid client secret (correlation id " UNIT_OBJECT ", trace id "
        UNIT_CLIENT "), which means: the secret is wrong; not asked: "
        "azure_cli, azure_developer_cli");
}


/* "status 500" alone is not what a code is looked up by */
static void
test_a_code_is_said_once(void **state)
{
    char          text[ROOM];
    aad_report_t  report;

    (void) state;

    memset(&report, 0, sizeof(aad_report_t));
    step(&report, "environment", AAD_FAILED, "it was refused", NULL);
    strcpy(report.attempts[0].code, "AADSTS7000215");

    (void) aad_report_text(&report, text, sizeof(text));
    assert_string_equal(text, "environment failed: it was refused (code "
                        "AADSTS7000215)");

    strcpy(report.attempts[0].reason, "AADSTS7000215: it was refused");

    (void) aad_report_text(&report, text, sizeof(text));
    assert_string_equal(text, "environment failed: AADSTS7000215: it was "
                        "refused");
}


static void
test_what_is_not_there_leaves_no_trace(void **state)
{
    char          text[ROOM];
    aad_report_t  report;

    (void) state;

    memset(&report, 0, sizeof(aad_report_t));
    assert_int_equal(aad_report_text(&report, text, sizeof(text)), 0);
    assert_string_equal(text, "");

    step(&report, "a", AAD_FAILED, "", NULL);
    ids(&report, "", UNIT_CLIENT);
    step(&report, "b", AAD_OK, "an earlier try", "of an earlier try");
    ids(&report, UNIT_OBJECT, UNIT_OBJECT);

    (void) aad_report_text(&report, text, sizeof(text));
    assert_string_equal(text, "a failed (trace id " UNIT_CLIENT "); "
                        "b gave a token");
}


static void
test_eight_steps_with_long_reasons_are_all_there(void **state)
{
    char          text[ROOM], name[32];
    size_t        i, shown, least, most;
    const char   *p, *end;
    aad_report_t  report;

    static const char *const  types[] = {
        "workload_identity", "managed_identity", "environment", "azure_cli",
        "azure_developer_cli", "client_certificate", "client_secret",
        "federated_managed_identity"
    };

    (void) state;

    memset(&report, 0, sizeof(aad_report_t));

    for (i = 0; i < unit_count(types); i++) {
        step(&report, types[i], i == 7 ? AAD_FAILED : AAD_UNAVAILABLE,
             words(AAD_REASON_BYTES - 1),
             i == 7 ? "no federated credential of the app has this subject; "
                      "of a managed identity it is the object id" : NULL);
    }

    ids(&report, UNIT_OBJECT, UNIT_CLIENT);

    (void) aad_report_text(&report, text, sizeof(text));

    least = sizeof(text);
    most = 0;

    for (i = 0; i < unit_count(types); i++) {
        snprintf(name, sizeof(name), "%s ", types[i]);
        p = strstr(text, name);
        assert_non_null(p);

        p = strstr(p, ": x") + 2;
        end = strstr(p, "...");
        assert_non_null(end);

        shown = end - p;
        least = shown < least ? shown : least;
        most = shown > most ? shown : most;
    }

    /* all have the same share, and nothing of the room is wasted */

    assert_int_equal(least, most);
    assert_in_range(least, 60, AAD_REASON_BYTES);
    assert_in_range(strlen(text), sizeof(text) - 10, sizeof(text) - 1);

    unit_assert_contains(text, "(correlation id " UNIT_OBJECT ", trace id "
                         UNIT_CLIENT "), which means: no federated "
                         "credential of the app has this subject; of a "
                         "managed identity it is the object id");
}


static void
test_short_reasons_leave_their_share_to_long_ones(void **state)
{
    char          text[560];
    aad_report_t  report;

    (void) state;

    memset(&report, 0, sizeof(aad_report_t));
    step(&report, "a", AAD_UNAVAILABLE, "AZURE_TENANT_ID is not set", NULL);
    step(&report, "b", AAD_UNAVAILABLE, words(400), NULL);
    step(&report, "c", AAD_FAILED, words(200), NULL);

    (void) aad_report_text(&report, text, sizeof(text));

    unit_assert_contains(text, "AZURE_TENANT_ID is not set;");
    unit_assert_contains(text, words(200));
    unit_assert_lacks(text, words(400));
    assert_in_range(strlen(text), sizeof(text) - 3, sizeof(text) - 1);
}


static void
test_last_steps_ids_and_hint_are_never_cut(void **state)
{
    char          text[4096];
    size_t        i, size, length;
    aad_report_t  report;

    static const char  hint[] = "a hint that is as long as the longest one "
        "may be, which has not much less than two hundred bytes, for that is "
        "how much there is to say of the worst of all that can go wrong";

    (void) state;

    memset(&report, 0, sizeof(aad_report_t));

    for (i = 0; i < AAD_CHAIN_STEPS_MAX; i++) {
        step(&report, "federated_managed_identity",
             i + 1 < AAD_CHAIN_STEPS_MAX ? AAD_UNAVAILABLE : AAD_FAILED,
             words(AAD_REASON_BYTES - 1),
             i + 1 < AAD_CHAIN_STEPS_MAX ? "of another step" : hint);
        ids(&report, i + 1 < AAD_CHAIN_STEPS_MAX ? UNIT_TENANT : UNIT_OBJECT,
            i + 1 < AAD_CHAIN_STEPS_MAX ? UNIT_TENANT : UNIT_CLIENT);
    }

    for (size = AAD_REPORT_BYTES_MIN; size <= sizeof(text); size++) {

        memset(text, '#', sizeof(text));

        length = aad_report_text(&report, text, size);
        assert_int_equal(length, strlen(text));
        assert_true(strlen(text) < size);
        unit_assert_contains(text, "federated_managed_identity failed: xxx");
        unit_assert_contains(text, "(correlation id " UNIT_OBJECT
                             ", trace id " UNIT_CLIENT ")");
        unit_assert_contains(text, hint);
    }
}


static void
test_what_is_left_out_is_the_least_telling(void **state)
{
    char          text[4096];
    size_t        i, size;
    aad_report_t  report;

    (void) state;

    memset(&report, 0, sizeof(aad_report_t));

    for (i = 0; i < 3; i++) {
        step(&report, "step", AAD_UNAVAILABLE, words(300), "a hint");
        ids(&report, UNIT_OBJECT, UNIT_CLIENT);
    }

    step(&report, "last", AAD_FAILED, words(300), NULL);
    report.skipped[report.skipped_count++] = "another";

    for (size = sizeof(text); size > 256; size--) {

        (void) aad_report_text(&report, text, size);

        if (strstr(text, UNIT_CLIENT) != NULL) {
            unit_assert_contains(text, "a hint");
        }

        if (strstr(text, "a hint") != NULL) {
            unit_assert_contains(text, UNIT_OBJECT);
        }

        if (strstr(text, UNIT_OBJECT) != NULL) {
            unit_assert_contains(text, "not asked: another");
        }

        unit_assert_contains(text, "step is unavailable: xxx");
        unit_assert_contains(text, "last failed: xxx");
    }
}


static void
test_no_room_is_no_harm(void **state)
{
    char          text[64];
    size_t        size, length;
    aad_report_t  report;

    (void) state;

    memset(&report, 0, sizeof(aad_report_t));
    step(&report, "azure_cli", AAD_FAILED, words(300), "a hint");

    for (size = 0; size < sizeof(text); size++) {
        memset(text, '#', sizeof(text));

        length = aad_report_text(&report, text, size);
        assert_int_equal(length, size != 0 ? strlen(text) : 0);
        assert_int_equal(text[size], '#');
    }
}


static void
test_words_are_no_format(void **state)
{
    char          text[ROOM];
    aad_report_t  report;

    (void) state;

    memset(&report, 0, sizeof(aad_report_t));
    step(&report, "a", AAD_FAILED, "%s%n%1000d", NULL);

    (void) aad_report_text(&report, text, sizeof(text));
    assert_string_equal(text, "a failed: %s%n%1000d");
}


int
main(void)
{
    static const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_each_step_says_its_reason),
        cmocka_unit_test(test_a_code_is_said_once),
        cmocka_unit_test(test_what_is_not_there_leaves_no_trace),
        cmocka_unit_test(test_eight_steps_with_long_reasons_are_all_there),
        cmocka_unit_test(test_short_reasons_leave_their_share_to_long_ones),
        cmocka_unit_test(test_last_steps_ids_and_hint_are_never_cut),
        cmocka_unit_test(test_what_is_left_out_is_the_least_telling),
        cmocka_unit_test(test_no_room_is_no_harm),
        cmocka_unit_test(test_words_are_no_format)
    };

    return cmocka_run_group_tests_name("report", tests, NULL, NULL);
}
