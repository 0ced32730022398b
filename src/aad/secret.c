
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 */


#include "internal.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>


/* an empty secret can be read as a string; it is never written to */
static char  aad_secret_empty[1];


void
aad_secret_init(aad_secret_t *secret, size_t maximum)
{
    secret->data = aad_secret_empty;
    secret->length = 0;
    secret->capacity = 0;
    secret->maximum = maximum;
}


int
aad_secret_append(aad_secret_t *secret, const char *data, size_t length)
{
    if (aad_secret_reserve(secret, length) != 0) {
        return -1;
    }

    memcpy(secret->data + secret->length, data, length);

    secret->length += length;
    secret->data[secret->length] = '\0';

    return 0;
}


int
aad_secret_append_text(aad_secret_t *secret, const char *text)
{
    return aad_secret_append(secret, text, strlen(text));
}


int
aad_secret_append_escaped(aad_secret_t *secret, const char *text)
{
    static const char  hex[] = "0123456789ABCDEF";

    char        *p;
    size_t       length;
    const char  *s;

    length = 0;

    for (s = text; *s != '\0'; s++) {
        length += aad_is_unreserved(*s) ? 1 : 3;
    }

    if (aad_secret_reserve(secret, length) != 0) {
        return -1;
    }

    p = secret->data + secret->length;

    for (s = text; *s != '\0'; s++) {

        if (aad_is_unreserved(*s)) {
            *p++ = *s;
            continue;
        }

        *p++ = '%';
        *p++ = hex[(unsigned char) *s >> 4];
        *p++ = hex[(unsigned char) *s & 0xf];
    }

    *p = '\0';
    secret->length += length;

    return 0;
}


int
aad_secret_append_pair(aad_secret_t *secret, const char *name,
    const char *value)
{
    int     rc;
    size_t  length;

    rc = 0;
    length = secret->length;

    if (length != 0 && secret->data[length - 1] != '?') {
        rc = aad_secret_append(secret, "&", 1);
    }

    if (rc != 0
        || aad_secret_append_text(secret, name) != 0
        || aad_secret_append(secret, "=", 1) != 0
        || aad_secret_append_escaped(secret, value) != 0)
    {
        if (secret->length != length) {
            secret->data[length] = '\0';
            secret->length = length;
        }

        return -1;
    }

    return 0;
}


void
aad_secret_trim(aad_secret_t *secret)
{
    size_t  skip;

    while (secret->length != 0
           && aad_is_space(secret->data[secret->length - 1]))
    {
        secret->data[--secret->length] = '\0';
    }

    skip = 0;

    while (skip < secret->length && aad_is_space(secret->data[skip])) {
        skip++;
    }

    if (skip != 0) {
        secret->length -= skip;
        memmove(secret->data, secret->data + skip, secret->length + 1);
    }
}


void
aad_secret_wipe(aad_secret_t *secret)
{
    if (secret->capacity != 0) {
        OPENSSL_cleanse(secret->data, secret->capacity);
        free(secret->data);
    }

    aad_secret_init(secret, secret->maximum);
}


/* Memory that is outgrown is wiped, which is why this is no realloc(). */
int
aad_secret_reserve(aad_secret_t *secret, size_t length)
{
    char    *data;
    size_t   capacity;

    if (length > secret->maximum
        || secret->length > secret->maximum - length)
    {
        return -1;
    }

    if (secret->length + length < secret->capacity) {
        return 0;
    }

    capacity = secret->capacity != 0 ? secret->capacity : 128;

    while (capacity <= secret->length + length) {
        capacity *= 2;
    }

    data = malloc(capacity);
    if (data == NULL) {
        return -1;
    }

    memcpy(data, secret->data, secret->length + 1);

    if (secret->capacity != 0) {
        OPENSSL_cleanse(secret->data, secret->capacity);
        free(secret->data);
    }

    secret->data = data;
    secret->capacity = capacity;

    return 0;
}
