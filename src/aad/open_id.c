
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * A tenant's metadata and keys, as "OpenID Connect Discovery 1.0" 3 and 4 have
 * them.  There are two documents, for tokens of either version may come, which
 * the app that they are for decides: v1 is what most apps in use have.
 */


#include "key_set.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>


#define AAD_OPEN_ID_VERSIONS        AAD_ISSUERS_MAX

/* what stands for any tenant in a document that is for all of them */
#define AAD_OPEN_ID_ANY_TENANT      "{tenantid}"


typedef struct {
    char                    issuer[AAD_ISSUER_BYTES];
    char                    keys_url[AAD_URL_BYTES_MAX];
} aad_open_id_t;

/* The document on its way. */
typedef struct {
    aad_call_t             *call;
    const char             *tenant_id;
    aad_open_id_t           metadata[AAD_OPEN_ID_VERSIONS];
    cJSON                  *document;
    cJSON                  *keys;           /* in the document */
} aad_open_id_fetch_t;


static aad_result_t aad_open_id_fetch(aad_open_id_fetch_t *fetch,
    aad_secret_t *document);
static int aad_open_id_begin(aad_open_id_fetch_t *fetch);
static aad_result_t aad_open_id_metadata(aad_open_id_fetch_t *fetch,
    const char *version, aad_open_id_t *metadata);
static aad_result_t aad_open_id_keys(aad_open_id_fetch_t *fetch,
    const char *url);
static int aad_open_id_add_key(aad_open_id_fetch_t *fetch,
    const cJSON *json);
static int aad_open_id_is_known(const cJSON *keys, const char *id);
static int aad_open_id_is_ours(const aad_open_id_fetch_t *fetch,
    const char *issuer);
static int aad_open_id_is_or_none(const cJSON *json, const char *name,
    const char *value);
static aad_result_t aad_open_id_get(aad_call_t *call, const char *url,
    cJSON **json);
static int aad_open_id_copy_url(const cJSON *json, const char *name,
    char *url, size_t size);


aad_result_t
aad_get_key_set(const aad_settings_t *settings, const aad_hooks_t *hooks,
    int64_t timeout_ms, const char *tenant_id, aad_secret_t *document,
    aad_report_t *report)
{
    size_t               i;
    char                 tenant[AAD_ID_BYTES];
    aad_call_t           call;
    aad_result_t         result;
    aad_open_id_fetch_t  fetch;

    memset(report, 0, sizeof(aad_report_t));
    aad_secret_init(document, AAD_KEY_SET_BYTES_MAX);

    aad_call_init(&call, settings, hooks, timeout_ms);
    call.attempt = &report->attempts[report->count++];
    call.attempt->credential = "keys";

    for (i = 0; i + 1 < sizeof(tenant) && tenant_id[i] != '\0'; i++) {
        tenant[i] = aad_lower_case(tenant_id[i]);
    }

    tenant[i] = '\0';

    if (!aad_is_guid(tenant)) {
        result = aad_reason(&call, AAD_FAILED, "the tenant is no GUID");

    } else {
        memset(&fetch, 0, sizeof(aad_open_id_fetch_t));
        fetch.call = &call;
        fetch.tenant_id = tenant;

        result = aad_open_id_fetch(&fetch, document);

        cJSON_Delete(fetch.document);
    }

    if (result != AAD_OK) {
        aad_secret_wipe(document);
    }

    call.attempt->result = result;

    return result;
}


static aad_result_t
aad_open_id_fetch(aad_open_id_fetch_t *fetch, aad_secret_t *document)
{
    int           rc;
    char         *printed;
    aad_result_t  result;

    result = aad_open_id_metadata(fetch, "/v2.0", &fetch->metadata[0]);

    if (result == AAD_OK) {
        result = aad_open_id_metadata(fetch, "", &fetch->metadata[1]);
    }

    if (result == AAD_OK && aad_open_id_begin(fetch) != 0) {
        result = aad_reason(fetch->call, AAD_FAILED, "out of memory");
    }

    if (result == AAD_OK) {
        result = aad_open_id_keys(fetch, fetch->metadata[0].keys_url);
    }

    if (result == AAD_OK
        && strcmp(fetch->metadata[0].keys_url, fetch->metadata[1].keys_url)
           != 0)
    {
        result = aad_open_id_keys(fetch, fetch->metadata[1].keys_url);
    }

    if (result != AAD_OK) {
        return result;
    }

    if (cJSON_GetArraySize(fetch->keys) == 0) {
        return aad_reason(fetch->call, AAD_FAILED, "%.200s: there is no RSA "
                          "key of 2048 bits or more for signatures of the "
                          "tenant", fetch->metadata[0].keys_url);
    }

    printed = cJSON_PrintUnformatted(fetch->document);
    rc = printed != NULL ? aad_secret_append_text(document, printed) : -1;
    cJSON_free(printed);

    return rc == 0 ? AAD_OK
           : aad_reason(fetch->call, AAD_FAILED, "%.200s: the keys have more "
                        "than %d bytes", fetch->metadata[0].keys_url,
                        AAD_KEY_SET_BYTES_MAX);
}


/* Returns 0, or -1 without memory. */
static int
aad_open_id_begin(aad_open_id_fetch_t *fetch)
{
    size_t   i;
    cJSON   *issuers;

    fetch->document = cJSON_CreateObject();

    if (cJSON_AddStringToObject(fetch->document, "tenant_id",
                                fetch->tenant_id) == NULL)
    {
        return -1;
    }

    issuers = cJSON_AddArrayToObject(fetch->document, "issuers");

    for (i = 0; i < AAD_OPEN_ID_VERSIONS; i++) {

        if (!cJSON_AddItemToArray(issuers,
                           cJSON_CreateString(fetch->metadata[i].issuer)))
        {
            return -1;
        }
    }

    fetch->keys = cJSON_AddArrayToObject(fetch->document, "keys");

    return fetch->keys != NULL ? 0 : -1;
}


static aad_result_t
aad_open_id_metadata(aad_open_id_fetch_t *fetch, const char *version,
    aad_open_id_t *metadata)
{
    char          url[AAD_URL_BYTES_MAX];
    cJSON        *json;
    const char   *wrong;
    aad_result_t  result;

    snprintf(url, sizeof(url), "%s/%s%s/.well-known/openid-configuration",
             fetch->call->settings->authority_host, fetch->tenant_id,
             version);

    result = aad_open_id_get(fetch->call, url, &json);

    if (result != AAD_OK) {
        return result;
    }

    wrong = aad_open_id_copy_url(json, "issuer", metadata->issuer,
                                 sizeof(metadata->issuer)) != 0
            ? "issuer"
            : aad_open_id_copy_url(json, "jwks_uri", metadata->keys_url,
                                   sizeof(metadata->keys_url)) != 0
            ? "jwks_uri" : NULL;

    aad_json_wipe(json);

    if (wrong != NULL) {
        return aad_reason(fetch->call, AAD_FAILED, "%.200s: \"%s\" is missing "
                          "or wrong, it must be an https:// URL of this one "
                          "tenant", url, wrong);
    }

    return AAD_OK;
}


static aad_result_t
aad_open_id_keys(aad_open_id_fetch_t *fetch, const char *url)
{
    cJSON         *json;
    const cJSON   *key;
    aad_result_t   result;

    result = aad_open_id_get(fetch->call, url, &json);

    if (result != AAD_OK) {
        return result;
    }

    cJSON_ArrayForEach(key, cJSON_GetObjectItemCaseSensitive(json, "keys")) {

        if (aad_open_id_add_key(fetch, key) != 0) {
            result = aad_reason(fetch->call, AAD_FAILED, "out of memory");
            break;
        }
    }

    aad_json_wipe(json);

    return result;
}


/*
 * A key of another kind, or of another's tokens, is none of ours: it is passed
 * over, and so is a second one of the same id, which would be a riddle.
 * Returns 0, or -1 without memory.
 */
static int
aad_open_id_add_key(aad_open_id_fetch_t *fetch, const cJSON *json)
{
    cJSON      *copy;
    aad_key_t   key;

    if (strcmp(aad_json_text(json, "kty"), "RSA") != 0
        || !aad_open_id_is_or_none(json, "use", "sig")
        || !aad_open_id_is_or_none(json, "alg", "RS256")
        || !aad_open_id_is_ours(fetch, aad_json_text(json, "issuer"))
        || aad_open_id_is_known(fetch->keys, aad_json_text(json, "kid"))
        || cJSON_GetArraySize(fetch->keys) == AAD_KEYS_MAX
        || aad_key_read(json, &key) != 0)
    {
        return 0;
    }

    EVP_PKEY_free(key.key);

    copy = cJSON_CreateObject();

    if (cJSON_AddStringToObject(copy, "kid", key.id) == NULL
        || cJSON_AddStringToObject(copy, "n", aad_json_text(json, "n"))
           == NULL
        || cJSON_AddStringToObject(copy, "e", aad_json_text(json, "e"))
           == NULL
        || !cJSON_AddItemToArray(fetch->keys, copy))
    {
        cJSON_Delete(copy);
        return -1;
    }

    return 0;
}


static int
aad_open_id_is_known(const cJSON *keys, const char *id)
{
    const cJSON  *key;

    cJSON_ArrayForEach(key, keys) {
        if (strcmp(aad_json_text(key, "kid"), id) == 0) {
            return 1;
        }
    }

    return 0;
}


/*
 * "Access tokens in the Microsoft identity platform", on the signing key's
 * issuer: a key that names one is good for its tokens alone.
 */
static int
aad_open_id_is_ours(const aad_open_id_fetch_t *fetch, const char *issuer)
{
    size_t       i;
    char         text[AAD_ISSUER_BYTES + AAD_ID_BYTES];
    const char  *any;

    if (issuer[0] == '\0') {
        return 1;
    }

    any = strstr(issuer, AAD_OPEN_ID_ANY_TENANT);

    if (any != NULL) {
        snprintf(text, sizeof(text), "%.*s%s%s", (int) (any - issuer), issuer,
                 fetch->tenant_id, any + strlen(AAD_OPEN_ID_ANY_TENANT));

    } else {
        snprintf(text, sizeof(text), "%s", issuer);
    }

    for (i = 0; i < AAD_OPEN_ID_VERSIONS; i++) {
        if (strcmp(fetch->metadata[i].issuer, text) == 0) {
            return 1;
        }
    }

    return 0;
}


static int
aad_open_id_is_or_none(const cJSON *json, const char *name,
    const char *value)
{
    return cJSON_GetObjectItemCaseSensitive(json, name) == NULL
           || strcmp(aad_json_text(json, name), value) == 0;
}


/* On AAD_OK the caller ends 'json' with aad_json_wipe(). */
static aad_result_t
aad_open_id_get(aad_call_t *call, const char *url, cJSON **json)
{
    int                   rc;
    aad_error_t           error;
    aad_http_request_t    request;
    aad_http_response_t   response;

    memset(&request, 0, sizeof(aad_http_request_t));
    request.url = url;
    request.connect_timeout_ms = AAD_CONNECT_TIMEOUT_MS;
    request.authority = 1;

    rc = aad_http_retry(call, &request, &aad_retry_authority, &response,
                        &error);
    *json = NULL;

    if (rc == 0 && response.status != 200) {
        aad_error_response(call, &response, &error);

    } else if (rc == 0) {
        *json = aad_json_strict(&response.body);
        aad_error(&error, "the answer is no JSON object");
    }

    aad_secret_wipe(&response.body);

    if (*json != NULL) {
        return AAD_OK;
    }

    /* what failed to be sent has its URL in the reason */

    return rc != 0 ? aad_reason(call, AAD_FAILED, "%s", error.text)
                   : aad_reason(call, AAD_FAILED, "%.200s: %s", url,
                                error.text);
}


/*
 * As the authority itself: over TLS, or on this machine.  Returns 0, or -1 on
 * what is no such URL, or one that stands for any tenant.
 */
static int
aad_open_id_copy_url(const cJSON *json, const char *name, char *url,
    size_t size)
{
    aad_url_t    parsed;
    const char  *text;

    text = aad_json_text(json, name);

    if (strlen(text) >= size || strpbrk(text, "{}#") != NULL
        || aad_url_parse(text, &parsed) != 0 || parsed.userinfo
        || (!parsed.https
            && !aad_is_loopback(parsed.host, parsed.host_length)))
    {
        return -1;
    }

    memcpy(url, text, strlen(text) + 1);

    return 0;
}
