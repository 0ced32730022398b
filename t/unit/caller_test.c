
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * Which callers pass by their claims and a location's rules, and all that
 * does not: other tenants, issuers and audiences, JSON that can be read in two
 * ways.
 */


#include "callers.h"


#define GROUP           "77777777-abcd-4bcd-8bcd-777777777777"
#define OTHER_CLIENT    "88888888-abcd-4bcd-8bcd-888888888888"

#define LACKS       "the caller lacks a role, group or scope that is needed " \
                    "here"
#define CLAIMS      "the token's claims are malformed"
#define SIGNATURE   "the token's signature is wrong"

static void
test_a_users_token_of_v2_passes(void **state)
{
    unit_callers_t  *callers = *state;

    unit_assert_ok(callers, unit_claims(callers, UNIT_CLAIMS_WITH(
                  "\"scp\":\"user_impersonation\","
                  "\"preferred_username\":\"user@example.com\",")));

    assert_string_equal(callers->caller.object_id, UNIT_OBJECT);
    assert_string_equal(callers->caller.client_id, UNIT_CLIENT);
    assert_string_equal(callers->caller.tenant_id, UNIT_TENANT);
    assert_string_equal(callers->caller.name, "user@example.com");
    assert_int_equal(callers->caller.expires_on, 1700003600);
    assert_false(callers->caller.app_only);
}


static void
test_an_apps_token_of_v1_passes(void **state)
{
    unit_callers_t  *callers = *state;

    unit_assert_ok(callers, unit_claims(callers,
                  "{\"iss\":\"" UNIT_ISSUER_V1 "\",\"aud\":\"" UNIT_AUDIENCE
                  "\",\"tid\":\"" UNIT_TENANT "\",\"oid\":\"" UNIT_OBJECT
                  "\",\"appid\":\"" UNIT_CLIENT "\",\"exp\":1700003600,"
                  "\"nbf\":1700000000,\"idtyp\":\"app\","
                  "\"app_displayname\":\"Batch\"}"));

    assert_string_equal(callers->caller.client_id, UNIT_CLIENT);
    assert_string_equal(callers->caller.name, "Batch");
    assert_true(callers->caller.app_only);
}


static void
test_what_is_shown_of_a_caller_is_clean(void **state)
{
    unit_callers_t  *callers = *state;

    unit_assert_ok(callers, unit_claims(callers, UNIT_CLAIMS_WITH(
                  "\"name\":\"a\\r\\nX-Evil: 1\\u0007\xc3\xa4\",")));
    assert_string_equal(callers->caller.name, "a  X-Evil: 1???");
}


/* Signed as they should be: the tenant's keys may sign for others as well. */
static void
test_bad_claims_do_not_pass(void **state)
{
    size_t           i;
    unit_callers_t  *callers = *state;

    static const struct {
        const char  *claims;
        const char  *reason;
    } claims[] = {
        { "[]", CLAIMS },
        { "null", CLAIMS },
        { "{", CLAIMS },
        { UNIT_CLAIMS "{}", CLAIMS },
        { UNIT_CLAIMS_WITH("\"x\":\"\xc0\xaf\","), CLAIMS },
        { UNIT_CLAIMS_WITH("\"x\":\"\xed\xa0\x80\","), CLAIMS },
        { UNIT_CLAIMS_WITH("\"x\":\"\xe2\x82\","), CLAIMS },
        { UNIT_CLAIMS_WITH("\"x\":\"\\u0000\","), CLAIMS },
        { UNIT_CLAIMS_WITH("\"exp\":1,"), CLAIMS },
        { UNIT_CLAIMS_WITH("\"aud\":\"x\","), CLAIMS },
        { UNIT_CLAIMS_WITH("\"iss\":\"x\","), CLAIMS },
        { UNIT_CLAIMS_WITH("\"roles\":[],\"roles\":[\"Admin\"],"), CLAIMS },
        { UNIT_CLAIMS_WITH("\"r\\u006fles\":[],\"roles\":[\"Admin\"],"),
          CLAIMS },
        { UNIT_CLAIMS_WITH("\"nbf\":\"1700000000\","), CLAIMS },
        { UNIT_CLAIMS_WITH("\"appid\":\"" OTHER_CLIENT "\","), CLAIMS },

        { "{}", "the token does not say when it expires" },
        { "{\"exp\":\"1700003600\"}",
          "the token does not say when it expires" },
        { "{\"exp\":null}", "the token does not say when it expires" },
        { "{\"exp\":1e300}", "the token does not say when it expires" },
        { "{\"exp\":1e999}", "the token does not say when it expires" },
        { "{\"exp\":9223372036854775807}",
          "the token does not say when it expires" },
        { "{\"exp\":-1e300}", "the token does not say when it expires" },
        { "{\"exp\":-1}", "the token has expired" },
        { UNIT_CLAIMS_WITH("\"nbf\":1e300,"), CLAIMS },

        { "{\"iss\":\"" UNIT_ISSUER "\",\"aud\":\"" UNIT_AUDIENCE "\","
          "\"tid\":\"" UNIT_TENANT "\",\"exp\":1700003600,"
          "\"nonce\":\"of an ID token\"}", "the token is no access token" },
        { "{\"iss\":\"" UNIT_ISSUER "\",\"aud\":\"" UNIT_AUDIENCE "\","
          "\"tid\":\"" UNIT_OTHER_TENANT "\",\"exp\":1700003600,"
          "\"azp\":\"" UNIT_CLIENT "\"}", "the token is of another tenant" },
        { "{\"iss\":\"" UNIT_ISSUER "\",\"aud\":\"" UNIT_AUDIENCE "\","
          "\"exp\":1700003600,\"azp\":\"" UNIT_CLIENT "\"}",
          "the token is of another tenant" },
        { "{\"iss\":\"" UNIT_OTHER_ISSUER "\",\"aud\":\"" UNIT_AUDIENCE "\","
          "\"tid\":\"" UNIT_TENANT "\",\"exp\":1700003600,"
          "\"azp\":\"" UNIT_CLIENT "\"}", "the token has another issuer" },
        { "{\"iss\":\"" UNIT_ISSUER "/\",\"aud\":\"" UNIT_AUDIENCE "\","
          "\"tid\":\"" UNIT_TENANT "\",\"exp\":1700003600,"
          "\"azp\":\"" UNIT_CLIENT "\"}", "the token has another issuer" },
        { "{\"aud\":\"" UNIT_AUDIENCE "\","
          "\"tid\":\"" UNIT_TENANT "\",\"exp\":1700003600,"
          "\"azp\":\"" UNIT_CLIENT "\"}", "the token has another issuer" },
        { "{\"iss\":\"" UNIT_ISSUER "\",\"aud\":\"" UNIT_AUDIENCE "2\","
          "\"tid\":\"" UNIT_TENANT "\",\"exp\":1700003600,"
          "\"azp\":\"" UNIT_CLIENT "\"}",
          "the token is for another audience" },
        { "{\"iss\":\"" UNIT_ISSUER "\",\"aud\":{\"" UNIT_AUDIENCE "\":1},"
          "\"tid\":\"" UNIT_TENANT "\",\"exp\":1700003600,"
          "\"azp\":\"" UNIT_CLIENT "\"}",
          "the token is for another audience" },
        { "{\"iss\":\"" UNIT_ISSUER "\",\"aud\":[[\"" UNIT_AUDIENCE "\"]],"
          "\"tid\":\"" UNIT_TENANT "\",\"exp\":1700003600,"
          "\"azp\":\"" UNIT_CLIENT "\"}",
          "the token is for another audience" },
        { "{\"iss\":\"" UNIT_ISSUER "\",\"Aud\":\"" UNIT_AUDIENCE "\","
          "\"tid\":\"" UNIT_TENANT "\",\"exp\":1700003600,"
          "\"azp\":\"" UNIT_CLIENT "\"}",
          "the token is for another audience" }
    };

    for (i = 0; i < unit_count(claims); i++) {
        unit_assert_401(callers, unit_claims(callers, claims[i].claims),
                       claims[i].reason);
    }
}


static void
test_a_nul_in_the_claims_does_not_pass(void **state)
{
    unit_callers_t  *callers = *state;
    aad_secret_t     token;

    /* the array's own NUL is the claims' last byte */

    unit_token_begin(&token, UNIT_HEADER, UNIT_CLAIMS, sizeof(UNIT_CLAIMS));
    unit_token_sign(&token, unit_key(0), EVP_sha256(), 0);
    unit_assert_401(callers, unit_check(callers, &token), CLAIMS);
}


static void
test_an_audience_in_a_list_passes(void **state)
{
    unit_callers_t  *callers = *state;

    unit_assert_ok(callers, unit_claims(callers,
                  "{\"iss\":\"" UNIT_ISSUER "\",\"aud\":[\"x\",\""
                  UNIT_AUDIENCE "\"],\"tid\":\"" UNIT_TENANT "\","
                  "\"exp\":1700003600,\"azp\":\"" UNIT_CLIENT "\"}"));
}


static void
test_a_token_lives_until_a_minute_after_its_end(void **state)
{
    size_t           i;
    unit_callers_t  *callers = *state;

    static const struct {
        int64_t      now;
        const char  *reason;
    } times[] = {
        { 1699999939, "the token is not valid yet" },
        { 1699999940, "" },
        { 1700003659, "" },
        { 1700003660, "the token has expired" },
        { INT64_MAX - 60, "the token has expired" }
    };

    for (i = 0; i < unit_count(times); i++) {
        callers->now = times[i].now;
        unit_assert_result(callers, unit_claims(callers, UNIT_CLAIMS_WITH(
                          "\"nbf\":1700000000,")),
                      times[i].reason[0] ? AAD_CALLER_INVALID : AAD_CALLER_OK,
                      times[i].reason);
    }
}


static void
test_conditions(void **state)
{
    size_t           i;
    unit_callers_t  *callers = *state;

    static const struct {
        const char  *condition;
        const char  *claims;
        int          holds;
    } conditions[] = {
        { "roles=Chat", UNIT_CLAIMS_WITH("\"roles\":[\"x\",\"Chat\"],"), 1 },
        { "roles=Chat", UNIT_CLAIMS_WITH("\"roles\":[\"chat\"],"), 0 },
        { "roles=Chat", UNIT_CLAIMS_WITH("\"roles\":[\"Chat2\"],"), 0 },
        { "roles=Chat", UNIT_CLAIMS_WITH("\"roles\":\"Chat\","), 0 },
        { "roles=Chat", UNIT_CLAIMS_WITH("\"roles\":{\"Chat\":\"Chat\"},"),
          0 },
        { "roles=Chat", UNIT_CLAIMS_WITH("\"roles\":[[\"Chat\"]],"), 0 },
        { "roles=Chat", UNIT_CLAIMS_WITH("\"Roles\":[\"Chat\"],"), 0 },
        { "roles=Chat", UNIT_CLAIMS, 0 },
        { "groups=" GROUP, UNIT_CLAIMS_WITH("\"groups\":[\"" GROUP "\"],"),
          1 },
        { "groups=77777777-ABCD-4BCD-8BCD-777777777777",
          UNIT_CLAIMS_WITH("\"groups\":[\"" GROUP "\"],"), 1 },
        { "groups=Dev", UNIT_CLAIMS_WITH("\"groups\":[\"dev\"],"), 0 },
        { "groups=" GROUP, UNIT_CLAIMS, 0 },
        { "scp=chat", UNIT_CLAIMS_WITH("\"scp\":\"x chat y\","), 1 },
        { "scp=chat", UNIT_CLAIMS_WITH("\"scp\":\"chat\","), 1 },
        { "scp=chat", UNIT_CLAIMS_WITH("\"scp\":\"cha chats achat Chat\","),
          0 },
        { "scp=chat", UNIT_CLAIMS_WITH("\"scp\":[\"chat\"],"), 0 },
        { "scp=chat", UNIT_CLAIMS_WITH("\"roles\":[\"chat\"],"), 0 },
        { "appid=" UNIT_CLIENT, UNIT_CLAIMS, 1 },
        { "azp=" UNIT_CLIENT, UNIT_CLAIMS, 1 },
        { "azp=" OTHER_CLIENT, UNIT_CLAIMS, 0 },
        { "oid=" UNIT_OBJECT, UNIT_CLAIMS, 1 },
        { "oid=" UNIT_CLIENT, UNIT_CLAIMS, 0 }
    };

    for (i = 0; i < unit_count(conditions); i++) {
        unit_callers_rule(callers, conditions[i].condition);
        unit_assert_result(callers, unit_claims(callers, conditions[i].claims),
                      conditions[i].holds ? AAD_CALLER_OK
                                          : AAD_CALLER_INSUFFICIENT,
                      conditions[i].holds ? "" : LACKS);

        /* whoever it is that may not pass is known */

        assert_string_equal(callers->caller.object_id, UNIT_OBJECT);

        aad_caller_rule_destroy(callers->rules[0]);
        callers->rules_count = 0;
        callers->rules[0] = NULL;
    }
}


static void
test_conditions_of_a_line_must_all_hold(void **state)
{
    unit_callers_t  *callers = *state;

    callers->rules[callers->rules_count++] =
        unit_rule("audience=" UNIT_AUDIENCE, "tenant=" UNIT_TENANT,
                  "roles=a", "roles=b", "oid=" UNIT_OBJECT, NULL);

    unit_assert_ok(callers, unit_claims(callers, UNIT_CLAIMS_WITH(
                  "\"roles\":[\"b\",\"a\"],")));
    unit_assert_403(callers, unit_claims(callers, UNIT_CLAIMS_WITH(
                  "\"roles\":[\"a\"],")), LACKS);
    unit_assert_403(callers, unit_claims(callers, UNIT_CLAIMS_WITH(
                  "\"roles\":[\"b\"],")), LACKS);
}


static void
test_lines_are_alternatives(void **state)
{
    unit_callers_t  *callers = *state;

    callers->rules[callers->rules_count++] =
        unit_rule("audience=api://another", "tenant=" UNIT_TENANT, NULL);
    unit_callers_rule(callers, "roles=a");
    unit_callers_rule(callers, "roles=b");

    unit_assert_ok(callers, unit_claims(callers, UNIT_CLAIMS_WITH(
                  "\"roles\":[\"a\"],")));
    unit_assert_ok(callers, unit_claims(callers, UNIT_CLAIMS_WITH(
                  "\"roles\":[\"b\"],")));

    /* of two refusals, the one of the line that came closest */

    unit_assert_403(callers, unit_claims(callers, UNIT_CLAIMS), LACKS);
}


static void
test_group_overage_is_told(void **state)
{
    unit_callers_t  *callers = *state;

    static const char  reason[] = "the caller is in more groups than the "
                                  "token can list";

    unit_callers_rule(callers, "groups=" GROUP);

    unit_assert_403(callers, unit_claims(callers, UNIT_CLAIMS_WITH(
        "\"_claim_names\":{\"groups\":\"src1\"},"
        "\"_claim_sources\":{\"src1\":{\"endpoint\":"
        "\"http://127.0.0.1:9/\"}},")), reason);
    unit_assert_403(callers, unit_claims(callers, UNIT_CLAIMS_WITH(
        "\"hasgroups\":true,")), reason);
}


static void
test_tenants_have_keys_of_their_own(void **state)
{
    unit_callers_t  *callers = *state;
    aad_secret_t     token;

    static const char  claims[] =
        "{\"iss\":\"" UNIT_OTHER_ISSUER "\",\"aud\":\"" UNIT_AUDIENCE "\","
        "\"tid\":\"" UNIT_OTHER_TENANT "\",\"exp\":1700003600,"
        "\"azp\":\"" UNIT_CLIENT "\"}";

    unit_callers_rule(callers, NULL);
    callers->rules[callers->rules_count++] =
        unit_rule("audience=" UNIT_AUDIENCE, "tenant=" UNIT_OTHER_TENANT,
                  NULL);

    /* a set that is not there yet */

    callers->key_sets_count = 2;

    unit_assert_ok(callers, unit_claims(callers, UNIT_CLAIMS));
    unit_assert_result(callers, unit_claims(callers, claims),
                  AAD_CALLER_UNKNOWN_KEY, "the token's key is unknown");

    /* the same id, and another key */

    callers->key_sets[1] = unit_key_set(UNIT_OTHER_TENANT,
                                        "\"" UNIT_OTHER_ISSUER "\"", "first",
                                        unit_key(1));

    unit_assert_401(callers, unit_claims(callers, claims), SIGNATURE);

    unit_token(&token, UNIT_HEADER, UNIT_CLAIMS, unit_key(1));
    unit_assert_401(callers, unit_check(callers, &token), SIGNATURE);

    unit_token(&token, UNIT_HEADER, claims, unit_key(1));
    unit_assert_ok(callers, unit_check(callers, &token));
    assert_string_equal(callers->caller.tenant_id, UNIT_OTHER_TENANT);

    /* the same key, and another issuer */

    aad_key_set_destroy(callers->key_sets[1]);
    callers->key_sets[1] = unit_key_set(UNIT_OTHER_TENANT,
                                        "\"" UNIT_OTHER_ISSUER "\"", "first",
                                        unit_key(0));

    unit_assert_ok(callers, unit_claims(callers, claims));
    unit_assert_ok(callers, unit_claims(callers, UNIT_CLAIMS));
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        unit_caller_test(test_a_users_token_of_v2_passes),
        unit_caller_test(test_an_apps_token_of_v1_passes),
        unit_caller_test(test_what_is_shown_of_a_caller_is_clean),
        unit_caller_test(test_bad_claims_do_not_pass),
        unit_caller_test(test_a_nul_in_the_claims_does_not_pass),
        unit_caller_test(test_an_audience_in_a_list_passes),
        unit_caller_test(test_a_token_lives_until_a_minute_after_its_end),
        unit_caller_test(test_conditions),
        unit_caller_test(test_conditions_of_a_line_must_all_hold),
        unit_caller_test(test_lines_are_alternatives),
        unit_caller_test(test_group_overage_is_told),
        unit_caller_test(test_tenants_have_keys_of_their_own)
    };

    return cmocka_run_group_tests_name("caller", tests, NULL, NULL);
}
