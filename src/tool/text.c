
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * What is said to people: fit for a public issue, so nothing secret is here
 * to be said, and words of others can do nothing to a terminal.
 */


#include "tool.h"

#include <string.h>
#include <time.h>


static void tool_text_line(FILE *out, const char *name, const char *words);
static void tool_text_attempt(FILE *out, const aad_attempt_t *attempt);
static void tool_text_expiry(FILE *out, const tool_identity_t *identity);


static const char *const  tool_text_verdicts[] = {
    "token",                                /* AAD_OK */
    "unavailable",
    "failed"
};


void
tool_text_settings(FILE *out, const tool_identity_t *identity)
{
    const char            *proxy, *host;
    const aad_settings_t  *settings;

    settings = &identity->settings;

    tool_text_line(out, "Chain", identity->name);
    tool_text_line(out, "Scope", settings->scope);
    tool_text_line(out, "Authority", settings->authority_host);
    tool_text_line(out, "Its CAs", settings->ca_certificates
                                   ? "of the file that is configured"
                                   : "the system's");

    proxy = settings->proxy;

    if (proxy == NULL) {
        return;
    }

    /* what stands before an '@' may be a password */

    host = strrchr(proxy, '@');

    if (host == NULL) {
        tool_text_line(out, "Proxy", proxy);

    } else {
        fprintf(out, "%-12s%.*s...", "Proxy:",
                (int) (strcspn(proxy, "/") + 2), proxy);
        tool_text_words(out, host);
        fprintf(out, "\n");
    }

    if (settings->no_proxy != NULL) {
        tool_text_line(out, "But not for", settings->no_proxy);
    }
}


void
tool_text_steps(FILE *out, const tool_identity_t *identity)
{
    size_t                 i;
    const aad_attempt_t   *attempt;
    const aad_settings_t  *settings;

    settings = &identity->settings;

    for (i = 0; i < settings->chain_length; i++) {

        fprintf(out, "%zu. %s: ", i + 1,
                aad_credential_type(settings->chain[i]));

        if (i >= identity->report.count) {
            fprintf(out, "not asked\n");
            continue;
        }

        attempt = &identity->report.attempts[i];

        fprintf(out, "%s\n", tool_text_verdicts[attempt->result]);

        if (attempt->result != AAD_OK) {
            tool_text_attempt(out, attempt);
        }
    }
}


void
tool_text_token(FILE *out, const tool_identity_t *identity)
{
    const aad_token_t    *token;
    const aad_attempt_t  *blame;

    if (identity->result != AAD_OK) {
        blame = tool_identity_blame(identity);

        if (blame == NULL) {
            fprintf(out, "No token: no step of the chain is available "
                    "here\n");

        } else {
            fprintf(out, "No token: %s failed\n", blame->credential);
        }

        return;
    }

    token = &identity->token;

    tool_text_line(out, "Token of", token->credential);
    tool_text_line(out, "Client id", token->client_id);
    tool_text_line(out, "Object id", token->object_id);
    tool_text_line(out, "Tenant id", token->tenant_id);
    tool_text_line(out, "Audience", token->audience);
    tool_text_expiry(out, identity);
}


void
tool_text_words(FILE *out, const char *words)
{
    char    clean[AAD_REASON_BYTES];
    size_t  length;

    /* in pieces, for a configuration's words may be long */

    for ( ;; ) {
        aad_text_clean(clean, sizeof(clean), words);
        fprintf(out, "%s", clean);

        length = strlen(words);

        if (length < sizeof(clean)) {
            break;
        }

        words += sizeof(clean) - 1;
    }
}


static void
tool_text_line(FILE *out, const char *name, const char *words)
{
    fprintf(out, "%s:%*s", name, (int) (11 - strlen(name)), "");
    tool_text_words(out, words[0] != '\0' ? words : "(the token has none)");
    fprintf(out, "\n");
}


static void
tool_text_attempt(FILE *out, const aad_attempt_t *attempt)
{
    fprintf(out, "   ");
    tool_text_words(out, attempt->reason);
    fprintf(out, "\n");

    if (attempt->code[0] != '\0') {
        fprintf(out, "   code: ");
        tool_text_words(out, attempt->code);
        fprintf(out, "\n");
    }

    if (attempt->correlation_id[0] != '\0') {
        fprintf(out, "   correlation id: ");
        tool_text_words(out, attempt->correlation_id);
        fprintf(out, "\n");
    }

    if (attempt->hint != NULL) {
        fprintf(out, "   which means: %s\n", attempt->hint);
    }
}


static void
tool_text_expiry(FILE *out, const tool_identity_t *identity)
{
    char       text[64];
    time_t     expires_on;
    struct tm  tm;

    expires_on = (time_t) identity->token.expires_on;

    if (gmtime_r(&expires_on, &tm) == NULL
        || strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S UTC", &tm) == 0)
    {
        text[0] = '\0';
    }

    fprintf(out, "%-12s%s, in %lld min\n", "Expires:", text,
            (long long) (identity->token.expires_on - identity->now) / 60);
}
