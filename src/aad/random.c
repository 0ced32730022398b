
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * Randomness for what must not happen everywhere at once.
 */


#include "aad.h"

#include <openssl/rand.h>


/*
 * nginx seeds random() with the process id and the time, which are the same
 * in containers that are started together.
 */
uint32_t
aad_random(void)
{
    uint32_t  random;

    if (RAND_bytes((unsigned char *) &random, sizeof(random)) != 1) {
        return 0;
    }

    return random;
}
