
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * What is in a key set; for this folder only.
 */


#ifndef _AAD_KEY_SET_H_INCLUDED_
#define _AAD_KEY_SET_H_INCLUDED_


#include "caller.h"
#include "jwt.h"


/* Entra ID publishes about ten, with those that come next and went last */
#define AAD_KEYS_MAX                32

#define AAD_ISSUERS_MAX             2       /* of v2.0 and of v1 */
#define AAD_ISSUER_BYTES            512


typedef struct {
    char                    id[AAD_KEY_ID_BYTES];
    EVP_PKEY               *key;
    unsigned char           digest[AAD_DIGEST_BYTES];   /* of the key alone */
} aad_key_t;

struct aad_key_set_s {
    char                    tenant_id[AAD_ID_BYTES];
    char                    issuers[AAD_ISSUERS_MAX][AAD_ISSUER_BYTES];
    size_t                  issuers_count;
    aad_key_t               keys[AAD_KEYS_MAX];
    size_t                  keys_count;
};


/*
 * Reads "kid", "n" and "e" of a JSON Web Key, RFC 7517 4 and RFC 7518 6.3.1:
 * RSA of 2048 bits or more.  On 0 the caller owns key->key and ends it with
 * EVP_PKEY_free(); -1 is a key that must not be used.
 */
int aad_key_read(const cJSON *json, aad_key_t *key);

/* Returns the key, or NULL. */
const aad_key_t *aad_key_set_find(const aad_key_set_t *key_set,
    const char *id);

int aad_key_set_has_issuer(const aad_key_set_t *key_set, const char *issuer);


#endif /* _AAD_KEY_SET_H_INCLUDED_ */
