
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * Azure Arc: which files its challenge may name, and all that is refused.
 */


#include "managed_identity.h"
#include "source.h"


#define TARGET                                                                \
    "/metadata/identity/oauth2/token?api-version=2020-06-01&"                 \
    UNIT_RESOURCE_QUERY

#define KEYS        "/var/opt/azcmagent/tokens"
#define KEY         "Key~0123456789/abcdef+=="
#define NOBODY      65534


/* A directory of keys; its name has no slash at the end. */
typedef struct {
    char                    directory[UNIT_DIRECTORY_BYTES];
    char                    slash[UNIT_DIRECTORY_BYTES];
    aad_secret_t            key;
    aad_error_t             error;
} keys_t;


static int
setup(void **state)
{
    keys_t  *keys;

    keys = calloc(1, sizeof(keys_t));
    assert_non_null(keys);
    *state = keys;

    unit_directory(keys->slash, sizeof(keys->slash));
    snprintf(keys->directory, sizeof(keys->directory), "%.*s",
             (int) strlen(keys->slash) - 1, keys->slash);

    aad_secret_init(&keys->key, 4096);

    return 0;
}


static int
teardown(void **state)
{
    keys_t  *keys = *state;

    aad_secret_wipe(&keys->key);
    unit_remove(keys->slash, "");
    free(keys);

    return 0;
}


/* Reads the key of the challenge; "%s" stands for the directory. */
static int
read_key(keys_t *keys, const char *format)
{
    char  challenge[AAD_CHALLENGE_BYTES];

    aad_secret_wipe(&keys->key);
    keys->error.text[0] = '\0';

    snprintf(challenge, sizeof(challenge), format, keys->directory,
             keys->directory);

    return aad_arc_key(keys->directory, challenge, &keys->key, &keys->error);
}


static void
check_refused(keys_t *keys, const char *format, const char *reason)
{
    if (read_key(keys, format) != -1) {
        fail_msg("\"%s\" is taken", format);
    }

    assert_int_equal(keys->key.length, 0);
    unit_assert_contains(keys->error.text, reason);
    unit_assert_lacks(keys->error.text, KEY);
}


static void
test_key_is_read_as_it_is(void **state)
{
    size_t   i;
    keys_t  *keys = *state;

    static const char *const  challenges[] = {
        "Basic realm=%s/a-1.key", "basic realm=%s/a-1.key",
        "BASIC REALM=%s/a-1.key", "Basic realm=\"%s/a-1.key\"",
        "Basic realm=%s/a-1.key "
    };

    unit_file(keys->slash, "a-1.key", KEY, strlen(KEY), 0600);

    for (i = 0; i < unit_count(challenges); i++) {

        if (read_key(keys, challenges[i]) != 0) {
            fail_msg("\"%s\": %s", challenges[i], keys->error.text);
        }

        assert_string_equal(keys->key.data, KEY);
    }

    unit_remove(keys->slash, "a-1.key");
}


static void
test_challenge_of_another_form_is_refused(void **state)
{
    size_t   i;
    keys_t  *keys = *state;

    static const char *const  challenges[] = {
        "", "Basic", "Basic realm", "Bearer realm=%s/a.key", "%s/a.key",
        "Basic  realm=%s/a.key", "Basic realm =%s/a.key", "realm=%s/a.key",
        "Basic realm=%s/a.key, charset=\"UTF-8\"", "Basic realm=%s/a=b.key",
        "Basic x=y, realm=%s/a.key"
    };

    unit_file(keys->slash, "a.key", KEY, strlen(KEY), 0600);
    unit_file(keys->slash, "a=b.key", KEY, strlen(KEY), 0600);

    for (i = 0; i < unit_count(challenges); i++) {
        check_refused(keys, challenges[i], "is not \"Basic realm=FILE\"");
    }

    unit_remove(keys->slash, "a.key");
    unit_remove(keys->slash, "a=b.key");
}


static void
test_file_of_another_directory_is_refused(void **state)
{
    size_t   i;
    char     path[UNIT_PATH_BYTES];
    keys_t  *keys = *state;

    static const char *const  challenges[] = {
        "Basic realm=/etc/passwd", "Basic realm=/etc/a.key",
        "Basic realm=a.key", "Basic realm=./a.key", "Basic realm=/a.key",
        "Basic realm=", "Basic realm=\"\"", "Basic realm=%s",
        "Basic realm=%s.key", "Basic realm=%sx/a.key", "Basic realm=%s//a.key",
        "Basic realm=%s/sub/a.key", "Basic realm=%s/./a.key",
        "Basic realm=%s/../tokens/a.key", "Basic realm=%s/sub/../a.key",
        "Basic realm=%s/..a.key", "Basic realm=%s/a..key",
        "Basic realm=/%s/a.key", "Basic realm= %s/a.key",
        "Basic realm=file://%s/a.key", "Basic realm='%s/a.key'",
        "Basic realm=\"%s/a.key", "Basic realm=%s/a.key,%s/a.key"
    };

    snprintf(path, sizeof(path), "%ssub", keys->slash);
    assert_int_equal(mkdir(path, 0700), 0);
    unit_file(keys->slash, "a.key", KEY, strlen(KEY), 0600);
    unit_file(keys->slash, "..a.key", KEY, strlen(KEY), 0600);
    unit_file(keys->slash, "sub/a.key", KEY, strlen(KEY), 0600);

    for (i = 0; i < unit_count(challenges); i++) {
        check_refused(keys, challenges[i], "which is not in \"");
    }

    unit_remove(keys->slash, "sub/a.key");
    unit_remove(keys->slash, "sub");
    unit_remove(keys->slash, "..a.key");
    unit_remove(keys->slash, "a.key");
}


static void
test_file_of_another_name_is_refused(void **state)
{
    keys_t  *keys = *state;

    unit_file(keys->slash, "shadow", KEY, strlen(KEY), 0600);

    check_refused(keys, "Basic realm=%s/shadow", "does not end with \".key\"");
    check_refused(keys, "Basic realm=%s/a.KEY", "does not end with \".key\"");
    check_refused(keys, "Basic realm=%s/a.key.txt", "does not end with");
    check_refused(keys, "Basic realm=%s/key", "does not end with");
    check_refused(keys, "Basic realm=%s/", "does not end with");

    unit_remove(keys->slash, "shadow");
}


static void
test_link_is_refused(void **state)
{
    char     to[UNIT_PATH_BYTES], link[UNIT_PATH_BYTES];
    keys_t  *keys = *state;

    unit_file(keys->slash, "a.key", KEY, strlen(KEY), 0600);
    snprintf(to, sizeof(to), "%sa.key", keys->slash);
    snprintf(link, sizeof(link), "%sb.key", keys->slash);
    assert_int_equal(symlink(to, link), 0);

    check_refused(keys, "Basic realm=%s/b.key", "it is a symbolic link");

    unit_remove(keys->slash, "b.key");
    unit_remove(keys->slash, "a.key");
}


static void
test_what_is_no_regular_file_is_refused(void **state)
{
    char     path[UNIT_PATH_BYTES];
    keys_t  *keys = *state;

    snprintf(path, sizeof(path), "%sa.key", keys->slash);

    assert_int_equal(mkdir(path, 0700), 0);
    check_refused(keys, "Basic realm=%s/a.key", "is no regular file");
    unit_remove(keys->slash, "a.key");

    /* nobody writes into it: to wait for it would be for ever */

    assert_int_equal(mkfifo(path, 0600), 0);
    check_refused(keys, "Basic realm=%s/a.key", "is no regular file");
    unit_remove(keys->slash, "a.key");

    check_refused(keys, "Basic realm=%s/a.key", "No such file");
}


static void
test_size_of_a_key_has_an_end(void **state)
{
    char     content[4097];
    keys_t  *keys = *state;

    memset(content, 'k', sizeof(content));

    unit_file(keys->slash, "a.key", content, 4096, 0600);
    assert_int_equal(read_key(keys, "Basic realm=%s/a.key"), 0);
    assert_int_equal(keys->key.length, 4096);

    unit_file(keys->slash, "a.key", content, 4097, 0600);
    check_refused(keys, "Basic realm=%s/a.key", "larger than 4096 bytes");

    unit_remove(keys->slash, "a.key");
}


/* it goes into a header as it is */
static void
test_content_that_is_no_key_is_refused(void **state)
{
    size_t   i;
    keys_t  *keys = *state;

    static const struct {
        const char             *content;
        size_t                  length;
        const char             *reason;
    } contents[] = {
        { "", 0, "is empty" },
        { KEY "\n", sizeof(KEY), "is no key" },
        { KEY "\r\nX: y", sizeof(KEY) + 5, "is no key" },
        { KEY "\0x", sizeof(KEY) + 1, "is no key" },
        { "a b", 3, "is no key" },
        { "\xc3\xb6", 2, "is no key" }
    };

    for (i = 0; i < unit_count(contents); i++) {
        unit_file(keys->slash, "a.key", contents[i].content,
                  contents[i].length, 0600);
        check_refused(keys, "Basic realm=%s/a.key", contents[i].reason);
    }

    unit_remove(keys->slash, "a.key");
}


static void
test_key_that_may_not_be_read_names_the_group(void **state)
{
    uid_t    me;
    keys_t  *keys = *state;

    me = geteuid();
    unit_file(keys->slash, "a.key", KEY, strlen(KEY), me == 0 ? 0600 : 0);

    if (me == 0) {
        assert_int_equal(seteuid(NOBODY), 0);
    }

    check_refused(keys, "Basic realm=%s/a.key",
                  "add the user of nginx's workers to the group \"himds\"");

    if (me == 0) {
        assert_int_equal(seteuid(0), 0);
    }

    unit_remove(keys->slash, "a.key");
}


static void
test_localhost_is_the_address(void **state)
{
    size_t  i;
    char    endpoint[256];

    static const char *const  urls[][2] = {
        { "http://localhost:40342/metadata/identity/oauth2/token",
          "http://127.0.0.1:40342/metadata/identity/oauth2/token" },
        { "http://LocalHost/x?a=localhost",
          "http://127.0.0.1/x?a=localhost" },
        { "https://localhost", "https://127.0.0.1" },
        { "http://127.0.0.1:40342/localhost",
          "http://127.0.0.1:40342/localhost" },
        { "http://localhost.example.com/x", "http://localhost.example.com/x" },
        { "http://[::1]:40342/x", "http://[::1]:40342/x" }
    };

    (void) state;

    for (i = 0; i < unit_count(urls); i++) {
        aad_arc_endpoint(urls[i][0], endpoint, sizeof(endpoint));
        assert_string_equal(endpoint, urls[i][1]);
    }
}


static void
arc(unit_identity_t *identity)
{
    char  url[128];

    snprintf(url, sizeof(url), "http://localhost:%d"
             "/metadata/identity/oauth2/token", identity->machine.port);

    unit_identity_variable(identity, "IDENTITY_ENDPOINT", url);
    unit_source_endpoint(identity, "IMDS_ENDPOINT", "");
}


/* All of the first request, and a reason to send no second one. */
static void
check_challenge(unit_identity_t *identity, const char *name,
    const char *value, const char *target)
{
    char  line[512];

    static const unit_header_t  headers[] = {
        { "Metadata", "true" },
        { NULL, NULL }
    };

    arc(identity);
    unit_identity_step(identity, "managed_identity", name, value, NULL);
    unit_identity_secret_step(identity, "secret");
    unit_server_answer(&identity->machine, 401,
                       "WWW-Authenticate: Basic realm=/etc/passwd\r\n", "");

    assert_int_equal(unit_identity_ask(identity), AAD_FAILED);
    assert_string_equal(unit_identity_reason(identity, 0),
                        "Azure Arc: the challenge names \"/etc/passwd\", "
                        "which is not in \"" KEYS "\"");

    snprintf(line, sizeof(line), "GET %s", target);
    unit_assert_source_request(identity, 0, line, headers, "");
    assert_int_equal(unit_server_requests(&identity->machine), 1);
    assert_int_equal(unit_server_requests(&identity->authority), 0);
}


static void
test_arc_is_asked_for_the_machines_own(void **state)
{
    check_challenge(*state, NULL, NULL, TARGET);
}


static void
test_arc_is_asked_by_client_id(void **state)
{
    check_challenge(*state, "client_id", UNIT_CLIENT,
                    TARGET "&client_id=" UNIT_CLIENT);
}


static void
test_arc_is_asked_by_object_id(void **state)
{
    check_challenge(*state, "object_id", UNIT_OBJECT,
                    TARGET "&object_id=" UNIT_OBJECT);
}


static void
test_arc_is_asked_by_resource_id(void **state)
{
    check_challenge(*state, "resource_id", UNIT_RESOURCE_ID,
                    TARGET "&msi_res_id=" UNIT_RESOURCE_ID_QUERY);
}


/* contract 3.6: anything but 401 is an error */
static void
test_arc_without_a_good_challenge_stops(void **state)
{
    static const unit_refusal_t  refusals[] = {
        { 200, UNIT_MACHINE_TOKEN, AAD_FAILED, "",
          "Azure Arc: a token without a challenge", 1 },
        { 401, "", AAD_FAILED, "", "Azure Arc: the challenge \"\" is not "
          "\"Basic realm=FILE\"", 1 },
        { 400, "{\"error\":\"invalid_request\"}", AAD_FAILED,
          "invalid_request", "Azure Arc: status 400, invalid_request", 1 },
        { 403, "unreachable", AAD_FAILED, "", "Azure Arc: status 403", 1 },
        { 404, "", AAD_FAILED, "", "Azure Arc: status 404 with nothing", 1 },
        { 500, "", AAD_FAILED, "", "Azure Arc: status 500 with nothing",
          UNIT_MACHINE_TRIES },
        { 307, "", AAD_FAILED, "", "Azure Arc: status 307", 1 }
    };

    arc(*state);
    unit_source_refusals(*state, NULL, NULL, refusals, unit_count(refusals));
}


static void
test_closed_port_of_arc_stops(void **state)
{
    unit_identity_t  *identity = *state;

    arc(identity);
    unit_identity_variable(identity, "IDENTITY_ENDPOINT",
                           identity->closed_url);
    unit_identity_step(identity, "managed_identity", NULL);
    unit_identity_secret_step(identity, "secret");

    assert_int_equal(unit_identity_ask(identity), AAD_FAILED);
    unit_assert_contains(unit_identity_reason(identity, 0),
                         "Azure Arc's agent: ");
    assert_int_equal(unit_server_requests(&identity->authority), 0);
}


#define test(name)  cmocka_unit_test_setup_teardown(name, setup, teardown)


int
main(void)
{
    static const struct CMUnitTest  tests[] = {
        test(test_key_is_read_as_it_is),
        test(test_challenge_of_another_form_is_refused),
        test(test_file_of_another_directory_is_refused),
        test(test_file_of_another_name_is_refused),
        test(test_link_is_refused),
        test(test_what_is_no_regular_file_is_refused),
        test(test_size_of_a_key_has_an_end),
        test(test_content_that_is_no_key_is_refused),
        test(test_key_that_may_not_be_read_names_the_group),
        cmocka_unit_test(test_localhost_is_the_address),
        unit_identity_test(test_arc_is_asked_for_the_machines_own),
        unit_identity_test(test_arc_is_asked_by_client_id),
        unit_identity_test(test_arc_is_asked_by_object_id),
        unit_identity_test(test_arc_is_asked_by_resource_id),
        unit_identity_test(test_arc_without_a_good_challenge_stops),
        unit_identity_test(test_closed_port_of_arc_stops)
    };

    if (aad_global_init() != 0) {
        return 1;
    }

    return cmocka_run_group_tests_name("Azure Arc", tests, NULL, NULL);
}
