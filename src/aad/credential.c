
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * What all credentials have in common: values from parameters, files and
 * the environment, their checks, and a name for people.
 */


#include "internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>


static void aad_credential_default(aad_credential_t *credential,
    const aad_value_t *value, const aad_environment_t *environment);
static void aad_credential_complain(aad_credential_t *credential);
static int aad_credential_read(aad_credential_t *credential,
    const aad_value_t *value, const char *name, aad_error_t *error);
static int aad_credential_takes_secret(const aad_credential_type_t *type);
static const aad_value_t *aad_credential_parameter(
    const aad_credential_type_t *type, const char *name);


static const aad_credential_type_t *const  aad_credential_types[AAD_TYPES_MAX
                                                              + 1] = {
    &aad_workload_identity,
    &aad_managed_identity,
    &aad_environment,
    &aad_client_secret,
    &aad_client_certificate,
    &aad_federated_managed_identity,
    &aad_azure_cli,
    &aad_azure_developer_cli,
    NULL
};


aad_credential_t *
aad_credential_create(const char *type, const aad_environment_t *environment,
    aad_error_t *error)
{
    size_t                               i, used;
    aad_credential_t                    *credential;
    const aad_value_t                   *value;
    const aad_credential_type_t *const  *t;

    for (t = aad_credential_types; *t != NULL; t++) {
        if (strcmp((*t)->name, type) == 0) {
            break;
        }
    }

    if (*t == NULL) {
        /* where it is forgotten, a secret may stand in its place */

        aad_error(error, "unknown credential type \"%.*s\", it must be one "
                  "of:", (int) strcspn(type, "="), type);

        for (t = aad_credential_types; *t != NULL; t++) {
            used = strlen(error->text);
            snprintf(error->text + used, sizeof(error->text) - used, " %s",
                     (*t)->name);
        }

        return NULL;
    }

    credential = calloc(1, sizeof(aad_credential_t));
    if (credential == NULL) {
        aad_error(error, "out of memory");
        return NULL;
    }

    credential->type = *t;

    for (i = 0; i < AAD_VALUES_MAX; i++) {
        aad_secret_init(&credential->values[i], AAD_VALUE_BYTES_MAX);
    }

    if (environment->directory != NULL) {
        credential->directory = strdup(environment->directory);
        if (credential->directory == NULL) {
            aad_credential_destroy(credential);
            aad_error(error, "out of memory");
            return NULL;
        }
    }

    for (value = (*t)->values; value->parameter || value->variable; value++) {

        if (value->flags & AAD_VALUE_LARGE) {
            credential->values[value->slot].maximum =
                AAD_LARGE_VALUE_BYTES_MAX;
        }

        aad_credential_default(credential, value, environment);
    }

    aad_credential_complain(credential);

    if ((*t)->inner != NULL) {
        credential->inner = aad_credential_create((*t)->inner, environment,
                                                  error);
        if (credential->inner == NULL) {
            aad_credential_destroy(credential);
            return NULL;
        }
    }

    return credential;
}


int
aad_credential_set(aad_credential_t *credential, const char *name,
    const char *value, aad_error_t *error)
{
    size_t              used;
    const aad_value_t  *v;

    v = aad_credential_parameter(credential->type, name);

    if (v == NULL) {
        aad_error(error, "\"%s\" has no parameter \"%s\"",
                  credential->type->name, name);

        for (v = credential->type->values; v->parameter || v->variable; v++) {
            if (v->parameter == NULL) {
                continue;
            }

            used = strlen(error->text);
            snprintf(error->text + used, sizeof(error->text) - used, "%s %s",
                     strchr(error->text, ':') ? "," : ", it has:",
                     v->parameter);
        }

        return -1;
    }

    if (value[0] == '\0') {
        return aad_error(error, "\"%s\" is empty", name);
    }

    if (credential->set & (1u << v->slot)) {
        return aad_error(error, "\"%s\" is given twice, or beside another "
                         "parameter that says the same", name);
    }

    if (v->form != NULL && !v->form->valid(value)) {
        return aad_error(error, "\"%s=%s\" is wrong, it must be %s", name,
                         v->flags & AAD_VALUE_SECRET ? "..." : value,
                         v->form->expected);
    }

    aad_secret_wipe(&credential->values[v->slot]);
    credential->set |= 1u << v->slot;

    /* whatever the variable says, it is not asked for */

    credential->wrong &= ~credential->set;
    credential->too_long &= ~credential->set;
    aad_credential_complain(credential);

    if (v->flags & AAD_VALUE_FILE) {
        return aad_credential_read(credential, v, value, error);
    }

    if (aad_secret_append_text(&credential->values[v->slot], value) != 0) {
        return aad_error(error, "\"%s\" is too long, %zu bytes are the most",
                         name, credential->values[v->slot].maximum);
    }

    return 0;
}


int
aad_credential_set_parameter(aad_credential_t *credential, char *parameter,
    aad_error_t *error)
{
    int    rc;
    char  *value;

    value = strchr(parameter, '=');

    if (value == NULL) {
        return aad_error(error, "\"%s\" is no parameter, write "
                         "\"name=value\"",
                         aad_credential_takes_secret(credential->type)
                             ? "..." : parameter);
    }

    *value++ = '\0';

    rc = aad_credential_set(credential, parameter, value, error);

    /* nobody reads it again */

    OPENSSL_cleanse(value, strlen(value));

    return rc;
}


int
aad_credential_complete(aad_credential_t *credential, aad_error_t *error)
{
    const aad_value_t  *v;

    for (v = credential->type->values; v->parameter || v->variable; v++) {

        if ((v->flags & AAD_VALUE_REQUIRED)
            && credential->values[v->slot].length == 0)
        {
            return aad_error(error, "\"%s\" needs \"%s=\"",
                             credential->type->name, v->parameter);
        }
    }

    if (credential->type->complete == NULL) {
        return 0;
    }

    return credential->type->complete(credential, error);
}


void
aad_credential_destroy(aad_credential_t *credential)
{
    size_t  i;

    if (credential == NULL) {
        return;
    }

    if (credential->type->destroy != NULL) {
        credential->type->destroy(credential);
    }

    aad_certificate_free(credential->certificate);
    aad_credential_destroy(credential->inner);

    for (i = 0; i < AAD_VALUES_MAX; i++) {
        aad_secret_wipe(&credential->values[i]);
    }

    free(credential->directory);
    free(credential);
}


const char *
aad_credential_type(const aad_credential_t *credential)
{
    return credential->type->name;
}


const char *
aad_credential_type_name(size_t number)
{
    return number < AAD_TYPES_MAX && aad_credential_types[number] != NULL
           ? aad_credential_types[number]->name : NULL;
}


void
aad_credential_describe(const aad_credential_t *credential, char *text,
    size_t size)
{
    size_t              used;
    const aad_value_t  *v;

    snprintf(text, size, "%s", credential->type->name);

    for (v = credential->type->values; v->parameter || v->variable; v++) {

        if (v->parameter == NULL || (v->flags & AAD_VALUE_SECRET)
            || credential->values[v->slot].length == 0)
        {
            continue;
        }

        used = strlen(text);
        snprintf(text + used, size - used, " %s=%s", v->parameter,
                 credential->values[v->slot].data);
    }
}


const char *
aad_value(const aad_credential_t *credential, size_t slot)
{
    return credential->values[slot].data;
}


int
aad_value_is_given(const aad_credential_t *credential, size_t slot)
{
    return credential->values[slot].length != 0
           || ((credential->wrong|credential->too_long) & (1u << slot));
}


int
aad_credential_path(const aad_credential_t *credential, const char *name,
    char *path, size_t size, aad_error_t *error)
{
    int  n;

    n = snprintf(path, size, "%s%s",
                 name[0] != '/' && credential->directory != NULL
                     ? credential->directory : "",
                 name);

    if (n < 0 || (size_t) n >= size) {
        return aad_error(error, "the file name \"%.64s...\" is too long",
                         name);
    }

    return 0;
}


/*
 * A default from the environment that has the wrong form does not stop the
 * configuration (placeholders are common there): the value stays unset.
 */
static void
aad_credential_default(aad_credential_t *credential, const aad_value_t *value,
    const aad_environment_t *environment)
{
    const char  *text;

    if (value->variable == NULL) {
        return;
    }

    text = environment->variable(environment->data, value->variable);

    if (text == NULL || text[0] == '\0') {
        return;
    }

    if (value->form != NULL && !value->form->valid(text)) {
        credential->wrong |= 1u << value->slot;

    } else if (aad_secret_append_text(&credential->values[value->slot], text)
               != 0)
    {
        credential->too_long |= 1u << value->slot;
    }
}


/*
 * What the credential says, when it is asked, about variables that are wrong.
 * It stops the chain where one of them was to decide which identity is meant.
 */
static void
aad_credential_complain(aad_credential_t *credential)
{
    unsigned            slot;
    const aad_value_t  *v;

    credential->complaint[0] = '\0';
    credential->complaint_result = AAD_UNAVAILABLE;

    for (v = credential->type->values; v->parameter || v->variable; v++) {

        slot = 1u << v->slot;

        if (v->variable == NULL
            || !((credential->wrong|credential->too_long) & slot)
            || (credential->complaint[0] != '\0'
                && !(v->flags & AAD_VALUE_DECIDES)))
        {
            continue;
        }

        snprintf(credential->complaint, sizeof(credential->complaint),
                 "%s is %s%s", v->variable,
                 credential->wrong & slot ? "not " : "too long",
                 credential->wrong & slot ? v->form->expected : "");

        if (v->flags & AAD_VALUE_DECIDES) {
            credential->complaint_result = AAD_FAILED;
            return;
        }
    }
}


static int
aad_credential_read(aad_credential_t *credential, const aad_value_t *value,
    const char *name, aad_error_t *error)
{
    char           path[AAD_URL_BYTES_MAX];
    aad_secret_t  *content;

    content = &credential->values[value->slot];

    if (aad_credential_path(credential, name, path, sizeof(path), error) != 0
        || aad_file_read(path, content, error) != 0)
    {
        return -1;
    }

    aad_secret_trim(content);

    if (content->length == 0) {
        return aad_error(error, "the file \"%s\" is empty", path);
    }

    return 0;
}


static int
aad_credential_takes_secret(const aad_credential_type_t *type)
{
    const aad_value_t  *v;

    for (v = type->values; v->parameter || v->variable; v++) {
        if (v->parameter != NULL && (v->flags & AAD_VALUE_SECRET)) {
            return 1;
        }
    }

    return 0;
}


static const aad_value_t *
aad_credential_parameter(const aad_credential_type_t *type, const char *name)
{
    const aad_value_t  *v;

    for (v = type->values; v->parameter || v->variable; v++) {
        if (v->parameter != NULL && strcmp(v->parameter, name) == 0) {
            return v;
        }
    }

    return NULL;
}
