
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * What the tests of each source of a managed identity share: a question of
 * which every byte is compared, and answers that are refused.
 */


#ifndef _UNIT_SOURCE_H_INCLUDED_
#define _UNIT_SOURCE_H_INCLUDED_


#include "identity.h"


#define UNIT_HEADER         "Header~0123456789abcdef"
#define UNIT_RESOURCE_ID                                                      \
    "/subscriptions/" UNIT_TENANT "/resourceGroups/rg/providers/"             \
    "Microsoft.ManagedIdentity/userAssignedIdentities/id"

#define UNIT_RESOURCE_QUERY                                                   \
    "resource=https%3A%2F%2Fcognitiveservices.azure.com"
#define UNIT_RESOURCE_ID_QUERY                                                \
    "%2Fsubscriptions%2F" UNIT_TENANT "%2FresourceGroups%2Frg"                \
    "%2Fproviders%2FMicrosoft.ManagedIdentity%2FuserAssignedIdentities%2Fid"


/* Python's rule; 'code' and 'reason' are of the step that was refused. */
typedef struct {
    int                     status;
    const char             *body;
    aad_result_t            result;
    const char             *code;
    const char             *reason;
    size_t                  tries;
} unit_refusal_t;


/* Makes variables that hold the machine's URL with these paths. */
static inline void
unit_source_endpoint(unit_identity_t *identity, const char *name,
    const char *path)
{
    char  url[128];

    snprintf(url, sizeof(url), "%s%s", identity->machine.url, path);
    unit_identity_variable(identity, name, url);
}


/* The request has this line and body, and these headers beside the usual. */
static inline void
unit_assert_source_request(unit_identity_t *identity, size_t n,
    const char *line, const unit_header_t *headers, const char *body)
{
    char            host[64], text[544];
    size_t          i;
    const char     *request;
    unit_header_t   all[8] = {
        { "Host", host },
        { "User-Agent", "ngx_http_aoai_aad_module/" AAD_VERSION },
        { "Accept", "application/json" }
    };

    for (i = 0; headers[i].name != NULL; i++) {
        all[3 + i] = headers[i];
    }

    all[3 + i].name = NULL;

    snprintf(host, sizeof(host), "127.0.0.1:%d", identity->machine.port);
    snprintf(text, sizeof(text), "%s HTTP/1.1", line);

    request = unit_server_request(&identity->machine, n);

    unit_assert_request_line(request, text);
    unit_assert_headers(request, all);
    assert_string_equal(unit_request_body(request), body);
}


/* Asks once with a parameter, or none, and compares all of the request. */
static inline void
unit_source_get(unit_identity_t *identity, const char *name,
    const char *value, const char *target, const unit_header_t *headers)
{
    char  line[512];

    unit_identity_step(identity, "managed_identity", name, value, NULL);
    unit_server_answer(&identity->machine, 200, "", UNIT_MACHINE_TOKEN);

    if (unit_identity_ask(identity) != AAD_OK) {
        fail_msg("%s", unit_identity_reason(identity, 0));
    }

    assert_string_equal(identity->token.access_token.data, "machine-token");
    assert_int_equal(identity->token.expires_on, UNIT_NOW + 3599);

    snprintf(line, sizeof(line), "GET %s", target);
    unit_assert_source_request(identity, 0, line, headers, "");
    assert_int_equal(unit_server_requests(&identity->machine), 1);
}


/* A step behind shows whether the chain has gone on. */
static inline void
unit_source_refusals(unit_identity_t *identity, const char *name,
    const char *value, const unit_refusal_t *refusals, size_t count)
{
    size_t                i, asked, tried;
    const aad_attempt_t  *attempt;

    unit_identity_step(identity, "managed_identity", name, value, NULL);
    unit_identity_secret_step(identity, "secret");

    asked = tried = 0;

    for (i = 0; i < count; i++) {
        unit_server_answers(&identity->machine, refusals[i].tries,
                            refusals[i].status, "", refusals[i].body);

        tried += refusals[i].tries;

        if (refusals[i].result == AAD_UNAVAILABLE) {
            unit_server_answer(&identity->authority, 200, "", UNIT_APP_TOKEN);
            asked++;
        }

        assert_int_equal(unit_identity_ask(identity),
                         refusals[i].result == AAD_FAILED ? AAD_FAILED
                                                          : AAD_OK);

        attempt = &identity->report.attempts[0];

        assert_int_equal(attempt->result, refusals[i].result);
        assert_string_equal(attempt->code, refusals[i].code);
        unit_assert_contains(attempt->reason, refusals[i].reason);
        unit_assert_lacks(attempt->reason, UNIT_HEADER);
        assert_int_equal(unit_server_requests(&identity->machine), tried);
        assert_int_equal(unit_server_requests(&identity->authority), asked);
    }
}


/* An id that the source does not know stops the chain before any request. */
static inline void
unit_source_cannot_choose(unit_identity_t *identity, const char *name,
    const char *value, const char *reason)
{
    unit_identity_step(identity, "managed_identity", name, value, NULL);
    unit_identity_secret_step(identity, "secret");

    assert_int_equal(unit_identity_ask(identity), AAD_FAILED);
    assert_string_equal(unit_identity_reason(identity, 0), reason);
    assert_int_equal(identity->report.count, 1);
    assert_int_equal(unit_server_requests(&identity->machine), 0);
    assert_int_equal(unit_server_requests(&identity->authority), 0);
}


/*
 * What holds at any source: no redirect is followed, no answer is read without
 * end, no proxy is asked, and a failed answer that passes is not the last.
 */
static inline void
unit_source_rules(unit_identity_t *identity)
{
    char          location[128];
    unsigned      i;
    aad_result_t  result;

    static const char  head[] = "HTTP/1.1 200 OK\r\n\r\n{\"access_token\":\"";

    unit_identity_step(identity, "managed_identity", NULL);

    identity->settings.proxy = identity->closed_url;
    identity->settings.ca_certificates = "none";

    snprintf(location, sizeof(location), "Location: %s/\r\n",
             identity->authority.url);
    unit_server_answer(&identity->machine, 307, location, "");

    assert_int_equal(unit_identity_ask(identity), AAD_FAILED);
    unit_assert_contains(unit_identity_reason(identity, 0), "status 307");
    assert_int_equal(unit_server_requests(&identity->machine), 1);
    assert_int_equal(unit_server_requests(&identity->authority), 0);

    unit_server_bytes(&identity->machine, head, strlen(head))->filler
        = AAD_BODY_BYTES_MAX + 1;

    assert_int_not_equal(unit_identity_ask(identity), AAD_OK);
    unit_assert_contains(unit_identity_reason(identity, 0),
                         "answered more than 65536 bytes");
    assert_int_equal(unit_server_requests(&identity->machine), 2);

    /* a failed connection, then a status that passes */

    for (i = 0; i < 2; i++) {

        if (i == 0) {
            unit_server_bytes(&identity->machine, "", 0);

        } else {
            unit_server_answer(&identity->machine, 503, "", "");
        }

        unit_server_answer(&identity->machine, 200, "", UNIT_MACHINE_TOKEN);

        result = unit_identity_ask(identity);

        if (result != AAD_OK) {
            fail_msg("%s", unit_identity_reason(identity, 0));
        }

        assert_int_equal(unit_server_requests(&identity->machine), 4 + 2 * i);
    }
}


#endif /* _UNIT_SOURCE_H_INCLUDED_ */
