
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * The words of nginx's configuration, character by character as nginx takes
 * them; and the end of a block of Lua, which has a grammar of its own.
 */


#include "tool.h"

#include <stdlib.h>
#include <string.h>


/* nginx reads through a buffer of this size, which a word must fit into */
#define TOOL_WORD_BYTES_MAX         4095


static int tool_read_word(tool_reader_t *reader, tool_directive_t *directive);
static const char *tool_read_to_word_end(tool_reader_t *reader);
static int tool_add_word(tool_directive_t *directive, const char *start,
    const char *end);
static void tool_skip_lua_string(tool_reader_t *reader);
static int tool_skip_lua_bracket(tool_reader_t *reader);
static char tool_next(tool_reader_t *reader);
static int tool_is_space(char c);


tool_end_t
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


/* Lua has quotes, comments and braces of its own. */
int
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
