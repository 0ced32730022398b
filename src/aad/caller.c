
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * Whether a caller may pass: signature, then claims, then rules.
 */


#include "caller_rule.h"
#include "key_set.h"

#include <string.h>
#include <strings.h>


/* One token under a location's rules. */
typedef struct {
    const aad_caller_rule_t *const  *rules;
    size_t                           rules_count;
    const aad_key_set_t *const      *key_sets;
    size_t                           key_sets_count;
    int64_t                          now;   /* Unix seconds */
    aad_jwt_t                        jwt;
    const aad_key_t                 *key;   /* that has signed it */
    const cJSON                     *claims;
} aad_caller_check_t;

/* How far the token came with a rule; the further, the more it says. */
typedef enum {
    AAD_CALLER_AT_TENANT = 0,
    AAD_CALLER_AT_KEY,
    AAD_CALLER_AT_ISSUER,
    AAD_CALLER_AT_AUDIENCE,
    AAD_CALLER_AT_CONDITION,
    AAD_CALLER_PASSED
} aad_caller_stage_t;

typedef struct {
    aad_caller_stage_t      stage;
    aad_caller_result_t     result;
    const char             *reason;
} aad_caller_verdict_t;


static aad_caller_result_t aad_caller_key(aad_caller_check_t *check,
    const char **reason);
static aad_caller_result_t aad_caller_claims_check(aad_caller_check_t *check,
    aad_caller_t *caller, const char **reason);
static const char *aad_caller_life(const aad_caller_check_t *check);
static const char *aad_caller_who(const cJSON *claims);
static aad_caller_result_t aad_caller_rules(const aad_caller_check_t *check,
    const char **reason);
static aad_caller_verdict_t aad_caller_rule(const aad_caller_check_t *check,
    const aad_caller_rule_t *rule);
static aad_caller_verdict_t aad_caller_at(aad_caller_stage_t stage,
    aad_caller_result_t result, const char *reason);
static const aad_key_set_t *aad_caller_key_set(
    const aad_caller_check_t *check, const char *tenant_id);
static int aad_caller_is_audience(const cJSON *claims, const char *audience);
static const char *aad_caller_conditions(const cJSON *claims,
    const aad_caller_rule_t *rule);
static int aad_caller_has_too_many_groups(const cJSON *claims);
static void aad_caller_fill(const cJSON *claims, aad_caller_t *caller);


aad_caller_result_t
aad_caller_check(const char *token, size_t length,
    const aad_caller_rule_t *const *rules, size_t rules_count,
    const aad_key_set_t *const *key_sets, size_t key_sets_count, int64_t now,
    aad_caller_t *caller, const char **reason)
{
    cJSON                *claims;
    aad_caller_check_t    check;
    aad_caller_result_t   result;

    memset(caller, 0, sizeof(aad_caller_t));
    memset(&check, 0, sizeof(aad_caller_check_t));

    check.rules = rules;
    check.rules_count = rules_count;
    check.key_sets = key_sets;
    check.key_sets_count = key_sets_count;
    check.now = now;

    *reason = aad_jwt_read(token, length, &check.jwt);

    if (*reason != NULL) {
        return AAD_CALLER_INVALID;
    }

    result = aad_caller_key(&check, reason);

    if (result != AAD_CALLER_OK) {
        return result;
    }

    claims = aad_jwt_claims(&check.jwt);

    if (claims == NULL) {
        *reason = "the token's claims are malformed";
        return AAD_CALLER_INVALID;
    }

    check.claims = claims;

    result = aad_caller_claims_check(&check, caller, reason);

    cJSON_Delete(claims);

    return result;
}


int
aad_caller_expires_on(const char *token, size_t length, int64_t *expires_on)
{
    int         rc;
    cJSON      *claims;
    aad_jwt_t   jwt;

    if (length > AAD_TOKEN_BYTES_MAX
        || aad_jwt_split(token, length, &jwt) != 0)
    {
        return -1;
    }

    claims = aad_jwt_claims(&jwt);

    rc = aad_json_number(claims, "exp", expires_on);

    cJSON_Delete(claims);

    return rc;
}


/*
 * Finds the key that has signed the token.  Tenants of one cloud publish the
 * same keys: a key that was tried for one of them is not tried for the next.
 */
static aad_caller_result_t
aad_caller_key(aad_caller_check_t *check, const char **reason)
{
    int               lacks;
    size_t            i;
    const aad_key_t  *key, *tried;

    lacks = 0;
    tried = NULL;

    for (i = 0; i < check->key_sets_count; i++) {

        key = check->key_sets[i] != NULL
              ? aad_key_set_find(check->key_sets[i], check->jwt.key_id)
              : NULL;

        if (key == NULL) {
            lacks = 1;
            continue;
        }

        if (tried != NULL
            && memcmp(tried->digest, key->digest, AAD_DIGEST_BYTES) == 0)
        {
            continue;
        }

        tried = key;

        if (aad_jwt_is_signed(&check->jwt, key->key)) {
            check->key = key;
            return AAD_CALLER_OK;
        }
    }

    if (lacks) {
        *reason = "the token's key is unknown";
        return AAD_CALLER_UNKNOWN_KEY;
    }

    *reason = "the token's signature is wrong";

    return AAD_CALLER_INVALID;
}


static aad_caller_result_t
aad_caller_claims_check(aad_caller_check_t *check, aad_caller_t *caller,
    const char **reason)
{
    aad_caller_result_t  result;

    *reason = aad_caller_life(check);

    if (*reason == NULL) {
        *reason = aad_caller_who(check->claims);
    }

    if (*reason != NULL) {
        return AAD_CALLER_INVALID;
    }

    result = aad_caller_rules(check, reason);

    if (result == AAD_CALLER_OK || result == AAD_CALLER_INSUFFICIENT) {
        aad_caller_fill(check->claims, caller);
    }

    return result;
}


/* RFC 7519 4.1.4 and 4.1.5 */
static const char *
aad_caller_life(const aad_caller_check_t *check)
{
    int64_t  time;

    if (aad_json_number(check->claims, "exp", &time) != 0) {
        return "the token does not say when it expires";
    }

    if (time <= check->now - AAD_CALLER_LEEWAY_S) {
        return "the token has expired";
    }

    if (cJSON_GetObjectItemCaseSensitive(check->claims, "nbf") == NULL) {
        return NULL;
    }

    if (aad_json_number(check->claims, "nbf", &time) != 0) {
        return "the token's claims are malformed";
    }

    return time > check->now + AAD_CALLER_LEEWAY_S
           ? "the token is not valid yet" : NULL;
}


/*
 * An ID token has the same issuer, keys and, as the app's client id, the same
 * audience; but no app has asked for it, and it opens no door: RFC 8725 3.12.
 */
static const char *
aad_caller_who(const cJSON *claims)
{
    const char  *appid, *azp;

    appid = aad_json_text(claims, "appid");
    azp = aad_json_text(claims, "azp");

    if (appid[0] == '\0' && azp[0] == '\0') {
        return "the token is no access token";
    }

    return appid[0] != '\0' && azp[0] != '\0' && strcasecmp(appid, azp) != 0
           ? "the token's claims are malformed" : NULL;
}


static aad_caller_result_t
aad_caller_rules(const aad_caller_check_t *check, const char **reason)
{
    size_t                i;
    aad_caller_verdict_t  best, verdict;

    best = aad_caller_at(AAD_CALLER_AT_TENANT, AAD_CALLER_INVALID,
                         "the token is of another tenant");

    for (i = 0; i < check->rules_count; i++) {

        verdict = aad_caller_rule(check, check->rules[i]);

        if (verdict.stage > best.stage) {
            best = verdict;
        }

        if (best.stage == AAD_CALLER_PASSED) {
            break;
        }
    }

    *reason = best.reason;

    return best.result;
}


static aad_caller_verdict_t
aad_caller_rule(const aad_caller_check_t *check,
    const aad_caller_rule_t *rule)
{
    const char           *reason;
    const aad_key_t      *key;
    const aad_key_set_t  *key_set;

    if (strcasecmp(aad_json_text(check->claims, "tid"), rule->tenant_id)
        != 0)
    {
        return aad_caller_at(AAD_CALLER_AT_TENANT, AAD_CALLER_INVALID,
                             "the token is of another tenant");
    }

    key_set = aad_caller_key_set(check, rule->tenant_id);
    key = key_set != NULL ? aad_key_set_find(key_set, check->jwt.key_id)
                          : NULL;

    if (key == NULL) {
        return aad_caller_at(AAD_CALLER_AT_KEY, AAD_CALLER_UNKNOWN_KEY,
                             "the token's key is unknown");
    }

    if (memcmp(key->digest, check->key->digest, AAD_DIGEST_BYTES) != 0) {
        return aad_caller_at(AAD_CALLER_AT_KEY, AAD_CALLER_INVALID,
                             "the token's signature is wrong");
    }

    if (!aad_key_set_has_issuer(key_set,
                                aad_json_text(check->claims, "iss")))
    {
        return aad_caller_at(AAD_CALLER_AT_ISSUER, AAD_CALLER_INVALID,
                             "the token has another issuer");
    }

    if (!aad_caller_is_audience(check->claims, rule->audience)) {
        return aad_caller_at(AAD_CALLER_AT_AUDIENCE, AAD_CALLER_INVALID,
                             "the token is for another audience");
    }

    reason = aad_caller_conditions(check->claims, rule);

    return reason != NULL
           ? aad_caller_at(AAD_CALLER_AT_CONDITION, AAD_CALLER_INSUFFICIENT,
                           reason)
           : aad_caller_at(AAD_CALLER_PASSED, AAD_CALLER_OK, "");
}


static aad_caller_verdict_t
aad_caller_at(aad_caller_stage_t stage, aad_caller_result_t result,
    const char *reason)
{
    aad_caller_verdict_t  verdict;

    verdict.stage = stage;
    verdict.result = result;
    verdict.reason = reason;

    return verdict;
}


static const aad_key_set_t *
aad_caller_key_set(const aad_caller_check_t *check, const char *tenant_id)
{
    size_t  i;

    for (i = 0; i < check->key_sets_count; i++) {
        if (check->key_sets[i] != NULL
            && strcmp(check->key_sets[i]->tenant_id, tenant_id) == 0)
        {
            return check->key_sets[i];
        }
    }

    return NULL;
}


/* RFC 7519 4.1.3: one, or a list of them */
static int
aad_caller_is_audience(const cJSON *claims, const char *audience)
{
    const cJSON  *aud, *item;

    aud = cJSON_GetObjectItemCaseSensitive(claims, "aud");

    if (cJSON_IsString(aud)) {
        return strcmp(aud->valuestring, audience) == 0;
    }

    if (!cJSON_IsArray(aud)) {
        return 0;
    }

    cJSON_ArrayForEach(item, aud) {
        if (cJSON_IsString(item)
            && strcmp(item->valuestring, audience) == 0)
        {
            return 1;
        }
    }

    return 0;
}


/* Returns NULL when all of them hold. */
static const char *
aad_caller_conditions(const cJSON *claims, const aad_caller_rule_t *rule)
{
    size_t                         i;
    const aad_caller_condition_t  *condition;

    for (i = 0; i < rule->conditions_count; i++) {

        condition = &rule->conditions[i];

        if (condition->claim->holds(claims, condition->value)) {
            continue;
        }

        if (strcmp(condition->claim->name, "groups") == 0
            && aad_caller_has_too_many_groups(claims))
        {
            return "the caller is in more groups than the token can list";
        }

        return "the caller lacks a role, group or scope that is needed here";
    }

    return NULL;
}


/*
 * "Configure group claims for applications": above 200 groups, or 150, there
 * is a place to ask for them in their stead.
 */
static int
aad_caller_has_too_many_groups(const cJSON *claims)
{
    const cJSON  *names;

    names = cJSON_GetObjectItemCaseSensitive(claims, "_claim_names");

    return cJSON_GetObjectItemCaseSensitive(names, "groups") != NULL
           || cJSON_GetObjectItemCaseSensitive(claims, "hasgroups") != NULL;
}


static void
aad_caller_fill(const cJSON *claims, aad_caller_t *caller)
{
    size_t  i;

    static const char *const  names[] = {
        "preferred_username", "upn", "unique_name", "name", "app_displayname"
    };

    aad_json_copy(claims, "oid", caller->object_id,
                  sizeof(caller->object_id));
    aad_json_copy(claims, "tid", caller->tenant_id,
                  sizeof(caller->tenant_id));
    aad_text_clean(caller->client_id, sizeof(caller->client_id),
                   aad_caller_client_id(claims));

    for (i = 0; i < sizeof(names) / sizeof(names[0])
                && caller->name[0] == '\0'; i++)
    {
        aad_json_copy(claims, names[i], caller->name, sizeof(caller->name));
    }

    (void) aad_json_number(claims, "exp", &caller->expires_on);

    /* "idtyp" is optional; what no scope was given for nobody has asked for */

    caller->app_only = strcmp(aad_json_text(claims, "idtyp"), "app") == 0
                       || aad_json_text(claims, "scp")[0] == '\0';
}
