
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * The files that an app's certificate is read from, what is refused, when
 * there is a warning, and what makes it another identity.
 */


#include "certificate.h"
#include "certificates.h"


#define PASSWORD  "p~a.s-s w\xc3\xb6rd"
#define WRONG_PASSWORDS  2000


/* one credential at a time, and a directory for its files */
typedef struct {
    char                    directory[UNIT_DIRECTORY_BYTES];
    aad_credential_t       *credential;
    aad_error_t             error;
    X509                   *app;            /* of key 0 */
    X509                   *other;          /* of key 1 */
} fixture_t;


static const char *const  files[] = {
    "app", "key", "password", "renewed"
};


static int
setup(void **state)
{
    fixture_t  *fixture;

    fixture = calloc(1, sizeof(fixture_t));
    assert_non_null(fixture);

    unit_directory(fixture->directory, sizeof(fixture->directory));
    fixture->app = unit_app_certificate(unit_key(0));
    fixture->other = unit_app_certificate(unit_key(1));
    *state = fixture;

    return 0;
}


static int
teardown(void **state)
{
    size_t      i;
    fixture_t  *fixture = *state;

    aad_credential_destroy(fixture->credential);

    for (i = 0; i < unit_count(files); i++) {
        unit_remove(fixture->directory, files[i]);
    }

    unit_remove(fixture->directory, "");
    X509_free(fixture->app);
    X509_free(fixture->other);
    free(fixture);

    return 0;
}


/* Names and values of parameters beside the usual ones, then NULL. */
static int
read_with(fixture_t *fixture, ...)
{
    int                 rc;
    va_list             args;
    const char         *name;
    aad_environment_t   environment;

    static const unit_variable_t  no_variables[] = { { NULL, NULL } };

    environment = unit_environment(no_variables, fixture->directory);

    aad_credential_destroy(fixture->credential);
    fixture->error.text[0] = '\0';
    fixture->credential = aad_credential_create("client_certificate",
                                                &environment,
                                                &fixture->error);
    assert_non_null(fixture->credential);

    assert_int_equal(aad_credential_set(fixture->credential, "tenant_id",
                                        UNIT_TENANT, &fixture->error), 0);
    assert_int_equal(aad_credential_set(fixture->credential, "client_id",
                                        UNIT_CLIENT, &fixture->error), 0);

    rc = 0;

    va_start(args, fixture);

    for (name = va_arg(args, const char *); name != NULL;
         name = va_arg(args, const char *))
    {
        rc |= aad_credential_set(fixture->credential, name,
                                 va_arg(args, const char *), &fixture->error);
    }

    va_end(args);

    rc = rc != 0 ? rc : aad_credential_complete(fixture->credential,
                                                &fixture->error);

    /* nginx would take it for an error of a connection */

    assert_int_equal(ERR_peek_error(), 0);

    return rc;
}


static void
write_password(fixture_t *fixture, const char *password)
{
    unit_file(fixture->directory, "password", password, strlen(password),
              0600);
}


static void
check_read(fixture_t *fixture, int rc)
{
    if (rc != 0) {
        fail_msg("%s", fixture->error.text);
    }

    assert_non_null(fixture->credential->certificate);
}


/* The error names a file and says this. */
static void
check_refused(fixture_t *fixture, int rc, const char *file, const char *text)
{
    char  path[UNIT_PATH_BYTES];

    snprintf(path, sizeof(path), "\"%s%s\"", fixture->directory, file);

    assert_int_equal(rc, -1);
    unit_assert_contains(fixture->error.text, path);
    unit_assert_contains(fixture->error.text, text);
    unit_assert_lacks(fixture->error.text, PASSWORD);
    assert_null(fixture->credential->certificate);
}


static void
test_pem_with_certificate_and_key(void **state)
{
    fixture_t  *fixture = *state;

    unit_pem_file(fixture->directory, "app", unit_key(0), NULL, fixture->app,
                  NULL);
    check_read(fixture, read_with(fixture, "certificate", "app", NULL));
}


static void
test_pem_with_a_key_of_its_own_file(void **state)
{
    fixture_t  *fixture = *state;

    unit_pem_file(fixture->directory, "app", NULL, NULL, fixture->app, NULL);
    unit_pem_file(fixture->directory, "key", unit_key(0), NULL, NULL);
    check_read(fixture, read_with(fixture, "certificate", "app", "key", "key",
                                  NULL));

    /* certificates beside the key are of no interest */

    unit_pem_file(fixture->directory, "key", unit_key(0), NULL,
                  fixture->other, NULL);
    check_read(fixture, read_with(fixture, "certificate", "app", "key", "key",
                                  NULL));
}


/* as "openssl pkcs12" and "openssl s_client" print it, and with other blocks */
static void
test_pem_with_text_between_the_blocks(void **state)
{
    BIO        *bio;
    fixture_t  *fixture = *state;

    bio = BIO_new(BIO_s_mem());
    BIO_printf(bio, "0 Bag Attributes\n    friendlyName: app\n");
    PEM_write_bio_PUBKEY(bio, unit_key(1));
    unit_bio_key(bio, unit_key(0), NULL);
    BIO_printf(bio, "subject=CN = app\r\n\r\n");
    PEM_write_bio_X509(bio, fixture->app);
    BIO_printf(bio, "the end");
    unit_file_of_bio(fixture->directory, "app", bio);

    check_read(fixture, read_with(fixture, "certificate", "app", NULL));
}


static void
test_pem_key_in_the_traditional_form(void **state)
{
    BIO        *bio;
    fixture_t  *fixture = *state;

    bio = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(bio, fixture->app);
    unit_bio_traditional_key(bio, unit_key(0), NULL);
    unit_file_of_bio(fixture->directory, "app", bio);

    check_read(fixture, read_with(fixture, "certificate", "app", NULL));
}


static void
test_password_opens_an_encrypted_pkcs8_key(void **state)
{
    fixture_t  *fixture = *state;

    unit_pem_file(fixture->directory, "app", unit_key(0), PASSWORD,
                  fixture->app, NULL);
    write_password(fixture, PASSWORD "\n");

    check_read(fixture, read_with(fixture, "certificate", "app",
                                  "password_file", "password", NULL));
}


static void
test_password_opens_an_encrypted_traditional_key(void **state)
{
    BIO        *bio;
    fixture_t  *fixture = *state;

    bio = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(bio, fixture->app);
    unit_bio_traditional_key(bio, unit_key(0), PASSWORD);
    unit_file_of_bio(fixture->directory, "app", bio);
    write_password(fixture, PASSWORD);

    check_read(fixture, read_with(fixture, "certificate", "app",
                                  "password_file", "password", NULL));
}


static void
test_password_that_is_not_needed_is_no_error(void **state)
{
    fixture_t  *fixture = *state;

    unit_pem_file(fixture->directory, "app", unit_key(0), NULL, fixture->app,
                  NULL);
    write_password(fixture, PASSWORD);

    check_read(fixture, read_with(fixture, "certificate", "app",
                                  "password_file", "password", NULL));
}


static void
test_password_is_wiped_when_the_key_is_read(void **state)
{
    fixture_t  *fixture = *state;

    test_password_opens_an_encrypted_pkcs8_key(state);

    assert_int_equal(
        fixture->credential->values[AAD_CERTIFICATE_PASSWORD].capacity, 0);
}


static void
test_pkcs12_with_a_password(void **state)
{
    size_t      i;
    fixture_t  *fixture = *state;

    /* as this OpenSSL writes it, and as Windows does */

    static const int  nids[] = { 0, NID_pbe_WithSHA1And3_Key_TripleDES_CBC };

    write_password(fixture, PASSWORD);

    for (i = 0; i < unit_count(nids); i++) {
        unit_pkcs12_file(fixture->directory, "app", unit_key(0),
                         fixture->app, NULL, PASSWORD, nids[i]);
        check_read(fixture, read_with(fixture, "certificate", "app",
                                      "password_file", "password", NULL));
    }
}


static void
test_pkcs12_without_a_password(void **state)
{
    size_t      i;
    fixture_t  *fixture = *state;

    static const char *const  passwords[] = { NULL, "" };

    for (i = 0; i < unit_count(passwords); i++) {
        unit_pkcs12_file(fixture->directory, "app", unit_key(0),
                         fixture->app, NULL, passwords[i], 0);
        check_read(fixture, read_with(fixture, "certificate", "app", NULL));
    }

    /* nothing is encrypted, and no MAC is there */

    unit_pkcs12_file(fixture->directory, "app", unit_key(0), fixture->app,
                     NULL, NULL, -1);
    check_read(fixture, read_with(fixture, "certificate", "app", NULL));
}


static void
test_pkcs12_with_its_key_elsewhere(void **state)
{
    fixture_t  *fixture = *state;

    unit_pkcs12_file(fixture->directory, "app", NULL, fixture->app, NULL,
                     PASSWORD, 0);
    unit_pem_file(fixture->directory, "key", unit_key(0), PASSWORD, NULL);
    write_password(fixture, PASSWORD);

    check_read(fixture, read_with(fixture, "certificate", "app", "key", "key",
                                  "password_file", "password", NULL));
}


static void
test_pkcs12_with_a_chain(void **state)
{
    X509            *leaf, *middle, *root;
    fixture_t       *fixture = *state;
    STACK_OF(X509)  *others, *chain;

    leaf = unit_certificate(unit_key(0), "leaf", unit_key(1), "middle", -1,
                            90);
    middle = unit_certificate(unit_key(1), "middle", unit_key(2), "root", -1,
                              90);
    root = unit_certificate(unit_key(2), "root", unit_key(2), "root", -1, 90);

    others = sk_X509_new_null();
    sk_X509_push(others, root);
    sk_X509_push(others, middle);

    unit_pkcs12_file(fixture->directory, "app", unit_key(0), leaf, others,
                     PASSWORD, 0);
    write_password(fixture, PASSWORD);

    check_read(fixture, read_with(fixture, "certificate", "app",
                                  "password_file", "password", "send_chain",
                                  "on", NULL));

    chain = fixture->credential->certificate->chain;

    assert_int_equal(sk_X509_num(chain), 3);
    assert_int_equal(X509_cmp(sk_X509_value(chain, 0), leaf), 0);
    assert_int_equal(X509_cmp(sk_X509_value(chain, 1), middle), 0);
    assert_int_equal(X509_cmp(sk_X509_value(chain, 2), root), 0);

    sk_X509_pop_free(others, X509_free);
    X509_free(leaf);
}


static void
test_encrypted_without_a_password_names_the_parameter(void **state)
{
    BIO        *bio;
    fixture_t  *fixture = *state;

    unit_pem_file(fixture->directory, "app", unit_key(0), PASSWORD,
                  fixture->app, NULL);
    check_refused(fixture, read_with(fixture, "certificate", "app", NULL),
                  "app", "is encrypted: name a file with its password, "
                  "\"password_file=\"");

    bio = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(bio, fixture->app);
    unit_bio_traditional_key(bio, unit_key(0), PASSWORD);
    unit_file_of_bio(fixture->directory, "app", bio);
    check_refused(fixture, read_with(fixture, "certificate", "app", NULL),
                  "app", "is encrypted: ");

    unit_pkcs12_file(fixture->directory, "app", unit_key(0), fixture->app,
                     NULL, PASSWORD, 0);
    check_refused(fixture, read_with(fixture, "certificate", "app", NULL),
                  "app", "is encrypted: ");
}


static void
test_wrong_password_is_refused(void **state)
{
    BIO        *bio;
    fixture_t  *fixture = *state;

    write_password(fixture, "not it");

    unit_pem_file(fixture->directory, "app", unit_key(0), PASSWORD,
                  fixture->app, NULL);
    check_refused(fixture, read_with(fixture, "certificate", "app",
                                     "password_file", "password", NULL),
                  "app", "cannot be decrypted: the password is wrong");

    bio = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(bio, fixture->app);
    unit_bio_traditional_key(bio, unit_key(0), PASSWORD);
    unit_file_of_bio(fixture->directory, "app", bio);
    check_refused(fixture, read_with(fixture, "certificate", "app",
                                     "password_file", "password", NULL),
                  "app", "cannot be decrypted: the password is wrong");

    unit_pkcs12_file(fixture->directory, "app", unit_key(0), fixture->app,
                     NULL, PASSWORD, 0);
    check_refused(fixture, read_with(fixture, "certificate", "app",
                                     "password_file", "password", NULL),
                  "app", "cannot be decrypted: the password is wrong");
}


/* Of some hundreds one decrypts the key to something that is no key. */
static void
test_no_wrong_password_is_taken_for_an_old_cipher(void **state)
{
    int         i;
    BIO        *bio;
    char        password[32];
    fixture_t  *fixture = *state;

    bio = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(bio, fixture->app);
    unit_bio_traditional_key(bio, unit_key(0), PASSWORD);
    unit_file_of_bio(fixture->directory, "app", bio);

    for (i = 0; i < WRONG_PASSWORDS; i++) {
        snprintf(password, sizeof(password), "not it %d", i);
        write_password(fixture, password);

        check_refused(fixture, read_with(fixture, "certificate", "app",
                                         "password_file", "password", NULL),
                      "app", "cannot be decrypted: the password is wrong");
    }
}


static void
test_several_keys_are_refused(void **state)
{
    BIO        *bio;
    fixture_t  *fixture = *state;

    bio = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(bio, fixture->app);
    unit_bio_key(bio, unit_key(0), NULL);
    unit_bio_key(bio, unit_key(1), NULL);
    unit_file_of_bio(fixture->directory, "app", bio);
    check_refused(fixture, read_with(fixture, "certificate", "app", NULL),
                  "app", "has 2 private keys, one is needed");

    unit_pkcs12_file(fixture->directory, "app", unit_key(0), fixture->app,
                     NULL, NULL, 0);
    unit_pem_file(fixture->directory, "key", unit_key(0), NULL, NULL);
    check_refused(fixture, read_with(fixture, "certificate", "app", "key",
                                     "key", NULL),
                  "key", "have 2 private keys, one is needed");
}


static void
test_no_key_is_refused(void **state)
{
    fixture_t  *fixture = *state;

    unit_pem_file(fixture->directory, "app", NULL, NULL, fixture->app, NULL);
    unit_pem_file(fixture->directory, "key", NULL, NULL, fixture->app, NULL);

    check_refused(fixture, read_with(fixture, "certificate", "app", NULL),
                  "app", "has no private key: put it into the same file, or "
                  "name its own with \"key=\"");
    check_refused(fixture, read_with(fixture, "certificate", "app", "key",
                                     "key", NULL),
                  "key", "has no private key");

    unit_pkcs12_file(fixture->directory, "app", NULL, fixture->app, NULL,
                     NULL, 0);
    check_refused(fixture, read_with(fixture, "certificate", "app", NULL),
                  "app", "has no private key");
}


static void
test_no_certificate_is_refused(void **state)
{
    fixture_t  *fixture = *state;

    unit_pem_file(fixture->directory, "app", unit_key(0), NULL, NULL);
    check_refused(fixture, read_with(fixture, "certificate", "app", NULL),
                  "app", "has no certificate");

    unit_pkcs12_file(fixture->directory, "app", unit_key(0), NULL, NULL, NULL,
                     0);
    check_refused(fixture, read_with(fixture, "certificate", "app", NULL),
                  "app", "has no certificate");
}


static void
test_key_of_another_certificate_is_refused(void **state)
{
    fixture_t  *fixture = *state;

    unit_pem_file(fixture->directory, "app", unit_key(0), NULL,
                  fixture->other, NULL);
    check_refused(fixture, read_with(fixture, "certificate", "app", NULL),
                  "app", "does not belong to the certificate in");

    unit_pem_file(fixture->directory, "app", NULL, NULL, fixture->app, NULL);
    unit_pem_file(fixture->directory, "key", unit_key(1), NULL, NULL);
    check_refused(fixture, read_with(fixture, "certificate", "app", "key",
                                     "key", NULL),
                  "key", "does not belong to the certificate in");

    unit_pem_file(fixture->directory, "app", unit_key(2), NULL, fixture->app,
                  fixture->other, NULL);
    check_refused(fixture, read_with(fixture, "certificate", "app", NULL),
                  "app", "does not belong to any certificate in");
}


static void
test_keys_that_are_no_rsa_are_refused(void **state)
{
    size_t      i;
    X509       *x509;
    EVP_PKEY   *key;
    fixture_t  *fixture = *state;

    static const int  types[] = { EVP_PKEY_EC, EVP_PKEY_ED25519 };

    for (i = 0; i < unit_count(types); i++) {
        key = unit_new_key(types[i], 0);
        x509 = unit_app_certificate(key);

        unit_pem_file(fixture->directory, "app", key, NULL, x509, NULL);
        check_refused(fixture, read_with(fixture, "certificate", "app", NULL),
                      "app", "is no RSA key: Entra ID takes no other");

        X509_free(x509);
        EVP_PKEY_free(key);
    }
}


static void
test_short_rsa_key_is_refused(void **state)
{
    X509       *x509;
    EVP_PKEY   *key;
    fixture_t  *fixture = *state;

    key = unit_new_key(EVP_PKEY_RSA, 1024);
    x509 = unit_app_certificate(key);

    unit_pem_file(fixture->directory, "app", key, NULL, x509, NULL);
    check_refused(fixture, read_with(fixture, "certificate", "app", NULL),
                  "app", "has 1024 bits, 2048 are needed");

    X509_free(x509);
    EVP_PKEY_free(key);
}


static void
test_file_that_cannot_be_read_is_refused(void **state)
{
    fixture_t  *fixture = *state;

    check_refused(fixture, read_with(fixture, "certificate", "app", NULL),
                  "app", "No such file");
    check_refused(fixture, read_with(fixture, "certificate",
                                     fixture->directory, NULL),
                  "", "cannot read the file");

    unit_pem_file(fixture->directory, "app", NULL, NULL, fixture->app, NULL);
    check_refused(fixture, read_with(fixture, "certificate", "app", "key",
                                     "key", NULL),
                  "key", "No such file");
}


static void
test_file_of_another_kind_is_refused(void **state)
{
    int             length;
    char            large[300000];
    fixture_t      *fixture = *state;
    unsigned char  *der;

    der = NULL;
    length = i2d_X509(fixture->app, &der);
    unit_file(fixture->directory, "app", (char *) der, length, 0600);
    OPENSSL_free(der);
    check_refused(fixture, read_with(fixture, "certificate", "app", NULL),
                  "app", "is a certificate in DER form");

    unit_file(fixture->directory, "app", "", 0, 0600);
    check_refused(fixture, read_with(fixture, "certificate", "app", NULL),
                  "app", "is neither PEM nor PKCS#12");

    unit_file(fixture->directory, "app", "\x30\x82\x00\x01\x02", 5, 0600);
    check_refused(fixture, read_with(fixture, "certificate", "app", NULL),
                  "app", "is neither PEM nor PKCS#12");

    memset(large, 'x', sizeof(large));
    unit_file(fixture->directory, "app", large, sizeof(large), 0600);
    check_refused(fixture, read_with(fixture, "certificate", "app", NULL),
                  "app", "is larger than");
}


/* cut off anywhere, and with any of its bytes changed: read, or an error */
static void
test_damaged_files_are_refused(void **state)
{
    int         type;
    char        content[16384], damaged[16384];
    size_t      i, length;
    FILE       *file;
    char        path[UNIT_PATH_BYTES];
    fixture_t  *fixture = *state;

    write_password(fixture, PASSWORD);

    for (type = 0; type < 2; type++) {

        if (type == 0) {
            unit_pem_file(fixture->directory, "app", unit_key(0), PASSWORD,
                          fixture->app, NULL);

        } else {
            unit_pkcs12_file(fixture->directory, "app", unit_key(0),
                             fixture->app, NULL, PASSWORD, 0);
        }

        snprintf(path, sizeof(path), "%sapp", fixture->directory);
        file = fopen(path, "re");
        length = fread(content, 1, sizeof(content), file);
        fclose(file);
        assert_in_range(length, 1000, sizeof(content) - 1);

        for (i = 0; i < length - 32; i += 97) {
            unit_file(fixture->directory, "app", content, i, 0600);
            assert_int_equal(read_with(fixture, "certificate", "app",
                                       "password_file", "password", NULL),
                             -1);
            assert_string_not_equal(fixture->error.text, "");

            memcpy(damaged, content, length);
            damaged[i] ^= 0x05;
            unit_file(fixture->directory, "app", damaged, length, 0600);

            if (read_with(fixture, "certificate", "app", "password_file",
                          "password", NULL)
                != 0)
            {
                assert_string_not_equal(fixture->error.text, "");
            }
        }
    }
}


static void
test_long_chain_is_refused(void **state)
{
    int         i;
    BIO        *bio;
    char        name[32], issuer[32];
    X509       *x509;
    fixture_t  *fixture = *state;

    bio = BIO_new(BIO_s_mem());
    unit_bio_key(bio, unit_key(0), NULL);

    for (i = 0; i < 40; i++) {
        snprintf(name, sizeof(name), "level %d", i);
        snprintf(issuer, sizeof(issuer), "level %d", i + 1);

        x509 = unit_certificate(unit_key(i == 0 ? 0 : 1), name, unit_key(1),
                                issuer, -1, 90);
        PEM_write_bio_X509(bio, x509);
        X509_free(x509);
    }

    unit_file_of_bio(fixture->directory, "app", bio);

    check_read(fixture, read_with(fixture, "certificate", "app", NULL));
    check_refused(fixture, read_with(fixture, "certificate", "app",
                                     "send_chain", "on", NULL),
                  "app", "24576 are the most that can be sent");
}


static void
test_parameters_are_checked(void **state)
{
    fixture_t  *fixture = *state;

    assert_int_equal(read_with(fixture, NULL), -1);
    unit_assert_contains(fixture->error.text,
                         "\"client_certificate\" needs \"certificate=\"");

    assert_int_equal(read_with(fixture, "certificate", "app", "send_chain",
                               "yes", NULL), -1);
    unit_assert_contains(fixture->error.text,
                         "\"send_chain=yes\" is wrong, it must be \"on\" or "
                         "\"off\"");

    assert_int_equal(read_with(fixture, "secret", "x", NULL), -1);
    unit_assert_contains(fixture->error.text, "it has: tenant_id, client_id, "
                         "certificate, key, password_file, send_chain");
}


static void
test_description_has_no_password(void **state)
{
    char        text[512];
    fixture_t  *fixture = *state;

    test_password_opens_an_encrypted_pkcs8_key(state);
    aad_credential_describe(fixture->credential, text, sizeof(text));

    assert_string_equal(text, "client_certificate tenant_id=" UNIT_TENANT
                        " client_id=" UNIT_CLIENT " certificate=app");
}


static int64_t
end_of(const X509 *x509)
{
    int  days, seconds;

    assert_int_equal(ASN1_TIME_diff(&days, &seconds, NULL,
                                    X509_get0_notAfter(x509)), 1);

    return (int64_t) time(NULL) + (int64_t) days * UNIT_DAY_S + seconds;
}


static void
test_warning_in_the_last_30_days(void **state)
{
    int64_t      end;
    char         date[64];
    time_t       end_time;
    fixture_t   *fixture = *state;
    struct tm    tm;
    aad_error_t  warning;

    test_pem_with_certificate_and_key(state);

    end = end_of(fixture->app);

    /* the clock of this test moves on by itself */

    assert_int_equal(aad_credential_warning(fixture->credential,
                                            end - 30 * UNIT_DAY_S - 60,
                                            &warning), 0);
    assert_int_equal(aad_credential_warning(fixture->credential,
                                            end - 30 * UNIT_DAY_S + 60,
                                            &warning), 1);
    unit_assert_contains(warning.text, fixture->directory);
    unit_assert_contains(warning.text, "expires on 2");
    unit_assert_contains(warning.text, "reload");

    assert_int_equal(aad_credential_warning(fixture->credential, end + 60,
                                            &warning), 1);
    unit_assert_contains(warning.text, "has expired on ");

    end_time = end;
    gmtime_r(&end_time, &tm);
    strftime(date, sizeof(date), "%Y-%m-%d", &tm);
    unit_assert_contains(warning.text, date);
}


static void
test_warning_before_the_first_day(void **state)
{
    X509         *x509;
    fixture_t    *fixture = *state;
    aad_error_t   warning;

    x509 = unit_certificate(unit_key(0), "app", unit_key(0), "app", 1, 365);
    unit_pem_file(fixture->directory, "app", unit_key(0), NULL, x509, NULL);
    X509_free(x509);

    check_read(fixture, read_with(fixture, "certificate", "app", NULL));

    assert_int_equal(aad_credential_warning(fixture->credential, time(NULL),
                                            &warning), 1);
    unit_assert_contains(warning.text, "is not valid before 2");
}


static void
test_no_warning_of_other_credentials(void **state)
{
    fixture_t           *fixture = *state;
    aad_error_t          warning;
    aad_environment_t    environment;

    environment = unit_environment(NULL, fixture->directory);
    fixture->credential = aad_credential_create("client_secret", &environment,
                                                &warning);
    assert_non_null(fixture->credential);
    assert_int_equal(aad_credential_warning(fixture->credential, time(NULL),
                                            &warning), 0);
}


static void
digest(fixture_t *fixture, unsigned char *bytes)
{
    aad_settings_t  settings;

    memset(&settings, 0, sizeof(aad_settings_t));

    settings.authority_host = "https://login.microsoftonline.com";
    settings.scope = UNIT_SCOPE;
    settings.chain[0] = fixture->credential;
    settings.chain_length = 1;

    assert_int_equal(aad_settings_digest(&settings, bytes), 0);
}


static void
test_same_certificate_is_the_same_identity(void **state)
{
    char            path[UNIT_PATH_BYTES];
    fixture_t      *fixture = *state;
    unsigned char   first[AAD_DIGEST_BYTES], other[AAD_DIGEST_BYTES];

    test_pem_with_certificate_and_key(state);
    digest(fixture, first);

    snprintf(path, sizeof(path), "%sapp", fixture->directory);
    check_read(fixture, read_with(fixture, "certificate", path, NULL));
    digest(fixture, other);
    assert_memory_equal(first, other, AAD_DIGEST_BYTES);

    /* in other files, of another form, with another password */

    test_pem_with_a_key_of_its_own_file(state);
    digest(fixture, other);
    assert_memory_equal(first, other, AAD_DIGEST_BYTES);

    test_pkcs12_with_a_password(state);
    digest(fixture, other);
    assert_memory_equal(first, other, AAD_DIGEST_BYTES);

    check_read(fixture, read_with(fixture, "certificate", "app",
                                  "password_file", "password", "send_chain",
                                  "off", NULL));
    digest(fixture, other);
    assert_memory_equal(first, other, AAD_DIGEST_BYTES);
}


static void
test_other_certificate_is_another_identity(void **state)
{
    X509           *renewed;
    fixture_t      *fixture = *state;
    unsigned char   first[AAD_DIGEST_BYTES], other[AAD_DIGEST_BYTES];

    test_pem_with_certificate_and_key(state);
    digest(fixture, first);

    /* of another key, of the same key, and sent along */

    unit_pem_file(fixture->directory, "app", unit_key(1), NULL,
                  fixture->other, NULL);
    check_read(fixture, read_with(fixture, "certificate", "app", NULL));
    digest(fixture, other);
    assert_memory_not_equal(first, other, AAD_DIGEST_BYTES);

    renewed = unit_app_certificate(unit_key(0));
    unit_pem_file(fixture->directory, "renewed", unit_key(0), NULL, renewed,
                  NULL);
    X509_free(renewed);
    check_read(fixture, read_with(fixture, "certificate", "renewed", NULL));
    digest(fixture, other);
    assert_memory_not_equal(first, other, AAD_DIGEST_BYTES);

    test_pem_with_certificate_and_key(state);
    check_read(fixture, read_with(fixture, "certificate", "app", "send_chain",
                                  "on", NULL));
    digest(fixture, other);
    assert_memory_not_equal(first, other, AAD_DIGEST_BYTES);
}


#define test(name)  cmocka_unit_test_setup_teardown(name, setup, teardown)


int
main(void)
{
    static const struct CMUnitTest  tests[] = {
        test(test_pem_with_certificate_and_key),
        test(test_pem_with_a_key_of_its_own_file),
        test(test_pem_with_text_between_the_blocks),
        test(test_pem_key_in_the_traditional_form),
        test(test_password_opens_an_encrypted_pkcs8_key),
        test(test_password_opens_an_encrypted_traditional_key),
        test(test_password_that_is_not_needed_is_no_error),
        test(test_password_is_wiped_when_the_key_is_read),
        test(test_pkcs12_with_a_password),
        test(test_pkcs12_without_a_password),
        test(test_pkcs12_with_its_key_elsewhere),
        test(test_pkcs12_with_a_chain),
        test(test_encrypted_without_a_password_names_the_parameter),
        test(test_wrong_password_is_refused),
        test(test_no_wrong_password_is_taken_for_an_old_cipher),
        test(test_several_keys_are_refused),
        test(test_no_key_is_refused),
        test(test_no_certificate_is_refused),
        test(test_key_of_another_certificate_is_refused),
        test(test_keys_that_are_no_rsa_are_refused),
        test(test_short_rsa_key_is_refused),
        test(test_file_that_cannot_be_read_is_refused),
        test(test_file_of_another_kind_is_refused),
        test(test_damaged_files_are_refused),
        test(test_long_chain_is_refused),
        test(test_parameters_are_checked),
        test(test_description_has_no_password),
        test(test_warning_in_the_last_30_days),
        test(test_warning_before_the_first_day),
        test(test_no_warning_of_other_credentials),
        test(test_same_certificate_is_the_same_identity),
        test(test_other_certificate_is_another_identity)
    };

    return cmocka_run_group_tests_name("client certificate", tests, NULL,
                                       NULL);
}
