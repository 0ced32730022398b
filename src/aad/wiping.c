
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * Memory that is wiped before it is freed, for a library that keeps copies of
 * what it sends and receives in buffers of its own.
 */


#include "internal.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>


/* in front of each piece, as large as what malloc() aligns to */
typedef union {
    size_t                  size;
    max_align_t             alignment;
} aad_wiping_head_t;


void *
aad_wiping_malloc(size_t size)
{
    aad_wiping_head_t  *head;

    if (size > SIZE_MAX - sizeof(aad_wiping_head_t)) {
        return NULL;
    }

    head = malloc(sizeof(aad_wiping_head_t) + size);

    if (head == NULL) {
        return NULL;
    }

    head->size = size;

    return head + 1;
}


void
aad_wiping_free(void *p)
{
    aad_wiping_head_t  *head;

    if (p == NULL) {
        return;
    }

    head = (aad_wiping_head_t *) p - 1;

    OPENSSL_cleanse(p, head->size);
    free(head);
}


void *
aad_wiping_realloc(void *p, size_t size)
{
    void               *larger;
    aad_wiping_head_t  *head;

    larger = aad_wiping_malloc(size);

    if (larger == NULL || p == NULL) {
        return larger;
    }

    head = (aad_wiping_head_t *) p - 1;

    memcpy(larger, p, head->size < size ? head->size : size);
    aad_wiping_free(p);

    return larger;
}


char *
aad_wiping_strdup(const char *text)
{
    char    *copy;
    size_t   size;

    size = strlen(text) + 1;
    copy = aad_wiping_malloc(size);

    return copy ? memcpy(copy, text, size) : NULL;
}


void *
aad_wiping_calloc(size_t count, size_t size)
{
    void  *p;

    if (size != 0 && count > SIZE_MAX / size) {
        return NULL;
    }

    p = aad_wiping_malloc(count * size);

    return p ? memset(p, 0, count * size) : NULL;
}
