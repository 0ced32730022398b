
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * aoai-aad token: one chain, named by options, or the default one.
 */


#include "tool.h"

#include <string.h>


typedef struct {
    tool_level_t            level;
    aad_environment_t       environment;
    int                     explain;
    int                     print_token;
    int                     json;
} tool_token_t;


static int tool_token_explain(void *data, const char *value,
    aad_error_t *error);
static int tool_token_print_token(void *data, const char *value,
    aad_error_t *error);
static int tool_token_json(void *data, const char *value,
    aad_error_t *error);
static int tool_token_credential(void *data, const char *value,
    aad_error_t *error);
static int tool_token_scope(void *data, const char *value,
    aad_error_t *error);
static int tool_token_authority_host(void *data, const char *value,
    aad_error_t *error);
static int tool_token_ssl_trusted_certificate(void *data, const char *value,
    aad_error_t *error);
static int tool_token_proxy(void *data, const char *value,
    aad_error_t *error);
static int tool_token_timeout(void *data, const char *value,
    aad_error_t *error);
static int tool_token_set(void *data, const char *directive,
    const char *value, aad_error_t *error);
static int tool_token_ask(tool_token_t *token);
static int tool_token_failed(const tool_token_t *token,
    const aad_error_t *error);
static void tool_token_text(const tool_token_t *token,
    const tool_identity_t *identity);


static const tool_option_t  tool_token_options[] = {
    { "--explain", NULL, "say what each step of the chain said",
      tool_token_explain },
    { "--print-token", NULL,
      "print the token, and it alone, to standard output;\n"
      "what is said goes to standard error",
      tool_token_print_token },
    { "--json", NULL, "print one JSON object", tool_token_json },
    { "--credential", "\"TYPE name=value ...\"",
      "a step of the chain, as of aoai_aad_credential;\n"
      "may be repeated; without it, the default chain.\n"
      "Secrets belong into files, not into a command",
      tool_token_credential },
    { "--scope", "SCOPE", "as of aoai_aad_scope",
      tool_token_scope },
    { "--authority-host", "URL", "as of aoai_aad_authority_host",
      tool_token_authority_host },
    { "--ssl-trusted-certificate", "FILE",
      "as of aoai_aad_ssl_trusted_certificate",
      tool_token_ssl_trusted_certificate },
    { "--proxy", "URL|off", "as of aoai_aad_proxy", tool_token_proxy },
    { "--timeout", "TIME", "how long it may take, \"10s\" unless given",
      tool_token_timeout },
    { NULL, NULL, NULL, NULL }
};


static const tool_command_t  tool_token_command = {
    "token",
    "[OPTION]...",
    "Asks for a token, and prints whose it is and how long it lasts, or why\n"
    "there is none.  Most options are the module's directives; environment\n"
    "variables count as they do for nginx.  File names are relative to the\n"
    "current directory.\n",
    tool_token_options,
    NULL
};


int
tool_token(char **argv)
{
    int           rc;
    tool_token_t  token;

    memset(&token, 0, sizeof(tool_token_t));

    token.environment.variable = aad_process_variable;
    tool_level_init(&token.level, NULL, 0);

    rc = tool_options(&tool_token_command, argv, &token);

    if (rc != 0) {
        rc = rc == 1 ? TOOL_OK : TOOL_WRONG_USAGE;

    } else {
        rc = tool_token_ask(&token);
    }

    tool_level_wipe(&token.level);

    return rc;
}


static int
tool_token_ask(tool_token_t *token)
{
    int               rc;
    aad_error_t       error;
    tool_json_t      *json;
    tool_defaults_t   defaults;
    tool_identity_t   identity;

    if (tool_defaults_init(&defaults, NULL, &error) != 0) {
        tool_defaults_wipe(&defaults);
        return tool_token_failed(token, &error);
    }

    if (tool_identity_init(&identity, &token->level, &defaults) != 0) {
        aad_error(&error, "libcrypto cannot be used");
        tool_defaults_wipe(&defaults);
        return tool_token_failed(token, &error);
    }

    tool_identity_ask(&identity);

    rc = identity.result == AAD_OK ? TOOL_OK : TOOL_NO_TOKEN;

    if (token->json) {
        json = tool_json_create();
        tool_json_identity(json, &identity, token->print_token);
        tool_json_print(stdout, json);

    } else {
        tool_token_text(token, &identity);
    }

    tool_identity_wipe(&identity);
    tool_defaults_wipe(&defaults);

    return rc;
}


/* nobody could be asked */
static int
tool_token_failed(const tool_token_t *token, const aad_error_t *error)
{
    tool_json_t  *json;

    if (token->json) {
        json = tool_json_create();
        tool_json_array(json, "attempts");
        tool_json_error(json, error->text);
        tool_json_print(stdout, json);

    } else {
        fprintf(stderr, "aoai-aad: ");
        tool_text_words(stderr, error->text);
        fprintf(stderr, "\n");
    }

    return TOOL_NO_TOKEN;
}


static void
tool_token_text(const tool_token_t *token, const tool_identity_t *identity)
{
    FILE  *out;

    out = token->print_token ? stderr : stdout;

    if (token->explain) {
        tool_text_settings(out, identity);
        fprintf(out, "\n");
    }

    if (token->explain || identity->result != AAD_OK) {
        tool_text_steps(out, identity);
        fprintf(out, "\n");
    }

    tool_text_token(out, identity);

    if (token->print_token && identity->result == AAD_OK) {
        printf("%s\n", identity->token.access_token.data);
    }
}


static int
tool_token_explain(void *data, const char *value, aad_error_t *error)
{
    tool_token_t *token = data;

    (void) value;
    (void) error;

    token->explain = 1;

    return 0;
}


static int
tool_token_print_token(void *data, const char *value, aad_error_t *error)
{
    tool_token_t *token = data;

    (void) value;
    (void) error;

    token->print_token = 1;

    return 0;
}


static int
tool_token_json(void *data, const char *value, aad_error_t *error)
{
    tool_token_t *token = data;

    (void) value;
    (void) error;

    token->json = 1;

    return 0;
}


/* the words have nginx's grammar, for a value may need quotes */
static int
tool_token_credential(void *data, const char *value, aad_error_t *error)
{
    tool_token_t *token = data;

    int                    rc;
    aad_secret_t           text;
    tool_directive_t      *directive;
    tool_configuration_t   configuration;

    aad_secret_init(&text, AAD_TOKEN_BYTES_MAX * 4);

    if (aad_secret_append_text(&text, value) != 0
        || aad_secret_append(&text, ";", 1) != 0)
    {
        aad_secret_wipe(&text);
        return aad_error(error, "is too long");
    }

    rc = tool_configuration_parse(&configuration, "", text.data, text.length,
                                  "");
    directive = configuration.directives;

    if (rc != 0 || directive == NULL || directive->next != NULL
        || directive->is_block)
    {
        rc = aad_error(error, "must be one type and its parameters, such as "
                       "\"managed_identity client_id=...\"; a value with "
                       "blanks or one of ; { } needs quotes of its own");

    } else {
        rc = tool_level_value(&token->level, "aoai_aad_credential",
                              directive->words, directive->count,
                              &token->environment, error);
    }

    tool_configuration_wipe(&configuration);
    aad_secret_wipe(&text);

    return rc;
}


static int
tool_token_scope(void *data, const char *value, aad_error_t *error)
{
    return tool_token_set(data, "aoai_aad_scope", value, error);
}


static int
tool_token_authority_host(void *data, const char *value, aad_error_t *error)
{
    return tool_token_set(data, "aoai_aad_authority_host", value, error);
}


static int
tool_token_ssl_trusted_certificate(void *data, const char *value,
    aad_error_t *error)
{
    return tool_token_set(data, "aoai_aad_ssl_trusted_certificate", value,
                          error);
}


static int
tool_token_proxy(void *data, const char *value, aad_error_t *error)
{
    return tool_token_set(data, "aoai_aad_proxy", value, error);
}


static int
tool_token_timeout(void *data, const char *value, aad_error_t *error)
{
    return tool_token_set(data, "aoai_aad_timeout", value, error);
}


static int
tool_token_set(void *data, const char *directive, const char *value,
    aad_error_t *error)
{
    tool_token_t *token = data;

    char  *arguments[1];

    arguments[0] = (char *) value;

    return tool_level_value(&token->level, directive, arguments, 1,
                            &token->environment, error);
}
