
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * What is said to scripts; the only file of this folder that knows cJSON.
 * Memory that runs out ends the command: half an object would be a lie.
 */


#include "tool.h"

#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>


#define TOOL_WORDS_BYTES_MAX    65536


static void tool_json_attempts(cJSON *object,
    const tool_identity_t *identity);
static void tool_json_blame(cJSON *object, const tool_identity_t *identity);
static cJSON *tool_json_add(cJSON *object, const char *name, cJSON *value);
static void tool_json_out_of_memory(void);


/* as the module's status has them */
static const char *const  tool_json_results[] = {
    "ok",                                   /* AAD_OK */
    "unavailable",
    "failed"
};


cJSON *
tool_json_create(void)
{
    cJSON  *object;

    object = cJSON_CreateObject();

    if (object == NULL) {
        tool_json_out_of_memory();
    }

    return object;
}


cJSON *
tool_json_append(cJSON *object, const char *array)
{
    cJSON  *item;

    item = tool_json_create();

    if (!cJSON_AddItemToArray(cJSON_GetObjectItemCaseSensitive(object, array),
                              item))
    {
        tool_json_out_of_memory();
    }

    return item;
}


void
tool_json_array(cJSON *object, const char *name)
{
    tool_json_add(object, name, cJSON_CreateArray());
}


void
tool_json_text(cJSON *object, const char *name, const char *text)
{
    char    *clean;
    size_t   size;

    if (text == NULL || text[0] == '\0') {
        tool_json_add(object, name, cJSON_CreateNull());
        return;
    }

    /* what is no UTF-8 would be no JSON */

    size = strlen(text) + 1;

    clean = malloc(size);
    if (clean == NULL) {
        tool_json_out_of_memory();
    }

    aad_text_clean(clean, size, text);
    tool_json_add(object, name, cJSON_CreateString(clean));

    explicit_bzero(clean, size);
    free(clean);
}


/* with blanks between them */
void
tool_json_words(cJSON *object, const char *name, char **words, size_t count)
{
    size_t        i;
    aad_secret_t  text;

    aad_secret_init(&text, TOOL_WORDS_BYTES_MAX);

    for (i = 0; i < count; i++) {

        if ((i != 0 && aad_secret_append(&text, " ", 1) != 0)
            || aad_secret_append_text(&text, words[i]) != 0)
        {
            break;
        }
    }

    tool_json_text(object, name, text.data);
    aad_secret_wipe(&text);
}


void
tool_json_number(cJSON *object, const char *name, int64_t number)
{
    tool_json_add(object, name, cJSON_CreateNumber((double) number));
}


void
tool_json_identity(cJSON *object, const tool_identity_t *identity,
    int with_token)
{
    int64_t             lifetime_s;
    aad_schedule_t      schedule;
    const aad_token_t  *token;

    token = identity->result == AAD_OK ? &identity->token : NULL;

    tool_json_text(object, "name", identity->name);
    tool_json_text(object, "scope", identity->settings.scope);
    tool_json_text(object, "authority_host",
                   identity->settings.authority_host);
    tool_json_text(object, "credential", token ? token->credential : NULL);
    tool_json_text(object, "client_id", token ? token->client_id : NULL);
    tool_json_text(object, "object_id", token ? token->object_id : NULL);
    tool_json_text(object, "tenant_id", token ? token->tenant_id : NULL);
    tool_json_text(object, "audience", token ? token->audience : NULL);

    if (token != NULL) {
        lifetime_s = token->expires_on - identity->now;
        schedule = aad_schedule(lifetime_s * 1000, token->refresh_in, 0);

        tool_json_number(object, "expires_on", token->expires_on);
        tool_json_number(object, "expires_in", lifetime_s);
        tool_json_number(object, "refresh_in", schedule.refresh_ms / 1000);

    } else {
        tool_json_text(object, "expires_on", NULL);
        tool_json_text(object, "expires_in", NULL);
        tool_json_text(object, "refresh_in", NULL);
    }

    if (with_token) {
        tool_json_text(object, "access_token",
                       token ? token->access_token.data : NULL);
    }

    tool_json_attempts(object, identity);
    tool_json_blame(object, identity);
}


void
tool_json_error(cJSON *object, const char *message)
{
    cJSON  *error;

    error = tool_json_add(object, "error", cJSON_CreateObject());

    tool_json_text(error, "credential", NULL);
    tool_json_text(error, "code", NULL);
    tool_json_text(error, "correlation_id", NULL);
    tool_json_text(error, "message", message);
    tool_json_text(error, "hint", NULL);
}


void
tool_json_print(FILE *out, cJSON *object)
{
    char   *text;
    cJSON  *token;

    text = cJSON_PrintUnformatted(object);

    if (text == NULL) {
        tool_json_out_of_memory();
    }

    fprintf(out, "%s\n", text);

    explicit_bzero(text, strlen(text));
    cJSON_free(text);

    token = cJSON_GetObjectItemCaseSensitive(object, "access_token");

    if (cJSON_IsString(token)) {
        explicit_bzero(token->valuestring, strlen(token->valuestring));
    }

    cJSON_Delete(object);
}


static void
tool_json_attempts(cJSON *object, const tool_identity_t *identity)
{
    size_t                i;
    cJSON                *item;
    const aad_attempt_t  *attempt;

    tool_json_array(object, "attempts");

    for (i = 0; i < identity->settings.chain_length; i++) {

        attempt = i < identity->report.count
                  ? &identity->report.attempts[i] : NULL;

        item = tool_json_append(object, "attempts");

        tool_json_text(item, "credential",
                       aad_credential_type(identity->settings.chain[i]));
        tool_json_text(item, "result", attempt
                                       ? tool_json_results[attempt->result]
                                       : "skipped");
        tool_json_text(item, "reason", attempt ? attempt->reason
                                               : "not asked");
        tool_json_text(item, "code", attempt ? attempt->code : NULL);
        tool_json_text(item, "correlation_id",
                       attempt ? attempt->correlation_id : NULL);
        tool_json_text(item, "hint", attempt ? attempt->hint : NULL);
    }
}


static void
tool_json_blame(cJSON *object, const tool_identity_t *identity)
{
    cJSON                *error;
    const aad_attempt_t  *blame;

    if (identity->result == AAD_OK) {
        tool_json_text(object, "error", NULL);
        return;
    }

    blame = tool_identity_blame(identity);

    if (blame == NULL) {
        tool_json_error(object, "no step of the chain is available here");
        return;
    }

    error = tool_json_add(object, "error", cJSON_CreateObject());

    tool_json_text(error, "credential", blame->credential);
    tool_json_text(error, "code", blame->code);
    tool_json_text(error, "correlation_id", blame->correlation_id);
    tool_json_text(error, "message", blame->reason);
    tool_json_text(error, "hint", blame->hint);
}


static cJSON *
tool_json_add(cJSON *object, const char *name, cJSON *value)
{
    if (value == NULL || !cJSON_AddItemToObject(object, name, value)) {
        tool_json_out_of_memory();
    }

    return value;
}


static void
tool_json_out_of_memory(void)
{
    fprintf(stderr, "aoai-aad: out of memory\n");
    exit(TOOL_NO_TOKEN);
}
