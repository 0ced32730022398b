
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * A tenant's keys: the two documents that name them, what of the keys is
 * taken, and what is said where there is none.
 */


#include "callers.h"


#define V2_TARGET   "GET /" UNIT_TENANT                                       \
                    "/v2.0/.well-known/openid-configuration HTTP/1.1"
#define V1_TARGET   "GET /" UNIT_TENANT                                       \
                    "/.well-known/openid-configuration HTTP/1.1"


static void
metadata(unit_identity_t *identity, const char *issuer, const char *path)
{
    char  body[1024];

    snprintf(body, sizeof(body), "{\"issuer\":\"%s\",\"jwks_uri\":\"%s%s\"}",
             issuer, identity->authority.url, path);
    unit_server_answer(&identity->authority, 200, "", body);
}


/* both documents as they should be, whose keys follow */
static void
good_metadata(unit_identity_t *identity)
{
    metadata(identity, UNIT_ISSUER, "/keys2");
    metadata(identity, UNIT_ISSUER_V1, "/keys1");
}


/* answers with keys; takes and wipes them */
static void
keys(unit_identity_t *identity, aad_secret_t *list)
{
    aad_secret_t  body;

    aad_secret_init(&body, 1048576);
    aad_secret_append_text(&body, "{\"keys\":[");
    aad_secret_append_text(&body, list->data);
    aad_secret_append_text(&body, "]}");
    unit_server_answer(&identity->authority, 200, "", body.data);
    aad_secret_wipe(&body);
    aad_secret_wipe(list);
}


static void
one_key(unit_identity_t *identity, const char *id, size_t n)
{
    aad_secret_t  list;

    aad_secret_init(&list, 65536);
    unit_jwk(&list, id, unit_key(n), "\"kty\":\"RSA\",\"use\":\"sig\",");
    keys(identity, &list);
}


static aad_result_t
fetch(unit_identity_t *identity, aad_secret_t *document)
{
    aad_settings_t  settings;

    /* no more than the contract asks for */

    memset(&settings, 0, sizeof(aad_settings_t));
    settings.authority_host = identity->settings.authority_host;

    return aad_get_key_set(&settings, &identity->hooks, UNIT_TIMEOUT_MS,
                           UNIT_TENANT, document, &identity->report);
}


static aad_key_set_t *
fetch_good(unit_identity_t *identity)
{
    aad_error_t     error;
    aad_secret_t    document;
    aad_key_set_t  *key_set;

    if (fetch(identity, &document) != AAD_OK) {
        fail_msg("%s", unit_identity_reason(identity, 0));
    }

    key_set = aad_key_set_parse(document.data, document.length, &error);
    assert_non_null(key_set);
    aad_secret_wipe(&document);

    return key_set;
}


static void
fetch_bad(unit_identity_t *identity, const char *reason)
{
    aad_secret_t  document;

    assert_int_equal(fetch(identity, &document), AAD_FAILED);
    assert_int_equal(document.length, 0);
    assert_int_equal(identity->report.count, 1);
    assert_int_equal(identity->report.attempts[0].result, AAD_FAILED);
    unit_assert_contains(unit_identity_reason(identity, 0), reason);
}


static void
test_both_documents_are_asked_for(void **state)
{
    aad_key_set_t    *key_set;
    unit_identity_t  *identity = *state;

    good_metadata(identity);
    one_key(identity, "first", 0);
    one_key(identity, "second", 1);

    key_set = fetch_good(identity);

    unit_assert_request_line(unit_server_request(&identity->authority, 0),
                             V2_TARGET);
    unit_assert_request_line(unit_server_request(&identity->authority, 1),
                             V1_TARGET);
    unit_assert_request_line(unit_server_request(&identity->authority, 2),
                             "GET /keys2 HTTP/1.1");
    unit_assert_request_line(unit_server_request(&identity->authority, 3),
                             "GET /keys1 HTTP/1.1");

    assert_string_equal(aad_key_set_tenant_id(key_set), UNIT_TENANT);
    assert_int_equal(key_set->keys_count, 2);
    assert_non_null(aad_key_set_find(key_set, "first"));
    assert_non_null(aad_key_set_find(key_set, "second"));
    assert_null(aad_key_set_find(key_set, "third"));
    assert_null(aad_key_set_find(key_set, "First"));
    assert_true(aad_key_set_has_issuer(key_set, UNIT_ISSUER));
    assert_true(aad_key_set_has_issuer(key_set, UNIT_ISSUER_V1));
    assert_false(aad_key_set_has_issuer(key_set, UNIT_OTHER_ISSUER));
    assert_false(aad_key_set_has_issuer(key_set, ""));

    aad_key_set_destroy(key_set);
}


static void
test_the_same_keys_are_asked_for_once(void **state)
{
    aad_key_set_t    *key_set;
    unit_identity_t  *identity = *state;

    metadata(identity, UNIT_ISSUER, "/keys");
    metadata(identity, UNIT_ISSUER_V1, "/keys");
    one_key(identity, "first", 0);

    key_set = fetch_good(identity);
    assert_int_equal(unit_server_requests(&identity->authority), 3);
    aad_key_set_destroy(key_set);
}


static void
test_one_id_has_one_key(void **state)
{
    aad_key_set_t    *key_set, *other;
    unit_identity_t  *identity = *state;

    good_metadata(identity);
    one_key(identity, "first", 0);
    one_key(identity, "first", 1);

    key_set = fetch_good(identity);
    other = unit_key_set(UNIT_TENANT, "\"" UNIT_ISSUER "\"", "first",
                         unit_key(0));

    assert_int_equal(key_set->keys_count, 1);
    assert_memory_equal(key_set->keys[0].digest, other->keys[0].digest,
                        AAD_DIGEST_BYTES);

    aad_key_set_destroy(key_set);
    aad_key_set_destroy(other);
}


static void
test_keys_of_other_kinds_are_passed_over(void **state)
{
    size_t            i;
    EVP_PKEY         *small;
    aad_secret_t      list;
    aad_key_set_t    *key_set;
    unit_identity_t  *identity = *state;

    static const char *const  others[] = {
        "\"kty\":\"EC\",",
        "",
        "\"kty\":\"RSA\",\"use\":\"enc\",",
        "\"kty\":\"RSA\",\"alg\":\"PS256\",",
        "\"kty\":\"RSA\",\"alg\":\"HS256\",",
        "\"kty\":\"RSA\",\"use\":1,",
        "\"kty\":\"RSA\",\"issuer\":\"" UNIT_OTHER_ISSUER "\",",
        "\"kty\":\"RSA\",\"issuer\":\"https://sts.windows.net/x/\",",

        /* the first of a name is taken by cJSON */

        "\"kty\":\"RSA\",\"n\":\"AQAB\",",
        "\"kty\":\"RSA\",\"n\":\"\",",
        "\"kty\":\"RSA\",\"n\":\"===\",",
        "\"kty\":\"RSA\",\"n\":1,",
        "\"kty\":\"RSA\",\"e\":\"AQ\",",
        "\"kty\":\"RSA\",\"e\":\"Ag\",",
        "\"kty\":\"RSA\",\"e\":\"AAAA\",",
        "\"kty\":\"RSA\",\"e\":\"AQABAQABAQABAQAB\",",
        "\"kty\":\"RSA\",\"kid\":\"\",",
        "\"kty\":\"RSA\",\"kid\":\"a b\","
    };

    good_metadata(identity);

    aad_secret_init(&list, 65536);
    small = unit_new_key(EVP_PKEY_RSA, 1024);
    unit_jwk(&list, "small", small, "\"kty\":\"RSA\",");
    EVP_PKEY_free(small);

    for (i = 0; i < unit_count(others); i++) {
        aad_secret_append_text(&list, ",");
        unit_jwk(&list, "other", unit_key(0), others[i]);
    }

    aad_secret_append_text(&list, ",1,null,\"x\",[],");
    unit_jwk(&list, "first", unit_key(0),
             "\"kty\":\"RSA\",\"use\":\"sig\",\"alg\":\"RS256\",\"issuer\":"
             "\"https://login.microsoftonline.com/{tenantid}/v2.0\",");
    aad_secret_append_text(&list, ",");
    unit_jwk(&list, "second", unit_key(1),
             "\"kty\":\"RSA\",\"issuer\":\"" UNIT_ISSUER_V1 "\",");
    keys(identity, &list);

    unit_server_answer(&identity->authority, 200, "", "{\"keys\":[]}");

    key_set = fetch_good(identity);
    assert_int_equal(key_set->keys_count, 2);
    assert_non_null(aad_key_set_find(key_set, "first"));
    assert_non_null(aad_key_set_find(key_set, "second"));
    aad_key_set_destroy(key_set);
}


static void
test_no_key_at_all_is_an_error(void **state)
{
    unit_identity_t  *identity = *state;

    good_metadata(identity);
    unit_server_answer(&identity->authority, 200, "", "{\"keys\":[]}");
    unit_server_answer(&identity->authority, 200, "", "{}");

    fetch_bad(identity, "/keys2: there is no RSA key of 2048 bits or more "
              "for signatures of the tenant");
}


static void
test_many_keys_are_cut(void **state)
{
    size_t            i;
    char              id[16];
    aad_secret_t      list;
    aad_key_set_t    *key_set;
    unit_identity_t  *identity = *state;

    metadata(identity, UNIT_ISSUER, "/keys");
    metadata(identity, UNIT_ISSUER_V1, "/keys");

    aad_secret_init(&list, 1048576);

    for (i = 0; i < 100; i++) {
        snprintf(id, sizeof(id), "k%zu", i);
        aad_secret_append_text(&list, i ? "," : "");
        unit_jwk(&list, id, unit_key(0), "\"kty\":\"RSA\",");
    }

    keys(identity, &list);

    key_set = fetch_good(identity);
    assert_int_equal(key_set->keys_count, AAD_KEYS_MAX);
    aad_key_set_destroy(key_set);
}


static void
test_bad_metadata_is_refused(void **state)
{
    size_t            i;
    char              reason[128];
    unit_identity_t  *identity = *state;

    static const struct {
        const char  *body;
        const char  *wrong;
    } bodies[] = {
        { "{\"jwks_uri\":\"https://a.example/\"}", "issuer" },
        { "{\"issuer\":1,\"jwks_uri\":\"https://a.example/\"}", "issuer" },
        { "{\"issuer\":\"https://login.microsoftonline.com/{tenantid}/v2.0\","
          "\"jwks_uri\":\"https://a.example/\"}", "issuer" },
        { "{\"issuer\":\"http://a.example/\","
          "\"jwks_uri\":\"https://a.example/\"}", "issuer" },
        { "{\"issuer\":\"https://user@a.example/\","
          "\"jwks_uri\":\"https://a.example/\"}", "issuer" },
        { "{\"issuer\":\"" UNIT_ISSUER "\"}", "jwks_uri" },
        { "{\"issuer\":\"" UNIT_ISSUER "\","
          "\"jwks_uri\":\"http://a.example/keys\"}", "jwks_uri" },
        { "{\"issuer\":\"" UNIT_ISSUER "\","
          "\"jwks_uri\":\"http://127.0.0.1.example/keys\"}", "jwks_uri" },
        { "{\"issuer\":\"" UNIT_ISSUER "\","
          "\"jwks_uri\":\"file:///etc/passwd\"}", "jwks_uri" },
        { "{\"issuer\":\"" UNIT_ISSUER "\","
          "\"jwks_uri\":\"https://a.example/\\r\\nx\"}", "jwks_uri" }
    };

    for (i = 0; i < unit_count(bodies); i++) {
        unit_server_answer(&identity->authority, 200, "", bodies[i].body);
        snprintf(reason, sizeof(reason), "\"%s\" is missing or wrong",
                 bodies[i].wrong);
        fetch_bad(identity, reason);
        assert_int_equal(unit_server_requests(&identity->authority), i + 1);
    }

    unit_server_answer(&identity->authority, 200, "", "<html>");
    fetch_bad(identity, "the answer is no JSON object");

    unit_server_answer(&identity->authority, 200, "",
                       "{\"issuer\":\"x\",\"issuer\":\"y\"}");
    fetch_bad(identity, "the answer is no JSON object");
}


static void
test_refusals_are_told(void **state)
{
    size_t            i;
    unit_identity_t  *identity = *state;

    unit_server_answer(&identity->authority, 400, "",
                       "{\"error\":\"invalid_tenant\","
                       "\"error_description\":\"AADSTS90002: Tenant not "
                       "found.\",\"error_codes\":[90002]}");
    fetch_bad(identity, "/v2.0/.well-known/openid-configuration: status 400, "
              "invalid_tenant: AADSTS90002: Tenant not found.");
    unit_assert_contains(identity->report.attempts[0].hint,
                         "there is no such tenant");

    for (i = 1; i < UNIT_AUTHORITY_TRIES; i++) {
        unit_server_answer(&identity->authority, 503, "", "");
    }

    unit_server_answer(&identity->authority, 429, "Retry-After: 77\r\n", "");
    fetch_bad(identity, "status 429");
    assert_int_equal(identity->report.attempts[0].retry_after, 77);
}


static void
test_an_answer_without_end_is_not_read(void **state)
{
    unit_identity_t  *identity = *state;

    unit_server_answer(&identity->authority, 200, "", "{")->filler = 1000000;

    fetch_bad(identity, "");
}


static void
test_a_tenant_must_be_a_guid(void **state)
{
    aad_secret_t      document;
    unit_identity_t  *identity = *state;

    assert_int_equal(aad_get_key_set(&identity->settings, &identity->hooks,
                                     UNIT_TIMEOUT_MS, "common", &document,
                                     &identity->report), AAD_FAILED);
    assert_string_equal(unit_identity_reason(identity, 0),
                        "the tenant is no GUID");
    assert_int_equal(unit_server_requests(&identity->authority), 0);
}


static void
test_other_documents_are_no_key_sets(void **state)
{
    size_t        i;
    aad_error_t   error;
    aad_secret_t  good;

    static const char *const  documents[] = {
        "", "x", "[]", "{}",
        "{\"tenant_id\":\"x\",\"issuers\":[\"i\"],\"keys\":[]}",
        "{\"tenant_id\":\"" UNIT_TENANT "\",\"issuers\":[\"i\"],\"keys\":[]}",
        "{\"tenant_id\":\"" UNIT_TENANT "\",\"issuers\":[\"i\"],"
        "\"keys\":[{\"kid\":\"x\",\"n\":\"AQAB\",\"e\":\"AQAB\"}]}"
    };

    (void) state;

    for (i = 0; i < unit_count(documents); i++) {
        assert_null(aad_key_set_parse(documents[i], strlen(documents[i]),
                                      &error));
        assert_string_equal(error.text, "the document is no key set");
    }

    /* issuers: none, one that is empty, too many */

    for (i = 0; i < 4; i++) {
        static const char *const  issuers[] = {
            "", "\"\"", "\"a\",\"b\",\"c\"", "1"
        };

        aad_secret_init(&good, 65536);
        aad_secret_append_text(&good, "{\"tenant_id\":\"" UNIT_TENANT "\","
                               "\"issuers\":[");
        aad_secret_append_text(&good, issuers[i]);
        aad_secret_append_text(&good, "],\"keys\":[");
        unit_jwk(&good, "first", unit_key(0), "");
        aad_secret_append_text(&good, "]}");

        assert_null(aad_key_set_parse(good.data, good.length, &error));
        aad_secret_wipe(&good);
    }

    aad_key_set_destroy(NULL);
}


static void
test_other_settings_have_another_digest(void **state)
{
    size_t            i, j;
    aad_settings_t    settings[5];
    unsigned char     digests[6][AAD_DIGEST_BYTES];
    unit_identity_t  *identity = *state;

    for (i = 0; i < unit_count(settings); i++) {
        memset(&settings[i], 0, sizeof(aad_settings_t));
        settings[i].authority_host = "https://login.microsoftonline.com";
    }

    settings[1].authority_host = "https://login.microsoftonline.us";
    settings[2].ca_certificates = "x";
    settings[3].proxy = "http://127.0.0.1:9";

    /* what decides on tokens only */

    unit_identity_secret_step(identity, "secret");
    settings[4].scope = UNIT_SCOPE;
    settings[4].chain[0] = identity->settings.chain[0];
    settings[4].chain_length = 1;

    for (i = 0; i < unit_count(settings); i++) {
        assert_int_equal(aad_key_set_digest(&settings[i], UNIT_TENANT,
                                            digests[i]), 0);
    }

    assert_int_equal(aad_key_set_digest(&settings[0], UNIT_OTHER_TENANT,
                                        digests[5]), 0);

    assert_memory_equal(digests[4], digests[0], AAD_DIGEST_BYTES);
    memset(digests[4], 0, AAD_DIGEST_BYTES);

    for (i = 0; i < unit_count(digests); i++) {
        for (j = 0; j < i; j++) {
            assert_memory_not_equal(digests[i], digests[j],
                                    AAD_DIGEST_BYTES);
        }
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        unit_identity_test(test_both_documents_are_asked_for),
        unit_identity_test(test_the_same_keys_are_asked_for_once),
        unit_identity_test(test_one_id_has_one_key),
        unit_identity_test(test_keys_of_other_kinds_are_passed_over),
        unit_identity_test(test_no_key_at_all_is_an_error),
        unit_identity_test(test_many_keys_are_cut),
        unit_identity_test(test_bad_metadata_is_refused),
        unit_identity_test(test_refusals_are_told),
        unit_identity_test(test_an_answer_without_end_is_not_read),
        unit_identity_test(test_a_tenant_must_be_a_guid),
        cmocka_unit_test(test_other_documents_are_no_key_sets),
        unit_identity_test(test_other_settings_have_another_digest)
    };

    return cmocka_run_group_tests_name("key set", tests, NULL, NULL);
}
