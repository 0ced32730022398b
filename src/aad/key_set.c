
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * A tenant's keys as they are used, made from the document in which they are
 * passed on: {"tenant_id":"...","issuers":["..."],"keys":[{"kid":"...",
 * "n":"...","e":"..."}]}.
 */


#include "key_set.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>


#define AAD_KEY_BITS_MIN            2048
#define AAD_KEY_BYTES_MAX           1024    /* of the modulus */
#define AAD_EXPONENT_BYTES_MAX      8
#define AAD_KEY_DER_BYTES_MAX       (AAD_KEY_BYTES_MAX + 64)

#define AAD_DER_INTEGER             0x02
#define AAD_DER_SEQUENCE            0x30


static int aad_key_set_read(aad_key_set_t *key_set, const cJSON *json);
static int aad_key_number(const cJSON *json, const char *name,
    aad_secret_t *number, size_t bytes_max);
static EVP_PKEY *aad_key_make(const aad_secret_t *modulus,
    const aad_secret_t *exponent, unsigned char digest[AAD_DIGEST_BYTES]);
static int aad_der_integer(aad_secret_t *der, const aad_secret_t *number);
static int aad_der_head(aad_secret_t *der, unsigned char tag, size_t length);


aad_key_set_t *
aad_key_set_parse(const char *document, size_t length, aad_error_t *error)
{
    int             rc;
    cJSON          *json;
    aad_secret_t    text;
    aad_key_set_t  *key_set;

    aad_secret_init(&text, AAD_KEY_SET_BYTES_MAX);
    json = NULL;

    key_set = calloc(1, sizeof(aad_key_set_t));
    if (key_set == NULL) {
        aad_error(error, "out of memory");
        return NULL;
    }

    if (aad_secret_append(&text, document, length) == 0) {
        json = aad_json_strict(&text);
    }

    rc = aad_key_set_read(key_set, json);

    aad_json_wipe(json);
    aad_secret_wipe(&text);

    if (rc != 0) {
        aad_error(error, "the document is no key set");
        aad_key_set_destroy(key_set);
        return NULL;
    }

    return key_set;
}


const char *
aad_key_set_tenant_id(const aad_key_set_t *key_set)
{
    return key_set->tenant_id;
}


void
aad_key_set_destroy(aad_key_set_t *key_set)
{
    size_t  i;

    if (key_set == NULL) {
        return;
    }

    for (i = 0; i < key_set->keys_count; i++) {
        EVP_PKEY_free(key_set->keys[i].key);
    }

    free(key_set);
}


int
aad_key_set_digest(const aad_settings_t *settings, const char *tenant_id,
    unsigned char digest[AAD_DIGEST_BYTES])
{
    aad_settings_t  named;

    /* no identity has such a scope */

    named = *settings;
    named.scope = tenant_id;
    named.chain_length = 0;

    return aad_settings_digest(&named, digest);
}


int
aad_key_read(const cJSON *json, aad_key_t *key)
{
    const char    *id;
    aad_secret_t   modulus, exponent;

    key->key = NULL;
    id = aad_json_text(json, "kid");

    if (id[0] == '\0' || strlen(id) >= sizeof(key->id)
        || !aad_is_visible(id))
    {
        return -1;
    }

    memcpy(key->id, id, strlen(id) + 1);

    aad_secret_init(&modulus, AAD_KEY_BYTES_MAX + 4);
    aad_secret_init(&exponent, AAD_EXPONENT_BYTES_MAX + 4);

    if (aad_key_number(json, "n", &modulus, AAD_KEY_BYTES_MAX) == 0
        && aad_key_number(json, "e", &exponent, AAD_EXPONENT_BYTES_MAX) == 0)
    {
        key->key = aad_key_make(&modulus, &exponent, key->digest);
    }

    aad_secret_wipe(&modulus);
    aad_secret_wipe(&exponent);

    return key->key != NULL ? 0 : -1;
}


const aad_key_t *
aad_key_set_find(const aad_key_set_t *key_set, const char *id)
{
    size_t  i;

    for (i = 0; i < key_set->keys_count; i++) {
        if (strcmp(key_set->keys[i].id, id) == 0) {
            return &key_set->keys[i];
        }
    }

    return NULL;
}


int
aad_key_set_has_issuer(const aad_key_set_t *key_set, const char *issuer)
{
    size_t  i;

    for (i = 0; i < key_set->issuers_count; i++) {
        if (strcmp(key_set->issuers[i], issuer) == 0) {
            return 1;
        }
    }

    return 0;
}


static int
aad_key_set_read(aad_key_set_t *key_set, const cJSON *json)
{
    const char   *text;
    const cJSON  *item;

    text = aad_json_text(json, "tenant_id");

    if (!aad_is_guid(text)) {
        return -1;
    }

    memcpy(key_set->tenant_id, text, strlen(text) + 1);

    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(json,
                                                              "issuers"))
    {
        if (!cJSON_IsString(item) || item->valuestring[0] == '\0'
            || strlen(item->valuestring) >= AAD_ISSUER_BYTES
            || key_set->issuers_count == AAD_ISSUERS_MAX)
        {
            return -1;
        }

        memcpy(key_set->issuers[key_set->issuers_count++], item->valuestring,
               strlen(item->valuestring) + 1);
    }

    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(json, "keys")) {

        if (key_set->keys_count == AAD_KEYS_MAX
            || aad_key_read(item, &key_set->keys[key_set->keys_count]) != 0)
        {
            return -1;
        }

        key_set->keys_count++;
    }

    return key_set->issuers_count != 0 && key_set->keys_count != 0 ? 0 : -1;
}


/* Base64urlUInt of RFC 7518 2; zeros in front are let pass, and dropped. */
static int
aad_key_number(const cJSON *json, const char *name, aad_secret_t *number,
    size_t bytes_max)
{
    size_t       skip;
    const char  *text;

    text = aad_json_text(json, name);

    if (text[0] == '\0'
        || aad_base64url_decode(text, strlen(text), number) != 0)
    {
        return -1;
    }

    for (skip = 0; skip < number->length && number->data[skip] == '\0';
         skip++)
    {
        /* void */
    }

    number->length -= skip;
    memmove(number->data, number->data + skip, number->length + 1);

    return number->length != 0 && number->length <= bytes_max ? 0 : -1;
}


/*
 * By way of RSAPublicKey, RFC 8017 A.1.1, for which every version of OpenSSL
 * has one and the same function.
 */
static EVP_PKEY *
aad_key_make(const aad_secret_t *modulus, const aad_secret_t *exponent,
    unsigned char digest[AAD_DIGEST_BYTES])
{
    EVP_PKEY             *key;
    unsigned char         last;
    aad_secret_t          numbers, der;
    const unsigned char  *p;

    last = (unsigned char) exponent->data[exponent->length - 1];

    if (!(last & 1) || (exponent->length == 1 && last == 1)
        || !(modulus->data[modulus->length - 1] & 1))
    {
        return NULL;
    }

    key = NULL;
    aad_secret_init(&numbers, AAD_KEY_DER_BYTES_MAX);
    aad_secret_init(&der, AAD_KEY_DER_BYTES_MAX);

    if (aad_der_integer(&numbers, modulus) == 0
        && aad_der_integer(&numbers, exponent) == 0
        && aad_der_head(&der, AAD_DER_SEQUENCE, numbers.length) == 0
        && aad_secret_append(&der, numbers.data, numbers.length) == 0
        && EVP_Digest(der.data, der.length, digest, NULL, EVP_sha256(), NULL)
           == 1)
    {
        p = (const unsigned char *) der.data;
        key = d2i_PublicKey(EVP_PKEY_RSA, NULL, &p, (long) der.length);
    }

    aad_secret_wipe(&numbers);
    aad_secret_wipe(&der);

    if (key != NULL && EVP_PKEY_bits(key) < AAD_KEY_BITS_MIN) {
        EVP_PKEY_free(key);
        key = NULL;
    }

    ERR_clear_error();

    return key;
}


/* X.690 8.3; a first bit that is set would make it negative */
static int
aad_der_integer(aad_secret_t *der, const aad_secret_t *number)
{
    size_t  zero;

    zero = (unsigned char) number->data[0] >> 7;

    return aad_der_head(der, AAD_DER_INTEGER, number->length + zero) == 0
           && aad_secret_append(der, "", zero) == 0
           && aad_secret_append(der, number->data, number->length) == 0
           ? 0 : -1;
}


/* X.690 8.1.3, for up to 65535 bytes */
static int
aad_der_head(aad_secret_t *der, unsigned char tag, size_t length)
{
    size_t  n;
    char    head[4];

    n = 0;
    head[n++] = (char) tag;

    if (length > 0xff) {
        head[n++] = (char) 0x82;
        head[n++] = (char) (length >> 8);

    } else if (length > 0x7f) {
        head[n++] = (char) 0x81;
    }

    head[n++] = (char) (length & 0xff);

    return aad_secret_append(der, head, n);
}
