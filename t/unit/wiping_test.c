
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * Memory that is wiped before it is freed.
 */


#include "check.h"

#include <stddef.h>

#include <openssl/crypto.h>


static struct {
    void                   *block;
    size_t                  length;
} wiped;


/* stands in for libcrypto's own, to see what is wiped before it is freed */
void
OPENSSL_cleanse(void *block, size_t length)
{
    wiped.block = block;
    wiped.length = length;
}


static void
test_what_is_given_can_be_written(void **state)
{
    char    *p;
    size_t   size;

    (void) state;

    for (size = 0; size < 4096; size = size * 2 + 1) {
        p = aad_wiping_malloc(size);
        assert_non_null(p);
        assert_int_equal((uintptr_t) p % _Alignof(max_align_t), 0);

        memset(p, 'x', size);
        aad_wiping_free(p);
    }

    aad_wiping_free(NULL);
}


static void
test_more_and_less_memory_keep_the_content(void **state)
{
    char  *p;

    (void) state;

    p = aad_wiping_realloc(NULL, 4);
    assert_non_null(p);
    memcpy(p, "abc", 4);

    p = aad_wiping_realloc(p, 4096);
    assert_non_null(p);
    assert_string_equal(p, "abc");

    p = aad_wiping_realloc(p, 2);
    assert_non_null(p);
    assert_memory_equal(p, "ab", 2);

    aad_wiping_free(p);
}


static void
test_what_is_freed_or_outgrown_is_wiped(void **state)
{
    char  *p, *larger;

    (void) state;

    p = aad_wiping_malloc(100);
    larger = aad_wiping_realloc(p, 200);

    assert_ptr_equal(wiped.block, p);
    assert_int_equal(wiped.length, 100);

    aad_wiping_free(larger);

    assert_ptr_equal(wiped.block, larger);
    assert_int_equal(wiped.length, 200);
}


static void
test_copy_of_a_string_is_its_own(void **state)
{
    char   text[] = "text";
    char  *copy, *empty;

    (void) state;

    copy = aad_wiping_strdup(text);
    empty = aad_wiping_strdup("");
    text[0] = 'n';

    assert_string_equal(copy, "text");
    assert_string_equal(empty, "");

    aad_wiping_free(copy);
    aad_wiping_free(empty);
}


static void
test_array_is_of_zeros(void **state)
{
    char    *p;
    size_t   i;

    (void) state;

    p = aad_wiping_calloc(3, 5);
    assert_non_null(p);

    for (i = 0; i < 15; i++) {
        assert_int_equal(p[i], 0);
    }

    aad_wiping_free(p);
}


static void
test_sizes_that_do_not_exist_are_refused(void **state)
{
    (void) state;

    assert_null(aad_wiping_malloc(SIZE_MAX));
    assert_null(aad_wiping_malloc(SIZE_MAX - 8));
    assert_null(aad_wiping_calloc(SIZE_MAX / 2, 3));
    assert_null(aad_wiping_calloc(2, SIZE_MAX / 2 + 1));
}


int
main(void)
{
    static const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_what_is_given_can_be_written),
        cmocka_unit_test(test_more_and_less_memory_keep_the_content),
        cmocka_unit_test(test_what_is_freed_or_outgrown_is_wiped),
        cmocka_unit_test(test_copy_of_a_string_is_its_own),
        cmocka_unit_test(test_array_is_of_zeros),
        cmocka_unit_test(test_sizes_that_do_not_exist_are_refused)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
