
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * nginx's configuration as a tree: its grammar and its includes, of no
 * directive but "include" the meaning.  All is bounded: a file's size, that
 * of all files together, and how deep blocks and includes may go.
 */


#include "tool.h"

#include <glob.h>
#include <stdlib.h>
#include <string.h>


#define TOOL_FILE_BYTES_MAX         16777216
#define TOOL_ALL_BYTES_MAX          67108864
#define TOOL_PATH_BYTES_MAX         4096
#define TOOL_DEPTH_MAX              64

/* nginx reads through a buffer of this size, which a word must fit into */
#define TOOL_WORD_BYTES_MAX         4095


struct tool_file_s {
    tool_file_t            *next;
    char                   *name;
};


typedef struct {
    tool_configuration_t   *configuration;
    const char             *file;
    const char             *p;
    const char             *end;
    unsigned                line;
    unsigned                depth;
} tool_reader_t;


/* how a directive has ended, or what there was in its place */
typedef enum {
    TOOL_SEMICOLON,
    TOOL_BLOCK_START,
    TOOL_BLOCK_END,
    TOOL_FILE_END,
    TOOL_ERROR
} tool_end_t;


static int tool_read_file(tool_configuration_t *configuration,
    const char *path, unsigned depth, tool_directive_t ***tail,
    aad_error_t *error);
static int tool_read_text(tool_configuration_t *configuration,
    const char *name, const char *text, size_t length, unsigned depth,
    tool_directive_t ***tail);
static int tool_read_block(tool_reader_t *reader, int is_block,
    tool_directive_t ***tail);
static int tool_read_children(tool_reader_t *reader,
    tool_directive_t *directive);
static tool_end_t tool_read_directive(tool_reader_t *reader,
    tool_directive_t *directive);
static int tool_read_word(tool_reader_t *reader, tool_directive_t *directive);
static const char *tool_read_to_word_end(tool_reader_t *reader);
static int tool_add_word(tool_directive_t *directive, const char *start,
    const char *end);
static int tool_read_include(tool_reader_t *reader,
    const tool_directive_t *directive, tool_directive_t ***tail);
static int tool_is_lua(const tool_directive_t *directive);
static int tool_skip_lua(tool_reader_t *reader);
static void tool_skip_lua_string(tool_reader_t *reader);
static int tool_skip_lua_bracket(tool_reader_t *reader);
static char tool_next(tool_reader_t *reader);
static int tool_is_space(char c);
static int tool_fault(tool_reader_t *reader, unsigned line,
    const char *message);
static void tool_directives_wipe(tool_directive_t *directive);
static void tool_directive_wipe(tool_directive_t *directive);


int
tool_configuration_read(tool_configuration_t *configuration,
    const char *file, const char *directory)
{
    tool_directive_t  **tail;

    memset(configuration, 0, sizeof(tool_configuration_t));

    configuration->directory = directory;
    tail = &configuration->directives;

    return tool_read_file(configuration, file, 0, &tail,
                          &configuration->error);
}


int
tool_configuration_parse(tool_configuration_t *configuration,
    const char *name, const char *text, size_t length, const char *directory)
{
    tool_directive_t  **tail;

    memset(configuration, 0, sizeof(tool_configuration_t));

    configuration->directory = directory;
    tail = &configuration->directives;

    return tool_read_text(configuration, name, text, length, 0, &tail);
}


void
tool_configuration_wipe(tool_configuration_t *configuration)
{
    tool_file_t  *file;

    tool_directives_wipe(configuration->directives);
    configuration->directives = NULL;

    while (configuration->files != NULL) {
        file = configuration->files;
        configuration->files = file->next;

        free(file->name);
        free(file);
    }
}


/*
 * Appends a file's directives at the tail.  Returns 0; or -1 with the reason
 * in 'error' where the file could not be read, or in the configuration, which
 * may be the same, where it could.
 */
static int
tool_read_file(tool_configuration_t *configuration, const char *path,
    unsigned depth, tool_directive_t ***tail, aad_error_t *error)
{
    int           rc;
    aad_secret_t  content;

    aad_secret_init(&content, TOOL_FILE_BYTES_MAX);

    if (aad_file_read(path, &content, error) != 0) {
        return -1;
    }

    rc = tool_read_text(configuration, path, content.data, content.length,
                        depth, tail);

    aad_secret_wipe(&content);

    return rc;
}


static int
tool_read_text(tool_configuration_t *configuration, const char *name,
    const char *text, size_t length, unsigned depth,
    tool_directive_t ***tail)
{
    tool_file_t    *file;
    tool_reader_t   reader;

    file = calloc(1, sizeof(tool_file_t));

    if (file == NULL || (file->name = strdup(name)) == NULL) {
        free(file);
        return aad_error(&configuration->error, "out of memory");
    }

    file->next = configuration->files;
    configuration->files = file;

    reader.configuration = configuration;
    reader.file = file->name;
    reader.p = text;
    reader.end = text + length;
    reader.line = 1;
    reader.depth = depth;

    configuration->bytes += length;

    if (configuration->bytes > TOOL_ALL_BYTES_MAX) {
        return tool_fault(&reader, 1, "the configuration is too large, or a "
                          "file includes itself");
    }

    return tool_read_block(&reader, 0, tail);
}


static int
tool_read_block(tool_reader_t *reader, int is_block,
    tool_directive_t ***tail)
{
    tool_end_t         end;
    tool_directive_t  *directive;

    if (reader->depth >= TOOL_DEPTH_MAX) {
        return tool_fault(reader, reader->line, "blocks or includes are "
                          "nested too deep");
    }

    for ( ;; ) {
        directive = calloc(1, sizeof(tool_directive_t));
        if (directive == NULL) {
            return tool_fault(reader, reader->line, "out of memory");
        }

        end = tool_read_directive(reader, directive);

        if (end != TOOL_SEMICOLON && end != TOOL_BLOCK_START) {

            tool_directive_wipe(directive);

            if (end == TOOL_BLOCK_END && !is_block) {
                return tool_fault(reader, reader->line, "unexpected \"}\"");
            }

            if (end == TOOL_FILE_END && is_block) {
                return tool_fault(reader, reader->line, "unexpected end of "
                                  "file, expecting \"}\"");
            }

            return end == TOOL_ERROR ? -1 : 0;
        }

        directive->file = reader->file;
        directive->line = reader->line;
        directive->is_block = end == TOOL_BLOCK_START;

        if (strcmp(directive->words[0], "include") == 0) {

            if (tool_read_include(reader, directive, tail) != 0) {
                tool_directive_wipe(directive);
                return -1;
            }

            tool_directive_wipe(directive);
            continue;
        }

        **tail = directive;
        *tail = &directive->next;

        if (directive->is_block && tool_read_children(reader, directive) != 0)
        {
            return -1;
        }
    }
}


static int
tool_read_children(tool_reader_t *reader, tool_directive_t *directive)
{
    int                 rc;
    tool_directive_t  **tail;

    if (tool_is_lua(directive)) {
        return tool_skip_lua(reader);
    }

    tail = &directive->children;

    reader->depth++;
    rc = tool_read_block(reader, 1, &tail);
    reader->depth--;

    return rc;
}


static tool_end_t
tool_read_directive(tool_reader_t *reader, tool_directive_t *directive)
{
    char  c, unexpected[16];

    while (reader->p != reader->end) {

        c = *reader->p;

        if (tool_is_space(c)) {
            (void) tool_next(reader);
            continue;
        }

        if (c == '#') {
            while (reader->p != reader->end && tool_next(reader) != '\n') {
                /* void */
            }

            continue;
        }

        if (c == ';' || c == '{' || c == '}') {
            reader->p++;

            if ((directive->count == 0) == (c == '}')) {
                return c == ';' ? TOOL_SEMICOLON
                       : c == '{' ? TOOL_BLOCK_START : TOOL_BLOCK_END;
            }

            snprintf(unexpected, sizeof(unexpected), "unexpected \"%c\"", c);
            (void) tool_fault(reader, reader->line, unexpected);

            return TOOL_ERROR;
        }

        if (tool_read_word(reader, directive) != 0) {
            return TOOL_ERROR;
        }
    }

    if (directive->count != 0) {
        (void) tool_fault(reader, reader->line, "unexpected end of file, "
                          "expecting \";\" or \"}\"");
        return TOOL_ERROR;
    }

    return TOOL_FILE_END;
}


static int
tool_read_word(tool_reader_t *reader, tool_directive_t *directive)
{
    char         quote;
    unsigned     line;
    const char  *start, *end;

    quote = *reader->p;
    line = reader->line;

    if (quote != '"' && quote != '\'') {

        start = reader->p;
        end = tool_read_to_word_end(reader);

    } else {
        start = ++reader->p;

        while (reader->p != reader->end && *reader->p != quote) {

            if (tool_next(reader) == '\\' && reader->p != reader->end) {
                (void) tool_next(reader);
            }
        }

        end = reader->p;

        if (end != reader->end) {
            reader->p++;
        }
    }

    /* the word itself is not repeated, it may be a secret */

    if (end - start > TOOL_WORD_BYTES_MAX) {
        return tool_fault(reader, line, "too long parameter, is a quote or "
                          "a \";\" missing?");
    }

    if (reader->p == reader->end) {
        return tool_fault(reader, reader->line, "unexpected end of file, "
                          "expecting \";\" or \"}\"");
    }

    if ((quote == '"' || quote == '\'')
        && !tool_is_space(*reader->p) && strchr(";{)", *reader->p) == NULL)
    {
        return tool_fault(reader, reader->line, "a blank or \";\" must "
                          "follow after a closing quote");
    }

    if (tool_add_word(directive, start, end) != 0) {
        return tool_fault(reader, line, "out of memory");
    }

    return 0;
}


/* a '{' belongs to the word where a variable begins, as in "${name}" */
static const char *
tool_read_to_word_end(tool_reader_t *reader)
{
    char  c;
    int   is_variable;

    is_variable = 0;

    while (reader->p != reader->end) {

        c = *reader->p;

        if (tool_is_space(c) || c == ';' || (c == '{' && !is_variable)) {
            break;
        }

        (void) tool_next(reader);

        is_variable = c == '$' || (c == '{' && is_variable);

        if (c == '\\' && reader->p != reader->end) {
            (void) tool_next(reader);
        }
    }

    return reader->p;
}


static int
tool_add_word(tool_directive_t *directive, const char *start,
    const char *end)
{
    char  *word, **words;

    words = realloc(directive->words,
                    (directive->count + 1) * sizeof(char *));
    if (words == NULL) {
        return -1;
    }

    directive->words = words;

    word = malloc(end - start + 1);
    if (word == NULL) {
        return -1;
    }

    words[directive->count++] = word;

    while (start != end) {

        if (*start == '\\' && end - start > 1) {

            switch (start[1]) {

            case '"':
            case '\'':
            case '\\':
                start++;
                break;

            case 't':
                *word++ = '\t';
                start += 2;
                continue;

            case 'r':
                *word++ = '\r';
                start += 2;
                continue;

            case 'n':
                *word++ = '\n';
                start += 2;
                continue;
            }
        }

        *word++ = *start++;
    }

    *word = '\0';

    return 0;
}


/* nginx's rules: relative to the folder of the configuration, a pattern that
   matches nothing is nothing, and a name without a pattern must be there */
static int
tool_read_include(tool_reader_t *reader, const tool_directive_t *directive,
    tool_directive_t ***tail)
{
    int           rc;
    char          path[TOOL_PATH_BYTES_MAX];
    char         *name;
    glob_t        found;
    size_t        i, n;
    aad_error_t   error;

    if (directive->count != 2) {
        return tool_fault(reader, reader->line, "invalid number of arguments "
                          "in \"include\" directive");
    }

    if (directive->is_block) {
        return tool_fault(reader, reader->line, "directive \"include\" is "
                          "not terminated by \";\"");
    }

    name = directive->words[1];

    n = snprintf(path, sizeof(path), "%s%s",
                 name[0] == '/' ? "" : reader->configuration->directory,
                 name);

    if (n >= sizeof(path)) {
        return tool_fault(reader, reader->line, "the name of the file to "
                          "include is too long");
    }

    error.text[0] = '\0';

    if (strpbrk(path, "*?[") == NULL) {
        rc = tool_read_file(reader->configuration, path, reader->depth + 1,
                            tail, &error);

    } else {
        rc = glob(path, 0, NULL, &found);

        if (rc == GLOB_NOMATCH) {
            return 0;
        }

        if (rc != 0) {
            return tool_fault(reader, reader->line, "the folder to include "
                              "from cannot be read");
        }

        for (i = 0; i < found.gl_pathc && rc == 0; i++) {
            rc = tool_read_file(reader->configuration, found.gl_pathv[i],
                                reader->depth + 1, tail, &error);
        }

        globfree(&found);
    }

    if (rc != 0 && error.text[0] != '\0') {
        return tool_fault(reader, reader->line, error.text);
    }

    return rc;
}


static int
tool_is_lua(const tool_directive_t *directive)
{
    static const char  suffix[] = "_by_lua_block";

    size_t  length;

    length = strlen(directive->words[0]);

    return length >= sizeof(suffix) - 1
           && strcmp(directive->words[0] + length - (sizeof(suffix) - 1),
                     suffix)
              == 0;
}


/* Lua has quotes, comments and braces of its own. */
static int
tool_skip_lua(tool_reader_t *reader)
{
    char    c;
    size_t  braces;

    braces = 1;

    while (reader->p != reader->end) {

        c = *reader->p;

        if (c == '"' || c == '\'') {
            tool_skip_lua_string(reader);
            continue;
        }

        if (c == '[' && tool_skip_lua_bracket(reader)) {
            continue;
        }

        (void) tool_next(reader);

        if (c == '-' && reader->p != reader->end && *reader->p == '-') {

            reader->p++;

            if (reader->p != reader->end && *reader->p == '['
                && tool_skip_lua_bracket(reader))
            {
                continue;
            }

            while (reader->p != reader->end && tool_next(reader) != '\n') {
                /* void */
            }

            continue;
        }

        braces += c == '{';
        braces -= c == '}';

        if (braces == 0) {
            return 0;
        }
    }

    return tool_fault(reader, reader->line, "unexpected end of file, "
                      "expecting \"}\"");
}


static void
tool_skip_lua_string(tool_reader_t *reader)
{
    char  c, quote;

    quote = tool_next(reader);

    while (reader->p != reader->end) {

        c = tool_next(reader);

        if (c == quote) {
            return;
        }

        if (c == '\\' && reader->p != reader->end) {
            (void) tool_next(reader);
        }
    }
}


/* "[[ ... ]]" or "[==[ ... ]==]"; returns whether there was one */
static int
tool_skip_lua_bracket(tool_reader_t *reader)
{
    size_t       level;
    const char  *p;

    p = reader->p + 1;

    while (p != reader->end && *p == '=') {
        p++;
    }

    if (p == reader->end || *p != '[') {
        return 0;
    }

    level = p - reader->p - 1;
    reader->p = p + 1;

    while (reader->p != reader->end) {

        if (tool_next(reader) != ']') {
            continue;
        }

        p = reader->p;

        while (p != reader->end && *p == '=') {
            p++;
        }

        if (p != reader->end && *p == ']'
            && (size_t) (p - reader->p) == level)
        {
            reader->p = p + 1;
            break;
        }
    }

    return 1;
}


/* takes a character, and counts lines */
static char
tool_next(tool_reader_t *reader)
{
    if (*reader->p == '\n') {
        reader->line++;
    }

    return *reader->p++;
}


static int
tool_is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}


static int
tool_fault(tool_reader_t *reader, unsigned line, const char *message)
{
    reader->configuration->error_file = reader->file;
    reader->configuration->error_line = line;

    return aad_error(&reader->configuration->error, "%s", message);
}


static void
tool_directives_wipe(tool_directive_t *directive)
{
    tool_directive_t  *next;

    while (directive != NULL) {
        next = directive->next;
        tool_directives_wipe(directive->children);
        tool_directive_wipe(directive);
        directive = next;
    }
}


static void
tool_directive_wipe(tool_directive_t *directive)
{
    size_t  i;

    for (i = 0; i < directive->count; i++) {
        explicit_bzero(directive->words[i], strlen(directive->words[i]));
        free(directive->words[i]);
    }

    free(directive->words);
    free(directive);
}
