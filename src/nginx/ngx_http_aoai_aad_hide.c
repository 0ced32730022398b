
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * The client's headers as nginx is to see them while it makes the request for
 * the upstream: without credentials.  nginx looks each header up twice and
 * copies it in parts; those that it is known to send on as they are, it is
 * given as one, which saves most of what the rest of the module costs, or more.
 */


#include "ngx_http_aoai_aad.h"


/* with more, each is looked at in the head, or looked up by nginx */
#define NGX_HTTP_AOAI_AAD_SEEN_MAX     24
#define NGX_HTTP_AOAI_AAD_LINES_BYTES  8192


static void ngx_http_aoai_aad_begin_lines(ngx_table_elt_t *joined,
    ngx_table_elt_t *header, u_char *p);
static ngx_inline u_char *ngx_http_aoai_aad_write_header(u_char *p,
    ngx_table_elt_t *header);


/* of the one request that is being made */
static ngx_list_part_t  ngx_http_aoai_aad_part;     /* its whole list */
static ngx_table_elt_t  ngx_http_aoai_aad_seen[NGX_HTTP_AOAI_AAD_SEEN_MAX];
static u_char           ngx_http_aoai_aad_lines[NGX_HTTP_AOAI_AAD_LINES_BYTES];


/*
 * Puts a list without the client's credentials in the place of that of all its
 * headers, which stay as they are.  Returns NGX_DECLINED, with nothing done,
 * for a request whose head has to be looked at all the same.  The caller shows
 * them again before anything else of nginx can run.
 */
ngx_int_t
ngx_http_aoai_aad_hide_credentials(ngx_http_request_t *r,
    ngx_http_aoai_aad_plain_t *plain)
{
    u_char                     *parsed, *value, *p, *start, *end;
    size_t                      size, length, name_length;
    ngx_buf_t                  *b;
    ngx_uint_t                  n;
    ngx_list_part_t            *part;
    ngx_table_elt_t            *header, *last, *seen, *joined, *first;
    ngx_http_variable_value_t  *host;

    /* whatever "set" or a capture has given it is sent as the default "Host" */

    host = &r->variables[plain->host];

    if (host->valid && !host->no_cacheable) {
        return NGX_DECLINED;
    }

    /* subrequests have the headers of the main request, not its buffer */

    b = r->main->header_in;
    parsed = b ? b->start : NULL;
    size = b ? b->end - b->start : 0;

    seen = ngx_http_aoai_aad_seen;
    n = 0;
    joined = NULL;
    first = NULL;

    p = ngx_http_aoai_aad_lines;
    start = p;
    end = p + sizeof(ngx_http_aoai_aad_lines);

    for (part = &r->headers_in.headers.part; part; part = part->next) {

        header = part->elts;
        last = header + part->nelts;

        for ( /* void */ ; header < last; header++) {

            value = header->value.data;
            length = header->value.len;

            /* what nginx has parsed has no line end, and most of it stands in
               its buffer; another module may have put anything here */

            if ((size_t) (value - parsed) >= size && length
                && memchr(value, LF, length))
            {
                return NGX_DECLINED;
            }

            /* the name as it would be sent: "lowcase_key" is not always set by
               other modules */

            name_length = header->key.len;

            if (NGX_HTTP_AOAI_AAD_MAY_HAVE_KEY(name_length)) {

                if (ngx_http_aoai_aad_is_credential(header->key.data,
                                                    name_length))
                {
                    continue;
                }

                if (ngx_http_aoai_aad_has_subprotocols(header->key.data,
                                                       name_length))
                {
                    return NGX_DECLINED;
                }
            }

            length += name_length + sizeof(": " CRLF) - 1;

            /* by the hash that nginx looks it up by */

            if (plain->own[header->hash & 0xff]) {

                /* what proxy_pass says itself in all releases */

                if (header == r->headers_in.host
                    || header == r->headers_in.content_length
                    || header == r->headers_in.connection)
                {
                    continue;
                }

                joined = NULL;

            } else if (length > (size_t) (end - p)) {
                joined = NULL;

            } else if (joined == NULL) {

                /* it may stay alone, and need not be copied then */

                joined = seen;
                first = header;
                start = p;
                p += length;

            } else {

                if (first) {
                    ngx_http_aoai_aad_begin_lines(joined, first, start);
                    first = NULL;
                }

                p = ngx_http_aoai_aad_write_header(p, header);

                joined->value.len = p - joined->value.data
                                    - (sizeof(CRLF) - 1);

                continue;
            }

            if (n++ == NGX_HTTP_AOAI_AAD_SEEN_MAX) {
                return NGX_DECLINED;
            }

            *seen++ = *header;
        }
    }

    part = &r->headers_in.headers.part;

    ngx_http_aoai_aad_part = *part;

    part->elts = ngx_http_aoai_aad_seen;
    part->nelts = n;
    part->next = NULL;

    return NGX_OK;
}


void
ngx_http_aoai_aad_show_credentials(ngx_http_request_t *r)
{
    r->headers_in.headers.part = ngx_http_aoai_aad_part;
}


/* Copies the header to 'p', for others to be joined to it. */
static void
ngx_http_aoai_aad_begin_lines(ngx_table_elt_t *joined, ngx_table_elt_t *header,
    u_char *p)
{
    (void) ngx_http_aoai_aad_write_header(p, header);

    joined->key.data = p;
    joined->value.data = p + header->key.len + sizeof(": ") - 1;
}


/*
 * As nginx would write it.  Most clients do just as well, and their lines are
 * copied at once: nginx's parser has put a NUL in the place of the colon.
 */
static ngx_inline u_char *
ngx_http_aoai_aad_write_header(u_char *p, ngx_table_elt_t *header)
{
    u_char  *colon;

    colon = p + header->key.len;

    if (header->value.data == header->key.data + header->key.len
                              + sizeof(": ") - 1)
    {
        p = ngx_cpymem(p, header->key.data,
                       header->key.len + sizeof(": ") - 1 + header->value.len);

    } else {
        ngx_memcpy(p, header->key.data, header->key.len);
        p = ngx_cpymem(colon + sizeof(": ") - 1, header->value.data,
                       header->value.len);
    }

    colon[0] = ':';
    colon[1] = ' ';

    *p++ = CR;
    *p++ = LF;

    return p;
}
