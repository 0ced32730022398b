
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * An app's certificate: what its files have in them, put in order.
 */


#include "certificate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>


/* the request's form has room for so many, after base64 twice */
#define AAD_CERTIFICATE_CHAIN_BYTES_MAX 24576

/* RFC 7518 3.5 */
#define AAD_CERTIFICATE_KEY_BITS_MIN    2048


static int aad_bundle_check(const aad_bundle_t *bundle,
    const aad_certificate_source_t *source, aad_error_t *error);
static int aad_certificate_fill(aad_certificate_t *certificate,
    const aad_certificate_source_t *source, aad_bundle_t *bundle,
    aad_error_t *error);
static int aad_certificate_own(aad_certificate_t *certificate,
    const aad_certificate_source_t *source, aad_bundle_t *bundle,
    aad_error_t *error);
static int aad_certificate_chain(aad_certificate_t *certificate,
    aad_bundle_t *bundle, aad_error_t *error);
static int aad_certificate_fingerprint(aad_certificate_t *certificate);
static int aad_certificate_time(const ASN1_TIME *time, int64_t *seconds);


aad_certificate_t *
aad_certificate_read(const aad_certificate_source_t *source,
    aad_error_t *error)
{
    int                 rc;
    aad_bundle_t        bundle;
    aad_certificate_t  *certificate;

    memset(&bundle, 0, sizeof(aad_bundle_t));

    bundle.certificates = sk_X509_new_null();
    certificate = calloc(1, sizeof(aad_certificate_t));

    if (bundle.certificates == NULL || certificate == NULL) {
        rc = aad_error(error, "out of memory");

    } else {
        rc = aad_certificate_file(source, source->file, 0, &bundle, error);
    }

    if (rc == 0 && source->key_file != NULL) {
        rc = aad_certificate_file(source, source->key_file, 1, &bundle,
                                  error);
    }

    if (rc == 0) {
        rc = aad_bundle_check(&bundle, source, error);
    }

    if (rc == 0) {
        rc = aad_certificate_fill(certificate, source, &bundle, error);
    }

    EVP_PKEY_free(bundle.key);
    sk_X509_pop_free(bundle.certificates, X509_free);
    ERR_clear_error();

    if (rc != 0) {
        aad_certificate_free(certificate);
        return NULL;
    }

    return certificate;
}


void
aad_certificate_free(aad_certificate_t *certificate)
{
    if (certificate == NULL) {
        return;
    }

    EVP_PKEY_free(certificate->key);
    sk_X509_pop_free(certificate->chain, X509_free);
    free(certificate->file);
    free(certificate);
}


/* One RSA key that may sign, and at least one certificate. */
static int
aad_bundle_check(const aad_bundle_t *bundle,
    const aad_certificate_source_t *source, aad_error_t *error)
{
    const char  *key_file;

    key_file = source->key_file != NULL ? source->key_file : source->file;

    if (bundle->keys == 0) {
        return aad_error(error, "\"%s\" has no private key%s",
                         key_file, source->key_file ? "" : source->key_mend);
    }

    if (bundle->keys > 1) {
        return aad_error(error, "\"%s\"%s%s%s %zu private keys, one "
                         "is needed", source->file,
                         source->key_file ? " and \"" : "",
                         source->key_file ? source->key_file : "",
                         source->key_file ? "\" have" : " has",
                         bundle->keys);
    }

    if (sk_X509_num(bundle->certificates) == 0) {
        return aad_error(error, "\"%s\" has no certificate",
                         source->file);
    }

    if (EVP_PKEY_base_id(bundle->key) != EVP_PKEY_RSA) {
        return aad_error(error, "the private key in \"%s\" is no RSA "
                         "key: Entra ID takes no other for an app's "
                         "certificate", key_file);
    }

    if (EVP_PKEY_bits(bundle->key) < AAD_CERTIFICATE_KEY_BITS_MIN) {
        return aad_error(error, "the private key in \"%s\" has %d "
                         "bits, %d are needed", key_file,
                         EVP_PKEY_bits(bundle->key),
                         AAD_CERTIFICATE_KEY_BITS_MIN);
    }

    return 0;
}


/* Takes what it needs out of the bundle. */
static int
aad_certificate_fill(aad_certificate_t *certificate,
    const aad_certificate_source_t *source, aad_bundle_t *bundle,
    aad_error_t *error)
{
    certificate->chain = sk_X509_new_null();
    certificate->file = strdup(source->file);
    certificate->send_chain = source->send_chain;

    if (certificate->chain == NULL || certificate->file == NULL) {
        return aad_error(error, "out of memory");
    }

    if (aad_certificate_own(certificate, source, bundle, error) != 0
        || aad_certificate_chain(certificate, bundle, error) != 0)
    {
        return -1;
    }

    if (aad_certificate_fingerprint(certificate) != 0) {
        return aad_error(error, "the certificate in \"%s\" has no SHA-256",
                         source->file);
    }

    certificate->key = bundle->key;
    bundle->key = NULL;

    return 0;
}


/* The first certificate of the file that the key belongs to. */
static int
aad_certificate_own(aad_certificate_t *certificate,
    const aad_certificate_source_t *source, aad_bundle_t *bundle,
    aad_error_t *error)
{
    int    i;
    X509  *x509;

    for (i = 0; i < sk_X509_num(bundle->certificates); i++) {
        if (X509_check_private_key(sk_X509_value(bundle->certificates, i),
                                   bundle->key)
            == 1)
        {
            break;
        }
    }

    if (i == sk_X509_num(bundle->certificates)) {
        return aad_error(error, "the private key in \"%s\" does not "
                         "belong to %s certificate in \"%s\"",
                         source->key_file ? source->key_file : source->file,
                         i == 1 ? "the" : "any", source->file);
    }

    x509 = sk_X509_delete(bundle->certificates, i);

    if (sk_X509_push(certificate->chain, x509) == 0) {
        X509_free(x509);
        return aad_error(error, "out of memory");
    }

    if (aad_certificate_time(X509_get0_notBefore(x509),
                             &certificate->not_before) != 0
        || aad_certificate_time(X509_get0_notAfter(x509),
                                &certificate->not_after) != 0)
    {
        return aad_error(error, "the certificate in \"%s\" does not "
                         "say for how long it is valid", source->file);
    }

    return 0;
}


/*
 * RFC 7515 4.1.6: each certificate is followed by the one that it was signed
 * by, in whatever order the file has them.
 */
static int
aad_certificate_chain(aad_certificate_t *certificate, aad_bundle_t *bundle,
    aad_error_t *error)
{
    int    i, length;
    X509  *last, *x509;

    last = sk_X509_value(certificate->chain, 0);
    length = i2d_X509(last, NULL);

    if (!certificate->send_chain) {
        return 0;
    }

    for (i = 0; i < sk_X509_num(bundle->certificates); /* void */) {

        x509 = sk_X509_value(bundle->certificates, i);

        /* what has signed itself ends the chain */

        if (X509_check_issued(last, last) == X509_V_OK) {
            break;
        }

        if (X509_check_issued(x509, last) != X509_V_OK) {
            i++;
            continue;
        }

        (void) sk_X509_delete(bundle->certificates, i);

        if (sk_X509_push(certificate->chain, x509) == 0) {
            X509_free(x509);
            return aad_error(error, "out of memory");
        }

        length += i2d_X509(x509, NULL);
        last = x509;
        i = 0;
    }

    if (length > AAD_CERTIFICATE_CHAIN_BYTES_MAX) {
        return aad_error(error, "the chain of the certificate in "
                         "\"%s\" has %d bytes, %d are the most that can be "
                         "sent", certificate->file, length,
                         AAD_CERTIFICATE_CHAIN_BYTES_MAX);
    }

    return 0;
}


static int
aad_certificate_fingerprint(aad_certificate_t *certificate)
{
    int             i, rc;
    char           *p;
    unsigned int    length;
    EVP_MD_CTX     *md;
    unsigned char   digest[EVP_MAX_MD_SIZE];

    md = EVP_MD_CTX_new();

    rc = md != NULL && EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1;

    for (i = 0; rc && i < sk_X509_num(certificate->chain); i++) {
        rc = X509_digest(sk_X509_value(certificate->chain, i), EVP_sha256(),
                         digest, &length) == 1
             && EVP_DigestUpdate(md, digest, length) == 1;
    }

    rc = rc && EVP_DigestFinal_ex(md, digest, NULL) == 1;

    EVP_MD_CTX_free(md);

    p = certificate->fingerprint;

    for (i = 0; rc && i < AAD_DIGEST_BYTES; i++) {
        p += sprintf(p, "%02x", digest[i]);
    }

    return rc ? 0 : -1;
}


static int
aad_certificate_time(const ASN1_TIME *time, int64_t *seconds)
{
    struct tm  tm;

    if (ASN1_TIME_to_tm(time, &tm) != 1) {
        return -1;
    }

    *seconds = timegm(&tm);

    return 0;
}
