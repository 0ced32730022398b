
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * What holds where nothing is configured: the chain, the scope, and what the
 * environment says of authority and proxy.
 */


#include "internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>


#define AAD_AUTHORITY_HOST          "https://login.microsoftonline.com"


static int aad_defaults_authority_host(aad_defaults_t *defaults,
    const aad_environment_t *environment, aad_error_t *error);
static int aad_defaults_proxy(aad_defaults_t *defaults,
    const aad_environment_t *environment, aad_error_t *error);
static const char *aad_defaults_variable(const aad_environment_t *environment,
    const char *small, const char *capital);


/* workload identity stands in front: it speaks only where it is configured */
const char *const  aad_default_chain[] = {
    "workload_identity",
    "managed_identity",
    "environment",
    "azure_cli",
    NULL
};


const char *
aad_process_variable(void *data, const char *name)
{
    (void) data;

    return getenv(name);
}


int
aad_defaults_read(aad_defaults_t *defaults,
    const aad_environment_t *environment, aad_error_t *error)
{
    aad_secret_init(&defaults->authority_host, AAD_HOST_BYTES);
    aad_secret_init(&defaults->proxy, AAD_URL_BYTES_MAX);
    aad_secret_init(&defaults->no_proxy, AAD_VALUE_BYTES_MAX);

    if (aad_defaults_authority_host(defaults, environment, error) != 0
        || aad_defaults_proxy(defaults, environment, error) != 0)
    {
        aad_defaults_wipe(defaults);
        return -1;
    }

    return 0;
}


void
aad_defaults_wipe(aad_defaults_t *defaults)
{
    aad_secret_wipe(&defaults->authority_host);
    aad_secret_wipe(&defaults->proxy);
    aad_secret_wipe(&defaults->no_proxy);
}


void
aad_settings_complete(aad_settings_t *settings,
    const aad_defaults_t *defaults)
{
    if (settings->authority_host == NULL) {
        settings->authority_host = defaults->authority_host.data;
    }

    if (settings->scope == NULL) {
        settings->scope = AAD_SCOPE_DEFAULT;
    }

    /*
     * HTTPS_PROXY is for https, as its name says, and NO_PROXY belongs to the
     * proxy of the environment
     */

    if (settings->proxy == NULL
        && strncmp(settings->authority_host, "https:", 6) == 0
        && defaults->proxy.length != 0)
    {
        settings->proxy = defaults->proxy.data;

        if (defaults->no_proxy.length != 0) {
            settings->no_proxy = defaults->no_proxy.data;
        }
    }

    if (settings->proxy != NULL && settings->proxy[0] == '\0') {
        settings->proxy = NULL;
    }
}


static int
aad_defaults_authority_host(aad_defaults_t *defaults,
    const aad_environment_t *environment, aad_error_t *error)
{
    char         host[AAD_HOST_BYTES];
    const char  *value;
    aad_error_t  wrong;

    value = environment->variable(environment->data, "AZURE_AUTHORITY_HOST");

    if (value == NULL || value[0] == '\0') {
        value = AAD_AUTHORITY_HOST;
    }

    if (aad_authority_host(value, host, sizeof(host), &wrong) != 0) {
        return aad_error(error, "AZURE_AUTHORITY_HOST in the environment: %s",
                         wrong.text);
    }

    if (aad_secret_append_text(&defaults->authority_host, host) != 0) {
        return aad_error(error, "out of memory");
    }

    return 0;
}


static int
aad_defaults_proxy(aad_defaults_t *defaults,
    const aad_environment_t *environment, aad_error_t *error)
{
    const char   *value;
    aad_error_t   wrong;

    value = aad_defaults_variable(environment, "https_proxy", "HTTPS_PROXY");

    if (value != NULL && value[0] != '\0') {

        /* "host:port" is common there, and what it means to curl */

        if ((strstr(value, "://") == NULL
             && aad_secret_append_text(&defaults->proxy, "http://") != 0)
            || aad_secret_append_text(&defaults->proxy, value) != 0)
        {
            return aad_error(error, "HTTPS_PROXY in the environment is too "
                             "long");
        }

        if (aad_proxy(defaults->proxy.data, &wrong) != 0) {
            return aad_error(error, "HTTPS_PROXY in the environment: %s",
                             wrong.text);
        }
    }

    value = aad_defaults_variable(environment, "no_proxy", "NO_PROXY");

    if (value != NULL
        && aad_secret_append_text(&defaults->no_proxy, value) != 0)
    {
        return aad_error(error, "NO_PROXY in the environment is too long");
    }

    return 0;
}


/* lower case first, as curl has it */
static const char *
aad_defaults_variable(const aad_environment_t *environment, const char *small,
    const char *capital)
{
    const char  *value;

    value = environment->variable(environment->data, small);

    if (value == NULL) {
        value = environment->variable(environment->data, capital);
    }

    return value;
}
