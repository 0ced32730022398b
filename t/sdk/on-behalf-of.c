
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * Exchanges a caller's token by our library: aoai-aad has no callers.
 *
 *     on-behalf-of "TYPE name=value ..." SCOPE AUTHORITY CA-FILE TOKEN
 *
 * No value may have a blank in it.  The exit status is 0 where there is a
 * token; where there is none, standard error says why.
 */


#include "caller.h"

#include <stdio.h>
#include <string.h>
#include <time.h>


#define TIMEOUT_MS      10000


static int64_t now(void *data);
static int64_t monotonic_ms(void *data);
static int cancelled(void *data);
static aad_credential_t *credential(char *words, aad_error_t *error);
static int exchange(const aad_settings_t *settings, const char *caller,
    aad_error_t *error);


int
main(int argc, char **argv)
{
    int             rc;
    char            host[AAD_HOST_BYTES];
    aad_error_t     error;
    aad_secret_t    ca;
    aad_settings_t  settings;

    if (argc != 6 || aad_global_init() != 0) {
        fprintf(stderr, "on-behalf-of: wrong arguments\n");
        return 2;
    }

    rc = -1;
    aad_secret_init(&ca, AAD_PEM_BYTES_MAX);
    memset(&settings, 0, sizeof(aad_settings_t));

    settings.chain[0] = credential(argv[1], &error);
    settings.chain_length = 1;
    settings.scope = argv[2];
    settings.authority_host = host;

    if (settings.chain[0] != NULL
        && aad_on_behalf_of_check(&settings, &error) == 0
        && aad_authority_host(argv[3], host, sizeof(host), &error) == 0
        && aad_ca_certificates(argv[4], &ca, &error) == 0)
    {
        settings.ca_certificates = ca.data;
        rc = exchange(&settings, argv[5], &error);
    }

    if (rc != 0) {
        fprintf(stderr, "on-behalf-of: %s\n", error.text);
    }

    aad_secret_wipe(&ca);
    aad_credential_destroy(settings.chain[0]);

    return rc == 0 ? 0 : 1;
}


/* Returns NULL and says why. */
static aad_credential_t *
credential(char *words, aad_error_t *error)
{
    char               *word, *rest;
    aad_credential_t   *made;
    aad_environment_t   environment;

    environment.variable = aad_process_variable;
    environment.data = NULL;
    environment.directory = NULL;

    word = strtok_r(words, " ", &rest);
    made = aad_credential_create(word != NULL ? word : "", &environment,
                                 error);

    while (made != NULL && (word = strtok_r(NULL, " ", &rest)) != NULL) {

        if (aad_credential_set_parameter(made, word, error) != 0) {
            aad_credential_destroy(made);
            return NULL;
        }
    }

    if (made != NULL && aad_credential_complete(made, error) != 0) {
        aad_credential_destroy(made);
        return NULL;
    }

    return made;
}


static int
exchange(const aad_settings_t *settings, const char *caller,
    aad_error_t *error)
{
    aad_hooks_t    hooks;
    aad_token_t    token;
    aad_report_t   report;
    aad_result_t   result;
    aad_secret_t   assertion;
    aad_refusal_t  refusal;

    memset(&hooks, 0, sizeof(aad_hooks_t));
    hooks.now = now;
    hooks.monotonic_ms = monotonic_ms;
    hooks.cancelled = cancelled;

    aad_secret_init(&assertion, AAD_TOKEN_BYTES_MAX);

    if (aad_secret_append_text(&assertion, caller) != 0) {
        return aad_error(error, "the caller's token is too long");
    }

    result = aad_get_token_on_behalf_of(settings, &hooks, TIMEOUT_MS,
                                        &assertion, &token, &report,
                                        &refusal);
    aad_secret_wipe(&assertion);
    aad_token_wipe(&token);

    if (result != AAD_OK) {
        (void) aad_report_text(&report, error->text, sizeof(error->text));
        return -1;
    }

    return 0;
}


static int64_t
now(void *data)
{
    (void) data;

    return time(NULL);
}


static int64_t
monotonic_ms(void *data)
{
    struct timespec  ts;

    (void) data;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return (int64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}


static int
cancelled(void *data)
{
    (void) data;

    return 0;
}
