
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * An identity from the settings of a level and its parents, and the one call
 * that asks for its token.
 */


#include "tool.h"

#include <string.h>
#include <time.h>


static const tool_level_t *tool_identity_level(const tool_level_t *level,
    const char *name);
static int64_t tool_identity_now(void *data);
static int64_t tool_identity_monotonic_ms(void *data);
static int tool_identity_cancelled(void *data);


static const aad_hooks_t  tool_identity_hooks = {
    tool_identity_now,
    tool_identity_monotonic_ms,
    tool_identity_cancelled,
    NULL,
    NULL
};


int
tool_defaults_init(tool_defaults_t *defaults, const char *directory,
    aad_error_t *error)
{
    aad_credential_t   *credential;
    const char *const  *type;

    memset(defaults, 0, sizeof(tool_defaults_t));

    defaults->environment.variable = aad_process_variable;
    defaults->environment.directory = directory;

    if (aad_defaults_read(&defaults->defaults, &defaults->environment, error)
        != 0)
    {
        return -1;
    }

    for (type = aad_default_chain; *type != NULL; type++) {

        credential = aad_credential_create(*type, &defaults->environment,
                                           error);
        if (credential == NULL) {
            return -1;
        }

        defaults->chain[defaults->chain_length++] = credential;

        if (aad_credential_complete(credential, error) != 0) {
            return -1;
        }
    }

    return 0;
}


void
tool_defaults_wipe(tool_defaults_t *defaults)
{
    size_t  i;

    for (i = 0; i < defaults->chain_length; i++) {
        aad_credential_destroy(defaults->chain[i]);
    }

    defaults->chain_length = 0;

    aad_defaults_wipe(&defaults->defaults);
}


int
tool_identity_init(tool_identity_t *identity, const tool_level_t *level,
    const tool_defaults_t *defaults)
{
    size_t               i;
    aad_settings_t      *settings;
    const tool_level_t  *l;

    memset(identity, 0, sizeof(tool_identity_t));

    settings = &identity->settings;

    l = tool_identity_level(level, "aoai_aad_authority_host");
    settings->authority_host = l ? l->authority_host.data : NULL;

    l = tool_identity_level(level, "aoai_aad_scope");
    settings->scope = l ? l->scope.data : NULL;

    l = tool_identity_level(level, "aoai_aad_ssl_trusted_certificate");
    settings->ca_certificates = l ? l->ca_certificates.data : NULL;

    l = tool_identity_level(level, "aoai_aad_proxy");
    settings->proxy = l ? l->proxy.data : NULL;

    l = tool_identity_level(level, "aoai_aad_timeout");
    identity->timeout_ms = l ? l->timeout_ms : TOOL_FETCH_MS;

    aad_settings_complete(settings, &defaults->defaults);

    l = tool_identity_level(level, "aoai_aad_credential");

    settings->chain_length = l ? l->chain_length : defaults->chain_length;

    for (i = 0; i < settings->chain_length; i++) {
        settings->chain[i] = l ? l->chain[i] : defaults->chain[i];
    }

    aad_settings_describe(settings, identity->name, sizeof(identity->name));

    return aad_settings_digest(settings, identity->digest);
}


void
tool_identity_ask(tool_identity_t *identity)
{
    identity->result = aad_get_token(&identity->settings,
                                     &tool_identity_hooks,
                                     identity->timeout_ms,
                                     identity->settings.chain_length,
                                     &identity->token, &identity->report);

    identity->now = tool_identity_now(NULL);
}


void
tool_identity_wipe(tool_identity_t *identity)
{
    aad_token_wipe(&identity->token);
}


const aad_attempt_t *
tool_identity_blame(const tool_identity_t *identity)
{
    if (identity->result != AAD_FAILED) {
        return NULL;
    }

    return &identity->report.attempts[identity->report.count - 1];
}


/* the nearest level that has the directive, or NULL */
static const tool_level_t *
tool_identity_level(const tool_level_t *level, const char *name)
{
    while (level != NULL && !tool_level_is_set(level, name)) {
        level = level->parent;
    }

    return level;
}


static int64_t
tool_identity_now(void *data)
{
    (void) data;

    return (int64_t) time(NULL);
}


static int64_t
tool_identity_monotonic_ms(void *data)
{
    struct timespec  ts;

    (void) data;
    (void) clock_gettime(CLOCK_MONOTONIC, &ts);

    return (int64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}


/* a signal ends the command, and what it has started with it */
static int
tool_identity_cancelled(void *data)
{
    (void) data;

    return 0;
}
