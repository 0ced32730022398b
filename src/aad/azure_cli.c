
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * The account that "az login" left on a developer's machine.
 */


#include "internal.h"


enum {
    AAD_AZ_SUBSCRIPTION = AAD_CLI_VALUES,
    AAD_AZ_HOME,
    AAD_AZ_CONFIG,
    AAD_AZ_PROXY,
    AAD_AZ_NO_PROXY,
    AAD_AZ_PROXY_SMALL,
    AAD_AZ_NO_PROXY_SMALL,
    AAD_AZ_CA_BUNDLE
};


static aad_result_t aad_az_get_token(const aad_credential_t *credential,
    aad_call_t *call, aad_token_t *token);
static int aad_az_complete(aad_credential_t *credential, aad_error_t *error);


/* what az needs of the environment, and nothing else of it */
static const aad_value_t  aad_az_values[] = {
    { "tenant_id", NULL, AAD_CLI_TENANT_ID, &aad_form_tenant, 0 },
    { "subscription", NULL, AAD_AZ_SUBSCRIPTION, &aad_form_subscription, 0 },
    { "path", NULL, AAD_CLI_FILE, &aad_form_path, 0 },
    { NULL, "PATH", AAD_CLI_SEARCH, NULL, 0 },
    { NULL, "HOME", AAD_AZ_HOME, NULL, 0 },
    { NULL, "AZURE_CONFIG_DIR", AAD_AZ_CONFIG, NULL, 0 },
    { NULL, "HTTPS_PROXY", AAD_AZ_PROXY, NULL, AAD_VALUE_SECRET },
    { NULL, "NO_PROXY", AAD_AZ_NO_PROXY, NULL, 0 },
    { NULL, "https_proxy", AAD_AZ_PROXY_SMALL, NULL, AAD_VALUE_SECRET },
    { NULL, "no_proxy", AAD_AZ_NO_PROXY_SMALL, NULL, 0 },
    { NULL, "REQUESTS_CA_BUNDLE", AAD_AZ_CA_BUNDLE, NULL, 0 },
    { NULL, NULL, 0, NULL, 0 }
};


const aad_credential_type_t  aad_azure_cli = {
    "azure_cli",
    aad_az_values,
    aad_az_complete,
    aad_az_get_token,
    NULL,
    NULL,
    NULL,
    NULL
};


static const aad_developer_cli_t  aad_az = {
    "az",
    { "az login", "az account set", NULL },
    "AZURE_CONFIG_DIR",
    { "AZURE_CORE_NO_COLOR=true", NULL },
    aad_token_response_az,
    aad_developer_cli_line
};


static aad_result_t
aad_az_get_token(const aad_credential_t *credential, aad_call_t *call,
    aad_token_t *token)
{
    char         resource[AAD_URL_BYTES_MAX];
    size_t       n;
    const char  *arguments[AAD_CLI_ARGUMENTS_MAX];

    aad_resource(call->settings->scope, resource, sizeof(resource));

    n = 0;
    arguments[n++] = "account";
    arguments[n++] = "get-access-token";
    arguments[n++] = "--output";
    arguments[n++] = "json";
    arguments[n++] = "--resource";
    arguments[n++] = resource;

    if (credential->values[AAD_CLI_TENANT_ID].length != 0) {
        arguments[n++] = "--tenant";
        arguments[n++] = aad_value(credential, AAD_CLI_TENANT_ID);
    }

    if (credential->values[AAD_AZ_SUBSCRIPTION].length != 0) {
        arguments[n++] = "--subscription";
        arguments[n++] = aad_value(credential, AAD_AZ_SUBSCRIPTION);
    }

    arguments[n] = NULL;

    return aad_developer_cli(&aad_az, call, arguments, token);
}


static int
aad_az_complete(aad_credential_t *credential, aad_error_t *error)
{
    if (credential->values[AAD_CLI_TENANT_ID].length != 0
        && credential->values[AAD_AZ_SUBSCRIPTION].length != 0)
    {
        return aad_error(error, "\"azure_cli\" takes \"tenant_id=\" or "
                         "\"subscription=\", not both: az refuses them "
                         "together");
    }

    return 0;
}
