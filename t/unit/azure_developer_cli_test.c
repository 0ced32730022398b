
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * The Azure Developer CLI: how azd is called, and what its words mean, by the
 * rows of the contract's table 5.  A shell script stands in for it.
 */


#include "identity.h"


#define AZD_TOKEN  "printf '%s' '{\"token\":\"azd-token\","                   \
                   "\"expiresOn\":\"2023-11-14T23:13:20Z\"}'\n"

/* it notes its arguments and its environment beside itself */
#define AZD_NOTES  "printf '<%s>' \"$0\" \"$@\" > \"${0%/*}/arguments\"\n"    \
                   "/usr/bin/env > \"${0%/*}/environment\"\n"


/* An azd that runs this, in the directory that PATH names. */
static void
azd(unit_identity_t *identity, const char *script)
{
    char    text[4096];
    size_t  length;

    length = snprintf(text, sizeof(text), "#!/bin/sh\n%s", script);

    unit_file(identity->directory, "azd", text, length, 0700);
    unit_identity_variable(identity, "PATH", identity->directory);
}


static int
teardown(void **state)
{
    unit_identity_t  *identity = *state;

    unit_remove(identity->directory, "azd");
    unit_remove(identity->directory, "arguments");
    unit_remove(identity->directory, "environment");

    return unit_identity_teardown(state);
}


/* the program's own file name, as it is found in PATH */
static void
azd_file(const unit_identity_t *identity, char *file, size_t size)
{
    snprintf(file, size, "%s/azd", identity->directory);
}


static void
check_arguments(unit_identity_t *identity, const char *file,
    const char *arguments)
{
    char  expected[1024], noted[1024];

    snprintf(expected, sizeof(expected), "<%s><auth><token><-o><json>"
             "<--no-prompt><--scope><" UNIT_SCOPE ">%s", file, arguments);
    unit_read(identity->directory, "arguments", noted, sizeof(noted));
    assert_string_equal(noted, expected);
}


static void
test_5_command(void **state)
{
    char              file[512];
    unit_identity_t  *identity = *state;

    azd(identity, AZD_NOTES AZD_TOKEN);
    unit_identity_step(identity, "azure_developer_cli", NULL);

    assert_int_equal(unit_identity_ask(identity), AAD_OK);
    assert_string_equal(identity->token.access_token.data, "azd-token");
    assert_string_equal(identity->token.credential, "azure_developer_cli");
    azd_file(identity, file, sizeof(file));
    check_arguments(identity, file, "");
}


static void
test_5_command_with_a_tenant(void **state)
{
    char              file[512];
    unit_identity_t  *identity = *state;

    azd(identity, AZD_NOTES AZD_TOKEN);
    unit_identity_step(identity, "azure_developer_cli", "tenant_id",
                       UNIT_TENANT, NULL);

    assert_int_equal(unit_identity_ask(identity), AAD_OK);
    azd_file(identity, file, sizeof(file));
    check_arguments(identity, file, "<--tenant-id><" UNIT_TENANT ">");
}


static void
test_5_command_by_its_path(void **state)
{
    char              file[512];
    unit_identity_t  *identity = *state;

    azd(identity, AZD_NOTES AZD_TOKEN);
    unit_identity_variable(identity, "PATH", "/nonexistent");

    snprintf(file, sizeof(file), "%sazd", identity->directory);
    unit_identity_step(identity, "azure_developer_cli", "path", file, NULL);

    assert_int_equal(unit_identity_ask(identity), AAD_OK);
    check_arguments(identity, file, "");
}


static void
test_4_2_validation(void **state)
{
    size_t               i;
    aad_error_t          error;
    unit_identity_t     *identity = *state;
    aad_credential_t    *credential;
    aad_environment_t    environment;

    static const char *const  tenants[] = {
        "-x", "--help", "a.b c", "a.b;c", "a.b$(c)", "common", ""
    };

    environment = unit_environment(identity->variables, NULL);

    for (i = 0; i < unit_count(tenants); i++) {
        credential = aad_credential_create("azure_developer_cli",
                                           &environment, &error);
        assert_non_null(credential);
        assert_int_equal(aad_credential_set(credential, "tenant_id",
                                            tenants[i], &error), -1);
        assert_int_equal(aad_credential_set(credential, "path", "azd",
                                            &error), -1);
        assert_int_equal(aad_credential_set(credential, "subscription", "x",
                                            &error), -1);
        aad_credential_destroy(credential);
    }
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
test_azd_gets_what_it_needs_of_the_environment(void **state)
{
    char              noted[2048], path[512];
    char             *lines[20];
    size_t            i, count;
    unit_identity_t  *identity = *state;

    const char *const  expected[] = {
        "AZD_CONFIG_DIR=/home/user/azd", "AZD_SKIP_UPDATE_CHECK=true",
        "AZURE_CONFIG_DIR=/home/user/azure",
        "AZURE_DEV_COLLECT_TELEMETRY=no", "HOME=/home/user",
        "HTTPS_PROXY=http://user:secret@127.0.0.1:1", "NO_COLOR=1",
        "NO_PROXY=localhost", path, "SSL_CERT_DIR=/etc/certificates",
        "SSL_CERT_FILE=/etc/ca.pem", "https_proxy=http://127.0.0.1:2",
        "no_proxy=127.0.0.1"
    };

    snprintf(path, sizeof(path), "PATH=%s", identity->directory);
    azd(identity, AZD_NOTES AZD_TOKEN);

    unit_identity_variable(identity, "HOME", "/home/user");
    unit_identity_variable(identity, "AZD_CONFIG_DIR", "/home/user/azd");
    unit_identity_variable(identity, "AZURE_CONFIG_DIR", "/home/user/azure");
    unit_identity_variable(identity, "HTTPS_PROXY",
                           "http://user:secret@127.0.0.1:1");
    unit_identity_variable(identity, "NO_PROXY", "localhost");
    unit_identity_variable(identity, "https_proxy", "http://127.0.0.1:2");
    unit_identity_variable(identity, "no_proxy", "127.0.0.1");
    unit_identity_variable(identity, "SSL_CERT_FILE", "/etc/ca.pem");
    unit_identity_variable(identity, "SSL_CERT_DIR", "/etc/certificates");
    unit_identity_variable(identity, "AZURE_CLIENT_SECRET", "secret");
    unit_identity_variable(identity, "LD_PRELOAD", "/tmp/x");

    unit_identity_step(identity, "azure_developer_cli", NULL);
    assert_int_equal(unit_identity_ask(identity), AAD_OK);

    unit_read(identity->directory, "environment", noted, sizeof(noted));
    count = sorted_lines(noted, lines, unit_count(lines));

    assert_int_equal(count, unit_count(expected));

    for (i = 0; i < count; i++) {
        assert_string_equal(lines[i], expected[i]);
    }
}


/* An azd that prints a token with this for its expiry. */
static aad_result_t
ask_with_expiry(unit_identity_t *identity, const char *expires_on)
{
    char  script[1024];

    snprintf(script, sizeof(script), "printf '%%s' '{\"token\":\"azd-token\","
             "\"expiresOn\":%s}'\n", expires_on);
    azd(identity, script);

    return unit_identity_ask(identity);
}


static void
test_5_output_is_a_date_in_utc(void **state)
{
    size_t            i;
    char             *zone;
    unit_identity_t  *identity = *state;

    static const struct {
        const char             *text;
        int64_t                 seconds;
    } dates[] = {
        { "\"2023-11-14T23:13:20Z\"",           UNIT_NOW + 3600 },
        { "\"2023-11-14T23:13:20.123456789Z\"", UNIT_NOW + 3600 },
        { "\"2023-11-15T00:00:00Z\"",           1700006400 },
        { "\"1700003600\"",                     UNIT_NOW + 3600 },
        { "1700003600",                         UNIT_NOW + 3600 }
    };

    unit_identity_variable(identity, "PATH", identity->directory);
    unit_identity_step(identity, "azure_developer_cli", NULL);

    /* whatever the zone of this machine is */

    zone = getenv("TZ");
    zone = zone != NULL ? strdup(zone) : NULL;
    assert_int_equal(setenv("TZ", "Asia/Kathmandu", 1), 0);

    for (i = 0; i < unit_count(dates); i++) {
        assert_int_equal(ask_with_expiry(identity, dates[i].text), AAD_OK);
        assert_int_equal(identity->token.expires_on, dates[i].seconds);
    }

    assert_int_equal(zone != NULL ? setenv("TZ", zone, 1) : unsetenv("TZ"),
                     0);
    free(zone);
}


static void
test_5_output_that_is_no_date_is_refused(void **state)
{
    size_t            i;
    unit_identity_t  *identity = *state;

    static const char *const  dates[] = {
        "\"2023-11-14T23:13:20\"", "\"2023-13-14T23:13:20Z\"",
        "\"2023-02-30T23:13:20Z\"", "\"2023-11-14T24:13:20Z\"",
        "\"2023-11-14T23:60:20Z\"", "\"2023-1-14T23:13:20Z\"",
        "\"2023-11-14 23:13\"", "\"+023-11-14T23:13:20Z\"",
        "\"2023-11-14T23:13:20Zx\"", "\"2023-11-14T 3:13:20Z\"",
        "\"Tue, 14 Nov 2023 23:13:20 GMT\"", "\"\"", "\"tomorrow\"", "null",
        "true", "{}", "[1700003600]"
    };

    unit_identity_variable(identity, "PATH", identity->directory);
    unit_identity_step(identity, "azure_developer_cli", NULL);

    for (i = 0; i < unit_count(dates); i++) {

        if (ask_with_expiry(identity, dates[i]) != AAD_FAILED) {
            fail_msg("%s is taken for a date", dates[i]);
        }

        unit_assert_contains(unit_identity_reason(identity, 0),
                             "does not say when its token expires");
        assert_int_equal(identity->token.access_token.length, 0);
    }
}


static void
test_5_output_of_an_expired_token_is_refused(void **state)
{
    unit_identity_t  *identity = *state;

    unit_identity_variable(identity, "PATH", identity->directory);
    unit_identity_step(identity, "azure_developer_cli", NULL);

    assert_int_equal(ask_with_expiry(identity, "\"2023-11-14T22:13:20Z\""),
                     AAD_FAILED);
    unit_assert_contains(unit_identity_reason(identity, 0), "expired");
}


/* The step behind azd is asked, and azd's own says this. */
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


/* An azd with this on its standard error. */
static aad_result_t
ask_with_error(unit_identity_t *identity, const char *words)
{
    char  script[2048];

    snprintf(script, sizeof(script), "while read -r line; do printf "
             "'%%s\\n' \"$line\" >&2; done <<'END'\n%s\nEND\nexit 1\n",
             words);
    azd(identity, script);

    return unit_identity_ask(identity);
}


static void
test_5_not_logged_in(void **state)
{
    size_t            i;
    unit_identity_t  *identity = *state;

    static const char *const  words[] = {
        "ERROR: not logged in, run `azd auth login` to login",
        "ERROR: not logged in, run `azd login` to login",
        "{\"type\":\"consoleMessage\",\"timestamp\":\"2024-01-01T00:00:00Z\","
        "\"data\":{\"message\":\"\\nERROR: not logged in, run `azd auth "
        "login` to login\\n\"}}",
        "{\"error\":\"AuthError\",\"message\":\"not logged in\","
        "\"suggestion\":\"Run `azd auth login` to log in.\"}"
    };

    unit_identity_variable(identity, "PATH", identity->directory);
    unit_identity_step(identity, "azure_developer_cli", NULL);

    for (i = 0; i < unit_count(words); i++) {
        assert_int_equal(ask_with_error(identity, words[i]),
                         AAD_UNAVAILABLE);
        unit_assert_contains(unit_identity_reason(identity, 0),
                             "azd is not logged in: run \"azd auth login\" "
                             "with the HOME (or AZD_CONFIG_DIR)");
    }
}


static void
test_5_not_logged_in_goes_on(void **state)
{
    unit_identity_t  *identity = *state;

    azd(identity, "echo 'ERROR: not logged in, run `azd auth login` to "
        "login' >&2\nexit 1\n");
    unit_identity_step(identity, "azure_developer_cli", NULL);

    check_handed_on(identity, "azd is not logged in");
}


static void
test_5_not_installed(void **state)
{
    unit_identity_t  *identity = *state;

    unit_identity_variable(identity, "PATH", identity->directory);
    unit_identity_step(identity, "azure_developer_cli", NULL);

    check_handed_on(identity, "azd is not installed: it is neither in PATH");
}


static void
test_5_not_installed_where_it_was_named(void **state)
{
    unit_identity_t  *identity = *state;

    unit_identity_step(identity, "azure_developer_cli", "path",
                       "/nonexistent/azd", NULL);

    check_handed_on(identity, "cannot execute /nonexistent/azd: No such");
}


static void
test_5_exit_127(void **state)
{
    unit_identity_t  *identity = *state;

    azd(identity, "exec /nonexistent/azd-linux-amd64\n");
    unit_identity_step(identity, "azure_developer_cli", NULL);

    check_handed_on(identity, "azd cannot be run");
}


static void
test_5_timeout(void **state)
{
    unit_identity_t  *identity = *state;

    /* its ten seconds pass in one */

    identity->clock.speed = 10;

    azd(identity, "/bin/sleep 8\n" AZD_TOKEN);
    unit_identity_step(identity, "azure_developer_cli", NULL);

    check_handed_on(identity, "did not end in time");
}


static void
test_5_error_formats(void **state)
{
    size_t            i;
    unit_identity_t  *identity = *state;

    static const char *const  words[][2] = {

        /* 1.23.7 and later */

        { "{\"error\":\"x\",\"message\":\"no such scope\","
          "\"suggestion\":\"try another\"}",
          "azd ended with code 1: no such scope" },
        { "{\"error\":\"only this\"}", "azd ended with code 1: only this" },

        /* older: an empty one, a warning, then the error */

        { "{\"type\":\"consoleMessage\",\"data\":{\"message\":\"\\n\"}}\n"
          "{\"type\":\"consoleMessage\",\"data\":{\"message\":\"WARNING: your "
          "version is out of date\\n\"}}\n"
          "{\"type\":\"consoleMessage\",\"data\":{\"message\":\"\\nERROR: "
          "fetching token: no such scope\\nmore\\n\"}}",
          "azd ended with code 1: ERROR: fetching token: no such scope" },

        /* neither */

        { "WARNING: old\nERROR: plain text\nmore",
          "azd ended with code 1: ERROR: plain text" },
        { "{\"type\":\"consoleMessage\"", "azd ended with code 1: {\"type\"" },
        { "{\"type\":\"consoleMessage\",\"data\":{\"message\":1}}",
          "azd ended with code 1: {\"type\"" },
        { "[\"x\"]", "azd ended with code 1: [\"x\"]" }
    };

    unit_identity_variable(identity, "PATH", identity->directory);
    unit_identity_step(identity, "azure_developer_cli", NULL);
    unit_identity_secret_step(identity, "secret");

    for (i = 0; i < unit_count(words); i++) {
        assert_int_equal(ask_with_error(identity, words[i][0]), AAD_FAILED);
        assert_int_equal(identity->report.count, 1);
        unit_assert_contains(unit_identity_reason(identity, 0), words[i][1]);
        unit_assert_lacks(unit_identity_reason(identity, 0), "more");
    }

    assert_int_equal(unit_server_requests(&identity->authority), 0);
}


static void
test_5_refusal_stops(void **state)
{
    size_t                i;
    unit_identity_t      *identity = *state;
    const aad_attempt_t  *attempt;

    static const char *const  words[] = {
        "{\"type\":\"consoleMessage\",\"data\":{\"message\":\"\\nERROR: "
        "fetching token: something first\\n\"}}\n"
        "{\"type\":\"consoleMessage\",\"data\":{\"message\":\"AADSTS50076: "
        "Due to a change you must use multi-factor authentication. Trace ID: "
        UNIT_CLIENT " Correlation ID: " UNIT_OBJECT " Timestamp: 1\"}}\n"
        "{\"type\":\"consoleMessage\",\"data\":{\"message\":\"reauthentica"
        "tion required, run `azd auth login` to log in\"}}",

        "{\"error\":\"ReauthRequired\",\"message\":\"AADSTS50076: Due to a "
        "change you must use multi-factor authentication.\\r\\nTrace ID: "
        UNIT_CLIENT "\\r\\nCorrelation ID: " UNIT_OBJECT "\","
        "\"suggestion\":\"run `azd auth login`\"}",

        "ERROR: AADSTS50076: Due to a change you must use multi-factor "
        "authentication. Trace ID: " UNIT_CLIENT " Correlation ID: "
        UNIT_OBJECT "\nazd auth login"
    };

    unit_identity_variable(identity, "PATH", identity->directory);
    unit_identity_step(identity, "azure_developer_cli", NULL);
    unit_identity_secret_step(identity, "secret");

    for (i = 0; i < unit_count(words); i++) {
        assert_int_equal(ask_with_error(identity, words[i]), AAD_FAILED);
        assert_int_equal(identity->report.count, 1);
        assert_int_equal(identity->report.skipped_count, 1);

        attempt = &identity->report.attempts[0];

        assert_string_equal(attempt->code, "AADSTS50076");
        assert_string_equal(attempt->correlation_id, UNIT_OBJECT);
        assert_string_equal(attempt->trace_id, UNIT_CLIENT);
        unit_assert_contains(attempt->hint, "second factor");
        unit_assert_contains(attempt->reason, "AADSTS50076: Due to a change");
    }

    assert_int_equal(unit_server_requests(&identity->authority), 0);
}


static void
test_4_4_bad_json_stops(void **state)
{
    size_t            i;
    unit_identity_t  *identity = *state;

    static const char *const  scripts[] = {
        "echo '<html>'\n", "echo '{}'\n", "echo '{\"token\":12}'\n",
        "echo '{\"accessToken\":\"x\",\"expiresOn\":\"2023-11-14T23:13:20Z\"}'"
        "\n", "exit 0\n", "printf '{\"token\":\"eyJhalf'\n"
    };

    unit_identity_variable(identity, "PATH", identity->directory);
    unit_identity_step(identity, "azure_developer_cli", NULL);

    for (i = 0; i < unit_count(scripts); i++) {
        azd(identity, scripts[i]);

        assert_int_equal(unit_identity_ask(identity), AAD_FAILED);
        unit_assert_contains(unit_identity_reason(identity, 0),
                             "azd ended with code 0: the answer");
        unit_assert_lacks(unit_identity_reason(identity, 0), "eyJ");
    }
}


static void
test_4_4_no_token_is_told(void **state)
{
    size_t            i;
    unit_identity_t  *identity = *state;

    static const char *const  words[] = {
        "{\"error\":\"x\",\"message\":\"eyJhalf of a token\"}",
        "{\"error\":\"x\",\"message\":\"\\u0065yJhalf of a token\"}",
        "{\"error\":\"x\",\"message\":\"no route to http://u:secret@x\"}",
        "{\"error\":\"x\",\"message\":\"no route to "
        "http:\\/\\/u:\\u0073ecret@x\"}",
        "ERROR: the password is secret"
    };

    unit_identity_variable(identity, "HTTPS_PROXY", "http://u:secret@x");
    unit_identity_variable(identity, "PATH", identity->directory);
    unit_identity_step(identity, "azure_developer_cli", NULL);

    for (i = 0; i < unit_count(words); i++) {
        assert_int_equal(ask_with_error(identity, words[i]), AAD_FAILED);
        unit_assert_lacks(unit_identity_reason(identity, 0), "half");
        unit_assert_lacks(unit_identity_reason(identity, 0), "secret");
    }
}


static void
test_4_3_warnings_around_the_token_do_not_matter(void **state)
{
    unit_identity_t  *identity = *state;

    azd(identity, "echo 'WARNING: an update is there' >&2\n"
        "echo 'WARNING: on standard output too'\n" AZD_TOKEN "exit 1\n");
    unit_identity_step(identity, "azure_developer_cli", NULL);

    assert_int_equal(unit_identity_ask(identity), AAD_OK);
    assert_string_equal(identity->token.access_token.data, "azd-token");
}


#define test(name)                                                            \
    cmocka_unit_test_setup_teardown(name, unit_identity_setup, teardown)


int
main(void)
{
    static const struct CMUnitTest  tests[] = {
        test(test_5_command),
        test(test_5_command_with_a_tenant),
        test(test_5_command_by_its_path),
        test(test_4_2_validation),
        test(test_azd_gets_what_it_needs_of_the_environment),
        test(test_5_output_is_a_date_in_utc),
        test(test_5_output_that_is_no_date_is_refused),
        test(test_5_output_of_an_expired_token_is_refused),
        test(test_5_not_logged_in),
        test(test_5_not_logged_in_goes_on),
        test(test_5_not_installed),
        test(test_5_not_installed_where_it_was_named),
        test(test_5_exit_127),
        test(test_5_timeout),
        test(test_5_error_formats),
        test(test_5_refusal_stops),
        test(test_4_4_bad_json_stops),
        test(test_4_4_no_token_is_told),
        test(test_4_3_warnings_around_the_token_do_not_matter)
    };

    return cmocka_run_group_tests_name("azure_developer_cli", tests, NULL,
                                       NULL);
}
