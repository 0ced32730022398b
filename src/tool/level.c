
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * The settings of one level of a configuration: which directives there are,
 * where they may stand, and what each of them takes.
 */


#include "tool.h"

#include <string.h>


typedef struct {
    const char             *name;
    unsigned                kinds;          /* of levels; 0: left to nginx */
    size_t                  least;          /* arguments */
    size_t                  most;
    int                     repeated;
    int                   (*set)(tool_level_t *level, char **arguments,
        size_t count, const aad_environment_t *environment,
        aad_error_t *error);
} tool_level_directive_t;


static const tool_level_directive_t *tool_level_find(const char *name);
static int tool_level_on(tool_level_t *level, char **arguments,
    size_t count, const aad_environment_t *environment, aad_error_t *error);
static int tool_level_credential(tool_level_t *level, char **arguments,
    size_t count, const aad_environment_t *environment, aad_error_t *error);
static int tool_level_scope(tool_level_t *level, char **arguments,
    size_t count, const aad_environment_t *environment, aad_error_t *error);
static int tool_level_authority_host(tool_level_t *level, char **arguments,
    size_t count, const aad_environment_t *environment, aad_error_t *error);
static int tool_level_ssl_trusted_certificate(tool_level_t *level,
    char **arguments, size_t count, const aad_environment_t *environment,
    aad_error_t *error);
static int tool_level_proxy(tool_level_t *level, char **arguments,
    size_t count, const aad_environment_t *environment, aad_error_t *error);
static int tool_level_timeout(tool_level_t *level, char **arguments,
    size_t count, const aad_environment_t *environment, aad_error_t *error);
static int tool_level_keep(aad_secret_t *value, const char *text,
    aad_error_t *error);


#define TOOL_LEVELS  (TOOL_HTTP|TOOL_SERVER|TOOL_LOCATION)

/* those that decide on no token are known, and no more: nginx checks them */
static const tool_level_directive_t  tool_level_directives[] = {
    { "aoai_aad", TOOL_LEVELS|TOOL_IF, 1, 1, 0, tool_level_on },
    { "aoai_aad_credential", TOOL_LEVELS, 1, SIZE_MAX, 1,
      tool_level_credential },
    { "aoai_aad_scope", TOOL_LEVELS, 1, 1, 0, tool_level_scope },
    { "aoai_aad_authority_host", TOOL_LEVELS, 1, 1, 0,
      tool_level_authority_host },
    { "aoai_aad_ssl_trusted_certificate", TOOL_LEVELS, 1, 1, 0,
      tool_level_ssl_trusted_certificate },
    { "aoai_aad_proxy", TOOL_LEVELS, 1, 1, 0, tool_level_proxy },
    { "aoai_aad_timeout", TOOL_LEVELS, 1, 1, 0, tool_level_timeout },
    { "aoai_aad_allowed_hosts", 0, 0, 0, 0, NULL },
    { "aoai_aad_cache_size", 0, 0, 0, 0, NULL },
    { "aoai_aad_caller", 0, 0, 0, 0, NULL },
    { "aoai_aad_on_behalf_of_max_age", 0, 0, 0, 0, NULL },
    { "aoai_aad_status", 0, 0, 0, 0, NULL },
    { NULL, 0, 0, 0, 0, NULL }
};


void
tool_level_init(tool_level_t *level, tool_level_t *parent, unsigned kind)
{
    memset(level, 0, sizeof(tool_level_t));

    level->parent = parent;
    level->kind = kind;

    aad_secret_init(&level->scope, AAD_HOST_BYTES * 4);
    aad_secret_init(&level->authority_host, AAD_HOST_BYTES);
    aad_secret_init(&level->ca_certificates, AAD_PEM_BYTES_MAX);
    aad_secret_init(&level->proxy, AAD_HOST_BYTES * 4);
}


void
tool_level_wipe(tool_level_t *level)
{
    size_t  i;

    for (i = 0; i < level->chain_length; i++) {
        aad_credential_destroy(level->chain[i]);
    }

    level->chain_length = 0;

    aad_secret_wipe(&level->scope);
    aad_secret_wipe(&level->authority_host);
    aad_secret_wipe(&level->ca_certificates);
    aad_secret_wipe(&level->proxy);
}


int
tool_level_directive(tool_level_t *level, unsigned kind,
    const tool_directive_t *directive, const aad_environment_t *environment,
    aad_error_t *error)
{
    size_t                         count;
    aad_error_t                    wrong;
    const tool_level_directive_t  *d;

    d = tool_level_find(directive->words[0]);

    if (d == NULL) {
        return aad_error(error, "unknown directive \"%s\"",
                         directive->words[0]);
    }

    if (d->kinds == 0) {
        return 0;
    }

    if (!(d->kinds & kind)) {
        return aad_error(error, "\"%s\" directive is not allowed here",
                         d->name);
    }

    if (directive->is_block) {
        return aad_error(error, "directive \"%s\" is not terminated by \";\"",
                         d->name);
    }

    count = directive->count - 1;

    if (count < d->least || count > d->most) {
        return aad_error(error, "invalid number of arguments in \"%s\" "
                         "directive", d->name);
    }

    if (!d->repeated && tool_level_is_set(level, d->name)) {
        return aad_error(error, "\"%s\" directive is duplicate", d->name);
    }

    level->set |= 1u << (d - tool_level_directives);

    if (d->set(level, directive->words + 1, count, environment, &wrong)
        != 0)
    {
        return aad_error(error, "\"%s\": %s", d->name, wrong.text);
    }

    return 0;
}


int
tool_level_value(tool_level_t *level, const char *name, char **arguments,
    size_t count, const aad_environment_t *environment, aad_error_t *error)
{
    const tool_level_directive_t  *d;

    d = tool_level_find(name);
    level->set |= 1u << (d - tool_level_directives);

    return d->set(level, arguments, count, environment, error);
}


int
tool_level_is_set(const tool_level_t *level, const char *name)
{
    return (level->set >> (tool_level_find(name) - tool_level_directives))
           & 1;
}


static const tool_level_directive_t *
tool_level_find(const char *name)
{
    const tool_level_directive_t  *d;

    for (d = tool_level_directives; d->name != NULL; d++) {
        if (strcmp(d->name, name) == 0) {
            return d;
        }
    }

    return NULL;
}


static int
tool_level_on(tool_level_t *level, char **arguments, size_t count,
    const aad_environment_t *environment, aad_error_t *error)
{
    (void) count;
    (void) environment;

    /* there is no caller here; the app's own token tries its credential */

    if (strcmp(arguments[0], "on") == 0
        || strcmp(arguments[0], "on_behalf_of") == 0)
    {
        level->on = 1;

    } else if (strcmp(arguments[0], "off") != 0) {
        return aad_error(error, "\"%s\" is wrong, it must be \"on\", "
                         "\"off\" or \"on_behalf_of\"", arguments[0]);
    }

    return 0;
}


static int
tool_level_credential(tool_level_t *level, char **arguments, size_t count,
    const aad_environment_t *environment, aad_error_t *error)
{
    size_t             i;
    aad_credential_t  *credential;

    if (level->chain_length == AAD_CHAIN_STEPS_MAX) {
        return aad_error(error, "a chain has %d steps at most",
                         AAD_CHAIN_STEPS_MAX);
    }

    credential = aad_credential_create(arguments[0], environment, error);

    if (credential == NULL) {
        return -1;
    }

    level->chain[level->chain_length++] = credential;

    for (i = 1; i < count; i++) {

        if (aad_credential_set_parameter(credential, arguments[i], error)
            != 0)
        {
            return -1;
        }
    }

    return aad_credential_complete(credential, error);
}


static int
tool_level_scope(tool_level_t *level, char **arguments, size_t count,
    const aad_environment_t *environment, aad_error_t *error)
{
    (void) count;
    (void) environment;

    if (aad_scope(arguments[0], error) != 0) {
        return -1;
    }

    return tool_level_keep(&level->scope, arguments[0], error);
}


static int
tool_level_authority_host(tool_level_t *level, char **arguments,
    size_t count, const aad_environment_t *environment, aad_error_t *error)
{
    char  host[AAD_HOST_BYTES];

    (void) count;
    (void) environment;

    if (aad_authority_host(arguments[0], host, sizeof(host), error) != 0) {
        return -1;
    }

    return tool_level_keep(&level->authority_host, host, error);
}


static int
tool_level_ssl_trusted_certificate(tool_level_t *level, char **arguments,
    size_t count, const aad_environment_t *environment, aad_error_t *error)
{
    int           rc;
    aad_secret_t  path;

    (void) count;

    aad_secret_init(&path, AAD_HOST_BYTES * 4);
    aad_secret_wipe(&level->ca_certificates);

    if ((arguments[0][0] != '/' && environment->directory != NULL
         && aad_secret_append_text(&path, environment->directory) != 0)
        || aad_secret_append_text(&path, arguments[0]) != 0)
    {
        rc = aad_error(error, "the file's name is too long");

    } else {
        rc = aad_ca_certificates(path.data, &level->ca_certificates, error);
    }

    aad_secret_wipe(&path);

    return rc;
}


static int
tool_level_proxy(tool_level_t *level, char **arguments, size_t count,
    const aad_environment_t *environment, aad_error_t *error)
{
    (void) count;
    (void) environment;

    if (strcmp(arguments[0], "off") == 0) {
        aad_secret_wipe(&level->proxy);
        return 0;
    }

    if (aad_proxy(arguments[0], error) != 0) {
        return -1;
    }

    return tool_level_keep(&level->proxy, arguments[0], error);
}


static int
tool_level_timeout(tool_level_t *level, char **arguments, size_t count,
    const aad_environment_t *environment, aad_error_t *error)
{
    (void) count;
    (void) environment;

    return aad_time(arguments[0], &level->timeout_ms, error);
}


static int
tool_level_keep(aad_secret_t *value, const char *text, aad_error_t *error)
{
    aad_secret_wipe(value);

    if (aad_secret_append_text(value, text) != 0) {
        return aad_error(error, "is too long");
    }

    return 0;
}
