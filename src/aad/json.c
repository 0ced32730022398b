
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 */


#include "json.h"

#include <string.h>

#include <openssl/crypto.h>


/* no document of these services has so many in one object */
#define AAD_JSON_MEMBERS_MAX  256


static int aad_json_is_utf8(const aad_secret_t *text);
static size_t aad_json_utf8_length(const unsigned char *p,
    const unsigned char *end);
static int aad_json_repeats_member(const cJSON *json);


int
aad_json_has_nul(const char *text)
{
    for (text = strchr(text, '\\'); text != NULL;
         text = strchr(text, '\\'))
    {
        text++;

        if (*text == 'u'
            && (strspn(text + 1, "0123456789abcdefABCDEF") < 4
                || strncmp(text + 1, "0000", 4) == 0))
        {
            return 1;
        }

        if (*text != '\0') {
            text++;
        }
    }

    return 0;
}


cJSON *
aad_json_strict(const aad_secret_t *text)
{
    cJSON  *json;

    if (memchr(text->data, '\0', text->length) != NULL
        || !aad_json_is_utf8(text)
        || aad_json_has_nul(text->data))
    {
        return NULL;
    }

    json = cJSON_ParseWithOpts(text->data, NULL, 1);

    if (cJSON_IsObject(json) && !aad_json_repeats_member(json)) {
        return json;
    }

    aad_json_wipe(json);

    return NULL;
}


const char *
aad_json_text(const cJSON *json, const char *name)
{
    const cJSON  *item;

    item = cJSON_GetObjectItemCaseSensitive(json, name);

    return cJSON_IsString(item) ? item->valuestring : "";
}


void
aad_json_copy(const cJSON *json, const char *name, char *text, size_t size)
{
    aad_text_clean(text, size, aad_json_text(json, name));
}


int
aad_json_number(const cJSON *json, const char *name, int64_t *value)
{
    const cJSON  *item;

    item = cJSON_GetObjectItemCaseSensitive(json, name);

    /* a NaN is not beyond anything */

    if (!cJSON_IsNumber(item)
        || !(item->valuedouble > -AAD_JSON_INTEGER_MAX
             && item->valuedouble < AAD_JSON_INTEGER_MAX))
    {
        return -1;
    }

    *value = (int64_t) item->valuedouble;

    return 0;
}


/* cJSON frees without wiping */
void
aad_json_wipe(cJSON *json)
{
    cJSON  *item;

    if (json == NULL) {
        return;
    }

    for (item = json->child; item != NULL; item = item->next) {

        if (item->valuestring != NULL) {
            OPENSSL_cleanse(item->valuestring, strlen(item->valuestring));
        }
    }

    cJSON_Delete(json);
}


static int
aad_json_is_utf8(const aad_secret_t *text)
{
    size_t                length;
    const unsigned char  *p, *end;

    p = (const unsigned char *) text->data;
    end = p + text->length;

    for ( /* void */ ; p < end; p += length) {

        length = aad_json_utf8_length(p, end);

        if (length == 0) {
            return 0;
        }
    }

    return 1;
}


/* RFC 3629 4.  Returns the bytes of the character, 0 where it is none. */
static size_t
aad_json_utf8_length(const unsigned char *p, const unsigned char *end)
{
    size_t         i, length;
    unsigned char  low, high;

    if (p[0] < 0x80) {
        return 1;
    }

    length = p[0] >= 0xc2 && p[0] <= 0xdf ? 2
             : p[0] >= 0xe0 && p[0] <= 0xef ? 3
             : p[0] >= 0xf0 && p[0] <= 0xf4 ? 4 : 0;

    if (length == 0 || (size_t) (end - p) < length) {
        return 0;
    }

    /* neither longer than need be, nor a surrogate, nor beyond U+10FFFF */

    low = p[0] == 0xe0 ? 0xa0 : p[0] == 0xf0 ? 0x90 : 0x80;
    high = p[0] == 0xed ? 0x9f : p[0] == 0xf4 ? 0x8f : 0xbf;

    for (i = 1; i < length; i++) {

        if (p[i] < low || p[i] > high) {
            return 0;
        }

        low = 0x80;
        high = 0xbf;
    }

    return length;
}


/* each is compared with all others, which strangers may have sent many of */
static int
aad_json_repeats_member(const cJSON *json)
{
    int           members;
    const cJSON  *item, *other;

    members = 0;

    for (item = json->child; item != NULL; item = item->next) {

        if (++members > AAD_JSON_MEMBERS_MAX) {
            return 1;
        }

        for (other = item->next; other != NULL; other = other->next) {

            if (strcmp(item->string, other->string) == 0) {
                return 1;
            }
        }
    }

    return 0;
}
