
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * The account that "az login" left on a developer's machine.
 */


#include "internal.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>


#define AAD_CLI_TIMEOUT_MS      10000
#define AAD_CLI_PATH            "/usr/local/bin:/usr/bin:/bin"
#define AAD_CLI_ARGUMENTS_MAX   12


enum {
    AAD_CLI_TENANT_ID,
    AAD_CLI_SUBSCRIPTION,
    AAD_CLI_FILE,
    AAD_CLI_SEARCH,
    AAD_CLI_HOME,
    AAD_CLI_CONFIG,
    AAD_CLI_PROXY,
    AAD_CLI_NO_PROXY,
    AAD_CLI_PROXY_SMALL,
    AAD_CLI_NO_PROXY_SMALL,
    AAD_CLI_CA_BUNDLE,
    AAD_CLI_VALUES
};


static aad_result_t aad_cli_get_token(const aad_credential_t *credential,
    aad_call_t *call, aad_token_t *token);
static int aad_cli_find(const aad_credential_t *credential, char *file,
    size_t size);
static int aad_cli_run(const aad_credential_t *credential, aad_call_t *call,
    const char *file, aad_output_t *output, aad_error_t *error);
static aad_result_t aad_cli_refused(aad_call_t *call,
    const aad_output_t *output, const aad_error_t *error);
static int aad_cli_complete(aad_credential_t *credential, aad_error_t *error);


/* what az needs of the environment, and nothing else of it */
static const aad_value_t  aad_cli_values[] = {
    { "tenant_id", NULL, AAD_CLI_TENANT_ID, &aad_form_tenant, 0 },
    { "subscription", NULL, AAD_CLI_SUBSCRIPTION, &aad_form_subscription, 0 },
    { "path", NULL, AAD_CLI_FILE, &aad_form_path, 0 },
    { NULL, "PATH", AAD_CLI_SEARCH, NULL, 0 },
    { NULL, "HOME", AAD_CLI_HOME, NULL, 0 },
    { NULL, "AZURE_CONFIG_DIR", AAD_CLI_CONFIG, NULL, 0 },
    { NULL, "HTTPS_PROXY", AAD_CLI_PROXY, NULL, AAD_VALUE_SECRET },
    { NULL, "NO_PROXY", AAD_CLI_NO_PROXY, NULL, 0 },
    { NULL, "https_proxy", AAD_CLI_PROXY_SMALL, NULL, AAD_VALUE_SECRET },
    { NULL, "no_proxy", AAD_CLI_NO_PROXY_SMALL, NULL, 0 },
    { NULL, "REQUESTS_CA_BUNDLE", AAD_CLI_CA_BUNDLE, NULL, 0 },
    { NULL, NULL, 0, NULL, 0 }
};


const aad_credential_type_t  aad_azure_cli = {
    "azure_cli",
    aad_cli_values,
    aad_cli_complete,
    aad_cli_get_token,
    NULL,
    NULL,
    NULL
};


/*
 * What az printed decides, not its exit code: a token on its standard output
 * is one.
 */
static aad_result_t
aad_cli_get_token(const aad_credential_t *credential, aad_call_t *call,
    aad_token_t *token)
{
    char           file[AAD_URL_BYTES_MAX];
    int64_t        now;
    aad_error_t    error;
    aad_output_t   output;
    aad_result_t   result;

    if (aad_cli_find(credential, file, sizeof(file)) != 0) {
        return aad_reason(call, AAD_UNAVAILABLE, "az is not installed: it is "
                          "neither in PATH nor named by \"path=\"");
    }

    if (aad_cli_run(credential, call, file, &output, &error) != 0) {
        result = aad_reason(call, AAD_UNAVAILABLE, "%s", error.text);

    } else {
        now = call->hooks->now(call->hooks->data);

        result = aad_token_response_az(&output.out, now, now, token, &error)
                 == 0 ? AAD_OK : aad_cli_refused(call, &output, &error);
    }

    aad_secret_wipe(&output.out);
    aad_secret_wipe(&output.err);

    return result;
}


/* Returns 0, or -1 when there is none. */
static int
aad_cli_find(const aad_credential_t *credential, char *file, size_t size)
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

        snprintf(file, size, "%.*s/az", (int) length, directory);

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
aad_cli_run(const aad_credential_t *credential, aad_call_t *call,
    const char *file, aad_output_t *output, aad_error_t *error)
{
    int                 rc;
    char                resource[AAD_URL_BYTES_MAX];
    size_t              n;
    const char         *argv[AAD_CLI_ARGUMENTS_MAX];
    const char         *envp[AAD_CLI_VALUES + 2];
    aad_secret_t        variables[AAD_CLI_VALUES];
    const aad_value_t  *v;
    aad_process_t       process;

    aad_resource(call->settings->scope, resource, sizeof(resource));

    n = 0;
    argv[n++] = file;
    argv[n++] = "account";
    argv[n++] = "get-access-token";
    argv[n++] = "--output";
    argv[n++] = "json";
    argv[n++] = "--resource";
    argv[n++] = resource;

    if (credential->values[AAD_CLI_TENANT_ID].length != 0) {
        argv[n++] = "--tenant";
        argv[n++] = aad_value(credential, AAD_CLI_TENANT_ID);
    }

    if (credential->values[AAD_CLI_SUBSCRIPTION].length != 0) {
        argv[n++] = "--subscription";
        argv[n++] = aad_value(credential, AAD_CLI_SUBSCRIPTION);
    }

    argv[n] = NULL;

    n = 0;
    rc = 0;

    for (v = aad_cli_values; v->parameter || v->variable; v++) {

        aad_secret_init(&variables[v->slot], AAD_VALUE_BYTES_MAX * 2);

        if (v->variable == NULL || credential->values[v->slot].length == 0) {
            continue;
        }

        rc |= aad_secret_append_text(&variables[v->slot], v->variable);
        rc |= aad_secret_append(&variables[v->slot], "=", 1);
        rc |= aad_secret_append_text(&variables[v->slot],
                                     aad_value(credential, v->slot));

        envp[n++] = variables[v->slot].data;
    }

    envp[n++] = "AZURE_CORE_NO_COLOR=true";
    envp[n] = NULL;

    process.argv = argv;
    process.envp = envp;
    process.timeout_ms = AAD_CLI_TIMEOUT_MS;

    if (rc == 0) {
        rc = aad_process(call, &process, output, error);

    } else {
        aad_secret_init(&output->out, 0);
        aad_secret_init(&output->err, 0);
        aad_error(error, "out of memory");
    }

    for (n = 0; n < AAD_CLI_VALUES; n++) {
        aad_secret_wipe(&variables[n]);
    }

    return rc;
}


/* azure-identity for Python: not logged in goes on, a refusal stops */
static aad_result_t
aad_cli_refused(aad_call_t *call, const aad_output_t *output,
    const aad_error_t *error)
{
    char         words[AAD_REASON_BYTES];
    const char  *err, *code, *line;

    err = output->err.data;
    code = strstr(err, "AADSTS");

    if (code == NULL
        && (strstr(err, "az login") || strstr(err, "az account set")))
    {
        return aad_reason(call, AAD_UNAVAILABLE, "az is not logged in: run "
                          "\"az login\" with the HOME (or AZURE_CONFIG_DIR) "
                          "that nginx was started with, readable for the "
                          "user of its workers");
    }

    if (output->status == 127) {
        return aad_reason(call, AAD_UNAVAILABLE, "az cannot be run: something "
                          "that it needs is not installed");
    }

    if (code != NULL) {
        snprintf(call->attempt->code, sizeof(call->attempt->code), "%.*s",
                 (int) (6 + strspn(code + 6, "0123456789")), code);
    }

    /* its output is never shown: it may be half a token */

    if (output->out.length != 0 || err[0] == '\0'
        || strstr(err, "eyJ") != NULL
        || aad_repeats_secret(call->credential, err))
    {
        return aad_reason(call, AAD_FAILED, "az ended with code %d: %s",
                          output->status, error->text);
    }

    /* warnings may come first */

    line = strncmp(err, "ERROR:", 6) != 0 ? strstr(err, "\nERROR:") : err;
    line = line == NULL ? err : line + (line[0] == '\n');

    snprintf(words, sizeof(words), "%.*s", (int) strcspn(line, "\r\n"), line);
    aad_text_clean(words, sizeof(words), words);

    return aad_reason(call, AAD_FAILED, "az ended with code %d: %.400s",
                      output->status, words);
}


static int
aad_cli_complete(aad_credential_t *credential, aad_error_t *error)
{
    if (credential->values[AAD_CLI_TENANT_ID].length != 0
        && credential->values[AAD_CLI_SUBSCRIPTION].length != 0)
    {
        return aad_error(error, "\"azure_cli\" takes \"tenant_id=\" or "
                         "\"subscription=\", not both: az refuses them "
                         "together");
    }

    return 0;
}
