
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * Keys, certificates and their files, made by libcrypto; and the assertion in
 * a request, taken apart.
 */


#ifndef _UNIT_CERTIFICATES_H_INCLUDED_
#define _UNIT_CERTIFICATES_H_INCLUDED_


#include "identity.h"

#include <cjson/cJSON.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>


#define UNIT_KEYS_MAX       4
#define UNIT_DAY_S          86400
#define UNIT_ASSERTION_BYTES_MAX  UNIT_REQUEST_BYTES_MAX

#define UNIT_ASSERTION_TYPE                                                   \
    "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


typedef struct {
    char                    text[UNIT_ASSERTION_BYTES_MAX];
    size_t                  signed_length;  /* header, point, claims */
    cJSON                  *header;
    cJSON                  *claims;
    unsigned char           signature[1024];
    size_t                  signature_length;
} unit_assertion_t;


static inline EVP_PKEY *
unit_new_key(int type, int bits)
{
    EVP_PKEY      *key;
    EVP_PKEY_CTX  *context;

    key = NULL;
    context = EVP_PKEY_CTX_new_id(type, NULL);

    assert_non_null(context);
    assert_int_equal(EVP_PKEY_keygen_init(context), 1);

    if (type == EVP_PKEY_RSA) {
        assert_int_equal(EVP_PKEY_CTX_set_rsa_keygen_bits(context, bits), 1);

    } else if (type == EVP_PKEY_EC) {
        assert_int_equal(EVP_PKEY_CTX_set_ec_paramgen_curve_nid(context,
                                                NID_X9_62_prime256v1), 1);
    }

    assert_int_equal(EVP_PKEY_keygen(context, &key), 1);
    EVP_PKEY_CTX_free(context);

    return key;
}


/* RSA keys of 2048 bits take their time: the same for the whole program. */
static inline EVP_PKEY *
unit_key(size_t n)
{
    static EVP_PKEY  *keys[UNIT_KEYS_MAX];

    assert_true(n < UNIT_KEYS_MAX);

    if (keys[n] == NULL) {
        keys[n] = unit_new_key(EVP_PKEY_RSA, 2048);
    }

    return keys[n];
}


static inline void
unit_x509_name(X509_NAME *name, const char *text)
{
    assert_int_equal(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                                                (unsigned char *) text, -1,
                                                -1, 0), 1);
}


/* Valid from and until so many days from now. */
static inline X509 *
unit_certificate(EVP_PKEY *key, const char *subject, EVP_PKEY *issuer_key,
    const char *issuer, int from_days, int until_days)
{
    X509         *x509;
    static long   serial;

    x509 = X509_new();
    assert_non_null(x509);

    X509_set_version(x509, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x509), ++serial);
    X509_gmtime_adj(X509_getm_notBefore(x509), (long) from_days * UNIT_DAY_S);
    X509_gmtime_adj(X509_getm_notAfter(x509), (long) until_days * UNIT_DAY_S);
    unit_x509_name(X509_get_subject_name(x509), subject);
    unit_x509_name(X509_get_issuer_name(x509), issuer);
    X509_set_pubkey(x509, key);

    assert_true(X509_sign(x509, issuer_key,
                          EVP_PKEY_base_id(issuer_key) == EVP_PKEY_ED25519
                              ? NULL : EVP_sha256()) > 0);

    return x509;
}


/* Self-signed, from yesterday for a year. */
static inline X509 *
unit_app_certificate(EVP_PKEY *key)
{
    return unit_certificate(key, "app", key, "app", -1, 365);
}


static inline void
unit_file_of_bio(const char *directory, const char *name, BIO *bio)
{
    char  *data;
    long   length;

    length = BIO_get_mem_data(bio, &data);
    unit_file(directory, name, data, length, 0600);
    BIO_free(bio);
}


static inline void
unit_bio_key(BIO *bio, EVP_PKEY *key, const char *password)
{
    assert_int_equal(PEM_write_bio_PKCS8PrivateKey(bio, key,
                         password != NULL ? EVP_aes_256_cbc() : NULL,
                         (char *) password,
                         password != NULL ? (int) strlen(password) : 0, NULL,
                         NULL), 1);
}


static inline void
unit_bio_traditional_key(BIO *bio, EVP_PKEY *key, const char *password)
{
    assert_int_equal(PEM_write_bio_PrivateKey_traditional(bio, key,
                         password != NULL ? EVP_aes_128_cbc() : NULL,
                         (unsigned char *) password,
                         password != NULL ? (int) strlen(password) : 0, NULL,
                         NULL), 1);
}


/* Key and certificates, each of which may be missing; the last one is NULL. */
static inline void
unit_pem_file(const char *directory, const char *name, EVP_PKEY *key,
    const char *password, ...)
{
    BIO      *bio;
    X509     *x509;
    va_list   args;

    bio = BIO_new(BIO_s_mem());

    va_start(args, password);

    for (x509 = va_arg(args, X509 *); x509 != NULL;
         x509 = va_arg(args, X509 *))
    {
        assert_int_equal(PEM_write_bio_X509(bio, x509), 1);
    }

    va_end(args);

    if (key != NULL) {
        unit_bio_key(bio, key, password);
    }

    unit_file_of_bio(directory, name, bio);
}


/* 'nid' 0: as this OpenSSL does it, -1: not at all */
static inline void
unit_pkcs12_file(const char *directory, const char *name, EVP_PKEY *key,
    X509 *x509, STACK_OF(X509) *others, const char *password, int nid)
{
    BIO     *bio;
    PKCS12  *pkcs12;

    bio = BIO_new(BIO_s_mem());
    pkcs12 = PKCS12_create((char *) password, "app", key, x509, others, nid,
                           nid, 0, nid == -1 ? -1 : 0, 0);
    assert_non_null(pkcs12);
    assert_int_equal(i2d_PKCS12_bio(bio, pkcs12), 1);
    PKCS12_free(pkcs12);

    unit_file_of_bio(directory, name, bio);
}


/* Writes a field of a form, decoded; fails when it is not there once. */
static inline void
unit_form_field(const char *form, const char *name, char *value, size_t size)
{
    char          digits[3];
    size_t        length, n;
    const char   *p, *found;

    found = NULL;
    length = strlen(name);

    for (p = form; p != NULL; p = strchr(p, '&')) {
        p += *p == '&';

        if (strncmp(p, name, length) == 0 && p[length] == '=') {
            assert_null(found);
            found = p + length + 1;
        }
    }

    assert_non_null(found);

    for (n = 0, p = found; *p != '\0' && *p != '&'; p++) {
        assert_true(n + 1 < size);

        if (*p == '%') {
            snprintf(digits, sizeof(digits), "%.2s", p + 1);
            value[n++] = (char) strtol(digits, NULL, 16);
            p += 2;

        } else {
            value[n++] = *p;
        }
    }

    value[n] = '\0';
}


/* Decodes base64url without padding, and fails on anything else. */
static inline size_t
unit_base64url(const char *text, size_t length, unsigned char *bytes,
    size_t size)
{
    size_t         i, n;
    uint32_t       bits;
    const char    *p;

    static const char  alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                    "abcdefghijklmnopqrstuvwxyz0123456789-_";

    bits = 0;
    n = 0;

    assert_true(length % 4 != 1);

    for (i = 0; i < length; i++) {
        p = memchr(alphabet, text[i], sizeof(alphabet) - 1);
        assert_non_null(p);

        bits = bits << 6 | (uint32_t) (p - alphabet);

        if (i % 4 != 0) {
            assert_true(n < size);
            bytes[n++] = (unsigned char) (bits >> (6 - i % 4 * 2));
        }
    }

    return n;
}


static inline cJSON *
unit_base64url_json(const char *text, size_t length)
{
    cJSON          *json;
    size_t          n;
    unsigned char  *bytes;

    bytes = calloc(1, length + 1);
    n = unit_base64url(text, length, bytes, length);
    json = cJSON_ParseWithLength((char *) bytes, n);
    assert_non_null(json);
    free(bytes);

    return json;
}


/* The assertion of a request, whose form has nothing that is not due. */
static inline unit_assertion_t *
unit_assertion(const char *request)
{
    char               value[128];
    size_t             length;
    const char        *body, *p;
    unit_assertion_t  *assertion;

    assertion = calloc(1, sizeof(unit_assertion_t));
    body = unit_request_body(request);

    unit_form_field(body, "client_assertion_type", value, sizeof(value));
    assert_string_equal(value, UNIT_ASSERTION_TYPE);
    unit_form_field(body, "client_id", value, sizeof(value));
    assert_string_equal(value, UNIT_CLIENT);
    unit_form_field(body, "grant_type", value, sizeof(value));
    assert_string_equal(value, "client_credentials");
    unit_form_field(body, "scope", value, sizeof(value));
    assert_string_equal(value, UNIT_SCOPE);
    unit_form_field(body, "client_assertion", assertion->text,
                    sizeof(assertion->text));

    for (length = 1, p = body; *p != '\0'; p++) {
        length += *p == '&';
    }

    assert_int_equal(length, 5);

    p = assertion->text;
    length = strcspn(p, ".");
    assertion->header = unit_base64url_json(p, length);

    p += length + 1;
    length = strcspn(p, ".");
    assertion->claims = unit_base64url_json(p, length);

    p += length;
    assert_int_equal(*p, '.');
    assertion->signed_length = p - assertion->text;

    p++;
    assertion->signature_length = unit_base64url(p, strlen(p),
                                             assertion->signature,
                                             sizeof(assertion->signature));

    return assertion;
}


static inline void
unit_assertion_free(unit_assertion_t *assertion)
{
    cJSON_Delete(assertion->header);
    cJSON_Delete(assertion->claims);
    free(assertion);
}


/* The signature is PS256, whose salt is as long as the digest, by this key. */
static inline int
unit_assertion_is_signed(const unit_assertion_t *assertion, EVP_PKEY *key)
{
    int            rc;
    EVP_MD_CTX    *md;
    EVP_PKEY_CTX  *context;

    md = EVP_MD_CTX_new();

    assert_int_equal(EVP_DigestVerifyInit(md, &context, EVP_sha256(), NULL,
                                          key), 1);
    assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(context,
                                            RSA_PKCS1_PSS_PADDING), 1);
    assert_int_equal(EVP_PKEY_CTX_set_rsa_pss_saltlen(context, 32), 1);

    rc = EVP_DigestVerify(md, assertion->signature,
                          assertion->signature_length,
                          (const unsigned char *) assertion->text,
                          assertion->signed_length);

    EVP_MD_CTX_free(md);
    ERR_clear_error();

    return rc == 1;
}


static inline const char *
unit_json_text(const cJSON *json, const char *name)
{
    const cJSON  *item;

    item = cJSON_GetObjectItemCaseSensitive(json, name);
    assert_true(cJSON_IsString(item));

    return item->valuestring;
}


static inline double
unit_json_number(const cJSON *json, const char *name)
{
    const cJSON  *item;

    item = cJSON_GetObjectItemCaseSensitive(json, name);
    assert_true(cJSON_IsNumber(item));

    return item->valuedouble;
}


#endif /* _UNIT_CERTIFICATES_H_INCLUDED_ */
