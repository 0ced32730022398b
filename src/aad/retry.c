
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * Asking again when an endpoint is busy, is being updated, or cannot be
 * reached for a moment: what passes by itself, by endpoint.
 *
 * There are two back-offs.  This one is inside of a fetch and is for what is
 * over in a moment: requests wait for the end of the fetch, so that it is
 * given half of the time that they wait at most.  What lasts longer is left
 * to the one between fetches (schedule.c), during which requests are refused
 * at once instead of being kept; it has no end.
 */


#include "internal.h"

#include <time.h>


/* how soon a wait notices that it is to be given up */
#define AAD_RETRY_SLICE_MS          20


static int aad_retry_passes(const aad_retry_t *retry, int rc,
    const aad_http_response_t *response);
static int aad_retry_wait(aad_call_t *call, int64_t ms);
static void aad_retry_sleep(int64_t ms);


/* azure-core for Go and Python; what the service refuses, it will again */
const aad_retry_t  aad_retry_authority = {
    { 408, 429, 500, 502, 503, 504, 0 }, 0, 1, 4, 800, 60000
};

/*
 * "How to use managed identities on an Azure VM": 404 and 410 are IMDS being
 * updated.  The waits, azure-identity's for Go, add up to more than the 70 s
 * after which it is ready again.
 */
const aad_retry_t  aad_retry_imds = {
    { 404, 410, 429, 0 }, 1, 1, 7, 2000, 25000
};

/*
 * Any other endpoint of the machine.  Few times: App Service says 500 for an
 * identity that is not there, too.  404 is the answer of Service Fabric for
 * one, and never passes.
 */
const aad_retry_t  aad_retry_machine = {
    { 408, 429, 500, 502, 503, 504, 0 }, 0, 1, 3, 800, 60000
};


int
aad_http_retry(aad_call_t *call, const aad_http_request_t *request,
    const aad_retry_t *retry, aad_http_response_t *response,
    aad_error_t *error)
{
    int       rc;
    unsigned  tries;

    for (tries = 1; /* void */ ; tries++) {

        rc = aad_http(call, request, response, error);

        if (!aad_retry(call, retry, tries, rc, response)) {
            return rc;
        }

        aad_secret_wipe(&response->body);
    }
}


int
aad_retry(aad_call_t *call, const aad_retry_t *retry, unsigned tries, int rc,
    const aad_http_response_t *response)
{
    int64_t             wait_ms;
    const aad_hooks_t  *hooks;

    hooks = call->hooks;

    if (tries == retry->tries || !aad_retry_passes(retry, rc, response)) {
        return 0;
    }

    /* to come back earlier than asked for would make it worse */

    wait_ms = response->retry_after_ms != 0
              ? response->retry_after_ms
              : aad_retry_wait_ms(retry, tries, aad_random());

    return hooks->monotonic_ms(hooks->data) + wait_ms <= call->retry_until_ms
           && aad_retry_wait(call, wait_ms) == 0;
}


int64_t
aad_retry_wait_ms(const aad_retry_t *retry, unsigned tries, uint32_t random)
{
    int64_t  wait_ms;

    /* 1, 3, 7, 15 ... times the first */

    for (wait_ms = retry->first_ms; tries > 1; tries--) {

        if (wait_ms >= retry->max_ms) {
            break;
        }

        wait_ms = wait_ms * 2 + retry->first_ms;
    }

    /* 0.8 to 1.3 of that: a fleet that failed at once must not march in step */

    wait_ms = wait_ms * (80 + random % 51) / 100;

    return wait_ms < retry->max_ms ? wait_ms : retry->max_ms;
}


int64_t
aad_retry_share_ms(int64_t timeout_ms)
{
    return timeout_ms / 2;
}


static int
aad_retry_passes(const aad_retry_t *retry, int rc,
    const aad_http_response_t *response)
{
    const int  *status;

    if (rc != 0) {
        return retry->broken && response->broken;
    }

    if (retry->server_errors && response->status >= 500) {
        return 1;
    }

    for (status = retry->statuses; *status != 0; status++) {
        if (response->status == *status) {
            return 1;
        }
    }

    return 0;
}


/* Returns 0, or -1 when the call is over before. */
static int
aad_retry_wait(aad_call_t *call, int64_t ms)
{
    int64_t             end_ms, left_ms;
    const aad_hooks_t  *hooks;

    hooks = call->hooks;
    end_ms = hooks->monotonic_ms(hooks->data) + ms;

    for ( ;; ) {

        if (aad_time_left_ms(call) == 0) {
            return -1;
        }

        left_ms = end_ms - hooks->monotonic_ms(hooks->data);

        if (left_ms <= 0) {
            return 0;
        }

        if (left_ms > AAD_RETRY_SLICE_MS) {
            left_ms = AAD_RETRY_SLICE_MS;
        }

        if (hooks->wait != NULL) {
            hooks->wait(hooks->data, left_ms);

        } else {
            aad_retry_sleep(left_ms);
        }
    }
}


static void
aad_retry_sleep(int64_t ms)
{
    struct timespec  time;

    time.tv_sec = ms / 1000;
    time.tv_nsec = ms % 1000 * 1000000;

    /* a signal makes it shorter, and the caller looks at the clock */

    (void) nanosleep(&time, NULL);
}
