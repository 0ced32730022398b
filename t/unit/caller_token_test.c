
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * The form of callers' tokens, and their signature: other algorithms, other
 * keys, headers that offer a key, texts that are no token.
 */


#include "callers.h"

#include <openssl/hmac.h>


#define HEADER      "the token's header is malformed"
#define SIGNATURE   "the token's signature is wrong"
#define NO_JWT      "the token is no signed JWT"
#define ALGORITHM   "the token is not signed with RS256"

static aad_caller_result_t
check_header(unit_callers_t *callers, const char *header)
{
    aad_secret_t  token;

    unit_token(&token, header, UNIT_CLAIMS, unit_key(0));

    return unit_check(callers, &token);
}


static void
test_types_of_access_tokens_pass(void **state)
{
    size_t           i;
    unit_callers_t  *callers = *state;

    static const char *const  headers[] = {
        "{\"alg\":\"RS256\",\"kid\":\"first\"}",
        "{\"alg\":\"RS256\",\"kid\":\"first\",\"typ\":\"at+jwt\"}",
        "{\"alg\":\"RS256\",\"kid\":\"first\",\"typ\":\"jwt\"}",
        "{\"alg\":\"RS256\",\"kid\":\"first\","
            "\"typ\":\"application/at+JWT\"}"
    };

    for (i = 0; i < unit_count(headers); i++) {
        unit_assert_ok(callers, check_header(callers, headers[i]));
    }
}


/* RFC 8725 2.1: the token must not choose how it is checked. */
static void
test_other_algorithms_do_not_pass(void **state)
{
    size_t           i;
    BIO             *bio;
    char            *pem;
    long             length;
    unit_callers_t  *callers = *state;
    aad_secret_t     token;
    unsigned int     mac_length;
    unsigned char    mac[EVP_MAX_MD_SIZE];

    static const char *const  algorithms[] = {
        "none", "None", "NONE", "", "HS256", "RS384", "RS512", "PS256",
        "ES256", "EdDSA", "rs256", "RS256 "
    };

    for (i = 0; i < unit_count(algorithms); i++) {
        char  header[128];

        snprintf(header, sizeof(header),
                 "{\"alg\":\"%s\",\"kid\":\"first\"}", algorithms[i]);
        unit_assert_401(callers, check_header(callers, header), ALGORITHM);
    }

    /* each with what would make it good to who goes by it */

    unit_token_begin(&token, "{\"alg\":\"none\",\"kid\":\"first\"}",
                     UNIT_CLAIMS, strlen(UNIT_CLAIMS));
    aad_secret_append(&token, ".", 1);
    unit_assert_401(callers, unit_check(callers, &token), NO_JWT);

    bio = BIO_new(BIO_s_mem());
    PEM_write_bio_PUBKEY(bio, unit_key(0));
    length = BIO_get_mem_data(bio, &pem);

    unit_token_begin(&token, "{\"alg\":\"HS256\",\"kid\":\"first\"}",
                     UNIT_CLAIMS, strlen(UNIT_CLAIMS));
    assert_non_null(HMAC(EVP_sha256(), pem, (int) length,
                         (unsigned char *) token.data, token.length, mac,
                         &mac_length));
    unit_token_end(&token, mac, mac_length);
    unit_assert_401(callers, unit_check(callers, &token), ALGORITHM);
    BIO_free(bio);

    unit_token_begin(&token, "{\"alg\":\"RS384\",\"kid\":\"first\"}",
                     UNIT_CLAIMS, strlen(UNIT_CLAIMS));
    unit_token_sign(&token, unit_key(0), EVP_sha384(), 0);
    unit_assert_401(callers, unit_check(callers, &token), ALGORITHM);

    /* and with the right name on the wrong thing */

    unit_token_begin(&token, UNIT_HEADER, UNIT_CLAIMS, strlen(UNIT_CLAIMS));
    unit_token_sign(&token, unit_key(0), EVP_sha384(), 0);
    unit_assert_401(callers, unit_check(callers, &token), SIGNATURE);

    unit_token_begin(&token, UNIT_HEADER, UNIT_CLAIMS, strlen(UNIT_CLAIMS));
    unit_token_sign(&token, unit_key(0), EVP_sha256(),
                    RSA_PKCS1_PSS_PADDING);
    unit_assert_401(callers, unit_check(callers, &token), SIGNATURE);
}


static void
test_other_keys_do_not_pass(void **state)
{
    EVP_PKEY        *curve;
    unit_callers_t  *callers = *state;
    aad_secret_t     token;

    unit_token(&token, UNIT_HEADER, UNIT_CLAIMS, unit_key(1));
    unit_assert_401(callers, unit_check(callers, &token), SIGNATURE);

    curve = unit_new_key(EVP_PKEY_EC, 0);
    unit_token(&token, UNIT_HEADER, UNIT_CLAIMS, curve);
    unit_assert_401(callers, unit_check(callers, &token), SIGNATURE);
    EVP_PKEY_free(curve);

    unit_token(&token, "{\"alg\":\"RS256\",\"kid\":\"second\"}", UNIT_CLAIMS,
               unit_key(0));
    unit_assert_result(callers, unit_check(callers, &token),
                       AAD_CALLER_UNKNOWN_KEY, "the token's key is unknown");
}


static void
test_keys_that_a_token_offers_are_not_used(void **state)
{
    size_t           i;
    unit_callers_t  *callers = *state;
    aad_secret_t     jwk, header, token;

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
        unit_assert_401(callers, unit_check(callers, &token), SIGNATURE);

        unit_token(&token, header.data, UNIT_CLAIMS, unit_key(0));
        unit_assert_ok(callers, unit_check(callers, &token));

        aad_secret_wipe(&header);
    }
}


static void
test_bad_headers_do_not_pass(void **state)
{
    size_t           i;
    unit_callers_t  *callers = *state;

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
        unit_assert_401(callers, check_header(callers, headers[i].header),
                       headers[i].reason);
    }
}


static void
test_large_and_deep_headers_do_not_pass(void **state)
{
    size_t           i;
    unit_callers_t  *callers = *state;
    aad_secret_t     header;

    aad_secret_init(&header, 65536);
    aad_secret_append_text(&header, "{\"alg\":\"RS256\",\"kid\":\"");

    for (i = 0; i < 200; i++) {
        aad_secret_append_text(&header, "k");
    }

    aad_secret_append_text(&header, "\"}");
    unit_assert_401(callers, check_header(callers, header.data),
                   "the token does not name its key");
    aad_secret_wipe(&header);

    aad_secret_append_text(&header, "{\"alg\":\"RS256\",\"x\":");

    for (i = 0; i < 4000; i++) {
        aad_secret_append_text(&header, "[");
    }

    unit_assert_401(callers, check_header(callers, header.data), HEADER);
    aad_secret_wipe(&header);

    aad_secret_append_text(&header, "{\"alg\":\"RS256\",\"x\":");

    for (i = 0; i < 1900; i++) {
        aad_secret_append_text(&header, "[");
    }

    unit_assert_401(callers, check_header(callers, header.data), HEADER);
    aad_secret_wipe(&header);
}


/* RFC 7515 2: base64url without padding, line breaks, or anything else */
static void
test_other_forms_do_not_pass(void **state)
{
    char            *p;
    size_t           i, length;
    unit_callers_t  *callers = *state;
    aad_secret_t     token, other;

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

        unit_assert_401(callers, unit_check(callers, &other), forms[i].reason);
    }

    /* every part cut out, or left alone */

    unit_token(&token, UNIT_HEADER, UNIT_CLAIMS, unit_key(0));
    length = strcspn(token.data, ".");

    unit_assert_401(callers, unit_bytes(callers, token.data, length), NO_JWT);
    unit_assert_401(callers, unit_bytes(callers, token.data, length + 1),
                   NO_JWT);
    unit_assert_401(callers, unit_bytes(callers, token.data + length,
                                        token.length - length), NO_JWT);

    p = strrchr(token.data, '.');
    unit_assert_401(callers, unit_bytes(callers, token.data,
                                        p - token.data), NO_JWT);
    unit_assert_401(callers, unit_bytes(callers, token.data,
                                        p + 1 - token.data), NO_JWT);
    unit_assert_401(callers, unit_bytes(callers, "", 0), NO_JWT);
    unit_assert_401(callers, unit_bytes(callers, "..", 2), NO_JWT);
    unit_assert_401(callers, unit_bytes(callers, "\0.\0.\0", 5), HEADER);

    aad_secret_wipe(&token);
}


/* 256 bytes end with a character of which two bits stand for nothing */
static void
test_the_signature_in_another_way_does_not_pass(void **state)
{
    char            *last;
    unit_callers_t  *callers = *state;
    aad_secret_t     token;

    unit_token(&token, UNIT_HEADER, UNIT_CLAIMS, unit_key(0));
    last = token.data + token.length - 1;

    *last = *last == 'A' ? 'B' : *last == 'Q' ? 'R' : *last == 'g' ? 'h'
            : *last == 'w' ? 'x' : '!';
    assert_int_not_equal(*last, '!');

    unit_assert_401(callers, unit_check(callers, &token), SIGNATURE);
}


static void
test_one_changed_bit_anywhere_does_not_pass(void **state)
{
    size_t           i;
    unit_callers_t  *callers = *state;
    aad_secret_t     token;

    unit_token(&token, UNIT_HEADER, UNIT_CLAIMS, unit_key(0));

    for (i = 0; i < token.length; i++) {
        token.data[i] ^= 1;
        assert_int_not_equal(unit_bytes(callers, token.data, token.length),
                             AAD_CALLER_OK);
        token.data[i] ^= 1;
    }

    unit_assert_ok(callers, unit_check(callers, &token));
}


static void
test_size_is_limited(void **state)
{
    size_t           i;
    unit_callers_t  *callers = *state;
    aad_secret_t     claims, token;

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
        unit_assert_result(callers, unit_check(callers, &token),
                      i ? AAD_CALLER_INVALID : AAD_CALLER_OK,
                      i ? "the token is too large" : "");
    }
}


static void
test_nothing_is_left_in_the_error_queue(void **state)
{
    unit_callers_t  *callers = *state;
    aad_secret_t     token;

    ERR_clear_error();
    unit_token(&token, UNIT_HEADER, UNIT_CLAIMS, unit_key(1));
    unit_assert_401(callers, unit_check(callers, &token), SIGNATURE);
    assert_int_equal(ERR_peek_error(), 0);
}


static void
test_expiry_of_another_ones_token(void **state)
{
    int64_t       expires_on;
    aad_secret_t  token;

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


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        unit_caller_test(test_types_of_access_tokens_pass),
        unit_caller_test(test_other_algorithms_do_not_pass),
        unit_caller_test(test_other_keys_do_not_pass),
        unit_caller_test(test_keys_that_a_token_offers_are_not_used),
        unit_caller_test(test_bad_headers_do_not_pass),
        unit_caller_test(test_large_and_deep_headers_do_not_pass),
        unit_caller_test(test_other_forms_do_not_pass),
        unit_caller_test(test_the_signature_in_another_way_does_not_pass),
        unit_caller_test(test_one_changed_bit_anywhere_does_not_pass),
        unit_caller_test(test_size_is_limited),
        unit_caller_test(test_nothing_is_left_in_the_error_queue),
        unit_caller_test(test_expiry_of_another_ones_token)
    };

    return cmocka_run_group_tests_name("caller token", tests, NULL, NULL);
}
