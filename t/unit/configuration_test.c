
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * nginx's grammar as the tool reads it: what a text is, where it is wrong,
 * and that no text at all does harm.
 */


#include "check.h"

#include "tool.h"


#define SHOWN_BYTES     4096
#define RANDOM_TEXTS    20000
#define RANDOM_BYTES    64


/* one of everything that the grammar has */
static const char  everything[] =
    "# a comment { } ; \"\n"
    "events{}\n"
    "http {\r\n"
    "\tinclude none/*;\n"
    "  map $a $b { \"~^x{2}$\" '}'; default \"a\\\"\\\\\\tb\"; }\n"
    "  init_by_lua_block { x = '}' y = \"\\\"}\" --[==[ ]] } ]==] -- }\n"
    "    z = [[ } ]] w = { a[ [1] ] } - 1 }\n"
    "  server { location /${a}{ proxy_pass http://$b/${c}; }\n"
    "    if ($x = \"a b\") { return 403; } a\\;b\\{c 'd' \"e\"; }\n"
    "}\n";


/* the tree in one line: words in brackets, blocks in braces */
static void
show(const tool_directive_t *directive, char *text, size_t size)
{
    size_t  i, used;

    for ( /* void */ ; directive != NULL; directive = directive->next) {

        for (i = 0; i < directive->count; i++) {
            used = strlen(text);
            snprintf(text + used, size - used, "[%s]", directive->words[i]);
        }

        used = strlen(text);
        snprintf(text + used, size - used, "%s",
                 directive->is_block ? "{" : ";");

        show(directive->children, text, size);

        if (directive->is_block) {
            used = strlen(text);
            snprintf(text + used, size - used, "}");
        }
    }
}


static int
parse(tool_configuration_t *configuration, const char *text)
{
    return tool_configuration_parse(configuration, "name", text, strlen(text),
                                    "");
}


static void
test_text_becomes_a_tree(void **state)
{
    char                   text[SHOWN_BYTES];
    size_t                 i;
    tool_configuration_t   configuration;

    static const char *const  texts[][2] = {
        { "",                           "" },
        { " \t\r\n# a { ; }",           "" },
        { "a;",                         "[a];" },
        { "a b  c\n;d;",                "[a][b][c];[d];" },
        { "a{}",                        "[a]{}" },
        { "a { b; c { d; } } e;",       "[a]{[b];[c]{[d];}}[e];" },
        { "a#b c#d;#e",                 "[a#b][c#d];" },

        { "\"a\" 'b';",                 "[a][b];" },
        { "\"\" '';",                   "[][];" },
        { "\"a b;{}#\" 'c\nd';",        "[a b;{}#][c\nd];" },
        { "\"a'b\" 'c\"d';",            "[a'b][c\"d];" },
        { "\"a\\\"b\" 'c\\'d';",        "[a\"b][c'd];" },
        { "a\"b' c;",                   "[a\"b'][c];" },
        { "\"a\"{}",                    "[a]{}" },
        { "if (\"a\")  {}",             "[if][(\"a\")]{}" },
        { "if ( \"a\"){}",              "[if][(][a][)]{}" },

        { "a\\;b\\{c\\ d\\}e;",         "[a\\;b\\{c\\ d\\}e];" },
        { "a\\\\b\\tc\\rd\\ne\\x;",     "[a\\b\tc\rd\ne\\x];" },
        { "\\\"a\\\";",                 "[\"a\"];" },

        { "${a}b $c{}",                 "[${a}b][$c]{}" },
        { "a${b}{}",                    "[a${b}]{}" },
        { "$${a};",                     "[$${a}];" },
        { "a}b;",                       "[a}b];" },

        { "a_by_lua_block { } b;",      "[a_by_lua_block]{}[b];" },
        { "a_by_lua_block $x { { } '}' \"}\" } b;",
          "[a_by_lua_block][$x]{}[b];" },
        { "_by_lua_block {-- }\n}b;",   "[_by_lua_block]{}[b];" },
        { "_by_lua_block {--[[}\n}]]}", "[_by_lua_block]{}" },
        { "_by_lua_block {--[=}\n}b;",  "[_by_lua_block]{}[b];" },
        { "_by_lua_block {[=[}]]}]=]}", "[_by_lua_block]{}" },
        { "_by_lua_block {a[b[1]]}c;",  "[_by_lua_block]{}[c];" },
        { "_by_lua_block {'\\'}'} c;",  "[_by_lua_block]{}[c];" },
        { "_by_lua_block {a-b}c;",      "[_by_lua_block]{}[c];" },
        { "by_lua_block { a; }",        "[by_lua_block]{[a];}" },
        { "a_by_lua_blocks { b; }",     "[a_by_lua_blocks]{[b];}" }
    };

    (void) state;

    for (i = 0; i < unit_count(texts); i++) {

        text[0] = '\0';

        if (parse(&configuration, texts[i][0]) != 0) {
            fail_msg("%s: %s", texts[i][0], configuration.error.text);
        }

        show(configuration.directives, text, sizeof(text));
        assert_string_equal(text, texts[i][1]);

        tool_configuration_wipe(&configuration);
    }
}


static void
test_wrong_text_is_refused_with_its_line(void **state)
{
    size_t                i;
    tool_configuration_t  configuration;

    static const struct {
        const char  *text;
        unsigned     line;
        const char  *error;
    } texts[] = {
        { "\n}", 2, "unexpected \"}\"" },
        { "\n;", 2, "unexpected \";\"" },
        { "{}", 1, "unexpected \"{\"" },
        { "a { b } ", 1, "unexpected \"}\"" },
        { "a {\nb;", 2, "expecting \"}\"" },
        { "a\n\n", 3, "expecting \";\" or \"}\"" },
        { "a", 1, "expecting \";\" or \"}\"" },
        { "\n\"a;\n\n", 4, "expecting \";\" or \"}\"" },
        { "'a", 1, "expecting \";\" or \"}\"" },
        { "a\\", 1, "expecting \";\" or \"}\"" },
        { "\"a\"b;", 1, "after a closing quote" },
        { "'a'};", 1, "after a closing quote" },
        { "_by_lua_block {\n", 2, "expecting \"}\"" },
        { "_by_lua_block { [[ } ", 1, "expecting \"}\"" },
        { "_by_lua_block { '}", 1, "expecting \"}\"" },
        { "_by_lua_block { --}", 1, "expecting \"}\"" },
        { "\ninclude;", 2, "number of arguments" },
        { "include a b;", 1, "number of arguments" },
        { "include a {}", 1, "not terminated" },
        { "\n\ninclude /none/file;", 3, "\"/none/file\"" }
    };

    (void) state;

    for (i = 0; i < unit_count(texts); i++) {

        assert_int_equal(parse(&configuration, texts[i].text), -1);

        if (strstr(configuration.error.text, texts[i].error) == NULL
            || configuration.error_line != texts[i].line)
        {
            fail_msg("%s: %s, line %u", texts[i].text,
                     configuration.error.text, configuration.error_line);
        }

        assert_string_equal(configuration.error_file, "name");

        tool_configuration_wipe(&configuration);
    }
}


static void
test_lines_are_those_of_the_ends(void **state)
{
    size_t                 i;
    tool_directive_t      *directive;
    tool_configuration_t   configuration;

    static const unsigned  lines[] = { 1, 5, 7, 9, 14 };

    (void) state;

    assert_int_equal(parse(&configuration, "a;\nb\n'c\n'\n;#\nd\n{\n}\n"
                           "_by_lua_block {\n'\n' [[\n]] --\n}\ne;"), 0);

    directive = configuration.directives;

    for (i = 0; i < unit_count(lines); i++) {
        assert_non_null(directive);
        assert_int_equal(directive->line, lines[i]);
        directive = directive->next;
    }

    assert_null(directive);

    tool_configuration_wipe(&configuration);
}


static void
test_size_and_depth_are_bounded(void **state)
{
    char                  *text;
    size_t                 i, size;
    tool_configuration_t   configuration;

    (void) state;

    size = 1048576;
    text = malloc(size + 1);
    assert_non_null(text);

    for (i = 0; i < size; i += 2) {
        memcpy(text + i, "a{", 2);
    }

    text[size] = '\0';

    assert_int_equal(parse(&configuration, text), -1);
    assert_non_null(strstr(configuration.error.text, "too deep"));
    tool_configuration_wipe(&configuration);

    /* nginx's own limit of a word */

    memset(text, 'x', size);
    memcpy(text + 4095, ";", 2);
    assert_int_equal(parse(&configuration, text), 0);
    tool_configuration_wipe(&configuration);

    memcpy(text + 4095, "x;", 3);
    assert_int_equal(parse(&configuration, text), -1);
    assert_non_null(strstr(configuration.error.text, "too long"));
    assert_null(strstr(configuration.error.text, "xxx"));
    tool_configuration_wipe(&configuration);

    free(text);
}


/* what is no text of its own length is found by a sanitizer */
static void
parse_copy(const char *text, size_t length)
{
    char                  *copy;
    tool_configuration_t   configuration;

    copy = malloc(length != 0 ? length : 1);
    assert_non_null(copy);
    memcpy(copy, text, length);

    if (tool_configuration_parse(&configuration, "name", copy, length, "")
        != 0)
    {
        assert_string_not_equal(configuration.error.text, "");
    }

    tool_configuration_wipe(&configuration);
    free(copy);
}


static void
test_text_cut_anywhere_does_no_harm(void **state)
{
    size_t                length;
    tool_configuration_t  configuration;

    (void) state;

    assert_int_equal(parse(&configuration, everything), 0);
    tool_configuration_wipe(&configuration);

    for (length = 0; length < sizeof(everything); length++) {
        parse_copy(everything, length);
        parse_copy(everything + length, sizeof(everything) - 1 - length);
    }
}


static void
test_random_text_does_no_harm(void **state)
{
    char      text[RANDOM_BYTES];
    size_t    i, j, length;
    uint32_t  random;

    /* mostly what means something */

    static const char  signs[] = "{};;  \n\"'\\$#()[]-=ab\t\r";
    static const char  lua[] = "_by_lua_block {";

    (void) state;

    random = 1;

    for (i = 0; i < RANDOM_TEXTS; i++) {

        random = random * 1664525 + 1013904223;
        length = (random >> 8) % sizeof(text);

        for (j = 0; j < length; j++) {
            random = random * 1664525 + 1013904223;
            text[j] = (random >> 28) == 0
                      ? (char) (random >> 8)
                      : signs[(random >> 8) % (sizeof(signs) - 1)];
        }

        if (i % 4 == 0 && length >= sizeof(lua)) {
            memcpy(text, lua, sizeof(lua) - 1);
        }

        parse_copy(text, length);
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_text_becomes_a_tree),
        cmocka_unit_test(test_wrong_text_is_refused_with_its_line),
        cmocka_unit_test(test_lines_are_those_of_the_ends),
        cmocka_unit_test(test_size_and_depth_are_bounded),
        cmocka_unit_test(test_text_cut_anywhere_does_no_harm),
        cmocka_unit_test(test_random_text_does_no_harm)
    };

    return cmocka_run_group_tests_name("configuration", tests, NULL, NULL);
}
