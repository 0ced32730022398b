
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * Which callers' tokens pass, and all that does not: other algorithms, other
 * keys, other tenants, headers that offer a key, JSON that can be read in two
 * ways.
 */


#include "callers.h"

#include <openssl/hmac.h>


#define GROUP           "77777777-abcd-4bcd-8bcd-777777777777"
#define OTHER_CLIENT    "88888888-abcd-4bcd-8bcd-888888888888"

#define RULES_MAX       4


typedef struct {
    aad_caller_rule_t      *rules[RULES_MAX];
    size_t                  rules_count;
    aad_key_set_t          *key_sets[RULES_MAX];
    size_t                  key_sets_count;
    int64_t                 now;
    aad_caller_t            caller;
    const char             *reason;
} callers_t;


static int
setup(void **state)
{
    callers_t  *callers;

    callers = calloc(1, sizeof(callers_t));
    assert_non_null(callers);
    *state = callers;

    callers->now = UNIT_NOW;
    callers->key_sets[0] = unit_key_set(UNIT_TENANT, "\"" UNIT_ISSUER "\",\""
                                        UNIT_ISSUER_V1 "\"", "first",
                                        unit_key(0));
    callers->key_sets_count = 1;

    return 0;
}


static int
teardown(void **state)
{
    size_t      i;
    callers_t  *callers = *state;

    for (i = 0; i < RULES_MAX; i++) {
        aad_caller_rule_destroy(callers->rules[i]);
        aad_key_set_destroy(callers->key_sets[i]);
    }

    free(callers);

    return 0;
}


static void
add_rule(callers_t *callers, const char *condition)
{
    callers->rules[callers->rules_count++] =
        unit_rule("audience=" UNIT_AUDIENCE, "tenant=" UNIT_TENANT, condition,
                  NULL);
}


static aad_caller_result_t
check_bytes(callers_t *callers, const char *token, size_t length)
{
    if (callers->rules_count == 0) {
        add_rule(callers, NULL);
    }

    return aad_caller_check(token, length,
                         (const aad_caller_rule_t *const *) callers->rules,
                         callers->rules_count,
                         (const aad_key_set_t *const *) callers->key_sets,
                         callers->key_sets_count, callers->now,
                         &callers->caller, &callers->reason);
}


/* checks the token and wipes it */
static aad_caller_result_t
check(callers_t *callers, aad_secret_t *token)
{
    char                 *copy;
    size_t                length;
    aad_caller_result_t   result;

    /* without a byte behind it, as a sanitizer would see */

    length = token->length;
    copy = malloc(length ? length : 1);
    memcpy(copy, token->data, length);

    result = check_bytes(callers, copy, length);

    free(copy);
    aad_secret_wipe(token);

    return result;
}


static aad_caller_result_t
check_claims(callers_t *callers, const char *claims)
{
    aad_secret_t  token;

    unit_token(&token, UNIT_HEADER, claims, unit_key(0));

    return check(callers, &token);
}


static aad_caller_result_t
check_header(callers_t *callers, const char *header)
{
    aad_secret_t  token;

    unit_token(&token, header, UNIT_CLAIMS, unit_key(0));

    return check(callers, &token);
}


static void
assert_result(callers_t *callers, aad_caller_result_t result,
    aad_caller_result_t expected, const char *reason)
{
    aad_caller_t  empty;

    if (result != expected || strcmp(callers->reason, reason) != 0) {
        fail_msg("%d \"%s\" instead of %d \"%s\"", result, callers->reason,
                 expected, reason);
    }

    if (expected == AAD_CALLER_INVALID || expected == AAD_CALLER_UNKNOWN_KEY)
    {
        memset(&empty, 0, sizeof(aad_caller_t));
        assert_memory_equal(&callers->caller, &empty, sizeof(aad_caller_t));
    }
}


#define assert_ok(callers, result)                                            \
    assert_result(callers, result, AAD_CALLER_OK, "")
#define assert_invalid(callers, result, reason)                               \
    assert_result(callers, result, AAD_CALLER_INVALID, reason)
#define assert_insufficient(callers, result, reason)                          \
    assert_result(callers, result, AAD_CALLER_INSUFFICIENT, reason)

#define LACKS       "the caller lacks a role, group or scope that is needed " \
                    "here"
#define HEADER      "the token's header is malformed"
#define CLAIMS      "the token's claims are malformed"
#define SIGNATURE   "the token's signature is wrong"
#define NO_JWT      "the token is no signed JWT"
#define ALGORITHM   "the token is not signed with RS256"


static void
test_a_users_token_of_v2_passes(void **state)
{
    callers_t  *callers = *state;

    assert_ok(callers, check_claims(callers, UNIT_CLAIMS_WITH(
                  "\"scp\":\"user_impersonation\","
                  "\"preferred_username\":\"user@example.com\",")));

    assert_string_equal(callers->caller.object_id, UNIT_OBJECT);
    assert_string_equal(callers->caller.client_id, UNIT_CLIENT);
    assert_string_equal(callers->caller.tenant_id, UNIT_TENANT);
    assert_string_equal(callers->caller.name, "user@example.com");
    assert_int_equal(callers->caller.expires_on, 1700003600);
    assert_false(callers->caller.app_only);
}


static void
test_an_apps_token_of_v1_passes(void **state)
{
    callers_t  *callers = *state;

    assert_ok(callers, check_claims(callers,
                  "{\"iss\":\"" UNIT_ISSUER_V1 "\",\"aud\":\"" UNIT_AUDIENCE
                  "\",\"tid\":\"" UNIT_TENANT "\",\"oid\":\"" UNIT_OBJECT
                  "\",\"appid\":\"" UNIT_CLIENT "\",\"exp\":1700003600,"
                  "\"nbf\":1700000000,\"idtyp\":\"app\","
                  "\"app_displayname\":\"Batch\"}"));

    assert_string_equal(callers->caller.client_id, UNIT_CLIENT);
    assert_string_equal(callers->caller.name, "Batch");
    assert_true(callers->caller.app_only);
}


static void
test_what_is_shown_of_a_caller_is_clean(void **state)
{
    callers_t  *callers = *state;

    assert_ok(callers, check_claims(callers, UNIT_CLAIMS_WITH(
                  "\"name\":\"a\\r\\nX-Evil: 1\\u0007\xc3\xa4\",")));
    assert_string_equal(callers->caller.name, "a  X-Evil: 1???");
}


static void
test_types_of_access_tokens_pass(void **state)
{
    size_t      i;
    callers_t  *callers = *state;

    static const char *const  headers[] = {
        "{\"alg\":\"RS256\",\"kid\":\"first\"}",
        "{\"alg\":\"RS256\",\"kid\":\"first\",\"typ\":\"at+jwt\"}",
        "{\"alg\":\"RS256\",\"kid\":\"first\",\"typ\":\"jwt\"}",
        "{\"alg\":\"RS256\",\"kid\":\"first\","
            "\"typ\":\"application/at+JWT\"}"
    };

    for (i = 0; i < unit_count(headers); i++) {
        assert_ok(callers, check_header(callers, headers[i]));
    }
}


/* RFC 8725 2.1: the token must not choose how it is checked. */
static void
test_other_algorithms_do_not_pass(void **state)
{
    size_t          i;
    BIO            *bio;
    char           *pem;
    long            length;
    callers_t      *callers = *state;
    aad_secret_t    token;
    unsigned int    mac_length;
    unsigned char   mac[EVP_MAX_MD_SIZE];

    static const char *const  algorithms[] = {
        "none", "None", "NONE", "", "HS256", "RS384", "RS512", "PS256",
        "ES256", "EdDSA", "rs256", "RS256 "
    };

    for (i = 0; i < unit_count(algorithms); i++) {
        char  header[128];

        snprintf(header, sizeof(header),
                 "{\"alg\":\"%s\",\"kid\":\"first\"}", algorithms[i]);
        assert_invalid(callers, check_header(callers, header), ALGORITHM);
    }

    /* each with what would make it good to who goes by it */

    unit_token_begin(&token, "{\"alg\":\"none\",\"kid\":\"first\"}",
                     UNIT_CLAIMS, strlen(UNIT_CLAIMS));
    aad_secret_append(&token, ".", 1);
    assert_invalid(callers, check(callers, &token), NO_JWT);

    bio = BIO_new(BIO_s_mem());
    PEM_write_bio_PUBKEY(bio, unit_key(0));
    length = BIO_get_mem_data(bio, &pem);

    unit_token_begin(&token, "{\"alg\":\"HS256\",\"kid\":\"first\"}",
                     UNIT_CLAIMS, strlen(UNIT_CLAIMS));
    assert_non_null(HMAC(EVP_sha256(), pem, (int) length,
                         (unsigned char *) token.data, token.length, mac,
                         &mac_length));
    unit_token_end(&token, mac, mac_length);
    assert_invalid(callers, check(callers, &token), ALGORITHM);
    BIO_free(bio);

    unit_token_begin(&token, "{\"alg\":\"RS384\",\"kid\":\"first\"}",
                     UNIT_CLAIMS, strlen(UNIT_CLAIMS));
    unit_token_sign(&token, unit_key(0), EVP_sha384(), 0);
    assert_invalid(callers, check(callers, &token), ALGORITHM);

    /* and with the right name on the wrong thing */

    unit_token_begin(&token, UNIT_HEADER, UNIT_CLAIMS, strlen(UNIT_CLAIMS));
    unit_token_sign(&token, unit_key(0), EVP_sha384(), 0);
    assert_invalid(callers, check(callers, &token), SIGNATURE);

    unit_token_begin(&token, UNIT_HEADER, UNIT_CLAIMS, strlen(UNIT_CLAIMS));
    unit_token_sign(&token, unit_key(0), EVP_sha256(),
                    RSA_PKCS1_PSS_PADDING);
    assert_invalid(callers, check(callers, &token), SIGNATURE);
}


static void
test_other_keys_do_not_pass(void **state)
{
    EVP_PKEY      *curve;
    callers_t     *callers = *state;
    aad_secret_t   token;

    unit_token(&token, UNIT_HEADER, UNIT_CLAIMS, unit_key(1));
    assert_invalid(callers, check(callers, &token), SIGNATURE);

    curve = unit_new_key(EVP_PKEY_EC, 0);
    unit_token(&token, UNIT_HEADER, UNIT_CLAIMS, curve);
    assert_invalid(callers, check(callers, &token), SIGNATURE);
    EVP_PKEY_free(curve);

    unit_token(&token, "{\"alg\":\"RS256\",\"kid\":\"second\"}", UNIT_CLAIMS,
               unit_key(0));
    assert_result(callers, check(callers, &token), AAD_CALLER_UNKNOWN_KEY,
                  "the token's key is unknown");
}


static void
test_keys_that_a_token_offers_are_not_used(void **state)
{
    size_t         i;
    callers_t     *callers = *state;
    aad_secret_t   jwk, header, token;

    static const char *const  headers[] = {
        "\"jku\":\"http://127.0.0.1:9/keys\",",
        "\"x5u\":\"http://127.0.0.1:9/certificate\",",
        "\"x5c\":[\"MIIB\"],",
        "\"x5t\":\"c2Vjb25k\","
    };

    for (i = 0; i <= unit_count(headers); i++) {
        aad_secret_init(&header, 4096);
        aad_secret_append_text(&header, "{");

        if (i < unit_count(headers)) {
            aad_secret_append_text(&header, headers[i]);

        } else {
            aad_secret_init(&jwk, 4096);
            unit_jwk(&jwk, "first", unit_key(1), "\"kty\":\"RSA\",");
            aad_secret_append_text(&header, "\"jwk\":");
            aad_secret_append_text(&header, jwk.data);
            aad_secret_append_text(&header, ",");
            aad_secret_wipe(&jwk);
        }

        aad_secret_append_text(&header,
                               "\"alg\":\"RS256\",\"kid\":\"first\"}");

        /* signed by the one that is offered, and by the tenant's */

        unit_token(&token, header.data, UNIT_CLAIMS, unit_key(1));
        assert_invalid(callers, check(callers, &token), SIGNATURE);

        unit_token(&token, header.data, UNIT_CLAIMS, unit_key(0));
        assert_ok(callers, check(callers, &token));

        aad_secret_wipe(&header);
    }
}


static void
test_bad_headers_do_not_pass(void **state)
{
    size_t      i;
    callers_t  *callers = *state;

    static const struct {
        const char  *header;
        const char  *reason;
    } headers[] = {
        { "{\"alg\":\"RS256\"}", "the token does not name its key" },
        { "{\"alg\":\"RS256\",\"kid\":\"\"}",
          "the token does not name its key" },
        { "{\"alg\":\"RS256\",\"kid\":1}",
          "the token does not name its key" },
        { "{\"alg\":\"RS256\",\"kid\":\"first\",\"crit\":[\"b64\"],"
          "\"b64\":false}", "the token has a critical extension" },
        { "{\"alg\":\"RS256\",\"kid\":\"first\",\"crit\":[]}",
          "the token has a critical extension" },
        { "{\"alg\":\"RS256\",\"kid\":\"first\",\"typ\":\"JWE\"}",
          "the token is of another type" },
        { "{\"alg\":\"RS256\",\"kid\":\"first\",\"typ\":\"dpop+jwt\"}",
          "the token is of another type" },
        { "{\"alg\":\"RS256\",\"kid\":\"first\",\"typ\":1}",
          "the token is of another type" },
        { "{\"kid\":\"first\"}", ALGORITHM },
        { "{\"alg\":[\"RS256\"],\"kid\":\"first\"}", ALGORITHM },
        { "{\"alg\":\"none\",\"alg\":\"RS256\",\"kid\":\"first\"}", HEADER },
        { "{\"alg\":\"RS256\",\"kid\":\"second\",\"k\\u0069d\":\"first\"}",
          HEADER },
        { "{\"alg\":\"RS256\",\"kid\":\"first\\u0000\"}", HEADER },
        { "{\"alg\":\"RS256\",\"kid\":\"first\xff\"}", HEADER },
        { "{\"alg\":\"RS256\",\"kid\":\"first\"", HEADER },
        { "{\"alg\":\"RS256\",\"kid\":\"first\"}}", HEADER },
        { "[\"RS256\"]", HEADER },
        { "RS256", HEADER }
    };

    for (i = 0; i < unit_count(headers); i++) {
        assert_invalid(callers, check_header(callers, headers[i].header),
                       headers[i].reason);
    }
}


static void
test_large_and_deep_headers_do_not_pass(void **state)
{
    size_t         i;
    callers_t     *callers = *state;
    aad_secret_t   header;

    aad_secret_init(&header, 65536);
    aad_secret_append_text(&header, "{\"alg\":\"RS256\",\"kid\":\"");

    for (i = 0; i < 200; i++) {
        aad_secret_append_text(&header, "k");
    }

    aad_secret_append_text(&header, "\"}");
    assert_invalid(callers, check_header(callers, header.data),
                   "the token does not name its key");
    aad_secret_wipe(&header);

    aad_secret_append_text(&header, "{\"alg\":\"RS256\",\"x\":");

    for (i = 0; i < 4000; i++) {
        aad_secret_append_text(&header, "[");
    }

    assert_invalid(callers, check_header(callers, header.data), HEADER);
    aad_secret_wipe(&header);

    aad_secret_append_text(&header, "{\"alg\":\"RS256\",\"x\":");

    for (i = 0; i < 1900; i++) {
        aad_secret_append_text(&header, "[");
    }

    assert_invalid(callers, check_header(callers, header.data), HEADER);
    aad_secret_wipe(&header);
}


/* RFC 7515 2: base64url without padding, line breaks, or anything else */
static void
test_other_forms_do_not_pass(void **state)
{
    char          *p;
    size_t         i, length;
    callers_t     *callers = *state;
    aad_secret_t   token, other;

    static const struct {
        const char  *before;
        const char  *after;
        const char  *reason;
    } forms[] = {
        { "", ".", NO_JWT },
        { "", ".x", NO_JWT },
        { "", ".x.x", NO_JWT },
        { ".", "", NO_JWT },
        { "", "=", SIGNATURE },
        { "", "==", SIGNATURE },
        { "", "\n", SIGNATURE },
        { "", " ", SIGNATURE },
        { " ", "", HEADER },
        { "\t", "", HEADER },
        { "=", "", HEADER },
        { "", "AAAA", SIGNATURE }
    };

    for (i = 0; i < unit_count(forms); i++) {
        unit_token(&token, UNIT_HEADER, UNIT_CLAIMS, unit_key(0));
        aad_secret_init(&other, 65536);
        aad_secret_append_text(&other, forms[i].before);
        aad_secret_append_text(&other, token.data);
        aad_secret_append_text(&other, forms[i].after);
        aad_secret_wipe(&token);

        assert_invalid(callers, check(callers, &other), forms[i].reason);
    }

    /* every part cut out, or left alone */

    unit_token(&token, UNIT_HEADER, UNIT_CLAIMS, unit_key(0));
    length = strcspn(token.data, ".");

    assert_invalid(callers, check_bytes(callers, token.data, length), NO_JWT);
    assert_invalid(callers, check_bytes(callers, token.data, length + 1),
                   NO_JWT);
    assert_invalid(callers, check_bytes(callers, token.data + length,
                                        token.length - length), NO_JWT);

    p = strrchr(token.data, '.');
    assert_invalid(callers, check_bytes(callers, token.data,
                                        p - token.data), NO_JWT);
    assert_invalid(callers, check_bytes(callers, token.data,
                                        p + 1 - token.data), NO_JWT);
    assert_invalid(callers, check_bytes(callers, "", 0), NO_JWT);
    assert_invalid(callers, check_bytes(callers, "..", 2), NO_JWT);
    assert_invalid(callers, check_bytes(callers, "\0.\0.\0", 5), HEADER);

    aad_secret_wipe(&token);
}


/* 256 bytes end with a character of which two bits stand for nothing */
static void
test_another_way_to_write_the_signature_does_not_pass(void **state)
{
    char          *last;
    callers_t     *callers = *state;
    aad_secret_t   token;

    unit_token(&token, UNIT_HEADER, UNIT_CLAIMS, unit_key(0));
    last = token.data + token.length - 1;

    *last = *last == 'A' ? 'B' : *last == 'Q' ? 'R' : *last == 'g' ? 'h'
            : *last == 'w' ? 'x' : '!';
    assert_int_not_equal(*last, '!');

    assert_invalid(callers, check(callers, &token), SIGNATURE);
}


static void
test_one_changed_bit_anywhere_does_not_pass(void **state)
{
    size_t         i;
    callers_t     *callers = *state;
    aad_secret_t   token;

    unit_token(&token, UNIT_HEADER, UNIT_CLAIMS, unit_key(0));

    for (i = 0; i < token.length; i++) {
        token.data[i] ^= 1;
        assert_int_not_equal(check_bytes(callers, token.data, token.length),
                             AAD_CALLER_OK);
        token.data[i] ^= 1;
    }

    assert_ok(callers, check(callers, &token));
}


static void
test_size_is_limited(void **state)
{
    size_t         i;
    callers_t     *callers = *state;
    aad_secret_t   claims, token;

    for (i = 0; i < 2; i++) {
        aad_secret_init(&claims, 65536);
        aad_secret_append_text(&claims, "{\"x\":\"");

        while (claims.length < (i ? 16000 : 11000)) {
            aad_secret_append_text(&claims, "xxxxxxxx");
        }

        aad_secret_append_text(&claims, "\",");
        aad_secret_append_text(&claims, &UNIT_CLAIMS[1]);

        unit_token(&token, UNIT_HEADER, claims.data, unit_key(0));
        aad_secret_wipe(&claims);

        assert_int_equal(token.length > AAD_TOKEN_BYTES_MAX, i);
        assert_result(callers, check(callers, &token),
                      i ? AAD_CALLER_INVALID : AAD_CALLER_OK,
                      i ? "the token is too large" : "");
    }
}


/* Signed as they should be: the tenant's keys may sign for others as well. */
static void
test_bad_claims_do_not_pass(void **state)
{
    size_t      i;
    callers_t  *callers = *state;

    static const struct {
        const char  *claims;
        const char  *reason;
    } claims[] = {
        { "[]", CLAIMS },
        { "null", CLAIMS },
        { "{", CLAIMS },
        { UNIT_CLAIMS "{}", CLAIMS },
        { UNIT_CLAIMS_WITH("\"x\":\"\xc0\xaf\","), CLAIMS },
        { UNIT_CLAIMS_WITH("\"x\":\"\xed\xa0\x80\","), CLAIMS },
        { UNIT_CLAIMS_WITH("\"x\":\"\xe2\x82\","), CLAIMS },
        { UNIT_CLAIMS_WITH("\"x\":\"\\u0000\","), CLAIMS },
        { UNIT_CLAIMS_WITH("\"exp\":1,"), CLAIMS },
        { UNIT_CLAIMS_WITH("\"aud\":\"x\","), CLAIMS },
        { UNIT_CLAIMS_WITH("\"iss\":\"x\","), CLAIMS },
        { UNIT_CLAIMS_WITH("\"roles\":[],\"roles\":[\"Admin\"],"), CLAIMS },
        { UNIT_CLAIMS_WITH("\"r\\u006fles\":[],\"roles\":[\"Admin\"],"),
          CLAIMS },
        { UNIT_CLAIMS_WITH("\"nbf\":\"1700000000\","), CLAIMS },
        { UNIT_CLAIMS_WITH("\"appid\":\"" OTHER_CLIENT "\","), CLAIMS },

        { "{}", "the token does not say when it expires" },
        { "{\"exp\":\"1700003600\"}",
          "the token does not say when it expires" },
        { "{\"exp\":null}", "the token does not say when it expires" },
        { "{\"exp\":1e300}", "the token does not say when it expires" },
        { "{\"exp\":1e999}", "the token does not say when it expires" },
        { "{\"exp\":9223372036854775807}",
          "the token does not say when it expires" },
        { "{\"exp\":-1e300}", "the token does not say when it expires" },
        { "{\"exp\":-1}", "the token has expired" },
        { UNIT_CLAIMS_WITH("\"nbf\":1e300,"), CLAIMS },

        { "{\"iss\":\"" UNIT_ISSUER "\",\"aud\":\"" UNIT_AUDIENCE "\","
          "\"tid\":\"" UNIT_TENANT "\",\"exp\":1700003600,"
          "\"nonce\":\"of an ID token\"}", "the token is no access token" },
        { "{\"iss\":\"" UNIT_ISSUER "\",\"aud\":\"" UNIT_AUDIENCE "\","
          "\"tid\":\"" UNIT_OTHER_TENANT "\",\"exp\":1700003600,"
          "\"azp\":\"" UNIT_CLIENT "\"}", "the token is of another tenant" },
        { "{\"iss\":\"" UNIT_ISSUER "\",\"aud\":\"" UNIT_AUDIENCE "\","
          "\"exp\":1700003600,\"azp\":\"" UNIT_CLIENT "\"}",
          "the token is of another tenant" },
        { "{\"iss\":\"" UNIT_OTHER_ISSUER "\",\"aud\":\"" UNIT_AUDIENCE "\","
          "\"tid\":\"" UNIT_TENANT "\",\"exp\":1700003600,"
          "\"azp\":\"" UNIT_CLIENT "\"}", "the token has another issuer" },
        { "{\"iss\":\"" UNIT_ISSUER "/\",\"aud\":\"" UNIT_AUDIENCE "\","
          "\"tid\":\"" UNIT_TENANT "\",\"exp\":1700003600,"
          "\"azp\":\"" UNIT_CLIENT "\"}", "the token has another issuer" },
        { "{\"aud\":\"" UNIT_AUDIENCE "\","
          "\"tid\":\"" UNIT_TENANT "\",\"exp\":1700003600,"
          "\"azp\":\"" UNIT_CLIENT "\"}", "the token has another issuer" },
        { "{\"iss\":\"" UNIT_ISSUER "\",\"aud\":\"" UNIT_AUDIENCE "2\","
          "\"tid\":\"" UNIT_TENANT "\",\"exp\":1700003600,"
          "\"azp\":\"" UNIT_CLIENT "\"}",
          "the token is for another audience" },
        { "{\"iss\":\"" UNIT_ISSUER "\",\"aud\":{\"" UNIT_AUDIENCE "\":1},"
          "\"tid\":\"" UNIT_TENANT "\",\"exp\":1700003600,"
          "\"azp\":\"" UNIT_CLIENT "\"}",
          "the token is for another audience" },
        { "{\"iss\":\"" UNIT_ISSUER "\",\"aud\":[[\"" UNIT_AUDIENCE "\"]],"
          "\"tid\":\"" UNIT_TENANT "\",\"exp\":1700003600,"
          "\"azp\":\"" UNIT_CLIENT "\"}",
          "the token is for another audience" },
        { "{\"iss\":\"" UNIT_ISSUER "\",\"Aud\":\"" UNIT_AUDIENCE "\","
          "\"tid\":\"" UNIT_TENANT "\",\"exp\":1700003600,"
          "\"azp\":\"" UNIT_CLIENT "\"}",
          "the token is for another audience" }
    };

    for (i = 0; i < unit_count(claims); i++) {
        assert_invalid(callers, check_claims(callers, claims[i].claims),
                       claims[i].reason);
    }
}


static void
test_a_nul_in_the_claims_does_not_pass(void **state)
{
    callers_t     *callers = *state;
    aad_secret_t   token;

    /* the array's own NUL is the claims' last byte */

    unit_token_begin(&token, UNIT_HEADER, UNIT_CLAIMS, sizeof(UNIT_CLAIMS));
    unit_token_sign(&token, unit_key(0), EVP_sha256(), 0);
    assert_invalid(callers, check(callers, &token), CLAIMS);
}


static void
test_an_audience_in_a_list_passes(void **state)
{
    callers_t  *callers = *state;

    assert_ok(callers, check_claims(callers,
                  "{\"iss\":\"" UNIT_ISSUER "\",\"aud\":[\"x\",\""
                  UNIT_AUDIENCE "\"],\"tid\":\"" UNIT_TENANT "\","
                  "\"exp\":1700003600,\"azp\":\"" UNIT_CLIENT "\"}"));
}


static void
test_a_token_lives_until_a_minute_after_its_end(void **state)
{
    size_t      i;
    callers_t  *callers = *state;

    static const struct {
        int64_t      now;
        const char  *reason;
    } times[] = {
        { 1699999939, "the token is not valid yet" },
        { 1699999940, "" },
        { 1700003659, "" },
        { 1700003660, "the token has expired" },
        { INT64_MAX - 60, "the token has expired" }
    };

    for (i = 0; i < unit_count(times); i++) {
        callers->now = times[i].now;
        assert_result(callers, check_claims(callers, UNIT_CLAIMS_WITH(
                          "\"nbf\":1700000000,")),
                      times[i].reason[0] ? AAD_CALLER_INVALID : AAD_CALLER_OK,
                      times[i].reason);
    }
}


static void
test_conditions(void **state)
{
    size_t      i;
    callers_t  *callers = *state;

    static const struct {
        const char  *condition;
        const char  *claims;
        int          holds;
    } conditions[] = {
        { "roles=Chat", UNIT_CLAIMS_WITH("\"roles\":[\"x\",\"Chat\"],"), 1 },
        { "roles=Chat", UNIT_CLAIMS_WITH("\"roles\":[\"chat\"],"), 0 },
        { "roles=Chat", UNIT_CLAIMS_WITH("\"roles\":[\"Chat2\"],"), 0 },
        { "roles=Chat", UNIT_CLAIMS_WITH("\"roles\":\"Chat\","), 0 },
        { "roles=Chat", UNIT_CLAIMS_WITH("\"roles\":{\"Chat\":\"Chat\"},"),
          0 },
        { "roles=Chat", UNIT_CLAIMS_WITH("\"roles\":[[\"Chat\"]],"), 0 },
        { "roles=Chat", UNIT_CLAIMS_WITH("\"Roles\":[\"Chat\"],"), 0 },
        { "roles=Chat", UNIT_CLAIMS, 0 },
        { "groups=" GROUP, UNIT_CLAIMS_WITH("\"groups\":[\"" GROUP "\"],"),
          1 },
        { "groups=77777777-ABCD-4BCD-8BCD-777777777777",
          UNIT_CLAIMS_WITH("\"groups\":[\"" GROUP "\"],"), 1 },
        { "groups=Dev", UNIT_CLAIMS_WITH("\"groups\":[\"dev\"],"), 0 },
        { "groups=" GROUP, UNIT_CLAIMS, 0 },
        { "scp=chat", UNIT_CLAIMS_WITH("\"scp\":\"x chat y\","), 1 },
        { "scp=chat", UNIT_CLAIMS_WITH("\"scp\":\"chat\","), 1 },
        { "scp=chat", UNIT_CLAIMS_WITH("\"scp\":\"cha chats achat Chat\","),
          0 },
        { "scp=chat", UNIT_CLAIMS_WITH("\"scp\":[\"chat\"],"), 0 },
        { "scp=chat", UNIT_CLAIMS_WITH("\"roles\":[\"chat\"],"), 0 },
        { "appid=" UNIT_CLIENT, UNIT_CLAIMS, 1 },
        { "azp=" UNIT_CLIENT, UNIT_CLAIMS, 1 },
        { "azp=" OTHER_CLIENT, UNIT_CLAIMS, 0 },
        { "oid=" UNIT_OBJECT, UNIT_CLAIMS, 1 },
        { "oid=" UNIT_CLIENT, UNIT_CLAIMS, 0 }
    };

    for (i = 0; i < unit_count(conditions); i++) {
        add_rule(callers, conditions[i].condition);
        assert_result(callers, check_claims(callers, conditions[i].claims),
                      conditions[i].holds ? AAD_CALLER_OK
                                          : AAD_CALLER_INSUFFICIENT,
                      conditions[i].holds ? "" : LACKS);

        /* whoever it is that may not pass is known */

        assert_string_equal(callers->caller.object_id, UNIT_OBJECT);

        aad_caller_rule_destroy(callers->rules[0]);
        callers->rules_count = 0;
        callers->rules[0] = NULL;
    }
}


static void
test_conditions_of_a_line_must_all_hold(void **state)
{
    callers_t  *callers = *state;

    callers->rules[callers->rules_count++] =
        unit_rule("audience=" UNIT_AUDIENCE, "tenant=" UNIT_TENANT,
                  "roles=a", "roles=b", "oid=" UNIT_OBJECT, NULL);

    assert_ok(callers, check_claims(callers, UNIT_CLAIMS_WITH(
                  "\"roles\":[\"b\",\"a\"],")));
    assert_insufficient(callers, check_claims(callers, UNIT_CLAIMS_WITH(
                  "\"roles\":[\"a\"],")), LACKS);
    assert_insufficient(callers, check_claims(callers, UNIT_CLAIMS_WITH(
                  "\"roles\":[\"b\"],")), LACKS);
}


static void
test_lines_are_alternatives(void **state)
{
    callers_t  *callers = *state;

    callers->rules[callers->rules_count++] =
        unit_rule("audience=api://another", "tenant=" UNIT_TENANT, NULL);
    add_rule(callers, "roles=a");
    add_rule(callers, "roles=b");

    assert_ok(callers, check_claims(callers, UNIT_CLAIMS_WITH(
                  "\"roles\":[\"a\"],")));
    assert_ok(callers, check_claims(callers, UNIT_CLAIMS_WITH(
                  "\"roles\":[\"b\"],")));

    /* of two refusals, the one of the line that came closest */

    assert_insufficient(callers, check_claims(callers, UNIT_CLAIMS), LACKS);
}


static void
test_group_overage_is_told(void **state)
{
    callers_t  *callers = *state;

    static const char  reason[] = "the caller is in more groups than the "
                                  "token can list";

    add_rule(callers, "groups=" GROUP);

    assert_insufficient(callers, check_claims(callers, UNIT_CLAIMS_WITH(
        "\"_claim_names\":{\"groups\":\"src1\"},"
        "\"_claim_sources\":{\"src1\":{\"endpoint\":"
        "\"http://127.0.0.1:9/\"}},")), reason);
    assert_insufficient(callers, check_claims(callers, UNIT_CLAIMS_WITH(
        "\"hasgroups\":true,")), reason);
}


static void
test_tenants_have_keys_of_their_own(void **state)
{
    callers_t     *callers = *state;
    aad_secret_t   token;

    static const char  claims[] =
        "{\"iss\":\"" UNIT_OTHER_ISSUER "\",\"aud\":\"" UNIT_AUDIENCE "\","
        "\"tid\":\"" UNIT_OTHER_TENANT "\",\"exp\":1700003600,"
        "\"azp\":\"" UNIT_CLIENT "\"}";

    add_rule(callers, NULL);
    callers->rules[callers->rules_count++] =
        unit_rule("audience=" UNIT_AUDIENCE, "tenant=" UNIT_OTHER_TENANT,
                  NULL);

    /* a set that is not there yet */

    callers->key_sets_count = 2;

    assert_ok(callers, check_claims(callers, UNIT_CLAIMS));
    assert_result(callers, check_claims(callers, claims),
                  AAD_CALLER_UNKNOWN_KEY, "the token's key is unknown");

    /* the same id, and another key */

    callers->key_sets[1] = unit_key_set(UNIT_OTHER_TENANT,
                                        "\"" UNIT_OTHER_ISSUER "\"", "first",
                                        unit_key(1));

    assert_invalid(callers, check_claims(callers, claims), SIGNATURE);

    unit_token(&token, UNIT_HEADER, UNIT_CLAIMS, unit_key(1));
    assert_invalid(callers, check(callers, &token), SIGNATURE);

    unit_token(&token, UNIT_HEADER, claims, unit_key(1));
    assert_ok(callers, check(callers, &token));
    assert_string_equal(callers->caller.tenant_id, UNIT_OTHER_TENANT);

    /* the same key, and another issuer */

    aad_key_set_destroy(callers->key_sets[1]);
    callers->key_sets[1] = unit_key_set(UNIT_OTHER_TENANT,
                                        "\"" UNIT_OTHER_ISSUER "\"", "first",
                                        unit_key(0));

    assert_ok(callers, check_claims(callers, claims));
    assert_ok(callers, check_claims(callers, UNIT_CLAIMS));
}


static void
test_nothing_is_left_in_the_error_queue(void **state)
{
    callers_t     *callers = *state;
    aad_secret_t   token;

    ERR_clear_error();
    unit_token(&token, UNIT_HEADER, UNIT_CLAIMS, unit_key(1));
    assert_invalid(callers, check(callers, &token), SIGNATURE);
    assert_int_equal(ERR_peek_error(), 0);
}


static void
test_expiry_of_another_ones_token(void **state)
{
    int64_t        expires_on;
    aad_secret_t   token;

    (void) state;

    unit_token(&token, "{}", UNIT_CLAIMS, unit_key(1));
    assert_int_equal(aad_caller_expires_on(token.data, token.length,
                                           &expires_on), 0);
    assert_int_equal(expires_on, 1700003600);
    aad_secret_wipe(&token);

    unit_token(&token, "{}", "{\"exp\":\"x\"}", unit_key(1));
    assert_int_equal(aad_caller_expires_on(token.data, token.length,
                                           &expires_on), -1);
    aad_secret_wipe(&token);

    assert_int_equal(aad_caller_expires_on("opaque", 6, &expires_on), -1);
}


#define caller_test(test)                                                     \
    cmocka_unit_test_setup_teardown(test, setup, teardown)


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        caller_test(test_a_users_token_of_v2_passes),
        caller_test(test_an_apps_token_of_v1_passes),
        caller_test(test_what_is_shown_of_a_caller_is_clean),
        caller_test(test_types_of_access_tokens_pass),
        caller_test(test_other_algorithms_do_not_pass),
        caller_test(test_other_keys_do_not_pass),
        caller_test(test_keys_that_a_token_offers_are_not_used),
        caller_test(test_bad_headers_do_not_pass),
        caller_test(test_large_and_deep_headers_do_not_pass),
        caller_test(test_other_forms_do_not_pass),
        caller_test(test_another_way_to_write_the_signature_does_not_pass),
        caller_test(test_one_changed_bit_anywhere_does_not_pass),
        caller_test(test_size_is_limited),
        caller_test(test_bad_claims_do_not_pass),
        caller_test(test_a_nul_in_the_claims_does_not_pass),
        caller_test(test_an_audience_in_a_list_passes),
        caller_test(test_a_token_lives_until_a_minute_after_its_end),
        caller_test(test_conditions),
        caller_test(test_conditions_of_a_line_must_all_hold),
        caller_test(test_lines_are_alternatives),
        caller_test(test_group_overage_is_told),
        caller_test(test_tenants_have_keys_of_their_own),
        caller_test(test_nothing_is_left_in_the_error_queue),
        caller_test(test_expiry_of_another_ones_token)
    };

    return cmocka_run_group_tests_name("caller", tests, NULL, NULL);
}
