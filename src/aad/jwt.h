
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * A caller's token, taken apart; for this folder only.
 */


#ifndef _AAD_JWT_H_INCLUDED_
#define _AAD_JWT_H_INCLUDED_


#include "json.h"

#include <openssl/evp.h>


#define AAD_KEY_ID_BYTES            128


/* A JWS in compact form; it points into the token's text. */
typedef struct {
    const char             *text;
    size_t                  signed_length;  /* header, point, payload */
    const char             *payload;        /* in base64url */
    size_t                  payload_length;
    const char             *signature;      /* likewise */
    size_t                  signature_length;
    char                    key_id[AAD_KEY_ID_BYTES];
} aad_jwt_t;


/*
 * Splits the token and checks its header (RFC 7515 4, RFC 8725 3): RS256, no
 * critical extension, a key id; where else a key could be had is not looked
 * at.  Returns NULL, or a static text with what is wrong.
 */
const char *aad_jwt_read(const char *token, size_t length, aad_jwt_t *jwt);

/* Splits it alone.  Returns 0, or -1 when it has not three parts. */
int aad_jwt_split(const char *token, size_t length, aad_jwt_t *jwt);

/* Whether an RSA key has signed it with RS256, RFC 7518 3.3. */
int aad_jwt_is_signed(const aad_jwt_t *jwt, EVP_PKEY *key);

/* The claims, for aad_json_wipe(), or NULL when they are no strict JSON. */
cJSON *aad_jwt_claims(const aad_jwt_t *jwt);


#endif /* _AAD_JWT_H_INCLUDED_ */
