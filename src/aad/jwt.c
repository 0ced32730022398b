
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * JSON Web Tokens as Entra ID signs them.  The header is the one part that is
 * read before the signature is known to be good, so that it has to be short
 * and decides on nothing but which of the tenant's keys is tried.
 */


#include "jwt.h"

#include <string.h>
#include <strings.h>

#include <openssl/err.h>


/* Entra's have some 150 bytes, before base64url */
#define AAD_JWT_HEADER_BYTES_MAX    2048

/* of a key with 8192 bits */
#define AAD_JWT_SIGNATURE_BYTES_MAX 1024


static const char *aad_jwt_header(const cJSON *header, aad_jwt_t *jwt);
static int aad_jwt_is_type(const cJSON *type);


const char *
aad_jwt_read(const char *token, size_t length, aad_jwt_t *jwt)
{
    cJSON         *json;
    const char    *reason;
    aad_secret_t   header;

    if (length > AAD_TOKEN_BYTES_MAX) {
        return "the token is too large";
    }

    if (aad_jwt_split(token, length, jwt) != 0) {
        return "the token is no signed JWT";
    }

    aad_secret_init(&header, AAD_JWT_HEADER_BYTES_MAX);
    json = NULL;

    if (aad_base64url_decode(token, jwt->payload - 1 - token, &header) == 0) {
        json = aad_json_strict(&header);
    }

    reason = json != NULL ? aad_jwt_header(json, jwt)
                          : "the token's header is malformed";

    aad_json_wipe(json);
    aad_secret_wipe(&header);

    return reason;
}


/* RFC 7515 7.1: none of the parts is empty, and there is no fourth one. */
int
aad_jwt_split(const char *token, size_t length, aad_jwt_t *jwt)
{
    const char  *first, *second, *end;

    memset(jwt, 0, sizeof(aad_jwt_t));

    end = token + length;
    first = memchr(token, '.', length);

    if (first == NULL) {
        return -1;
    }

    second = memchr(first + 1, '.', end - first - 1);

    if (second == NULL
        || first == token || second == first + 1 || second + 1 == end
        || memchr(second + 1, '.', end - second - 1) != NULL)
    {
        return -1;
    }

    jwt->text = token;
    jwt->signed_length = second - token;
    jwt->payload = first + 1;
    jwt->payload_length = second - first - 1;
    jwt->signature = second + 1;
    jwt->signature_length = end - second - 1;

    return 0;
}


/* The padding is that of PKCS #1 version 1.5, OpenSSL's default for RSA. */
int
aad_jwt_is_signed(const aad_jwt_t *jwt, EVP_PKEY *key)
{
    int            good;
    EVP_MD_CTX    *md;
    aad_secret_t   signature;

    good = 0;
    md = EVP_MD_CTX_new();
    aad_secret_init(&signature, AAD_JWT_SIGNATURE_BYTES_MAX + 4);

    if (md != NULL
        && aad_base64url_decode(jwt->signature, jwt->signature_length,
                                &signature) == 0
        && EVP_DigestVerifyInit(md, NULL, EVP_sha256(), NULL, key) == 1)
    {
        good = EVP_DigestVerify(md, (unsigned char *) signature.data,
                                signature.length,
                                (const unsigned char *) jwt->text,
                                jwt->signed_length) == 1;
    }

    EVP_MD_CTX_free(md);
    aad_secret_wipe(&signature);
    ERR_clear_error();

    return good;
}


cJSON *
aad_jwt_claims(const aad_jwt_t *jwt)
{
    cJSON         *claims;
    aad_secret_t   payload;

    claims = NULL;
    aad_secret_init(&payload, AAD_TOKEN_BYTES_MAX);

    if (aad_base64url_decode(jwt->payload, jwt->payload_length, &payload)
        == 0)
    {
        claims = aad_json_strict(&payload);
    }

    aad_secret_wipe(&payload);

    return claims;
}


/*
 * One algorithm, whatever the token would like: RFC 8725 3.1.  "jku", "jwk",
 * "x5u" and "x5c" are left alone as the rest is, for they are an unknown one's
 * word about his own keys, RFC 8725 3.10.
 */
static const char *
aad_jwt_header(const cJSON *header, aad_jwt_t *jwt)
{
    const char  *key_id;

    if (strcmp(aad_json_text(header, "alg"), "RS256") != 0) {
        return "the token is not signed with RS256";
    }

    /* RFC 7515 4.1.11: none of them is understood here */

    if (cJSON_GetObjectItemCaseSensitive(header, "crit") != NULL) {
        return "the token has a critical extension";
    }

    if (!aad_jwt_is_type(cJSON_GetObjectItemCaseSensitive(header, "typ"))) {
        return "the token is of another type";
    }

    key_id = aad_json_text(header, "kid");

    if (key_id[0] == '\0' || strlen(key_id) >= sizeof(jwt->key_id)) {
        return "the token does not name its key";
    }

    memcpy(jwt->key_id, key_id, strlen(key_id) + 1);

    return NULL;
}


/* RFC 7519 5.1, RFC 9068 2.1; "application/" may be left out, and is */
static int
aad_jwt_is_type(const cJSON *type)
{
    const char  *name;

    if (type == NULL) {
        return 1;
    }

    if (!cJSON_IsString(type)) {
        return 0;
    }

    name = type->valuestring;

    if (strncasecmp(name, "application/", 12) == 0) {
        name += 12;
    }

    return strcasecmp(name, "JWT") == 0 || strcasecmp(name, "at+jwt") == 0;
}
