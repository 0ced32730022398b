
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * The certificate of an app: for the files that read it and sign with it.
 */


#ifndef _AAD_CERTIFICATE_H_INCLUDED_
#define _AAD_CERTIFICATE_H_INCLUDED_


#include "internal.h"

#include <openssl/evp.h>
#include <openssl/x509.h>


/* Where a certificate is read from; strings of the caller. */
typedef struct {
    const char             *file;           /* PEM or PKCS#12 */
    const char             *key_file;       /* PEM, NULL: in 'file' */
    const aad_secret_t     *password;       /* empty: none */
    int                     send_chain;
    const char             *key_mend;       /* where a key may be put */
    const char             *password_mend;  /* how a password is given */
} aad_certificate_source_t;


/* The certificate that an app signs its assertions by; read only. */
struct aad_certificate_s {
    EVP_PKEY               *key;            /* RSA */
    STACK_OF(X509)         *chain;          /* the key's own first; the others
                                               only where they are sent */
    int                     send_chain;
    int64_t                 not_before;     /* Unix seconds */
    int64_t                 not_after;      /* Unix seconds */
    char                   *file;

    /* of all of the chain, in hex */
    char                    fingerprint[AAD_DIGEST_BYTES * 2 + 1];
};


/* What the files have in them. */
typedef struct {
    EVP_PKEY               *key;            /* the last one */
    size_t                  keys;
    STACK_OF(X509)         *certificates;
} aad_bundle_t;


/*
 * Adds what a PEM or PKCS#12 file has in it to the bundle, which the caller
 * owns in any case; certificates are passed over with 'keys_only'.  OpenSSL
 * asks no terminal for a password.  Returns 0, or -1 with the reason in
 * 'error'.
 */
int aad_certificate_file(const aad_certificate_source_t *source,
    const char *file, int keys_only, aad_bundle_t *bundle,
    aad_error_t *error);

/*
 * Reads a certificate and its key.  The caller ends it with
 * aad_certificate_free().  Returns NULL and the reason in 'error' when there
 * is not exactly one RSA key of 2048 bits or more, or no certificate that it
 * belongs to.
 */
aad_certificate_t *aad_certificate_read(
    const aad_certificate_source_t *source, aad_error_t *error);


#endif /* _AAD_CERTIFICATE_H_INCLUDED_ */
