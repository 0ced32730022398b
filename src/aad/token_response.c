
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * Token and error bodies.
 */


#include "json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>


/* no service issues tokens for longer; such an expiry is a defect */
#define AAD_LIFETIME_MAX_S          172800


/* the names that a token answer uses */
typedef struct {
    const char             *access_token;
    const char             *token_type;
    const char             *expires_in;
    const char             *expires_on;
} aad_token_names_t;


static void aad_error_read(aad_call_t *call, const cJSON *json,
    const aad_http_response_t *response, char word[AAD_CODE_BYTES],
    aad_error_t *text);
static void aad_error_code(aad_call_t *call, const cJSON *json,
    const char *words, const char *word);
static void aad_error_id(aad_call_t *call, const cJSON *json,
    const cJSON *error, const char *name, const char *other_name,
    char id[AAD_ID_BYTES]);
static int aad_token_response_tool(const aad_secret_t *body,
    const aad_token_names_t *names, int64_t received_on, int64_t now,
    aad_token_t *token, aad_error_t *error);
static int aad_token_read(const aad_secret_t *body, const cJSON *json,
    const aad_token_names_t *names, int64_t received_on, int64_t now,
    aad_token_t *token, aad_error_t *error);
static int aad_token_accept(const cJSON *value, aad_token_t *token,
    aad_error_t *error);
static int aad_token_expiry(const cJSON *json, const aad_token_names_t *names,
    const cJSON *claims, aad_token_t *token, aad_error_t *error);
static cJSON *aad_token_claims(const aad_secret_t *token);
static int aad_json_integer(const cJSON *json, const char *name,
    int64_t *value);
static int aad_json_date(const cJSON *json, const char *name,
    int64_t *seconds);


static const aad_token_names_t  aad_token_names = {
    "access_token", "token_type", "expires_in", "expires_on"
};

/*
 * "expiresOn" is left alone: it is local time without a zone, and wrong by an
 * hour twice a year.  Before version 2.54 the token's own "exp" serves.
 */
static const aad_token_names_t  aad_token_names_az = {
    "accessToken", "tokenType", "expires_in", "expires_on"
};

static const aad_token_names_t  aad_token_names_azd = {
    "token", "tokenType", "expiresIn", "expiresOn"
};


int
aad_token_response(const aad_secret_t *body, int64_t received_on, int64_t now,
    aad_token_t *token, aad_error_t *error)
{
    int     rc;
    cJSON  *json;

    json = cJSON_ParseWithOpts(body->data, NULL, 1);

    rc = aad_token_read(body, json, &aad_token_names, received_on, now, token,
                        error);
    aad_json_wipe(json);

    return rc;
}


int
aad_token_response_az(const aad_secret_t *body, int64_t received_on,
    int64_t now, aad_token_t *token, aad_error_t *error)
{
    return aad_token_response_tool(body, &aad_token_names_az, received_on,
                                   now, token, error);
}


int
aad_token_response_azd(const aad_secret_t *body, int64_t received_on,
    int64_t now, aad_token_t *token, aad_error_t *error)
{
    return aad_token_response_tool(body, &aad_token_names_azd, received_on,
                                   now, token, error);
}


int
aad_response_has_id(const aad_secret_t *body, const char *name,
    const char *id)
{
    int     has;
    cJSON  *json;

    json = cJSON_ParseWithOpts(body->data, NULL, 1);

    has = strcasecmp(aad_json_text(json, name), id) == 0;

    aad_json_wipe(json);

    return has;
}


void
aad_error_response(aad_call_t *call, const aad_http_response_t *response,
    aad_error_t *text)
{
    char            error[AAD_CODE_BYTES];
    cJSON          *json;
    aad_attempt_t  *attempt;

    attempt = call->attempt;
    attempt->code[0] = '\0';
    error[0] = '\0';

    /* whole seconds are what the log and the next client are told */

    attempt->retry_after = (int) ((response->retry_after_ms + 999) / 1000);

    json = cJSON_ParseWithOpts(response->body.data, NULL, 1);

    if (cJSON_IsObject(json)) {
        aad_error_read(call, json, response, error, text);

    } else {
        aad_error(text, "status %ld with %s instead of JSON",
                  response->status,
                  response->body.length == 0 ? "nothing"
                  : strchr(response->body.data, '<') ? "HTML" : "something");
    }

    attempt->hint = response->authority
        ? aad_hint_of_authority(attempt->code, error, response->status)
        : aad_hint_of_machine(attempt->code, error, response->status);

    aad_json_wipe(json);
}


/* 'word' is the service's own for the error, "invalid_client" */
static void
aad_error_read(aad_call_t *call, const cJSON *json,
    const aad_http_response_t *response, char word[AAD_CODE_BYTES],
    aad_error_t *text)
{
    char            words[AAD_REASON_BYTES];
    const char     *code, *message;
    const cJSON    *error;
    aad_attempt_t  *attempt;

    attempt = call->attempt;
    error = cJSON_GetObjectItemCaseSensitive(json, "error");

    /* {"error":{"code":...,"message":...}}: Cloud Shell, Service Fabric */

    if (cJSON_IsObject(error)) {
        code = aad_json_text(error, "code");
        message = aad_json_text(error, "message");

    } else {
        error = json;
        code = aad_json_text(json, "error");
        message = aad_json_text(json, "error_description");
    }

    if (message[0] == '\0') {
        message = aad_json_text(json, "message");
    }

    aad_error_id(call, json, error, "correlation_id", "correlationId",
                 attempt->correlation_id);
    aad_error_id(call, json, error, "trace_id", "traceId",
                 attempt->trace_id);

    if (aad_call_repeats_secret(call, code)
        || aad_call_repeats_secret(call, message))
    {
        code = message = "";
        aad_text_clean(words, sizeof(words), "words that repeat a secret");

    } else {
        /* of its lines the first: the others have trace, id and time */

        snprintf(words, sizeof(words), "%.*s", (int) strcspn(message, "\r\n"),
                 message);
        aad_text_clean(words, sizeof(words), words);

        if (attempt->trace_id[0] != '\0') {
            aad_text_end(words, " Trace ID:");
        }
    }

    aad_text_clean(word, AAD_CODE_BYTES, code);
    aad_error_code(call, json, words, word);

    aad_error(text, "status %ld%s%s%s%.400s", response->status,
              word[0] != '\0' ? ", " : "", word,
              words[0] != '\0' ? ": " : "", words);
}


/*
 * The step's code: Entra's number, which is told even where its words cannot
 * be, else its word for the error.  Of several numbers it is the first about
 * which there is something to say.
 */
static void
aad_error_code(aad_call_t *call, const cJSON *json, const char *words,
    const char *word)
{
    char           code[AAD_CODE_BYTES], first[AAD_CODE_BYTES];
    const cJSON   *number;

    snprintf(code, sizeof(code), "%s", word);

    if (strncmp(words, "AADSTS", 6) == 0
        && words[6] >= '0' && words[6] <= '9')
    {
        snprintf(code, sizeof(code), "%.*s",
                 (int) (6 + strspn(words + 6, "0123456789")), words);
    }

    first[0] = '\0';

    cJSON_ArrayForEach(number, cJSON_GetObjectItemCaseSensitive(json,
                                                             "error_codes"))
    {
        if (!cJSON_IsNumber(number) || number->valueint <= 0) {
            continue;
        }

        snprintf(code, sizeof(code), "AADSTS%d", number->valueint);

        if (first[0] == '\0') {
            snprintf(first, sizeof(first), "%s", code);
        }

        if (aad_hint(code) != NULL) {
            first[0] = '\0';
            break;
        }
    }

    if (first[0] != '\0') {
        snprintf(code, sizeof(code), "%s", first);
    }

    if (!aad_call_repeats_secret(call, code)) {
        snprintf(call->attempt->code, sizeof(call->attempt->code), "%s",
                 code);
    }
}


/* An id that was sent stays where none comes back. */
static void
aad_error_id(aad_call_t *call, const cJSON *json, const cJSON *error,
    const char *name, const char *other_name, char id[AAD_ID_BYTES])
{
    const char  *text;

    text = aad_json_text(json, name);

    if (text[0] == '\0') {
        text = aad_json_text(json, other_name);
    }

    if (text[0] == '\0') {
        text = aad_json_text(error, other_name);
    }

    if (text[0] != '\0' && !aad_call_repeats_secret(call, text)) {
        aad_text_clean(id, AAD_ID_BYTES, text);
    }
}


/* a tool may print warnings around its JSON */
static int
aad_token_response_tool(const aad_secret_t *body,
    const aad_token_names_t *names, int64_t received_on, int64_t now,
    aad_token_t *token, aad_error_t *error)
{
    int          rc;
    cJSON       *json;
    const char  *start;

    start = strchr(body->data, '{');
    json = start != NULL ? cJSON_Parse(start) : NULL;

    rc = aad_token_read(body, json, names, received_on, now, token, error);
    aad_json_wipe(json);

    return rc;
}


static int
aad_token_read(const aad_secret_t *body, const cJSON *json,
    const aad_token_names_t *names, int64_t received_on, int64_t now,
    aad_token_t *token, aad_error_t *error)
{
    int          rc;
    cJSON       *claims;
    const char  *type;

    if (!cJSON_IsObject(json)) {
        return aad_error(error, "the answer is no JSON object");
    }

    /* what follows an escaped NUL is lost on cJSON: half a token may be left */

    if (aad_json_has_nul(body->data)) {
        return aad_error(error, "the answer has characters that no answer "
                         "may have");
    }

    type = aad_json_text(json, names->token_type);

    if (type[0] != '\0' && strcasecmp(type, "Bearer") != 0) {
        return aad_error(error, "the answer's token is no bearer token");
    }

    if (aad_token_accept(cJSON_GetObjectItemCaseSensitive(json,
                                                         names->access_token),
                         token, error)
        != 0)
    {
        return -1;
    }

    token->received_on = received_on;

    claims = aad_token_claims(&token->access_token);

    rc = aad_token_expiry(json, names, claims, token, error);

    if (rc == 0 && token->expires_on <= now) {
        rc = aad_error(error, "the answer's token has expired already (%lld s "
                       "ago); is this machine's clock right?",
                       (long long) (now - token->expires_on));
    }

    if (rc == 0 && token->expires_on - now > AAD_LIFETIME_MAX_S) {
        rc = aad_error(error, "the answer's token would be valid for %lld s, "
                       "more than any service gives",
                       (long long) (token->expires_on - now));
    }

    if (rc != 0) {
        aad_json_wipe(claims);
        aad_secret_wipe(&token->access_token);
        return -1;
    }

    if (aad_json_integer(json, "refresh_in", &token->refresh_in) != 0
        || token->refresh_in < 0 || token->refresh_in > AAD_LIFETIME_MAX_S)
    {
        token->refresh_in = 0;
    }

    aad_json_copy(claims, "oid", token->object_id, sizeof(token->object_id));
    aad_json_copy(claims, "tid", token->tenant_id, sizeof(token->tenant_id));
    aad_json_copy(claims, "aud", token->audience, sizeof(token->audience));
    aad_json_copy(claims, "appid", token->client_id,
                  sizeof(token->client_id));

    if (token->client_id[0] == '\0') {
        aad_json_copy(claims, "azp", token->client_id,
                      sizeof(token->client_id));
    }

    aad_json_wipe(claims);

    return 0;
}


/*
 * The token goes into a header as it is: anything but RFC 6750's b64token
 * alphabet could become a second header, or a second request.
 */
static int
aad_token_accept(const cJSON *value, aad_token_t *token, aad_error_t *error)
{
    const char  *p;

    if (!cJSON_IsString(value) || value->valuestring[0] == '\0') {
        return aad_error(error, "the answer has no access token");
    }

    for (p = value->valuestring; *p != '\0'; p++) {
        if (!aad_is_unreserved(*p) && *p != '+' && *p != '/' && *p != '=') {
            return aad_error(error, "the answer's token has characters that "
                             "no token may have");
        }
    }

    if (aad_secret_append_text(&token->access_token, value->valuestring)
        != 0)
    {
        return aad_error(error, "the answer's token has %zu bytes, %d are the "
                         "most", strlen(value->valuestring),
                         AAD_TOKEN_BYTES_MAX);
    }

    return 0;
}


static int
aad_token_expiry(const cJSON *json, const aad_token_names_t *names,
    const cJSON *claims, aad_token_t *token, aad_error_t *error)
{
    int64_t  expires;

    /* relative first: it does not care whether two clocks agree */

    if (aad_json_integer(json, names->expires_in, &expires) == 0) {

        if (expires <= 0) {
            return aad_error(error, "the answer's token is valid for %lld s",
                             (long long) expires);
        }

        token->expires_on = token->received_on + expires;
        return 0;
    }

    if (aad_json_integer(json, names->expires_on, &token->expires_on) == 0
        || aad_json_date(json, names->expires_on, &token->expires_on) == 0
        || aad_json_integer(claims, "exp", &token->expires_on) == 0)
    {
        return 0;
    }

    return aad_error(error, "the answer does not say when its token expires");
}


/* The payload of a JWT, or NULL; it is shown, never trusted. */
static cJSON *
aad_token_claims(const aad_secret_t *token)
{
    cJSON         *claims;
    const char    *payload, *end;
    aad_secret_t   decoded;

    payload = strchr(token->data, '.');
    if (payload == NULL) {
        return NULL;
    }

    payload++;

    end = strchr(payload, '.');
    if (end == NULL) {
        return NULL;
    }

    claims = NULL;
    aad_secret_init(&decoded, AAD_TOKEN_BYTES_MAX);

    if (aad_base64url_decode(payload, end - payload, &decoded) == 0) {
        claims = cJSON_ParseWithOpts(decoded.data, NULL, 1);
    }

    aad_secret_wipe(&decoded);

    return claims;
}


/* A number, or a string of digits, as managed identity endpoints send it. */
static int
aad_json_integer(const cJSON *json, const char *name, int64_t *value)
{
    size_t        sign;
    const cJSON  *item;

    item = cJSON_GetObjectItemCaseSensitive(json, name);

    if (cJSON_IsNumber(item)) {
        return aad_json_number(json, name, value);
    }

    if (!cJSON_IsString(item) || strlen(item->valuestring) > 15) {
        return -1;
    }

    sign = item->valuestring[0] == '-';

    if (item->valuestring[sign] == '\0'
        || item->valuestring[sign + strspn(item->valuestring + sign,
                                           "0123456789")]
           != '\0')
    {
        return -1;
    }

    *value = strtoll(item->valuestring, NULL, 10);

    return 0;
}


static int
aad_json_date(const cJSON *json, const char *name, int64_t *seconds)
{
    return aad_date(aad_json_text(json, name), seconds);
}
