
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * A certificate of nobody, signed by itself.
 */


#ifndef _UNIT_PEM_H_INCLUDED_
#define _UNIT_PEM_H_INCLUDED_


#include "check.h"

#include <openssl/pem.h>
#include <openssl/x509.h>


#define UNIT_PEM_BYTES  2048


static inline void
unit_certificate(char pem[UNIT_PEM_BYTES])
{
    int        n;
    BIO       *bio;
    X509      *x509;
    EVP_PKEY  *key;

    key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
    x509 = X509_new();
    bio = BIO_new(BIO_s_mem());

    assert_true(key != NULL && x509 != NULL && bio != NULL);
    assert_non_null(X509_gmtime_adj(X509_getm_notBefore(x509), 0));
    assert_non_null(X509_gmtime_adj(X509_getm_notAfter(x509), 3600));
    assert_int_equal(X509_set_pubkey(x509, key), 1);
    assert_true(X509_sign(x509, key, EVP_sha256()) > 0);
    assert_int_equal(PEM_write_bio_X509(bio, x509), 1);

    n = BIO_read(bio, pem, UNIT_PEM_BYTES - 1);
    assert_in_range(n, 1, UNIT_PEM_BYTES - 2);
    pem[n] = '\0';

    BIO_free(bio);
    X509_free(x509);
    EVP_PKEY_free(key);
}


#endif /* _UNIT_PEM_H_INCLUDED_ */
