
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * nginx's configuration as a tree, with what it includes put in.  All is
 * bounded: a file's size, that of all files together, and how deep blocks and
 * includes may go.
 */


#include "tool.h"

#include <glob.h>
#include <stdlib.h>
#include <string.h>


#define TOOL_FILE_BYTES_MAX         16777216
#define TOOL_ALL_BYTES_MAX          67108864
#define TOOL_PATH_BYTES_MAX         4096
#define TOOL_DEPTH_MAX              64


struct tool_file_s {
    tool_file_t            *next;
    char                   *name;
};


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
static int tool_read_include(tool_reader_t *reader,
    const tool_directive_t *directive, tool_directive_t ***tail);
static int tool_is_lua(const tool_directive_t *directive);
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


int
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
