
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 */


#include "internal.h"

#include <stdio.h>

#include <openssl/rand.h>


int
aad_uuid(char *uuid, size_t size)
{
    unsigned char  b[16];

    if (RAND_bytes(b, sizeof(b)) != 1) {
        uuid[0] = '\0';
        return -1;
    }

    b[6] = (b[6] & 0x0f) | 0x40;
    b[8] = (b[8] & 0x3f) | 0x80;

    snprintf(uuid, size, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-"
             "%02x%02x%02x%02x%02x%02x", b[0], b[1], b[2], b[3], b[4], b[5],
             b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14],
             b[15]);

    return 0;
}
