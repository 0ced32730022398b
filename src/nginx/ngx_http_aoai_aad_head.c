
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * The head of a request as it leaves for the upstream: the client's own
 * credentials are taken out of it.
 */


#include "ngx_http_aoai_aad.h"


/* ways to present a credential to Azure OpenAI, other than the token */
#define NGX_HTTP_AOAI_AAD_KEY_ARGUMENT     "api-key"
#define NGX_HTTP_AOAI_AAD_KEY_SUBPROTOCOL  "openai-insecure-api-key."


/* what stays of the head, as it is moved together */
typedef struct {
    u_char                         *from;       /* not moved yet */
    u_char                         *to;
} ngx_http_aoai_aad_copy_t;


static void ngx_http_aoai_aad_clean_uri(ngx_http_aoai_aad_copy_t *copy,
    u_char *uri, u_char *end);
static ngx_int_t ngx_http_aoai_aad_is_key_argument(u_char *p, u_char *last);
static void ngx_http_aoai_aad_clean_line(ngx_http_aoai_aad_copy_t *copy,
    u_char *line, u_char *end);
static ngx_int_t ngx_http_aoai_aad_is_header(u_char *line, u_char *end,
    const char *name, size_t length, u_char **value);
static void ngx_http_aoai_aad_clean_subprotocols(
    ngx_http_aoai_aad_copy_t *copy, u_char *line, u_char *value, u_char *end);
static void ngx_http_aoai_aad_keep(ngx_http_aoai_aad_copy_t *copy,
    u_char *end);
static void ngx_http_aoai_aad_drop(ngx_http_aoai_aad_copy_t *copy,
    u_char *start, u_char *end);
static u_char *ngx_http_aoai_aad_line_end(u_char *p, u_char *last);


/*
 * Takes the client's credentials out of the head in 'b', in place.  'uri' gets
 * the new URI, and 'end' is where the head ends, with its empty line.  Returns
 * NGX_OK, or NGX_DECLINED when this is no head of HTTP/1.
 *
 * Every line is looked at, whoever has put it there.  Nothing is copied unless
 * something is taken out, and the C library finds the ends of lines.
 */
ngx_int_t
ngx_http_aoai_aad_clean_head(ngx_buf_t *b, ngx_str_t *uri, u_char **end)
{
    u_char                    *uri_start, *uri_end, *line, *next;
    ngx_http_aoai_aad_copy_t   copy;

    static const char  version[] = " HTTP/1.x";

    next = ngx_http_aoai_aad_line_end(b->pos, b->last);
    uri_start = memchr(b->pos, ' ', next - b->pos);

    uri_end = next - (sizeof(version) - 1) - (sizeof(CRLF) - 1);

    if (uri_start++ == NULL || uri_end < uri_start
        || ngx_memcmp(uri_end, version, sizeof(version) - 2) != 0)
    {
        return NGX_DECLINED;
    }

    copy.from = b->pos;
    copy.to = b->pos;

    ngx_http_aoai_aad_clean_uri(&copy, uri_start, uri_end);

    if (copy.to != copy.from) {
        ngx_http_aoai_aad_keep(&copy, uri_end);
    }

    uri->data = uri_start;
    uri->len = (copy.to != copy.from ? copy.to : uri_end) - uri_start;

    for (line = next; line < b->last && *line != CR && *line != LF;
         line = next)
    {
        next = ngx_http_aoai_aad_line_end(line, b->last);

        /* a folded line is a part of the one before it */

        while (next < b->last && (*next == ' ' || *next == '\t')) {
            next = ngx_http_aoai_aad_line_end(next, b->last);
        }

        ngx_http_aoai_aad_clean_line(&copy, line, next);
    }

    next = ngx_http_aoai_aad_line_end(line, b->last);

    if (next - line != sizeof(CRLF) - 1) {
        return NGX_DECLINED;
    }

    if (copy.to != copy.from) {
        next -= copy.from - copy.to;
        ngx_http_aoai_aad_keep(&copy, b->last);
        b->last = copy.to;
    }

    *end = next;

    return NGX_OK;
}


/* Takes "api-key" arguments out; all others stay byte for byte. */
static void
ngx_http_aoai_aad_clean_uri(ngx_http_aoai_aad_copy_t *copy, u_char *uri,
    u_char *end)
{
    u_char  *p, *next;

    for (p = memchr(uri, '?', end - uri); p && p < end; p = next) {

        next = memchr(p + 1, '&', end - p - 1);
        if (next == NULL) {
            next = end;
        }

        if (!ngx_http_aoai_aad_is_key_argument(p + 1, next)) {
            continue;
        }

        ngx_http_aoai_aad_drop(copy, p, next);

        /* the one behind it takes its place */

        if (next < end) {
            *next = *p;
        }
    }
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


/*
 * Keeps the line, drops it, or keeps a part of it.  Two letters tell most
 * headers apart from those that matter.
 */
static void
ngx_http_aoai_aad_clean_line(ngx_http_aoai_aad_copy_t *copy, u_char *line,
    u_char *end)
{
    u_char  *value;

    switch (line[0] | 0x20) {

    case 'a':
        switch (line[1] | 0x20) {

        case 'u':
            if (ngx_http_aoai_aad_is_header(line, end, "authorization", 13,
                                            &value))
            {
                break;
            }

            return;

        case 'p':
            if (ngx_http_aoai_aad_is_header(line, end, "api-key", 7, &value)) {
                break;
            }

            return;

        default:
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
            ngx_http_aoai_aad_clean_subprotocols(copy, line, value, end);
        }

        return;

    default:
        return;
    }

    ngx_http_aoai_aad_drop(copy, line, end);
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
ngx_http_aoai_aad_clean_subprotocols(ngx_http_aoai_aad_copy_t *copy,
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

        ngx_memmove(copy->to, p, next - p);
        copy->to += next - p;
        offers += (item < next);
    }

    copy->from = value_end;

    if (keys && offers == 0) {
        copy->to = start;
        copy->from = end;
    }
}


/* Moves what was not moved yet, up to 'end'. */
static void
ngx_http_aoai_aad_keep(ngx_http_aoai_aad_copy_t *copy, u_char *end)
{
    size_t  length;

    length = end - copy->from;

    if (copy->to != copy->from) {
        ngx_memmove(copy->to, copy->from, length);
    }

    copy->to += length;
    copy->from = end;
}


static void
ngx_http_aoai_aad_drop(ngx_http_aoai_aad_copy_t *copy, u_char *start,
    u_char *end)
{
    ngx_http_aoai_aad_keep(copy, start);

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
