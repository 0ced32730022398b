
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * What every unit test needs: cmocka, the library's insides, a clock that the
 * test turns, an environment that the test wrote, a token with claims.
 */


#ifndef _UNIT_CHECK_H_INCLUDED_
#define _UNIT_CHECK_H_INCLUDED_


#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/evp.h>


#define UNIT_NOW                1700000000
#define UNIT_DIRECTORY_BYTES    256
#define UNIT_PATH_BYTES         512

#define UNIT_TENANT         "11111111-aaaa-4aaa-8aaa-111111111111"
#define UNIT_CLIENT         "22222222-bbbb-4bbb-8bbb-222222222222"
#define UNIT_OBJECT         "33333333-cccc-4ccc-8ccc-333333333333"

#define UNIT_SCOPE          "https://cognitiveservices.azure.com/.default"
#define UNIT_RESOURCE       "https://cognitiveservices.azure.com"

#define unit_count(array)   (sizeof(array) / sizeof((array)[0]))


/* Time of day stands still, time that passes does so 'speed' times as fast. */
typedef struct {
    int64_t                 now;                /* Unix seconds */
    int64_t                 speed;
    int64_t                 started_ms;
    int64_t                 waited_ms;          /* without having slept */
    int64_t                 cancel_after_ms;    /* -1: never */
} unit_clock_t;


/* A list of these ends with an empty one. */
typedef struct {
    const char             *name;
    const char             *value;
} unit_variable_t;


static inline int64_t
unit_real_ms(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return (int64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}


static inline void
unit_sleep_ms(int ms)
{
    struct timespec  ts;

    ts.tv_sec = ms / 1000;
    ts.tv_nsec = (ms % 1000) * 1000000L;

    (void) nanosleep(&ts, NULL);
}


static inline int64_t
unit_clock_now(void *data)
{
    unit_clock_t  *clock = data;

    return clock->now;
}


static inline int64_t
unit_clock_monotonic_ms(void *data)
{
    unit_clock_t  *clock = data;

    return (unit_real_ms() - clock->started_ms) * clock->speed
           + clock->waited_ms;
}


static inline void
unit_clock_wait(void *data, int64_t ms)
{
    unit_clock_t  *clock = data;

    clock->waited_ms += ms;
}


static inline int
unit_clock_cancelled(void *data)
{
    unit_clock_t  *clock = data;

    return clock->cancel_after_ms >= 0
           && unit_real_ms() - clock->started_ms >= clock->cancel_after_ms;
}


static inline aad_hooks_t
unit_clock_start(unit_clock_t *clock)
{
    aad_hooks_t  hooks;

    clock->now = UNIT_NOW;
    clock->speed = 1;
    clock->started_ms = unit_real_ms();
    clock->waited_ms = 0;
    clock->cancel_after_ms = -1;

    hooks.now = unit_clock_now;
    hooks.monotonic_ms = unit_clock_monotonic_ms;
    hooks.cancelled = unit_clock_cancelled;
    hooks.data = clock;
    hooks.wait = unit_clock_wait;

    return hooks;
}


static inline const char *
unit_variable(void *data, const char *name)
{
    const unit_variable_t  *v;

    for (v = data; v->name != NULL; v++) {
        if (strcmp(v->name, name) == 0) {
            return v->value;
        }
    }

    return NULL;
}


static inline aad_environment_t
unit_environment(const unit_variable_t *variables, const char *directory)
{
    aad_environment_t  environment;

    environment.variable = unit_variable;
    environment.data = (void *) variables;
    environment.directory = directory;

    return environment;
}


static inline void
unit_assert_contains(const char *text, const char *part)
{
    if (strstr(text, part) == NULL) {
        fail_msg("\"%s\" is not in \"%s\"", part, text);
    }
}


static inline void
unit_assert_lacks(const char *text, const char *part)
{
    if (strstr(text, part) != NULL) {
        fail_msg("\"%s\" is in \"%s\"", part, text);
    }
}


/* Makes a directory and writes its name, with '/' at the end. */
static inline void
unit_directory(char *directory, size_t size)
{
    const char  *base;

    base = getenv("TMPDIR");

    snprintf(directory, size, "%s/aad-unit-XXXXXX", base ? base : "/tmp");
    assert_non_null(mkdtemp(directory));
    strcat(directory, "/");
}


static inline void
unit_file(const char *directory, const char *name, const char *content,
    size_t length, mode_t mode)
{
    int   fd;
    char  path[UNIT_PATH_BYTES];

    snprintf(path, sizeof(path), "%s%s", directory, name);

    fd = open(path, O_WRONLY|O_CREAT|O_TRUNC|O_CLOEXEC, mode);
    assert_true(fd != -1);
    assert_int_equal(write(fd, content, length), (ssize_t) length);
    close(fd);
}


/* Reads a file as text, cut to 'size' with the NUL; "" when there is none. */
static inline void
unit_read(const char *directory, const char *name, char *text, size_t size)
{
    int      fd;
    char     path[UNIT_PATH_BYTES];
    ssize_t  n;

    snprintf(path, sizeof(path), "%s%s", directory, name);
    text[0] = '\0';

    fd = open(path, O_RDONLY|O_CLOEXEC);
    if (fd == -1) {
        return;
    }

    n = read(fd, text, size - 1);
    text[n > 0 ? n : 0] = '\0';
    close(fd);
}


static inline void
unit_remove(const char *directory, const char *name)
{
    char  path[UNIT_PATH_BYTES];

    snprintf(path, sizeof(path), "%s%s", directory, name);

    if (unlink(path) == -1) {
        (void) rmdir(path);
    }
}


/* A JWT with these claims; nobody checks its signature. */
static inline void
unit_jwt(char *token, size_t size, const char *claims)
{
    char    *p;
    size_t   head;

    static const char  header[] = "eyJhbGciOiJub25lIn0.";
    static const char  signature[] = ".c2lnbmF0dXJl";

    head = sizeof(header) - 1;
    assert_true(head + strlen(claims) * 4 / 3 + 4 + sizeof(signature) < size);

    memcpy(token, header, sizeof(header));
    p = token + head;

    EVP_EncodeBlock((unsigned char *) p, (const unsigned char *) claims,
                    strlen(claims));

    for ( /* void */ ; *p != '\0' && *p != '='; p++) {
        *p = *p == '+' ? '-' : *p == '/' ? '_' : *p;
    }

    memcpy(p, signature, sizeof(signature));
}


#endif /* _UNIT_CHECK_H_INCLUDED_ */
