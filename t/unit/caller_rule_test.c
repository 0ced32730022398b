
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * The parameters of "aoai_aad_caller": what each must look like, what is said
 * where it does not, and the digest that tells one list of rules from another.
 */


#include "callers.h"

#include "caller_rule.h"


static void
test_wrong_parameters_name_the_mend(void **state)
{
    size_t              i;
    aad_error_t         error;
    aad_caller_rule_t  *rule;

    static const struct {
        const char  *parameter;
        const char  *complaint;
    } parameters[] = {
        { "audience", "\"audience\" is no parameter, write \"name=value\"" },
        { "audience=", "\"audience\" is empty" },
        { "audience=a b", "\"audience=a b\" is wrong, it must be made of "
                          "visible characters" },
        { "tenant=common", "\"tenant=common\" is wrong, it must be the "
                           "tenant's GUID, which tokens have in \"tid\"" },
        { "tenant=contoso.com", "\"tenant=contoso.com\" is wrong, it must be "
                                "the tenant's GUID, which tokens have in "
                                "\"tid\"; the portal shows it, beside the "
                                "domain name, as \"Tenant ID\"" },
        { "role=x", "there is no parameter \"role\", it must be one of: "
                    "audience tenant roles groups scp appid azp oid" },
        { "=x", "there is no parameter \"\", it must be one of: audience "
                "tenant roles groups scp appid azp oid" },
        { "scp=a b", "\"scp=a b\" is wrong, it must be made of visible "
                     "characters" },
        { "appid=app", "\"appid=app\" is wrong, it must be a GUID" },
        { "azp=app", "\"azp=app\" is wrong, it must be a GUID" },
        { "oid=me", "\"oid=me\" is wrong, it must be a GUID" }
    };

    (void) state;

    for (i = 0; i < unit_count(parameters); i++) {
        rule = aad_caller_rule_create();
        assert_int_equal(aad_caller_rule_set_parameter(rule,
                             parameters[i].parameter, &error), -1);
        assert_string_equal(error.text, parameters[i].complaint);
        aad_caller_rule_destroy(rule);
    }
}


static void
test_what_a_token_has_once_may_be_asked_for_once(void **state)
{
    size_t              i;
    aad_error_t         error;
    aad_caller_rule_t  *rule;

    static const char *const  pairs[][2] = {
        { "audience=a", "audience=b" },
        { "tenant=" UNIT_TENANT, "tenant=" UNIT_TENANT },
        { "appid=" UNIT_CLIENT, "appid=" UNIT_OBJECT },
        { "appid=" UNIT_CLIENT, "azp=" UNIT_CLIENT },
        { "oid=" UNIT_OBJECT, "oid=" UNIT_CLIENT }
    };

    (void) state;

    for (i = 0; i < unit_count(pairs); i++) {
        rule = aad_caller_rule_create();
        assert_int_equal(aad_caller_rule_set_parameter(rule, pairs[i][0],
                                                       &error), 0);
        assert_int_equal(aad_caller_rule_set_parameter(rule, pairs[i][1],
                                                       &error), -1);
        unit_assert_contains(error.text, "is given twice");
        unit_assert_contains(error.text,
                             "write another \"aoai_aad_caller\" line");
        aad_caller_rule_destroy(rule);
    }
}


static void
test_audience_and_tenant_are_needed(void **state)
{
    aad_error_t         error;
    aad_caller_rule_t  *rule;

    (void) state;

    rule = aad_caller_rule_create();

    assert_int_equal(aad_caller_rule_complete(rule, &error), -1);
    unit_assert_contains(error.text, "\"audience=\" is missing");

    assert_int_equal(aad_caller_rule_set_parameter(rule, "audience=a",
                                                   &error), 0);
    assert_int_equal(aad_caller_rule_complete(rule, &error), -1);
    unit_assert_contains(error.text, "\"tenant=\" is missing");

    assert_int_equal(aad_caller_rule_set_parameter(rule,
                         "tenant=ABCDEF12-AAAA-4AAA-8AAA-ABCDEFABCDEF",
                         &error), 0);
    assert_int_equal(aad_caller_rule_complete(rule, &error), 0);
    assert_string_equal(aad_caller_rule_tenant_id(rule),
                        "abcdef12-aaaa-4aaa-8aaa-abcdefabcdef");

    aad_caller_rule_destroy(rule);
    aad_caller_rule_destroy(NULL);
}


static void
test_conditions_are_limited(void **state)
{
    size_t              i;
    char                text[2048];
    aad_error_t         error;
    aad_caller_rule_t  *rule;

    (void) state;

    rule = aad_caller_rule_create();

    for (i = 0; i < AAD_CALLER_CONDITIONS_MAX; i++) {
        snprintf(text, sizeof(text), "roles=%zu", i);
        assert_int_equal(aad_caller_rule_set_parameter(rule, text, &error),
                         0);
    }

    assert_int_equal(aad_caller_rule_set_parameter(rule, "roles=x", &error),
                     -1);
    assert_string_equal(error.text, "there are more than 32 conditions");

    snprintf(text, sizeof(text), "groups=%01500d", 1);
    assert_int_equal(aad_caller_rule_set_parameter(rule, text, &error), -1);
    assert_string_equal(error.text,
                        "\"groups\" is too long, 1024 bytes are the most");

    aad_caller_rule_destroy(rule);
}


static void
test_other_rules_have_another_digest(void **state)
{
    size_t              i, j;
    unsigned char       digests[8][AAD_DIGEST_BYTES];
    aad_caller_rule_t  *rules[8];

    static const char *const  conditions[] = {
        NULL, "roles=a", "groups=a", "scp=a", "roles=ab",
        "oid=" UNIT_OBJECT, "azp=" UNIT_OBJECT, "appid=" UNIT_OBJECT
    };

    (void) state;

    for (i = 0; i < unit_count(conditions); i++) {
        rules[i] = unit_rule("audience=a", "tenant=" UNIT_TENANT,
                             conditions[i], NULL);

        assert_int_equal(aad_caller_rules_digest(
                             (const aad_caller_rule_t *const *) &rules[i], 1,
                             digests[i]), 0);

        for (j = 0; j < i; j++) {
            assert_memory_not_equal(digests[i], digests[j],
                                    AAD_DIGEST_BYTES);
        }
    }

    /* a list of two is neither of them, nor its reverse */

    assert_int_equal(aad_caller_rules_digest(
                         (const aad_caller_rule_t *const *) rules, 2,
                         digests[2]), 0);
    assert_memory_not_equal(digests[2], digests[0], AAD_DIGEST_BYTES);
    assert_memory_not_equal(digests[2], digests[1], AAD_DIGEST_BYTES);

    /* where one value ends and the next begins is a part of it */

    aad_caller_rule_destroy(rules[6]);
    rules[6] = unit_rule("audience=a", "tenant=" UNIT_TENANT, "roles=a",
                         "roles=b", NULL);
    aad_caller_rule_destroy(rules[7]);
    rules[7] = unit_rule("audience=a", "tenant=" UNIT_TENANT,
                         "roles=arolesb", NULL);

    for (i = 6; i < 8; i++) {
        assert_int_equal(aad_caller_rules_digest(
                             (const aad_caller_rule_t *const *) &rules[i], 1,
                             digests[i]), 0);
    }

    assert_memory_not_equal(digests[6], digests[7], AAD_DIGEST_BYTES);

    /* and equal ones are equal, wherever they are */

    aad_caller_rule_destroy(rules[7]);
    rules[7] = unit_rule("tenant=" UNIT_TENANT, "audience=a", NULL);

    assert_int_equal(aad_caller_rules_digest(
                         (const aad_caller_rule_t *const *) &rules[7], 1,
                         digests[7]), 0);
    assert_memory_equal(digests[7], digests[0], AAD_DIGEST_BYTES);

    for (i = 0; i < unit_count(conditions); i++) {
        aad_caller_rule_destroy(rules[i]);
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_wrong_parameters_name_the_mend),
        cmocka_unit_test(test_what_a_token_has_once_may_be_asked_for_once),
        cmocka_unit_test(test_audience_and_tenant_are_needed),
        cmocka_unit_test(test_conditions_are_limited),
        cmocka_unit_test(test_other_rules_have_another_digest)
    };

    return cmocka_run_group_tests_name("caller rule", tests, NULL, NULL);
}
