
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * The status as JSON (RFC 8259).  Names are never changed; what there is not
 * yet is null.
 */


#include "ngx_http_aoai_aad_status.h"


static void ngx_http_aoai_aad_json_identity(ngx_http_aoai_aad_writer_t *w,
    ngx_http_aoai_aad_status_identity_t *identity);
static void ngx_http_aoai_aad_json_token(ngx_http_aoai_aad_writer_t *w,
    ngx_http_aoai_aad_status_identity_t *identity);
static void ngx_http_aoai_aad_json_counters(ngx_http_aoai_aad_writer_t *w,
    ngx_http_aoai_aad_counters_t *counters);
static void ngx_http_aoai_aad_json_error(ngx_http_aoai_aad_writer_t *w,
    ngx_http_aoai_aad_verdict_t *error);
static void ngx_http_aoai_aad_json_attempt(ngx_http_aoai_aad_writer_t *w,
    ngx_http_aoai_aad_verdict_t *verdict);
static void ngx_http_aoai_aad_json_totals(ngx_http_aoai_aad_writer_t *w,
    ngx_http_aoai_aad_totals_t *totals);
static void ngx_http_aoai_aad_json_string(ngx_http_aoai_aad_writer_t *w,
    const char *text);
static void ngx_http_aoai_aad_json_text(ngx_http_aoai_aad_writer_t *w,
    const char *name, const char *text);
static void ngx_http_aoai_aad_json_time(ngx_http_aoai_aad_writer_t *w,
    const char *name, time_t time);
static void ngx_http_aoai_aad_json_seconds(ngx_http_aoai_aad_writer_t *w,
    const char *name, int64_t seconds);


void
ngx_http_aoai_aad_status_json(ngx_http_aoai_aad_writer_t *w,
    ngx_http_aoai_aad_status_t *status)
{
    ngx_uint_t  i;

    ngx_http_aoai_aad_write_text(w, "{\"module\":{\"version\":\"" AAD_VERSION
                                 "\",\"nginx\":\"" NGINX_VERSION "\"}");
    ngx_http_aoai_aad_json_time(w, "at", status->now);
    ngx_http_aoai_aad_print(w, ",\"ready\":%s,\"tokens\":[",
                            status->ready == status->count ? "true"
                                                           : "false");

    for (i = 0; i < status->count; i++) {
        ngx_http_aoai_aad_write_text(w, i ? "," : "");
        ngx_http_aoai_aad_json_identity(w, &status->identities[i]);
    }

    ngx_http_aoai_aad_write_text(w, "]");
    ngx_http_aoai_aad_json_totals(w, &status->totals);
    ngx_http_aoai_aad_write_text(w, "}\n");
}


static void
ngx_http_aoai_aad_json_identity(ngx_http_aoai_aad_writer_t *w,
    ngx_http_aoai_aad_status_identity_t *identity)
{
    size_t  i;

    ngx_http_aoai_aad_write_text(w, "{\"name\":");
    ngx_http_aoai_aad_json_string(w, identity->name);
    ngx_http_aoai_aad_json_text(w, "scope", identity->scope);
    ngx_http_aoai_aad_json_text(w, "authority", identity->authority);

    ngx_http_aoai_aad_write_text(w, ",\"chain\":[");

    for (i = 0; i < identity->chain_length; i++) {
        ngx_http_aoai_aad_write_text(w, i ? "," : "");
        ngx_http_aoai_aad_json_string(w, identity->chain[i]);
    }

    ngx_http_aoai_aad_write_text(w, "]");

    ngx_http_aoai_aad_json_token(w, identity);
    ngx_http_aoai_aad_json_counters(w, &identity->counters);

    ngx_http_aoai_aad_write_text(w, ",\"last_error\":");

    if (identity->has_error) {
        ngx_http_aoai_aad_json_error(w, &identity->error);

    } else {
        ngx_http_aoai_aad_write_text(w, "null");
    }

    ngx_http_aoai_aad_write_text(w, ",\"attempts\":[");

    for (i = 0; i < identity->verdict_count; i++) {
        ngx_http_aoai_aad_write_text(w, i ? "," : "");
        ngx_http_aoai_aad_json_attempt(w, &identity->verdicts[i]);
    }

    ngx_http_aoai_aad_write_text(w, "]}");
}


static void
ngx_http_aoai_aad_json_token(ngx_http_aoai_aad_writer_t *w,
    ngx_http_aoai_aad_status_identity_t *identity)
{
    ngx_http_aoai_aad_token_t  *token;

    token = identity->has_token ? &identity->token : NULL;

    ngx_http_aoai_aad_json_text(w, "credential",
                                token ? token->credential : NULL);
    ngx_http_aoai_aad_json_text(w, "client_id",
                                token ? token->client_id : NULL);
    ngx_http_aoai_aad_json_text(w, "object_id",
                                token ? token->object_id : NULL);
    ngx_http_aoai_aad_json_text(w, "tenant_id",
                                token ? token->tenant_id : NULL);

    ngx_http_aoai_aad_json_text(w, "state",
                              ngx_http_aoai_aad_state_name(identity->state));
    ngx_http_aoai_aad_print(w, ",\"ready\":%s,\"fetching\":%s",
                            identity->ready ? "true" : "false",
                            identity->fetching ? "true" : "false");

    ngx_http_aoai_aad_json_seconds(w, "expires_in", identity->expires_in);
    ngx_http_aoai_aad_json_time(w, "expires_at",
                                token ? token->expires_on : 0);
    ngx_http_aoai_aad_json_seconds(w, "refresh_in", identity->refresh_in);
    ngx_http_aoai_aad_json_time(w, "last_success_at", identity->fetched);
    ngx_http_aoai_aad_json_time(w, "failing_since", identity->failing_since);
}


static void
ngx_http_aoai_aad_json_counters(ngx_http_aoai_aad_writer_t *w,
    ngx_http_aoai_aad_counters_t *counters)
{
    ngx_atomic_t  *requests;

    requests = counters->requests;

    ngx_http_aoai_aad_print(w, ",\"refreshes\":%uA,\"failures\":%uA,"
                            "\"requests\":{\"hit\":%uA,\"miss\":%uA,"
                            "\"stale\":%uA,\"error\":%uA}",
                            counters->refreshes, counters->failures,
                            requests[NGX_HTTP_AOAI_AAD_HIT],
                            requests[NGX_HTTP_AOAI_AAD_MISS],
                            requests[NGX_HTTP_AOAI_AAD_STALE],
                            requests[NGX_HTTP_AOAI_AAD_ERROR]);

    ngx_http_aoai_aad_print(w, ",\"waits\":{\"count\":%uA,"
                            "\"seconds\":%uA.%03uA},\"denied_hosts\":%uA",
                            counters->waits, counters->wait_msec / 1000,
                            counters->wait_msec % 1000,
                            counters->denied_hosts);
}


static void
ngx_http_aoai_aad_json_error(ngx_http_aoai_aad_writer_t *w,
    ngx_http_aoai_aad_verdict_t *error)
{
    ngx_http_aoai_aad_write_text(w, "{\"credential\":");
    ngx_http_aoai_aad_json_string(w, error->credential);

    ngx_http_aoai_aad_json_text(w, "code", error->code);
    ngx_http_aoai_aad_json_text(w, "message", error->reason);
    ngx_http_aoai_aad_json_text(w, "hint", error->hint);
    ngx_http_aoai_aad_json_text(w, "correlation_id", error->correlation_id);
    ngx_http_aoai_aad_json_text(w, "trace_id", error->trace_id);
    ngx_http_aoai_aad_json_time(w, "at", error->at);

    ngx_http_aoai_aad_write_text(w, "}");
}


static void
ngx_http_aoai_aad_json_attempt(ngx_http_aoai_aad_writer_t *w,
    ngx_http_aoai_aad_verdict_t *verdict)
{
    ngx_http_aoai_aad_write_text(w, "{\"credential\":");
    ngx_http_aoai_aad_json_string(w, verdict->credential);

    ngx_http_aoai_aad_json_text(w, "result",
                                ngx_http_aoai_aad_result_name(verdict));
    ngx_http_aoai_aad_json_text(w, "reason", verdict->reason);
    ngx_http_aoai_aad_json_text(w, "code", verdict->code);
    ngx_http_aoai_aad_json_text(w, "hint", verdict->hint);
    ngx_http_aoai_aad_json_time(w, "at", verdict->at);

    ngx_http_aoai_aad_write_text(w, "}");
}


static void
ngx_http_aoai_aad_json_totals(ngx_http_aoai_aad_writer_t *w,
    ngx_http_aoai_aad_totals_t *totals)
{
    ngx_http_aoai_aad_behalf_counters_t  *behalf;

    behalf = &totals->behalf;

    ngx_http_aoai_aad_print(w, ",\"on_behalf_of\":{\"entries\":%uA,"
                            "\"capacity\":%uA,\"exchanges\":%uA,"
                            "\"failures\":%uA,\"hits\":%uA,"
                            "\"evictions\":%uA}",
                            behalf->entries, behalf->capacity,
                            behalf->exchanges, behalf->failures,
                            behalf->hits, behalf->evictions);

    ngx_http_aoai_aad_print(w, ",\"callers\":{\"refused\":{"
                            "\"invalid_token\":%uA,"
                            "\"insufficient_role\":%uA},"
                            "\"key_fetches\":%uA,\"key_failures\":%uA}",
                            totals->refused[NGX_HTTP_AOAI_AAD_INVALID_TOKEN],
                            totals->refused[
                                    NGX_HTTP_AOAI_AAD_INSUFFICIENT_ROLE],
                            totals->key_fetches, totals->key_failures);
}


/* the answer to a probe: who is not ready, and why */
void
ngx_http_aoai_aad_ready_json(ngx_http_aoai_aad_writer_t *w,
    ngx_http_aoai_aad_status_t *status)
{
    ngx_uint_t                            i, n;
    ngx_http_aoai_aad_status_identity_t  *identity;

    ngx_http_aoai_aad_print(w, "{\"ready\":%s,\"not_ready\":[",
                            status->ready == status->count ? "true"
                                                           : "false");

    for (i = 0, n = 0; i < status->count; i++) {

        identity = &status->identities[i];

        if (identity->ready) {
            continue;
        }

        ngx_http_aoai_aad_write_text(w, n++ ? ",{\"name\":" : "{\"name\":");
        ngx_http_aoai_aad_json_string(w, identity->name);
        ngx_http_aoai_aad_json_text(w, "state",
                              ngx_http_aoai_aad_state_name(identity->state));
        ngx_http_aoai_aad_json_seconds(w, "expires_in",
                                       identity->expires_in);
        ngx_http_aoai_aad_json_text(w, "code", identity->has_error
                                               ? identity->error.code : NULL);
        ngx_http_aoai_aad_write_text(w, "}");
    }

    ngx_http_aoai_aad_write_text(w, "]}\n");
}


/* with its quotes */
static void
ngx_http_aoai_aad_json_string(ngx_http_aoai_aad_writer_t *w,
    const char *text)
{
    uint32_t  c;

    ngx_http_aoai_aad_write_text(w, "\"");

    for (c = ngx_http_aoai_aad_next_character(&text);
         c != 0;
         c = ngx_http_aoai_aad_next_character(&text))
    {
        if (c == '"' || c == '\\') {
            ngx_http_aoai_aad_write_text(w, "\\");
            ngx_http_aoai_aad_write_character(w, c);

        } else if (c < 0x20 || c == 0x7f) {
            ngx_http_aoai_aad_print(w, "\\u%04xD", c);

        } else {
            ngx_http_aoai_aad_write_character(w, c);
        }
    }

    ngx_http_aoai_aad_write_text(w, "\"");
}


/* a member after the first; null where there is no text, or an empty one */
static void
ngx_http_aoai_aad_json_text(ngx_http_aoai_aad_writer_t *w, const char *name,
    const char *text)
{
    ngx_http_aoai_aad_print(w, ",\"%s\":", name);

    if (text && text[0]) {
        ngx_http_aoai_aad_json_string(w, text);

    } else {
        ngx_http_aoai_aad_write_text(w, "null");
    }
}


static void
ngx_http_aoai_aad_json_time(ngx_http_aoai_aad_writer_t *w, const char *name,
    time_t time)
{
    ngx_http_aoai_aad_print(w, time ? ",\"%s\":\"" : ",\"%s\":null", name);

    if (time) {
        ngx_http_aoai_aad_write_time(w, time);
        ngx_http_aoai_aad_write_text(w, "\"");
    }
}


static void
ngx_http_aoai_aad_json_seconds(ngx_http_aoai_aad_writer_t *w,
    const char *name, int64_t seconds)
{
    ngx_http_aoai_aad_print(w, seconds < 0 ? ",\"%s\":null" : ",\"%s\":%L",
                            name, seconds);
}
