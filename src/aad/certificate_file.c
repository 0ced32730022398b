
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * Certificates and keys, out of PEM and PKCS#12 files.
 */


#include "certificate.h"

#include <string.h>

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>


#define AAD_CERTIFICATE_FILE_BYTES_MAX  262144


/* One file that is being read. */
typedef struct {
    const char             *name;
    const aad_secret_t     *password;       /* as configured */
    const char             *password_mend;
    const char             *pkcs12_password;    /* NULL is none, too */
    int                     pkcs12_password_length;
    const char             *convert;        /* out of an old encryption */
    int                     keys_only;
    aad_bundle_t           *bundle;
    aad_error_t            *error;
} aad_certificate_file_t;


static int aad_pem(aad_certificate_file_t *file, const aad_secret_t *content);
static int aad_pem_block(aad_certificate_file_t *file, const char *name,
    char *header, unsigned char *data, long length);
static int aad_pem_key(aad_certificate_file_t *file, const char *name,
    char *header, unsigned char *data, long length);
static int aad_pem_password(char *buffer, int size, int writing, void *data);
static int aad_pem_pkcs8(aad_certificate_file_t *file,
    const unsigned char *data, long length);
static int aad_der(aad_certificate_file_t *file, const aad_secret_t *content);
static int aad_pkcs12(aad_certificate_file_t *file, PKCS12 *pkcs12);
static int aad_pkcs12_unlock(aad_certificate_file_t *file, PKCS12 *pkcs12);
static int aad_pkcs12_safe(aad_certificate_file_t *file, PKCS7 *safe);
static int aad_pkcs12_bags(aad_certificate_file_t *file,
    const STACK_OF(PKCS12_SAFEBAG) *bags);
static int aad_pkcs12_key(aad_certificate_file_t *file,
    const PKCS12_SAFEBAG *bag);
static int aad_add_key(aad_certificate_file_t *file, EVP_PKEY *key);
static int aad_add_certificate(aad_certificate_file_t *file, X509 *x509);
static int aad_undecrypted(const aad_certificate_file_t *file);
static int aad_is_unsupported(unsigned long code);


int
aad_certificate_file(const aad_certificate_source_t *source,
    const char *name, int keys_only, aad_bundle_t *bundle, aad_error_t *error)
{
    int                     rc;
    aad_secret_t            content;
    aad_certificate_file_t  file;

    memset(&file, 0, sizeof(aad_certificate_file_t));

    file.name = name;
    file.password = source->password;
    file.password_mend = source->password_mend;
    file.keys_only = keys_only;
    file.bundle = bundle;
    file.error = error;

    aad_secret_init(&content, AAD_CERTIFICATE_FILE_BYTES_MAX);

    if (aad_file_read_bytes(name, &content, error) != 0) {
        return -1;
    }

    ERR_clear_error();

    if (memmem(content.data, content.length, "-----BEGIN ", 11) != NULL) {
        rc = aad_pem(&file, &content);

    } else {
        rc = aad_der(&file, &content);
    }

    /* what is left there would be taken for an error of a connection */

    ERR_clear_error();

    aad_secret_wipe(&content);

    return rc;
}


static int
aad_pem(aad_certificate_file_t *file, const aad_secret_t *content)
{
    int             rc;
    BIO            *bio;
    char           *name, *header;
    long            length;
    unsigned char  *data;

    bio = BIO_new_mem_buf(content->data, (int) content->length);
    if (bio == NULL) {
        return aad_error(file->error, "out of memory");
    }

    rc = 0;

    /* with this flag OpenSSL wipes what it has read */

    while (rc == 0
           && PEM_read_bio_ex(bio, &name, &header, &data, &length,
                              PEM_FLAG_SECURE) == 1)
    {
        rc = aad_pem_block(file, name, header, data, length);

        OPENSSL_secure_free(name);
        OPENSSL_secure_free(header);
        OPENSSL_secure_clear_free(data, length);
    }

    BIO_free(bio);

    /* at the end there is no further block to begin */

    if (rc == 0
        && ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
    {
        rc = aad_error(file->error, "\"%s\" has a PEM block that is damaged "
                       "or cut off", file->name);
    }

    ERR_clear_error();

    return rc;
}


/* Certificates and private keys; what else a file may have is passed over. */
static int
aad_pem_block(aad_certificate_file_t *file, const char *name, char *header,
    unsigned char *data, long length)
{
    X509                 *x509;
    size_t                prefix;
    const unsigned char  *p;

    p = data;

    if (strcmp(name, PEM_STRING_X509) == 0
        || strcmp(name, PEM_STRING_X509_OLD) == 0)
    {
        x509 = d2i_X509(NULL, &p, length);

    } else if (strcmp(name, PEM_STRING_X509_TRUSTED) == 0) {
        x509 = d2i_X509_AUX(NULL, &p, length);

    } else {
        prefix = strlen(name) - strlen(PEM_STRING_PKCS8INF);

        /* "RSA PRIVATE KEY", "ENCRYPTED PRIVATE KEY", ... */

        return strlen(name) >= strlen(PEM_STRING_PKCS8INF)
               && strcmp(name + prefix, PEM_STRING_PKCS8INF) == 0
               ? aad_pem_key(file, name, header, data, length) : 0;
    }

    return aad_add_certificate(file, x509);
}


static int
aad_pem_key(aad_certificate_file_t *file, const char *name, char *header,
    unsigned char *data, long length)
{
    EVP_PKEY             *key;
    EVP_CIPHER_INFO       cipher;
    const unsigned char  *p;

    file->convert = "openssl pkey -provider legacy -provider default -aes256";

    if (strcmp(name, PEM_STRING_PKCS8) == 0) {
        return aad_pem_pkcs8(file, data, length);
    }

    /* RFC 1421: a key in the traditional form is encrypted by its header */

    if (PEM_get_EVP_CIPHER_INFO(header, &cipher) != 1
        || PEM_do_header(&cipher, data, &length, aad_pem_password,
                         (void *) file->password) != 1)
    {
        return aad_undecrypted(file);
    }

    p = data;
    key = d2i_AutoPrivateKey(NULL, &p, length);

    /* one of 256 wrong passwords leaves a good padding, and rubbish */

    if (key == NULL && cipher.cipher != NULL) {
        return aad_undecrypted(file);
    }

    return aad_add_key(file, key);
}


/* Without a callback OpenSSL would ask the terminal. */
static int
aad_pem_password(char *buffer, int size, int writing, void *data)
{
    const aad_secret_t  *password = data;

    (void) writing;

    if (password->length == 0 || password->length > (size_t) size) {
        return -1;
    }

    memcpy(buffer, password->data, password->length);

    return (int) password->length;
}


static int
aad_pem_pkcs8(aad_certificate_file_t *file, const unsigned char *data,
    long length)
{
    EVP_PKEY             *key;
    X509_SIG             *encrypted;
    const aad_secret_t   *password;
    PKCS8_PRIV_KEY_INFO  *info;

    info = NULL;
    password = file->password;

    encrypted = d2i_X509_SIG(NULL, &data, length);

    if (encrypted != NULL && password->length != 0) {
        info = PKCS8_decrypt(encrypted, password->data,
                             (int) password->length);
    }

    X509_SIG_free(encrypted);

    if (info == NULL) {
        return aad_undecrypted(file);
    }

    key = EVP_PKCS82PKEY(info);

    PKCS8_PRIV_KEY_INFO_free(info);

    return aad_add_key(file, key);
}


static int
aad_der(aad_certificate_file_t *file, const aad_secret_t *content)
{
    int                   rc;
    X509                 *x509;
    PKCS12               *pkcs12;
    const unsigned char  *p;

    p = (const unsigned char *) content->data;
    pkcs12 = d2i_PKCS12(NULL, &p, (long) content->length);

    if (pkcs12 != NULL) {
        rc = aad_pkcs12(file, pkcs12);
        PKCS12_free(pkcs12);
        return rc;
    }

    p = (const unsigned char *) content->data;
    x509 = d2i_X509(NULL, &p, (long) content->length);

    if (x509 != NULL) {
        X509_free(x509);
        return aad_error(file->error, "\"%s\" is a certificate in DER form, "
                         "PEM or PKCS#12 is needed: convert it with "
                         "\"openssl x509 -inform der\"", file->name);
    }

    return aad_error(file->error, "\"%s\" is neither PEM nor PKCS#12",
                     file->name);
}


/*
 * Not by PKCS12_parse(), which takes the first of several keys, and insists
 * on a MAC.
 */
static int
aad_pkcs12(aad_certificate_file_t *file, PKCS12 *pkcs12)
{
    int               i, rc;
    STACK_OF(PKCS7)  *safes;

    file->convert = "openssl pkcs12 -legacy";

    if (aad_pkcs12_unlock(file, pkcs12) != 0) {
        return -1;
    }

    safes = PKCS12_unpack_authsafes(pkcs12);
    if (safes == NULL) {
        return aad_undecrypted(file);
    }

    rc = 0;

    for (i = 0; i < sk_PKCS7_num(safes) && rc == 0; i++) {
        rc = aad_pkcs12_safe(file, sk_PKCS7_value(safes, i));
    }

    sk_PKCS7_pop_free(safes, PKCS7_free);

    return rc;
}


/* Finds out by the MAC whether the password is right. */
static int
aad_pkcs12_unlock(aad_certificate_file_t *file, PKCS12 *pkcs12)
{
    size_t  length;

    length = file->password->length;

    file->pkcs12_password = length != 0 ? file->password->data : NULL;
    file->pkcs12_password_length = (int) length;

    if (!PKCS12_mac_present(pkcs12)
        || PKCS12_verify_mac(pkcs12, file->pkcs12_password, (int) length)
           == 1)
    {
        return 0;
    }

    /* to some programs none is an empty one, which is not the same here */

    if (length == 0 && PKCS12_verify_mac(pkcs12, "", 0) == 1) {
        file->pkcs12_password = "";
        return 0;
    }

    return aad_undecrypted(file);
}


static int
aad_pkcs12_safe(aad_certificate_file_t *file, PKCS7 *safe)
{
    int                        rc;
    STACK_OF(PKCS12_SAFEBAG)  *bags;

    if (PKCS7_type_is_data(safe)) {
        bags = PKCS12_unpack_p7data(safe);

    } else if (PKCS7_type_is_encrypted(safe)) {
        bags = PKCS12_unpack_p7encdata(safe, file->pkcs12_password,
                                       file->pkcs12_password_length);

    } else {
        return 0;
    }

    if (bags == NULL) {
        return aad_undecrypted(file);
    }

    rc = aad_pkcs12_bags(file, bags);

    sk_PKCS12_SAFEBAG_pop_free(bags, PKCS12_SAFEBAG_free);

    return rc;
}


/* They nest no deeper than OpenSSL's own parser has let them. */
static int
aad_pkcs12_bags(aad_certificate_file_t *file,
    const STACK_OF(PKCS12_SAFEBAG) *bags)
{
    int                    i, rc;
    const PKCS12_SAFEBAG  *bag;

    rc = 0;

    for (i = 0; i < sk_PKCS12_SAFEBAG_num(bags) && rc == 0; i++) {

        bag = sk_PKCS12_SAFEBAG_value(bags, i);

        switch (PKCS12_SAFEBAG_get_nid(bag)) {

        case NID_keyBag:
            rc = aad_add_key(file,
                           EVP_PKCS82PKEY(PKCS12_SAFEBAG_get0_p8inf(bag)));
            break;

        case NID_pkcs8ShroudedKeyBag:
            rc = aad_pkcs12_key(file, bag);
            break;

        case NID_certBag:
            if (PKCS12_SAFEBAG_get_bag_nid(bag) == NID_x509Certificate) {
                rc = aad_add_certificate(file, PKCS12_SAFEBAG_get1_cert(bag));
            }

            break;

        case NID_safeContentsBag:
            rc = aad_pkcs12_bags(file, PKCS12_SAFEBAG_get0_safes(bag));
            break;

        default:
            break;
        }
    }

    return rc;
}


static int
aad_pkcs12_key(aad_certificate_file_t *file, const PKCS12_SAFEBAG *bag)
{
    EVP_PKEY             *key;
    PKCS8_PRIV_KEY_INFO  *info;

    info = PKCS12_decrypt_skey(bag, file->pkcs12_password,
                               file->pkcs12_password_length);
    if (info == NULL) {
        return aad_undecrypted(file);
    }

    key = EVP_PKCS82PKEY(info);

    PKCS8_PRIV_KEY_INFO_free(info);

    return aad_add_key(file, key);
}


/* Takes the key over; NULL is what could not be read. */
static int
aad_add_key(aad_certificate_file_t *file, EVP_PKEY *key)
{
    if (key == NULL) {
        return aad_error(file->error, "\"%s\" has a private key that is "
                         "damaged, or of an unknown kind", file->name);
    }

    EVP_PKEY_free(file->bundle->key);

    file->bundle->key = key;
    file->bundle->keys++;

    return 0;
}


/* Takes the certificate over; NULL is what could not be read. */
static int
aad_add_certificate(aad_certificate_file_t *file, X509 *x509)
{
    if (x509 == NULL) {
        return aad_error(file->error, "\"%s\" has a certificate that is "
                         "damaged", file->name);
    }

    if (file->keys_only) {
        X509_free(x509);
        return 0;
    }

    if (sk_X509_push(file->bundle->certificates, x509) == 0) {
        X509_free(x509);
        return aad_error(file->error, "out of memory");
    }

    return 0;
}


/* Says why something cannot be read that was encrypted. */
static int
aad_undecrypted(const aad_certificate_file_t *file)
{
    unsigned long  code;

    while ((code = ERR_get_error()) != 0) {
        if (aad_is_unsupported(code)) {
            return aad_error(file->error, "\"%s\" is encrypted in an outdated "
                             "way that this OpenSSL does not know: convert it "
                             "with \"%s -in %s -out NEW.pem\"", file->name,
                             file->convert, file->name);
        }
    }

    if (file->password->length == 0) {
        return aad_error(file->error, "\"%s\" is encrypted: %s", file->name,
                         file->password_mend);
    }

    return aad_error(file->error, "\"%s\" cannot be decrypted: the password "
                     "is wrong, or the file is damaged", file->name);
}


/*
 * Of ciphers alone: by a wrong password one key in some hundreds is decrypted
 * to something, and what that is supposed to be the decoders do not support.
 */
static int
aad_is_unsupported(unsigned long code)
{
    if (ERR_GET_LIB(code) != ERR_LIB_EVP) {
        return 0;
    }

#ifdef ERR_R_UNSUPPORTED
    if (ERR_GET_REASON(code) == ERR_R_UNSUPPORTED) {
        return 1;
    }
#endif

    return ERR_GET_REASON(code) == EVP_R_UNKNOWN_PBE_ALGORITHM
           || ERR_GET_REASON(code) == EVP_R_UNSUPPORTED_ALGORITHM
           || ERR_GET_REASON(code) == EVP_R_UNSUPPORTED_CIPHER;
}
