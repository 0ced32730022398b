
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * What the files of this folder share; for this folder only.
 */


#ifndef _AAD_INTERNAL_H_INCLUDED_
#define _AAD_INTERNAL_H_INCLUDED_


#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "aad.h"


#define AAD_BODY_BYTES_MAX          65536
#define AAD_ASSERTION_BYTES_MAX     65536
#define AAD_FORM_BYTES_MAX          131072  /* with an assertion in it */
#define AAD_URL_BYTES_MAX           4096
#define AAD_VALUE_BYTES_MAX         8192
#define AAD_LARGE_VALUE_BYTES_MAX   65536
#define AAD_HEADERS_MAX             4
#define AAD_VALUES_MAX              12

#define AAD_CONNECT_TIMEOUT_MS      5000
#define AAD_PROBE_TIMEOUT_MS        1000    /* IMDS, while a step follows */


/* One call of aad_get_token() on its way through the chain. */
typedef struct {
    const aad_settings_t   *settings;
    const aad_hooks_t      *hooks;
    const aad_credential_t *credential;     /* the step being asked */
    aad_attempt_t          *attempt;        /* what it says */
    int64_t                 deadline_ms;    /* monotonic */
    int                     more_steps;     /* true: another step follows */
} aad_call_t;


/*
 * Secrets, beside those of aad.h.
 *
 * aad_secret_append_escaped() percent-encodes all but RFC 3986's unreserved
 * characters; aad_secret_append_pair() adds "name=value", escaped so, with
 * an '&' before it unless it is the first; both return 0 or -1 like
 * aad_secret_append().  aad_secret_trim() drops white space at both ends.
 */
int aad_secret_append_escaped(aad_secret_t *secret, const char *text);
int aad_secret_append_pair(aad_secret_t *secret, const char *name,
    const char *value);
void aad_secret_trim(aad_secret_t *secret);


/*
 * Appends a file's content.  Returns 0, or -1 with the reason in 'error' and
 * nothing in 'content': unreadable, larger than the secret's maximum, or
 * with a NUL in it.
 */
int aad_file_read(const char *path, aad_secret_t *content,
    aad_error_t *error);


/* Text.  The tests of single characters know ASCII alone, in any locale. */
int aad_is_unreserved(char c);
int aad_is_space(char c);

/*
 * Copies 'text' with control characters and anything beyond ASCII replaced
 * by '?', line ends by blanks; cut to 'size' with the NUL.  For words of
 * others that go into a log.
 */
void aad_text_clean(char *clean, size_t size, const char *text);

/* Formats the error's sentence and returns -1, so that it can be returned. */
int aad_error(aad_error_t *error, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Formats the step's reason and returns 'result'. */
aad_result_t aad_reason(aad_call_t *call, aad_result_t result,
    const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Puts the part of a step that gave the reason before it; returns 'result'. */
aad_result_t aad_reason_of(aad_call_t *call, aad_result_t result,
    const char *part);

/*
 * Whether a value has the form its name promises: a GUID, a tenant (GUID or
 * domain), ...; each returns true or false.
 */
int aad_is_guid(const char *value);
int aad_is_tenant(const char *value);
int aad_is_resource_id(const char *value);
int aad_is_subscription(const char *value);
int aad_is_url(const char *value);
int aad_is_visible(const char *value);
int aad_is_absolute_path(const char *value);
int aad_is_host_name(const char *value);

/* Whether a host is a loopback address; names, localhost too, are not. */
int aad_is_loopback(const char *host, size_t length);

/* A parsed URL without path, query and userinfo, pointing into the text. */
typedef struct {
    const char             *host;           /* IPv6 with its brackets */
    size_t                  host_length;
    int                     https;          /* else http */
    int                     userinfo;       /* true: there was one */
    const char             *rest;           /* what follows host and port */
} aad_url_t;

/* Returns 0, or -1 when it is no http or https URL with a host. */
int aad_url_parse(const char *text, aad_url_t *url);


/* The resource that v1 endpoints want: the scope without "/.default". */
void aad_resource(const char *scope, char *resource, size_t size);

/*
 * The audience of a managed identity's token that an app of the authority's
 * cloud takes for its assertion: a static string.
 */
const char *aad_cloud_exchange_audience(const char *authority_host);

/* Milliseconds left of the call, 0 when it is over or cancelled. */
int64_t aad_time_left_ms(const aad_call_t *call);


/*
 * Checks that 'pem' has CA certificates in PEM form.  Returns 0, or -1 with
 * the reason, about 'name', in 'error'.
 */
int aad_check_certificates(const char *name, const aad_secret_t *pem,
    aad_error_t *error);


/* One HTTP request. */
typedef struct {
    const char             *url;
    const char             *headers[AAD_HEADERS_MAX];   /* "Name: value" */
    const aad_secret_t     *form;           /* body of a POST, NULL: GET */
    int64_t                 connect_timeout_ms;
    int                     authority;      /* true: proxy and CAs of the
                                               settings; else neither */
    const char             *ca_certificates;    /* PEM, before any other */
    const char             *server_name;    /* whose certificate it must be,
                                               NULL: that of the URL's host */
} aad_http_request_t;

typedef struct {
    long                    status;
    int                     retry_after;    /* seconds, 0: not said */
    aad_secret_t            body;
} aad_http_response_t;

/*
 * Sends one request and waits for the answer, no longer than the call lasts.
 * No redirect is followed, nothing but HTTP is spoken, a body over
 * AAD_BODY_BYTES_MAX is an error.  Returns 0 with any status, or -1 with the
 * reason in 'error'.  The caller wipes response->body in both cases.
 */
int aad_http(aad_call_t *call, const aad_http_request_t *request,
    aad_http_response_t *response, aad_error_t *error);


/* Runs a program. */
typedef struct {
    const char *const      *argv;           /* argv[0]: absolute file name */
    const char *const      *envp;
    int64_t                 timeout_ms;     /* at most; the call's end too */
} aad_process_t;

typedef struct {
    aad_secret_t            out;
    aad_secret_t            err;
    int                     status;         /* exit code, -1: a signal */
} aad_output_t;

/*
 * Runs the program in "/" with nothing but its argv and environment: no
 * descriptor but 0 (empty), 1 and 2, no blocked or ignored signal, a process
 * group of its own, which is killed at the deadline.  The caller's own SIGCHLD
 * handling never learns of it.  Returns 0 when the program ended by itself, or
 * -1 with the reason in 'error'.  The caller wipes 'out' and 'err' in both
 * cases.
 */
int aad_process(aad_call_t *call, const aad_process_t *process,
    aad_output_t *output, aad_error_t *error);


/*
 * Reads the body of a token answer into 'token': access_token, token_type,
 * expires_in or expires_on (numbers or strings, RFC 6749 5.1 and Microsoft's
 * "How to use managed identities on a VM"), refresh_in.  'received_on' is the
 * time at which the request was started.  'now' is the time that lifetimes
 * are judged by.  Returns 0, or -1 with the reason in 'error' and an empty
 * token.
 */
int aad_token_response(const aad_secret_t *body, int64_t received_on,
    int64_t now, aad_token_t *token, aad_error_t *error);

/* The same for "az account get-access-token", whose names differ. */
int aad_token_response_az(const aad_secret_t *body, int64_t received_on,
    int64_t now, aad_token_t *token, aad_error_t *error);

/*
 * Reads an error body (RFC 6749 5.2, with Entra's error_codes and
 * correlation_id; or the forms of the managed identity endpoints) into the
 * step's code, correlation id and, in 'text', its words for people.
 * Anything that is no such JSON, or repeats a secret, is described instead.
 */
void aad_error_response(aad_call_t *call, const aad_http_response_t *response,
    aad_error_t *text);


/* What to do about an error code of Entra ID, or NULL: a static string. */
const char *aad_hint(const char *code);


/*
 * The token request of RFC 6749 4.4 to the v2.0 endpoint, for every type of
 * credential that is an app: its authenticate() proves who it is.
 */
aad_result_t aad_oauth_get_token(const aad_credential_t *credential,
    aad_call_t *call, aad_token_t *token);

/* Somebody who passes token requests on to the authority. */
typedef struct {
    const char             *name;           /* for people */
    const char             *url;            /* in the authority's place */
    const char             *ca_certificates;    /* PEM, NULL: the system's */
    const char             *server_name;    /* NULL: the URL's host */
} aad_oauth_relay_t;

/* The same, sent to 'relay', or to the authority itself where it is NULL. */
aad_result_t aad_oauth_get_token_by(const aad_credential_t *credential,
    aad_call_t *call, const aad_oauth_relay_t *relay, aad_token_t *token);

/*
 * RFC 7523 2.2: adds an assertion to the form, in the place of a secret.
 * Returns AAD_OK, or AAD_FAILED with the step's reason.
 */
aad_result_t aad_oauth_add_assertion(aad_call_t *call, const char *assertion,
    aad_secret_t *form);

/*
 * RFC 6749 2.3.1: adds the client secret to the form, as every SDK sends it.
 * Returns AAD_OK, or AAD_FAILED with the step's reason.
 */
aad_result_t aad_client_secret_authenticate(aad_call_t *call,
    const aad_secret_t *client_secret, aad_secret_t *form);


/* What a value must look like. */
typedef struct {
    int                   (*valid)(const char *value);
    const char             *expected;       /* "a GUID", for the error */
} aad_form_t;

extern const aad_form_t  aad_form_guid;
extern const aad_form_t  aad_form_tenant;
extern const aad_form_t  aad_form_resource_id;
extern const aad_form_t  aad_form_subscription;
extern const aad_form_t  aad_form_url;
extern const aad_form_t  aad_form_path;
extern const aad_form_t  aad_form_visible;
extern const aad_form_t  aad_form_host_name;

#define AAD_VALUE_SECRET    0x01            /* never shown */
#define AAD_VALUE_FILE      0x02            /* the value is a file's content */
#define AAD_VALUE_REQUIRED  0x04
#define AAD_VALUE_DECIDES   0x08            /* a wrong one stops the chain */
#define AAD_VALUE_LARGE     0x20            /* it may be so large */

/* One way to a value of a credential: a parameter, a variable, or both. */
typedef struct {
    const char             *parameter;      /* NULL: not settable */
    const char             *variable;       /* NULL: no default */
    size_t                  slot;           /* where the value is kept */
    const aad_form_t       *form;           /* NULL: anything */
    unsigned                flags;
} aad_value_t;

/* Every type that is an app has these two as the first of its slots. */
enum {
    AAD_APP_TENANT_ID,
    AAD_APP_CLIENT_ID,
    AAD_APP_VALUES                          /* the type's own begin here */
};

/* A type of credential: one file each. */
typedef struct {
    const char             *name;
    const aad_value_t      *values;         /* ends with an empty one */

    /* checks across values, may be NULL; 0 or -1 */
    int                   (*complete)(aad_credential_t *credential,
        aad_error_t *error);

    aad_result_t          (*get_token)(const aad_credential_t *credential,
        aad_call_t *call, aad_token_t *token);

    /*
     * For an app, else NULL: adds the proof of who asks at 'token_endpoint'
     * to the form.  Returns AAD_OK, or another result with the reason.
     */
    aad_result_t          (*authenticate)(const aad_credential_t *credential,
        aad_call_t *call, const char *token_endpoint, aad_secret_t *form);

    /* frees what complete() has put into 'state', may be NULL */
    void                  (*destroy)(aad_credential_t *credential);

    /* the type of credential that this one stands on, NULL: none */
    const char             *inner;
} aad_credential_type_t;

struct aad_credential_s {
    const aad_credential_type_t  *type;
    void                         *state;    /* the type's own */
    aad_credential_t             *inner;    /* of the type->inner */
    char                         *directory;
    aad_secret_t                  values[AAD_VALUES_MAX];
    unsigned                      set;      /* bit a slot: by parameter */
    unsigned                      wrong;    /* likewise: a variable's value
                                               has not the form it must */
    unsigned                      too_long; /* likewise */
    char                          complaint[AAD_REASON_BYTES];
    aad_result_t                  complaint_result;
};

extern const aad_credential_type_t  aad_azure_cli;
extern const aad_credential_type_t  aad_client_secret;
extern const aad_credential_type_t  aad_environment;
extern const aad_credential_type_t  aad_federated_managed_identity;
extern const aad_credential_type_t  aad_managed_identity;
extern const aad_credential_type_t  aad_workload_identity;

/*
 * A token of a credential of type "managed_identity", which is that of the
 * call, for another scope than the settings'.  Returns what the credential's
 * get_token() does.
 */
aad_result_t aad_managed_identity_token(const aad_credential_t *credential,
    aad_call_t *call, const char *scope, aad_token_t *token);

/* The value as text, "" when it is not set. */
const char *aad_value(const aad_credential_t *credential, size_t slot);

/* Whether the slot has a value, or would have one if it were not wrong. */
int aad_value_is_given(const aad_credential_t *credential, size_t slot);

/*
 * Writes the whole name of a file that the configuration names: a relative
 * one is in the credential's directory.  Returns 0, or -1 with the reason in
 * 'error'.
 */
int aad_credential_path(const aad_credential_t *credential, const char *name,
    char *path, size_t size, aad_error_t *error);

/*
 * Whether words of others repeat a secret of the credential, as it is or
 * percent-encoded, or have in them what begins like a token: they must not
 * get into a log then.  To be asked before the words are cut.
 */
int aad_repeats_secret(const aad_credential_t *credential, const char *words);


#endif /* _AAD_INTERNAL_H_INCLUDED_ */
