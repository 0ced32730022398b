
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * A fleet of gateways, each of which lives by the module's own schedule, in
 * simulated time.  Prints how often the authority is asked:
 *
 *     fleet NODES LIFETIME DAYS START JITTER OUTAGE FROM [seconds]
 *
 * NODES gateways start within START seconds.  From FROM on, OUTAGE seconds
 * long, the authority answers 429 and wants a minute of peace.  JITTER is 0
 * for a schedule without it.  The random numbers are the same in each run.
 */


#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aad.h"


#define FLEET_LEASE_MS   10000
#define FLEET_DAY_S      86400

/* what Entra ID says to who asks too often */
#define FLEET_RETRY_AFTER_S  60

/* a moment in 2026: the clock that tells when tokens end */
#define FLEET_EPOCH_MS   INT64_C(1767225600000)


typedef struct {
    aad_life_t   life;
    int64_t      next_ms;
} fleet_node_t;


static uint32_t fleet_random(void);
static void fleet_ask(fleet_node_t *node, int64_t lifetime_s, int jitter,
    int refused);
static void fleet_report(const char *what, const unsigned *calls, int64_t from,
    int64_t to);


int
main(int argc, char **argv)
{
    int            jitter;
    int64_t        i, nodes, lifetime_s, end_s, start_s, outage_s, middle_s;
    int64_t        second, refresh_s, from_s;
    unsigned      *calls;
    fleet_node_t  *node;

    if (argc != 8) {
        fprintf(stderr, "usage: fleet NODES LIFETIME DAYS START JITTER OUTAGE "
                        "FROM\n");
        return 2;
    }

    nodes = atoll(argv[1]);
    lifetime_s = atoll(argv[2]);
    end_s = atoll(argv[3]) * FLEET_DAY_S;
    start_s = atoll(argv[4]);
    jitter = atoi(argv[5]);
    outage_s = atoll(argv[6]);
    from_s = atoll(argv[7]);
    middle_s = end_s / 2;

    node = calloc(nodes, sizeof(fleet_node_t));
    calls = calloc(end_s, sizeof(unsigned));

    if (node == NULL || calls == NULL) {
        fprintf(stderr, "fleet: out of memory\n");
        return 1;
    }

    for (i = 0; i < nodes; i++) {
        node[i].next_ms = fleet_random() % (start_s * 1000);

        while ((second = node[i].next_ms / 1000) < end_s) {
            calls[second]++;

            fleet_ask(&node[i], lifetime_s, jitter,
                      second >= from_s && second < from_s + outage_s);
        }
    }

    refresh_s = aad_schedule(lifetime_s * 1000, 0, 0).refresh_ms / 1000;

    fleet_report("start", calls, 0, start_s);
    fleet_report("first", calls, start_s,
                 start_s + refresh_s + refresh_s / 2);
    fleet_report("settled", calls, middle_s - 2 * refresh_s, middle_s);
    fleet_report("after", calls, from_s + outage_s, from_s + outage_s + 600);

    free(calls);
    free(node);

    return 0;
}


/* one call to the authority, whose answer takes no time */
static void
fleet_ask(fleet_node_t *node, int64_t lifetime_s, int jitter, int refused)
{
    int64_t       delay_ms;
    aad_moment_t  now;

    now.monotonic_ms = node->next_ms;
    now.wall_ms = FLEET_EPOCH_MS + node->next_ms;

    (void) aad_life_lease(&node->life, &now, 1, FLEET_LEASE_MS, &delay_ms);

    if (refused) {
        (void) aad_life_failed(&node->life, &now, 1, FLEET_RETRY_AFTER_S,
                               jitter ? fleet_random() : 0);

    } else {
        (void) aad_life_store(&node->life, &now, 1,
                              now.wall_ms / 1000 + lifetime_s, 0,
                              jitter ? fleet_random() : 0);
    }

    node->next_ms = node->life.refresh_at_ms;
}


/* the calls of some seconds: most in one, their mean, those that had some */
static void
fleet_report(const char *what, const unsigned *calls, int64_t from,
    int64_t to)
{
    int64_t   i, sum, first, last;
    unsigned  most;

    most = 0;
    sum = 0;
    first = from;
    last = from;

    for (i = from; i < to; i++) {

        if (calls[i] == 0) {
            continue;
        }

        if (sum == 0) {
            first = i;
        }

        sum += calls[i];
        last = i + 1;

        if (calls[i] > most) {
            most = calls[i];
        }
    }

    printf("%s %u %lld %lld %lld\n", what, most, (long long) sum,
           (long long) (last - first), (long long) (to - from));
}


/* Marsaglia's xorshift, of 32 bits */
static uint32_t
fleet_random(void)
{
    static uint32_t  state = 2463534242;

    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;

    return state;
}
