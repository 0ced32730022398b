
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * The head of a request as it leaves for the upstream: the client's own
 * credentials are taken out of it, the token is put in.
 */


#include "ngx_http_aoai_aad.h"


/* ways to present a credential to Azure OpenAI, other than the token */
#define NGX_HTTP_AOAI_AAD_KEY_ARGUMENT     "api-key"
#define NGX_HTTP_AOAI_AAD_KEY_SUBPROTOCOL  "openai-insecure-api-key."


/* parts of the old head that stay, as they are copied to the new one */
typedef struct {
    u_char                         *from;       /* not copied yet */
    u_char                         *to;
} ngx_http_aoai_aad_copy_t;


static void ngx_http_aoai_aad_rewrite_uri(ngx_http_aoai_aad_copy_t *copy,
    u_char *uri, u_char *end);
static ngx_int_t ngx_http_aoai_aad_is_key_argument(u_char *p, u_char *last);
static void ngx_http_aoai_aad_rewrite_line(ngx_http_aoai_aad_copy_t *copy,
    u_char *line, u_char *end);
static ngx_int_t ngx_http_aoai_aad_is_header(u_char *line, u_char *end,
    const char *name, size_t length, u_char **value);
static void ngx_http_aoai_aad_rewrite_subprotocols(
    ngx_http_aoai_aad_copy_t *copy, u_char *line, u_char *value, u_char *end);
static void ngx_http_aoai_aad_keep(ngx_http_aoai_aad_copy_t *copy,
    u_char *end);
static u_char *ngx_http_aoai_aad_line_end(u_char *p, u_char *last);


/*
 * Puts the new head, with 'authorization' (a whole line) at its end, in the
 * place of the old one in 'b'; what follows the head in the buffer (the body
 * of proxy_set_body) stays.  'uri' gets the new URI.  Returns NGX_OK, NGX_ERROR
 * when memory is out, or NGX_DECLINED when this is no head of HTTP/1.
 *
 * It stays one buffer: ngx_http_proxy_body_output_filter() takes the first one
 * for the head, and all others for the body.
 */
ngx_int_t
ngx_http_aoai_aad_rewrite_head(ngx_pool_t *pool, ngx_buf_t *b,
    ngx_str_t *authorization, ngx_str_t *uri)
{
    u_char                    *start, *method_end, *uri_end, *line, *end;
    ngx_http_aoai_aad_copy_t   copy;

    static const char  version[] = " HTTP/1.x";

    end = ngx_http_aoai_aad_line_end(b->pos, b->last);
    method_end = ngx_strlchr(b->pos, end, ' ');

    uri_end = end - (sizeof(version) - 1) - (sizeof(CRLF) - 1);

    if (method_end == NULL || uri_end <= method_end
        || ngx_strncmp(uri_end, version, sizeof(version) - 2) != 0)
    {
        return NGX_DECLINED;
    }

    start = ngx_pnalloc(pool, b->last - b->pos + authorization->len);
    if (start == NULL) {
        return NGX_ERROR;
    }

    copy.from = b->pos;
    copy.to = start;

    ngx_http_aoai_aad_rewrite_uri(&copy, method_end + 1, uri_end);

    uri->data = start + (method_end + 1 - b->pos);

    ngx_http_aoai_aad_keep(&copy, uri_end);

    uri->len = copy.to - uri->data;

    for (line = end; line < b->last && *line != CR && *line != LF; line = end)
    {
        end = ngx_http_aoai_aad_line_end(line, b->last);

        /* a folded line is a part of the one before it */

        while (end < b->last && (*end == ' ' || *end == '\t')) {
            end = ngx_http_aoai_aad_line_end(end, b->last);
        }

        ngx_http_aoai_aad_rewrite_line(&copy, line, end);
    }

    ngx_http_aoai_aad_keep(&copy, line);

    copy.to = ngx_cpymem(copy.to, authorization->data, authorization->len);

    ngx_http_aoai_aad_keep(&copy, b->last);

    /* a retry on another server starts again at b->start */

    b->start = start;
    b->pos = start;
    b->last = copy.to;
    b->end = copy.to;

    return NGX_OK;
}


/* Takes "api-key" arguments out; all others stay byte for byte. */
static void
ngx_http_aoai_aad_rewrite_uri(ngx_http_aoai_aad_copy_t *copy, u_char *uri,
    u_char *end)
{
    u_char  *p, *next, separator;

    p = ngx_strlchr(uri, end, '?');

    if (p == NULL) {
        return;
    }

    ngx_http_aoai_aad_keep(copy, p);

    separator = '?';

    do {
        p++;

        next = ngx_strlchr(p, end, '&');
        if (next == NULL) {
            next = end;
        }

        if (!ngx_http_aoai_aad_is_key_argument(p, next)) {
            *copy->to++ = separator;
            copy->to = ngx_cpymem(copy->to, p, next - p);
            separator = '&';
        }

        p = next;

    } while (p < end);

    copy->from = end;
}


/* the name may be encoded: "%61pi%2Dkey" is read as "api-key" over there */
static ngx_int_t
ngx_http_aoai_aad_is_key_argument(u_char *p, u_char *last)
{
    u_char       c;
    ngx_int_t    n;
    const char  *name;

    for (name = NGX_HTTP_AOAI_AAD_KEY_ARGUMENT; *name; name++) {

        if (p == last) {
            return 0;
        }

        c = *p++;

        if (c == '%' && last - p >= 2) {
            n = ngx_hextoi(p, 2);

            if (n != NGX_ERROR) {
                c = (u_char) n;
                p += 2;
            }
        }

        if (ngx_tolower(c) != *name) {
            return 0;
        }
    }

    return p == last || *p == '=';
}


/* Whether a header of this name is dropped. */
ngx_uint_t
ngx_http_aoai_aad_is_credential(ngx_str_t *name)
{
    ngx_str_t  *credential;

    static ngx_str_t  credentials[] = {
        ngx_string("Authorization"),
        ngx_string("api-key"),
        ngx_string("Ocp-Apim-Subscription-Key"),
        ngx_null_string
    };

    for (credential = credentials; credential->len; credential++) {

        if (name->len == credential->len
            && ngx_strncasecmp(name->data, credential->data, name->len) == 0)
        {
            return 1;
        }
    }

    return 0;
}


/* Keeps the line, drops it, or keeps a part of it. */
static void
ngx_http_aoai_aad_rewrite_line(ngx_http_aoai_aad_copy_t *copy, u_char *line,
    u_char *end)
{
    u_char  *value;

    switch (ngx_tolower(*line)) {

    case 'a':
        if (!ngx_http_aoai_aad_is_header(line, end, "authorization", 13,
                                         &value)
            && !ngx_http_aoai_aad_is_header(line, end, "api-key", 7, &value))
        {
            return;
        }

        break;

    case 'o':
        if (!ngx_http_aoai_aad_is_header(line, end,
                                         "ocp-apim-subscription-key", 25,
                                         &value))
        {
            return;
        }

        break;

    case 's':
        if (ngx_http_aoai_aad_is_header(line, end, "sec-websocket-protocol",
                                        22, &value))
        {
            ngx_http_aoai_aad_rewrite_subprotocols(copy, line, value, end);
        }

        return;

    default:
        return;
    }

    ngx_http_aoai_aad_keep(copy, line);
    copy->from = end;
}


static ngx_int_t
ngx_http_aoai_aad_is_header(u_char *line, u_char *end, const char *name,
    size_t length, u_char **value)
{
    u_char  *p;

    if ((size_t) (end - line) <= length
        || ngx_strncasecmp(line, (u_char *) name, length) != 0)
    {
        return 0;
    }

    for (p = line + length; p < end && (*p == ' ' || *p == '\t'); p++) {
        /* void */
    }

    if (p == end || *p != ':') {
        return 0;
    }

    *value = p + 1;

    return 1;
}


/*
 * A browser can send a key as a subprotocol alone; the others that it offers
 * stay byte for byte.
 */
static void
ngx_http_aoai_aad_rewrite_subprotocols(ngx_http_aoai_aad_copy_t *copy,
    u_char *line, u_char *value, u_char *end)
{
    u_char      *p, *item, *next, *start, *value_end;
    ngx_uint_t   items, offers, keys;

    static const char    key[] = NGX_HTTP_AOAI_AAD_KEY_SUBPROTOCOL;
    static const size_t  length = sizeof(key) - 1;

    value_end = end;

    while (value_end > value
           && (value_end[-1] == CR || value_end[-1] == LF))
    {
        value_end--;
    }

    ngx_http_aoai_aad_keep(copy, line);
    start = copy->to;
    ngx_http_aoai_aad_keep(copy, value);

    items = 0;
    offers = 0;
    keys = 0;

    for (p = value; p <= value_end; p = next + 1) {

        next = ngx_strlchr(p, value_end, ',');
        if (next == NULL) {
            next = value_end;
        }

        for (item = p; item < next && *item <= ' '; item++) {
            /* void */
        }

        if ((size_t) (next - item) >= length
            && ngx_strncasecmp(item, (u_char *) key, length) == 0)
        {
            keys++;
            continue;
        }

        if (items++) {
            *copy->to++ = ',';
        }

        copy->to = ngx_cpymem(copy->to, p, next - p);
        offers += (item < next);
    }

    copy->from = value_end;

    if (keys && offers == 0) {
        copy->to = start;
        copy->from = end;
    }
}


/* Copies what was not copied yet, up to 'end'. */
static void
ngx_http_aoai_aad_keep(ngx_http_aoai_aad_copy_t *copy, u_char *end)
{
    copy->to = ngx_cpymem(copy->to, copy->from, end - copy->from);
    copy->from = end;
}


/* behind the LF, or the end of the buffer */
static u_char *
ngx_http_aoai_aad_line_end(u_char *p, u_char *last)
{
    u_char  *lf;

    lf = memchr(p, LF, last - p);

    return lf ? lf + 1 : last;
}
