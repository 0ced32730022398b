
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * Callers' tokens and the keys that sign them, made by libcrypto; and a
 * location that they come to.
 */


#ifndef _UNIT_CALLERS_H_INCLUDED_
#define _UNIT_CALLERS_H_INCLUDED_


#include "certificates.h"

#include "key_set.h"

#include <openssl/asn1.h>


#define UNIT_RULES_MAX      4

#define UNIT_OTHER_TENANT   "55555555-eeee-4eee-8eee-555555555555"

#define UNIT_ISSUER         "https://login.microsoftonline.com/"              \
                            UNIT_TENANT "/v2.0"
#define UNIT_ISSUER_V1      "https://sts.windows.net/" UNIT_TENANT "/"
#define UNIT_OTHER_ISSUER   "https://login.microsoftonline.com/"              \
                            UNIT_OTHER_TENANT "/v2.0"

#define UNIT_AUDIENCE       "api://gateway"

#define UNIT_HEADER         "{\"typ\":\"JWT\",\"alg\":\"RS256\","             \
                            "\"kid\":\"first\"}"

/* all that a token needs to pass, and room for what a test adds in front */
#define UNIT_CLAIMS_WITH(more)                                                \
    "{" more "\"iss\":\"" UNIT_ISSUER "\",\"aud\":\"" UNIT_AUDIENCE "\","     \
    "\"tid\":\"" UNIT_TENANT "\",\"oid\":\"" UNIT_OBJECT "\","                \
    "\"azp\":\"" UNIT_CLIENT "\",\"exp\":1700003600}"

#define UNIT_CLAIMS         UNIT_CLAIMS_WITH("")


/* header, payload and the point between them, in base64url */
static inline void
unit_token_begin(aad_secret_t *token, const char *header, const char *payload,
    size_t payload_length)
{
    aad_secret_init(token, 1048576);

    assert_int_equal(aad_base64url_append(token,
                         (const unsigned char *) header, strlen(header)), 0);
    assert_int_equal(aad_secret_append(token, ".", 1), 0);
    assert_int_equal(aad_base64url_append(token,
                         (const unsigned char *) payload, payload_length), 0);
}


static inline void
unit_token_end(aad_secret_t *token, const unsigned char *signature,
    size_t length)
{
    assert_int_equal(aad_secret_append(token, ".", 1), 0);
    assert_int_equal(aad_base64url_append(token, signature, length), 0);
}


/* 'padding' 0: the key's own */
static inline void
unit_token_sign(aad_secret_t *token, EVP_PKEY *key, const EVP_MD *digest,
    int padding)
{
    size_t          length;
    EVP_MD_CTX     *md;
    EVP_PKEY_CTX   *context;
    unsigned char   signature[2048];

    md = EVP_MD_CTX_new();
    length = sizeof(signature);

    assert_int_equal(EVP_DigestSignInit(md, &context, digest, NULL, key), 1);

    if (padding != 0) {
        assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(context, padding), 1);
    }

    assert_int_equal(EVP_DigestSign(md, signature, &length,
                                    (unsigned char *) token->data,
                                    token->length), 1);
    EVP_MD_CTX_free(md);

    unit_token_end(token, signature, length);
}


/* RS256 by that key; the caller wipes it */
static inline void
unit_token(aad_secret_t *token, const char *header, const char *claims,
    EVP_PKEY *key)
{
    unit_token_begin(token, header, claims, strlen(claims));
    unit_token_sign(token, key, EVP_sha256(), 0);
}


/* Appends the n-th number of an RSAPublicKey: the modulus, or the exponent. */
static inline void
unit_key_number(aad_secret_t *text, EVP_PKEY *key, int n)
{
    int                   length;
    unsigned char        *der;
    const ASN1_TYPE      *number;
    ASN1_SEQUENCE_ANY    *numbers;
    const unsigned char  *p;

    der = NULL;
    length = i2d_PublicKey(key, &der);
    assert_true(length > 0);

    p = der;
    numbers = d2i_ASN1_SEQUENCE_ANY(NULL, &p, length);
    assert_non_null(numbers);

    number = sk_ASN1_TYPE_value(numbers, n);

    assert_int_equal(aad_base64url_append(text,
                         ASN1_STRING_get0_data(number->value.integer),
                         ASN1_STRING_length(number->value.integer)), 0);

    sk_ASN1_TYPE_pop_free(numbers, ASN1_TYPE_free);
    OPENSSL_free(der);
}


/* Appends a JSON Web Key; 'more' are members with a comma behind each. */
static inline void
unit_jwk(aad_secret_t *text, const char *id, EVP_PKEY *key, const char *more)
{
    aad_secret_append_text(text, "{");
    aad_secret_append_text(text, more);
    aad_secret_append_text(text, "\"kid\":\"");
    aad_secret_append_text(text, id);
    aad_secret_append_text(text, "\",\"n\":\"");
    unit_key_number(text, key, 0);
    aad_secret_append_text(text, "\",\"e\":\"");
    unit_key_number(text, key, 1);
    assert_int_equal(aad_secret_append_text(text, "\"}"), 0);
}


/* A tenant's set with one key. */
static inline aad_key_set_t *
unit_key_set(const char *tenant_id, const char *issuers, const char *id,
    EVP_PKEY *key)
{
    aad_error_t     error;
    aad_secret_t    text;
    aad_key_set_t  *key_set;

    aad_secret_init(&text, AAD_KEY_SET_BYTES_MAX);
    aad_secret_append_text(&text, "{\"tenant_id\":\"");
    aad_secret_append_text(&text, tenant_id);
    aad_secret_append_text(&text, "\",\"issuers\":[");
    aad_secret_append_text(&text, issuers);
    aad_secret_append_text(&text, "],\"keys\":[");
    unit_jwk(&text, id, key, "");
    aad_secret_append_text(&text, "]}");

    key_set = aad_key_set_parse(text.data, text.length, &error);

    if (key_set == NULL) {
        fail_msg("%s", error.text);
    }

    aad_secret_wipe(&text);

    return key_set;
}


/* Parameters, then NULL. */
static inline aad_caller_rule_t *
unit_rule(const char *parameter, ...)
{
    va_list             args;
    aad_error_t         error;
    aad_caller_rule_t  *rule;

    rule = aad_caller_rule_create();
    assert_non_null(rule);

    va_start(args, parameter);

    for ( /* void */ ; parameter != NULL;
         parameter = va_arg(args, const char *))
    {
        if (aad_caller_rule_set_parameter(rule, parameter, &error) != 0) {
            fail_msg("%s", error.text);
        }
    }

    va_end(args);

    if (aad_caller_rule_complete(rule, &error) != 0) {
        fail_msg("%s", error.text);
    }

    return rule;
}


/* A location's rules, and the keys of their tenants. */
typedef struct {
    aad_caller_rule_t      *rules[UNIT_RULES_MAX];
    size_t                  rules_count;
    aad_key_set_t          *key_sets[UNIT_RULES_MAX];
    size_t                  key_sets_count;
    int64_t                 now;
    aad_caller_t            caller;
    const char             *reason;
} unit_callers_t;


static inline int
unit_callers_setup(void **state)
{
    unit_callers_t  *callers;

    callers = calloc(1, sizeof(unit_callers_t));
    assert_non_null(callers);
    *state = callers;

    callers->now = UNIT_NOW;
    callers->key_sets[0] = unit_key_set(UNIT_TENANT, "\"" UNIT_ISSUER "\",\""
                                        UNIT_ISSUER_V1 "\"", "first",
                                        unit_key(0));
    callers->key_sets_count = 1;

    return 0;
}


static inline int
unit_callers_teardown(void **state)
{
    size_t           i;
    unit_callers_t  *callers = *state;

    for (i = 0; i < UNIT_RULES_MAX; i++) {
        aad_caller_rule_destroy(callers->rules[i]);
        aad_key_set_destroy(callers->key_sets[i]);
    }

    free(callers);

    return 0;
}


static inline void
unit_callers_rule(unit_callers_t *callers, const char *condition)
{
    callers->rules[callers->rules_count++] =
        unit_rule("audience=" UNIT_AUDIENCE, "tenant=" UNIT_TENANT, condition,
                  NULL);
}


static inline aad_caller_result_t
unit_bytes(unit_callers_t *callers, const char *token, size_t length)
{
    if (callers->rules_count == 0) {
        unit_callers_rule(callers, NULL);
    }

    return aad_caller_check(token, length,
                         (const aad_caller_rule_t *const *) callers->rules,
                         callers->rules_count,
                         (const aad_key_set_t *const *) callers->key_sets,
                         callers->key_sets_count, callers->now,
                         &callers->caller, &callers->reason);
}


/* checks the token and wipes it */
static inline aad_caller_result_t
unit_check(unit_callers_t *callers, aad_secret_t *token)
{
    char                 *copy;
    size_t                length;
    aad_caller_result_t   result;

    /* without a byte behind it, as a sanitizer would see */

    length = token->length;
    copy = malloc(length ? length : 1);
    memcpy(copy, token->data, length);

    result = unit_bytes(callers, copy, length);

    free(copy);
    aad_secret_wipe(token);

    return result;
}


static inline aad_caller_result_t
unit_claims(unit_callers_t *callers, const char *claims)
{
    aad_secret_t  token;

    unit_token(&token, UNIT_HEADER, claims, unit_key(0));

    return unit_check(callers, &token);
}


static inline void
unit_assert_result(unit_callers_t *callers, aad_caller_result_t result,
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


#define unit_assert_ok(callers, result)                                       \
    unit_assert_result(callers, result, AAD_CALLER_OK, "")
#define unit_assert_401(callers, result, reason)                              \
    unit_assert_result(callers, result, AAD_CALLER_INVALID, reason)
#define unit_assert_403(callers, result, reason)                              \
    unit_assert_result(callers, result, AAD_CALLER_INSUFFICIENT, reason)

#define unit_caller_test(test)                                                \
    cmocka_unit_test_setup_teardown(test, unit_callers_setup,                 \
                                    unit_callers_teardown)


#endif /* _UNIT_CALLERS_H_INCLUDED_ */
