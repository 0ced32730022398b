
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * What azd says of a failure: lines of JSON on its standard error.  Beside
 * token_response.c the only file that knows cJSON.
 */


#include "internal.h"

#include <stdio.h>
#include <string.h>

#include <cjson/cJSON.h>
#include <openssl/crypto.h>


#define AAD_AZD_LINE_BYTES_MAX  8192


static int aad_azd_line(const char *line, size_t length, char *words,
    size_t size);
static const char *aad_azd_message(const cJSON *json);
static int aad_azd_weight(const char *words);


/*
 * Of several lines the one that has Entra's code counts most, then one that
 * calls itself an error, then the first.  What is no JSON is read as az's
 * standard error is.
 */
void
aad_azd_complaint(const char *err, char *words, size_t size)
{
    int          weight, most;
    char         text[AAD_REASON_BYTES];
    size_t       length;
    const char  *line;

    most = 0;

    for (line = err; *line != '\0'; line += length + (line[length] != '\0')) {

        length = strcspn(line, "\r\n");

        if (aad_azd_line(line, length, text, sizeof(text)) != 0) {
            continue;
        }

        weight = aad_azd_weight(text);

        if (weight > most) {
            most = weight;
            snprintf(words, size, "%s", text);
        }
    }

    if (most == 0) {
        aad_developer_cli_line(err, words, size);
    }
}


/* Returns 0, or -1 when the line is none of azd's messages. */
static int
aad_azd_line(const char *line, size_t length, char *words, size_t size)
{
    int          rc;
    char         text[AAD_AZD_LINE_BYTES_MAX];
    cJSON       *json;
    const char  *message;

    if (line[0] != '{' || length >= sizeof(text)) {
        return -1;
    }

    snprintf(text, sizeof(text), "%.*s", (int) length, line);

    json = cJSON_ParseWithOpts(text, NULL, 1);
    message = aad_azd_message(json);

    rc = -1;

    if (message != NULL) {
        message += strspn(message, " \t\r\n");
        snprintf(words, size, "%.*s", (int) strcspn(message, "\r\n"),
                 message);
        rc = 0;
    }

    cJSON_Delete(json);
    OPENSSL_cleanse(text, sizeof(text));

    return rc;
}


/*
 * Since version 1.23.7 {"error","message","suggestion"}, before it
 * {"type":"consoleMessage","data":{"message"}}: azure-identity for Go,
 * developer_credential_util.go.
 */
static const char *
aad_azd_message(const cJSON *json)
{
    size_t        i;
    const cJSON  *item;

    const cJSON *const  items[] = {
        cJSON_GetObjectItemCaseSensitive(
            cJSON_GetObjectItemCaseSensitive(json, "data"), "message"),
        cJSON_GetObjectItemCaseSensitive(json, "message"),
        cJSON_GetObjectItemCaseSensitive(json, "error")
    };

    for (i = 0; i < sizeof(items) / sizeof(items[0]); i++) {
        item = items[i];

        if (cJSON_IsString(item) && item->valuestring[0] != '\0') {
            return item->valuestring;
        }
    }

    return NULL;
}


static int
aad_azd_weight(const char *words)
{
    if (words[0] == '\0') {
        return 0;
    }

    return strstr(words, "AADSTS") != NULL ? 3
           : strncmp(words, "ERROR", 5) == 0 ? 2 : 1;
}
