
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * From a configuration's tree to the levels that have settings: which block
 * is which level, who answers there, and what was wrong on the way.
 */


#include "tool.h"

#include <stdlib.h>
#include <string.h>


/* who reads more would not */
#define TOOL_FAULTS_MAX     64


typedef struct {
    tool_levels_t           *levels;
    tool_faults_t           *faults;
    const aad_environment_t *environment;
} tool_walk_t;


static void tool_walk(tool_walk_t *walk, tool_directive_t *directive,
    tool_level_t *level, unsigned kind);
static void tool_walk_block(tool_walk_t *walk,
    const tool_directive_t *directive, tool_level_t *parent,
    unsigned parent_kind);
static tool_handler_t tool_walk_handler(const tool_directive_t *directive);


/* any other block has a language of its own, or nothing for us */
static const struct {
    const char             *name;
    unsigned                parents;
    unsigned                kind;
} tool_blocks[] = {
    { "http", TOOL_MAIN, TOOL_HTTP },
    { "events", TOOL_MAIN, TOOL_OTHER },
    { "mail", TOOL_MAIN, TOOL_OTHER },
    { "stream", TOOL_MAIN, TOOL_OTHER },
    { "upstream", TOOL_HTTP|TOOL_OTHER, TOOL_OTHER },
    { "server", TOOL_HTTP, TOOL_SERVER },
    { "server", TOOL_OTHER, TOOL_OTHER },
    { "location", TOOL_SERVER|TOOL_LOCATION, TOOL_LOCATION },
    { "if", TOOL_LOCATION, TOOL_IF },
    { "if", TOOL_SERVER, TOOL_OTHER },
    { "limit_except", TOOL_LOCATION, TOOL_LIMIT_EXCEPT },
    { NULL, 0, 0 }
};


/* the last one of these that a location has is the one who answers */
static const char *const  tool_handlers[] = {
    "fastcgi_pass", "uwsgi_pass", "scgi_pass", "grpc_pass", "memcached_pass",
    "stub_status", "empty_gif", "flv", "mp4", "perl", "js_content", "api",
    "content_by_lua", "content_by_lua_block", "content_by_lua_file",
    "aoai_aad_status", NULL
};


void
tool_levels_read(tool_levels_t *levels, tool_directive_t *directives,
    const aad_environment_t *environment, tool_faults_t *faults)
{
    tool_walk_t  walk;

    levels->first = NULL;
    levels->last = NULL;

    walk.levels = levels;
    walk.faults = faults;
    walk.environment = environment;

    tool_walk(&walk, directives, NULL, TOOL_MAIN);
}


void
tool_levels_wipe(tool_levels_t *levels)
{
    tool_level_t  *level;

    while (levels->first != NULL) {
        level = levels->first;
        levels->first = level->next;

        tool_level_wipe(level);
        free(level);
    }

    levels->last = NULL;
}


/* As nginx has it: a nameless location is reached with its parent's handler
   where it has none of its own. */
int
tool_level_has_token(const tool_level_t *level)
{
    tool_handler_t       handler;
    const tool_level_t  *l;

    handler = level->handler;

    if (handler == TOOL_NOBODY
        && (level->kind & (TOOL_IF|TOOL_LIMIT_EXCEPT)))
    {
        handler = level->parent->handler;
    }

    if (handler != TOOL_PROXY_PASS) {
        return 0;
    }

    for (l = level; l != NULL; l = l->parent) {
        if (tool_level_is_set(l, "aoai_aad")) {
            return l->on;
        }
    }

    return 0;
}


void
tool_fault_add(tool_faults_t *faults, const aad_error_t *error,
    const char *file, unsigned line)
{
    tool_fault_t  *fault, **p;

    for (p = &faults->first; *p != NULL; p = &(*p)->next) {
        /* void */
    }

    if (faults->count == TOOL_FAULTS_MAX) {
        return;
    }

    fault = calloc(1, sizeof(tool_fault_t));
    if (fault == NULL) {
        fprintf(stderr, "aoai-aad: out of memory\n");
        exit(TOOL_NO_TOKEN);
    }

    fault->error = *error;
    fault->file = file;
    fault->line = line;

    *p = fault;
    faults->count++;
}


void
tool_faults_wipe(tool_faults_t *faults)
{
    tool_fault_t  *fault;

    while (faults->first != NULL) {
        fault = faults->first;
        faults->first = fault->next;
        free(fault);
    }
}


static void
tool_walk(tool_walk_t *walk, tool_directive_t *directive,
    tool_level_t *level, unsigned kind)
{
    aad_error_t     error;
    tool_handler_t  handler;

    for ( /* void */ ; directive != NULL; directive = directive->next) {

        if (kind & (TOOL_LOCATION|TOOL_IF|TOOL_LIMIT_EXCEPT)) {

            handler = tool_walk_handler(directive);

            if (handler != TOOL_NOBODY) {
                level->handler = handler;
            }
        }

        if (strncmp(directive->words[0], "aoai_aad", 8) == 0) {

            if (tool_level_directive(level, kind, directive,
                                     walk->environment, &error)
                != 0)
            {
                tool_fault_add(walk->faults, &error, directive->file,
                               directive->line);
            }

        } else if (directive->is_block) {
            tool_walk_block(walk, directive, level, kind);
        }
    }
}


static void
tool_walk_block(tool_walk_t *walk, const tool_directive_t *directive,
    tool_level_t *parent, unsigned parent_kind)
{
    size_t         i;
    tool_level_t  *level;

    for (i = 0; tool_blocks[i].name != NULL; i++) {

        if ((tool_blocks[i].parents & parent_kind)
            && strcmp(tool_blocks[i].name, directive->words[0]) == 0)
        {
            break;
        }
    }

    if (tool_blocks[i].name == NULL) {
        return;
    }

    level = NULL;

    if (tool_blocks[i].kind != TOOL_OTHER) {

        level = malloc(sizeof(tool_level_t));
        if (level == NULL) {
            fprintf(stderr, "aoai-aad: out of memory\n");
            exit(TOOL_NO_TOKEN);
        }

        tool_level_init(level, parent, tool_blocks[i].kind);
        level->directive = directive;

        if (walk->levels->last != NULL) {
            walk->levels->last->next = level;

        } else {
            walk->levels->first = level;
        }

        walk->levels->last = level;
    }

    tool_walk(walk, directive->children, level, tool_blocks[i].kind);
}


static tool_handler_t
tool_walk_handler(const tool_directive_t *directive)
{
    size_t  i;

    if (strcmp(directive->words[0], "proxy_pass") == 0) {
        return TOOL_PROXY_PASS;
    }

    for (i = 0; tool_handlers[i] != NULL; i++) {
        if (strcmp(directive->words[0], tool_handlers[i]) == 0) {
            return TOOL_ANOTHER;
        }
    }

    return TOOL_NOBODY;
}
