
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * The account that "azd auth login" left on a developer's machine.
 */


#include "internal.h"


enum {
    AAD_AZD_HOME = AAD_CLI_VALUES,
    AAD_AZD_CONFIG,
    AAD_AZD_AZ_CONFIG,
    AAD_AZD_PROXY,
    AAD_AZD_NO_PROXY,
    AAD_AZD_PROXY_SMALL,
    AAD_AZD_NO_PROXY_SMALL,
    AAD_AZD_CA_FILE,
    AAD_AZD_CA_DIRECTORY
};


static aad_result_t aad_azd_get_token(const aad_credential_t *credential,
    aad_call_t *call, aad_token_t *token);


/*
 * What azd needs of the environment, and nothing else of it; one that is set
 * to use the login of az runs that.
 */
static const aad_value_t  aad_azd_values[] = {
    { "tenant_id", NULL, AAD_CLI_TENANT_ID, &aad_form_tenant, 0 },
    { "path", NULL, AAD_CLI_FILE, &aad_form_path, 0 },
    { NULL, "PATH", AAD_CLI_SEARCH, NULL, 0 },
    { NULL, "HOME", AAD_AZD_HOME, NULL, 0 },
    { NULL, "AZD_CONFIG_DIR", AAD_AZD_CONFIG, NULL, 0 },
    { NULL, "AZURE_CONFIG_DIR", AAD_AZD_AZ_CONFIG, NULL, 0 },
    { NULL, "HTTPS_PROXY", AAD_AZD_PROXY, NULL, AAD_VALUE_SECRET },
    { NULL, "NO_PROXY", AAD_AZD_NO_PROXY, NULL, 0 },
    { NULL, "https_proxy", AAD_AZD_PROXY_SMALL, NULL, AAD_VALUE_SECRET },
    { NULL, "no_proxy", AAD_AZD_NO_PROXY_SMALL, NULL, 0 },
    { NULL, "SSL_CERT_FILE", AAD_AZD_CA_FILE, NULL, 0 },
    { NULL, "SSL_CERT_DIR", AAD_AZD_CA_DIRECTORY, NULL, 0 },
    { NULL, NULL, 0, NULL, 0 }
};


const aad_credential_type_t  aad_azure_developer_cli = {
    "azure_developer_cli",
    aad_azd_values,
    NULL,
    aad_azd_get_token,
    NULL,
    NULL,
    NULL,
    NULL
};


/* it would look for updates, and leave a process behind that reports on it */
static const aad_developer_cli_t  aad_azd = {
    "azd",
    { "azd auth login", "azd login", NULL },
    "AZD_CONFIG_DIR",
    { "AZD_SKIP_UPDATE_CHECK=true", "AZURE_DEV_COLLECT_TELEMETRY=no",
      "NO_COLOR=1", NULL },
    aad_token_response_azd,
    aad_azd_complaint
};


/* Azure/azure-dev, cli/azd/cmd/auth_token.go */
static aad_result_t
aad_azd_get_token(const aad_credential_t *credential, aad_call_t *call,
    aad_token_t *token)
{
    size_t       n;
    const char  *arguments[AAD_CLI_ARGUMENTS_MAX];

    n = 0;
    arguments[n++] = "auth";
    arguments[n++] = "token";
    arguments[n++] = "-o";
    arguments[n++] = "json";
    arguments[n++] = "--no-prompt";
    arguments[n++] = "--scope";
    arguments[n++] = call->settings->scope;

    if (credential->values[AAD_CLI_TENANT_ID].length != 0) {
        arguments[n++] = "--tenant-id";
        arguments[n++] = aad_value(credential, AAD_CLI_TENANT_ID);
    }

    arguments[n] = NULL;

    return aad_developer_cli(&aad_azd, call, arguments, token);
}
