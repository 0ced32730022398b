
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * An identity made of real settings, with two loopback servers to ask: one is
 * the machine's managed identity endpoint, the other one is the authority.
 */


#ifndef _UNIT_IDENTITY_H_INCLUDED_
#define _UNIT_IDENTITY_H_INCLUDED_


#include "server.h"


#define UNIT_VARIABLES_MAX  16
#define UNIT_TIMEOUT_MS     10000

/* how often something that passes is asked for in such a time: retry.c */
#define UNIT_AUTHORITY_TRIES    3
#define UNIT_IMDS_TRIES         2
#define UNIT_MACHINE_TRIES      3

#define UNIT_TOKEN_TARGET   "/" UNIT_TENANT "/oauth2/v2.0/token"

/* as managed identity endpoints and Entra answer */
#define UNIT_MACHINE_TOKEN  "{\"access_token\":\"machine-token\","            \
                            "\"expires_in\":\"3599\","                        \
                            "\"resource\":\"" UNIT_RESOURCE "\","             \
                            "\"token_type\":\"Bearer\"}"
#define UNIT_APP_TOKEN      "{\"token_type\":\"Bearer\",\"expires_in\":3599," \
                            "\"ext_expires_in\":3599,"                        \
                            "\"access_token\":\"app-token\"}"


typedef struct {
    unit_server_t           machine;
    unit_server_t           authority;
    int                     closed;         /* a socket that refuses */
    char                    closed_url[64];
    char                    directory[UNIT_DIRECTORY_BYTES];
    unit_clock_t            clock;
    aad_hooks_t             hooks;
    char                   *texts[UNIT_VARIABLES_MAX];
    unit_variable_t         variables[UNIT_VARIABLES_MAX + 1];
    size_t                  variables_count;
    char                    authority_host[128];
    aad_settings_t          settings;
    aad_token_t             token;
    aad_report_t            report;
} unit_identity_t;


/* a variable of the environment that the steps made after it will find */
static inline void
unit_identity_variable(unit_identity_t *identity, const char *name,
    const char *value)
{
    char    *text;
    size_t   i;

    for (i = 0; i < identity->variables_count; i++) {
        if (strcmp(identity->variables[i].name, name) == 0) {
            break;
        }
    }

    assert_true(i < UNIT_VARIABLES_MAX);

    text = strdup(value);
    free(identity->texts[i]);

    identity->texts[i] = text;
    identity->variables[i].name = name;
    identity->variables[i].value = text;

    if (i == identity->variables_count) {
        identity->variables_count++;
    }
}


static inline void
unit_identity_authority(unit_identity_t *identity, const char *url)
{
    aad_error_t  error;

    assert_int_equal(aad_authority_host(url, identity->authority_host,
                                        sizeof(identity->authority_host),
                                        &error), 0);
    identity->settings.authority_host = identity->authority_host;
}


static inline int
unit_identity_setup(void **state)
{
    int               port;
    unit_identity_t  *identity;

    identity = calloc(1, sizeof(unit_identity_t));
    assert_non_null(identity);
    *state = identity;

    unit_server_start(&identity->machine);
    unit_server_start(&identity->authority);

    identity->closed = unit_loopback_socket(&port);
    snprintf(identity->closed_url, sizeof(identity->closed_url),
             "http://127.0.0.1:%d", port);

    unit_directory(identity->directory, sizeof(identity->directory));

    identity->hooks = unit_clock_start(&identity->clock);
    identity->settings.scope = UNIT_SCOPE;
    unit_identity_authority(identity, identity->authority.url);

    /* no test asks the real address */

    unit_identity_variable(identity, "AZURE_POD_IDENTITY_AUTHORITY_HOST",
                           identity->machine.url);

    aad_secret_init(&identity->token.access_token, 0);

    return 0;
}


static inline int
unit_identity_teardown(void **state)
{
    size_t            i;
    unit_identity_t  *identity = *state;

    aad_token_wipe(&identity->token);

    for (i = 0; i < identity->settings.chain_length; i++) {
        aad_credential_destroy(identity->settings.chain[i]);
    }

    for (i = 0; i < identity->variables_count; i++) {
        free(identity->texts[i]);
    }

    unit_server_end(&identity->machine);
    unit_server_end(&identity->authority);
    close(identity->closed);
    unit_remove(identity->directory, "");
    free(identity);

    return 0;
}


/* The next step of the chain; names and values of parameters, then NULL. */
static inline void
unit_identity_step(unit_identity_t *identity, const char *type, ...)
{
    va_list             args;
    const char         *name;
    aad_error_t         error;
    aad_credential_t   *credential;
    aad_environment_t   environment;

    environment = unit_environment(identity->variables, identity->directory);

    credential = aad_credential_create(type, &environment, &error);
    assert_non_null(credential);

    identity->settings.chain[identity->settings.chain_length++] = credential;

    va_start(args, type);

    for (name = va_arg(args, const char *); name != NULL;
         name = va_arg(args, const char *))
    {
        if (aad_credential_set(credential, name, va_arg(args, const char *),
                               &error)
            != 0)
        {
            fail_msg("%s", error.text);
        }
    }

    va_end(args);

    if (aad_credential_complete(credential, &error) != 0) {
        fail_msg("%s", error.text);
    }
}


static inline void
unit_identity_secret_step(unit_identity_t *identity, const char *secret)
{
    unit_identity_step(identity, "client_secret", "tenant_id", UNIT_TENANT,
                       "client_id", UNIT_CLIENT, "secret", secret, NULL);
}


static inline aad_result_t
unit_identity_ask_step(unit_identity_t *identity, size_t only,
    int64_t timeout_ms)
{
    aad_token_wipe(&identity->token);

    return aad_get_token(&identity->settings, &identity->hooks, timeout_ms,
                         only, &identity->token, &identity->report);
}


static inline aad_result_t
unit_identity_ask(unit_identity_t *identity)
{
    return unit_identity_ask_step(identity, AAD_CHAIN_STEPS_MAX,
                                  UNIT_TIMEOUT_MS);
}


static inline const char *
unit_identity_reason(const unit_identity_t *identity, size_t attempt)
{
    assert_true(attempt < identity->report.count);

    return identity->report.attempts[attempt].reason;
}


#define unit_identity_test(test)                                              \
    cmocka_unit_test_setup_teardown(test, unit_identity_setup,                \
                                    unit_identity_teardown)


#endif /* _UNIT_IDENTITY_H_INCLUDED_ */
