
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * The status in the text format of Prometheus, version 0.0.4 ("Exposition
 * formats" of its documentation), named by its "Metric and label naming".
 */


#include "ngx_http_aoai_aad_status.h"


/* a metric with one sample an identity, or several that differ by a label */
typedef struct {
    const char                     *name;
    const char                     *type;
    const char                     *help;
    void                          (*write)(ngx_http_aoai_aad_writer_t *w,
                                        const char *name,
                                        ngx_http_aoai_aad_status_identity_t
                                            *identity);
} ngx_http_aoai_aad_metric_t;


static void ngx_http_aoai_aad_prometheus_info(ngx_http_aoai_aad_writer_t *w,
    const char *name, ngx_http_aoai_aad_status_identity_t *identity);
static void ngx_http_aoai_aad_prometheus_state(ngx_http_aoai_aad_writer_t *w,
    const char *name, ngx_http_aoai_aad_status_identity_t *identity);
static void ngx_http_aoai_aad_prometheus_ready(ngx_http_aoai_aad_writer_t *w,
    const char *name, ngx_http_aoai_aad_status_identity_t *identity);
static void ngx_http_aoai_aad_prometheus_expiry(ngx_http_aoai_aad_writer_t *w,
    const char *name, ngx_http_aoai_aad_status_identity_t *identity);
static void ngx_http_aoai_aad_prometheus_success(
    ngx_http_aoai_aad_writer_t *w, const char *name,
    ngx_http_aoai_aad_status_identity_t *identity);
static void ngx_http_aoai_aad_prometheus_error(ngx_http_aoai_aad_writer_t *w,
    const char *name, ngx_http_aoai_aad_status_identity_t *identity);
static void ngx_http_aoai_aad_prometheus_fetches(
    ngx_http_aoai_aad_writer_t *w, const char *name,
    ngx_http_aoai_aad_status_identity_t *identity);
static void ngx_http_aoai_aad_prometheus_requests(
    ngx_http_aoai_aad_writer_t *w, const char *name,
    ngx_http_aoai_aad_status_identity_t *identity);
static void ngx_http_aoai_aad_prometheus_waits(ngx_http_aoai_aad_writer_t *w,
    const char *name, ngx_http_aoai_aad_status_identity_t *identity);
static void ngx_http_aoai_aad_prometheus_hosts(ngx_http_aoai_aad_writer_t *w,
    const char *name, ngx_http_aoai_aad_status_identity_t *identity);
static void ngx_http_aoai_aad_prometheus_steps(ngx_http_aoai_aad_writer_t *w,
    ngx_http_aoai_aad_totals_t *totals);
static void ngx_http_aoai_aad_prometheus_durations(
    ngx_http_aoai_aad_writer_t *w, const char *type,
    ngx_http_aoai_aad_step_counters_t *step);
static void ngx_http_aoai_aad_prometheus_callers(
    ngx_http_aoai_aad_writer_t *w, ngx_http_aoai_aad_totals_t *totals);
static void ngx_http_aoai_aad_prometheus_behalf(ngx_http_aoai_aad_writer_t *w,
    ngx_http_aoai_aad_behalf_counters_t *behalf);
static void ngx_http_aoai_aad_prometheus_head(ngx_http_aoai_aad_writer_t *w,
    const char *name, const char *type, const char *help);
static void ngx_http_aoai_aad_prometheus_name(ngx_http_aoai_aad_writer_t *w,
    const char *name, ngx_http_aoai_aad_status_identity_t *identity);
static void ngx_http_aoai_aad_prometheus_label(ngx_http_aoai_aad_writer_t *w,
    const char *name, const char *value);


static const ngx_http_aoai_aad_metric_t  ngx_http_aoai_aad_metrics[] = {

    { "aoai_aad_token_info", "gauge",
      "The identity of the token, always 1.",
      ngx_http_aoai_aad_prometheus_info },

    { "aoai_aad_token_state", "gauge",
      "1 for the state that the identity is in, 0 for the others.",
      ngx_http_aoai_aad_prometheus_state },

    { "aoai_aad_token_ready", "gauge",
      "Whether the identity holds a token that is valid for a minute more.",
      ngx_http_aoai_aad_prometheus_ready },

    { "aoai_aad_token_expiry_timestamp_seconds", "gauge",
      "When the token ends, in seconds since 1970.",
      ngx_http_aoai_aad_prometheus_expiry },

    { "aoai_aad_fetch_last_success_timestamp_seconds", "gauge",
      "When the last token was fetched, in seconds since 1970.",
      ngx_http_aoai_aad_prometheus_success },

    { "aoai_aad_fetch_last_failure_timestamp_seconds", "gauge",
      "When the last fetch without a token ended, in seconds since 1970.",
      ngx_http_aoai_aad_prometheus_error },

    { "aoai_aad_fetches_total", "counter",
      "Fetches of tokens by result.",
      ngx_http_aoai_aad_prometheus_fetches },

    { "aoai_aad_requests_total", "counter",
      "Requests by how they came by their token.",
      ngx_http_aoai_aad_prometheus_requests },

    { "aoai_aad_wait_seconds", "summary",
      "How long requests have waited for a token.",
      ngx_http_aoai_aad_prometheus_waits },

    { "aoai_aad_hosts_denied_total", "counter",
      "Requests that were not sent, to hosts that may not have the token.",
      ngx_http_aoai_aad_prometheus_hosts },

    { NULL, NULL, NULL, NULL }
};


void
ngx_http_aoai_aad_status_prometheus(ngx_http_aoai_aad_writer_t *w,
    ngx_http_aoai_aad_status_t *status)
{
    ngx_uint_t                         i;
    const ngx_http_aoai_aad_metric_t  *metric;

    ngx_http_aoai_aad_prometheus_head(w, "aoai_aad_build_info", "gauge",
                                      "The module's version, always 1.");
    ngx_http_aoai_aad_write_text(w, "aoai_aad_build_info{version=\""
                                 AAD_VERSION "\",nginx=\"" NGINX_VERSION
                                 "\"} 1\n");

    for (metric = ngx_http_aoai_aad_metrics; metric->name; metric++) {

        ngx_http_aoai_aad_prometheus_head(w, metric->name, metric->type,
                                          metric->help);

        for (i = 0; i < status->count; i++) {
            metric->write(w, metric->name, &status->identities[i]);
        }
    }

    ngx_http_aoai_aad_prometheus_steps(w, &status->totals);
    ngx_http_aoai_aad_prometheus_callers(w, &status->totals);
    ngx_http_aoai_aad_prometheus_behalf(w, &status->totals.behalf);
}


static void
ngx_http_aoai_aad_prometheus_info(ngx_http_aoai_aad_writer_t *w,
    const char *name, ngx_http_aoai_aad_status_identity_t *identity)
{
    if (!identity->has_token) {
        return;
    }

    ngx_http_aoai_aad_prometheus_name(w, name, identity);
    ngx_http_aoai_aad_prometheus_label(w, "credential",
                                       identity->token.credential);
    ngx_http_aoai_aad_prometheus_label(w, "client_id",
                                       identity->token.client_id);
    ngx_http_aoai_aad_prometheus_label(w, "object_id",
                                       identity->token.object_id);
    ngx_http_aoai_aad_prometheus_label(w, "tenant_id",
                                       identity->token.tenant_id);
    ngx_http_aoai_aad_prometheus_label(w, "scope", identity->scope);
    ngx_http_aoai_aad_write_text(w, "} 1\n");
}


static void
ngx_http_aoai_aad_prometheus_state(ngx_http_aoai_aad_writer_t *w,
    const char *name, ngx_http_aoai_aad_status_identity_t *identity)
{
    ngx_uint_t  state;

    for (state = AAD_STATE_EMPTY; state <= AAD_STATE_FAILED; state++) {
        ngx_http_aoai_aad_prometheus_name(w, name, identity);
        ngx_http_aoai_aad_print(w, ",state=\"%s\"} %d\n",
                                ngx_http_aoai_aad_state_name(state),
                                identity->state == state);
    }
}


static void
ngx_http_aoai_aad_prometheus_ready(ngx_http_aoai_aad_writer_t *w,
    const char *name, ngx_http_aoai_aad_status_identity_t *identity)
{
    ngx_http_aoai_aad_prometheus_name(w, name, identity);
    ngx_http_aoai_aad_print(w, "} %ui\n", identity->ready);
}


/* what there is not yet has no sample, rather than one in 1970 */
static void
ngx_http_aoai_aad_prometheus_expiry(ngx_http_aoai_aad_writer_t *w,
    const char *name, ngx_http_aoai_aad_status_identity_t *identity)
{
    if (identity->has_token) {
        ngx_http_aoai_aad_prometheus_name(w, name, identity);
        ngx_http_aoai_aad_print(w, "} %T\n", identity->token.expires_on);
    }
}


static void
ngx_http_aoai_aad_prometheus_success(ngx_http_aoai_aad_writer_t *w,
    const char *name, ngx_http_aoai_aad_status_identity_t *identity)
{
    if (identity->fetched) {
        ngx_http_aoai_aad_prometheus_name(w, name, identity);
        ngx_http_aoai_aad_print(w, "} %T\n", identity->fetched);
    }
}


static void
ngx_http_aoai_aad_prometheus_error(ngx_http_aoai_aad_writer_t *w,
    const char *name, ngx_http_aoai_aad_status_identity_t *identity)
{
    if (identity->has_error) {
        ngx_http_aoai_aad_prometheus_name(w, name, identity);
        ngx_http_aoai_aad_print(w, "} %T\n", identity->error.at);
    }
}


static void
ngx_http_aoai_aad_prometheus_fetches(ngx_http_aoai_aad_writer_t *w,
    const char *name, ngx_http_aoai_aad_status_identity_t *identity)
{
    ngx_http_aoai_aad_prometheus_name(w, name, identity);
    ngx_http_aoai_aad_print(w, ",result=\"ok\"} %uA\n",
                            identity->counters.refreshes);

    ngx_http_aoai_aad_prometheus_name(w, name, identity);
    ngx_http_aoai_aad_print(w, ",result=\"failed\"} %uA\n",
                            identity->counters.failures);
}


static void
ngx_http_aoai_aad_prometheus_requests(ngx_http_aoai_aad_writer_t *w,
    const char *name, ngx_http_aoai_aad_status_identity_t *identity)
{
    ngx_uint_t  status;

    static const char *const  names[NGX_HTTP_AOAI_AAD_STATUSES] = {
        NULL, "hit", "stale", "miss", "error"
    };

    for (status = NGX_HTTP_AOAI_AAD_HIT;
         status < NGX_HTTP_AOAI_AAD_STATUSES;
         status++)
    {
        ngx_http_aoai_aad_prometheus_name(w, name, identity);
        ngx_http_aoai_aad_print(w, ",result=\"%s\"} %uA\n", names[status],
                                identity->counters.requests[status]);
    }
}


static void
ngx_http_aoai_aad_prometheus_waits(ngx_http_aoai_aad_writer_t *w,
    const char *name, ngx_http_aoai_aad_status_identity_t *identity)
{
    ngx_http_aoai_aad_prometheus_name(w, "aoai_aad_wait_seconds_sum",
                                      identity);
    ngx_http_aoai_aad_print(w, "} %uA.%03uA\n",
                            identity->counters.wait_msec / 1000,
                            identity->counters.wait_msec % 1000);

    ngx_http_aoai_aad_prometheus_name(w, "aoai_aad_wait_seconds_count",
                                      identity);
    ngx_http_aoai_aad_print(w, "} %uA\n", identity->counters.waits);
}


static void
ngx_http_aoai_aad_prometheus_hosts(ngx_http_aoai_aad_writer_t *w,
    const char *name, ngx_http_aoai_aad_status_identity_t *identity)
{
    ngx_http_aoai_aad_prometheus_name(w, name, identity);
    ngx_http_aoai_aad_print(w, "} %uA\n", identity->counters.denied_hosts);
}


/* of the types that were asked so far */
static void
ngx_http_aoai_aad_prometheus_steps(ngx_http_aoai_aad_writer_t *w,
    ngx_http_aoai_aad_totals_t *totals)
{
    size_t         i;
    const char    *type;
    ngx_uint_t     result;
    ngx_atomic_t  *results;

    static const char *const  names[] = { "ok", "unavailable", "failed" };

    ngx_http_aoai_aad_prometheus_head(w, "aoai_aad_fetch_steps_total",
                                      "counter", "Steps of chains that were "
                                      "asked for a token, by result.");

    for (i = 0; (type = aad_credential_type_name(i)) != NULL; i++) {

        results = totals->steps[i].results;

        for (result = AAD_OK; result <= AAD_FAILED; result++) {
            if (results[AAD_OK] + results[AAD_UNAVAILABLE]
                + results[AAD_FAILED])
            {
                ngx_http_aoai_aad_print(w, "aoai_aad_fetch_steps_total{"
                                        "credential=\"%s\",result=\"%s\"} "
                                        "%uA\n", type, names[result],
                                        results[result]);
            }
        }
    }

    ngx_http_aoai_aad_prometheus_head(w, "aoai_aad_fetch_duration_seconds",
                                      "histogram", "How long a step of the "
                                      "chain took that was asked.");

    for (i = 0; (type = aad_credential_type_name(i)) != NULL; i++) {
        ngx_http_aoai_aad_prometheus_durations(w, type, &totals->steps[i]);
    }
}


static void
ngx_http_aoai_aad_prometheus_durations(ngx_http_aoai_aad_writer_t *w,
    const char *type, ngx_http_aoai_aad_step_counters_t *step)
{
    ngx_uint_t         i;
    ngx_atomic_uint_t  count;

    /* of ngx_http_aoai_aad_bucket_msec */
    static const char *const  ends[NGX_HTTP_AOAI_AAD_BUCKETS] = {
        "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "10",
        "+Inf"
    };

    count = 0;

    for (i = 0; i < NGX_HTTP_AOAI_AAD_BUCKETS; i++) {
        count += step->buckets[i];
    }

    if (count == 0) {
        return;
    }

    /* each bucket has what is in those before */

    count = 0;

    for (i = 0; i < NGX_HTTP_AOAI_AAD_BUCKETS; i++) {

        count += step->buckets[i];

        ngx_http_aoai_aad_print(w, "aoai_aad_fetch_duration_seconds_bucket{"
                                "credential=\"%s\",le=\"%s\"} %uA\n",
                                type, ends[i], count);
    }

    ngx_http_aoai_aad_print(w, "aoai_aad_fetch_duration_seconds_sum{"
                            "credential=\"%s\"} %uA.%03uA\n",
                            type, step->msec / 1000, step->msec % 1000);
    ngx_http_aoai_aad_print(w, "aoai_aad_fetch_duration_seconds_count{"
                            "credential=\"%s\"} %uA\n", type, count);
}


static void
ngx_http_aoai_aad_prometheus_callers(ngx_http_aoai_aad_writer_t *w,
    ngx_http_aoai_aad_totals_t *totals)
{
    ngx_uint_t  code;

    static const char *const  codes[NGX_HTTP_AOAI_AAD_CALLER_CODES] = {
        "invalid_token", "insufficient_role"
    };

    ngx_http_aoai_aad_prometheus_head(w, "aoai_aad_callers_refused_total",
                                      "counter",
                                      "Callers that were refused, by code.");

    for (code = 0; code < NGX_HTTP_AOAI_AAD_CALLER_CODES; code++) {
        ngx_http_aoai_aad_print(w, "aoai_aad_callers_refused_total{"
                                "code=\"%s\"} %uA\n", codes[code],
                                totals->refused[code]);
    }

    ngx_http_aoai_aad_prometheus_head(w, "aoai_aad_key_set_fetches_total",
                                      "counter", "Fetches of the keys that "
                                      "callers' tokens are signed with.");
    ngx_http_aoai_aad_print(w, "aoai_aad_key_set_fetches_total{"
                            "result=\"ok\"} %uA\n"
                            "aoai_aad_key_set_fetches_total{"
                            "result=\"failed\"} %uA\n",
                            totals->key_fetches, totals->key_failures);
}


static void
ngx_http_aoai_aad_prometheus_behalf(ngx_http_aoai_aad_writer_t *w,
    ngx_http_aoai_aad_behalf_counters_t *behalf)
{
    ngx_http_aoai_aad_prometheus_head(w, "aoai_aad_on_behalf_of_entries",
                                      "gauge", "Callers' tokens in memory.");
    ngx_http_aoai_aad_print(w, "aoai_aad_on_behalf_of_entries %uA\n",
                            behalf->entries);

    ngx_http_aoai_aad_prometheus_head(w, "aoai_aad_on_behalf_of_capacity",
                                      "gauge", "How many there is room for.");
    ngx_http_aoai_aad_print(w, "aoai_aad_on_behalf_of_capacity %uA\n",
                            behalf->capacity);

    ngx_http_aoai_aad_prometheus_head(w,
                                      "aoai_aad_on_behalf_of_exchanges_total",
                                      "counter",
                                      "Exchanges of callers' tokens.");
    ngx_http_aoai_aad_print(w, "aoai_aad_on_behalf_of_exchanges_total{"
                            "result=\"ok\"} %uA\n"
                            "aoai_aad_on_behalf_of_exchanges_total{"
                            "result=\"failed\"} %uA\n",
                            behalf->exchanges, behalf->failures);

    ngx_http_aoai_aad_prometheus_head(w, "aoai_aad_on_behalf_of_hits_total",
                                      "counter",
                                      "Requests whose token was in memory.");
    ngx_http_aoai_aad_print(w, "aoai_aad_on_behalf_of_hits_total %uA\n",
                            behalf->hits);

    ngx_http_aoai_aad_prometheus_head(w,
                                      "aoai_aad_on_behalf_of_evictions_total",
                                      "counter", "Callers' tokens that had "
                                      "to make room for others.");
    ngx_http_aoai_aad_print(w, "aoai_aad_on_behalf_of_evictions_total %uA\n",
                            behalf->evictions);
}


static void
ngx_http_aoai_aad_prometheus_head(ngx_http_aoai_aad_writer_t *w,
    const char *name, const char *type, const char *help)
{
    ngx_http_aoai_aad_print(w, "# HELP %s %s\n# TYPE %s %s\n", name, help,
                            name, type);
}


/* a sample's name, and the first of its labels */
static void
ngx_http_aoai_aad_prometheus_name(ngx_http_aoai_aad_writer_t *w,
    const char *name, ngx_http_aoai_aad_status_identity_t *identity)
{
    ngx_http_aoai_aad_write_text(w, name);
    ngx_http_aoai_aad_write_text(w, "{identity=\"");
    ngx_http_aoai_aad_prometheus_label(w, NULL, identity->name);
}


/*
 * Three characters have to be escaped; the other control characters may be
 * there, and do nobody any good.
 */
static void
ngx_http_aoai_aad_prometheus_label(ngx_http_aoai_aad_writer_t *w,
    const char *name, const char *value)
{
    uint32_t  c;

    if (name) {
        ngx_http_aoai_aad_print(w, ",%s=\"", name);
    }

    for (c = ngx_http_aoai_aad_next_character(&value);
         c != 0;
         c = ngx_http_aoai_aad_next_character(&value))
    {
        if (c == '\n') {
            ngx_http_aoai_aad_write_text(w, "\\n");

        } else if (c == '"' || c == '\\') {
            ngx_http_aoai_aad_write_text(w, "\\");
            ngx_http_aoai_aad_write_character(w, c);

        } else if (c < 0x20 || (c >= 0x7f && c < 0xa0)) {
            ngx_http_aoai_aad_write_character(w, 0xfffd);

        } else {
            ngx_http_aoai_aad_write_character(w, c);
        }
    }

    ngx_http_aoai_aad_write_text(w, "\"");
}
