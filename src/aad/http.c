
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * One blocking HTTP request with our rules; the only file that knows libcurl.
 */


#include "internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <curl/curl.h>
#include <openssl/crypto.h>
#include <openssl/ssl.h>


/* a service may ask for a day; above that it is no wish any more */
#define AAD_RETRY_AFTER_MAX_MS      86400000


typedef struct {
    aad_call_t             *call;
    aad_http_response_t    *response;
    struct curl_slist      *connect_to;
    size_t                  challenges;
    int                     too_large;
} aad_http_transfer_t;


static int aad_http_options(CURL *curl, aad_http_transfer_t *transfer,
    const aad_http_request_t *request, struct curl_slist *headers);
static CURLcode aad_http_trust(CURL *curl, const char *ca_certificates);
static CURLcode aad_http_pin(CURL *curl);
static CURLcode aad_http_context(CURL *curl, void *ssl_ctx,
    void *thumbprint);
static int aad_http_has_context(void);
static CURLcode aad_http_server_name(CURL *curl,
    aad_http_transfer_t *transfer, const aad_http_request_t *request);
static int aad_http_failed(CURLcode rc, const aad_http_transfer_t *transfer,
    const aad_http_request_t *request, const char *detail,
    aad_error_t *error);
static int aad_http_is_broken(CURLcode rc);
static struct curl_slist *aad_http_headers(const aad_http_request_t *request);
static struct curl_slist *aad_http_header(struct curl_slist *headers,
    const char *header);
static void aad_http_headers_wipe(struct curl_slist *headers);
static size_t aad_http_body(char *data, size_t size, size_t count,
    void *transfer);
static size_t aad_http_response_header(char *data, size_t size,
    size_t count, void *transfer);
static const char *aad_http_header_value(const char *line, const char *name);
static int64_t aad_http_milliseconds(const char *value);
static int aad_http_progress(void *transfer, curl_off_t download_total,
    curl_off_t downloaded, curl_off_t upload_total, curl_off_t uploaded);


/*
 * libcurl's buffers have tokens and secrets in them when it frees them.  One
 * who has initialized it before in this process has chosen its memory.
 */
int
aad_global_init(void)
{
    return curl_global_init_mem(CURL_GLOBAL_DEFAULT, aad_wiping_malloc,
                                aad_wiping_free, aad_wiping_realloc,
                                aad_wiping_strdup, aad_wiping_calloc)
           == CURLE_OK ? 0 : -1;
}


/*
 * What is left to a thread's own end is freed after the process may have begun
 * to clean libcrypto up, which frees it too.
 */
void
aad_thread_end(void)
{
    OPENSSL_thread_stop();
}


int
aad_http(aad_call_t *call, const aad_http_request_t *request,
    aad_http_response_t *response, aad_error_t *error)
{
    int                   rc;
    char                  detail[CURL_ERROR_SIZE];
    CURL                 *curl;
    CURLcode              code;
    curl_off_t            retry_after;
    struct curl_slist    *headers;
    aad_http_transfer_t   transfer;

    memset(response, 0, sizeof(aad_http_response_t));
    aad_secret_init(&response->body, AAD_BODY_BYTES_MAX);
    response->authority = request->authority;
    response->sent_on = call->hooks->now(call->hooks->data);

    memset(&transfer, 0, sizeof(aad_http_transfer_t));
    transfer.call = call;
    transfer.response = response;

    /* zero would be no limit at all to libcurl */

    if (aad_time_left_ms(call) == 0) {
        return aad_error(error, "no time was left to ask %s", request->url);
    }

    if (request->thumbprint != NULL && !aad_http_has_context()) {
        return aad_error(error, "libcurl is built on %s here, the thumbprint "
                         "of a certificate takes one that is built on %.14s",
                         curl_version_info(CURLVERSION_NOW)->ssl_version,
                         OPENSSL_VERSION_TEXT);
    }

    rc = -1;
    detail[0] = '\0';

    curl = curl_easy_init();
    headers = aad_http_headers(request);

    if (curl == NULL || headers == NULL) {
        aad_error(error, "out of memory");
        goto done;
    }

    if (aad_http_options(curl, &transfer, request, headers) != 0
        || curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, detail) != CURLE_OK)
    {
        aad_error(error, "libcurl refused an option for %s", request->url);
        goto done;
    }

    code = curl_easy_perform(curl);

    if (code != CURLE_OK) {
        rc = aad_http_failed(code, &transfer, request, detail, error);
        goto done;
    }

    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &response->status);

    /* in seconds or as a date, and only where milliseconds are not said */

    if (response->retry_after_ms == 0
        && curl_easy_getinfo(curl, CURLINFO_RETRY_AFTER, &retry_after)
           == CURLE_OK
        && retry_after > 0)
    {
        response->retry_after_ms = retry_after > AAD_RETRY_AFTER_MAX_MS / 1000
                                   ? AAD_RETRY_AFTER_MAX_MS
                                   : (int64_t) retry_after * 1000;
    }

    if (transfer.challenges > 1) {
        response->challenge[0] = '\0';
    }

    rc = 0;

done:

    aad_http_headers_wipe(headers);
    curl_easy_cleanup(curl);
    curl_slist_free_all(transfer.connect_to);

    return rc;
}


/* Returns 0, or -1 when libcurl does not take one of them. */
static int
aad_http_options(CURL *curl, aad_http_transfer_t *transfer,
    const aad_http_request_t *request, struct curl_slist *headers)
{
    CURLcode               rc;
    const aad_settings_t  *settings;

    settings = transfer->call->settings;

    /* 0 is CURLE_OK: the codes are only ever compared with that */

    rc = curl_easy_setopt(curl, CURLOPT_URL, request->url);

#if (LIBCURL_VERSION_NUM >= 0x075500)
    rc |= curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
#else
    rc |= curl_easy_setopt(curl, CURLOPT_PROTOCOLS,
                           (long) (CURLPROTO_HTTP|CURLPROTO_HTTPS));
#endif

    /* a redirect would carry the secret to wherever it points */
    rc |= curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);

    /* threads and signals do not mix */
    rc |= curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);

#if (LIBCURL_VERSION_NUM >= 0x075700)
    /* a name server that is silent must not outlast the deadline */
    rc |= curl_easy_setopt(curl, CURLOPT_QUICK_EXIT, 1L);
#endif

    rc |= curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS,
                           (long) aad_time_left_ms(transfer->call) + 1);
    rc |= curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS,
                           (long) request->connect_timeout_ms);

    rc |= curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    rc |= curl_easy_setopt(curl, CURLOPT_USERAGENT,
                           "ngx_http_aoai_aad_module/" AAD_VERSION);

    rc |= curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, aad_http_body);
    rc |= curl_easy_setopt(curl, CURLOPT_WRITEDATA, transfer);
    rc |= curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION,
                           aad_http_response_header);
    rc |= curl_easy_setopt(curl, CURLOPT_HEADERDATA, transfer);

    rc |= curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, aad_http_progress);
    rc |= curl_easy_setopt(curl, CURLOPT_XFERINFODATA, transfer);
    rc |= curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);

    if (request->form != NULL) {
        rc |= curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE,
                               (long) request->form->length);
        rc |= curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request->form->data);
    }

    /* set always: "" keeps libcurl from reading the environment by itself */

    if (request->authority && settings->proxy != NULL) {
        rc |= curl_easy_setopt(curl, CURLOPT_PROXY, settings->proxy);
        rc |= curl_easy_setopt(curl, CURLOPT_NOPROXY,
                               settings->no_proxy ? settings->no_proxy : "");

    } else {
        rc |= curl_easy_setopt(curl, CURLOPT_PROXY, "");
    }

    if (request->ca_certificates != NULL) {
        rc |= aad_http_trust(curl, request->ca_certificates);

    } else if (request->authority && settings->ca_certificates != NULL) {
        rc |= aad_http_trust(curl, settings->ca_certificates);
    }

    if (request->thumbprint != NULL) {
        rc |= aad_http_pin(curl);
    }

    if (aad_http_has_context()) {
        rc |= curl_easy_setopt(curl, CURLOPT_SSL_CTX_FUNCTION,
                               aad_http_context);
        rc |= curl_easy_setopt(curl, CURLOPT_SSL_CTX_DATA,
                               request->thumbprint);
    }

    if (request->server_name != NULL) {
        rc |= aad_http_server_name(curl, transfer, request);
    }

    return rc == CURLE_OK ? 0 : -1;
}


/*
 * Bytes, not a file name: the file was read by the master, its reader here
 * may lack the right to.
 */
static CURLcode
aad_http_trust(CURL *curl, const char *ca_certificates)
{
    struct curl_blob  blob;

    blob.data = (char *) ca_certificates;
    blob.len = strlen(ca_certificates);
    blob.flags = CURL_BLOB_NOCOPY;

    /* these and no others: the system's directory would be asked too */

    return curl_easy_setopt(curl, CURLOPT_CAPATH, NULL)
           | curl_easy_setopt(curl, CURLOPT_CAINFO_BLOB, &blob);
}


/*
 * The certificate that has this thumbprint signs itself and names nobody, so
 * that neither a CA nor the host's name could be asked for.
 */
static CURLcode
aad_http_pin(CURL *curl)
{
    CURLcode  rc;

    rc = curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 1L);
    rc |= curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 0L);
    rc |= curl_easy_setopt(curl, CURLOPT_CAINFO, NULL);
    rc |= curl_easy_setopt(curl, CURLOPT_CAPATH, NULL);

    return rc;
}


static CURLcode
aad_http_context(CURL *curl, void *ssl_ctx, void *thumbprint)
{
    (void) curl;

#ifdef SSL_OP_CLEANSE_PLAINTEXT
    /* what was read is not left in libssl's buffer, which it frees as it is */
    (void) SSL_CTX_set_options(ssl_ctx, SSL_OP_CLEANSE_PLAINTEXT);
#endif

    if (thumbprint != NULL) {
        aad_thumbprint_pin(ssl_ctx, thumbprint);
    }

    return CURLE_OK;
}


/* Of another library, or version, the SSL_CTX would be something else. */
static int
aad_http_has_context(void)
{
    const char  *version;

    static const char  openssl[] = "OpenSSL/";

    version = curl_version_info(CURLVERSION_NOW)->ssl_version;

    return version != NULL
           && strncmp(version, openssl, sizeof(openssl) - 1) == 0
           && strtoul(version + sizeof(openssl) - 1, NULL, 10)
              == OpenSSL_version_num() >> 28;
}


/*
 * To libcurl the URL's host is both the SNI and the name in the certificate:
 * it becomes the server's name, and the connection goes where it went before.
 */
static CURLcode
aad_http_server_name(CURL *curl, aad_http_transfer_t *transfer,
    const aad_http_request_t *request)
{
    int        n;
    char       text[AAD_URL_BYTES_MAX];
    aad_url_t  url;

    if (aad_url_parse(request->url, &url) != 0) {
        return CURLE_URL_MALFORMAT;
    }

    /* for any host and any port: this host, the same port */

    n = snprintf(text, sizeof(text), "::%.*s:", (int) url.host_length,
                 url.host);

    if ((size_t) n >= sizeof(text)) {
        return CURLE_URL_MALFORMAT;
    }

    transfer->connect_to = curl_slist_append(NULL, text);
    if (transfer->connect_to == NULL) {
        return CURLE_OUT_OF_MEMORY;
    }

    n = snprintf(text, sizeof(text), "%s://%s%s",
                 url.https ? "https" : "http", request->server_name,
                 url.host + url.host_length);

    if ((size_t) n >= sizeof(text)) {
        return CURLE_URL_MALFORMAT;
    }

    return curl_easy_setopt(curl, CURLOPT_URL, text)
           | curl_easy_setopt(curl, CURLOPT_CONNECT_TO, transfer->connect_to);
}


static int
aad_http_failed(CURLcode rc, const aad_http_transfer_t *transfer,
    const aad_http_request_t *request, const char *detail, aad_error_t *error)
{
    char         text[CURL_ERROR_SIZE];
    size_t       length;
    const char  *url;

    /* the query is of no use to the reader */

    url = request->url;
    length = strcspn(url, "?");

    if (transfer->too_large) {
        return aad_error(error, "%.*s answered more than %d bytes",
                         (int) length, url, AAD_BODY_BYTES_MAX);
    }

    if (rc == CURLE_ABORTED_BY_CALLBACK) {
        return aad_error(error, "%.*s: given up, nginx is about to stop",
                         (int) length, url);
    }

    transfer->response->broken = aad_http_is_broken(rc);

    aad_text_clean(text, sizeof(text),
                   detail[0] != '\0' ? detail : curl_easy_strerror(rc));

    return aad_error(error, "%.*s: %s%s", (int) length, url, text,
                     rc != CURLE_PEER_FAILED_VERIFICATION ? ""
                     : request->thumbprint != NULL
                         ? "; the certificate has another thumbprint than it "
                           "should"
                     : request->authority
                         ? "; where the authority has a CA of your own, name "
                           "it with \"aoai_aad_ssl_trusted_certificate\""
                         : "");
}


/* What may be better the next time: the network's failures, nobody's errors. */
static int
aad_http_is_broken(CURLcode rc)
{
    switch (rc) {

    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
    case CURLE_OPERATION_TIMEDOUT:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_PARTIAL_FILE:
        return 1;

    default:
        return 0;
    }
}


static struct curl_slist *
aad_http_headers(const aad_http_request_t *request)
{
    char                host[AAD_URL_BYTES_MAX];
    size_t              i;
    aad_url_t           url;
    struct curl_slist  *headers;

    headers = curl_slist_append(NULL, "Accept: application/json");

    /* azure-identity's requests name the host that they are sent to */

    if (request->server_name != NULL && headers != NULL
        && aad_url_parse(request->url, &url) == 0)
    {
        snprintf(host, sizeof(host), "Host: %.*s",
                 (int) (url.rest - url.host), url.host);
        headers = aad_http_header(headers, host);
    }

    for (i = 0; i < AAD_HEADERS_MAX && request->headers[i] != NULL
                && headers != NULL; i++)
    {
        headers = aad_http_header(headers, request->headers[i]);
    }

    return headers;
}


/* Returns the longer list, or NULL and no list any more. */
static struct curl_slist *
aad_http_header(struct curl_slist *headers, const char *header)
{
    struct curl_slist  *longer;

    longer = curl_slist_append(headers, header);

    if (longer == NULL) {
        aad_http_headers_wipe(headers);
    }

    return longer;
}


/* IDENTITY_HEADER is a secret */
static void
aad_http_headers_wipe(struct curl_slist *headers)
{
    struct curl_slist  *header;

    for (header = headers; header != NULL; header = header->next) {
        OPENSSL_cleanse(header->data, strlen(header->data));
    }

    curl_slist_free_all(headers);
}


static size_t
aad_http_body(char *data, size_t size, size_t count, void *transfer)
{
    aad_http_transfer_t  *t = transfer;

    if (aad_secret_append(&t->response->body, data, size * count) != 0) {
        t->too_large = 1;
        return 0;
    }

    return size * count;
}


/* Milliseconds come first: azure-core's three names in their order. */
static size_t
aad_http_response_header(char *data, size_t size, size_t count, void *transfer)
{
    char                  line[AAD_CHALLENGE_BYTES + 64];
    size_t                length;
    const char           *value;
    aad_http_response_t  *response;
    aad_http_transfer_t  *t = transfer;

    response = t->response;
    length = size * count;

    /* of an answer such as "100 Continue" nothing counts */

    if (length > 5 && strncmp(data, "HTTP/", 5) == 0) {
        response->retry_after_ms = 0;
        response->challenge[0] = '\0';
        t->challenges = 0;
        return length;
    }

    if (length >= sizeof(line)) {
        return length;
    }

    memcpy(line, data, length);
    line[length] = '\0';
    line[strcspn(line, "\r\n")] = '\0';

    value = aad_http_header_value(line, "retry-after-ms");

    if (value != NULL) {
        response->retry_after_ms = aad_http_milliseconds(value);
        return length;
    }

    value = aad_http_header_value(line, "x-ms-retry-after-ms");

    if (value != NULL && response->retry_after_ms == 0) {
        response->retry_after_ms = aad_http_milliseconds(value);
        return length;
    }

    value = aad_http_header_value(line, "WWW-Authenticate");

    if (value != NULL && t->challenges++ == 0
        && strlen(value) < sizeof(response->challenge))
    {
        memcpy(response->challenge, value, strlen(value) + 1);
    }

    return length;
}


/* Returns the value without the blanks before it, or NULL. */
static const char *
aad_http_header_value(const char *line, const char *name)
{
    size_t  length;

    length = strlen(name);

    if (strncasecmp(line, name, length) != 0 || line[length] != ':') {
        return NULL;
    }

    line += length + 1;

    return line + strspn(line, " \t");
}


/* Returns 0 for what is no number. */
static int64_t
aad_http_milliseconds(const char *value)
{
    int64_t  ms;
    size_t   digits;

    digits = strspn(value, "0123456789");

    if (digits == 0 || digits > 15) {
        return 0;
    }

    ms = strtoll(value, NULL, 10);

    return ms < AAD_RETRY_AFTER_MAX_MS ? ms : AAD_RETRY_AFTER_MAX_MS;
}


static int
aad_http_progress(void *transfer, curl_off_t download_total,
    curl_off_t downloaded, curl_off_t upload_total, curl_off_t uploaded)
{
    aad_http_transfer_t  *t = transfer;
    const aad_hooks_t    *hooks;

    (void) download_total;
    (void) downloaded;
    (void) upload_total;
    (void) uploaded;

    hooks = t->call->hooks;

    return hooks->cancelled(hooks->data);
}
