
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * Azure Arc ("Authenticate against Azure resources with Azure Arc-enabled
 * servers"): the agent wants to see that who asks may read a file of its own.
 * Whoever answers in its place could name any file, which would be sent to
 * them: hence all the checks of it.
 */


#include "managed_identity.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/crypto.h>


#define AAD_ARC_AGENT           "/opt/azcmagent/bin/himds"
#define AAD_ARC_KEYS            "/var/opt/azcmagent/tokens"
#define AAD_ARC_ENDPOINT                                                      \
    "http://127.0.0.1:40342/metadata/identity/oauth2/token"

#define AAD_ARC_KEY_BYTES_MAX   4096


static int aad_arc_is_here(const aad_credential_t *credential);
static int aad_arc_has_variables(const aad_credential_t *credential);
static aad_result_t aad_arc_get_token(const aad_credential_t *credential,
    aad_call_t *call, aad_token_t *token);
static aad_result_t aad_arc_challenge(aad_mi_question_t *question,
    aad_call_t *call, aad_secret_t *key);
static aad_result_t aad_arc_answer(aad_mi_question_t *question,
    aad_call_t *call, const aad_secret_t *key, aad_token_t *token);
static int aad_arc_is_chosen(const aad_mi_question_t *question);
static int aad_arc_path(const char *directory, const char *challenge,
    char *path, size_t size, aad_error_t *error);
static int aad_arc_read(const char *path, aad_secret_t *key,
    aad_error_t *error);
static int aad_arc_read_all(int fd, const char *path, aad_secret_t *key,
    aad_error_t *error);


const aad_mi_source_t  aad_mi_arc = {
    "Azure Arc",
    "2020-06-01",
    "machine",
    { "client_id", "object_id", "msi_res_id" },
    aad_arc_is_here,
    aad_arc_get_token
};


/* A service that systemd starts has not the variables, but the agent's file. */
static int
aad_arc_is_here(const aad_credential_t *credential)
{
    return aad_arc_has_variables(credential)
           || access(AAD_ARC_AGENT, F_OK) == 0;
}


static int
aad_arc_has_variables(const aad_credential_t *credential)
{
    return aad_mi_has(credential, AAD_MI_IDENTITY_ENDPOINT)
           && aad_mi_has(credential, AAD_MI_IMDS_ENDPOINT);
}


static aad_result_t
aad_arc_get_token(const aad_credential_t *credential, aad_call_t *call,
    aad_token_t *token)
{
    char                endpoint[AAD_VALUE_BYTES_MAX + 1];
    aad_result_t        result;
    aad_secret_t        key;
    aad_mi_question_t   question;

    aad_arc_endpoint(aad_arc_has_variables(credential)
                     ? aad_value(credential, AAD_MI_IDENTITY_ENDPOINT)
                     : AAD_ARC_ENDPOINT,
                     endpoint, sizeof(endpoint));

    aad_secret_init(&key, AAD_ARC_KEY_BYTES_MAX);

    if (aad_mi_begin(&question, &aad_mi_arc, credential, call, endpoint)
        != 0)
    {
        result = aad_reason(call, AAD_FAILED, "out of memory");

    } else {
        aad_mi_header(&question, "Metadata: true");

        result = aad_arc_challenge(&question, call, &key);

        if (result == AAD_OK) {
            result = aad_arc_answer(&question, call, &key, token);
        }
    }

    aad_secret_wipe(&key);
    aad_mi_end(&question);

    return result;
}


/* The first round: it has to be refused, and to say how. */
static aad_result_t
aad_arc_challenge(aad_mi_question_t *question, aad_call_t *call,
    aad_secret_t *key)
{
    aad_error_t           error;
    aad_http_response_t  *response;

    response = &question->response;

    if (aad_http_retry(call, &question->request, &aad_retry_machine, response,
                       &error)
        != 0)
    {
        return aad_reason(call, AAD_FAILED, "Azure Arc's agent: %s",
                          error.text);
    }

    if (response->status == 200) {
        return aad_reason(call, AAD_FAILED, "Azure Arc: a token without a "
                          "challenge; is it the agent that answers?");
    }

    if (response->status != 401) {
        aad_error_response(call, response, &error);

        return aad_reason(call, AAD_FAILED, "Azure Arc: %s", error.text);
    }

    if (aad_arc_key(AAD_ARC_KEYS, response->challenge, key, &error) != 0) {
        return aad_reason(call, AAD_FAILED, "Azure Arc: %s", error.text);
    }

    aad_secret_wipe(&response->body);

    return AAD_OK;
}


/* The second and last round. */
static aad_result_t
aad_arc_answer(aad_mi_question_t *question, aad_call_t *call,
    const aad_secret_t *key, aad_token_t *token)
{
    aad_error_t           error;
    aad_result_t          result;
    aad_http_response_t  *response;

    response = &question->response;

    if (aad_mi_secret(question, "Authorization: Basic ", key->data) != 0) {
        return aad_reason(call, AAD_FAILED, "out of memory");
    }

    if (aad_http_retry(call, &question->request, &aad_retry_machine, response,
                       &error)
        != 0)
    {
        return aad_reason(call, AAD_FAILED, "Azure Arc's agent: %s",
                          error.text);
    }

    /* the key is no value of the credential: nobody else would look for it */

    if (response->status != 200
        && strstr(response->body.data, key->data) != NULL)
    {
        return aad_reason(call, AAD_FAILED, "Azure Arc: status %ld, and words "
                          "that repeat a secret", response->status);
    }

    if (response->status != 200) {
        aad_error_response(call, response, &error);

        return aad_reason(call, AAD_FAILED, "Azure Arc: %s%s", error.text,
                          response->status == 401
                          ? "; the agent does not take its own key" : "");
    }

    result = aad_mi_token(question, call, AAD_FAILED, token);

    if (result == AAD_OK && !aad_arc_is_chosen(question)) {
        return aad_reason(call, AAD_FAILED, "Azure Arc: the answer does not "
                          "say that it is for the identity that was chosen; "
                          "update the agent, which may know the machine's "
                          "own alone, or do not choose one");
    }

    return result;
}


/*
 * An agent that does not know of user-assigned identities passes over the id
 * and answers with the machine's own token; one that does repeats the id.
 */
static int
aad_arc_is_chosen(const aad_mi_question_t *question)
{
    size_t               slot;
    const char          *id;
    const aad_secret_t  *body;

    body = &question->response.body;

    for (slot = 0; slot < AAD_MI_IDS; slot++) {

        id = aad_value(question->credential, slot);

        if (id[0] == '\0' || aad_response_has_id(body, aad_mi_arc.ids[slot],
                                                 id))
        {
            continue;
        }

        if (slot == AAD_MI_RESOURCE_ID
            && aad_response_has_id(body, "mi_res_id", id))
        {
            continue;
        }

        return 0;
    }

    return 1;
}


void
aad_arc_endpoint(const char *url, char *endpoint, size_t size)
{
    aad_url_t  parsed;

    static const char  localhost[] = "localhost";

    /* a name can be given another address than the agent's */

    if (aad_url_parse(url, &parsed) == 0
        && parsed.host_length == sizeof(localhost) - 1
        && strncasecmp(parsed.host, localhost, sizeof(localhost) - 1) == 0)
    {
        snprintf(endpoint, size, "%.*s127.0.0.1%s",
                 (int) (parsed.host - url), url,
                 parsed.host + parsed.host_length);

    } else {
        snprintf(endpoint, size, "%s", url);
    }
}


int
aad_arc_key(const char *directory, const char *challenge, aad_secret_t *key,
    aad_error_t *error)
{
    char  path[AAD_CHALLENGE_BYTES];

    if (aad_arc_path(directory, challenge, path, sizeof(path), error) != 0
        || aad_arc_read(path, key, error) != 0)
    {
        return -1;
    }

    /* it becomes a header as it is */

    if (key->length == 0 || !aad_is_visible(key->data)) {
        aad_error(error, "the key \"%s\" is %s", path,
                  key->length == 0 ? "empty" : "no key");
        aad_secret_wipe(key);
        return -1;
    }

    return 0;
}


static int
aad_arc_path(const char *directory, const char *challenge, char *path,
    size_t size, aad_error_t *error)
{
    char         text[AAD_CHALLENGE_BYTES];
    size_t       length, directory_length;
    const char  *name;

    static const char  scheme[] = "Basic realm=";
    static const char  suffix[] = ".key";

    aad_text_clean(text, sizeof(text), challenge);

    if (strncasecmp(text, scheme, sizeof(scheme) - 1) != 0
        || strchr(text + sizeof(scheme) - 1, '=') != NULL)
    {
        return aad_error(error, "the challenge \"%.100s\" is not \"Basic "
                         "realm=FILE\"", text);
    }

    name = text + sizeof(scheme) - 1;
    length = strlen(name);

    if (length >= 2 && name[0] == '"' && name[length - 1] == '"') {
        name++;
        length -= 2;
    }

    snprintf(path, size, "%.*s", (int) length, name);

    /* exactly in the directory: whatever else the path says, it has no '/' */

    directory_length = strlen(directory);

    if (strncmp(path, directory, directory_length) != 0
        || path[directory_length] != '/'
        || strchr(path + directory_length + 1, '/') != NULL
        || strstr(path, "..") != NULL)
    {
        return aad_error(error, "the challenge names \"%.200s\", which is not "
                         "in \"%s\"", path, directory);
    }

    if (length < sizeof(suffix) - 1
        || strcmp(path + length - (sizeof(suffix) - 1), suffix) != 0)
    {
        return aad_error(error, "the challenge names \"%.200s\", which does "
                         "not end with \"%s\"", path, suffix);
    }

    return 0;
}


static int
aad_arc_read(const char *path, aad_secret_t *key, aad_error_t *error)
{
    int  fd, rc;

    fd = open(path, O_RDONLY|O_NOFOLLOW|O_NONBLOCK|O_NOCTTY|O_CLOEXEC);

    if (fd == -1 && errno == EACCES) {
        return aad_error(error, "cannot read the key \"%s\": %s; add the user "
                         "of nginx's workers to the group \"himds\"", path,
                         strerror(errno));
    }

    if (fd == -1) {
        return aad_error(error, "cannot read the key \"%s\": %s", path,
                         errno == ELOOP ? "it is a symbolic link"
                                        : strerror(errno));
    }

    rc = aad_arc_read_all(fd, path, key, error);

    close(fd);

    if (rc != 0) {
        aad_secret_wipe(key);
    }

    return rc;
}


static int
aad_arc_read_all(int fd, const char *path, aad_secret_t *key,
    aad_error_t *error)
{
    int          rc;
    char         content[AAD_ARC_KEY_BYTES_MAX + 1];
    ssize_t      n;
    struct stat  st;

    if (fstat(fd, &st) == -1 || !S_ISREG(st.st_mode)) {
        return aad_error(error, "the key \"%s\" is no regular file", path);
    }

    /* what is read counts: it may have grown */

    n = read(fd, content, sizeof(content));

    if (n == -1) {
        return aad_error(error, "cannot read the key \"%s\": %s", path,
                         strerror(errno));
    }

    rc = 0;

    if (st.st_size > AAD_ARC_KEY_BYTES_MAX || n > AAD_ARC_KEY_BYTES_MAX) {
        rc = aad_error(error, "the key \"%s\" is larger than %d bytes", path,
                       AAD_ARC_KEY_BYTES_MAX);

    } else if (memchr(content, '\0', n) != NULL
               || aad_secret_append(key, content, n) != 0)
    {
        rc = aad_error(error, "the key \"%s\" is no key", path);
    }

    OPENSSL_cleanse(content, sizeof(content));

    return rc;
}
