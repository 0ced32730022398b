
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * What a thread leaves behind in libcrypto.
 */


#include "check.h"

#include <pthread.h>

#include <openssl/crypto.h>
#include <openssl/rand.h>


/* pieces that libcrypto has */
static long  unit_pieces;


static void *
unit_malloc(size_t size, const char *file, int line)
{
    void  *p;

    (void) file;
    (void) line;

    p = malloc(size);
    unit_pieces += p != NULL;

    return p;
}


static void *
unit_realloc(void *p, size_t size, const char *file, int line)
{
    if (p == NULL) {
        return unit_malloc(size, file, line);
    }

    return realloc(p, size);
}


static void
unit_free(void *p, const char *file, int line)
{
    (void) file;
    (void) line;

    unit_pieces -= p != NULL;
    free(p);
}


/* Gives what the thread has left, before its own end would free it. */
static void *
unit_thread(void *end)
{
    long           before;
    unsigned char  random[16];

    before = unit_pieces;

    assert_int_equal(RAND_bytes(random, sizeof(random)), 1);

    if (end != NULL) {
        aad_thread_end();
    }

    return (void *) (unit_pieces - before);
}


static long
unit_left(void *end)
{
    void       *left;
    pthread_t   thread;

    assert_int_equal(pthread_create(&thread, NULL, unit_thread, end), 0);
    assert_int_equal(pthread_join(thread, &left), 0);

    return (long) left;
}


static void
test_a_thread_that_ended_has_nothing_left(void **state)
{
    (void) state;

    /* the first one prepares what all share */
    (void) unit_left(NULL);

    assert_true(unit_left(NULL) > 0);
    assert_int_equal(unit_left(""), 0);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_a_thread_that_ended_has_nothing_left),
    };

    if (CRYPTO_set_mem_functions(unit_malloc, unit_realloc, unit_free) != 1) {
        return 1;
    }

    return cmocka_run_group_tests_name("thread", tests, NULL, NULL);
}
