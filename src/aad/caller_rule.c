
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * One line of "aoai_aad_caller", read.
 */


#include "caller_rule.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>


#define AAD_CALLER_VALUE_BYTES_MAX  1024

/* of all the rules of a level, for their digest */
#define AAD_CALLER_RULES_BYTES_MAX  16777216


static int aad_caller_rule_audience(aad_caller_rule_t *rule,
    const char *value, aad_error_t *error);
static int aad_caller_rule_tenant(aad_caller_rule_t *rule, const char *value,
    aad_error_t *error);
static int aad_caller_rule_condition(aad_caller_rule_t *rule,
    const aad_caller_claim_t *claim, const char *value, aad_error_t *error);
static const aad_caller_claim_t *aad_caller_claim(const char *name,
    size_t length);
static int aad_caller_rule_print(const aad_caller_rule_t *rule,
    aad_secret_t *text);
static int aad_caller_rule_print_text(aad_secret_t *text, const char *value);


aad_caller_rule_t *
aad_caller_rule_create(void)
{
    return calloc(1, sizeof(aad_caller_rule_t));
}


int
aad_caller_rule_set_parameter(aad_caller_rule_t *rule, const char *parameter,
    aad_error_t *error)
{
    size_t                     length;
    const char                *value;
    const aad_caller_claim_t  *claim;

    length = strcspn(parameter, "=");

    if (parameter[length] == '\0') {
        return aad_error(error, "\"%s\" is no parameter, write "
                         "\"name=value\"", parameter);
    }

    value = parameter + length + 1;

    if (value[0] == '\0') {
        return aad_error(error, "\"%.*s\" is empty", (int) length, parameter);
    }

    if (strlen(value) > AAD_CALLER_VALUE_BYTES_MAX) {
        return aad_error(error, "\"%.*s\" is too long, %d bytes are the most",
                         (int) length, parameter, AAD_CALLER_VALUE_BYTES_MAX);
    }

    if (length == 8 && strncmp(parameter, "audience", length) == 0) {
        return aad_caller_rule_audience(rule, value, error);
    }

    if (length == 6 && strncmp(parameter, "tenant", length) == 0) {
        return aad_caller_rule_tenant(rule, value, error);
    }

    claim = aad_caller_claim(parameter, length);

    if (claim == NULL) {
        return aad_error(error, "there is no parameter \"%.*s\", it must be "
                         "one of: audience tenant roles groups scp appid azp "
                         "oid", (int) length, parameter);
    }

    return aad_caller_rule_condition(rule, claim, value, error);
}


int
aad_caller_rule_complete(const aad_caller_rule_t *rule, aad_error_t *error)
{
    if (rule->audience == NULL) {
        return aad_error(error, "\"audience=\" is missing: the app's client "
                         "id or \"api://...\", as the callers' tokens have it "
                         "in \"aud\"");
    }

    if (rule->tenant_id[0] == '\0') {
        return aad_error(error, "\"tenant=\" is missing: the GUID of the "
                         "callers' tenant");
    }

    return 0;
}


const char *
aad_caller_rule_tenant_id(const aad_caller_rule_t *rule)
{
    return rule->tenant_id;
}


void
aad_caller_rule_destroy(aad_caller_rule_t *rule)
{
    size_t  i;

    if (rule == NULL) {
        return;
    }

    for (i = 0; i < rule->conditions_count; i++) {
        free(rule->conditions[i].value);
    }

    free(rule->audience);
    free(rule);
}


int
aad_caller_rules_digest(const aad_caller_rule_t *const *rules, size_t count,
    unsigned char digest[AAD_DIGEST_BYTES])
{
    int           rc;
    size_t        i;
    aad_secret_t  text;

    rc = 0;
    aad_secret_init(&text, AAD_CALLER_RULES_BYTES_MAX);

    for (i = 0; i < count && rc == 0; i++) {
        rc = aad_caller_rule_print(rules[i], &text);
    }

    if (rc == 0
        && EVP_Digest(text.data, text.length, digest, NULL, EVP_sha256(),
                      NULL) != 1)
    {
        rc = -1;
    }

    aad_secret_wipe(&text);

    return rc;
}


static int
aad_caller_rule_audience(aad_caller_rule_t *rule, const char *value,
    aad_error_t *error)
{
    if (rule->audience != NULL) {
        return aad_error(error, "\"audience\" is given twice; for another one "
                         "write another \"aoai_aad_caller\" line");
    }

    if (!aad_is_visible(value)) {
        return aad_error(error, "\"audience=%s\" is wrong, it must be %s",
                         value, aad_form_visible.expected);
    }

    rule->audience = strdup(value);

    return rule->audience != NULL ? 0 : aad_error(error, "out of memory");
}


/*
 * A domain name could be turned into the tenant's GUID by its metadata; but it
 * may be given to another tenant one day, which would then be let in.
 */
static int
aad_caller_rule_tenant(aad_caller_rule_t *rule, const char *value,
    aad_error_t *error)
{
    size_t  i;

    if (rule->tenant_id[0] != '\0') {
        return aad_error(error, "\"tenant\" is given twice; for another one "
                         "write another \"aoai_aad_caller\" line");
    }

    if (!aad_is_guid(value)) {
        return aad_error(error, "\"tenant=%s\" is wrong, it must be the "
                         "tenant's GUID, which tokens have in \"tid\"%s",
                         value, aad_is_tenant(value)
                                ? "; the portal shows it, beside the domain "
                                  "name, as \"Tenant ID\"" : "");
    }

    for (i = 0; value[i] != '\0'; i++) {
        rule->tenant_id[i] = aad_lower_case(value[i]);
    }

    return 0;
}


static int
aad_caller_rule_condition(aad_caller_rule_t *rule,
    const aad_caller_claim_t *claim, const char *value, aad_error_t *error)
{
    size_t                   i;
    aad_caller_condition_t  *condition;

    if (!claim->form->valid(value)) {
        return aad_error(error, "\"%s=%s\" is wrong, it must be %s",
                         claim->name, value, claim->form->expected);
    }

    for (i = 0; claim->once && i < rule->conditions_count; i++) {

        if (rule->conditions[i].claim->holds == claim->holds) {
            return aad_error(error, "\"%s\" is given twice, or beside another "
                             "parameter that says the same, and a token has "
                             "one value of it: write another "
                             "\"aoai_aad_caller\" line for \"%s\"",
                             claim->name, value);
        }
    }

    if (rule->conditions_count == AAD_CALLER_CONDITIONS_MAX) {
        return aad_error(error, "there are more than %d conditions",
                         AAD_CALLER_CONDITIONS_MAX);
    }

    condition = &rule->conditions[rule->conditions_count];
    condition->claim = claim;
    condition->value = strdup(value);

    if (condition->value == NULL) {
        return aad_error(error, "out of memory");
    }

    rule->conditions_count++;

    return 0;
}


static const aad_caller_claim_t *
aad_caller_claim(const char *name, size_t length)
{
    const aad_caller_claim_t  *claim;

    for (claim = aad_caller_claims; claim->name != NULL; claim++) {
        if (strlen(claim->name) == length
            && strncmp(claim->name, name, length) == 0)
        {
            return claim;
        }
    }

    return NULL;
}


/* With every NUL, and an empty name at the end: no two lists are the same. */
static int
aad_caller_rule_print(const aad_caller_rule_t *rule, aad_secret_t *text)
{
    size_t  i;

    if (aad_caller_rule_print_text(text, rule->audience) != 0
        || aad_caller_rule_print_text(text, rule->tenant_id) != 0)
    {
        return -1;
    }

    for (i = 0; i < rule->conditions_count; i++) {

        if (aad_caller_rule_print_text(text, rule->conditions[i].claim->name)
            != 0
            || aad_caller_rule_print_text(text, rule->conditions[i].value)
               != 0)
        {
            return -1;
        }
    }

    return aad_caller_rule_print_text(text, "");
}


static int
aad_caller_rule_print_text(aad_secret_t *text, const char *value)
{
    return aad_secret_append(text, value, strlen(value) + 1);
}
