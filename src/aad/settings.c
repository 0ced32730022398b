
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * The settings of an identity: their checks, and the digest that names it.
 */


#include "internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>


static int aad_digest_credential(EVP_MD_CTX *md,
    const aad_credential_t *credential);
static int aad_digest_add(EVP_MD_CTX *md, const char *text);


int
aad_authority_host(const char *value, char *host, size_t size,
    aad_error_t *error)
{
    int        n;
    aad_url_t  url;

    /* SDKs take the variable without a scheme, and with a slash at its end */

    n = snprintf(host, size, "%s%s",
                 strstr(value, "://") == NULL ? "https://" : "", value);

    while (n > 0 && (size_t) n < size && host[n - 1] == '/') {
        host[--n] = '\0';
    }

    if (n <= 0 || (size_t) n >= size || aad_url_parse(host, &url) != 0
        || url.userinfo || url.rest[0] != '\0')
    {
        /* what stands before an '@' may be a password */

        return aad_error(error, "\"%s\" is wrong, it must be a URL of scheme "
                         "and host, such as "
                         "\"https://login.microsoftonline.com\"",
                         strchr(value, '@') ? "..." : value);
    }

    if (!url.https && !aad_is_loopback(url.host, url.host_length)) {
        return aad_error(error, "\"%s\" is wrong, it must begin with "
                         "\"https://\" (\"http://\" is for a loopback address "
                         "such as 127.0.0.1 alone)", value);
    }

    return 0;
}


int
aad_scope(const char *value, aad_error_t *error)
{
    char         resource[AAD_URL_BYTES_MAX];
    const char  *p;

    for (p = value; *p != '\0'; p++) {
        if (*p != '/' && *p != ':' && !aad_is_unreserved(*p)) {
            break;
        }
    }

    aad_resource(value, resource, sizeof(resource));

    if (*p != '\0' || value[0] == '-'
        || strlen(value) >= sizeof(resource)
        || strlen(resource) == strlen(value))
    {
        return aad_error(error, "\"%s\" is wrong, it must be one scope that "
                         "ends with \"/.default\", such as "
                         "\"https://cognitiveservices.azure.com/.default\"",
                         value);
    }

    return 0;
}


int
aad_proxy(const char *value, aad_error_t *error)
{
    int          n;
    char         text[AAD_URL_BYTES_MAX];
    aad_url_t    url;
    const char  *rest;

    /* of the schemes that libcurl knows those that are in use */

    rest = "";

    if (strncmp(value, "socks5://", 9) == 0
        || strncmp(value, "socks5h://", 10) == 0
        || strncmp(value, "https://", 8) == 0
        || strncmp(value, "http://", 7) == 0)
    {
        rest = strstr(value, "://") + 3;
    }

    n = snprintf(text, sizeof(text), "http://%s", rest);

    /* a proxy's URL may hold a password: it is not repeated */

    if ((size_t) n >= sizeof(text)
        || aad_url_parse(text, &url) != 0
        || (url.rest[0] != '\0' && strcmp(url.rest, "/") != 0))
    {
        return aad_error(error, "the proxy is wrong, it must be a URL of "
                         "scheme, host and port, such as "
                         "\"http://proxy.example.com:3128\"");
    }

    return 0;
}


int
aad_time(const char *value, int64_t *time_ms, aad_error_t *error)
{
    size_t       unit, digits, length;
    const char  *p;

    static const struct {
        const char  *name;
        int64_t      ms;
    } units[] = {
        { "w", 604800000 },
        { "d", 86400000 },
        { "h", 3600000 },
        { "m", 60000 },
        { "s", 1000 },
        { "ms", 1 },
        { "", 1000 }
    };

    *time_ms = 0;
    unit = 0;
    p = value;

    while (*p != '\0') {

        /* as many as cannot overflow the sum, whatever the unit */

        digits = strspn(p, "0123456789");

        if (digits == 0 || digits > 10) {
            break;
        }

        length = strspn(p + digits, "wdhms");

        while (unit < sizeof(units) / sizeof(units[0])
               && (strlen(units[unit].name) != length
                   || strncmp(p + digits, units[unit].name, length) != 0))
        {
            unit++;
        }

        if (unit == sizeof(units) / sizeof(units[0])) {
            break;
        }

        *time_ms += strtoll(p, NULL, 10) * units[unit++].ms;

        p += digits + length;
        p += strspn(p, " ");
    }

    if (*p != '\0' || *time_ms == 0) {
        return aad_error(error, "\"%s\" is wrong, it must be a time above "
                         "zero, such as \"10s\" or \"500ms\"", value);
    }

    return 0;
}


int
aad_ca_certificates(const char *file, aad_secret_t *pem, aad_error_t *error)
{
    if (aad_file_read(file, pem, error) != 0) {
        return -1;
    }

    return aad_check_certificates(file, pem, error);
}


int
aad_check_certificates(const char *name, const aad_secret_t *pem,
    aad_error_t *error)
{
    BIO     *bio;
    X509    *certificate;
    size_t   count;

    bio = BIO_new_mem_buf(pem->data, (int) pem->length);
    if (bio == NULL) {
        return aad_error(error, "out of memory");
    }

    for (count = 0; /* void */ ; count++) {

        certificate = PEM_read_bio_X509_AUX(bio, NULL, NULL, NULL);
        if (certificate == NULL) {
            break;
        }

        X509_free(certificate);
    }

    BIO_free(bio);

    /* at the end there is no further one to begin, any other error is one */

    if (count == 0
        || ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
    {
        ERR_clear_error();
        return aad_error(error, "\"%s\" has %s in PEM form", name,
                         count ? "a certificate that is not"
                               : "no certificate");
    }

    ERR_clear_error();

    return 0;
}


void
aad_settings_describe(const aad_settings_t *settings, char *text,
    size_t size)
{
    char    step[256];
    size_t  i, used;

    text[0] = '\0';

    for (i = 0; i < settings->chain_length; i++) {

        aad_credential_describe(settings->chain[i], step, sizeof(step));

        used = strlen(text);
        snprintf(text + used, size - used, "%s%s", i ? ", " : "", step);
    }
}


int
aad_settings_digest(const aad_settings_t *settings,
    unsigned char digest[AAD_DIGEST_BYTES])
{
    int          rc;
    size_t       i;
    EVP_MD_CTX  *md;

    md = EVP_MD_CTX_new();
    if (md == NULL) {
        return -1;
    }

    rc = EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1 ? 0 : -1;

    rc |= aad_digest_add(md, settings->authority_host);
    rc |= aad_digest_add(md, settings->scope);
    rc |= aad_digest_add(md, settings->ca_certificates);
    rc |= aad_digest_add(md, settings->proxy);
    rc |= aad_digest_add(md, settings->no_proxy);

    for (i = 0; i < settings->chain_length; i++) {
        rc |= aad_digest_credential(md, settings->chain[i]);
    }

    if (EVP_DigestFinal_ex(md, digest, NULL) != 1) {
        rc = -1;
    }

    EVP_MD_CTX_free(md);

    return rc;
}


/* a file that was read is known by what was in it, wherever it lies */
static int
aad_digest_credential(EVP_MD_CTX *md, const aad_credential_t *credential)
{
    int                 rc;
    size_t              slot;
    unsigned            places;
    const aad_value_t  *v;

    places = 0;

    for (v = credential->type->values; v->parameter || v->variable; v++) {
        if (v->flags & AAD_VALUE_PLACE) {
            places |= 1u << v->slot;
        }
    }

    rc = aad_digest_add(md, credential->type->name);

    for (slot = 0; slot < AAD_VALUES_MAX; slot++) {
        if (!(places & (1u << slot))) {
            rc |= aad_digest_add(md, credential->values[slot].data);
        }
    }

    if (credential->inner != NULL) {
        rc |= aad_digest_credential(md, credential->inner);
    }

    return rc;
}


/* with its NUL, so that "ab" "c" and "a" "bc" differ */
static int
aad_digest_add(EVP_MD_CTX *md, const char *text)
{
    if (text == NULL) {
        text = "";
    }

    return EVP_DigestUpdate(md, text, strlen(text) + 1) == 1 ? 0 : -1;
}
