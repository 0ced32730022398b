
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * The status as a page for people.  It is whole without its script, which
 * only renews it.
 */


#include "ngx_http_aoai_aad_status.h"


static void ngx_http_aoai_aad_html_head(ngx_http_aoai_aad_writer_t *w,
    ngx_http_aoai_aad_status_t *status);
static void ngx_http_aoai_aad_html_summary(ngx_http_aoai_aad_writer_t *w,
    ngx_http_aoai_aad_status_t *status);
static void ngx_http_aoai_aad_html_card(ngx_http_aoai_aad_writer_t *w,
    ngx_http_aoai_aad_status_identity_t *identity, ngx_uint_t number);
static void ngx_http_aoai_aad_html_lead(ngx_http_aoai_aad_writer_t *w,
    ngx_http_aoai_aad_status_identity_t *identity);
static void ngx_http_aoai_aad_html_bar(ngx_http_aoai_aad_writer_t *w,
    ngx_http_aoai_aad_status_identity_t *identity);
static void ngx_http_aoai_aad_html_bar_part(ngx_http_aoai_aad_writer_t *w,
    const char *name, ngx_uint_t from, ngx_uint_t to);
static void ngx_http_aoai_aad_html_ids(ngx_http_aoai_aad_writer_t *w,
    ngx_http_aoai_aad_status_identity_t *identity);
static void ngx_http_aoai_aad_html_error(ngx_http_aoai_aad_writer_t *w,
    ngx_http_aoai_aad_status_identity_t *identity);
static void ngx_http_aoai_aad_html_chain(ngx_http_aoai_aad_writer_t *w,
    ngx_http_aoai_aad_status_identity_t *identity);
static void ngx_http_aoai_aad_html_counters(ngx_http_aoai_aad_writer_t *w,
    ngx_http_aoai_aad_counters_t *counters);
static void ngx_http_aoai_aad_html_totals(ngx_http_aoai_aad_writer_t *w,
    ngx_http_aoai_aad_totals_t *totals);
static void ngx_http_aoai_aad_html_foot(ngx_http_aoai_aad_writer_t *w,
    ngx_http_aoai_aad_status_t *status);
static void ngx_http_aoai_aad_html_item(ngx_http_aoai_aad_writer_t *w,
    const char *term, const char *text);
static void ngx_http_aoai_aad_html_number(ngx_http_aoai_aad_writer_t *w,
    const char *term, ngx_atomic_uint_t number);
static void ngx_http_aoai_aad_html_time(ngx_http_aoai_aad_writer_t *w,
    time_t time);
static void ngx_http_aoai_aad_html_left(ngx_http_aoai_aad_writer_t *w,
    int64_t seconds);
static void ngx_http_aoai_aad_html_text(ngx_http_aoai_aad_writer_t *w,
    const char *text);


static const char *const  ngx_http_aoai_aad_state_words[] = {
    "No token yet", "Valid", "Refreshing", "Stale", "Failed"
};

/* a shape as well as a colour: circle, circle, ring, triangle, cross */
static const char *const  ngx_http_aoai_aad_state_shapes[] = {
    "M8 1a7 7 0 1 0 0 14A7 7 0 1 0 8 1m0 2a5 5 0 1 1 0 10A5 5 0 1 1 8 3",
    "M8 1a7 7 0 1 0 0 14A7 7 0 1 0 8 1",
    "M8 1a7 7 0 1 0 7 7h-3a4 4 0 1 1-4-4z",
    "M8 1l8 14H0z",
    "M3 1L1 3l5 5-5 5 2 2 5-5 5 5 2-2-5-5 5-5-2-2-5 5z"
};

static const char *const  ngx_http_aoai_aad_state_colours[] = {
    "59636e", "1a7f37", "0969da", "bf7600", "c62828"
};


void
ngx_http_aoai_aad_status_html(ngx_http_aoai_aad_writer_t *w,
    ngx_http_aoai_aad_status_t *status)
{
    ngx_uint_t  i;

    ngx_http_aoai_aad_html_head(w, status);

    ngx_http_aoai_aad_write_text(w, "<main>\n");

    for (i = 0; i < status->count; i++) {
        ngx_http_aoai_aad_html_card(w, &status->identities[i], i);
    }

    ngx_http_aoai_aad_html_totals(w, &status->totals);

    ngx_http_aoai_aad_write_text(w, "</main>\n");

    ngx_http_aoai_aad_html_foot(w, status);
}


static void
ngx_http_aoai_aad_html_head(ngx_http_aoai_aad_writer_t *w,
    ngx_http_aoai_aad_status_t *status)
{
    ngx_uint_t   i;
    aad_state_t  worst;

    /* what the tab shows; the states are in the order of their weight, but
       for that of an identity without a token yet */

    worst = status->count ? status->identities[0].state : AAD_STATE_VALID;

    for (i = 1; i < status->count; i++) {
        if (status->identities[i].state == AAD_STATE_EMPTY
            ? worst != AAD_STATE_FAILED
            : (worst != AAD_STATE_EMPTY
               || status->identities[i].state == AAD_STATE_FAILED)
              && status->identities[i].state > worst)
        {
            worst = status->identities[i].state;
        }
    }

    ngx_http_aoai_aad_write_text(w,
        "<!DOCTYPE html>\n"
        "<html lang=\"en\">\n"
        "<head>\n"
        "<meta charset=\"utf-8\">\n"
        "<meta name=\"viewport\" content=\"width=device-width, "
        "initial-scale=1\">\n"
        "<meta name=\"color-scheme\" content=\"light dark\">\n"
        "<meta name=\"robots\" content=\"noindex\">\n");

    ngx_http_aoai_aad_print(w, "<title>%ui of %ui ready - Azure OpenAI "
                            "tokens</title>\n", status->ready, status->count);

    ngx_http_aoai_aad_print(w,
        "<link rel=\"icon\" href=\"data:image/svg+xml,"
        "%%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%%3E"
        "%%3Cpath fill='%%23%s' d='%s'/%%3E%%3C/svg%%3E\">\n",
        ngx_http_aoai_aad_state_colours[worst],
        ngx_http_aoai_aad_state_shapes[worst]);

    ngx_http_aoai_aad_write_text(w, "<style>");
    ngx_http_aoai_aad_write_text(w, ngx_http_aoai_aad_page_style);
    ngx_http_aoai_aad_write_text(w, "</style>\n</head>\n<body>\n");

    ngx_http_aoai_aad_html_summary(w, status);
}


static void
ngx_http_aoai_aad_html_summary(ngx_http_aoai_aad_writer_t *w,
    ngx_http_aoai_aad_status_t *status)
{
    ngx_http_aoai_aad_write_text(w,
        "<header class=\"top\">\n"
        "<h1>Azure OpenAI tokens</h1>\n"
        "<p class=\"summary\" role=\"status\">");

    if (status->count == 0) {
        ngx_http_aoai_aad_write_text(w, "No location of this gateway has "
                                     "<code>aoai_aad on</code>.");

    } else if (status->ready == status->count) {
        ngx_http_aoai_aad_print(w, status->count == 1
                                ? "The identity is ready."
                                : "All %ui identities are ready.",
                                status->count);

    } else {
        ngx_http_aoai_aad_print(w, "<strong>%ui of %ui %s not "
                                "ready.</strong>",
                                status->count - status->ready, status->count,
                                status->count == 1 ? "identity is"
                                : status->count - status->ready == 1
                                ? "identities is" : "identities are");
    }

    ngx_http_aoai_aad_write_text(w, "</p>\n<p class=\"fresh\">As of ");
    ngx_http_aoai_aad_html_time(w, status->now);
    ngx_http_aoai_aad_write_text(w, ".</p>\n"
        "<noscript><p class=\"note\">This is a snapshot: load the page again "
        "for a new one.</p></noscript>\n"
        "</header>\n");
}


static void
ngx_http_aoai_aad_html_card(ngx_http_aoai_aad_writer_t *w,
    ngx_http_aoai_aad_status_identity_t *identity, ngx_uint_t number)
{
    ngx_http_aoai_aad_print(w,
        "<article class=\"card %s\" aria-labelledby=\"identity-%ui\">\n"
        "<header>\n<h2 id=\"identity-%ui\">",
        ngx_http_aoai_aad_state_name(identity->state), number, number);

    ngx_http_aoai_aad_html_text(w, identity->name);

    ngx_http_aoai_aad_print(w,
        "</h2>\n"
        "<p class=\"state\"><svg viewBox=\"0 0 16 16\" aria-hidden=\"true\">"
        "<path d=\"%s\"/></svg>%s</p>\n</header>\n",
        ngx_http_aoai_aad_state_shapes[identity->state],
        ngx_http_aoai_aad_state_words[identity->state]);

    ngx_http_aoai_aad_html_lead(w, identity);

    if (identity->expires_in > 0) {
        ngx_http_aoai_aad_html_bar(w, identity);
    }

    ngx_http_aoai_aad_html_error(w, identity);
    ngx_http_aoai_aad_html_ids(w, identity);
    ngx_http_aoai_aad_html_chain(w, identity);
    ngx_http_aoai_aad_html_counters(w, &identity->counters);

    ngx_http_aoai_aad_write_text(w, "</article>\n");
}


/* the ten seconds: who, until when, and why not */
static void
ngx_http_aoai_aad_html_lead(ngx_http_aoai_aad_writer_t *w,
    ngx_http_aoai_aad_status_identity_t *identity)
{
    ngx_http_aoai_aad_write_text(w, "<p class=\"lead\">");

    switch (identity->state) {

    case AAD_STATE_EMPTY:
        ngx_http_aoai_aad_write_text(w, identity->fetching
            ? "The first token is being fetched; requests wait for it."
            : "There is no token; the next request or the next timer fetches "
              "one.");
        break;

    case AAD_STATE_FAILED:
        ngx_http_aoai_aad_write_text(w,
            "There is no token: requests are answered with 503, since ");
        ngx_http_aoai_aad_html_time(w, identity->failing_since);

        if (identity->refresh_in >= 0) {
            ngx_http_aoai_aad_write_text(w, ". Next try in ");
            ngx_http_aoai_aad_html_left(w, identity->refresh_in);

        } else {
            ngx_http_aoai_aad_write_text(w, ". It is being tried again");
        }

        ngx_http_aoai_aad_write_text(w, ".");
        break;

    default: /* AAD_STATE_VALID, AAD_STATE_REFRESHING, AAD_STATE_STALE */

        ngx_http_aoai_aad_write_text(w, "The token of <strong>");
        ngx_http_aoai_aad_html_text(w, identity->token.credential);
        ngx_http_aoai_aad_write_text(w, "</strong> ends in ");
        ngx_http_aoai_aad_html_left(w, identity->expires_in);

        if (identity->state == AAD_STATE_STALE) {
            ngx_http_aoai_aad_write_text(w, ". <strong>Its renewal has been "
                                         "failing since ");
            ngx_http_aoai_aad_html_time(w, identity->failing_since);
            ngx_http_aoai_aad_write_text(w, "</strong>");

        } else if (identity->state == AAD_STATE_REFRESHING) {
            ngx_http_aoai_aad_write_text(w, "; the next one is being "
                                         "fetched");
        }

        ngx_http_aoai_aad_write_text(w, ".");
    }

    ngx_http_aoai_aad_write_text(w, "</p>\n");
}


static void
ngx_http_aoai_aad_html_bar(ngx_http_aoai_aad_writer_t *w,
    ngx_http_aoai_aad_status_identity_t *identity)
{
    ngx_uint_t  mark;

    ngx_http_aoai_aad_print(w,
        "<svg class=\"bar\" viewBox=\"0 0 1000 10\" "
        "preserveAspectRatio=\"none\" role=\"img\" aria-label=\"%ui %% of "
        "the token's life have passed, the %s is due at %ui %%\">",
        identity->used / 10,
        identity->state == AAD_STATE_STALE ? "next try" : "refresh",
        identity->refresh_point / 10);

    ngx_http_aoai_aad_html_bar_part(w, "gone", 0, identity->used);
    ngx_http_aoai_aad_html_bar_part(w, "left", identity->used,
                                    identity->last_use);
    ngx_http_aoai_aad_html_bar_part(w, "edge",
                                    ngx_max(identity->used,
                                            identity->last_use), 1000);

    mark = ngx_min(identity->refresh_point, 996);

    ngx_http_aoai_aad_html_bar_part(w, "mark", mark, mark + 4);

    ngx_http_aoai_aad_write_text(w, "</svg>\n"
                                 "<p class=\"scale\"><span>fetched ");
    ngx_http_aoai_aad_html_time(w, identity->fetched);
    ngx_http_aoai_aad_write_text(w, "</span> <span>");

    if (identity->refresh_in >= 0) {
        ngx_http_aoai_aad_print(w, "%s in ",
                                identity->state == AAD_STATE_STALE
                                ? "next try" : "refresh");
        ngx_http_aoai_aad_html_left(w, identity->refresh_in);

    } else {
        ngx_http_aoai_aad_write_text(w, "refresh going on");
    }

    ngx_http_aoai_aad_write_text(w, "</span> <span>ends ");
    ngx_http_aoai_aad_html_time(w, identity->token.expires_on);
    ngx_http_aoai_aad_write_text(w, "</span></p>\n");
}


static void
ngx_http_aoai_aad_html_bar_part(ngx_http_aoai_aad_writer_t *w,
    const char *name, ngx_uint_t from, ngx_uint_t to)
{
    ngx_http_aoai_aad_print(w, "<rect class=\"%s\" x=\"%ui\" width=\"%ui\" "
                            "height=\"10\"/>",
                            name, from, to > from ? to - from : 0);
}


/* an error that is over is there to be read, and not to alarm */
static void
ngx_http_aoai_aad_html_error(ngx_http_aoai_aad_writer_t *w,
    ngx_http_aoai_aad_status_identity_t *identity)
{
    ngx_http_aoai_aad_verdict_t  *error;

    if (!identity->has_error) {
        return;
    }

    error = &identity->error;

    ngx_http_aoai_aad_print(w, "<section class=\"error%s\">\n<h3>%s, ",
                            identity->failing_since ? "" : " past",
                            identity->failing_since
                            ? "Last error" : "Last error, which is over");
    ngx_http_aoai_aad_html_time(w, error->at);
    ngx_http_aoai_aad_write_text(w, "</h3>\n");

    if (error->hint[0]) {
        ngx_http_aoai_aad_write_text(w, "<p class=\"hint\">What to do: ");
        ngx_http_aoai_aad_html_text(w, error->hint);
        ngx_http_aoai_aad_write_text(w, "</p>\n");
    }

    ngx_http_aoai_aad_write_text(w, "<p>");
    ngx_http_aoai_aad_html_text(w, error->credential);
    ngx_http_aoai_aad_write_text(w, ": ");
    ngx_http_aoai_aad_html_text(w, error->reason);
    ngx_http_aoai_aad_write_text(w, "</p>\n<dl class=\"ids\">\n");

    ngx_http_aoai_aad_html_item(w, "Code", error->code);
    ngx_http_aoai_aad_html_item(w, "Correlation id", error->correlation_id);
    ngx_http_aoai_aad_html_item(w, "Trace id", error->trace_id);

    ngx_http_aoai_aad_write_text(w, "</dl>\n</section>\n");
}


static void
ngx_http_aoai_aad_html_ids(ngx_http_aoai_aad_writer_t *w,
    ngx_http_aoai_aad_status_identity_t *identity)
{
    ngx_http_aoai_aad_write_text(w, "<h3>Identity</h3>\n"
                                 "<dl class=\"ids\">\n");

    if (identity->has_token) {
        ngx_http_aoai_aad_html_item(w, "Client id",
                                    identity->token.client_id);
        ngx_http_aoai_aad_html_item(w, "Object id (the role is granted to "
                                    "it)", identity->token.object_id);
        ngx_http_aoai_aad_html_item(w, "Tenant id",
                                    identity->token.tenant_id);
    }

    ngx_http_aoai_aad_html_item(w, "Scope", identity->scope);
    ngx_http_aoai_aad_html_item(w, "Authority", identity->authority);

    ngx_http_aoai_aad_write_text(w, "</dl>\n");
}


static void
ngx_http_aoai_aad_html_chain(ngx_http_aoai_aad_writer_t *w,
    ngx_http_aoai_aad_status_identity_t *identity)
{
    size_t                        i;
    const char                   *name;
    ngx_http_aoai_aad_verdict_t  *verdict;

    ngx_http_aoai_aad_write_text(w, "<h3>Chain</h3>\n<ol class=\"chain\">\n");

    for (i = 0; i < identity->chain_length; i++) {

        verdict = i < identity->verdict_count ? &identity->verdicts[i] : NULL;

        name = verdict ? ngx_http_aoai_aad_result_name(verdict) : "skipped";

        ngx_http_aoai_aad_print(w, "<li class=\"%s\"><span class=\"verdict\">"
                                "%s</span> <span class=\"step\">", name,
                                ngx_strcmp(name, "ok") == 0 ? "gave a token"
                                : ngx_strcmp(name, "skipped") != 0 ? name
                                : verdict ? "not asked" : "not asked yet");

        ngx_http_aoai_aad_html_text(w, identity->steps[i]);
        ngx_http_aoai_aad_write_text(w, "</span>");

        if (verdict && verdict->reason[0]) {
            ngx_http_aoai_aad_write_text(w, "\n<p>");
            ngx_http_aoai_aad_html_text(w, verdict->reason);
            ngx_http_aoai_aad_write_text(w, "</p>");
        }

        ngx_http_aoai_aad_write_text(w, "</li>\n");
    }

    ngx_http_aoai_aad_write_text(w, "</ol>\n");
}


static void
ngx_http_aoai_aad_html_counters(ngx_http_aoai_aad_writer_t *w,
    ngx_http_aoai_aad_counters_t *counters)
{
    ngx_atomic_t  *requests;

    requests = counters->requests;

    ngx_http_aoai_aad_write_text(w, "<h3>Requests and fetches</h3>\n"
                                 "<dl class=\"numbers\">\n");

    ngx_http_aoai_aad_html_number(w, "token was there",
                                  requests[NGX_HTTP_AOAI_AAD_HIT]);
    ngx_http_aoai_aad_html_number(w, "with a stale one",
                                  requests[NGX_HTTP_AOAI_AAD_STALE]);
    ngx_http_aoai_aad_html_number(w, "waited for it",
                                  requests[NGX_HTTP_AOAI_AAD_MISS]);
    ngx_http_aoai_aad_html_number(w, "refused",
                                  requests[NGX_HTTP_AOAI_AAD_ERROR]);
    ngx_http_aoai_aad_html_number(w, "hosts denied",
                                  counters->denied_hosts);
    ngx_http_aoai_aad_html_number(w, "tokens fetched", counters->refreshes);
    ngx_http_aoai_aad_html_number(w, "fetches failed", counters->failures);

    ngx_http_aoai_aad_write_text(w, "</dl>\n");
}


/* there where somebody is checked, or somebody's token exchanged */
static void
ngx_http_aoai_aad_html_totals(ngx_http_aoai_aad_writer_t *w,
    ngx_http_aoai_aad_totals_t *totals)
{
    ngx_http_aoai_aad_behalf_counters_t  *behalf;

    behalf = &totals->behalf;

    if (behalf->capacity == 0 && totals->key_fetches == 0
        && totals->key_failures == 0)
    {
        return;
    }

    ngx_http_aoai_aad_write_text(w,
        "<section class=\"card totals\" aria-labelledby=\"callers\">\n"
        "<h2 id=\"callers\">Callers</h2>\n<dl class=\"numbers\">\n");

    ngx_http_aoai_aad_html_number(w, "invalid token",
                           totals->refused[NGX_HTTP_AOAI_AAD_INVALID_TOKEN]);
    ngx_http_aoai_aad_html_number(w, "insufficient role",
                       totals->refused[NGX_HTTP_AOAI_AAD_INSUFFICIENT_ROLE]);
    ngx_http_aoai_aad_html_number(w, "key sets fetched", totals->key_fetches);
    ngx_http_aoai_aad_html_number(w, "and not", totals->key_failures);

    if (behalf->capacity) {
        ngx_http_aoai_aad_html_number(w, "tokens of callers",
                                      behalf->entries);
        ngx_http_aoai_aad_html_number(w, "room for", behalf->capacity);
        ngx_http_aoai_aad_html_number(w, "found", behalf->hits);
        ngx_http_aoai_aad_html_number(w, "exchanged", behalf->exchanges);
        ngx_http_aoai_aad_html_number(w, "not exchanged", behalf->failures);
        ngx_http_aoai_aad_html_number(w, "evicted", behalf->evictions);
    }

    ngx_http_aoai_aad_write_text(w, "</dl>\n</section>\n");
}


static void
ngx_http_aoai_aad_html_foot(ngx_http_aoai_aad_writer_t *w,
    ngx_http_aoai_aad_status_t *status)
{
    ngx_http_aoai_aad_write_text(w, "<footer>ngx_http_aoai_aad_module "
                                 AAD_VERSION ", nginx " NGINX_VERSION);

    if (status->ready_uri) {
        ngx_http_aoai_aad_write_text(w, ", <a href=\"");
        ngx_http_aoai_aad_html_text(w, status->ready_uri);
        ngx_http_aoai_aad_write_text(w, "\">readiness</a>");
    }

    ngx_http_aoai_aad_write_text(w, "</footer>\n<script>");
    ngx_http_aoai_aad_write_text(w, ngx_http_aoai_aad_page_script);
    ngx_http_aoai_aad_write_text(w, "</script>\n</body>\n</html>\n");
}


static void
ngx_http_aoai_aad_html_item(ngx_http_aoai_aad_writer_t *w, const char *term,
    const char *text)
{
    if (text == NULL || text[0] == '\0') {
        return;
    }

    ngx_http_aoai_aad_print(w, "<div><dt>%s</dt><dd><code>", term);
    ngx_http_aoai_aad_html_text(w, text);
    ngx_http_aoai_aad_write_text(w, "</code></dd></div>\n");
}


static void
ngx_http_aoai_aad_html_number(ngx_http_aoai_aad_writer_t *w,
    const char *term, ngx_atomic_uint_t number)
{
    ngx_http_aoai_aad_print(w, "<div><dt>%s</dt><dd>%uA</dd></div>\n", term,
                            number);
}


/* the date where it is not of today is of more interest than the second */
static void
ngx_http_aoai_aad_html_time(ngx_http_aoai_aad_writer_t *w, time_t time)
{
    ngx_tm_t  tm, today;

    ngx_gmtime(time, &tm);
    ngx_gmtime(ngx_time(), &today);

    ngx_http_aoai_aad_write_text(w, "<time datetime=\"");
    ngx_http_aoai_aad_write_time(w, time);
    ngx_http_aoai_aad_write_text(w, "\">");

    if (tm.ngx_tm_mday != today.ngx_tm_mday
        || tm.ngx_tm_mon != today.ngx_tm_mon
        || tm.ngx_tm_year != today.ngx_tm_year)
    {
        ngx_http_aoai_aad_print(w, "%4d-%02d-%02d ", tm.ngx_tm_year,
                                tm.ngx_tm_mon, tm.ngx_tm_mday);
    }

    ngx_http_aoai_aad_print(w, "%02d:%02d:%02d UTC</time>", tm.ngx_tm_hour,
                            tm.ngx_tm_min, tm.ngx_tm_sec);
}


/* counted on by the script, which writes it in the same way */
static void
ngx_http_aoai_aad_html_left(ngx_http_aoai_aad_writer_t *w, int64_t seconds)
{
    ngx_http_aoai_aad_print(w, "<span class=\"count\" data-left=\"%L\">",
                            seconds);

    if (seconds >= 86400) {
        ngx_http_aoai_aad_print(w, "%L d %L h", seconds / 86400,
                                seconds % 86400 / 3600);

    } else if (seconds >= 3600) {
        ngx_http_aoai_aad_print(w, "%L h %02L min", seconds / 3600,
                                seconds % 3600 / 60);

    } else if (seconds >= 60) {
        ngx_http_aoai_aad_print(w, "%L min %02L s", seconds / 60,
                                seconds % 60);

    } else {
        ngx_http_aoai_aad_print(w, "%L s", seconds);
    }

    ngx_http_aoai_aad_write_text(w, "</span>");
}


/*
 * For texts and for values in double quotes.  Control characters are none of
 * HTML's; those that turn the direction of writing could make a text look
 * like another.
 */
static void
ngx_http_aoai_aad_html_text(ngx_http_aoai_aad_writer_t *w, const char *text)
{
    uint32_t  c;

    for (c = ngx_http_aoai_aad_next_character(&text);
         c != 0;
         c = ngx_http_aoai_aad_next_character(&text))
    {
        switch (c) {

        case '&':
            ngx_http_aoai_aad_write_text(w, "&amp;");
            break;

        case '<':
            ngx_http_aoai_aad_write_text(w, "&lt;");
            break;

        case '>':
            ngx_http_aoai_aad_write_text(w, "&gt;");
            break;

        case '"':
            ngx_http_aoai_aad_write_text(w, "&quot;");
            break;

        case '\'':
            ngx_http_aoai_aad_write_text(w, "&#39;");
            break;

        default:

            if (c < 0x20 || (c >= 0x7f && c < 0xa0)
                || (c >= 0x200e && c <= 0x200f)
                || (c >= 0x202a && c <= 0x202e)
                || (c >= 0x2066 && c <= 0x2069))
            {
                c = 0xfffd;
            }

            ngx_http_aoai_aad_write_character(w, c);
        }
    }
}
