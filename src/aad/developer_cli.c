
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * What the command line tools of a developer's machine have in common: how
 * one is found and run, and what it means when there is no token.
 */


#include "internal.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>


#define AAD_CLI_TIMEOUT_MS      10000
#define AAD_CLI_PATH            "/usr/local/bin:/usr/bin:/bin"


static int aad_cli_find(const aad_developer_cli_t *cli,
    const aad_credential_t *credential, char *file, size_t size);
static int aad_cli_run(const aad_developer_cli_t *cli, aad_call_t *call,
    const char *const *argv, aad_output_t *output, aad_error_t *error);
static int aad_cli_environment(const aad_developer_cli_t *cli,
    const aad_credential_t *credential, aad_secret_t *variables,
    const char **envp);
static aad_result_t aad_cli_refused(const aad_developer_cli_t *cli,
    aad_call_t *call, const aad_output_t *output, const aad_error_t *error);
static void aad_cli_id(const char *words, const char *name, char *id,
    size_t size);


/*
 * What the program printed decides, not its exit code: a token on its
 * standard output is one.
 */
aad_result_t
aad_developer_cli(const aad_developer_cli_t *cli, aad_call_t *call,
    const char *const *arguments, aad_token_t *token)
{
    char           file[AAD_URL_BYTES_MAX];
    size_t         n;
    int64_t        now;
    const char    *argv[AAD_CLI_ARGUMENTS_MAX];
    aad_error_t    error;
    aad_output_t   output;
    aad_result_t   result;

    if (aad_cli_find(cli, call->credential, file, sizeof(file)) != 0) {
        return aad_reason(call, AAD_UNAVAILABLE, "%s is not installed: it is "
                          "neither in PATH nor named by \"path=\"",
                          cli->program);
    }

    n = 0;
    argv[n++] = file;

    while (n < AAD_CLI_ARGUMENTS_MAX - 1 && *arguments != NULL) {
        argv[n++] = *arguments++;
    }

    argv[n] = NULL;

    if (aad_cli_run(cli, call, argv, &output, &error) != 0) {
        result = aad_reason(call, AAD_UNAVAILABLE, "%s", error.text);

    } else {
        now = call->hooks->now(call->hooks->data);

        result = cli->token(&output.out, now, now, token, &error) == 0
                 ? AAD_OK : aad_cli_refused(cli, call, &output, &error);
    }

    aad_secret_wipe(&output.out);
    aad_secret_wipe(&output.err);

    return result;
}


void
aad_developer_cli_line(const char *err, char *words, size_t size)
{
    const char  *line;

    /* warnings may come first */

    line = strncmp(err, "ERROR:", 6) != 0 ? strstr(err, "\nERROR:") : err;
    line = line == NULL ? err : line + (line[0] == '\n');

    snprintf(words, size, "%.*s", (int) strcspn(line, "\r\n"), line);
}


/* Returns 0, or -1 when there is none. */
static int
aad_cli_find(const aad_developer_cli_t *cli,
    const aad_credential_t *credential, char *file, size_t size)
{
    size_t       length;
    const char  *directory;

    if (credential->values[AAD_CLI_FILE].length != 0) {
        snprintf(file, size, "%s", aad_value(credential, AAD_CLI_FILE));
        return 0;
    }

    directory = aad_value(credential, AAD_CLI_SEARCH);
    if (directory[0] == '\0') {
        directory = AAD_CLI_PATH;
    }

    for ( ;; ) {
        length = strcspn(directory, ":");

        snprintf(file, size, "%.*s/%s", (int) length, directory,
                 cli->program);

        /* never from the current directory */

        if (directory[0] == '/' && access(file, X_OK) == 0) {
            return 0;
        }

        if (directory[length] == '\0') {
            return -1;
        }

        directory += length + 1;
    }
}


static int
aad_cli_run(const aad_developer_cli_t *cli, aad_call_t *call,
    const char *const *argv, aad_output_t *output, aad_error_t *error)
{
    int            rc;
    size_t         i;
    const char    *envp[AAD_VALUES_MAX + AAD_CLI_VARIABLES_MAX + 1];
    aad_secret_t   variables[AAD_VALUES_MAX];
    aad_process_t  process;

    for (i = 0; i < AAD_VALUES_MAX; i++) {
        aad_secret_init(&variables[i], AAD_VALUE_BYTES_MAX * 2);
    }

    if (aad_cli_environment(cli, call->credential, variables, envp) == 0) {
        process.argv = argv;
        process.envp = envp;
        process.timeout_ms = AAD_CLI_TIMEOUT_MS;

        rc = aad_process(call, &process, output, error);

    } else {
        aad_secret_init(&output->out, 0);
        aad_secret_init(&output->err, 0);
        rc = aad_error(error, "out of memory");
    }

    for (i = 0; i < AAD_VALUES_MAX; i++) {
        aad_secret_wipe(&variables[i]);
    }

    return rc;
}


/* All that the type reads of the environment is for its program. */
static int
aad_cli_environment(const aad_developer_cli_t *cli,
    const aad_credential_t *credential, aad_secret_t *variables,
    const char **envp)
{
    int                 rc;
    size_t              i, n;
    const aad_value_t  *v;

    n = 0;
    rc = 0;

    for (v = credential->type->values; v->parameter || v->variable; v++) {

        if (v->variable == NULL || credential->values[v->slot].length == 0) {
            continue;
        }

        rc |= aad_secret_append_text(&variables[v->slot], v->variable);
        rc |= aad_secret_append(&variables[v->slot], "=", 1);
        rc |= aad_secret_append_text(&variables[v->slot],
                                     aad_value(credential, v->slot));

        envp[n++] = variables[v->slot].data;
    }

    for (i = 0; cli->variables[i] != NULL; i++) {
        envp[n++] = cli->variables[i];
    }

    envp[n] = NULL;

    return rc;
}


/* azure-identity for Python: not logged in goes on, a refusal stops */
static aad_result_t
aad_cli_refused(const aad_developer_cli_t *cli, aad_call_t *call,
    const aad_output_t *output, const aad_error_t *error)
{
    char                words[AAD_REASON_BYTES];
    size_t              i;
    const char         *err, *code;
    aad_attempt_t      *attempt;

    err = output->err.data;
    code = strstr(err, "AADSTS");
    attempt = call->attempt;

    for (i = 0; code == NULL && cli->wishes[i] != NULL; i++) {

        if (strstr(err, cli->wishes[i]) != NULL) {
            return aad_reason(call, AAD_UNAVAILABLE, "%s is not logged in: "
                              "run \"%s\" with the HOME (or %s) that nginx "
                              "was started with, readable for the user of its "
                              "workers", cli->program, cli->wishes[0],
                              cli->directory);
        }
    }

    if (output->status == 127) {
        return aad_reason(call, AAD_UNAVAILABLE, "%s cannot be run: something "
                          "that it needs is not installed", cli->program);
    }

    if (code != NULL) {
        snprintf(attempt->code, sizeof(attempt->code), "%.*s",
                 (int) (6 + strspn(code + 6, "0123456789")), code);
        aad_cli_id(code, "Correlation ID: ", attempt->correlation_id,
                   sizeof(attempt->correlation_id));
        aad_cli_id(code, "Trace ID: ", attempt->trace_id,
                   sizeof(attempt->trace_id));
    }

    /* its output is never shown: it may be half a token */

    if (output->out.length != 0 || err[0] == '\0'
        || aad_repeats_secret(call->credential, err))
    {
        return aad_reason(call, AAD_FAILED, "%s ended with code %d: %s",
                          cli->program, output->status, error->text);
    }

    cli->complaint(err, words, sizeof(words));

    if (aad_repeats_secret(call->credential, words)) {
        words[0] = '\0';
    }

    aad_text_clean(words, sizeof(words), words);

    if (attempt->trace_id[0] != '\0') {
        aad_text_end(words, " Trace ID:");
    }

    return aad_reason(call, AAD_FAILED, "%s ended with code %d: %.400s",
                      cli->program, output->status,
                      words[0] != '\0' ? words : error->text);
}


/* Entra's words have its ids, which the line that is shown may have not. */
static void
aad_cli_id(const char *words, const char *name, char *id, size_t size)
{
    char         text[AAD_ID_BYTES];
    const char  *p;

    p = strcasestr(words, name);
    if (p == NULL) {
        return;
    }

    p += strlen(name);

    snprintf(text, sizeof(text), "%.*s",
             (int) strspn(p, "0123456789abcdefABCDEF-"), p);

    if (aad_is_guid(text)) {
        snprintf(id, size, "%s", text);
    }
}
