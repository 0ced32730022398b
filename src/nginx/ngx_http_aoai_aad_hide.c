
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * The client's headers as nginx is to see them while it makes the request for
 * the upstream: without credentials.  nginx looks each header up twice and
 * copies it in parts.  Neighbours that are to leave just as they have come are
 * given to it as one: that saves more than the rest of the module costs.
 */


#include "ngx_http_aoai_aad.h"


static ngx_inline ngx_uint_t ngx_http_aoai_aad_follows(u_char *next,
    ngx_table_elt_t *header);
static void ngx_http_aoai_aad_separate(ngx_http_aoai_aad_hidden_t *hidden,
    u_char **last);


/*
 * Puts a list without the client's credentials in the place of that of all its
 * headers, which stay as they are.  Returns NGX_DECLINED, with nothing done,
 * for a request whose head has to be looked at all the same.  The caller shows
 * them again before anything else of nginx can run.
 */
ngx_int_t
ngx_http_aoai_aad_hide_credentials(ngx_http_request_t *r,
    ngx_http_aoai_aad_plain_t *plain, ngx_http_aoai_aad_hidden_t *hidden)
{
    u_char           *parsed, *value, *name, *next, **joint, **joints_end;
    size_t            size, length, name_length;
    ngx_buf_t        *b;
    ngx_uint_t        is_parsed;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *header, *last, *seen, *seen_end;

    /* subrequests have the headers of the main request, not its buffer */

    b = r->main->header_in;
    parsed = b ? b->start : NULL;
    size = b ? b->end - b->start : 0;

    seen = hidden->seen;
    seen_end = seen + NGX_HTTP_AOAI_AAD_SEEN_MAX;
    joint = hidden->joints;
    joints_end = joint + NGX_HTTP_AOAI_AAD_JOINTS_MAX;
    next = NULL;

    for (part = &r->headers_in.headers.part; part; part = part->next) {

        header = part->elts;
        last = header + part->nelts;

        for ( /* void */ ; header < last; header++) {

            name = header->key.data;
            name_length = header->key.len;
            value = header->value.data;
            length = header->value.len;

            /* what nginx has parsed has no line end, and stands in its buffer
               but for HTTP/2; another module may have put anything here */

            is_parsed = (size_t) (value - parsed) < size;

            if (!is_parsed && length && memchr(value, LF, length)) {
                goto declined;
            }

            /* the name as it would be sent: "lowcase_key" is not always set by
               other modules */

            if (NGX_HTTP_AOAI_AAD_MAY_HAVE_KEY(name_length)) {

                if (ngx_http_aoai_aad_is_credential(name, name_length)) {
                    continue;
                }

                if (ngx_http_aoai_aad_has_subprotocols(name, name_length)) {
                    goto declined;
                }
            }

            if (plain->own[header->hash & 0xff]) {

                /* what proxy_pass says itself in all releases */

                if (header == r->headers_in.host
                    || header == r->headers_in.content_length
                    || header == r->headers_in.connection)
                {
                    continue;
                }

                next = NULL;

            } else if (ngx_http_aoai_aad_follows(next, header)
                       && joint != joints_end)
            {
                next[-2] = CR;
                name[name_length] = ':';

                *joint++ = &next[-2];
                *joint++ = &name[name_length];

                next = value + length + sizeof(CRLF) - 1;
                seen[-1].value.len = value + length - seen[-1].value.data;

                continue;

            } else {
                next = is_parsed ? value + length + sizeof(CRLF) - 1 : NULL;
            }

            if (seen == seen_end) {
                goto declined;
            }

            *seen++ = *header;
        }
    }

    hidden->joints_end = joint;
    hidden->part = r->headers_in.headers.part;

    part = &r->headers_in.headers.part;
    part->elts = hidden->seen;
    part->nelts = seen - hidden->seen;
    part->next = NULL;

    return NGX_OK;

declined:

    ngx_http_aoai_aad_separate(hidden, joint);

    return NGX_DECLINED;
}


void
ngx_http_aoai_aad_show_credentials(ngx_http_request_t *r,
    ngx_http_aoai_aad_hidden_t *hidden)
{
    r->headers_in.headers.part = hidden->part;

    ngx_http_aoai_aad_separate(hidden, hidden->joints_end);
}


/*
 * Whether the header's line begins at 'next', and is as nginx would write it
 * but for the ends of its name and of the value before it: its parser has put
 * a NUL there.
 */
static ngx_inline ngx_uint_t
ngx_http_aoai_aad_follows(u_char *next, ngx_table_elt_t *header)
{
    u_char  *colon;

    if (header->key.data != next) {
        return 0;
    }

    colon = next + header->key.len;

    return header->value.data == colon + sizeof(": ") - 1
           && ngx_memcmp(&next[-2], "\0\n", 2) == 0
           && ngx_memcmp(colon, "\0 ", 2) == 0;
}


static void
ngx_http_aoai_aad_separate(ngx_http_aoai_aad_hidden_t *hidden, u_char **last)
{
    u_char  **joint;

    for (joint = hidden->joints; joint < last; joint++) {
        **joint = '\0';
    }
}
