
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * Which form of the status is wanted, by the Accept header (RFC 9110 12.5.1).
 */


#include "ngx_http_aoai_aad_status.h"


#define NGX_HTTP_AOAI_AAD_FORMS  (NGX_HTTP_AOAI_AAD_STATUS_PROMETHEUS + 1)


/* how much a form is wanted, and by how precise a range that is said */
typedef struct {
    ngx_int_t                       quality;    /* thousandths, -1: unsaid */
    ngx_uint_t                      precision;
} ngx_http_aoai_aad_wish_t;


static void ngx_http_aoai_aad_read_accept(ngx_str_t *value,
    ngx_http_aoai_aad_wish_t *wishes);
static ngx_int_t ngx_http_aoai_aad_quality(u_char *p, u_char *last);
static ngx_uint_t ngx_http_aoai_aad_precision(const char *type,
    ngx_str_t *range);


static const char *const  ngx_http_aoai_aad_types[] = {
    NULL, "application/json", "text/html", "text/plain"
};


/* A form that the configuration names is the answer to everybody. */
ngx_http_aoai_aad_status_form_e
ngx_http_aoai_aad_negotiate(ngx_http_request_t *r,
    ngx_http_aoai_aad_status_form_e form)
{
    ngx_uint_t                i, best;
    ngx_table_elt_t          *header;
    ngx_http_aoai_aad_wish_t  wishes[NGX_HTTP_AOAI_AAD_FORMS];

    if (form != NGX_HTTP_AOAI_AAD_STATUS_ANY) {
        return form;
    }

    for (i = 0; i < NGX_HTTP_AOAI_AAD_FORMS; i++) {
        wishes[i].quality = -1;
        wishes[i].precision = 0;
    }

    /* several lines are one list */

    for (i = 0; /* void */; i++) {

        header = ngx_http_aoai_aad_find_header(&r->headers_in.headers,
                                               "Accept", i);
        if (header == NULL) {
            break;
        }

        ngx_http_aoai_aad_read_accept(&header->value, wishes);
    }

    /* nobody is sent away: who accepts none of them gets JSON */

    best = NGX_HTTP_AOAI_AAD_STATUS_JSON;

    for (i = best + 1; i < NGX_HTTP_AOAI_AAD_FORMS; i++) {
        if (wishes[i].quality > ngx_max(wishes[best].quality, 0)) {
            best = i;
        }
    }

    return best;
}


static void
ngx_http_aoai_aad_read_accept(ngx_str_t *value,
    ngx_http_aoai_aad_wish_t *wishes)
{
    u_char      *p, *end, *last;
    ngx_int_t    quality;
    ngx_str_t    range;
    ngx_uint_t   i, precision;

    p = value->data;
    last = value->data + value->len;

    for ( /* void */ ; p < last; p = end + 1) {

        end = ngx_strlchr(p, last, ',');
        if (end == NULL) {
            end = last;
        }

        while (p < end && (*p == ' ' || *p == '\t')) {
            p++;
        }

        range.data = p;

        while (p < end && *p != ';' && *p != ' ' && *p != '\t') {
            p++;
        }

        range.len = p - range.data;
        quality = ngx_http_aoai_aad_quality(p, end);

        for (i = 1; i < NGX_HTTP_AOAI_AAD_FORMS; i++) {

            precision = ngx_http_aoai_aad_precision(
                                         ngx_http_aoai_aad_types[i], &range);

            if (precision == 0 || precision < wishes[i].precision) {
                continue;
            }

            /* one type may be there with several parameters */

            if (precision > wishes[i].precision
                || quality > wishes[i].quality)
            {
                wishes[i].quality = quality;
                wishes[i].precision = precision;
            }
        }
    }
}


/* the parameter "q" of a range, in thousandths */
static ngx_int_t
ngx_http_aoai_aad_quality(u_char *p, u_char *last)
{
    ngx_int_t   quality;
    ngx_uint_t  i;

    for ( /* void */ ; p < last; p++) {

        if (*p != ';') {
            continue;
        }

        do {
            p++;
        } while (p < last && (*p == ' ' || *p == '\t'));

        if (last - p < 3 || (*p != 'q' && *p != 'Q') || p[1] != '=') {
            p--;
            continue;
        }

        if (p[2] != '0') {
            return 1000;
        }

        quality = 0;
        p += 3;

        if (p < last && *p == '.') {
            p++;
        }

        for (i = 100; i && p < last && *p >= '0' && *p <= '9'; i /= 10) {
            quality += (*p++ - '0') * (ngx_int_t) i;
        }

        return quality;
    }

    return 1000;
}


/* of a range that has the type: 3, of one with its half: 2, of any: 1 */
static ngx_uint_t
ngx_http_aoai_aad_precision(const char *type, ngx_str_t *range)
{
    size_t  half;

    if (range->len == ngx_strlen(type)
        && ngx_strncasecmp(range->data, (u_char *) type, range->len) == 0)
    {
        return 3;
    }

    if (range->len < 3
        || ngx_strncmp(range->data + range->len - 2, "/*", 2) != 0)
    {
        return 0;
    }

    if (range->len == 3 && range->data[0] == '*') {
        return 1;
    }

    half = range->len - 1;

    return ngx_strncasecmp(range->data, (u_char *) type, half) == 0 ? 2 : 0;
}
