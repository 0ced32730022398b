
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * Secrets: their maximum, their growth, and that they leave nothing behind.
 */


#include "check.h"

#include <openssl/crypto.h>


/* the blocks that were wiped, the last one first */
static struct {
    void                   *block;
    size_t                  length;
}  wiped[2];


/* stands in for libcrypto's own, to see what is wiped before it is freed */
void
OPENSSL_cleanse(void *block, size_t length)
{
    wiped[1] = wiped[0];
    wiped[0].block = block;
    wiped[0].length = length;

    explicit_bzero(block, length);
}


static int
setup(void **state)
{
    static aad_secret_t  secret;

    aad_secret_init(&secret, 64);
    memset(wiped, 0, sizeof(wiped));
    *state = &secret;

    return 0;
}


static int
teardown(void **state)
{
    aad_secret_wipe(*state);

    return 0;
}


static void
test_new_secret_is_an_empty_string(void **state)
{
    aad_secret_t  *secret = *state;

    assert_string_equal(secret->data, "");
    assert_int_equal(secret->length, 0);
    assert_int_equal(secret->capacity, 0);
    assert_int_equal(secret->maximum, 64);
}


static void
test_any_byte_is_kept(void **state)
{
    aad_secret_t  *secret = *state;

    assert_int_equal(aad_secret_append(secret, "a\0b", 3), 0);
    assert_int_equal(aad_secret_append(secret, "\xff\r\n", 3), 0);

    assert_int_equal(secret->length, 6);
    assert_memory_equal(secret->data, "a\0b\xff\r\n", 7);
}


static void
test_nothing_can_be_appended(void **state)
{
    aad_secret_t  *secret = *state;

    assert_int_equal(aad_secret_append(secret, "", 0), 0);
    assert_int_equal(aad_secret_append_text(secret, ""), 0);
    assert_int_equal(aad_secret_append_escaped(secret, ""), 0);
    assert_string_equal(secret->data, "");
    assert_int_equal(secret->length, 0);
}


static void
test_growth_keeps_the_content(void **state)
{
    char           expected[5001];
    size_t         i;
    aad_secret_t   grown;

    (void) state;

    aad_secret_init(&grown, 5000);

    for (i = 0; i < 5000; i++) {
        expected[i] = 'a' + i % 26;
        assert_int_equal(aad_secret_append(&grown, &expected[i], 1), 0);
        assert_true(grown.capacity > grown.length);
    }

    expected[i] = '\0';

    assert_string_equal(grown.data, expected);
    assert_int_equal(grown.length, 5000);
    assert_int_equal(aad_secret_append(&grown, "x", 1), -1);
    assert_string_equal(grown.data, expected);

    aad_secret_wipe(&grown);
}


static void
test_maximum_can_be_filled_but_not_passed(void **state)
{
    char           text[65];
    aad_secret_t  *secret = *state;

    memset(text, 'x', 64);
    text[64] = '\0';

    assert_int_equal(aad_secret_append_text(secret, text), 0);
    assert_int_equal(secret->length, 64);

    assert_int_equal(aad_secret_append(secret, "y", 1), -1);
    assert_int_equal(aad_secret_append_text(secret, "y"), -1);
    assert_int_equal(aad_secret_append_escaped(secret, "y"), -1);
    assert_int_equal(aad_secret_append_pair(secret, "y", "y"), -1);

    assert_string_equal(secret->data, text);
    assert_int_equal(secret->length, 64);
}


static void
test_absurd_length_does_not_wrap_around(void **state)
{
    aad_secret_t  *secret = *state;

    assert_int_equal(aad_secret_append_text(secret, "abc"), 0);
    assert_int_equal(aad_secret_append(secret, "x", SIZE_MAX), -1);
    assert_int_equal(aad_secret_append(secret, "x", SIZE_MAX - 2), -1);
    assert_string_equal(secret->data, "abc");
}


static void
test_maximum_of_zero_holds_nothing(void **state)
{
    aad_secret_t  none;

    (void) state;

    aad_secret_init(&none, 0);

    assert_int_equal(aad_secret_append(&none, "x", 1), -1);
    assert_string_equal(none.data, "");

    aad_secret_wipe(&none);
}


static void
test_all_but_unreserved_characters_are_escaped(void **state)
{
    int            c;
    char           text[2], expected[4];
    aad_secret_t  *secret = *state;

    static const char  unreserved[] = "abcdefghijklmnopqrstuvwxyz"
                                      "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                      "0123456789-._~";

    text[1] = '\0';

    for (c = 1; c < 256; c++) {
        text[0] = (char) c;

        if (strchr(unreserved, c) != NULL) {
            strcpy(expected, text);

        } else {
            snprintf(expected, sizeof(expected), "%%%02X", c);
        }

        assert_int_equal(aad_secret_append_escaped(secret, text), 0);
        assert_string_equal(secret->data, expected);
        aad_secret_wipe(secret);
    }
}


static void
test_escaped_length_is_what_counts(void **state)
{
    aad_secret_t  *secret = *state;

    /* 63 + 1 fits, 63 + 3 does not */

    assert_int_equal(aad_secret_append_escaped(secret,
                                               "&&&&&&&&&&&&&&&&&&&&&"), 0);
    assert_int_equal(secret->length, 63);
    assert_int_equal(aad_secret_append_escaped(secret, "&"), -1);
    assert_int_equal(secret->length, 63);
    assert_int_equal(aad_secret_append_escaped(secret, "a"), 0);
    assert_int_equal(secret->length, 64);
}


static void
test_pairs_make_a_form(void **state)
{
    aad_secret_t  *secret = *state;

    assert_int_equal(aad_secret_append_pair(secret, "a", "1 & 2"), 0);
    assert_int_equal(aad_secret_append_pair(secret, "b-c", ""), 0);
    assert_int_equal(aad_secret_append_pair(secret, "d", "=+/"), 0);
    assert_string_equal(secret->data, "a=1%20%26%202&b-c=&d=%3D%2B%2F");
}


static void
test_pairs_make_a_query(void **state)
{
    aad_secret_t  *secret = *state;

    assert_int_equal(aad_secret_append_text(secret, "http://h/p?"), 0);
    assert_int_equal(aad_secret_append_pair(secret, "a", "1"), 0);
    assert_int_equal(aad_secret_append_pair(secret, "b", "?"), 0);
    assert_int_equal(aad_secret_append_pair(secret, "c", "3"), 0);
    assert_string_equal(secret->data, "http://h/p?a=1&b=%3F&c=3");
}


static void
test_pair_that_does_not_fit_leaves_no_half(void **state)
{
    char           value[64];
    aad_secret_t  *secret = *state;

    memset(value, 'x', 63);
    value[63] = '\0';

    assert_int_equal(aad_secret_append_pair(secret, "a", "1"), 0);
    assert_int_equal(aad_secret_append_pair(secret, "b", value), -1);
    assert_string_equal(secret->data, "a=1");
    assert_int_equal(secret->length, 3);
}


static void
test_white_space_is_trimmed_at_both_ends(void **state)
{
    size_t         i;
    aad_secret_t  *secret = *state;

    static const char *const  texts[][2] = {
        { "",               "" },
        { "secret",         "secret" },
        { "secret\n",       "secret" },
        { "secret\r\n",     "secret" },
        { " \t\r\n secret", "secret" },
        { "\n a b \t c \n", "a b \t c" },
        { " \t\r\n",        "" },
        { " x",             "x" }
    };

    for (i = 0; i < unit_count(texts); i++) {
        assert_int_equal(aad_secret_append_text(secret, texts[i][0]), 0);
        aad_secret_trim(secret);
        assert_string_equal(secret->data, texts[i][1]);
        assert_int_equal(secret->length, strlen(texts[i][1]));
        aad_secret_wipe(secret);
    }
}


static void
test_wipe_clears_all_that_was_allocated(void **state)
{
    void          *block;
    size_t         capacity;
    aad_secret_t  *secret = *state;

    assert_int_equal(aad_secret_append_text(secret, "secret"), 0);

    block = secret->data;
    capacity = secret->capacity;

    aad_secret_wipe(secret);

    assert_ptr_equal(wiped[0].block, block);
    assert_int_equal(wiped[0].length, capacity);
}


static void
test_growth_clears_the_block_it_leaves(void **state)
{
    void          *block;
    char           text[1000];
    size_t         capacity;
    aad_secret_t   grown;

    (void) state;

    aad_secret_init(&grown, sizeof(text) * 2);
    memset(text, 'x', sizeof(text));

    assert_int_equal(aad_secret_append_text(&grown, "secret"), 0);

    block = grown.data;
    capacity = grown.capacity;

    assert_int_equal(aad_secret_append(&grown, text, sizeof(text)), 0);
    assert_true(grown.capacity > capacity);
    assert_ptr_equal(wiped[0].block, block);
    assert_int_equal(wiped[0].length, capacity);

    aad_secret_wipe(&grown);
}


static void
test_wiped_secret_can_be_used_again(void **state)
{
    aad_secret_t  *secret = *state;

    assert_int_equal(aad_secret_append_text(secret, "secret"), 0);

    aad_secret_wipe(secret);
    aad_secret_wipe(secret);

    assert_string_equal(secret->data, "");
    assert_int_equal(secret->length, 0);
    assert_int_equal(secret->maximum, 64);

    assert_int_equal(aad_secret_append_text(secret, "again"), 0);
    assert_string_equal(secret->data, "again");
}


static void
test_empty_secrets_do_not_share_what_is_written(void **state)
{
    aad_secret_t   other;
    aad_secret_t  *secret = *state;

    aad_secret_init(&other, 64);

    assert_int_equal(aad_secret_append_text(secret, "secret"), 0);
    aad_secret_trim(&other);
    assert_string_equal(other.data, "");

    aad_secret_wipe(&other);
}


#define test(name)  cmocka_unit_test_setup_teardown(name, setup, teardown)


int
main(void)
{
    static const struct CMUnitTest  tests[] = {
        test(test_new_secret_is_an_empty_string),
        test(test_any_byte_is_kept),
        test(test_nothing_can_be_appended),
        test(test_growth_keeps_the_content),
        test(test_maximum_can_be_filled_but_not_passed),
        test(test_absurd_length_does_not_wrap_around),
        test(test_maximum_of_zero_holds_nothing),
        test(test_all_but_unreserved_characters_are_escaped),
        test(test_escaped_length_is_what_counts),
        test(test_pairs_make_a_form),
        test(test_pairs_make_a_query),
        test(test_pair_that_does_not_fit_leaves_no_half),
        test(test_white_space_is_trimmed_at_both_ends),
        test(test_wipe_clears_all_that_was_allocated),
        test(test_growth_clears_the_block_it_leaves),
        test(test_wiped_secret_can_be_used_again),
        test(test_empty_secrets_do_not_share_what_is_written)
    };

    return cmocka_run_group_tests_name("secret", tests, NULL, NULL);
}
