
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * Whether words of others have a secret of ours in them.  Services, proxies
 * and programs repeat what they were sent, and rarely as it was: it is looked
 * for behind each way of writing it that forms, JSON and pages have, and one
 * such way inside of another, and in base64.
 */


#include "internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>


/* below this the words of any text would be found */
#define AAD_BASE64_BYTES_MIN    4

#define AAD_REPEATS_DEPTH       2

/* what is shorter, and begins like a token, is a word by chance */
#define AAD_TOKEN_BYTES_MIN     7


/* Writes what stands at the text's start, and returns how much that was. */
typedef size_t (*aad_decode_pt)(const char *text, char *out, size_t *written);


static int aad_has_token(const char *words);
static int aad_repeats_password(const aad_secret_t *words, const char *value);
static int aad_repeats(const aad_secret_t *words, const char *value,
    int depth);
static int aad_repeats_base64(const aad_secret_t *words, const char *value);
static int aad_repeats_base64_at(const aad_secret_t *words,
    const aad_secret_t *value, size_t before);
static int aad_repeats_decode(const aad_secret_t *words, aad_decode_pt decode,
    aad_secret_t *decoded);
static size_t aad_decode_percent(const char *text, char *out,
    size_t *written);
static size_t aad_decode_form(const char *text, char *out, size_t *written);
static size_t aad_decode_json(const char *text, char *out, size_t *written);
static size_t aad_decode_html(const char *text, char *out, size_t *written);
static size_t aad_decode_utf8(long number, char *out);
static int aad_decode_hex(const char *text, int digits, long *number);


static const aad_decode_pt  aad_decoders[] = {
    aad_decode_percent, aad_decode_form, aad_decode_json, aad_decode_html,
    NULL
};


/*
 * A secret that is too short to be one is looked for all the same: the words
 * may then be kept back for nothing, which costs less than to show them.
 */
int
aad_repeats_secret(const aad_credential_t *credential, const char *words)
{
    int                 found;
    aad_secret_t        copy;
    const aad_value_t  *v;

    if (aad_has_token(words)) {
        return 1;
    }

    aad_secret_init(&copy, AAD_BODY_BYTES_MAX);

    found = aad_secret_append_text(&copy, words) != 0;

    if (credential == NULL) {
        aad_secret_wipe(&copy);
        return found;
    }

    for (v = credential->type->values; v->parameter || v->variable; v++) {

        if (found) {
            break;
        }

        if ((v->flags & AAD_VALUE_SECRET)
            && credential->values[v->slot].length != 0)
        {
            found = aad_repeats(&copy, aad_value(credential, v->slot),
                                AAD_REPEATS_DEPTH)
                    || aad_repeats_password(&copy,
                                            aad_value(credential, v->slot));
        }
    }

    aad_secret_wipe(&copy);

    return found;
}


/*
 * Of the caller's token the header and the claims are found as any token's
 * are, and what is left is its signature.
 */
int
aad_call_repeats_secret(const aad_call_t *call, const char *words)
{
    int            found;
    aad_secret_t   copy;
    const char    *signature;

    if (aad_repeats_secret(call->credential, words)) {
        return 1;
    }

    signature = call->assertion != NULL ? strrchr(call->assertion->data, '.')
                                        : NULL;

    if (signature == NULL || signature[1] == '\0') {
        return 0;
    }

    aad_secret_init(&copy, AAD_BODY_BYTES_MAX);

    found = aad_secret_append_text(&copy, words) != 0
            || aad_repeats(&copy, signature + 1, AAD_REPEATS_DEPTH);

    aad_secret_wipe(&copy);

    return found;
}


/*
 * An assertion is made anew for each request, so that there is nothing to
 * compare words with; but all of them, and tokens, begin with a header in
 * JSON, which is "eyJ" in base64url.
 */
static int
aad_has_token(const char *words)
{
    size_t  length;

    for (words = strstr(words, "eyJ"); words != NULL;
         words = strstr(words + 1, "eyJ"))
    {
        for (length = 0; aad_is_unreserved(words[length]); length++) {
            if (length + 1 == AAD_TOKEN_BYTES_MIN) {
                return 1;
            }
        }
    }

    return 0;
}


/* of a proxy's URL that is all the secret there is, and stands alone too */
static int
aad_repeats_password(const aad_secret_t *words, const char *value)
{
    int           found;
    size_t        length;
    const char   *userinfo, *password;
    aad_secret_t  text;

    userinfo = strstr(value, "://");
    if (userinfo == NULL) {
        return 0;
    }

    userinfo += 3;
    length = strcspn(userinfo, "@/?#");
    password = memchr(userinfo, ':', length);

    if (userinfo[length] != '@' || password == NULL
        || password + 1 == userinfo + length)
    {
        return 0;
    }

    password++;
    aad_secret_init(&text, AAD_VALUE_BYTES_MAX);

    found = aad_secret_append(&text, password, userinfo + length - password)
            != 0
            || aad_repeats(words, text.data, AAD_REPEATS_DEPTH);

    aad_secret_wipe(&text);

    return found;
}


static int
aad_repeats(const aad_secret_t *words, const char *value, int depth)
{
    int                   found;
    aad_secret_t          decoded;
    const aad_decode_pt  *decode;

    if (strstr(words->data, value) != NULL
        || aad_repeats_base64(words, value))
    {
        return 1;
    }

    if (depth == 0) {
        return 0;
    }

    found = 0;

    for (decode = aad_decoders; *decode != NULL && !found; decode++) {

        aad_secret_init(&decoded, AAD_BODY_BYTES_MAX);

        switch (aad_repeats_decode(words, *decode, &decoded)) {

        case 0:
            break;

        case 1:
            found = aad_repeats(&decoded, value, depth - 1);
            break;

        default:
            found = 1;
        }

        aad_secret_wipe(&decoded);
    }

    return found;
}


/* In front of the secret there may be a client id and a colon, or anything. */
static int
aad_repeats_base64(const aad_secret_t *words, const char *value)
{
    int           found;
    size_t        before;
    aad_secret_t  text;

    found = 0;

    for (before = 0; before < 3 && !found; before++) {

        aad_secret_init(&text, AAD_VALUE_BYTES_MAX * 2);

        found = aad_secret_append(&text, "xx", before) != 0
                || aad_secret_append_text(&text, value) != 0
                || aad_repeats_base64_at(words, &text, before);

        aad_secret_wipe(&text);
    }

    return found;
}


/* Compares the characters that stand for bytes of the value alone. */
static int
aad_repeats_base64_at(const aad_secret_t *words, const aad_secret_t *value,
    size_t before)
{
    int            found;
    char          *p;
    size_t         skip, end;
    aad_secret_t   plain, encoded;

    skip = (before * 4 + 2) / 3;
    end = value->length * 4 / 3;

    if (end < skip + AAD_BASE64_BYTES_MIN) {
        return 0;
    }

    aad_secret_init(&plain, AAD_BODY_BYTES_MAX);
    aad_secret_init(&encoded, AAD_BODY_BYTES_MAX);

    found = 1;

    if (aad_secret_append(&plain, words->data, words->length) == 0
        && aad_secret_reserve(&encoded, value->length * 4 / 3 + 8) == 0)
    {
        (void) EVP_EncodeBlock((unsigned char *) encoded.data,
                               (const unsigned char *) value->data,
                               (int) value->length);
        encoded.data[end] = '\0';

        /* base64url is written in base64 */

        for (p = plain.data; *p != '\0'; p++) {
            *p = *p == '-' ? '+' : *p == '_' ? '/' : *p;
        }

        found = strstr(plain.data, encoded.data + skip) != NULL;
    }

    aad_secret_wipe(&plain);
    aad_secret_wipe(&encoded);

    return found;
}


/* Returns 1 when something was decoded, 0 when nothing was, or -1. */
static int
aad_repeats_decode(const aad_secret_t *words, aad_decode_pt decode,
    aad_secret_t *decoded)
{
    int          changed;
    char         out[4];
    size_t       used, written;
    const char  *p;

    changed = 0;

    for (p = words->data; *p != '\0'; p += used) {

        used = decode(p, out, &written);

        if (used != 0) {
            changed = 1;

        } else {
            out[0] = *p;
            written = 1;
            used = 1;
        }

        if (aad_secret_append(decoded, out, written) != 0) {
            return -1;
        }
    }

    return changed;
}


static size_t
aad_decode_percent(const char *text, char *out, size_t *written)
{
    long  number;

    if (text[0] != '%' || aad_decode_hex(text + 1, 2, &number) != 0
        || number == 0)
    {
        return 0;
    }

    out[0] = (char) number;
    *written = 1;

    return 3;
}


static size_t
aad_decode_form(const char *text, char *out, size_t *written)
{
    if (text[0] == '+') {
        out[0] = ' ';
        *written = 1;
        return 1;
    }

    return aad_decode_percent(text, out, written);
}


static size_t
aad_decode_json(const char *text, char *out, size_t *written)
{
    long         number;
    const char  *p;

    static const char  names[] = "\"\\/bfnrt";
    static const char  characters[] = "\"\\/\b\f\n\r\t";

    if (text[0] != '\\' || text[1] == '\0') {
        return 0;
    }

    if (text[1] == 'u') {

        if (aad_decode_hex(text + 2, 4, &number) != 0 || number == 0) {
            return 0;
        }

        *written = aad_decode_utf8(number, out);
        return 6;
    }

    p = strchr(names, text[1]);
    if (p == NULL) {
        return 0;
    }

    out[0] = characters[p - names];
    *written = 1;

    return 2;
}


static size_t
aad_decode_html(const char *text, char *out, size_t *written)
{
    char    *end;
    long     number;
    size_t   i, length;

    static const struct {
        const char  *name;
        char         character;
    } entities[] = {
        { "&amp;", '&' }, { "&lt;", '<' }, { "&gt;", '>' },
        { "&quot;", '"' }, { "&apos;", '\'' }
    };

    if (text[0] != '&') {
        return 0;
    }

    for (i = 0; i < sizeof(entities) / sizeof(entities[0]); i++) {
        length = strlen(entities[i].name);

        if (strncmp(text, entities[i].name, length) == 0) {
            out[0] = entities[i].character;
            *written = 1;
            return length;
        }
    }

    if (text[1] != '#') {
        return 0;
    }

    number = text[2] == 'x' || text[2] == 'X' ? strtol(text + 3, &end, 16)
                                              : strtol(text + 2, &end, 10);

    if (*end != ';' || number <= 0 || number > 0xffff) {
        return 0;
    }

    *written = aad_decode_utf8(number, out);

    return end + 1 - text;
}


/* 'number' is one of the first 65536; what is beyond is no secret's. */
static size_t
aad_decode_utf8(long number, char *out)
{
    if (number < 0x80) {
        out[0] = (char) number;
        return 1;
    }

    if (number < 0x800) {
        out[0] = (char) (0xc0 | (number >> 6));
        out[1] = (char) (0x80 | (number & 0x3f));
        return 2;
    }

    out[0] = (char) (0xe0 | (number >> 12));
    out[1] = (char) (0x80 | ((number >> 6) & 0x3f));
    out[2] = (char) (0x80 | (number & 0x3f));

    return 3;
}


static int
aad_decode_hex(const char *text, int digits, long *number)
{
    int          i;
    const char  *p;

    static const char  hex[] = "0123456789abcdef0123456789ABCDEF";

    *number = 0;

    for (i = 0; i < digits; i++) {

        if (text[i] == '\0') {
            return -1;
        }

        p = strchr(hex, text[i]);
        if (p == NULL) {
            return -1;
        }

        *number = *number * 16 + (p - hex) % 16;
    }

    return 0;
}
