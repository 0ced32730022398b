
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * What the files of this folder share; for this folder only.
 */


#ifndef _TOOL_H_INCLUDED_
#define _TOOL_H_INCLUDED_


#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "aad.h"

#include <stdio.h>


#define TOOL_OK             0       /* there is a token for each identity */
#define TOOL_NO_TOKEN       1
#define TOOL_WRONG_USAGE    2

#define TOOL_NAME_BYTES     1024
#define TOOL_FETCH_MS       10000   /* as long as nginx gives a fetch */


/* One option of a command; a list of these ends with an empty one. */
typedef struct {
    const char             *name;           /* "--json" */
    const char             *value;          /* what it is, NULL: takes none */
    const char             *help;

    /* called for each time it is given; returns 0, or -1 with the reason */
    int                   (*set)(void *data, const char *value,
        aad_error_t *error);
} tool_option_t;

typedef struct {
    const char             *name;           /* of the command */
    const char             *usage;
    const char             *help;
    const tool_option_t    *options;

    /* an argument that is no option, NULL: there are none */
    int                   (*argument)(void *data, const char *value,
        aad_error_t *error);
} tool_command_t;

/*
 * Reads the arguments of a command.  Returns 0; -1 when they were wrong, and
 * standard error has said so; or 1 when help was asked for and printed.
 */
int tool_options(const tool_command_t *command, char **argv, void *data);


/* A directive as nginx's grammar has it. */
typedef struct tool_directive_s  tool_directive_t;

struct tool_directive_s {
    char                  **words;          /* the first is its name */
    size_t                  count;
    const char             *file;
    unsigned                line;           /* of its ';' or '{', as nginx
                                               counts it */
    int                     is_block;
    tool_directive_t       *children;       /* of a block, includes put in */
    tool_directive_t       *next;
};

typedef struct tool_file_s  tool_file_t;

/* A configuration with all that it includes. */
typedef struct {
    tool_directive_t       *directives;
    const char             *directory;      /* for relative names, ends in '/',
                                               "": the current one */
    tool_file_t            *files;
    size_t                  bytes;          /* read so far */

    /* where reading has stopped */
    aad_error_t             error;
    const char             *error_file;     /* NULL: the error names it */
    unsigned                error_line;
} tool_configuration_t;

/*
 * Reads a file with all that it includes.  Returns 0, or -1 with the error in
 * the configuration; tool_configuration_wipe() ends it in both cases.
 * 'directory' must outlive it.
 */
int tool_configuration_read(tool_configuration_t *configuration,
    const char *file, const char *directory);

/* The same for a text, which the name stands for in messages. */
int tool_configuration_parse(tool_configuration_t *configuration,
    const char *name, const char *text, size_t length,
    const char *directory);

/* Wipes what may have been a secret, and frees. */
void tool_configuration_wipe(tool_configuration_t *configuration);


/* A text that is being read. */
typedef struct {
    tool_configuration_t   *configuration;
    const char             *file;
    const char             *p;
    const char             *end;
    unsigned                line;
    unsigned                depth;
} tool_reader_t;

/* How a directive has ended, or what there was in its place. */
typedef enum {
    TOOL_SEMICOLON,
    TOOL_BLOCK_START,
    TOOL_BLOCK_END,
    TOOL_FILE_END,
    TOOL_ERROR
} tool_end_t;

/* Reads a directive's words.  On TOOL_ERROR tool_fault() was called. */
tool_end_t tool_read_directive(tool_reader_t *reader,
    tool_directive_t *directive);

/* Passes over a block of Lua.  Returns 0, or -1 after tool_fault(). */
int tool_skip_lua(tool_reader_t *reader);

/* Notes what is wrong, and where, in the configuration.  Returns -1. */
int tool_fault(tool_reader_t *reader, unsigned line, const char *message);


/* The levels of a configuration that directives may stand in. */
#define TOOL_MAIN           0x01
#define TOOL_HTTP           0x02
#define TOOL_SERVER         0x04
#define TOOL_LOCATION       0x08
#define TOOL_IF             0x10            /* in a location */
#define TOOL_LIMIT_EXCEPT   0x20
#define TOOL_OTHER          0x40            /* has no settings of ours */

/* Who answers in a location, as far as it matters. */
typedef enum {
    TOOL_NOBODY = 0,
    TOOL_PROXY_PASS,
    TOOL_ANOTHER
} tool_handler_t;

/* The settings of one level; what is not set there is its parent's. */
typedef struct tool_level_s  tool_level_t;

struct tool_level_s {
    tool_level_t           *parent;
    tool_level_t           *next;           /* of all, in the order of files */
    const tool_directive_t *directive;      /* that opened it */
    unsigned                kind;
    tool_handler_t          handler;
    unsigned                set;            /* bit a directive */
    int                     on;
    aad_credential_t       *chain[AAD_CHAIN_STEPS_MAX];
    size_t                  chain_length;
    aad_secret_t            scope;
    aad_secret_t            authority_host;
    aad_secret_t            ca_certificates;
    aad_secret_t            proxy;          /* "": off */
    int64_t                 timeout_ms;
};

void tool_level_init(tool_level_t *level, tool_level_t *parent,
    unsigned kind);
void tool_level_wipe(tool_level_t *level);

/*
 * Sets what a directive of the module says.  Returns 0, also for directives
 * that say nothing of an identity, or -1 with the reason in 'error'.  Values
 * that may be secrets are wiped from its words.
 */
int tool_level_directive(tool_level_t *level, unsigned kind,
    const tool_directive_t *directive, const aad_environment_t *environment,
    aad_error_t *error);

/* The same by a directive's name, wherever the value is from. */
int tool_level_value(tool_level_t *level, const char *name, char **arguments,
    size_t count, const aad_environment_t *environment, aad_error_t *error);

int tool_level_is_set(const tool_level_t *level, const char *name);

/* Whether requests of a location get a token. */
int tool_level_has_token(const tool_level_t *level);


/* What is wrong in a configuration, and where. */
typedef struct tool_fault_s  tool_fault_t;

struct tool_fault_s {
    tool_fault_t           *next;
    aad_error_t             error;
    const char             *file;           /* NULL: at no place in it */
    unsigned                line;
};

typedef struct {
    tool_fault_t           *first;
    size_t                  count;
} tool_faults_t;

void tool_fault_add(tool_faults_t *faults, const aad_error_t *error,
    const char *file, unsigned line);
void tool_faults_wipe(tool_faults_t *faults);


typedef struct {
    tool_level_t           *first;
    tool_level_t           *last;
} tool_levels_t;

/*
 * Makes the levels of a configuration, each with its settings, and adds what
 * is wrong to 'faults'.  The directives must outlive them; their values that
 * may be secrets are wiped.
 */
void tool_levels_read(tool_levels_t *levels, tool_directive_t *directives,
    const aad_environment_t *environment, tool_faults_t *faults);
void tool_levels_wipe(tool_levels_t *levels);


/* An identity, and how it went when it was asked for a token. */
typedef struct {
    char                    name[TOOL_NAME_BYTES];
    aad_settings_t          settings;
    unsigned char           digest[AAD_DIGEST_BYTES];
    int64_t                 timeout_ms;
    aad_result_t            result;
    int64_t                 now;            /* Unix seconds */
    aad_token_t             token;
    aad_report_t            report;
} tool_identity_t;

/* What the environment gives to all identities. */
typedef struct {
    aad_environment_t       environment;
    aad_defaults_t          defaults;
    aad_credential_t       *chain[AAD_CHAIN_STEPS_MAX];
    size_t                  chain_length;
} tool_defaults_t;

/*
 * Reads the environment and makes the default chain.  Returns 0, or -1 with
 * the reason in 'error'; to be ended with tool_defaults_wipe() in both cases.
 */
int tool_defaults_init(tool_defaults_t *defaults, const char *directory,
    aad_error_t *error);
void tool_defaults_wipe(tool_defaults_t *defaults);

/*
 * The identity of a level, with pointers into level and defaults.  Returns 0,
 * or -1 when libcrypto fails.
 */
int tool_identity_init(tool_identity_t *identity, const tool_level_t *level,
    const tool_defaults_t *defaults);

/* Asks for a token.  tool_identity_wipe() ends what it leaves. */
void tool_identity_ask(tool_identity_t *identity);
void tool_identity_wipe(tool_identity_t *identity);

/*
 * The step that is to blame for there being no token, or NULL where every one
 * is unavailable.
 */
const aad_attempt_t *tool_identity_blame(const tool_identity_t *identity);


/* For people: whom is asked for what; the steps; the token or its lack. */
void tool_text_settings(FILE *out, const tool_identity_t *identity);
void tool_text_steps(FILE *out, const tool_identity_t *identity);
void tool_text_token(FILE *out, const tool_identity_t *identity);

/* A line of words of others, in which nothing can upset a terminal. */
void tool_text_words(FILE *out, const char *words);


/* For scripts: an object that is filled and printed; see json.c. */
typedef struct cJSON  tool_json_t;

tool_json_t *tool_json_create(void);

/* Appends an object to the array of that name, which is made if need be. */
tool_json_t *tool_json_append(tool_json_t *object, const char *array);
void tool_json_array(tool_json_t *object, const char *name);

/* NULL or "" is null. */
void tool_json_text(tool_json_t *object, const char *name, const char *text);
void tool_json_words(tool_json_t *object, const char *name, char **words,
    size_t count);
void tool_json_number(tool_json_t *object, const char *name, int64_t number);

/* How it went; the token itself only where 'with_token' is true. */
void tool_json_identity(tool_json_t *object,
    const tool_identity_t *identity, int with_token);

/* An error that kept anything from being asked. */
void tool_json_error(tool_json_t *object, const char *message);

/* Prints on one line, wipes and frees. */
void tool_json_print(FILE *out, tool_json_t *object);


int tool_token(char **argv);
int tool_check(char **argv);


#endif /* _TOOL_H_INCLUDED_ */
