
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * The Azure CLI: how az is found and called, and what its words mean.  A
 * shell script stands in for it.
 */


#include "identity.h"


#define AZ_TOKEN  "printf '%s' '{\"accessToken\":\"az-token\","               \
                  "\"expiresOn\":\"2026-11-23 20:42:40.000000\","             \
                  "\"expires_on\":1700003600,\"tokenType\":\"Bearer\"}'\n"

/* it notes its arguments and its environment beside itself */
#define AZ_NOTES  "printf '<%s>' \"$0\" \"$@\" > \"${0%/*}/arguments\"\n"     \
                  "/usr/bin/env > \"${0%/*}/environment\"\n"


/* An az that runs this, in the directory that PATH names. */
static void
az(unit_identity_t *identity, const char *script)
{
    char    text[4096];
    size_t  length;

    length = snprintf(text, sizeof(text), "#!/bin/sh\n%s", script);

    unit_file(identity->directory, "az", text, length, 0700);
    unit_identity_variable(identity, "PATH", identity->directory);
}


static int
teardown(void **state)
{
    unit_identity_t  *identity = *state;

    unit_remove(identity->directory, "az");
    unit_remove(identity->directory, "arguments");
    unit_remove(identity->directory, "environment");

    return unit_identity_teardown(state);
}


/* the program's own file name, as it is found in PATH */
static void
az_file(const unit_identity_t *identity, char *file, size_t size)
{
    snprintf(file, size, "%s/az", identity->directory);
}


static void
check_arguments(unit_identity_t *identity, const char *file,
    const char *arguments)
{
    char  expected[1024], noted[1024];

    snprintf(expected, sizeof(expected), "<%s><account><get-access-token>"
             "<--output><json><--resource><" UNIT_RESOURCE ">%s", file,
             arguments);
    unit_read(identity->directory, "arguments", noted, sizeof(noted));
    assert_string_equal(noted, expected);
}


static void
test_4_1_command_and_launch(void **state)
{
    char              file[512];
    unit_identity_t  *identity = *state;

    az(identity, AZ_NOTES AZ_TOKEN);
    unit_identity_step(identity, "azure_cli", NULL);

    assert_int_equal(unit_identity_ask(identity), AAD_OK);
    assert_string_equal(identity->token.access_token.data, "az-token");
    assert_string_equal(identity->token.credential, "azure_cli");
    assert_int_equal(identity->token.expires_on, 1700003600);

    az_file(identity, file, sizeof(file));
    check_arguments(identity, file, "");
}


static void
test_4_1_launch_by_path(void **state)
{
    char              file[512];
    unit_identity_t  *identity = *state;

    az(identity, AZ_NOTES AZ_TOKEN);
    unit_identity_variable(identity, "PATH", "/nonexistent");

    snprintf(file, sizeof(file), "%saz", identity->directory);
    unit_identity_step(identity, "azure_cli", "path", file, NULL);

    assert_int_equal(unit_identity_ask(identity), AAD_OK);
    check_arguments(identity, file, "");
}


static void
test_4_1_command_with_a_tenant(void **state)
{
    char              file[512];
    unit_identity_t  *identity = *state;

    az(identity, AZ_NOTES AZ_TOKEN);
    unit_identity_step(identity, "azure_cli", "tenant_id", UNIT_TENANT, NULL);

    assert_int_equal(unit_identity_ask(identity), AAD_OK);

    az_file(identity, file, sizeof(file));
    check_arguments(identity, file, "<--tenant><" UNIT_TENANT ">");
}


static void
test_4_1_command_with_a_subscription(void **state)
{
    char              file[512];
    unit_identity_t  *identity = *state;

    az(identity, AZ_NOTES AZ_TOKEN);
    unit_identity_step(identity, "azure_cli", "subscription", "My Azure", NULL);

    assert_int_equal(unit_identity_ask(identity), AAD_OK);

    az_file(identity, file, sizeof(file));
    check_arguments(identity, file, "<--subscription><My Azure>");
}


static int
compare_lines(const void *one, const void *other)
{
    return strcmp(*(const char *const *) one, *(const char *const *) other);
}


/* A text's lines in order; the shell adds PWD and the like of its own. */
static size_t
sorted_lines(char *text, char **lines, size_t most)
{
    char    *line, *rest;
    size_t   count;

    count = 0;

    for (line = strtok_r(text, "\n", &rest); line != NULL && count < most;
         line = strtok_r(NULL, "\n", &rest))
    {
        if (strncmp(line, "PWD=", 4) != 0 && strncmp(line, "OLDPWD=", 7) != 0
            && strncmp(line, "SHLVL=", 6) != 0 && strncmp(line, "_=", 2) != 0)
        {
            lines[count++] = line;
        }
    }

    qsort(lines, count, sizeof(char *), compare_lines);

    return count;
}


static void
test_4_1_environment(void **state)
{
    char              noted[2048], path[512];
    char             *lines[16];
    size_t            i, count;
    unit_identity_t  *identity = *state;

    const char *const  expected[] = {
        "AZURE_CONFIG_DIR=/home/user/azure", "AZURE_CORE_NO_COLOR=true",
        "HOME=/home/user", "HTTPS_PROXY=http://user:secret@127.0.0.1:1",
        "NO_PROXY=localhost", path, "REQUESTS_CA_BUNDLE=/etc/ca.pem",
        "https_proxy=http://127.0.0.1:2", "no_proxy=127.0.0.1"
    };

    snprintf(path, sizeof(path), "PATH=%s", identity->directory);
    az(identity, AZ_NOTES AZ_TOKEN);

    unit_identity_variable(identity, "HOME", "/home/user");
    unit_identity_variable(identity, "AZURE_CONFIG_DIR", "/home/user/azure");
    unit_identity_variable(identity, "HTTPS_PROXY",
                           "http://user:secret@127.0.0.1:1");
    unit_identity_variable(identity, "NO_PROXY", "localhost");
    unit_identity_variable(identity, "https_proxy", "http://127.0.0.1:2");
    unit_identity_variable(identity, "no_proxy", "127.0.0.1");
    unit_identity_variable(identity, "REQUESTS_CA_BUNDLE", "/etc/ca.pem");
    unit_identity_variable(identity, "AZURE_CLIENT_SECRET", "secret");
    unit_identity_variable(identity, "LD_PRELOAD", "/tmp/x");

    unit_identity_step(identity, "azure_cli", NULL);
    assert_int_equal(setenv("UNIT_OF_THE_PROCESS", "1", 1), 0);
    assert_int_equal(unit_identity_ask(identity), AAD_OK);
    assert_int_equal(unsetenv("UNIT_OF_THE_PROCESS"), 0);

    unit_read(identity->directory, "environment", noted, sizeof(noted));
    count = sorted_lines(noted, lines, unit_count(lines));

    assert_int_equal(count, unit_count(expected));

    for (i = 0; i < count; i++) {
        assert_string_equal(lines[i], expected[i]);
    }
}


/* The step behind az is asked, and az's own says this. */
static void
check_handed_on(unit_identity_t *identity, const char *reason)
{
    unit_identity_secret_step(identity, "secret");
    unit_server_answer(&identity->authority, 200, "", UNIT_APP_TOKEN);

    assert_int_equal(unit_identity_ask_step(identity, AAD_CHAIN_STEPS_MAX,
                                            20000), AAD_OK);
    assert_int_equal(identity->token.step, 1);
    assert_int_equal(identity->report.attempts[0].result, AAD_UNAVAILABLE);
    unit_assert_contains(unit_identity_reason(identity, 0), reason);
}


static void
test_4_4_az_missing(void **state)
{
    unit_identity_t  *identity = *state;

    unit_identity_variable(identity, "PATH", identity->directory);
    unit_identity_step(identity, "azure_cli", NULL);

    check_handed_on(identity, "az is not installed");
}


static void
test_4_4_az_missing_where_it_was_named(void **state)
{
    unit_identity_t  *identity = *state;

    unit_identity_step(identity, "azure_cli", "path", "/nonexistent/az", NULL);

    check_handed_on(identity, "cannot execute /nonexistent/az: No such file");
}


static void
test_4_1_az_is_never_of_the_current_directory(void **state)
{
    char              before[UNIT_PATH_BYTES];
    aad_result_t      result;
    unit_identity_t  *identity = *state;

    az(identity, AZ_TOKEN);
    unit_identity_variable(identity, "PATH", ":.::relative:/nonexistent:");
    unit_identity_step(identity, "azure_cli", NULL);

    assert_non_null(getcwd(before, sizeof(before)));
    assert_int_equal(chdir(identity->directory), 0);
    result = unit_identity_ask(identity);
    assert_int_equal(chdir(before), 0);

    assert_int_equal(result, AAD_UNAVAILABLE);
    unit_assert_contains(unit_identity_reason(identity, 0),
                         "az is not installed");
}


static void
test_later_entries_of_path_are_searched(void **state)
{
    char              path[512];
    unit_identity_t  *identity = *state;

    az(identity, AZ_TOKEN);
    snprintf(path, sizeof(path), "/nonexistent:%s:/nonexistent",
             identity->directory);
    unit_identity_variable(identity, "PATH", path);
    unit_identity_step(identity, "azure_cli", NULL);

    assert_int_equal(unit_identity_ask(identity), AAD_OK);
}


static void
test_4_4_not_logged_in(void **state)
{
    unit_identity_t  *identity = *state;

    az(identity, "echo \"ERROR: Please run 'az login' to setup account.\" >&2"
       "\nexit 1\n");
    unit_identity_step(identity, "azure_cli", NULL);

    check_handed_on(identity, "az is not logged in");
}


static void
test_4_4_not_logged_in_to_an_account(void **state)
{
    unit_identity_t  *identity = *state;

    az(identity, "echo \"Please run 'az account set' to select\" >&2\n"
       "exit 1\n");
    unit_identity_step(identity, "azure_cli", NULL);

    check_handed_on(identity, "az is not logged in");
}


static void
test_4_4_az_that_lacks_its_interpreter(void **state)
{
    unit_identity_t  *identity = *state;

    /* as a shell ends that finds no Python, Python's rule for az too */

    az(identity, "exec /nonexistent/python3 -m azure.cli\n");
    unit_identity_step(identity, "azure_cli", NULL);

    check_handed_on(identity, "");
}


static void
test_4_4_timeout(void **state)
{
    int64_t           started_ms;
    unit_identity_t  *identity = *state;

    /* its ten seconds pass in one */

    identity->clock.speed = 10;

    az(identity, "/bin/sleep 8\n" AZ_TOKEN);
    unit_identity_step(identity, "azure_cli", NULL);
    started_ms = unit_real_ms();

    check_handed_on(identity, "did not end in time");
    assert_in_range(unit_real_ms() - started_ms, 900, 3000);
}


static void
test_4_4_needs_interaction(void **state)
{
    unit_identity_t      *identity = *state;
    const aad_attempt_t  *attempt;

    az(identity, "echo 'ERROR: AADSTS50076: Due to a change you must use "
       "multi-factor authentication. Trace ID: " UNIT_CLIENT " Correlation "
       "ID: " UNIT_OBJECT " Timestamp: 1' >&2\n"
       "echo 'Interactive authentication is needed. Please run:' >&2\n"
       "echo 'az login' >&2\nexit 1\n");
    unit_identity_step(identity, "azure_cli", NULL);
    unit_identity_secret_step(identity, "secret");

    assert_int_equal(unit_identity_ask(identity), AAD_FAILED);
    assert_int_equal(identity->report.count, 1);

    attempt = &identity->report.attempts[0];

    assert_string_equal(attempt->code, "AADSTS50076");
    unit_assert_contains(attempt->reason, "az ended with code 1: ERROR: "
                         "AADSTS50076: Due to a change");
    unit_assert_lacks(attempt->reason, "Interactive");
    unit_assert_lacks(attempt->reason, "Trace ID");
    assert_string_equal(attempt->trace_id, UNIT_CLIENT);
    assert_string_equal(attempt->correlation_id, UNIT_OBJECT);
    unit_assert_contains(attempt->hint, "second factor");
    assert_int_equal(unit_server_requests(&identity->authority), 0);
}


static void
test_4_4_other_errors_and_bad_json(void **state)
{
    size_t            i;
    unit_identity_t  *identity = *state;

    static const char *const  scripts[][2] = {
        { "echo \"ERROR: Subscription 'x' not found. Check the spelling.\" "
          ">&2\nexit 1\n",
          "az ended with code 1: ERROR: Subscription 'x' not found." },
        { "echo 'ERROR: unrecognized arguments: --x' >&2\nexit 2\n",
          "az ended with code 2: ERROR: unrecognized arguments" },
        { "printf 'one\\033[31m\\ttwo\\nthree' >&2\nexit 1\n",
          "az ended with code 1: one?[31m two" },
        { "exit 3\n", "az ended with code 3: the answer is no JSON object" },
        { "echo '{}'\n", "az ended with code 0: the answer has no access" },
        { "kill -KILL $$\n", "az ended with code -1: the answer is no JSON" }
    };

    unit_identity_variable(identity, "PATH", identity->directory);
    unit_identity_step(identity, "azure_cli", NULL);
    unit_identity_secret_step(identity, "secret");

    for (i = 0; i < unit_count(scripts); i++) {
        az(identity, scripts[i][0]);

        assert_int_equal(unit_identity_ask(identity), AAD_FAILED);
        assert_int_equal(identity->report.count, 1);
        unit_assert_contains(unit_identity_reason(identity, 0),
                             scripts[i][1]);
        unit_assert_lacks(unit_identity_reason(identity, 0), "three");
    }

    assert_int_equal(unit_server_requests(&identity->authority), 0);
}


static void
test_4_4_half_a_token_is_not_told(void **state)
{
    size_t            i;
    unit_identity_t  *identity = *state;

    static const char *const  scripts[] = {
        "printf '{\"accessToken\":\"eyJhalf'\n",
        "printf '{\"accessToken\":\"eyJhalf'\necho 'ERROR: eyJhalf' >&2\n",
        "echo 'ERROR: cannot write eyJhalf' >&2\nexit 1\n",
        "printf '%s' '{\"accessToken\":\"eyJhalf\"}'\nexit 1\n"
    };

    unit_identity_variable(identity, "PATH", identity->directory);
    unit_identity_step(identity, "azure_cli", NULL);

    for (i = 0; i < unit_count(scripts); i++) {
        az(identity, scripts[i]);

        assert_int_equal(unit_identity_ask(identity), AAD_FAILED);
        unit_assert_lacks(unit_identity_reason(identity, 0), "eyJ");
        assert_int_equal(identity->token.access_token.length, 0);
    }
}


static void
test_password_of_the_proxy_is_not_told(void **state)
{
    unit_identity_t  *identity = *state;

    unit_identity_variable(identity, "HTTPS_PROXY",
                           "http://user:secret@127.0.0.1:1");
    az(identity, "echo \"ERROR: cannot connect to $HTTPS_PROXY\" >&2\n"
       "exit 1\n");
    unit_identity_step(identity, "azure_cli", NULL);

    assert_int_equal(unit_identity_ask(identity), AAD_FAILED);
    unit_assert_lacks(unit_identity_reason(identity, 0), "secret");
}


static void
test_4_3_warnings_around_the_json(void **state)
{
    unit_identity_t  *identity = *state;

    az(identity, "echo 'WARNING: an update is there' >&2\n"
       "echo 'WARNING: on standard output too'\n" AZ_TOKEN "exit 1\n");
    unit_identity_step(identity, "azure_cli", NULL);

    assert_int_equal(unit_identity_ask(identity), AAD_OK);
    assert_string_equal(identity->token.access_token.data, "az-token");
}


static void
test_4_3_expires_on_of_an_old_az(void **state)
{
    char              token[512], script[1024];
    unit_identity_t  *identity = *state;

    unit_jwt(token, sizeof(token), "{\"exp\":1700001800}");
    snprintf(script, sizeof(script), "echo '{\"accessToken\":\"%s\","
             "\"expiresOn\":\"2001-01-01 00:00:00.000000\"}'\n", token);

    az(identity, script);
    unit_identity_step(identity, "azure_cli", NULL);

    assert_int_equal(unit_identity_ask(identity), AAD_OK);
    assert_int_equal(identity->token.expires_on, 1700001800);
}


#define test(name)                                                            \
    cmocka_unit_test_setup_teardown(name, unit_identity_setup, teardown)


int
main(void)
{
    static const struct CMUnitTest  tests[] = {
        test(test_4_1_command_and_launch),
        test(test_4_1_launch_by_path),
        test(test_4_1_command_with_a_tenant),
        test(test_4_1_command_with_a_subscription),
        test(test_4_1_environment),
        test(test_4_4_az_missing),
        test(test_4_4_az_missing_where_it_was_named),
        test(test_4_1_az_is_never_of_the_current_directory),
        test(test_later_entries_of_path_are_searched),
        test(test_4_4_not_logged_in),
        test(test_4_4_not_logged_in_to_an_account),
        test(test_4_4_az_that_lacks_its_interpreter),
        test(test_4_4_timeout),
        test(test_4_4_needs_interaction),
        test(test_4_4_other_errors_and_bad_json),
        test(test_4_4_half_a_token_is_not_told),
        test(test_password_of_the_proxy_is_not_told),
        test(test_4_3_warnings_around_the_json),
        test(test_4_3_expires_on_of_an_old_az)
    };

    if (aad_global_init() != 0) {
        return 1;
    }

    return cmocka_run_group_tests_name("azure cli", tests, NULL, NULL);
}
