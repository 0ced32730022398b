
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * Texts of any length, in pieces, and the characters of texts that nobody has
 * looked at.
 */


#include "ngx_http_aoai_aad_status.h"


#define NGX_HTTP_AOAI_AAD_PIECE_BYTES   8192

/* of what is printed at once */
#define NGX_HTTP_AOAI_AAD_PRINT_BYTES   512


static ngx_buf_t *ngx_http_aoai_aad_add_piece(ngx_http_aoai_aad_writer_t *w);


void
ngx_http_aoai_aad_write(ngx_http_aoai_aad_writer_t *w, const void *data,
    size_t length)
{
    size_t      n;
    ngx_buf_t  *b;

    while (length && !w->failed) {

        b = w->last ? w->last->buf : NULL;

        if (b == NULL || b->last == b->end) {
            b = ngx_http_aoai_aad_add_piece(w);
            if (b == NULL) {
                w->failed = 1;
                return;
            }
        }

        n = ngx_min(length, (size_t) (b->end - b->last));

        b->last = ngx_cpymem(b->last, data, n);
        w->length += n;

        data = (u_char *) data + n;
        length -= n;
    }
}


static ngx_buf_t *
ngx_http_aoai_aad_add_piece(ngx_http_aoai_aad_writer_t *w)
{
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    b = ngx_create_temp_buf(w->pool, NGX_HTTP_AOAI_AAD_PIECE_BYTES);
    cl = ngx_alloc_chain_link(w->pool);

    if (b == NULL || cl == NULL) {
        return NULL;
    }

    cl->buf = b;
    cl->next = NULL;

    if (w->last) {
        w->last->next = cl;

    } else {
        w->first = cl;
    }

    w->last = cl;

    return b;
}


/* as it is: for what needs no escaping */
void
ngx_http_aoai_aad_write_text(ngx_http_aoai_aad_writer_t *w, const char *text)
{
    ngx_http_aoai_aad_write(w, text, ngx_strlen(text));
}


/* by ngx_vslprintf(), which knows other formats than C; for short texts */
void
ngx_http_aoai_aad_print(ngx_http_aoai_aad_writer_t *w, const char *format,
    ...)
{
    u_char   text[NGX_HTTP_AOAI_AAD_PRINT_BYTES], *last;
    va_list  args;

    va_start(args, format);
    last = ngx_vslprintf(text, text + sizeof(text), format, args);
    va_end(args);

    ngx_http_aoai_aad_write(w, text, last - text);
}


/* RFC 3339, in UTC */
void
ngx_http_aoai_aad_write_time(ngx_http_aoai_aad_writer_t *w, time_t time)
{
    ngx_tm_t  tm;

    ngx_gmtime(time, &tm);

    ngx_http_aoai_aad_print(w, "%4d-%02d-%02dT%02d:%02d:%02dZ",
                            tm.ngx_tm_year, tm.ngx_tm_mon, tm.ngx_tm_mday,
                            tm.ngx_tm_hour, tm.ngx_tm_min, tm.ngx_tm_sec);
}


/*
 * Takes the next character off a text of C that should be UTF-8; 0 at its
 * end.  Of each byte that belongs to no character of RFC 3629 it makes
 * U+FFFD, so that all that is written is UTF-8.
 */
uint32_t
ngx_http_aoai_aad_next_character(const char **text)
{
    uint32_t       c, least;
    ngx_uint_t     i, n;
    const u_char  *p;

    p = (const u_char *) *text;

    if (p[0] == 0) {
        return 0;
    }

    (*text)++;

    if (p[0] < 0x80) {
        return p[0];
    }

    if ((p[0] & 0xe0) == 0xc0) {
        n = 1;
        c = p[0] & 0x1f;
        least = 0x80;

    } else if ((p[0] & 0xf0) == 0xe0) {
        n = 2;
        c = p[0] & 0x0f;
        least = 0x800;

    } else if ((p[0] & 0xf8) == 0xf0) {
        n = 3;
        c = p[0] & 0x07;
        least = 0x10000;

    } else {
        return 0xfffd;
    }

    for (i = 1; i <= n; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0xfffd;
        }

        c = c << 6 | (p[i] & 0x3f);
    }

    if (c < least || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff)) {
        return 0xfffd;
    }

    *text += n;

    return c;
}


/* as UTF-8 */
void
ngx_http_aoai_aad_write_character(ngx_http_aoai_aad_writer_t *w,
    uint32_t character)
{
    u_char  text[4], *p;

    p = text;

    if (character < 0x80) {
        *p++ = (u_char) character;

    } else if (character < 0x800) {
        *p++ = (u_char) (0xc0 | character >> 6);
        *p++ = (u_char) (0x80 | (character & 0x3f));

    } else if (character < 0x10000) {
        *p++ = (u_char) (0xe0 | character >> 12);
        *p++ = (u_char) (0x80 | (character >> 6 & 0x3f));
        *p++ = (u_char) (0x80 | (character & 0x3f));

    } else {
        *p++ = (u_char) (0xf0 | character >> 18);
        *p++ = (u_char) (0x80 | (character >> 12 & 0x3f));
        *p++ = (u_char) (0x80 | (character >> 6 & 0x3f));
        *p++ = (u_char) (0x80 | (character & 0x3f));
    }

    ngx_http_aoai_aad_write(w, text, p - text);
}
