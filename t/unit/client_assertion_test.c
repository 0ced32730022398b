
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * The assertion that proves an app by its certificate, field by field.
 */


#include "certificates.h"


#define CERTIFICATES_MAX  4


typedef struct {
    unit_identity_t        *identity;
    X509                   *certificates[CERTIFICATES_MAX];
    unit_assertion_t       *assertion;
} fixture_t;


static int
setup(void **state)
{
    fixture_t  *fixture;

    fixture = calloc(1, sizeof(fixture_t));
    assert_non_null(fixture);

    (void) unit_identity_setup((void **) &fixture->identity);
    *state = fixture;

    return 0;
}


static int
teardown(void **state)
{
    size_t      i;
    fixture_t  *fixture = *state;

    if (fixture->assertion != NULL) {
        unit_assertion_free(fixture->assertion);
    }

    for (i = 0; i < CERTIFICATES_MAX; i++) {
        X509_free(fixture->certificates[i]);
    }

    unit_remove(fixture->identity->directory, "app.pem");
    (void) unit_identity_teardown((void **) &fixture->identity);
    free(fixture);

    return 0;
}


/* Asks once more, and takes apart what was sent. */
static const unit_assertion_t *
ask_again(fixture_t *fixture)
{
    size_t            n;
    unit_identity_t  *identity;

    identity = fixture->identity;
    n = unit_server_requests(&identity->authority);

    unit_server_answer(&identity->authority, 200, "", UNIT_APP_TOKEN);
    assert_int_equal(unit_identity_ask(identity), AAD_OK);
    assert_string_equal(identity->token.access_token.data, "app-token");
    assert_string_equal(identity->token.credential, "client_certificate");
    unit_assert_request_line(unit_server_request(&identity->authority, n),
                             "POST " UNIT_TOKEN_TARGET " HTTP/1.1");

    if (fixture->assertion != NULL) {
        unit_assertion_free(fixture->assertion);
    }

    fixture->assertion = unit_assertion(
                             unit_server_request(&identity->authority, n));

    return fixture->assertion;
}


/* An app whose certificate is signed by one that is signed by a root. */
static const unit_assertion_t *
ask(fixture_t *fixture, const char *send_chain)
{
    X509  **x509;

    x509 = fixture->certificates;

    x509[0] = unit_certificate(unit_key(0), "app", unit_key(1), "middle", -1,
                               365);
    x509[1] = unit_certificate(unit_key(1), "middle", unit_key(2), "root", -1,
                               365);
    x509[2] = unit_certificate(unit_key(2), "root", unit_key(2), "root", -1,
                               365);
    x509[3] = unit_certificate(unit_key(2), "stranger", unit_key(2),
                               "stranger", -1, 365);

    /* in no good order */

    unit_pem_file(fixture->identity->directory, "app.pem", unit_key(0), NULL,
                  x509[2], x509[3], x509[1], x509[0], NULL);

    unit_identity_step(fixture->identity, "client_certificate", "tenant_id",
                       UNIT_TENANT, "client_id", UNIT_CLIENT, "certificate",
                       "app.pem", send_chain ? "send_chain" : NULL,
                       send_chain, NULL);

    return ask_again(fixture);
}


static void
test_signature_is_of_the_certificates_key_with_a_salt_of_32(void **state)
{
    const unit_assertion_t  *assertion;

    assertion = ask(*state, NULL);

    assert_true(unit_assertion_is_signed(assertion, unit_key(0)));
    assert_false(unit_assertion_is_signed(assertion, unit_key(1)));
}


static void
test_header_alg_is_ps256(void **state)
{
    const unit_assertion_t  *assertion;

    assertion = ask(*state, NULL);

    assert_string_equal(unit_json_text(assertion->header, "alg"), "PS256");
    assert_int_equal(cJSON_GetArraySize(assertion->header), 3);
}


static void
test_header_typ_is_jwt(void **state)
{
    assert_string_equal(unit_json_text(ask(*state, NULL)->header, "typ"),
                        "JWT");
}


static void
test_header_thumbprint_is_x5t_s256_of_the_der(void **state)
{
    unsigned int             length;
    unsigned char            digest[EVP_MAX_MD_SIZE], sent[64];
    fixture_t               *fixture = *state;
    const char              *text;
    const unit_assertion_t  *assertion;

    assertion = ask(fixture, NULL);
    text = unit_json_text(assertion->header, "x5t#S256");

    assert_int_equal(X509_digest(fixture->certificates[0], EVP_sha256(),
                                 digest, &length), 1);
    assert_int_equal(unit_base64url(text, strlen(text), sent, sizeof(sent)),
                     32);
    assert_memory_equal(sent, digest, 32);
    assert_null(cJSON_GetObjectItem(assertion->header, "x5t"));
    assert_null(cJSON_GetObjectItem(assertion->header, "kid"));
}


/* of 32 bytes there are 43 characters, and one more were it padded */
static void
test_header_encoding_of_the_thumbprint_is_unpadded(void **state)
{
    const char  *text;

    text = unit_json_text(ask(*state, NULL)->header, "x5t#S256");

    assert_int_equal(strlen(text), 43);
    assert_null(strpbrk(text, "+/="));
}


static void
test_header_x5c_is_only_sent_when_send_chain_is_on(void **state)
{
    assert_null(cJSON_GetObjectItem(ask(*state, "off")->header, "x5c"));
}


static void
test_header_x5c_is_not_sent_by_default(void **state)
{
    assert_null(cJSON_GetObjectItem(ask(*state, NULL)->header, "x5c"));
}


static void
test_header_x5c_has_the_signing_one_first_in_base64(void **state)
{
    int                      i, length;
    cJSON                   *list;
    fixture_t               *fixture = *state;
    unsigned char           *der, text[4096];
    const unit_assertion_t  *assertion;

    assertion = ask(fixture, "on");
    list = cJSON_GetObjectItem(assertion->header, "x5c");

    assert_true(cJSON_IsArray(list));
    assert_int_equal(cJSON_GetArraySize(list), 3);

    for (i = 0; i < 3; i++) {
        der = NULL;
        length = i2d_X509(fixture->certificates[i], &der);
        assert_true(length > 0 && length * 4 / 3 + 4 < (int) sizeof(text));

        EVP_EncodeBlock(text, der, length);
        assert_string_equal(cJSON_GetArrayItem(list, i)->valuestring, text);
        OPENSSL_free(der);
    }

    assert_true(unit_assertion_is_signed(assertion, unit_key(0)));
}


static void
test_claim_aud_is_the_token_endpoint(void **state)
{
    char                     url[256];
    fixture_t               *fixture = *state;
    const unit_assertion_t  *assertion;

    assertion = ask(fixture, NULL);
    snprintf(url, sizeof(url), "%s" UNIT_TOKEN_TARGET,
             fixture->identity->authority.url);

    assert_string_equal(unit_json_text(assertion->claims, "aud"), url);
    assert_int_equal(cJSON_GetArraySize(assertion->claims), 7);
}


static void
test_claims_iss_and_sub_are_the_client_id(void **state)
{
    const unit_assertion_t  *assertion;

    assertion = ask(*state, NULL);

    assert_string_equal(unit_json_text(assertion->claims, "iss"), UNIT_CLIENT);
    assert_string_equal(unit_json_text(assertion->claims, "sub"), UNIT_CLIENT);
}


static void
test_claim_jti_is_a_fresh_guid_per_assertion(void **state)
{
    char                     id[64], signature[1024];
    fixture_t               *fixture = *state;
    const unit_assertion_t  *assertion;

    assertion = ask(fixture, NULL);

    snprintf(id, sizeof(id), "%s", unit_json_text(assertion->claims, "jti"));
    memcpy(signature, assertion->signature, sizeof(signature));

    assert_true(aad_is_guid(id));
    assert_int_equal(id[14], '4');

    assertion = ask_again(fixture);

    assert_true(aad_is_guid(unit_json_text(assertion->claims, "jti")));
    assert_string_not_equal(id, unit_json_text(assertion->claims, "jti"));
    assert_memory_not_equal(signature, assertion->signature,
                            assertion->signature_length);
}


static void
test_claims_nbf_and_iat_are_now(void **state)
{
    const unit_assertion_t  *assertion;

    assertion = ask(*state, NULL);

    assert_true(unit_json_number(assertion->claims, "nbf") == UNIT_NOW);
    assert_true(unit_json_number(assertion->claims, "iat") == UNIT_NOW);
}


static void
test_claim_exp_is_600_s_from_now(void **state)
{
    fixture_t               *fixture = *state;
    const unit_assertion_t  *assertion;

    assertion = ask(fixture, NULL);

    assert_true(unit_json_number(assertion->claims, "exp") == UNIT_NOW + 600);

    /* also beyond 2038, where an int has no room */

    fixture->identity->clock.now = 4000000001;
    assertion = ask_again(fixture);

    assert_true(unit_json_number(assertion->claims, "exp") == 4000000601.0);
}


static void
test_assertion_that_is_repeated_is_not_told(void **state)
{
    char              body[UNIT_REQUEST_BYTES_MAX + 128];
    fixture_t        *fixture = *state;
    unit_identity_t  *identity;

    identity = fixture->identity;

    snprintf(body, sizeof(body), "{\"error\":\"invalid_client\","
             "\"error_description\":\"no: %s\"}", ask(fixture, NULL)->text);

    unit_server_answer(&identity->authority, 400, "", body);

    assert_int_equal(unit_identity_ask(identity), AAD_FAILED);
    unit_assert_lacks(unit_identity_reason(identity, 0), "eyJ");
    unit_assert_contains(unit_identity_reason(identity, 0), "status 400");
}


static void
test_refused_assertion_stops_with_code_and_hint(void **state)
{
    fixture_t            *fixture = *state;
    unit_identity_t      *identity;
    const aad_attempt_t  *attempt;

    identity = fixture->identity;

    (void) ask(fixture, NULL);
    unit_identity_step(identity, "managed_identity", NULL);

    unit_server_answer(&identity->authority, 401, "",
                       "{\"error\":\"invalid_client\",\"error_description\":"
                       "\"AADSTS700027: The certificate is not registered.\","
                       "\"error_codes\":[700027]}");

    assert_int_equal(unit_identity_ask(identity), AAD_FAILED);
    assert_int_equal(identity->report.count, 1);

    attempt = &identity->report.attempts[0];

    assert_string_equal(attempt->code, "AADSTS700027");
    assert_non_null(attempt->hint);
    assert_int_equal(unit_server_requests(&identity->machine), 0);
}


static void
test_signing_leaves_no_error_behind(void **state)
{
    (void) ask(*state, "on");

    assert_int_equal(ERR_peek_error(), 0);
}


#define test(name)  cmocka_unit_test_setup_teardown(name, setup, teardown)


int
main(void)
{
    static const struct CMUnitTest  tests[] = {
        test(test_signature_is_of_the_certificates_key_with_a_salt_of_32),
        test(test_header_alg_is_ps256),
        test(test_header_typ_is_jwt),
        test(test_header_thumbprint_is_x5t_s256_of_the_der),
        test(test_header_encoding_of_the_thumbprint_is_unpadded),
        test(test_header_x5c_is_only_sent_when_send_chain_is_on),
        test(test_header_x5c_is_not_sent_by_default),
        test(test_header_x5c_has_the_signing_one_first_in_base64),
        test(test_claim_aud_is_the_token_endpoint),
        test(test_claims_iss_and_sub_are_the_client_id),
        test(test_claim_jti_is_a_fresh_guid_per_assertion),
        test(test_claims_nbf_and_iat_are_now),
        test(test_claim_exp_is_600_s_from_now),
        test(test_assertion_that_is_repeated_is_not_told),
        test(test_refused_assertion_stops_with_code_and_hint),
        test(test_signing_leaves_no_error_behind)
    };

    if (aad_global_init() != 0) {
        return 1;
    }

    return cmocka_run_group_tests_name("client assertion", tests, NULL, NULL);
}
