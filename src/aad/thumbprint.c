
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * A server that is known by its certificate's SHA-1 alone, as the one of
 * Service Fabric is; the only file that knows libssl.
 */


#include "internal.h"

#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>


static int aad_thumbprint_verify(X509_STORE_CTX *store, void *thumbprint);


const aad_form_t  aad_form_thumbprint = {
    aad_is_thumbprint, "a certificate's SHA-1, 40 hexadecimal digits"
};


int
aad_thumbprint(const char *text,
    unsigned char thumbprint[AAD_THUMBPRINT_BYTES])
{
    int          digit;
    size_t       digits;
    const char  *p;

    static const char  hexadecimal[] = "0123456789abcdef0123456789ABCDEF";

    digits = 0;

    for ( /* void */ ; *text != '\0'; text++) {

        if (*text == ':' || aad_is_space(*text)) {
            continue;
        }

        p = strchr(hexadecimal, *text);

        if (p == NULL || digits == AAD_THUMBPRINT_BYTES * 2) {
            return -1;
        }

        digit = (p - hexadecimal) % 16;

        if (digits % 2 == 0) {
            thumbprint[digits / 2] = digit << 4;

        } else {
            thumbprint[digits / 2] |= digit;
        }

        digits++;
    }

    return digits == AAD_THUMBPRINT_BYTES * 2 ? 0 : -1;
}


int
aad_is_thumbprint(const char *value)
{
    unsigned char  thumbprint[AAD_THUMBPRINT_BYTES];

    return aad_thumbprint(value, thumbprint) == 0;
}


void
aad_thumbprint_pin(void *ssl_ctx, const unsigned char *thumbprint)
{
    SSL_CTX_set_cert_verify_callback(ssl_ctx, aad_thumbprint_verify,
                                     (void *) thumbprint);
}


/* In the place of all that libssl would do: returns 1, or 0 to hang up. */
static int
aad_thumbprint_verify(X509_STORE_CTX *store, void *thumbprint)
{
    X509           *certificate;
    unsigned int    length;
    unsigned char   digest[EVP_MAX_MD_SIZE];

    certificate = X509_STORE_CTX_get0_cert(store);

    if (certificate == NULL
        || X509_digest(certificate, EVP_sha1(), digest, &length) != 1
        || length != AAD_THUMBPRINT_BYTES
        || CRYPTO_memcmp(digest, thumbprint, AAD_THUMBPRINT_BYTES) != 0)
    {
        X509_STORE_CTX_set_error(store, X509_V_ERR_APPLICATION_VERIFICATION);
        return 0;
    }

    X509_STORE_CTX_set_error(store, X509_V_OK);

    return 1;
}
