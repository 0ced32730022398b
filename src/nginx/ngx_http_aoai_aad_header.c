
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * Headers in nginx's lists: to find one, and to add one.
 */


#include "ngx_http_aoai_aad.h"


/*
 * The header of that name and number, counted from 0, whatever the case of
 * its letters; or NULL.
 */
ngx_table_elt_t *
ngx_http_aoai_aad_find_header(ngx_list_t *headers, const char *name,
    ngx_uint_t number)
{
    size_t            length;
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *header;

    length = ngx_strlen(name);

    for (part = &headers->part; part; part = part->next) {

        header = part->elts;

        for (i = 0; i < part->nelts; i++) {

            if (header[i].hash != 0
                && header[i].key.len == length
                && ngx_strncasecmp(header[i].key.data, (u_char *) name,
                                   length)
                   == 0
                && number-- == 0)
            {
                return &header[i];
            }
        }
    }

    return NULL;
}


/* Adds a header to the answer; the texts are not copied. */
ngx_int_t
ngx_http_aoai_aad_add_header(ngx_http_request_t *r, const char *name,
    ngx_str_t *value)
{
    ngx_table_elt_t  *header;

    header = ngx_list_push(&r->headers_out.headers);
    if (header == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(header, sizeof(ngx_table_elt_t));

    header->hash = 1;
    header->key.data = (u_char *) name;
    header->key.len = ngx_strlen(name);
    header->value = *value;

    return NGX_OK;
}
