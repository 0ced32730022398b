
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * The head of a request as it leaves for the upstream: the client's own
 * credentials are taken out of it.
 */


#include "ngx_http_aoai_aad.h"


/* what stays of the head, as it is moved together */
typedef struct {
    u_char                         *from;       /* not moved yet */
    u_char                         *to;
} ngx_http_aoai_aad_copy_t;


#define NGX_HTTP_AOAI_AAD_URIS  16

/* one that this worker has found clean, by its length */
typedef struct {
    size_t                          length;
    u_char                          data[256 - sizeof(size_t)];
} ngx_http_aoai_aad_uri_t;


static ngx_inline ngx_uint_t ngx_http_aoai_aad_is_clean_uri(ngx_str_t *uri);
static void ngx_http_aoai_aad_clean_uri(ngx_http_aoai_aad_copy_t *copy,
    u_char *uri, u_char *end);
static u_char *ngx_http_aoai_aad_key_argument(u_char *p, u_char *end);
static u_char *ngx_http_aoai_aad_argument_end(u_char *p, u_char *end);
static ngx_int_t ngx_http_aoai_aad_is_key_argument(u_char *p, u_char *last);
static void ngx_http_aoai_aad_clean_line(ngx_http_aoai_aad_copy_t *copy,
    u_char *line, u_char *end);
static void ngx_http_aoai_aad_clean_subprotocols(
    ngx_http_aoai_aad_copy_t *copy, u_char *line, u_char *value, u_char *end);
static void ngx_http_aoai_aad_keep(ngx_http_aoai_aad_copy_t *copy,
    u_char *end);
static void ngx_http_aoai_aad_drop(ngx_http_aoai_aad_copy_t *copy,
    u_char *start, u_char *end);
static u_char *ngx_http_aoai_aad_line_end(u_char *p, u_char *last);


/*
 * Whether the request line in 'b' is that of HTTP/1, with no key in its URI,
 * and whether the head goes to the end of it: with no other line of a
 * credential, there is nothing to take out.
 */
ngx_uint_t
ngx_http_aoai_aad_is_clean_head(ngx_buf_t *b, ngx_str_t *uri)
{
    u_char  *end;

    static const char  version[] = " HTTP/1.";

    end = uri->data + uri->len;

    return uri->data > b->pos
           && end + sizeof(version) < b->last
           && ngx_memcmp(end, version, sizeof(version) - 1) == 0
           && ngx_memcmp(b->last - (sizeof(CRLF CRLF) - 1), CRLF CRLF,
                         sizeof(CRLF CRLF) - 1) == 0
           && ngx_http_aoai_aad_is_clean_uri(uri);
}


/*
 * Arguments that "set" or "rewrite" made may have a line end in them.  Apps
 * ask for few URIs, again and again: to know one is a part of the cost of
 * looking at it.
 */
static ngx_inline ngx_uint_t
ngx_http_aoai_aad_is_clean_uri(ngx_str_t *uri)
{
    u_char                   *p, *end;
    ngx_http_aoai_aad_uri_t  *clean;

    static ngx_http_aoai_aad_uri_t  uris[NGX_HTTP_AOAI_AAD_URIS];

    clean = &uris[uri->len % NGX_HTTP_AOAI_AAD_URIS];

    if (clean->length == uri->len
        && memcmp(clean->data, uri->data, uri->len) == 0)
    {
        return 1;
    }

    p = memchr(uri->data, '?', uri->len);
    end = uri->data + uri->len;

    if (memchr(uri->data, LF, uri->len)
        || ngx_http_aoai_aad_key_argument(p, end))
    {
        return 0;
    }

    if (uri->len <= sizeof(clean->data)) {
        ngx_memcpy(clean->data, uri->data, uri->len);
        clean->length = uri->len;
    }

    return 1;
}


/*
 * Takes the client's credentials out of the head in 'b', in place.  'uri' gets
 * the new URI.  Returns where the head ends, with its empty line, or NULL when
 * this is no head of HTTP/1.
 *
 * Every line is looked at, whoever has put it there.  Nothing is copied unless
 * something is taken out, and the C library finds the ends of lines.
 */
u_char *
ngx_http_aoai_aad_clean_head(ngx_buf_t *b, ngx_str_t *uri)
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
        return NULL;
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
        return NULL;
    }

    if (copy.to != copy.from) {
        next -= copy.from - copy.to;
        ngx_http_aoai_aad_keep(&copy, b->last);
        b->last = copy.to;
    }

    return next;
}


/* Takes "api-key" arguments out; all others stay byte for byte. */
static void
ngx_http_aoai_aad_clean_uri(ngx_http_aoai_aad_copy_t *copy, u_char *uri,
    u_char *end)
{
    u_char  *p, *next;

    for (p = memchr(uri, '?', end - uri); p; p = next) {

        p = ngx_http_aoai_aad_key_argument(p, end);
        if (p == NULL) {
            return;
        }

        next = ngx_http_aoai_aad_argument_end(p, end);

        ngx_http_aoai_aad_drop(copy, p, next);

        /* the one behind it takes its place */

        if (next < end) {
            *next = *p;
        }
    }
}


/*
 * Of the arguments from 'p' on, the first one that is a key, with its "?" or
 * "&"; NULL if there is none.
 */
static u_char *
ngx_http_aoai_aad_key_argument(u_char *p, u_char *end)
{
    u_char  *next;

    for ( /* void */ ; p && p < end; p = next) {

        next = ngx_http_aoai_aad_argument_end(p, end);

        if (ngx_http_aoai_aad_is_key_argument(p + 1, next)) {
            return p;
        }
    }

    return NULL;
}


/* of the one at 'p', which is its "?" or "&" */
static u_char *
ngx_http_aoai_aad_argument_end(u_char *p, u_char *end)
{
    u_char  *next;

    next = memchr(p + 1, '&', end - p - 1);

    return next ? next : end;
}


/* the name may be encoded: "%61pi%2Dkey" is read as "api-key" over there */
static ngx_int_t
ngx_http_aoai_aad_is_key_argument(u_char *p, u_char *last)
{
    u_char       c;
    ngx_int_t    n;
    const char  *name;

    /* what nearly all requests have is told apart at once */

    if (last - p > 12 && ngx_memcmp(p, "api-version=", 12) == 0) {
        return 0;
    }

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


/*
 * Keeps the line, drops it, or keeps a part of it.  A letter tells most
 * headers apart from those that matter.
 */
static void
ngx_http_aoai_aad_clean_line(ngx_http_aoai_aad_copy_t *copy, u_char *line,
    u_char *end)
{
    u_char  *colon, *last;

    switch (line[0] | 0x20) {

    case 'a':
    case 'o':
    case 's':
        break;

    default:
        return;
    }

    colon = memchr(line, ':', end - line);
    if (colon == NULL) {
        return;
    }

    for (last = colon; last[-1] == ' ' || last[-1] == '\t'; last--) {
        /* void */
    }

    if (ngx_http_aoai_aad_is_credential(line, last - line)) {
        ngx_http_aoai_aad_drop(copy, line, end);

    } else if (ngx_http_aoai_aad_has_subprotocols(line, last - line)) {
        ngx_http_aoai_aad_clean_subprotocols(copy, line, colon + 1, end);
    }
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
