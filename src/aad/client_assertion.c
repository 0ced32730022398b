
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * The assertion that an app signs to prove who it is: a JWT in JWS compact
 * form.
 */


#include "certificate.h"

#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/rsa.h>


/* Microsoft recommends 5 to 10 minutes, every SDK takes 10 */
#define AAD_ASSERTION_LIFETIME_S    600


static int aad_assertion_header(const aad_certificate_t *certificate,
    aad_secret_t *assertion);
static int aad_assertion_certificates(const aad_certificate_t *certificate,
    cJSON *header);
static int aad_assertion_claims(int64_t now, const char *client_id,
    const char *token_endpoint, aad_secret_t *assertion);
static int aad_assertion_sign(EVP_PKEY *key, aad_secret_t *assertion);
static int aad_append_json(aad_secret_t *text, const cJSON *json);


aad_result_t
aad_client_assertion_authenticate(aad_call_t *call,
    const aad_certificate_t *certificate, const char *client_id,
    const char *token_endpoint, aad_secret_t *form)
{
    int           rc;
    int64_t       now;
    aad_result_t  result;
    aad_secret_t  assertion;

    now = call->hooks->now(call->hooks->data);

    aad_secret_init(&assertion, AAD_BODY_BYTES_MAX);

    rc = aad_assertion_header(certificate, &assertion);

    rc = rc != 0 ? rc : aad_secret_append(&assertion, ".", 1);

    rc = rc != 0 ? rc : aad_assertion_claims(now, client_id, token_endpoint,
                                             &assertion);

    rc = rc != 0 ? rc : aad_assertion_sign(certificate->key, &assertion);

    result = rc == 0
             ? aad_oauth_add_assertion(call, assertion.data, form)
             : aad_reason(call, AAD_FAILED, "the assertion cannot be made: "
                          "memory is out, or libcrypto refuses to sign");

    aad_secret_wipe(&assertion);

    return result;
}


static int
aad_assertion_header(const aad_certificate_t *certificate,
    aad_secret_t *assertion)
{
    int             rc;
    cJSON          *header;
    unsigned int    length;
    aad_secret_t    thumbprint;
    unsigned char   digest[EVP_MAX_MD_SIZE];

    if (X509_digest(sk_X509_value(certificate->chain, 0), EVP_sha256(),
                    digest, &length) != 1)
    {
        return -1;
    }

    rc = -1;
    header = cJSON_CreateObject();
    aad_secret_init(&thumbprint, AAD_ID_BYTES);

    if (aad_base64url_append(&thumbprint, digest, length) == 0
        && cJSON_AddStringToObject(header, "alg", "PS256") != NULL
        && cJSON_AddStringToObject(header, "typ", "JWT") != NULL
        && cJSON_AddStringToObject(header, "x5t#S256", thumbprint.data)
           != NULL
        && (!certificate->send_chain
            || aad_assertion_certificates(certificate, header) == 0))
    {
        rc = aad_append_json(assertion, header);
    }

    aad_secret_wipe(&thumbprint);
    cJSON_Delete(header);

    return rc;
}


/* RFC 7515 4.1.6: here it is base64, not base64url */
static int
aad_assertion_certificates(const aad_certificate_t *certificate,
    cJSON *header)
{
    int             i, rc, length;
    cJSON          *list;
    aad_secret_t    text;
    unsigned char  *der;

    list = cJSON_AddArrayToObject(header, "x5c");
    if (list == NULL) {
        return -1;
    }

    for (i = 0; i < sk_X509_num(certificate->chain); i++) {

        der = NULL;

        length = i2d_X509(sk_X509_value(certificate->chain, i), &der);
        if (length <= 0) {
            return -1;
        }

        aad_secret_init(&text, AAD_BODY_BYTES_MAX);

        rc = aad_base64_append(&text, der, length);

        if (rc == 0
            && !cJSON_AddItemToArray(list, cJSON_CreateString(text.data)))
        {
            rc = -1;
        }

        aad_secret_wipe(&text);
        OPENSSL_free(der);

        if (rc != 0) {
            return -1;
        }
    }

    return 0;
}


static int
aad_assertion_claims(int64_t now, const char *client_id,
    const char *token_endpoint, aad_secret_t *assertion)
{
    int     rc;
    char    id[AAD_ID_BYTES];
    cJSON  *claims;

    /* the service may remember it, and then takes no assertion twice */

    if (aad_uuid(id, sizeof(id)) != 0) {
        return -1;
    }

    rc = -1;
    claims = cJSON_CreateObject();

    if (cJSON_AddStringToObject(claims, "aud", token_endpoint) != NULL
        && cJSON_AddStringToObject(claims, "iss", client_id) != NULL
        && cJSON_AddStringToObject(claims, "sub", client_id) != NULL
        && cJSON_AddStringToObject(claims, "jti", id) != NULL
        && cJSON_AddNumberToObject(claims, "iat", now) != NULL
        && cJSON_AddNumberToObject(claims, "nbf", now) != NULL
        && cJSON_AddNumberToObject(claims, "exp",
                                   now + AAD_ASSERTION_LIFETIME_S) != NULL)
    {
        rc = aad_append_json(assertion, claims);
    }

    cJSON_Delete(claims);

    return rc;
}


/*
 * RFC 7518 3.5: PS256 is RSASSA-PSS with SHA-256, MGF1 with SHA-256, and a
 * salt as long as the digest, which is not OpenSSL's default.
 */
static int
aad_assertion_sign(EVP_PKEY *key, aad_secret_t *assertion)
{
    int             rc;
    size_t          length;
    EVP_MD_CTX     *md;
    EVP_PKEY_CTX   *context;
    unsigned char  *signature;

    rc = -1;
    length = EVP_PKEY_size(key);
    signature = malloc(length);
    md = EVP_MD_CTX_new();

    if (signature != NULL && md != NULL
        && EVP_DigestSignInit(md, &context, EVP_sha256(), NULL, key) == 1
        && EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PSS_PADDING) == 1
        && EVP_PKEY_CTX_set_rsa_pss_saltlen(context, RSA_PSS_SALTLEN_DIGEST)
           == 1
        && EVP_DigestSign(md, signature, &length,
                          (unsigned char *) assertion->data,
                          assertion->length) == 1
        && aad_secret_append(assertion, ".", 1) == 0)
    {
        rc = aad_base64url_append(assertion, signature, length);
        OPENSSL_cleanse(signature, length);
    }

    EVP_MD_CTX_free(md);
    free(signature);
    ERR_clear_error();

    return rc;
}


static int
aad_append_json(aad_secret_t *text, const cJSON *json)
{
    int    rc;
    char  *printed;

    printed = cJSON_PrintUnformatted(json);
    if (printed == NULL) {
        return -1;
    }

    rc = aad_base64url_append(text, (unsigned char *) printed,
                              strlen(printed));
    cJSON_free(printed);

    return rc;
}
