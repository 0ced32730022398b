
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * Bodies of token answers: what is taken, what is refused, what is said.
 */


#include "check.h"


#define NOW         (UNIT_NOW + 2)
#define BODY_BYTES  (AAD_BODY_BYTES_MAX + 1)


/* one answer and what was made of it */
typedef struct {
    aad_secret_t            body;
    aad_token_t             token;
    aad_error_t             error;
    char                    text[BODY_BYTES];
} fixture_t;


static int
setup(void **state)
{
    fixture_t  *fixture;

    fixture = calloc(1, sizeof(fixture_t));
    assert_non_null(fixture);

    aad_secret_init(&fixture->body, AAD_BODY_BYTES_MAX);
    aad_secret_init(&fixture->token.access_token, AAD_TOKEN_BYTES_MAX);
    *state = fixture;

    return 0;
}


static int
teardown(void **state)
{
    fixture_t  *fixture = *state;

    aad_secret_wipe(&fixture->body);
    aad_token_wipe(&fixture->token);
    free(fixture);

    return 0;
}


static void
clear(fixture_t *fixture)
{
    aad_secret_wipe(&fixture->body);
    aad_token_wipe(&fixture->token);

    memset(&fixture->token, 0, sizeof(aad_token_t));
    aad_secret_init(&fixture->token.access_token, AAD_TOKEN_BYTES_MAX);
    fixture->error.text[0] = '\0';
}


/* Reads a body; whatever is refused leaves no token. */
static int
answer(fixture_t *fixture, const char *body)
{
    int  rc;

    clear(fixture);
    assert_int_equal(aad_secret_append_text(&fixture->body, body), 0);

    rc = aad_token_response(&fixture->body, UNIT_NOW, NOW, &fixture->token,
                            &fixture->error);

    if (rc != 0) {
        assert_int_equal(rc, -1);
        assert_int_equal(fixture->token.access_token.length, 0);
        assert_string_not_equal(fixture->error.text, "");
    }

    return rc;
}


/* Reads the body {"access_token":TOKEN,MEMBERS}. */
static int
answer_of(fixture_t *fixture, const char *token, const char *members)
{
    snprintf(fixture->text, sizeof(fixture->text),
             "{\"access_token\":\"%s\",%s}", token, members);

    return answer(fixture, fixture->text);
}


static int
answer_with_claims(fixture_t *fixture, const char *claims,
    const char *members)
{
    char  token[8192];

    unit_jwt(token, sizeof(token), claims);

    return answer_of(fixture, token, members);
}


static void
test_answers_as_documented_are_taken(void **state)
{
    fixture_t  *fixture = *state;

    /* Entra's v2.0 endpoint, IMDS, App Service */

    assert_int_equal(answer(fixture, "{\"token_type\":\"Bearer\","
                            "\"expires_in\":3599,\"ext_expires_in\":3599,"
                            "\"access_token\":\"t.o-k_e~n+/=\"}"), 0);
    assert_string_equal(fixture->token.access_token.data, "t.o-k_e~n+/=");
    assert_int_equal(fixture->token.received_on, UNIT_NOW);
    assert_int_equal(fixture->token.expires_on, UNIT_NOW + 3599);
    assert_int_equal(fixture->token.refresh_in, 0);

    assert_int_equal(answer(fixture, "{\"access_token\":\"t\","
                            "\"refresh_token\":\"\",\"expires_in\":\"3599\","
                            "\"expires_on\":\"1506484173\","
                            "\"not_before\":\"1506480273\",\"resource\":"
                            "\"https://management.azure.com/\","
                            "\"token_type\":\"Bearer\"}"), 0);
    assert_int_equal(fixture->token.expires_on, UNIT_NOW + 3599);

    assert_int_equal(answer(fixture, "{\"access_token\":\"t\","
                            "\"expires_on\":\"1700003600\","
                            "\"resource\":\"https://vault.azure.net\","
                            "\"token_type\":\"Bearer\",\"client_id\":\""
                            UNIT_CLIENT "\"}"), 0);
    assert_int_equal(fixture->token.expires_on, 1700003600);
}


static void
test_expiry_is_a_number_or_a_string(void **state)
{
    size_t      i;
    fixture_t  *fixture = *state;

    static const struct {
        const char             *members;
        int64_t                 expires_on;
    } answers[] = {
        { "\"expires_in\":1", UNIT_NOW + 1 + 2 },
        { "\"expires_in\":3599", UNIT_NOW + 3599 },
        { "\"expires_in\":\"3599\"", UNIT_NOW + 3599 },
        { "\"expires_in\":3599.9", UNIT_NOW + 3599 },
        { "\"expires_in\":3.599e3", UNIT_NOW + 3599 },
        { "\"expires_in\":172800", UNIT_NOW + 172800 },
        { "\"expires_on\":1700003600", 1700003600 },
        { "\"expires_on\":\"1700003600\"", 1700003600 },

        /* relative comes first, wherever it stands */

        { "\"expires_in\":60,\"expires_on\":1700003600", UNIT_NOW + 60 },
        { "\"expires_on\":\"1\",\"expires_in\":\"60\"", UNIT_NOW + 60 },

        /* what says nothing leaves it to the other one */

        { "\"expires_in\":null,\"expires_on\":1700003600", 1700003600 },
        { "\"expires_in\":\"\",\"expires_on\":1700003600", 1700003600 },
        { "\"expires_in\":\"soon\",\"expires_on\":1700003600", 1700003600 },
        { "\"expires_in\":\"60s\",\"expires_on\":1700003600", 1700003600 },
        { "\"expires_in\":true,\"expires_on\":1700003600", 1700003600 },
        { "\"expires_in\":[60],\"expires_on\":1700003600", 1700003600 },
        { "\"expires_in\":\" 60\",\"expires_on\":1700003600", 1700003600 },
        { "\"expires_in\":\"+60\",\"expires_on\":1700003600", 1700003600 },
        { "\"expires_in\":\"60.0\",\"expires_on\":1700003600", 1700003600 },
        { "\"expires_in\":\"0x60\",\"expires_on\":1700003600", 1700003600 },
        { "\"expires_in\":\"6e1\",\"expires_on\":1700003600", 1700003600 },
        { "\"Expires_In\":60,\"expires_on\":1700003600", 1700003600 }
    };

    /* the first one would be over before it is here */

    assert_int_equal(answer_of(fixture, "t", answers[0].members), -1);

    for (i = 1; i < unit_count(answers); i++) {

        if (answer_of(fixture, "t", answers[i].members) != 0) {
            fail_msg("%s: %s", answers[i].members, fixture->error.text);
        }

        assert_int_equal(fixture->token.expires_on, answers[i].expires_on);
    }
}


/* the forms themselves are date_test.c's */
static void
test_expiry_is_a_date(void **state)
{
    size_t      i;
    fixture_t  *fixture = *state;

    static const char *const  members[] = {
        "\"expires_on\":\"11/14/2023 23:13:20 +00:00\"",
        "\"expires_on\":\"11/14/2023 11:13:20 PM +00:00\"",
        "\"expires_on\":\"2023-11-14 23:13:20\"",
        "\"expires_on\":\"2023-11-14T23:13:20Z\"",
        "\"expires_in\":\"\",\"expires_on\":\"2023-11-14T23:13:20Z\"",
        "\"expires_in\":\"2023-11-15T23:13:20Z\","
            "\"expires_on\":\"2023-11-14T23:13:20Z\""
    };

    for (i = 0; i < unit_count(members); i++) {

        if (answer_of(fixture, "t", members[i]) != 0) {
            fail_msg("%s: %s", members[i], fixture->error.text);
        }

        assert_int_equal(fixture->token.expires_on, UNIT_NOW + 3600);
    }

    /* relative comes first here too, and the token's own word last */

    assert_int_equal(answer_of(fixture, "t", "\"expires_in\":\"60\","
                               "\"expires_on\":\"2023-11-14T23:13:20Z\""),
                     0);
    assert_int_equal(fixture->token.expires_on, UNIT_NOW + 60);

    assert_int_equal(answer_with_claims(fixture, "{\"exp\":1700001800}",
                                        "\"expires_on\":"
                                        "\"11/14/2023 23:13:20 +00:00\""),
                     0);
    assert_int_equal(fixture->token.expires_on, UNIT_NOW + 3600);
}


static void
test_life_of_no_use_is_refused(void **state)
{
    size_t      i;
    fixture_t  *fixture = *state;

    static const char *const  answers[][2] = {
        { "\"expires_in\":0",                       "valid for 0 s" },
        { "\"expires_in\":\"0\"",                   "valid for 0 s" },
        { "\"expires_in\":-5",                      "valid for -5 s" },
        { "\"expires_in\":\"-5\"",                  "valid for -5 s" },
        { "\"expires_in\":0,\"expires_on\":1700003600",
          "valid for 0 s" },
        { "\"expires_in\":2",                       "expired already (0 s" },
        { "\"expires_on\":1699999999",              "expired already (3 s" },
        { "\"expires_on\":1700000002",              "expired already (0 s" },
        { "\"expires_on\":0",                       "expired already" },
        { "\"expires_on\":\"-1\"",                  "expired already" },
        { "\"expires_in\":172803",                  "valid for 172801 s" },
        { "\"expires_on\":1700172803",              "valid for 172801 s" },
        { "\"expires_in\":999999999999999",         "more than any service" },
        { "\"expires_on\":\"999999999999999\"",     "more than any service" },
        { "\"expires_on\":1700003600000",           "more than any service" },
        { "\"expires_in\":1e300",                   "does not say when" },
        { "\"expires_in\":-1e300",                  "does not say when" },
        { "\"expires_in\":\"99999999999999999999\"", "does not say when" },
        { "\"expires_in\":\"\"",                    "does not say when" },
        { "\"expires_in\":null",                    "does not say when" },
        { "\"expires_in\":{}",                      "does not say when" },
        { "\"expires_on\":\"11/05/2021 15:18:31 +00:00\"",
          "expired already" },
        { "\"expires_on\":\"11/14/2033 22:13:20 +00:00\"",
          "more than any service" },
        { "\"expires_on\":\"14/11/2023 23:13:20 +00:00\"",
          "does not say when" },
        { "\"expires_on\":\"2023-11-14T23:13:20\"", "does not say when" },
        { "\"expires_in\":\"2023-11-14T23:13:20Z\"", "does not say when" },
        { "\"expires_on\":[\"2023-11-14T23:13:20Z\"]",
          "does not say when" },
        { "\"expires_on\":\"\"",                  "does not say when" },
        { "\"expires_on\":\"-\"",                 "does not say when" },
        { "\"resource\":\"x\"",                     "does not say when" }
    };

    for (i = 0; i < unit_count(answers); i++) {

        if (answer_of(fixture, "t", answers[i][0]) != -1) {
            fail_msg("%s is taken", answers[i][0]);
        }

        unit_assert_contains(fixture->error.text, answers[i][1]);
    }
}


static void
test_expiry_of_the_token_itself_comes_last(void **state)
{
    fixture_t  *fixture = *state;

    assert_int_equal(answer_with_claims(fixture, "{\"exp\":1700003600}",
                                        "\"x\":1"), 0);
    assert_int_equal(fixture->token.expires_on, 1700003600);

    assert_int_equal(answer_with_claims(fixture, "{\"exp\":1700003600}",
                                        "\"expires_on\":\"11/05/2021 15:18\""),
                     0);
    assert_int_equal(fixture->token.expires_on, 1700003600);

    assert_int_equal(answer_with_claims(fixture, "{\"exp\":1700003600}",
                                        "\"expires_on\":1700000100"), 0);
    assert_int_equal(fixture->token.expires_on, 1700000100);

    assert_int_equal(answer_with_claims(fixture, "{\"exp\":1700000002}",
                                        "\"x\":1"), -1);
    unit_assert_contains(fixture->error.text, "expired already");

    assert_int_equal(answer_with_claims(fixture, "{\"iat\":1700003600}",
                                        "\"x\":1"), -1);
    unit_assert_contains(fixture->error.text, "does not say when");
}


static void
test_token_is_a_bearer_token(void **state)
{
    size_t      i;
    char        members[64];
    fixture_t  *fixture = *state;

    static const struct {
        const char             *type;
        int                     rc;
    } types[] = {
        { "Bearer", 0 }, { "bearer", 0 }, { "BEARER", 0 }, { "", 0 },
        { "pop", -1 }, { "mac", -1 }, { "Bearer2", -1 }, { "Bear", -1 }
    };

    for (i = 0; i < unit_count(types); i++) {
        snprintf(members, sizeof(members),
                 "\"expires_in\":60,\"token_type\":\"%s\"", types[i].type);
        assert_int_equal(answer_of(fixture, "t", members), types[i].rc);
    }

    unit_assert_contains(fixture->error.text, "no bearer token");
}


static void
test_answer_without_a_token_is_refused(void **state)
{
    size_t      i;
    fixture_t  *fixture = *state;

    static const char *const  bodies[] = {
        "{}",
        "{\"expires_in\":60}",
        "{\"expires_in\":60,\"access_token\":\"\"}",
        "{\"expires_in\":60,\"access_token\":null}",
        "{\"expires_in\":60,\"access_token\":1}",
        "{\"expires_in\":60,\"access_token\":[\"t\"]}",
        "{\"expires_in\":60,\"access_token\":{\"t\":\"t\"}}",
        "{\"expires_in\":60,\"Access_Token\":\"t\"}",
        "{\"expires_in\":60,\"accessToken\":\"t\"}",
        "{\"error\":\"invalid_client\"}"
    };

    for (i = 0; i < unit_count(bodies); i++) {
        assert_int_equal(answer(fixture, bodies[i]), -1);
        unit_assert_contains(fixture->error.text, "has no access token");
    }
}


static void
test_token_alphabet_is_that_of_a_header(void **state)
{
    size_t      i, taken;
    fixture_t  *fixture = *state;

    static const char *const  tokens[] = {
        "good\\r\\nX-Header: 1", "good\\n", "\\rgood", "go od", " good",
        "good\\u0000bad", "\\u0000", "good\\u000d\\u000abad", "good\\u0020x",
        "good\\tx", "good\\u007f", "go\\\"od", "go\\\\od", "go,od", "go;od",
        "go:od", "go%0dod", "go?od", "go#od", "go&od", "<good>", "go\xc3\xb6",
        "go\\u00f6d", "\\ud83d\\ude00", "go\rod", "go\nod", "go\x01od",
        "go\x7fod", "go\x80od", "Bearer good", "go\\uZZZZod"
    };

    assert_int_equal(answer_of(fixture, "abcdefghijklmnopqrstuvwxyz"
                               "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                               "-._~+\\/==", "\"expires_in\":60"), 0);

    taken = 0;

    for (i = 0; i < unit_count(tokens); i++) {

        if (answer_of(fixture, tokens[i], "\"expires_in\":60") != -1) {
            print_error("\"%s\" is taken as \"%s\"\n", tokens[i],
                        fixture->token.access_token.data);
            taken++;
        }

        unit_assert_lacks(fixture->error.text, "good");
    }

    assert_int_equal(taken, 0);
}


static void
test_token_is_never_cut(void **state)
{
    char       *token;
    fixture_t  *fixture = *state;

    token = test_calloc(1, AAD_TOKEN_BYTES_MAX + 2);

    memset(token, 'x', AAD_TOKEN_BYTES_MAX);

    assert_int_equal(answer_of(fixture, token, "\"expires_in\":60"), 0);
    assert_string_equal(fixture->token.access_token.data, token);

    token[AAD_TOKEN_BYTES_MAX] = 'x';

    assert_int_equal(answer_of(fixture, token, "\"expires_in\":60"), -1);
    unit_assert_contains(fixture->error.text, "16385 bytes, 16384 are the "
                         "most");

    test_free(token);
}


static void
test_what_is_no_json_object_is_refused(void **state)
{
    size_t      i;
    fixture_t  *fixture = *state;

    static const char *const  bodies[] = {
        "",
        " ",
        "null",
        "true",
        "42",
        "\"access_token\"",
        "[]",
        "[{\"access_token\":\"t\",\"expires_in\":60}]",
        "<html><body>Sign in</body></html>",
        "access_token=t&expires_in=60",
        "{",
        "{\"access_token\":\"t\",\"expires_in\":60",
        "{\"access_token\":\"t\",\"expires_in\":60,",
        "{\"access_token\":\"t",
        "{\"access_token\":\"t\",\"expires_in\":60}x",
        "{\"access_token\":\"t\",\"expires_in\":60}{}",
        "x{\"access_token\":\"t\",\"expires_in\":60}",
        "{'access_token':'t','expires_in':60}",
        "{\"access_token\":\"t\",\"expires_in\":60}<!-- proxy -->"
    };

    for (i = 0; i < unit_count(bodies); i++) {

        if (answer(fixture, bodies[i]) != -1) {
            fail_msg("%s is taken", bodies[i]);
        }

        assert_string_equal(fixture->error.text,
                            "the answer is no JSON object");
    }
}


static void
test_nul_in_the_body_is_refused(void **state)
{
    fixture_t  *fixture = *state;

    static const char  body[] = "{\"access_token\":\"go\0od\","
                                "\"expires_in\":60}";

    clear(fixture);
    assert_int_equal(aad_secret_append(&fixture->body, body,
                                       sizeof(body) - 1), 0);
    assert_int_equal(aad_token_response(&fixture->body, UNIT_NOW, NOW,
                                        &fixture->token, &fixture->error),
                     -1);
    assert_int_equal(fixture->token.access_token.length, 0);
}


static void
test_deep_nesting_is_refused_not_followed(void **state)
{
    fixture_t  *fixture = *state;

    memset(fixture->text, '[', sizeof(fixture->text) - 1);
    assert_int_equal(answer(fixture, fixture->text), -1);

    memset(fixture->text, 0, sizeof(fixture->text));
    memset(fixture->text, '[', 20000);
    memset(fixture->text + 20000, ']', 20000);
    assert_int_equal(answer(fixture, fixture->text), -1);

    memcpy(fixture->text, "{\"access_token\":", 16);
    assert_int_equal(answer(fixture, fixture->text), -1);
}


static void
test_unknown_members_are_passed_over(void **state)
{
    fixture_t  *fixture = *state;

    assert_int_equal(answer(fixture, " {\"a\":{\"access_token\":\"inner\","
                            "\"expires_in\":1},\"b\":[[[{}]]],\"c\":null,"
                            "\"\":\"\",\"access_token\":\"outer\","
                            "\"expires_in\":60}\r\n"), 0);
    assert_string_equal(fixture->token.access_token.data, "outer");
    assert_int_equal(fixture->token.expires_on, UNIT_NOW + 60);
}


static void
test_first_of_two_members_is_taken(void **state)
{
    fixture_t  *fixture = *state;

    assert_int_equal(answer(fixture, "{\"access_token\":\"one\","
                            "\"access_token\":\"two\",\"expires_in\":60,"
                            "\"expires_in\":90}"), 0);
    assert_string_equal(fixture->token.access_token.data, "one");
    assert_int_equal(fixture->token.expires_on, UNIT_NOW + 60);
}


static void
test_refresh_in_is_taken_where_it_makes_sense(void **state)
{
    size_t      i;
    fixture_t  *fixture = *state;

    static const struct {
        const char             *members;
        int64_t                 refresh_in;
    } answers[] = {
        { "\"refresh_in\":43199",                   43199 },
        { "\"refresh_in\":\"43199\"",               43199 },
        { "\"refresh_in\":172800",                  172800 },
        { "\"refresh_in\":172801",                  0 },
        { "\"refresh_in\":0",                       0 },
        { "\"refresh_in\":-1",                      0 },
        { "\"refresh_in\":\"-1\"",                  0 },
        { "\"refresh_in\":1e300",                   0 },
        { "\"refresh_in\":null",                    0 },
        { "\"refresh_in\":\"12 h\"",                0 },
        { "\"refresh_in\":\"\"",                    0 },
        { "\"x\":1",                                0 }
    };

    char  members[128];

    for (i = 0; i < unit_count(answers); i++) {
        snprintf(members, sizeof(members), "\"expires_in\":86399,%s",
                 answers[i].members);

        assert_int_equal(answer_of(fixture, "t", members), 0);
        assert_int_equal(fixture->token.refresh_in, answers[i].refresh_in);
    }
}


static void
test_identity_is_decoded_for_information(void **state)
{
    size_t      i;
    fixture_t  *fixture = *state;

    static const struct {
        const char             *claims;
        const char             *client_id;
        const char             *object_id;
        const char             *tenant_id;
    } tokens[] = {
        { "{\"oid\":\"o\",\"appid\":\"a\",\"tid\":\"t\"}", "a", "o", "t" },
        { "{\"oid\":\"o\",\"azp\":\"z\",\"tid\":\"t\"}", "z", "o", "t" },
        { "{\"azp\":\"z\",\"appid\":\"a\"}", "a", "", "" },
        { "{\"appid\":\"" UNIT_CLIENT "\",\"oid\":\"" UNIT_OBJECT "\"}",
          UNIT_CLIENT, UNIT_OBJECT, "" },

        /* each length of the last group, and the two letters of base64url */

        { "{\"tid\":\"t\"}", "", "", "t" },
        { "{\"tid\":\"t\"} ", "", "", "t" },
        { "{\"tid\":\"t\"}  ", "", "", "t" },
        { "{\"tid\":\"~~~~~?????\"}", "", "", "~~~~~?????" },

        /* what is no text is not shown, what is no word is cleaned */

        { "{\"tid\":1,\"oid\":null,\"appid\":[\"a\"]}", "", "", "" },
        { "{\"tid\":\"a\\nb\\u0001c\xc3\xa4\"}", "", "", "a b?c??" },
        { "[\"tid\"]", "", "", "" },
        { "\"tid\"", "", "", "" },
        { "{\"tid\":", "", "", "" },
        { "", "", "", "" }
    };

    for (i = 0; i < unit_count(tokens); i++) {
        assert_int_equal(answer_with_claims(fixture, tokens[i].claims,
                                            "\"expires_in\":60"), 0);
        assert_string_equal(fixture->token.client_id, tokens[i].client_id);
        assert_string_equal(fixture->token.object_id, tokens[i].object_id);
        assert_string_equal(fixture->token.tenant_id, tokens[i].tenant_id);
    }
}


static void
test_audience_is_decoded_for_information(void **state)
{
    size_t      i;
    fixture_t  *fixture = *state;

    static const char *const  claims[][2] = {
        { "{\"aud\":\"" UNIT_RESOURCE "\"}", UNIT_RESOURCE },
        { "{\"aud\":[\"" UNIT_RESOURCE "\"]}", "" },
        { "{}", "" }
    };

    for (i = 0; i < unit_count(claims); i++) {
        assert_int_equal(answer_with_claims(fixture, claims[i][0],
                                            "\"expires_in\":60"), 0);
        assert_string_equal(fixture->token.audience, claims[i][1]);
    }
}


static void
test_long_claim_is_cut(void **state)
{
    char        claims[256];
    fixture_t  *fixture = *state;

    snprintf(claims, sizeof(claims), "{\"tid\":\"%0100d\"}", 0);

    assert_int_equal(answer_with_claims(fixture, claims, "\"expires_in\":60"),
                     0);
    assert_int_equal(strlen(fixture->token.tenant_id), AAD_ID_BYTES - 1);
}


static void
test_token_that_is_no_jwt_is_as_good(void **state)
{
    size_t      i;
    fixture_t  *fixture = *state;

    static const char *const  tokens[] = {
        "opaque", "a.b", "a.b.c", "..", "...", ".", "a..c", "a.=.c", "a.====.c",
        "a.A.c", "a.AAAAA.c", "a.A=AA.c", "a.~~~~.c", "a.e30.c.d.e",
        "a.eyJ0aWQiOiJ4In0"
    };

    for (i = 0; i < unit_count(tokens); i++) {

        if (answer_of(fixture, tokens[i], "\"expires_in\":60") != 0) {
            fail_msg("%s: %s", tokens[i], fixture->error.text);
        }

        assert_string_equal(fixture->token.access_token.data, tokens[i]);
        assert_string_equal(fixture->token.tenant_id, "");

        assert_int_equal(answer_of(fixture, tokens[i], "\"x\":1"), -1);
        unit_assert_contains(fixture->error.text, "does not say when");
    }
}


static int
az(fixture_t *fixture, const char *output)
{
    int  rc;

    clear(fixture);
    assert_int_equal(aad_secret_append_text(&fixture->body, output), 0);

    rc = aad_token_response_az(&fixture->body, UNIT_NOW, NOW,
                               &fixture->token, &fixture->error);

    if (rc != 0) {
        assert_int_equal(fixture->token.access_token.length, 0);
        assert_string_not_equal(fixture->error.text, "");
    }

    return rc;
}


static void
test_az_output_is_taken(void **state)
{
    char        token[512], output[1024];
    fixture_t  *fixture = *state;

    /* since 2.54.0 */

    assert_int_equal(az(fixture, "{\n  \"accessToken\": \"t\",\n"
                        "  \"expiresOn\": \"2026-11-23 20:42:40.000000\",\n"
                        "  \"expires_on\": 1700003600,\n"
                        "  \"subscription\": \"" UNIT_CLIENT "\",\n"
                        "  \"tenant\": \"" UNIT_TENANT "\",\n"
                        "  \"tokenType\": \"Bearer\"\n}\n"), 0);
    assert_string_equal(fixture->token.access_token.data, "t");
    assert_int_equal(fixture->token.received_on, UNIT_NOW);
    assert_int_equal(fixture->token.expires_on, 1700003600);

    /* before that: local time is passed over, the token itself says it */

    unit_jwt(token, sizeof(token), "{\"exp\":1700001800,\"tid\":\"x\"}");
    snprintf(output, sizeof(output), "{\"accessToken\":\"%s\",\"expiresOn\":"
             "\"2026-11-23 20:42:40.000000\",\"tokenType\":\"Bearer\"}",
             token);

    assert_int_equal(az(fixture, output), 0);
    assert_int_equal(fixture->token.expires_on, 1700001800);
    assert_string_equal(fixture->token.tenant_id, "x");
}


static void
test_words_around_the_output_of_az_are_passed_over(void **state)
{
    fixture_t  *fixture = *state;

    assert_int_equal(az(fixture, "WARNING: You have 2 updates available.\n"
                        "{\"accessToken\":\"t\",\"expires_on\":1700003600}\n"
                        "See you.\n"), 0);
    assert_int_equal(az(fixture, "\x1b[0m{\"accessToken\":\"t\","
                        "\"expires_on\":1700003600}\x1b[0m"), 0);
    assert_string_equal(fixture->token.access_token.data, "t");
}


static void
test_az_output_without_a_token_is_refused(void **state)
{
    size_t      i;
    fixture_t  *fixture = *state;

    static const char *const  outputs[][2] = {
        { "", "no JSON object" },
        { "Please run 'az login'\n", "no JSON object" },
        { "{\"accessToken\":\"t\"", "no JSON object" },
        { "[]", "no JSON object" },
        { "{}", "no access token" },
        { "{\"access_token\":\"t\",\"expires_on\":1700003600}",
          "no access token" },
        { "{\"accessToken\":\"t\\r\\nx\",\"expires_on\":1700003600}",
          "characters that no token may have" },
        { "{\"accessToken\":\"t\",\"expires_on\":1600000000}",
          "expired already" },
        { "{\"accessToken\":\"t\",\"tokenType\":\"pop\","
          "\"expires_on\":1700003600}", "no bearer token" },
        { "{\"accessToken\":\"t\",\"expiresOn\":"
          "\"2026-11-23 20:42:40.000000\"}", "does not say when" }
    };

    for (i = 0; i < unit_count(outputs); i++) {
        assert_int_equal(az(fixture, outputs[i][0]), -1);
        unit_assert_contains(fixture->error.text, outputs[i][1]);
    }
}


#define test(name)  cmocka_unit_test_setup_teardown(name, setup, teardown)


int
main(void)
{
    static const struct CMUnitTest  tests[] = {
        test(test_answers_as_documented_are_taken),
        test(test_expiry_is_a_number_or_a_string),
        test(test_expiry_is_a_date),
        test(test_life_of_no_use_is_refused),
        test(test_expiry_of_the_token_itself_comes_last),
        test(test_token_is_a_bearer_token),
        test(test_answer_without_a_token_is_refused),
        test(test_token_alphabet_is_that_of_a_header),
        test(test_token_is_never_cut),
        test(test_what_is_no_json_object_is_refused),
        test(test_nul_in_the_body_is_refused),
        test(test_deep_nesting_is_refused_not_followed),
        test(test_unknown_members_are_passed_over),
        test(test_first_of_two_members_is_taken),
        test(test_refresh_in_is_taken_where_it_makes_sense),
        test(test_identity_is_decoded_for_information),
        test(test_audience_is_decoded_for_information),
        test(test_long_claim_is_cut),
        test(test_token_that_is_no_jwt_is_as_good),
        test(test_az_output_is_taken),
        test(test_words_around_the_output_of_az_are_passed_over),
        test(test_az_output_without_a_token_is_refused)
    };

    return cmocka_run_group_tests_name("token response", tests, NULL, NULL);
}
