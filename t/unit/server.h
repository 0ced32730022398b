
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * A loopback HTTP server in a thread: it gives the answers that a test has
 * laid out, one a connection, and keeps the requests as they came.
 */


#ifndef _UNIT_SERVER_H_INCLUDED_
#define _UNIT_SERVER_H_INCLUDED_


#include "check.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>


#define UNIT_ANSWERS_MAX        64
#define UNIT_REQUEST_BYTES_MAX  32768
#define UNIT_REQUEST_MS         5000


typedef struct {
    char                   *bytes;
    size_t                  length;
    size_t                  filler;         /* so many 'x' after the bytes */
    int                     pause_ms;       /* before it all */
} unit_answer_t;


typedef struct {
    int                     listener;
    int                     port;
    char                    url[64];        /* no slash at its end */
    int                     stop[2];
    pthread_t               thread;
    pthread_mutex_t         mutex;
    unit_answer_t           answers[UNIT_ANSWERS_MAX];
    size_t                  answers_count;
    char                   *requests[UNIT_ANSWERS_MAX];
    size_t                  requests_count;
} unit_server_t;


/* A list of these ends with an empty one; value NULL: there, whatever it is. */
typedef unit_variable_t  unit_header_t;


/* A bound socket that nobody listens on refuses, as a closed port does. */
static inline int
unit_loopback_socket(int *port)
{
    int                 fd;
    socklen_t           length;
    struct sockaddr_in  sin;

    memset(&sin, 0, sizeof(struct sockaddr_in));
    sin.sin_family = AF_INET;
    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);

    length = sizeof(struct sockaddr_in);

    fd = socket(AF_INET, SOCK_STREAM|SOCK_CLOEXEC, 0);

    assert_true(fd != -1);
    assert_int_equal(bind(fd, (struct sockaddr *) &sin, length), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *) &sin, &length), 0);

    *port = ntohs(sin.sin_port);

    return fd;
}


/* Returns true when the test is over. */
static inline int
unit_server_stopped(unit_server_t *server, int ms)
{
    struct pollfd  fd;

    fd.fd = server->stop[0];
    fd.events = POLLIN;

    return poll(&fd, 1, ms) != 0;
}


/* Returns the length of a whole request, 0 while it is not there. */
static inline size_t
unit_server_request_length(const char *text, size_t length)
{
    size_t       head;
    const char  *end, *body;

    end = strstr(text, "\r\n\r\n");
    if (end == NULL) {
        return 0;
    }

    head = end + 4 - text;
    body = strcasestr(text, "\r\nContent-Length:");

    if (body != NULL && body < end) {
        head += strtoul(body + 17, NULL, 10);
    }

    return length >= head ? head : 0;
}


/* Returns the request, or NULL when none came. */
static inline char *
unit_server_read(int fd)
{
    char           *text;
    size_t          length;
    ssize_t         n;
    int64_t         end_ms;
    struct pollfd   p;

    text = calloc(1, UNIT_REQUEST_BYTES_MAX);
    length = 0;
    end_ms = unit_real_ms() + UNIT_REQUEST_MS;

    while (text != NULL && unit_real_ms() < end_ms) {
        p.fd = fd;
        p.events = POLLIN;
        (void) poll(&p, 1, 100);

        n = recv(fd, text + length, UNIT_REQUEST_BYTES_MAX - 1 - length,
                 MSG_DONTWAIT);

        if (n == -1 && errno == EAGAIN) {
            continue;
        }

        if (n <= 0) {
            break;
        }

        length += n;

        if (unit_server_request_length(text, length) != 0) {
            return text;
        }
    }

    free(text);

    return NULL;
}


static inline void
unit_server_write(int fd, const unit_answer_t *answer)
{
    char     filler[4096];
    size_t   left, length;

    if (send(fd, answer->bytes, answer->length, MSG_NOSIGNAL) == -1) {
        return;
    }

    memset(filler, 'x', sizeof(filler));

    for (left = answer->filler; left != 0; left -= length) {
        length = left < sizeof(filler) ? left : sizeof(filler);

        if (send(fd, filler, length, MSG_NOSIGNAL) != (ssize_t) length) {
            return;
        }
    }
}


static inline void
unit_server_serve(unit_server_t *server, int fd)
{
    char           *request;
    unit_answer_t   answer;

    request = unit_server_read(fd);
    if (request == NULL) {
        return;
    }

    memset(&answer, 0, sizeof(unit_answer_t));

    pthread_mutex_lock(&server->mutex);

    if (server->requests_count < server->answers_count) {
        answer = server->answers[server->requests_count];
    }

    if (server->requests_count < UNIT_ANSWERS_MAX) {
        server->requests[server->requests_count++] = request;
        request = NULL;
    }

    pthread_mutex_unlock(&server->mutex);

    free(request);

    if (answer.bytes != NULL
        && (answer.pause_ms == 0
            || !unit_server_stopped(server, answer.pause_ms)))
    {
        unit_server_write(fd, &answer);
    }

    /* to close with something unread would be a reset, and lose the answer */

    (void) shutdown(fd, SHUT_WR);
}


static inline void *
unit_server_main(void *data)
{
    int             fd;
    struct pollfd   fds[2];
    unit_server_t  *server = data;

    fds[0].fd = server->stop[0];
    fds[1].fd = server->listener;
    fds[0].events = fds[1].events = POLLIN;

    for ( ;; ) {

        if (poll(fds, 2, -1) == -1 && errno == EINTR) {
            continue;
        }

        if (fds[0].revents != 0) {
            return NULL;
        }

        fd = accept4(server->listener, NULL, NULL, SOCK_CLOEXEC);

        if (fd != -1) {
            unit_server_serve(server, fd);
            close(fd);
        }
    }
}


static inline void
unit_server_start(unit_server_t *server)
{
    memset(server, 0, sizeof(unit_server_t));

    server->listener = unit_loopback_socket(&server->port);
    snprintf(server->url, sizeof(server->url), "http://127.0.0.1:%d",
             server->port);

    assert_int_equal(listen(server->listener, 16), 0);
    assert_int_equal(pipe2(server->stop, O_CLOEXEC), 0);
    assert_int_equal(pthread_mutex_init(&server->mutex, NULL), 0);
    assert_int_equal(pthread_create(&server->thread, NULL, unit_server_main,
                                    server), 0);
}


static inline void
unit_server_end(unit_server_t *server)
{
    size_t  i;

    close(server->stop[1]);
    pthread_join(server->thread, NULL);
    close(server->stop[0]);
    close(server->listener);
    pthread_mutex_destroy(&server->mutex);

    for (i = 0; i < UNIT_ANSWERS_MAX; i++) {
        free(server->answers[i].bytes);
        free(server->requests[i]);
    }
}


/* The next answer, byte for byte; "" closes the connection without one. */
static inline unit_answer_t *
unit_server_bytes(unit_server_t *server, const char *bytes, size_t length)
{
    unit_answer_t  *answer;

    pthread_mutex_lock(&server->mutex);

    answer = &server->answers[server->answers_count];
    answer->bytes = malloc(length + 1);
    answer->length = length;
    memcpy(answer->bytes, bytes, length);

    server->answers_count++;

    pthread_mutex_unlock(&server->mutex);

    return answer;
}


/* The next answer; 'headers' are whole lines or "". */
static inline unit_answer_t *
unit_server_answer(unit_server_t *server, int status, const char *headers,
    const char *body)
{
    int             n;
    char           *bytes;
    size_t          size;
    unit_answer_t  *answer;

    size = strlen(headers) + strlen(body) + 128;
    bytes = malloc(size);

    n = snprintf(bytes, size, "HTTP/1.1 %d Whatever\r\n%s"
                 "Content-Length: %zu\r\nConnection: close\r\n\r\n%s",
                 status, headers, strlen(body), body);

    answer = unit_server_bytes(server, bytes, n);
    free(bytes);

    return answer;
}


/* The next answers, the same so many times: for one that is asked again. */
static inline void
unit_server_answers(unit_server_t *server, size_t times, int status,
    const char *headers, const char *body)
{
    for ( /* void */ ; times != 0; times--) {
        unit_server_answer(server, status, headers, body);
    }
}


static inline size_t
unit_server_requests(unit_server_t *server)
{
    size_t  count;

    pthread_mutex_lock(&server->mutex);
    count = server->requests_count;
    pthread_mutex_unlock(&server->mutex);

    return count;
}


static inline const char *
unit_server_request(unit_server_t *server, size_t n)
{
    const char  *text;

    pthread_mutex_lock(&server->mutex);
    text = n < server->requests_count ? server->requests[n] : NULL;
    pthread_mutex_unlock(&server->mutex);

    assert_non_null(text);

    return text != NULL ? text : "";
}


static inline void
unit_assert_request_line(const char *request, const char *line)
{
    char  text[4096];

    snprintf(text, sizeof(text), "%.*s", (int) strcspn(request, "\r"),
             request);
    assert_string_equal(text, line);
}


/* Writes a header's value and returns how many headers have that name. */
static inline size_t
unit_request_header(const char *request, const char *name, char *value,
    size_t size)
{
    size_t       count, length;
    const char  *p, *end;

    count = 0;
    value[0] = '\0';
    length = strlen(name);
    end = strstr(request, "\r\n\r\n");

    for (p = strstr(request, "\r\n"); p < end; p = strstr(p, "\r\n")) {
        p += 2;

        if (strncasecmp(p, name, length) == 0 && p[length] == ':') {
            p += length + 1;
            p += strspn(p, " ");
            snprintf(value, size, "%.*s", (int) strcspn(p, "\r"), p);
            count++;
        }
    }

    return count;
}


/* The request has these headers, each once, and no other. */
static inline void
unit_assert_headers(const char *request, const unit_header_t *headers)
{
    char                  value[1024];
    size_t                count;
    const char           *p, *end;
    const unit_header_t  *h;

    count = 0;
    end = strstr(request, "\r\n\r\n");

    for (p = strstr(request, "\r\n"); p < end; p = strstr(p + 2, "\r\n")) {
        count++;
    }

    for (h = headers; h->name != NULL; h++) {

        if (unit_request_header(request, h->name, value, sizeof(value)) != 1) {
            fail_msg("not one header \"%s\" in \"%s\"", h->name, request);
        }

        if (h->value != NULL) {
            assert_string_equal(value, h->value);
        }

        count--;
    }

    if (count != 0) {
        fail_msg("%zu headers too many in \"%s\"", count, request);
    }
}


static inline const char *
unit_request_body(const char *request)
{
    return strstr(request, "\r\n\r\n") + 4;
}


#endif /* _UNIT_SERVER_H_INCLUDED_ */
