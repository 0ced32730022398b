
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


typedef struct {
    aad_call_t             *call;
    aad_http_response_t    *response;
    struct curl_slist      *connect_to;
    int                     too_large;
} aad_http_transfer_t;


static int aad_http_options(CURL *curl, aad_http_transfer_t *transfer,
    const aad_http_request_t *request, struct curl_slist *headers);
static CURLcode aad_http_trust(CURL *curl, const char *ca_certificates);
static CURLcode aad_http_server_name(CURL *curl,
    aad_http_transfer_t *transfer, const aad_http_request_t *request);
static int aad_http_failed(CURLcode rc, const aad_http_transfer_t *transfer,
    const aad_http_request_t *request, const char *detail,
    aad_error_t *error);
static struct curl_slist *aad_http_headers(const aad_http_request_t *request);
static struct curl_slist *aad_http_header(struct curl_slist *headers,
    const char *header);
static void aad_http_headers_wipe(struct curl_slist *headers);
static size_t aad_http_body(char *data, size_t size, size_t count,
    void *transfer);
static int aad_http_progress(void *transfer, curl_off_t download_total,
    curl_off_t downloaded, curl_off_t upload_total, curl_off_t uploaded);


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

    transfer.call = call;
    transfer.response = response;
    transfer.connect_to = NULL;
    transfer.too_large = 0;

    /* zero would be no limit at all to libcurl */

    if (aad_time_left_ms(call) == 0) {
        return aad_error(error, "no time was left to ask %s", request->url);
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

    if (curl_easy_getinfo(curl, CURLINFO_RETRY_AFTER, &retry_after)
        == CURLE_OK)
    {
        response->retry_after = retry_after > 86400 ? 86400
                                : retry_after < 0 ? 0 : (int) retry_after;
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

    aad_text_clean(text, sizeof(text),
                   detail[0] != '\0' ? detail : curl_easy_strerror(rc));

    return aad_error(error, "%.*s: %s%s", (int) length, url, text,
                     rc == CURLE_PEER_FAILED_VERIFICATION && request->authority
                         ? "; where the authority has a CA of your own, name "
                           "it with \"aoai_aad_ssl_trusted_certificate\""
                         : "");
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
