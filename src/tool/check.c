
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * aoai-aad check: the identities of an nginx configuration, each asked once.
 */


#include "tool.h"

#include <stdlib.h>
#include <string.h>


#define TOOL_PATH_BYTES     4096


/* where an identity is used */
typedef struct tool_place_s  tool_place_t;

struct tool_place_s {
    tool_place_t           *next;
    const tool_directive_t *directive;
};


typedef struct tool_check_identity_s  tool_check_identity_t;

struct tool_check_identity_s {
    tool_check_identity_t  *next;
    tool_identity_t         identity;
    tool_place_t           *places;
};


typedef struct {
    const char             *file;           /* as it was given */
    const char             *prefix;
    int                     json;
    char                    path[TOOL_PATH_BYTES];
    char                    directory[TOOL_PATH_BYTES];
    tool_configuration_t    configuration;
    tool_defaults_t         defaults;
    tool_levels_t           levels;
    tool_faults_t           faults;
    tool_check_identity_t  *identities;
    size_t                  count;          /* of identities */
    size_t                  without_token;
} tool_check_t;


static int tool_check_json(void *data, const char *value, aad_error_t *error);
static int tool_check_prefix(void *data, const char *value,
    aad_error_t *error);
static int tool_check_file(void *data, const char *value, aad_error_t *error);
static int tool_check_run(tool_check_t *check);
static int tool_check_path(tool_check_t *check);
static void tool_check_read(tool_check_t *check);
static void tool_check_identify(tool_check_t *check);
static int tool_check_add(tool_check_t *check, const tool_level_t *level,
    aad_error_t *error);
static tool_check_identity_t *tool_check_find(tool_check_t *check,
    const tool_identity_t *identity);
static void tool_check_ask(tool_check_t *check);
static void tool_check_text(const tool_check_identity_t *identity,
    size_t number, size_t count);
static void tool_check_say_json(const tool_check_t *check);
static size_t tool_check_words(const tool_directive_t *directive);
static void tool_check_say_faults(const tool_check_t *check);
static void tool_check_wipe(tool_check_t *check);


static const tool_option_t  tool_check_options[] = {
    { "--json", NULL, "print one JSON object", tool_check_json },
    { "--prefix", "DIR", "what FILE is relative to, as for nginx -p",
      tool_check_prefix },
    { "-p", "DIR", "the same", tool_check_prefix },
    { NULL, NULL, NULL, NULL }
};


static const tool_command_t  tool_check_command = {
    "check",
    "FILE [OPTION]...",
    "Reads an nginx configuration, and asks once for a token of each identity\n"
    "in it, which is that of all locations with equal settings.  Run it with\n"
    "the environment that nginx is started with, and as a user who may read\n"
    "the same files.\n",
    tool_check_options,
    tool_check_file
};


int
tool_check(char **argv)
{
    int            rc;
    tool_check_t  *check;

    check = calloc(1, sizeof(tool_check_t));
    if (check == NULL) {
        fprintf(stderr, "aoai-aad: out of memory\n");
        return TOOL_NO_TOKEN;
    }

    rc = tool_options(&tool_check_command, argv, check);

    if (rc == 1) {
        rc = TOOL_OK;

    } else if (rc == -1) {
        rc = TOOL_WRONG_USAGE;

    } else if (check->file == NULL) {
        fprintf(stderr, "aoai-aad check: the configuration's FILE is needed, "
                "such as /etc/nginx/nginx.conf\n");
        rc = TOOL_WRONG_USAGE;

    } else {
        rc = tool_check_run(check);
    }

    tool_check_wipe(check);
    free(check);

    return rc;
}


static int
tool_check_run(tool_check_t *check)
{
    if (tool_check_path(check) != 0) {
        fprintf(stderr, "aoai-aad check: the name of the FILE is too long\n");
        return TOOL_WRONG_USAGE;
    }

    tool_check_read(check);

    if (check->faults.first == NULL) {
        tool_check_identify(check);
    }

    if (check->faults.first == NULL) {
        tool_check_ask(check);
    }

    if (check->json) {
        tool_check_say_json(check);

    } else {
        tool_check_say_faults(check);
    }

    return check->faults.first == NULL && check->without_token == 0
           ? TOOL_OK : TOOL_NO_TOKEN;
}


/* Other names are relative to the folder of the file, as they are to nginx. */
static int
tool_check_path(tool_check_t *check)
{
    size_t       n;
    const char  *slash;

    if (check->prefix == NULL || check->file[0] == '/') {
        n = snprintf(check->path, sizeof(check->path), "%s", check->file);

    } else {
        n = snprintf(check->path, sizeof(check->path), "%s/%s",
                     check->prefix, check->file);
    }

    if (n >= sizeof(check->path)) {
        return -1;
    }

    slash = strrchr(check->path, '/');

    if (slash != NULL) {
        snprintf(check->directory, sizeof(check->directory), "%.*s",
                 (int) (slash + 1 - check->path), check->path);
    }

    return 0;
}


static void
tool_check_read(tool_check_t *check)
{
    aad_environment_t      environment;
    tool_configuration_t  *configuration;

    configuration = &check->configuration;

    if (tool_configuration_read(configuration, check->path, check->directory)
        != 0)
    {
        tool_fault_add(&check->faults, &configuration->error,
                       configuration->error_file, configuration->error_line);
        return;
    }

    environment.variable = aad_process_variable;
    environment.data = NULL;
    environment.directory = check->directory;

    tool_levels_read(&check->levels, configuration->directives, &environment,
                     &check->faults);
}


/* Finds out which identities there are, and where each is used. */
static void
tool_check_identify(tool_check_t *check)
{
    aad_error_t          error;
    const tool_level_t  *level;

    for (level = check->levels.first; level != NULL; level = level->next) {

        if (tool_level_has_token(level)
            && tool_check_add(check, level, &error) != 0)
        {
            tool_fault_add(&check->faults, &error, NULL, 0);
            return;
        }
    }

    if (check->count == 0) {
        aad_error(&error, "no location has both a \"proxy_pass\" and "
                  "\"aoai_aad on\": there is nothing to check");
        tool_fault_add(&check->faults, &error, NULL, 0);
    }
}


static int
tool_check_add(tool_check_t *check, const tool_level_t *level,
    aad_error_t *error)
{
    tool_place_t            *place, **p;
    tool_identity_t          identity;
    tool_check_identity_t   *found;

    /* with the first location that needs it, as nginx does */

    if (check->count == 0
        && tool_defaults_init(&check->defaults, check->directory, error) != 0)
    {
        return -1;
    }

    if (tool_identity_init(&identity, level, &check->defaults) != 0) {
        return aad_error(error, "libcrypto cannot be used");
    }

    found = tool_check_find(check, &identity);
    place = calloc(1, sizeof(tool_place_t));

    if (found == NULL || place == NULL) {
        free(place);
        return aad_error(error, "out of memory");
    }

    if (found->identity.timeout_ms < identity.timeout_ms) {
        found->identity.timeout_ms = identity.timeout_ms;
    }

    place->directive = level->directive;

    for (p = &found->places; *p != NULL; p = &(*p)->next) {
        /* void */
    }

    *p = place;

    return 0;
}


/* The one with equal settings, a new one if there is none. */
static tool_check_identity_t *
tool_check_find(tool_check_t *check, const tool_identity_t *identity)
{
    tool_check_identity_t  **p;

    for (p = &check->identities; *p != NULL; p = &(*p)->next) {

        if (memcmp((*p)->identity.digest, identity->digest, AAD_DIGEST_BYTES)
            == 0)
        {
            return *p;
        }
    }

    *p = calloc(1, sizeof(tool_check_identity_t));

    if (*p != NULL) {
        (*p)->identity = *identity;
        check->count++;

        /* what comes too late for one request is there for the next */

        (*p)->identity.timeout_ms = TOOL_FETCH_MS;
    }

    return *p;
}


static void
tool_check_ask(tool_check_t *check)
{
    size_t                  number;
    tool_check_identity_t  *identity;

    number = 0;

    for (identity = check->identities; identity != NULL;
         identity = identity->next)
    {
        tool_identity_ask(&identity->identity);

        if (identity->identity.result != AAD_OK) {
            check->without_token++;
        }

        /* each at once: the next one may take its time */

        if (!check->json) {
            tool_check_text(identity, ++number, check->count);
            (void) fflush(stdout);
        }
    }

    if (!check->json) {
        printf("%zu of %zu with a token\n",
               check->count - check->without_token, check->count);
    }
}


static void
tool_check_text(const tool_check_identity_t *identity, size_t number,
    size_t count)
{
    size_t               i;
    const tool_place_t  *place;

    printf("Identity %zu of %zu, of\n", number, count);

    for (place = identity->places; place != NULL; place = place->next) {

        printf("    ");
        tool_text_words(stdout, place->directive->file);
        printf(":%u", place->directive->line);

        for (i = 0; i < tool_check_words(place->directive); i++) {
            printf(" ");
            tool_text_words(stdout, place->directive->words[i]);
        }

        printf("\n");
    }

    printf("\n");

    tool_text_settings(stdout, &identity->identity);
    printf("\n");

    tool_text_steps(stdout, &identity->identity);
    printf("\n");

    tool_text_token(stdout, &identity->identity);
    printf("\n");
}


static void
tool_check_say_json(const tool_check_t *check)
{
    tool_json_t                  *json, *item, *where;
    const tool_fault_t           *fault;
    const tool_place_t           *place;
    const tool_check_identity_t  *identity;

    json = tool_json_create();

    tool_json_text(json, "file", check->path);
    tool_json_array(json, "identities");
    tool_json_array(json, "errors");

    for (fault = check->faults.first; fault != NULL; fault = fault->next) {

        item = tool_json_append(json, "errors");

        tool_json_text(item, "file", fault->file);

        if (fault->file != NULL) {
            tool_json_number(item, "line", fault->line);

        } else {
            tool_json_text(item, "line", NULL);
        }

        tool_json_text(item, "message", fault->error.text);
    }

    for (identity = check->identities; identity != NULL;
         identity = identity->next)
    {
        if (check->faults.first != NULL) {
            break;
        }

        item = tool_json_append(json, "identities");

        tool_json_array(item, "places");

        for (place = identity->places; place != NULL; place = place->next) {

            where = tool_json_append(item, "places");

            tool_json_text(where, "file", place->directive->file);
            tool_json_number(where, "line", place->directive->line);
            tool_json_words(where, "block", place->directive->words,
                            tool_check_words(place->directive));
        }

        tool_json_identity(item, &identity->identity, 0);
    }

    tool_json_print(stdout, json);
}


/* how many of its words are shown: a condition may hold a secret */
static size_t
tool_check_words(const tool_directive_t *directive)
{
    return strcmp(directive->words[0], "if") == 0 ? 1 : directive->count;
}


static void
tool_check_say_faults(const tool_check_t *check)
{
    const tool_fault_t  *fault;

    for (fault = check->faults.first; fault != NULL; fault = fault->next) {

        fprintf(stderr, "aoai-aad: ");
        tool_text_words(stderr, fault->error.text);

        if (fault->file != NULL) {
            fprintf(stderr, " in ");
            tool_text_words(stderr, fault->file);
            fprintf(stderr, ":%u", fault->line);
        }

        fprintf(stderr, "\n");
    }
}


static void
tool_check_wipe(tool_check_t *check)
{
    tool_place_t           *place;
    tool_check_identity_t  *identity;

    while (check->identities != NULL) {

        identity = check->identities;
        check->identities = identity->next;

        while (identity->places != NULL) {
            place = identity->places;
            identity->places = place->next;
            free(place);
        }

        tool_identity_wipe(&identity->identity);
        free(identity);
    }

    tool_defaults_wipe(&check->defaults);
    tool_levels_wipe(&check->levels);
    tool_faults_wipe(&check->faults);
    tool_configuration_wipe(&check->configuration);
}


static int
tool_check_json(void *data, const char *value, aad_error_t *error)
{
    tool_check_t *check = data;

    (void) value;
    (void) error;

    check->json = 1;

    return 0;
}


static int
tool_check_prefix(void *data, const char *value, aad_error_t *error)
{
    tool_check_t *check = data;

    (void) error;

    check->prefix = value;

    return 0;
}


static int
tool_check_file(void *data, const char *value, aad_error_t *error)
{
    tool_check_t *check = data;

    if (check->file != NULL) {
        return aad_error(error, "one FILE can be checked at a time");
    }

    check->file = value;

    return 0;
}
