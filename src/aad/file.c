
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 */


#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <openssl/crypto.h>


int
aad_file_read(const char *path, aad_secret_t *content, aad_error_t *error)
{
    if (aad_file_read_bytes(path, content, error) != 0) {
        return -1;
    }

    if (memchr(content->data, '\0', content->length) != NULL) {
        aad_secret_wipe(content);
        return aad_error(error, "the file \"%s\" is no text", path);
    }

    return 0;
}


int
aad_file_read_bytes(const char *path, aad_secret_t *content,
    aad_error_t *error)
{
    int      fd, rc;
    char     chunk[1024];
    ssize_t  n;

    fd = open(path, O_RDONLY|O_CLOEXEC|O_NONBLOCK);
    if (fd == -1) {
        return aad_error(error, "cannot open the file \"%s\": %s", path,
                         strerror(errno));
    }

    rc = 0;

    for ( ;; ) {
        n = read(fd, chunk, sizeof(chunk));

        if (n == 0) {
            break;
        }

        if (n == -1) {
            rc = aad_error(error, "cannot read the file \"%s\": %s", path,
                           strerror(errno));
            break;
        }

        if (aad_secret_append(content, chunk, n) != 0) {
            rc = aad_error(error, "the file \"%s\" is larger than %zu bytes",
                           path, content->maximum);
            break;
        }
    }

    OPENSSL_cleanse(chunk, sizeof(chunk));
    close(fd);

    if (rc != 0) {
        aad_secret_wipe(content);
    }

    return rc;
}
