
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * The arguments of a command, and what is said when they are wrong.  An
 * argument that nobody expected is not repeated: where quotes were forgotten
 * it is the parameter of a credential, which may be a secret.
 */


#include "tool.h"

#include <string.h>


#define TOOL_HELP_COLUMN    26


static int tool_option_set(const tool_command_t *command, const char *text,
    const char *following, void *data);
static const tool_option_t *tool_option_find(const tool_command_t *command,
    const char *name, size_t length);
static int tool_option_unknown(const tool_command_t *command,
    const char *name, size_t length);
static void tool_option_help(const tool_command_t *command);


int
tool_options(const tool_command_t *command, char **argv, void *data)
{
    int          rc, only_arguments;
    aad_error_t  error;

    only_arguments = 0;

    for ( /* void */ ; *argv != NULL; argv++) {

        if (!only_arguments && strcmp(*argv, "--") == 0) {
            only_arguments = 1;
            continue;
        }

        if (!only_arguments && (strcmp(*argv, "--help") == 0
                                || strcmp(*argv, "-h") == 0))
        {
            tool_option_help(command);
            return 1;
        }

        if (!only_arguments && (*argv)[0] == '-') {

            rc = tool_option_set(command, *argv, argv[1], data);
            if (rc == -1) {
                return -1;
            }

            argv += rc;
            continue;
        }

        if (command->argument == NULL) {
            fprintf(stderr, "aoai-aad %s: an argument that is no option; "
                    "what has blanks must be quoted, such as "
                    "--credential=\"TYPE name=value\"\n", command->name);
            return -1;
        }

        if (command->argument(data, *argv, &error) != 0) {
            fprintf(stderr, "aoai-aad %s: %s\n", command->name, error.text);
            return -1;
        }
    }

    return 0;
}


/* Returns how many arguments it took besides, or -1. */
static int
tool_option_set(const tool_command_t *command, const char *text,
    const char *following, void *data)
{
    int                   taken;
    size_t                length;
    const char           *value;
    aad_error_t           error;
    const tool_option_t  *option;

    taken = 0;
    length = strcspn(text, "=");
    value = text[length] == '=' ? text + length + 1 : NULL;

    option = tool_option_find(command, text, length);

    if (option == NULL) {
        return tool_option_unknown(command, text, length);
    }

    if (option->value == NULL && value != NULL) {
        fprintf(stderr, "aoai-aad %s: \"%s\" takes no value\n",
                command->name, option->name);
        return -1;
    }

    if (option->value != NULL && value == NULL) {

        if (following == NULL) {
            fprintf(stderr, "aoai-aad %s: \"%s\" needs a value, write "
                    "\"%s=%s\"\n", command->name, option->name, option->name,
                    option->value);
            return -1;
        }

        value = following;
        taken = 1;
    }

    if (option->set(data, value, &error) != 0) {
        fprintf(stderr, "aoai-aad %s: \"%s\": ", command->name,
                option->name);
        tool_text_words(stderr, error.text);
        fprintf(stderr, "\n");
        return -1;
    }

    return taken;
}


static const tool_option_t *
tool_option_find(const tool_command_t *command, const char *name,
    size_t length)
{
    const tool_option_t  *option;

    for (option = command->options; option->name != NULL; option++) {

        if (strlen(option->name) == length
            && memcmp(option->name, name, length) == 0)
        {
            return option;
        }
    }

    return NULL;
}


static int
tool_option_unknown(const tool_command_t *command, const char *name,
    size_t length)
{
    char                  text[AAD_ID_BYTES];
    const tool_option_t  *option;

    snprintf(text, sizeof(text), "%.*s", (int) length, name);
    aad_text_clean(text, sizeof(text), text);

    fprintf(stderr, "aoai-aad %s: unknown option \"%s\", it must be one of:",
            command->name, text);

    for (option = command->options; option->name != NULL; option++) {
        fprintf(stderr, " %s", option->name);
    }

    fprintf(stderr, " --help\n");

    return -1;
}


static void
tool_option_help(const tool_command_t *command)
{
    int                   n;
    const char           *p;
    const tool_option_t  *option;

    printf("Usage: aoai-aad %s %s\n\n%s\n", command->name, command->usage,
           command->help);

    for (option = command->options; option->name != NULL; option++) {

        n = printf("  %s%s%s", option->name, option->value ? "=" : "",
                   option->value ? option->value : "");

        if (n >= TOOL_HELP_COLUMN) {
            printf("\n");
            n = 0;
        }

        printf("%*s", TOOL_HELP_COLUMN - n, "");

        for (p = option->help; *p != '\0'; p++) {

            printf("%c", *p);

            if (*p == '\n') {
                printf("%*s", TOOL_HELP_COLUMN, "");
            }
        }

        printf("\n");
    }

    printf("  %-*s%s\n", TOOL_HELP_COLUMN - 2, "--help", "this text");
}
