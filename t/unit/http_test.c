
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * One HTTP request: what goes out, what comes back, how long it may take, and
 * who may stand between.
 */


#include "pem.h"
#include "server.h"


typedef struct {
    unit_server_t           server;
    unit_server_t           proxy;
    unit_clock_t            clock;
    aad_hooks_t             hooks;
    aad_settings_t          settings;
    aad_call_t              call;
    aad_http_request_t      request;
    aad_http_response_t     response;
    aad_error_t             error;
    char                    url[128];
} fixture_t;


static int
setup(void **state)
{
    fixture_t  *fixture;

    fixture = calloc(1, sizeof(fixture_t));
    assert_non_null(fixture);

    unit_server_start(&fixture->server);
    unit_server_start(&fixture->proxy);

    fixture->hooks = unit_clock_start(&fixture->clock);
    fixture->call.hooks = &fixture->hooks;
    fixture->call.settings = &fixture->settings;
    fixture->call.deadline_ms = 5000;

    snprintf(fixture->url, sizeof(fixture->url), "%s/path?query=1",
             fixture->server.url);

    fixture->request.url = fixture->url;
    fixture->request.connect_timeout_ms = 2000;

    aad_secret_init(&fixture->response.body, 0);
    *state = fixture;

    return 0;
}


static int
teardown(void **state)
{
    fixture_t  *fixture = *state;

    aad_secret_wipe(&fixture->response.body);
    unit_server_end(&fixture->server);
    unit_server_end(&fixture->proxy);
    free(fixture);

    return 0;
}


static int
ask(fixture_t *fixture)
{
    aad_secret_wipe(&fixture->response.body);
    fixture->error.text[0] = '\0';

    return aad_http(&fixture->call, &fixture->request, &fixture->response,
                    &fixture->error);
}


/* an answer without the length that unit_server_answer() would give it */
static unit_answer_t *
answer_bytes(fixture_t *fixture, const char *bytes)
{
    return unit_server_bytes(&fixture->server, bytes, strlen(bytes));
}


static void
test_get_is_plain_and_short(void **state)
{
    char           host[64];
    const char    *request;
    fixture_t     *fixture = *state;
    unit_header_t  headers[] = {
        { "Host", host },
        { "Accept", "application/json" },
        { "User-Agent", "ngx_http_aoai_aad_module/" AAD_VERSION },
        { "Metadata", "true" },
        { "X-Other", "a b" },
        { NULL, NULL }
    };

    snprintf(host, sizeof(host), "127.0.0.1:%d", fixture->server.port);
    unit_server_answer(&fixture->server, 200, "X-Some: header\r\n", "body");

    fixture->request.headers[0] = "Metadata: true";
    fixture->request.headers[1] = "X-Other: a b";

    assert_int_equal(ask(fixture), 0);
    assert_int_equal(fixture->response.status, 200);
    assert_int_equal(fixture->response.retry_after_ms, 0);
    assert_string_equal(fixture->response.body.data, "body");

    request = unit_server_request(&fixture->server, 0);

    unit_assert_request_line(request, "GET /path?query=1 HTTP/1.1");
    unit_assert_headers(request, headers);
    assert_string_equal(unit_request_body(request), "");
}


static void
test_form_is_posted(void **state)
{
    char           host[64];
    const char    *request;
    fixture_t     *fixture = *state;
    aad_secret_t   form;
    unit_header_t  headers[] = {
        { "Host", host },
        { "Accept", "application/json" },
        { "User-Agent", NULL },
        { "Content-Type", "application/x-www-form-urlencoded" },
        { "Content-Length", "11" },
        { NULL, NULL }
    };

    snprintf(host, sizeof(host), "127.0.0.1:%d", fixture->server.port);
    unit_server_answer(&fixture->server, 200, "", "{}");

    aad_secret_init(&form, 100);
    assert_int_equal(aad_secret_append_pair(&form, "a", "1"), 0);
    assert_int_equal(aad_secret_append_pair(&form, "b", "%"), 0);
    assert_int_equal(aad_secret_append_text(&form, "&x"), 0);
    fixture->request.form = &form;

    assert_int_equal(ask(fixture), 0);
    aad_secret_wipe(&form);

    request = unit_server_request(&fixture->server, 0);

    unit_assert_request_line(request, "POST /path?query=1 HTTP/1.1");
    unit_assert_headers(request, headers);
    assert_string_equal(unit_request_body(request), "a=1&b=%25&x");
}


static void
test_large_form_is_sent_at_once(void **state)
{
    char           value[1024], name[UNIT_PATH_BYTES];
    size_t         i, length;
    const char    *request;
    fixture_t     *fixture = *state;
    aad_secret_t   form;

    unit_server_answer(&fixture->server, 200, "", "{}");

    memset(value, 'x', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';

    aad_secret_init(&form, AAD_BODY_BYTES_MAX);

    for (i = 0; i < 20; i++) {
        assert_int_equal(aad_secret_append_pair(&form, "a", value), 0);
    }

    length = form.length;
    fixture->request.form = &form;

    assert_int_equal(ask(fixture), 0);
    aad_secret_wipe(&form);

    request = unit_server_request(&fixture->server, 0);

    assert_int_equal(unit_request_header(request, "Expect", name,
                                         sizeof(name)), 0);
    assert_int_equal(strlen(unit_request_body(request)), length);
}


static void
test_any_status_is_an_answer(void **state)
{
    size_t      i;
    fixture_t  *fixture = *state;

    static const int  statuses[] = {
        200, 201, 204, 301, 400, 401, 404, 407, 410, 429, 500, 503, 599
    };

    for (i = 0; i < unit_count(statuses); i++) {
        unit_server_answer(&fixture->server, statuses[i], "", "");
        assert_int_equal(ask(fixture), 0);
        assert_int_equal(fixture->response.status, statuses[i]);
        assert_string_equal(fixture->response.body.data, "");
    }
}


static void
test_redirect_is_not_followed(void **state)
{
    size_t      i;
    char        location[128];
    fixture_t  *fixture = *state;

    static const int  statuses[] = { 301, 302, 303, 307, 308 };

    snprintf(location, sizeof(location), "Location: %s/elsewhere\r\n",
             fixture->proxy.url);

    for (i = 0; i < unit_count(statuses); i++) {
        unit_server_answer(&fixture->server, statuses[i], location, "moved");

        assert_int_equal(ask(fixture), 0);
        assert_int_equal(fixture->response.status, statuses[i]);
        assert_string_equal(fixture->response.body.data, "moved");
        assert_int_equal(unit_server_requests(&fixture->server), i + 1);
    }

    assert_int_equal(unit_server_requests(&fixture->proxy), 0);
}


static void
test_body_may_come_in_any_transfer_form(void **state)
{
    size_t      i;
    fixture_t  *fixture = *state;

    static const char *const  answers[] = {
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        "2\r\n{\"\r\n3\r\na\":\r\n2\r\n1}\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\n{\"a\":1}",
        "HTTP/1.0 200 OK\r\n\r\n{\"a\":1}",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"
        "Content-Length: 7\r\n\r\n{\"a\":1}"
    };

    for (i = 0; i < unit_count(answers); i++) {
        answer_bytes(fixture, answers[i]);
        assert_int_equal(ask(fixture), 0);
        assert_int_equal(fixture->response.status, 200);
        assert_string_equal(fixture->response.body.data, "{\"a\":1}");
    }
}


static void
test_broken_answer_is_an_error(void **state)
{
    size_t      i;
    fixture_t  *fixture = *state;

    static const char *const  answers[] = {
        "",
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"access_token\":",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n{",
        "SSH-2.0-OpenSSH_9.2\r\n",
        "{\"access_token\":\"t\"}"
    };

    for (i = 0; i < unit_count(answers); i++) {
        answer_bytes(fixture, answers[i]);

        if (ask(fixture) != -1) {
            fail_msg("\"%s\" is taken", answers[i]);
        }

        unit_assert_contains(fixture->error.text, "/path: ");
        unit_assert_lacks(fixture->error.text, "query");
        unit_assert_lacks(fixture->error.text, "access_token");
    }
}


static void
test_body_has_a_maximum(void **state)
{
    char        head[128];
    fixture_t  *fixture = *state;

    snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n"
             "\r\n", AAD_BODY_BYTES_MAX);
    answer_bytes(fixture, head)->filler = AAD_BODY_BYTES_MAX;

    assert_int_equal(ask(fixture), 0);
    assert_int_equal(fixture->response.body.length, AAD_BODY_BYTES_MAX);

    answer_bytes(fixture, "HTTP/1.1 200 OK\r\n\r\n")->filler =
        AAD_BODY_BYTES_MAX + 1;

    assert_int_equal(ask(fixture), -1);
    unit_assert_contains(fixture->error.text,
                         "/path answered more than 65536 bytes");
    assert_true(fixture->response.body.length <= AAD_BODY_BYTES_MAX);
}


static void
test_body_of_ten_megabytes_is_not_read(void **state)
{
    int64_t     started_ms;
    fixture_t  *fixture = *state;

    answer_bytes(fixture, "HTTP/1.1 200 OK\r\nContent-Length: 10485760\r\n"
                 "\r\n")->filler = 10485760;

    started_ms = unit_real_ms();

    assert_int_equal(ask(fixture), -1);
    unit_assert_contains(fixture->error.text, "answered more than");
    assert_true(fixture->response.body.capacity < 3 * AAD_BODY_BYTES_MAX);
    assert_true(unit_real_ms() - started_ms < 2000);
}


static void
test_slow_answer_within_the_deadline_is_taken(void **state)
{
    fixture_t  *fixture = *state;

    unit_server_answer(&fixture->server, 200, "", "late")->pause_ms = 400;

    assert_int_equal(ask(fixture), 0);
    assert_string_equal(fixture->response.body.data, "late");
}


static void
test_deadline_of_the_call_is_kept(void **state)
{
    int64_t     started_ms;
    fixture_t  *fixture = *state;

    unit_server_answer(&fixture->server, 200, "", "late")->pause_ms = 4000;

    started_ms = unit_real_ms();
    fixture->call.deadline_ms = unit_clock_monotonic_ms(&fixture->clock) + 300;

    assert_int_equal(ask(fixture), -1);
    assert_in_range(unit_real_ms() - started_ms, 250, 1500);
    unit_assert_contains(fixture->error.text, "/path: ");
    unit_assert_contains(fixture->error.text, "timed out");
}


static void
test_call_that_is_over_asks_nobody(void **state)
{
    fixture_t  *fixture = *state;

    fixture->call.deadline_ms = unit_clock_monotonic_ms(&fixture->clock);

    assert_int_equal(ask(fixture), -1);
    unit_assert_contains(fixture->error.text, "no time was left");
    assert_int_equal(unit_server_requests(&fixture->server), 0);
    assert_string_equal(fixture->response.body.data, "");
}


static void
test_closed_port_is_an_error_at_once(void **state)
{
    int         port, closed;
    int64_t     started_ms;
    fixture_t  *fixture = *state;

    closed = unit_loopback_socket(&port);
    snprintf(fixture->url, sizeof(fixture->url), "http://127.0.0.1:%d/x?y",
             port);

    started_ms = unit_real_ms();

    assert_int_equal(ask(fixture), -1);
    close(closed);

    assert_true(unit_real_ms() - started_ms < 1000);
    unit_assert_contains(fixture->error.text, "/x: ");
    unit_assert_contains(fixture->error.text, "connect");
    unit_assert_lacks(fixture->error.text, "?y");
}


static void
test_connection_has_a_timeout_of_its_own(void **state)
{
    int                 i, port, listener;
    int                 fillers[8];
    int64_t             started_ms, took_ms;
    fixture_t          *fixture = *state;
    socklen_t           length;
    struct sockaddr_in  sin;

    /* nobody accepts, and the queue is full: a SYN is not answered */

    listener = unit_loopback_socket(&port);
    assert_int_equal(listen(listener, 0), 0);

    length = sizeof(struct sockaddr_in);
    assert_int_equal(getsockname(listener, (struct sockaddr *) &sin, &length),
                     0);

    for (i = 0; i < 8; i++) {
        fillers[i] = socket(AF_INET, SOCK_STREAM|SOCK_NONBLOCK|SOCK_CLOEXEC,
                            0);
        (void) connect(fillers[i], (struct sockaddr *) &sin, length);
    }

    snprintf(fixture->url, sizeof(fixture->url), "http://127.0.0.1:%d/", port);
    fixture->request.connect_timeout_ms = 300;
    started_ms = unit_real_ms();

    assert_int_equal(ask(fixture), -1);
    took_ms = unit_real_ms() - started_ms;

    for (i = 0; i < 8; i++) {
        close(fillers[i]);
    }

    close(listener);

    assert_in_range(took_ms, 250, 1500);
}


static void
test_cancelled_call_ends_within_two_seconds(void **state)
{
    int64_t     started_ms;
    fixture_t  *fixture = *state;

    unit_server_answer(&fixture->server, 200, "", "late")->pause_ms = 4500;

    started_ms = unit_real_ms();
    fixture->clock.cancel_after_ms = started_ms - fixture->clock.started_ms
                                     + 200;

    assert_int_equal(ask(fixture), -1);
    assert_in_range(unit_real_ms() - started_ms, 200, 2000);
    unit_assert_contains(fixture->error.text, "nginx is about to stop");
}


static void
test_wish_to_wait_is_read(void **state)
{
    size_t      i;
    char        header[96];
    fixture_t  *fixture = *state;

    static const struct {
        const char             *value;
        int64_t                 seconds;
    } wishes[] = {
        { "17", 17 },
        { "0", 0 },
        { "86400", 86400 },
        { "86401", 86400 },
        { "99999999999", 86400 },
        { "", 0 },
        { "soon", 0 },
        { "-5", 0 },
        { "Fri, 31 Dec 1999 23:59:59 GMT", 0 }
    };

    for (i = 0; i < unit_count(wishes); i++) {
        snprintf(header, sizeof(header), "Retry-After: %s\r\n",
                 wishes[i].value);
        unit_server_answer(&fixture->server, 429, header, "");

        assert_int_equal(ask(fixture), 0);

        if (fixture->response.retry_after_ms != wishes[i].seconds * 1000) {
            fail_msg("Retry-After \"%s\" is %lld ms", wishes[i].value,
                     (long long) fixture->response.retry_after_ms);
        }
    }
}


/* the order of azure-core */
static void
test_wish_to_wait_may_be_in_milliseconds(void **state)
{
    size_t      i;
    fixture_t  *fixture = *state;

    static const struct {
        const char             *headers;
        int64_t                 ms;
    } wishes[] = {
        { "retry-after-ms: 1500\r\n", 1500 },
        { "Retry-After-Ms:1500  \r\n", 1500 },
        { "x-ms-retry-after-ms: 250\r\n", 250 },
        { "Retry-After: 9\r\nretry-after-ms: 1500\r\n", 1500 },
        { "retry-after-ms: 1500\r\nRetry-After: 9\r\n", 1500 },
        { "x-ms-retry-after-ms: 250\r\nRetry-After: 9\r\n", 250 },
        { "x-ms-retry-after-ms: 250\r\nretry-after-ms: 1500\r\n", 1500 },
        { "retry-after-ms: 1500\r\nx-ms-retry-after-ms: 250\r\n", 1500 },
        { "retry-after-ms: 99999999999\r\n", 86400000 },

        /* what says nothing leaves it to the next one */

        { "retry-after-ms: 0\r\nRetry-After: 9\r\n", 9000 },
        { "retry-after-ms: soon\r\nRetry-After: 9\r\n", 9000 },
        { "retry-after-ms: -5\r\nRetry-After: 9\r\n", 9000 },
        { "retry-after-ms: 99999999999999999999\r\nRetry-After: 9\r\n",
          9000 },
        { "retry-after-ms:\r\n", 0 },
        { "retry-after-msx: 1500\r\n", 0 },
        { "xretry-after-ms: 1500\r\n", 0 }
    };

    for (i = 0; i < unit_count(wishes); i++) {
        unit_server_answer(&fixture->server, 429, wishes[i].headers, "");

        assert_int_equal(ask(fixture), 0);

        if (fixture->response.retry_after_ms != wishes[i].ms) {
            fail_msg("%s is %lld ms", wishes[i].headers,
                     (long long) fixture->response.retry_after_ms);
        }
    }
}


static void
test_headers_of_an_interim_answer_do_not_count(void **state)
{
    fixture_t  *fixture = *state;

    answer_bytes(fixture, "HTTP/1.1 103 Early Hints\r\n"
                 "retry-after-ms: 1500\r\n"
                 "WWW-Authenticate: Basic realm=/a\r\n\r\n"
                 "HTTP/1.1 401 No\r\nContent-Length: 0\r\n"
                 "WWW-Authenticate: Basic realm=/b\r\n"
                 "Connection: close\r\n\r\n");

    assert_int_equal(ask(fixture), 0);
    assert_int_equal(fixture->response.status, 401);
    assert_int_equal(fixture->response.retry_after_ms, 0);
    assert_string_equal(fixture->response.challenge, "Basic realm=/b");
}


static void
test_challenge_is_read(void **state)
{
    char        headers[AAD_CHALLENGE_BYTES + 128];
    fixture_t  *fixture = *state;

    unit_server_answer(&fixture->server, 200, "", "");
    assert_int_equal(ask(fixture), 0);
    assert_string_equal(fixture->response.challenge, "");

    unit_server_answer(&fixture->server, 401,
                       "www-authenticate:  Basic realm=\"/a b\" \r\n", "");
    assert_int_equal(ask(fixture), 0);
    unit_assert_contains(fixture->response.challenge,
                         "Basic realm=\"/a b\"");

    /* which of several would count? */

    unit_server_answer(&fixture->server, 401,
                       "WWW-Authenticate: Basic realm=/a\r\n"
                       "WWW-Authenticate: Basic realm=/b\r\n", "");
    assert_int_equal(ask(fixture), 0);
    assert_string_equal(fixture->response.challenge, "");

    /* half of one is none */

    snprintf(headers, sizeof(headers), "WWW-Authenticate: Basic realm=%0*d"
             "\r\n", AAD_CHALLENGE_BYTES - 12, 0);
    unit_server_answer(&fixture->server, 401, headers, "");
    assert_int_equal(ask(fixture), 0);
    assert_string_equal(fixture->response.challenge, "");
}


/* what may be better the next time, and what will not */
static void
test_failed_connection_is_told_from_a_wrong_answer(void **state)
{
    fixture_t  *fixture = *state;

    answer_bytes(fixture, "");
    assert_int_equal(ask(fixture), -1);
    assert_true(fixture->response.broken);

    answer_bytes(fixture, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf");
    assert_int_equal(ask(fixture), -1);
    assert_true(fixture->response.broken);

    answer_bytes(fixture, "HTTP/1.1 200 OK\r\n\r\n")->filler
        = AAD_BODY_BYTES_MAX + 1;
    assert_int_equal(ask(fixture), -1);
    assert_false(fixture->response.broken);

    answer_bytes(fixture, "SSH-2.0-OpenSSH_9.2\r\n\r\n");
    assert_int_equal(ask(fixture), -1);
    assert_false(fixture->response.broken);

    unit_server_answer(&fixture->server, 503, "", "");
    assert_int_equal(ask(fixture), 0);
    assert_false(fixture->response.broken);
    assert_int_equal(fixture->response.sent_on, UNIT_NOW);

    fixture->request.url = "ftp://127.0.0.1/";
    assert_int_equal(ask(fixture), -1);
    assert_false(fixture->response.broken);
}


static void
test_wish_to_wait_may_be_a_date(void **state)
{
    char        header[96];
    time_t      then;
    fixture_t  *fixture = *state;

    then = time(NULL) + 100;
    strftime(header, sizeof(header),
             "Retry-After: %a, %d %b %Y %H:%M:%S GMT\r\n", gmtime(&then));
    unit_server_answer(&fixture->server, 503, header, "");

    assert_int_equal(ask(fixture), 0);
    assert_in_range(fixture->response.retry_after_ms, 90000, 100000);
}


static void
test_proxy_is_asked_for_the_authority_alone(void **state)
{
    char         line[256];
    fixture_t   *fixture = *state;

    fixture->settings.proxy = fixture->proxy.url;
    unit_server_answer(&fixture->proxy, 200, "", "proxy");
    unit_server_answer(&fixture->server, 200, "", "server");

    assert_int_equal(ask(fixture), 0);
    assert_string_equal(fixture->response.body.data, "server");
    assert_int_equal(unit_server_requests(&fixture->proxy), 0);

    fixture->request.authority = 1;

    assert_int_equal(ask(fixture), 0);
    assert_string_equal(fixture->response.body.data, "proxy");
    assert_int_equal(unit_server_requests(&fixture->server), 1);

    snprintf(line, sizeof(line), "GET %s HTTP/1.1", fixture->url);
    unit_assert_request_line(unit_server_request(&fixture->proxy, 0), line);
}


static void
test_proxy_gets_its_password(void **state)
{
    char        url[128], value[128];
    fixture_t  *fixture = *state;

    snprintf(url, sizeof(url), "http://user:secret@127.0.0.1:%d",
             fixture->proxy.port);

    fixture->settings.proxy = url;
    fixture->request.authority = 1;
    unit_server_answer(&fixture->proxy, 200, "", "proxy");

    assert_int_equal(ask(fixture), 0);
    assert_int_equal(unit_request_header(unit_server_request(&fixture->proxy,
                                                             0),
                                         "Proxy-Authorization", value,
                                         sizeof(value)), 1);
    assert_string_equal(value, "Basic dXNlcjpzZWNyZXQ=");
}


static void
test_exceptions_of_the_proxy_are_kept(void **state)
{
    fixture_t  *fixture = *state;

    fixture->settings.proxy = fixture->proxy.url;
    fixture->settings.no_proxy = "example.com,127.0.0.1";
    fixture->request.authority = 1;
    unit_server_answer(&fixture->server, 200, "", "server");

    assert_int_equal(ask(fixture), 0);
    assert_string_equal(fixture->response.body.data, "server");
    assert_int_equal(unit_server_requests(&fixture->proxy), 0);
}


static void
test_closed_proxy_is_not_gone_around(void **state)
{
    int         port, closed;
    char        url[128];
    fixture_t  *fixture = *state;

    closed = unit_loopback_socket(&port);
    snprintf(url, sizeof(url), "http://user:secret@127.0.0.1:%d", port);

    fixture->settings.proxy = url;
    fixture->request.authority = 1;

    assert_int_equal(ask(fixture), -1);
    close(closed);

    assert_int_equal(unit_server_requests(&fixture->server), 0);
    unit_assert_lacks(fixture->error.text, "secret");
}


static void
test_proxies_of_the_environment_are_passed_over(void **state)
{
    int         authority;
    size_t      i;
    fixture_t  *fixture = *state;

    static const char *const  names[] = {
        "http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy",
        "ALL_PROXY"
    };

    for (i = 0; i < unit_count(names); i++) {
        assert_int_equal(setenv(names[i], fixture->proxy.url, 1), 0);
    }

    for (authority = 0; authority < 2; authority++) {
        unit_server_answer(&fixture->server, 200, "", "server");
        fixture->request.authority = authority;
        assert_int_equal(ask(fixture), 0);
        assert_string_equal(fixture->response.body.data, "server");
    }

    for (i = 0; i < unit_count(names); i++) {
        assert_int_equal(unsetenv(names[i]), 0);
    }

    assert_int_equal(unit_server_requests(&fixture->proxy), 0);
}


static void
test_exceptions_of_the_environment_are_passed_over(void **state)
{
    fixture_t  *fixture = *state;

    fixture->settings.proxy = fixture->proxy.url;
    fixture->request.authority = 1;
    unit_server_answer(&fixture->proxy, 200, "", "proxy");

    assert_int_equal(setenv("no_proxy", "*", 1), 0);
    assert_int_equal(setenv("NO_PROXY", "*", 1), 0);
    assert_int_equal(ask(fixture), 0);
    assert_int_equal(unsetenv("no_proxy"), 0);
    assert_int_equal(unsetenv("NO_PROXY"), 0);

    assert_string_equal(fixture->response.body.data, "proxy");
}


static void
test_other_protocols_are_not_spoken(void **state)
{
    size_t      i;
    fixture_t  *fixture = *state;

    static const char *const  urls[] = {
        "file:///etc/hostname", "ftp://127.0.0.1:1/x", "dict://127.0.0.1:1/x",
        "gopher://127.0.0.1:1/x"
    };

    for (i = 0; i < unit_count(urls); i++) {
        fixture->request.url = urls[i];
        assert_int_equal(ask(fixture), -1);
        assert_int_equal(fixture->response.body.length, 0);
    }
}


static void
test_connection_is_to_the_host_of_the_url_not_to_the_server_name(void **state)
{
    char           host[64];
    const char    *request;
    fixture_t     *fixture = *state;
    unit_header_t  headers[] = {
        { "Host", host },
        { "Accept", "application/json" },
        { "User-Agent", NULL },
        { "X-Other", "a b" },
        { NULL, NULL }
    };

    snprintf(host, sizeof(host), "127.0.0.1:%d", fixture->server.port);
    unit_server_answer(&fixture->server, 200, "", "body");

    /* no name server knows it, and none is asked */

    fixture->request.server_name = "server.invalid";
    fixture->request.headers[0] = "X-Other: a b";

    assert_int_equal(ask(fixture), 0);
    assert_string_equal(fixture->response.body.data, "body");

    request = unit_server_request(&fixture->server, 0);

    unit_assert_request_line(request, "GET /path?query=1 HTTP/1.1");
    unit_assert_headers(request, headers);
}


static void
test_error_names_the_url_not_the_server_name(void **state)
{
    int         port, closed;
    char        start[64];
    fixture_t  *fixture = *state;

    closed = unit_loopback_socket(&port);
    snprintf(fixture->url, sizeof(fixture->url), "http://127.0.0.1:%d/x?y",
             port);
    snprintf(start, sizeof(start), "http://127.0.0.1:%d/x: ", port);

    fixture->request.server_name = "server.invalid";

    assert_int_equal(ask(fixture), -1);
    close(closed);

    assert_int_equal(strncmp(fixture->error.text, start, strlen(start)), 0);
}


static void
test_url_that_is_too_long_for_a_server_name_is_refused(void **state)
{
    char        url[AAD_URL_BYTES_MAX];
    fixture_t  *fixture = *state;

    memset(url, 'x', sizeof(url));
    memcpy(url, fixture->url, strlen(fixture->url));
    url[sizeof(url) - 1] = '\0';

    fixture->request.url = url;
    fixture->request.server_name = "a-longer-name-than-the-urls.invalid";

    assert_int_equal(ask(fixture), -1);
    assert_int_equal(unit_server_requests(&fixture->server), 0);
}


/* Nobody speaks TLS: what is wrong before that is another error. */
static void
test_certificates_of_the_request_are_before_those_of_the_settings(
    void **state)
{
    char        pem[UNIT_PEM_BYTES];
    fixture_t  *fixture = *state;

    static const char  bad[] = "-----BEGIN CERTIFICATE-----\nAAAA\n"
                               "-----END CERTIFICATE-----\n";

    unit_certificate(pem);

    snprintf(fixture->url, sizeof(fixture->url), "https://127.0.0.1:%d/",
             fixture->server.port);

    fixture->request.authority = 1;
    fixture->settings.ca_certificates = pem;
    fixture->request.ca_certificates = bad;

    assert_int_equal(ask(fixture), -1);
    unit_assert_contains(fixture->error.text, "certificate");

    fixture->settings.ca_certificates = bad;
    fixture->request.ca_certificates = pem;

    fixture->call.deadline_ms = unit_clock_monotonic_ms(&fixture->clock) + 300;

    assert_int_equal(ask(fixture), -1);
    unit_assert_lacks(fixture->error.text, "certificate");
}


#define test(name)  cmocka_unit_test_setup_teardown(name, setup, teardown)


int
main(void)
{
    static const struct CMUnitTest  tests[] = {
        test(test_get_is_plain_and_short),
        test(test_form_is_posted),
        test(test_large_form_is_sent_at_once),
        test(test_any_status_is_an_answer),
        test(test_redirect_is_not_followed),
        test(test_body_may_come_in_any_transfer_form),
        test(test_broken_answer_is_an_error),
        test(test_body_has_a_maximum),
        test(test_body_of_ten_megabytes_is_not_read),
        test(test_slow_answer_within_the_deadline_is_taken),
        test(test_deadline_of_the_call_is_kept),
        test(test_call_that_is_over_asks_nobody),
        test(test_closed_port_is_an_error_at_once),
        test(test_connection_has_a_timeout_of_its_own),
        test(test_cancelled_call_ends_within_two_seconds),
        test(test_wish_to_wait_is_read),
        test(test_wish_to_wait_may_be_a_date),
        test(test_wish_to_wait_may_be_in_milliseconds),
        test(test_headers_of_an_interim_answer_do_not_count),
        test(test_challenge_is_read),
        test(test_failed_connection_is_told_from_a_wrong_answer),
        test(test_proxy_is_asked_for_the_authority_alone),
        test(test_proxy_gets_its_password),
        test(test_exceptions_of_the_proxy_are_kept),
        test(test_closed_proxy_is_not_gone_around),
        test(test_proxies_of_the_environment_are_passed_over),
        test(test_exceptions_of_the_environment_are_passed_over),
        test(test_other_protocols_are_not_spoken),
        test(test_connection_is_to_the_host_of_the_url_not_to_the_server_name),
        test(test_error_names_the_url_not_the_server_name),
        test(test_url_that_is_too_long_for_a_server_name_is_refused),
        test(test_certificates_of_the_request_are_before_those_of_the_settings)
    };

    if (aad_global_init() != 0) {
        return 1;
    }

    return cmocka_run_group_tests_name("http", tests, NULL, NULL);
}
