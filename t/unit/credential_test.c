
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * Credentials as they are configured: types, parameters, files, defaults of
 * the environment, and their description.
 */


#include "check.h"


#define SECRET  "very~secret+value="


/* one credential at a time, and a directory for the files it names */
typedef struct {
    char                    directory[UNIT_DIRECTORY_BYTES];
    aad_credential_t       *credential;
    aad_error_t             error;
} fixture_t;


static const unit_variable_t  no_variables[] = { { NULL, NULL } };


static int
setup(void **state)
{
    fixture_t  *fixture;

    fixture = calloc(1, sizeof(fixture_t));
    assert_non_null(fixture);

    unit_directory(fixture->directory, sizeof(fixture->directory));
    *state = fixture;

    return 0;
}


static int
teardown(void **state)
{
    fixture_t  *fixture = *state;

    aad_credential_destroy(fixture->credential);
    unit_remove(fixture->directory, "secret");
    unit_remove(fixture->directory, "");
    free(fixture);

    return 0;
}


static void
create(fixture_t *fixture, const char *type, const unit_variable_t *variables)
{
    aad_environment_t  environment;

    environment = unit_environment(variables, fixture->directory);

    aad_credential_destroy(fixture->credential);
    fixture->credential = aad_credential_create(type, &environment,
                                                &fixture->error);
    assert_non_null(fixture->credential);
}


static int
set(fixture_t *fixture, const char *name, const char *value)
{
    fixture->error.text[0] = '\0';

    return aad_credential_set(fixture->credential, name, value,
                              &fixture->error);
}


static int
set_secret_file(fixture_t *fixture, const char *content, size_t length)
{
    unit_file(fixture->directory, "secret", content, length, 0600);
    create(fixture, "client_secret", no_variables);

    return set(fixture, "secret_file", "secret");
}


static void
test_unknown_type_lists_the_types(void **state)
{
    size_t              i;
    aad_error_t         error;
    aad_environment_t   environment;

    static const char *const  types[] = {
        "workload_identity", "managed_identity", "environment",
        "client_secret", "client_certificate", "federated_managed_identity",
        "azure_cli", "azure_developer_cli"
    };

    (void) state;

    environment = unit_environment(no_variables, NULL);

    assert_null(aad_credential_create("magic", &environment, &error));
    unit_assert_contains(error.text, "unknown credential type \"magic\"");

    for (i = 0; i < unit_count(types); i++) {
        unit_assert_contains(error.text, types[i]);
    }

    assert_null(aad_credential_create("", &environment, &error));
    assert_null(aad_credential_create("Environment", &environment, &error));

    /* the type was forgotten */

    assert_null(aad_credential_create("secret=hidden", &environment, &error));
    unit_assert_contains(error.text, "type \"secret\"");
    unit_assert_lacks(error.text, "hidden");
}


static void
test_type_is_named(void **state)
{
    size_t      i;
    char        text[64];
    fixture_t  *fixture = *state;

    static const char *const  types[] = {
        "workload_identity", "managed_identity", "environment",
        "client_secret", "client_certificate", "federated_managed_identity",
        "azure_cli", "azure_developer_cli"
    };

    for (i = 0; i < unit_count(types); i++) {
        create(fixture, types[i], no_variables);
        assert_string_equal(aad_credential_type(fixture->credential),
                            types[i]);

        aad_credential_describe(fixture->credential, text, sizeof(text));
        assert_string_equal(text, types[i]);
    }
}


static void
test_destroying_nothing_is_allowed(void **state)
{
    (void) state;

    aad_credential_destroy(NULL);
}


static void
test_unknown_parameter_lists_the_parameters(void **state)
{
    fixture_t  *fixture = *state;

    create(fixture, "managed_identity", no_variables);

    assert_int_equal(set(fixture, "clientid", UNIT_CLIENT), -1);
    unit_assert_contains(fixture->error.text,
                         "\"managed_identity\" has no parameter \"clientid\"");
    unit_assert_contains(fixture->error.text, "client_id");
    unit_assert_contains(fixture->error.text, "object_id");
    unit_assert_contains(fixture->error.text, "resource_id");
    unit_assert_lacks(fixture->error.text, "IDENTITY");

    create(fixture, "environment", no_variables);

    assert_int_equal(set(fixture, "client_id", UNIT_CLIENT), -1);
    unit_assert_contains(fixture->error.text, "has no parameter");
    unit_assert_lacks(fixture->error.text, "it has");
}


static void
test_parameter_of_wrong_form_says_what_is_due(void **state)
{
    size_t      i;
    fixture_t  *fixture = *state;

    static const struct {
        const char             *type;
        const char             *name;
        const char             *value;
        const char             *reason;
    } wrong[] = {
        { "managed_identity", "client_id", "x", "it must be a GUID" },
        { "managed_identity", "object_id", "x", "it must be a GUID" },
        { "managed_identity", "resource_id", "x", "it must be a resource id" },
        { "client_secret", "tenant_id", "common", "it must be a tenant" },
        { "client_secret", "client_id", UNIT_CLIENT "0", "it must be a GUID" },
        { "azure_cli", "tenant_id", "--help", "it must be a tenant" },
        { "azure_cli", "subscription", "-x", "it must be a subscription" },
        { "azure_cli", "path", "az", "it must be an absolute file name" }
    };

    for (i = 0; i < unit_count(wrong); i++) {
        create(fixture, wrong[i].type, no_variables);

        assert_int_equal(set(fixture, wrong[i].name, wrong[i].value), -1);
        unit_assert_contains(fixture->error.text, wrong[i].name);
        unit_assert_contains(fixture->error.text, wrong[i].value);
        unit_assert_contains(fixture->error.text, wrong[i].reason);
    }
}


static void
test_empty_parameter_is_refused(void **state)
{
    fixture_t  *fixture = *state;

    create(fixture, "client_secret", no_variables);

    assert_int_equal(set(fixture, "client_id", ""), -1);
    unit_assert_contains(fixture->error.text, "\"client_id\" is empty");

    assert_int_equal(set(fixture, "secret", ""), -1);
    unit_assert_contains(fixture->error.text, "\"secret\" is empty");
}


static void
test_parameter_is_given_once(void **state)
{
    fixture_t  *fixture = *state;

    create(fixture, "managed_identity", no_variables);

    assert_int_equal(set(fixture, "client_id", UNIT_CLIENT), 0);
    assert_int_equal(set(fixture, "client_id", UNIT_CLIENT), -1);
    unit_assert_contains(fixture->error.text, "\"client_id\" is given twice");
}


static void
test_parameter_is_a_name_and_a_value(void **state)
{
    size_t      length;
    char        text[64];
    fixture_t  *fixture = *state;

    create(fixture, "client_secret", no_variables);

    snprintf(text, sizeof(text), "secret=hidden=a");
    length = strlen(text);

    assert_int_equal(aad_credential_set_parameter(fixture->credential, text,
                                                  &fixture->error), 0);
    assert_null(memmem(text, length, "hidden", 6));

    snprintf(text, sizeof(text), "client_id=hidden");
    assert_int_equal(aad_credential_set_parameter(fixture->credential, text,
                                                  &fixture->error), -1);
    unit_assert_contains(fixture->error.text, "\"client_id=hidden\"");
    assert_null(memmem(text, sizeof(text), "hidden", 6));

    /* a secret without its name */

    snprintf(text, sizeof(text), "hidden");
    assert_int_equal(aad_credential_set_parameter(fixture->credential, text,
                                                  &fixture->error), -1);
    unit_assert_contains(fixture->error.text, "write \"name=value\"");
    unit_assert_lacks(fixture->error.text, "hidden");

    create(fixture, "managed_identity", no_variables);

    snprintf(text, sizeof(text), "client_id");
    assert_int_equal(aad_credential_set_parameter(fixture->credential, text,
                                                  &fixture->error), -1);
    unit_assert_contains(fixture->error.text, "\"client_id\" is no parameter");
}


static void
test_secret_and_secret_file_exclude_each_other(void **state)
{
    fixture_t  *fixture = *state;

    assert_int_equal(set_secret_file(fixture, SECRET, strlen(SECRET)), 0);
    assert_int_equal(set(fixture, "secret", "other"), -1);
    unit_assert_contains(fixture->error.text, "\"secret\" is given twice");
    unit_assert_lacks(fixture->error.text, "other\"");

    create(fixture, "client_secret", no_variables);

    assert_int_equal(set(fixture, "secret", SECRET), 0);
    assert_int_equal(set(fixture, "secret_file", "secret"), -1);
    unit_assert_contains(fixture->error.text, "\"secret_file\" is given");
}


static void
test_managed_identity_takes_one_selector(void **state)
{
    size_t      i, j;
    fixture_t  *fixture = *state;

    static const char *const  selectors[][2] = {
        { "client_id",   UNIT_CLIENT },
        { "object_id",   UNIT_OBJECT },
        { "resource_id", "/subscriptions/x/y" }
    };

    for (i = 0; i < unit_count(selectors); i++) {

        create(fixture, "managed_identity", no_variables);
        assert_int_equal(set(fixture, selectors[i][0], selectors[i][1]), 0);
        assert_int_equal(aad_credential_complete(fixture->credential,
                                                 &fixture->error), 0);

        j = (i + 1) % unit_count(selectors);

        assert_int_equal(set(fixture, selectors[j][0], selectors[j][1]), 0);
        assert_int_equal(aad_credential_complete(fixture->credential,
                                                 &fixture->error), -1);
        unit_assert_contains(fixture->error.text, "takes one of");
    }
}


static void
test_azure_cli_takes_tenant_or_subscription(void **state)
{
    fixture_t  *fixture = *state;

    create(fixture, "azure_cli", no_variables);

    assert_int_equal(set(fixture, "tenant_id", UNIT_TENANT), 0);
    assert_int_equal(aad_credential_complete(fixture->credential,
                                             &fixture->error), 0);

    assert_int_equal(set(fixture, "subscription", "x"), 0);
    assert_int_equal(aad_credential_complete(fixture->credential,
                                             &fixture->error), -1);
    unit_assert_contains(fixture->error.text, "not both");
}


static void
test_what_is_needed_is_asked_for(void **state)
{
    size_t      i;
    fixture_t  *fixture = *state;

    static const char *const  needed[][3] = {
        { "tenant_id", UNIT_TENANT, "needs \"tenant_id=\"" },
        { "client_id", UNIT_CLIENT, "needs \"client_id=\"" },
        { "secret",    SECRET,      "needs \"secret_file=\"" }
    };

    create(fixture, "client_secret", no_variables);

    for (i = 0; i < unit_count(needed); i++) {
        assert_int_equal(aad_credential_complete(fixture->credential,
                                                 &fixture->error), -1);
        unit_assert_contains(fixture->error.text, needed[i][2]);
        assert_int_equal(set(fixture, needed[i][0], needed[i][1]), 0);
    }

    assert_int_equal(aad_credential_complete(fixture->credential,
                                             &fixture->error), 0);
}


static void
test_value_is_copied(void **state)
{
    char        value[] = UNIT_CLIENT;
    char        text[128];
    fixture_t  *fixture = *state;

    create(fixture, "managed_identity", no_variables);
    assert_int_equal(set(fixture, "client_id", value), 0);

    memset(value, 'x', sizeof(value) - 1);

    aad_credential_describe(fixture->credential, text, sizeof(text));
    assert_string_equal(text, "managed_identity client_id=" UNIT_CLIENT);
}


static void
test_value_has_a_maximum(void **state)
{
    char        value[AAD_VALUE_BYTES_MAX + 2];
    fixture_t  *fixture = *state;

    memset(value, 'x', sizeof(value) - 1);

    create(fixture, "client_secret", no_variables);

    value[AAD_VALUE_BYTES_MAX] = '\0';
    assert_int_equal(set(fixture, "secret", value), 0);

    create(fixture, "client_secret", no_variables);

    value[AAD_VALUE_BYTES_MAX] = 'x';
    value[AAD_VALUE_BYTES_MAX + 1] = '\0';
    assert_int_equal(set(fixture, "secret", value), -1);
    unit_assert_contains(fixture->error.text, "\"secret\" is too long");
    unit_assert_lacks(fixture->error.text, "xxx");
}


static void
test_secret_file_is_relative_to_the_directory(void **state)
{
    char        path[UNIT_PATH_BYTES];
    fixture_t  *fixture = *state;

    assert_int_equal(set_secret_file(fixture, SECRET, strlen(SECRET)), 0);
    assert_string_equal(fixture->credential->values[2].data, SECRET);

    snprintf(path, sizeof(path), "%ssecret", fixture->directory);
    create(fixture, "client_secret", no_variables);

    assert_int_equal(set(fixture, "secret_file", path), 0);
    assert_string_equal(fixture->credential->values[2].data, SECRET);
}


static void
test_secret_file_is_trimmed(void **state)
{
    fixture_t  *fixture = *state;

    static const char  content[] = "\n " SECRET "\r\n\n";

    assert_int_equal(set_secret_file(fixture, content, strlen(content)), 0);
    assert_string_equal(fixture->credential->values[2].data, SECRET);
}


static void
test_empty_secret_file_is_refused(void **state)
{
    fixture_t  *fixture = *state;

    assert_int_equal(set_secret_file(fixture, "", 0), -1);
    unit_assert_contains(fixture->error.text, "/secret\" is empty");

    assert_int_equal(set_secret_file(fixture, " \r\n\t", 4), -1);
    unit_assert_contains(fixture->error.text, "/secret\" is empty");
}


static void
test_unreadable_secret_file_is_refused(void **state)
{
    fixture_t  *fixture = *state;

    create(fixture, "client_secret", no_variables);

    assert_int_equal(set(fixture, "secret_file", "none"), -1);
    unit_assert_contains(fixture->error.text, "cannot open the file \"");
    unit_assert_contains(fixture->error.text, "/none\": No such file");

    create(fixture, "client_secret", no_variables);

    assert_int_equal(set(fixture, "secret_file", fixture->directory), -1);
    unit_assert_contains(fixture->error.text, "cannot read the file");

    if (geteuid() != 0) {
        assert_int_equal(set_secret_file(fixture, SECRET, 4), 0);
        assert_int_equal(chmod(fixture->directory, 0), 0);
        create(fixture, "client_secret", no_variables);
        assert_int_equal(set(fixture, "secret_file", "secret"), -1);
        assert_int_equal(chmod(fixture->directory, 0700), 0);
        unit_assert_contains(fixture->error.text, "Permission denied");
    }
}


static void
test_pipe_as_secret_file_does_not_block(void **state)
{
    char        path[UNIT_PATH_BYTES];
    fixture_t  *fixture = *state;

    snprintf(path, sizeof(path), "%ssecret", fixture->directory);
    assert_int_equal(mkfifo(path, 0600), 0);

    create(fixture, "client_secret", no_variables);
    assert_int_equal(set(fixture, "secret_file", "secret"), -1);
}


static void
test_large_secret_file_is_refused(void **state)
{
    char        content[AAD_VALUE_BYTES_MAX + 1];
    fixture_t  *fixture = *state;

    memset(content, 'x', sizeof(content));

    assert_int_equal(set_secret_file(fixture, content, AAD_VALUE_BYTES_MAX),
                     0);
    assert_int_equal(set_secret_file(fixture, content,
                                     AAD_VALUE_BYTES_MAX + 1), -1);
    unit_assert_contains(fixture->error.text, "is larger than 8192 bytes");
    unit_assert_lacks(fixture->error.text, "xxx");
}


static void
test_binary_secret_file_is_refused(void **state)
{
    fixture_t  *fixture = *state;

    assert_int_equal(set_secret_file(fixture, "secr\0et", 7), -1);
    unit_assert_contains(fixture->error.text, "is no text");
    unit_assert_lacks(fixture->error.text, "\"secr\"");
    assert_int_equal(fixture->credential->values[2].length, 0);
}


static void
test_environment_gives_the_defaults(void **state)
{
    size_t              i;
    fixture_t          *fixture = *state;
    const aad_value_t  *v;

    static const unit_variable_t  variables[] = {
        { "AZURE_TENANT_ID",     UNIT_TENANT },
        { "AZURE_CLIENT_ID",     UNIT_CLIENT },
        { "AZURE_CLIENT_SECRET", SECRET },
        { NULL, NULL }
    };

    create(fixture, "environment", variables);

    v = fixture->credential->type->values;

    for (i = 0; variables[i].name != NULL; i++) {
        assert_string_equal(v[i].variable, variables[i].name);
        assert_string_equal(aad_value(fixture->credential, v[i].slot),
                            variables[i].value);
    }

    assert_string_equal(fixture->credential->complaint, "");
    assert_int_equal(aad_credential_complete(fixture->credential,
                                             &fixture->error), 0);
}


static void
test_explicit_types_do_not_read_the_service_principal(void **state)
{
    size_t      i, slot;
    fixture_t  *fixture = *state;

    static const unit_variable_t  variables[] = {
        { "AZURE_TENANT_ID",     UNIT_TENANT },
        { "AZURE_CLIENT_ID",     UNIT_CLIENT },
        { "AZURE_CLIENT_SECRET", SECRET },
        { NULL, NULL }
    };

    static const char *const  types[] = {
        "managed_identity", "client_secret", "client_certificate",
        "azure_cli"
    };

    for (i = 0; i < unit_count(types); i++) {
        create(fixture, types[i], variables);

        for (slot = 0; slot < AAD_VALUES_MAX; slot++) {
            assert_string_equal(fixture->credential->values[slot].data, "");
        }
    }
}


static void
test_empty_variable_is_as_if_unset(void **state)
{
    size_t      slot;
    fixture_t  *fixture = *state;

    static const unit_variable_t  variables[] = {
        { "AZURE_TENANT_ID",     "" },
        { "AZURE_CLIENT_ID",     "" },
        { "AZURE_CLIENT_SECRET", "" },
        { NULL, NULL }
    };

    create(fixture, "environment", variables);

    for (slot = 0; slot < AAD_VALUES_MAX; slot++) {
        assert_int_equal(fixture->credential->values[slot].length, 0);
    }

    assert_string_equal(fixture->credential->complaint, "");
}


static void
test_malformed_variable_is_a_complaint_not_an_error(void **state)
{
    size_t      i;
    fixture_t  *fixture = *state;

    static const struct {
        const char             *type;
        unit_variable_t         variables[2];
        const char             *complaint;
    } malformed[] = {
        { "environment", { { "AZURE_CLIENT_ID", "<your client id>" } },
          "AZURE_CLIENT_ID is not a GUID" },
        { "environment", { { "AZURE_TENANT_ID", "common" } },
          "AZURE_TENANT_ID is not a tenant's GUID or domain name" },
        { "managed_identity", { { "IDENTITY_ENDPOINT", "localhost:80" } },
          "IDENTITY_ENDPOINT is not an http:// or https:// URL" },
        { "managed_identity",
          { { "AZURE_POD_IDENTITY_AUTHORITY_HOST", "x" } },
          "AZURE_POD_IDENTITY_AUTHORITY_HOST is not an http:// or https:// "
          "URL" }
    };

    for (i = 0; i < unit_count(malformed); i++) {
        create(fixture, malformed[i].type, malformed[i].variables);

        assert_string_equal(fixture->credential->complaint,
                            malformed[i].complaint);
        assert_int_equal(aad_credential_complete(fixture->credential,
                                                 &fixture->error), 0);
    }
}


/* The one that decides is what the step says, wherever it stands. */
static void
test_of_several_complaints_the_one_that_decides_counts(void **state)
{
    size_t      i;
    fixture_t  *fixture = *state;

    static const unit_variable_t  variables[][3] = {
        { { "AZURE_POD_IDENTITY_AUTHORITY_HOST", "x" },
          { "IDENTITY_ENDPOINT", "x" } },
        { { "IDENTITY_ENDPOINT", "x" },
          { "AZURE_POD_IDENTITY_AUTHORITY_HOST", "x" } }
    };

    for (i = 0; i < unit_count(variables); i++) {
        create(fixture, "managed_identity", variables[i]);
        unit_assert_contains(fixture->credential->complaint,
                             "IDENTITY_ENDPOINT is not");
        assert_int_equal(fixture->credential->complaint_result, AAD_FAILED);
    }
}


static void
test_parameter_takes_the_complaint_about_its_variable_away(void **state)
{
    char        value[AAD_VALUE_BYTES_MAX + 2];
    fixture_t  *fixture = *state;

    unit_variable_t  variables[] = {
        { "AZURE_TENANT_ID", "<tenant>" },
        { "AZURE_CLIENT_ID", "<client>" },
        { "AZURE_FEDERATED_TOKEN_FILE", value },
        { NULL, NULL }
    };

    memset(value, '/', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';

    create(fixture, "workload_identity", variables);
    unit_assert_contains(fixture->credential->complaint, "AZURE_TENANT_ID");

    assert_int_equal(set(fixture, "tenant_id", UNIT_TENANT), 0);
    assert_string_equal(fixture->credential->complaint,
                        "AZURE_CLIENT_ID is not a GUID");

    assert_int_equal(set(fixture, "client_id", UNIT_CLIENT), 0);
    assert_string_equal(fixture->credential->complaint,
                        "AZURE_FEDERATED_TOKEN_FILE is too long");

    assert_int_equal(set(fixture, "token_file", "/file"), 0);
    assert_string_equal(fixture->credential->complaint, "");
    assert_int_equal(aad_credential_complete(fixture->credential,
                                             &fixture->error), 0);
}


static void
test_parameter_is_before_its_variable(void **state)
{
    char        text[256];
    fixture_t  *fixture = *state;

    static const unit_variable_t  variables[] = {
        { "AZURE_TENANT_ID", "variable.example.com" },
        { "AZURE_CLIENT_ID", UNIT_OBJECT },
        { "AZURE_FEDERATED_TOKEN_FILE", "/variable" },
        { NULL, NULL }
    };

    create(fixture, "workload_identity", variables);
    assert_int_equal(set(fixture, "client_id", UNIT_CLIENT), 0);
    assert_int_equal(set(fixture, "token_file", "parameter"), 0);

    aad_credential_describe(fixture->credential, text, sizeof(text));
    assert_string_equal(text, "workload_identity "
                        "tenant_id=variable.example.com "
                        "client_id=" UNIT_CLIENT " token_file=parameter");
}


static void
test_words_with_a_token_are_not_told(void **state)
{
    fixture_t  *fixture = *state;

    create(fixture, "managed_identity", no_variables);

    assert_true(aad_repeats_secret(fixture->credential, "not eyJhbGciOiJSUzI1"
                                   "NiJ9.eyJhIjoxfQ.c2lnbmF0dXJl, no"));
    assert_false(aad_repeats_secret(fixture->credential, "an eyJ of no "
                                    "length, keyJoin, AADSTS700213"));
}


static void
test_header_of_the_environment_stays_one_line(void **state)
{
    fixture_t  *fixture = *state;

    static const unit_variable_t  variables[] = {
        { "IDENTITY_ENDPOINT", "http://127.0.0.1:1" },
        { "IDENTITY_HEADER",   "value\r\nX-Header: 1" },
        { NULL, NULL }
    };

    create(fixture, "managed_identity", variables);
    unit_assert_contains(fixture->credential->complaint, "IDENTITY_HEADER");
    unit_assert_lacks(fixture->credential->complaint, "X-Header");
}


static void
test_long_variable_is_a_complaint_without_the_value(void **state)
{
    char             value[AAD_VALUE_BYTES_MAX + 2];
    fixture_t       *fixture = *state;
    unit_variable_t  variables[] = {
        { "AZURE_CLIENT_SECRET", value }, { NULL, NULL }
    };

    memset(value, 'x', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';

    create(fixture, "environment", variables);
    assert_string_equal(fixture->credential->complaint,
                        "AZURE_CLIENT_SECRET is too long");
}


static void
test_description_has_no_secret(void **state)
{
    char        text[512];
    fixture_t  *fixture = *state;

    static const unit_variable_t  variables[] = {
        { "AZURE_CLIENT_SECRET", SECRET },
        { "IDENTITY_ENDPOINT",   "http://127.0.0.1:1/" SECRET },
        { "IDENTITY_HEADER",     SECRET },
        { "HTTPS_PROXY",         "http://user:" SECRET "@127.0.0.1:1" },
        { NULL, NULL }
    };

    create(fixture, "client_secret", variables);
    assert_int_equal(set(fixture, "secret", SECRET), 0);
    assert_int_equal(set(fixture, "client_id", UNIT_CLIENT), 0);
    assert_int_equal(set(fixture, "tenant_id", "contoso.com"), 0);

    aad_credential_describe(fixture->credential, text, sizeof(text));
    assert_string_equal(text, "client_secret tenant_id=contoso.com "
                        "client_id=" UNIT_CLIENT);

    assert_int_equal(set_secret_file(fixture, SECRET, strlen(SECRET)), 0);
    aad_credential_describe(fixture->credential, text, sizeof(text));
    assert_string_equal(text, "client_secret");

    create(fixture, "environment", variables);
    aad_credential_describe(fixture->credential, text, sizeof(text));
    assert_string_equal(text, "environment");

    create(fixture, "managed_identity", variables);
    aad_credential_describe(fixture->credential, text, sizeof(text));
    assert_string_equal(text, "managed_identity");

    create(fixture, "azure_cli", variables);
    aad_credential_describe(fixture->credential, text, sizeof(text));
    assert_string_equal(text, "azure_cli");
}


static void
test_description_is_cut_to_size(void **state)
{
    char        text[32];
    size_t      size;
    fixture_t  *fixture = *state;

    create(fixture, "managed_identity", no_variables);
    assert_int_equal(set(fixture, "client_id", UNIT_CLIENT), 0);

    for (size = 1; size < sizeof(text); size++) {
        memset(text, '#', sizeof(text));
        aad_credential_describe(fixture->credential, text, size);
        assert_int_equal(strlen(text), size - 1);
        assert_int_equal(text[size], '#');
    }
}


#define test(name)  cmocka_unit_test_setup_teardown(name, setup, teardown)


int
main(void)
{
    static const struct CMUnitTest  tests[] = {
        test(test_unknown_type_lists_the_types),
        test(test_type_is_named),
        test(test_destroying_nothing_is_allowed),
        test(test_unknown_parameter_lists_the_parameters),
        test(test_parameter_of_wrong_form_says_what_is_due),
        test(test_empty_parameter_is_refused),
        test(test_parameter_is_given_once),
        test(test_parameter_is_a_name_and_a_value),
        test(test_secret_and_secret_file_exclude_each_other),
        test(test_managed_identity_takes_one_selector),
        test(test_azure_cli_takes_tenant_or_subscription),
        test(test_what_is_needed_is_asked_for),
        test(test_value_is_copied),
        test(test_value_has_a_maximum),
        test(test_secret_file_is_relative_to_the_directory),
        test(test_secret_file_is_trimmed),
        test(test_empty_secret_file_is_refused),
        test(test_unreadable_secret_file_is_refused),
        test(test_pipe_as_secret_file_does_not_block),
        test(test_large_secret_file_is_refused),
        test(test_binary_secret_file_is_refused),
        test(test_environment_gives_the_defaults),
        test(test_explicit_types_do_not_read_the_service_principal),
        test(test_empty_variable_is_as_if_unset),
        test(test_malformed_variable_is_a_complaint_not_an_error),
        test(test_of_several_complaints_the_one_that_decides_counts),
        test(test_parameter_takes_the_complaint_about_its_variable_away),
        test(test_parameter_is_before_its_variable),
        test(test_words_with_a_token_are_not_told),
        test(test_header_of_the_environment_stays_one_line),
        test(test_long_variable_is_a_complaint_without_the_value),
        test(test_description_has_no_secret),
        test(test_description_is_cut_to_size)
    };

    return cmocka_run_group_tests_name("credential", tests, NULL, NULL);
}
