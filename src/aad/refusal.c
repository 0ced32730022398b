
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * Whose fault it is that a caller cannot be acted for, which decides on what
 * the caller is answered.  The codes are of Microsoft's pages "Microsoft Entra
 * authentication and authorization error codes" and "On-Behalf-Of flow"; the
 * words of RFC 6749 5.2.
 */


#include "json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>


#define AAD_CLAIMS_JSON_BYTES_MAX   ((AAD_CLAIMS_BYTES - 4) / 4 * 3)


typedef struct {
    int                     code;           /* AADSTS... */
    aad_refusal_kind_t      kind;
    const char             *reason;         /* NULL: that of the kind */
} aad_refusal_code_t;

typedef struct {
    const char             *word;
    aad_refusal_kind_t      kind;
} aad_refusal_word_t;


static void aad_refusal_judge(aad_refusal_t *refusal, const cJSON *json,
    long status);
static int aad_refusal_judge_codes(aad_refusal_t *refusal,
    const cJSON *json);
static int aad_refusal_judge_code(aad_refusal_t *refusal, int code);
static aad_refusal_kind_t aad_refusal_of_word(const char *word);
static void aad_refusal_claims(aad_call_t *call, const cJSON *json);


#define AAD_REFUSAL_AUDIENCE    "the token is not for this gateway's app"
#define AAD_REFUSAL_EXPIRED     "the token has expired"
#define AAD_REFUSAL_ENDED       "the sign-in has ended: sign in again"
#define AAD_REFUSAL_ACCOUNT     "the account cannot sign in any more"
#define AAD_REFUSAL_CONSENT     "consent is missing: the user or an "         \
                                "administrator has to grant it"
#define AAD_REFUSAL_STRONGER    "the user has to sign in again, in a "        \
                                "stronger way"


static const aad_refusal_code_t  aad_refusal_codes[] = {

    { 90033, AAD_REFUSAL_UNAVAILABLE, NULL },
    { 90006, AAD_REFUSAL_UNAVAILABLE, NULL },
    { 90024, AAD_REFUSAL_UNAVAILABLE, NULL },
    { 90055, AAD_REFUSAL_UNAVAILABLE, NULL },
    { 50196, AAD_REFUSAL_UNAVAILABLE, NULL },

    { 7000114, AAD_REFUSAL_FORBIDDEN, "the token is an app's own: there is "
                                      "no user to act for" },
    { 50105, AAD_REFUSAL_FORBIDDEN, "the user is not assigned to the "
                                    "gateway's app" },

    { 65001, AAD_REFUSAL_INTERACTION, AAD_REFUSAL_CONSENT },
    { 65004, AAD_REFUSAL_INTERACTION, AAD_REFUSAL_CONSENT },
    { 90094, AAD_REFUSAL_INTERACTION, AAD_REFUSAL_CONSENT },
    { 50072, AAD_REFUSAL_INTERACTION, AAD_REFUSAL_STRONGER },
    { 50074, AAD_REFUSAL_INTERACTION, AAD_REFUSAL_STRONGER },
    { 50076, AAD_REFUSAL_INTERACTION, AAD_REFUSAL_STRONGER },
    { 50079, AAD_REFUSAL_INTERACTION, AAD_REFUSAL_STRONGER },
    { 50158, AAD_REFUSAL_INTERACTION, AAD_REFUSAL_STRONGER },
    { 53003, AAD_REFUSAL_INTERACTION, "a Conditional Access policy forbids "
                                      "it" },

    { 500133, AAD_REFUSAL_TOKEN, AAD_REFUSAL_EXPIRED },
    { 50013, AAD_REFUSAL_TOKEN, AAD_REFUSAL_AUDIENCE },
    { 500131, AAD_REFUSAL_TOKEN, AAD_REFUSAL_AUDIENCE },
    { 50027, AAD_REFUSAL_TOKEN, NULL },
    { 5002723, AAD_REFUSAL_TOKEN, NULL },
    { 50034, AAD_REFUSAL_TOKEN, AAD_REFUSAL_ACCOUNT },
    { 500341, AAD_REFUSAL_TOKEN, AAD_REFUSAL_ACCOUNT },
    { 50053, AAD_REFUSAL_TOKEN, AAD_REFUSAL_ACCOUNT },
    { 50057, AAD_REFUSAL_TOKEN, AAD_REFUSAL_ACCOUNT },
    { 50132, AAD_REFUSAL_TOKEN, AAD_REFUSAL_ENDED },
    { 50133, AAD_REFUSAL_TOKEN, AAD_REFUSAL_ENDED },
    { 50173, AAD_REFUSAL_TOKEN, AAD_REFUSAL_ENDED },
    { 70043, AAD_REFUSAL_TOKEN, AAD_REFUSAL_ENDED },
    { 700082, AAD_REFUSAL_TOKEN, AAD_REFUSAL_ENDED },

    { 0, AAD_REFUSAL_NONE, NULL }
};


static const aad_refusal_word_t  aad_refusal_words[] = {
    { "interaction_required", AAD_REFUSAL_INTERACTION },
    { "consent_required", AAD_REFUSAL_INTERACTION },
    { "login_required", AAD_REFUSAL_INTERACTION },
    { "invalid_grant", AAD_REFUSAL_TOKEN },
    { "temporarily_unavailable", AAD_REFUSAL_UNAVAILABLE },
    { "server_error", AAD_REFUSAL_UNAVAILABLE },
    { NULL, AAD_REFUSAL_NONE }
};


void
aad_refusal_set(aad_refusal_t *refusal, aad_refusal_kind_t kind)
{
    static const char *const  reasons[] = {
        "",
        "Microsoft Entra ID does not take the token: get a new one",
        AAD_REFUSAL_STRONGER,
        "Microsoft Entra ID gives no token on behalf of this caller",
        "Microsoft Entra ID is not available at present",
        "the gateway cannot act on behalf of its callers at present"
    };

    refusal->kind = kind;
    refusal->reason = reasons[kind];
}


void
aad_refusal_read(aad_call_t *call, const aad_http_response_t *response)
{
    cJSON          *json;
    aad_refusal_t  *refusal;

    refusal = call->refusal;

    refusal->retry_after = call->attempt->retry_after;
    snprintf(refusal->code, sizeof(refusal->code), "%s", call->attempt->code);

    json = aad_json_strict(&response->body);

    aad_refusal_judge(refusal, json, response->status);

    if (refusal->kind == AAD_REFUSAL_TOKEN
        || refusal->kind == AAD_REFUSAL_INTERACTION)
    {
        aad_refusal_claims(call, json);
    }

    aad_json_wipe(json);
}


/*
 * That Entra ID is down, and that it does not know this app, is true whatever
 * else is said; then the number says more than the word.
 */
static void
aad_refusal_judge(aad_refusal_t *refusal, const cJSON *json, long status)
{
    const char          *word;
    aad_refusal_kind_t   kind;

    if (json == NULL || status == 408 || status == 429 || status >= 500) {
        aad_refusal_set(refusal, AAD_REFUSAL_UNAVAILABLE);
        return;
    }

    word = aad_json_text(json, "error");

    if (strcmp(word, "invalid_client") == 0
        || strcmp(word, "unauthorized_client") == 0)
    {
        aad_refusal_set(refusal, AAD_REFUSAL_CREDENTIAL);
        return;
    }

    if (aad_refusal_judge_codes(refusal, json)) {
        return;
    }

    /* "suberror" is what MSAL goes by, where the word is "invalid_grant" */

    kind = aad_refusal_of_word(aad_json_text(json, "suberror"));

    if (kind == AAD_REFUSAL_NONE) {
        kind = aad_refusal_of_word(word);
    }

    /* a scope or a parameter that is wrong is the configuration's */

    aad_refusal_set(refusal, kind != AAD_REFUSAL_NONE
                             ? kind : AAD_REFUSAL_CREDENTIAL);
}


/* Returns true when one of the codes is known. */
static int
aad_refusal_judge_codes(aad_refusal_t *refusal, const cJSON *json)
{
    const char   *words;
    const cJSON  *number;

    cJSON_ArrayForEach(number, cJSON_GetObjectItemCaseSensitive(json,
                                                             "error_codes"))
    {
        if (cJSON_IsNumber(number)
            && aad_refusal_judge_code(refusal, number->valueint))
        {
            return 1;
        }
    }

    words = aad_json_text(json, "error_description");

    return strncmp(words, "AADSTS", 6) == 0
           && aad_refusal_judge_code(refusal, atoi(words + 6));
}


static int
aad_refusal_judge_code(aad_refusal_t *refusal, int code)
{
    const aad_refusal_code_t  *c;

    for (c = aad_refusal_codes; c->code != 0; c++) {

        if (c->code != code) {
            continue;
        }

        aad_refusal_set(refusal, c->kind);

        if (c->reason != NULL) {
            refusal->reason = c->reason;
        }

        return 1;
    }

    return 0;
}


static aad_refusal_kind_t
aad_refusal_of_word(const char *word)
{
    const aad_refusal_word_t  *w;

    for (w = aad_refusal_words; w->word != NULL; w++) {
        if (strcmp(w->word, word) == 0) {
            return w->kind;
        }
    }

    return AAD_REFUSAL_NONE;
}


/*
 * "Claims challenges, claims requests and client capabilities": what the
 * caller has to ask for the next time is a string, JSON in itself, and passed
 * on in base64.  What is no such thing, or too long, is left out: the caller
 * is told to sign in again all the same.
 */
static void
aad_refusal_claims(aad_call_t *call, const cJSON *json)
{
    cJSON          *parsed;
    const char     *claims;
    aad_secret_t    text, encoded;

    claims = aad_json_text(json, "claims");

    if (claims[0] == '\0' || aad_call_repeats_secret(call, claims)) {
        return;
    }

    parsed = NULL;
    aad_secret_init(&text, AAD_CLAIMS_JSON_BYTES_MAX);
    aad_secret_init(&encoded, AAD_CLAIMS_BYTES - 1);

    if (aad_secret_append_text(&text, claims) == 0) {
        parsed = aad_json_strict(&text);
    }

    if (parsed != NULL
        && aad_base64_append(&encoded, (unsigned char *) claims, text.length)
           == 0)
    {
        memcpy(call->refusal->claims, encoded.data, encoded.length + 1);

        /* with them there is a way to a token that will be taken */

        call->refusal->kind = AAD_REFUSAL_INTERACTION;
    }

    aad_json_wipe(parsed);
    aad_secret_wipe(&text);
    aad_secret_wipe(&encoded);
}
