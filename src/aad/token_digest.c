
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * What a caller's token is remembered by, so that it need not be kept.
 */


#include "caller.h"

#include <stdlib.h>

#include <openssl/evp.h>


struct aad_token_digest_s {
    EVP_MD_CTX             *md;
};


/* made once, for most of a short digest's time goes into the making */
aad_token_digest_t *
aad_token_digest_create(void)
{
    aad_token_digest_t  *digest;

    digest = malloc(sizeof(aad_token_digest_t));

    if (digest == NULL) {
        return NULL;
    }

    digest->md = EVP_MD_CTX_new();

    if (digest->md == NULL
        || EVP_DigestInit_ex(digest->md, EVP_sha256(), NULL) != 1)
    {
        aad_token_digest_destroy(digest);
        return NULL;
    }

    return digest;
}


void
aad_token_digest_destroy(aad_token_digest_t *digest)
{
    if (digest != NULL) {
        EVP_MD_CTX_free(digest->md);
        free(digest);
    }
}


/* without a type it is the one of before, which costs no search */
int
aad_token_digest(aad_token_digest_t *digest, const char *token, size_t length,
    unsigned char bytes[AAD_DIGEST_BYTES])
{
    return EVP_DigestInit_ex(digest->md, NULL, NULL) == 1
           && EVP_DigestUpdate(digest->md, token, length) == 1
           && EVP_DigestFinal_ex(digest->md, bytes, NULL) == 1
           ? 0 : -1;
}
