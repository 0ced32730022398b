
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * RFC 4648.
 */


#include "internal.h"

#include <openssl/evp.h>


static int aad_base64url_value(char c);


/* RFC 4648 4 */
int
aad_base64_append(aad_secret_t *text, const unsigned char *data,
    size_t length)
{
    size_t         part;
    unsigned char  encoded[65];

    for ( /* void */ ; length != 0; length -= part, data += part) {

        part = length < 48 ? length : 48;

        if (aad_secret_append(text, (char *) encoded,
                              EVP_EncodeBlock(encoded, data, (int) part))
            != 0)
        {
            return -1;
        }
    }

    return 0;
}


int
aad_base64url_append(aad_secret_t *text, const unsigned char *data,
    size_t length)
{
    char    *p;
    size_t   start;

    start = text->length;

    if (aad_base64_append(text, data, length) != 0) {
        return -1;
    }

    for (p = text->data + start; *p != '\0'; p++) {
        *p = *p == '+' ? '-' : *p == '/' ? '_' : *p;
    }

    while (text->length > start && text->data[text->length - 1] == '=') {
        text->data[--text->length] = '\0';
    }

    return 0;
}


/* There is one way to write some bytes, and no other one is taken. */
int
aad_base64url_decode(const char *text, size_t length, aad_secret_t *decoded)
{
    int        value;
    char      *p;
    size_t     i;
    unsigned   bits;

    if (length % 4 == 1
        || aad_secret_reserve(decoded, length / 4 * 3 + 3) != 0)
    {
        return -1;
    }

    bits = 0;
    p = decoded->data + decoded->length;

    for (i = 0; i < length; i++) {

        value = aad_base64url_value(text[i]);

        if (value == -1) {
            return -1;
        }

        bits = (bits << 6 | (unsigned) value) & 0xffffff;

        if (i % 4 != 0) {
            *p++ = (char) (bits >> (6 - i % 4 * 2));
        }
    }

    /* what is left of the last character stands for nothing */

    if ((length % 4 == 2 && (bits & 0xf)) || (length % 4 == 3 && (bits & 3))) {
        return -1;
    }

    *p = '\0';
    decoded->length = p - decoded->data;

    return 0;
}


/* Returns -1 for what is none of its 64 characters. */
static int
aad_base64url_value(char c)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }

    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }

    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }

    return c == '-' ? 62 : c == '_' ? 63 : -1;
}
