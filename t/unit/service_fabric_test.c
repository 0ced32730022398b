
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * Service Fabric: whose certificate is taken.  What it is asked over TLS is
 * in t/service_fabric.t.
 */


#include "source.h"

#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>


#define THUMBPRINT  "0123456789abcdef0123456789ABCDEF01234567"


static void
service_fabric(unit_identity_t *identity)
{
    unit_source_endpoint(identity, "IDENTITY_ENDPOINT", "/metadata/token");
    unit_identity_variable(identity, "IDENTITY_HEADER", UNIT_HEADER);
    unit_identity_variable(identity, "IDENTITY_SERVER_THUMBPRINT", THUMBPRINT);
}


static void
test_thumbprint_is_40_digits(void **state)
{
    size_t         i;
    unsigned char  thumbprint[AAD_THUMBPRINT_BYTES];

    static const unsigned char  expected[] = {
        0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0x01, 0x23, 0x45,
        0x67, 0x89, 0xab, 0xcd, 0xef, 0x01, 0x23, 0x45, 0x67
    };

    static const char *const  texts[] = {
        THUMBPRINT,
        "0123456789ABCDEF0123456789abcdef01234567",
        "01:23:45:67:89:AB:CD:EF:01:23:45:67:89:AB:CD:EF:01:23:45:67",
        " 01 23 45 67 89 ab cd ef 01 23 45 67 89 ab cd ef 01 23 45 67\r\n"
    };

    static const char *const  others[] = {
        "", ":", "0123", THUMBPRINT "0", THUMBPRINT "00",
        "0123456789abcdef0123456789ABCDEF0123456",
        "0123456789abcdef0123456789ABCDEF0123456g",
        "0123456789abcdef-0123456789ABCDEF01234567",
        "0123456789abcdef0123456789ABCDEF0123456\xc3",
        "0x23456789abcdef0123456789ABCDEF01234567"
    };

    (void) state;

    for (i = 0; i < unit_count(texts); i++) {
        memset(thumbprint, 0xff, sizeof(thumbprint));
        assert_int_equal(aad_thumbprint(texts[i], thumbprint), 0);
        assert_memory_equal(thumbprint, expected, AAD_THUMBPRINT_BYTES);
    }

    for (i = 0; i < unit_count(others); i++) {

        if (aad_thumbprint(others[i], thumbprint) != -1) {
            fail_msg("\"%s\" is taken", others[i]);
        }
    }
}


/* A certificate that signs itself, and is over since a day. */
static X509 *
make_certificate(EVP_PKEY *key)
{
    X509  *certificate;

    certificate = X509_new();
    assert_non_null(certificate);

    ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
    X509_gmtime_adj(X509_getm_notBefore(certificate), -2 * 86400);
    X509_gmtime_adj(X509_getm_notAfter(certificate), -86400);
    X509_set_pubkey(certificate, key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN",
                               MBSTRING_ASC, (unsigned char *) "nobody", -1,
                               -1, 0);
    X509_set_issuer_name(certificate, X509_get_subject_name(certificate));
    assert_true(X509_sign(certificate, key, EVP_sha256()) > 0);

    return certificate;
}


/* Whether a client that is pinned so finishes a handshake in memory. */
static int
handshake(SSL_CTX *server_ctx, const unsigned char *thumbprint)
{
    int       i, rc;
    BIO      *client_bio, *server_bio;
    SSL      *client, *server;
    SSL_CTX  *client_ctx;

    client_ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_verify(client_ctx, SSL_VERIFY_PEER, NULL);
    aad_thumbprint_pin(client_ctx, thumbprint);

    client = SSL_new(client_ctx);
    server = SSL_new(server_ctx);
    assert_int_equal(BIO_new_bio_pair(&client_bio, 0, &server_bio, 0), 1);
    SSL_set_bio(client, client_bio, client_bio);
    SSL_set_bio(server, server_bio, server_bio);
    SSL_set_connect_state(client);
    SSL_set_accept_state(server);

    rc = 0;

    for (i = 0; i < 10 && rc != 1; i++) {
        rc = SSL_do_handshake(client);
        (void) SSL_do_handshake(server);
    }

    if (rc == 1) {
        assert_int_equal(SSL_get_verify_result(client), X509_V_OK);
    }

    SSL_free(client);
    SSL_free(server);
    SSL_CTX_free(client_ctx);

    return rc == 1;
}


static void
test_certificate_is_taken_by_its_thumbprint_alone(void **state)
{
    int             i;
    X509           *certificate;
    SSL_CTX        *ctx;
    EVP_PKEY       *key;
    EVP_PKEY_CTX   *maker;
    unsigned int    length;
    unsigned char   thumbprint[EVP_MAX_MD_SIZE];

    (void) state;

    key = NULL;
    maker = EVP_PKEY_CTX_new_id(EVP_PKEY_RSA, NULL);
    assert_int_equal(EVP_PKEY_keygen_init(maker), 1);
    assert_int_equal(EVP_PKEY_CTX_set_rsa_keygen_bits(maker, 2048), 1);
    assert_int_equal(EVP_PKEY_keygen(maker, &key), 1);
    EVP_PKEY_CTX_free(maker);

    certificate = make_certificate(key);
    assert_int_equal(X509_digest(certificate, EVP_sha1(), thumbprint, &length),
                     1);
    assert_int_equal(length, AAD_THUMBPRINT_BYTES);

    ctx = SSL_CTX_new(TLS_server_method());
    assert_int_equal(SSL_CTX_use_certificate(ctx, certificate), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(ctx, key), 1);

    assert_true(handshake(ctx, thumbprint));

    /* every bit of it counts */

    for (i = 0; i < AAD_THUMBPRINT_BYTES; i++) {
        thumbprint[i] ^= 1 << (i % 8);
        assert_false(handshake(ctx, thumbprint));
        thumbprint[i] ^= 1 << (i % 8);
    }

    assert_true(handshake(ctx, thumbprint));

    SSL_CTX_free(ctx);
    X509_free(certificate);
    EVP_PKEY_free(key);
}


static void
test_service_fabric_without_tls_stops(void **state)
{
    service_fabric(*state);
    unit_source_cannot_choose(*state, NULL, NULL, "IDENTITY_ENDPOINT must "
                              "begin with \"https://\" where "
                              "IDENTITY_SERVER_THUMBPRINT is set");
}


static void
test_service_fabric_cannot_choose(void **state)
{
    size_t            i;
    char              reason[128];
    unit_identity_t  *identity = *state;

    static const char *const  ids[][2] = {
        { "client_id", UNIT_CLIENT },
        { "object_id", UNIT_OBJECT },
        { "resource_id", UNIT_RESOURCE_ID }
    };

    service_fabric(identity);

    for (i = 0; i < unit_count(ids); i++) {
        snprintf(reason, sizeof(reason), "Service Fabric cannot choose an "
                 "identity by \"%s=\", leave it out to use the one that is "
                 "there", ids[i][0]);

        unit_source_cannot_choose(identity, ids[i][0], ids[i][1], reason);

        while (identity->settings.chain_length != 0) {
            aad_credential_destroy(identity->settings.chain[
                                          --identity->settings.chain_length]);
        }
    }
}


int
main(void)
{
    static const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_thumbprint_is_40_digits),
        cmocka_unit_test(test_certificate_is_taken_by_its_thumbprint_alone),
        unit_identity_test(test_service_fabric_without_tls_stops),
        unit_identity_test(test_service_fabric_cannot_choose)
    };

    if (aad_global_init() != 0) {
        return 1;
    }

    return cmocka_run_group_tests_name("Service Fabric", tests, NULL, NULL);
}
