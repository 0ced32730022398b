
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

#include "caller.h"


#define AAD_BODY_BYTES_MAX          65536
#define AAD_ASSERTION_BYTES_MAX     65536
#define AAD_FORM_BYTES_MAX          131072  /* with an assertion in it */
#define AAD_URL_BYTES_MAX           4096
#define AAD_VALUE_BYTES_MAX         8192
#define AAD_LARGE_VALUE_BYTES_MAX   65536
#define AAD_HEADERS_MAX             4
#define AAD_VALUES_MAX              12
#define AAD_CHALLENGE_BYTES         1024
#define AAD_THUMBPRINT_BYTES        20      /* of a certificate, SHA-1 */
#define AAD_STATUSES_MAX            8

#define AAD_CONNECT_TIMEOUT_MS      5000
#define AAD_PROBE_TIMEOUT_MS        1000    /* IMDS, while a step follows */

#define AAD_CLI_ARGUMENTS_MAX       12
#define AAD_CLI_VARIABLES_MAX       4
#define AAD_CLI_WISHES_MAX          3


/* certificate.h has what is in it */
typedef struct aad_certificate_s  aad_certificate_t;


/* One call of aad_get_token() on its way through the chain. */
typedef struct {
    const aad_settings_t   *settings;
    const aad_hooks_t      *hooks;
    const aad_credential_t *credential;     /* the step being asked */
    aad_attempt_t          *attempt;        /* what it says */
    int64_t                 deadline_ms;    /* monotonic */
    int64_t                 retry_until_ms; /* monotonic, before that */
    int                     more_steps;     /* true: another step follows */
    const aad_secret_t     *assertion;      /* the caller's token, which the
                                               app asks on behalf of; NULL: it
                                               asks for itself */
    aad_refusal_t          *refusal;        /* beside it: what to answer */
} aad_call_t;

/* The start of a call, with neither step nor attempt. */
void aad_call_init(aad_call_t *call, const aad_settings_t *settings,
    const aad_hooks_t *hooks, int64_t timeout_ms);

/* Asks one step of the chain, and adds what it came to to the report. */
aad_result_t aad_chain_step(aad_call_t *call, size_t step,
    aad_token_t *token, aad_report_t *report);


/*
 * Secrets, beside those of aad.h.
 *
 * aad_secret_append_escaped() percent-encodes all but RFC 3986's unreserved
 * characters; aad_secret_append_pair() adds "name=value", escaped so, with
 * an '&' before it unless it is the first; both return 0 or -1 like
 * aad_secret_append().  aad_secret_trim() drops white space at both ends.
 * aad_secret_reserve() makes room for 'length' more bytes and the NUL, and
 * returns 0 or -1 in the same way.
 */
int aad_secret_reserve(aad_secret_t *secret, size_t length);
int aad_secret_append_escaped(aad_secret_t *secret, const char *text);
int aad_secret_append_pair(aad_secret_t *secret, const char *name,
    const char *value);
void aad_secret_trim(aad_secret_t *secret);


/*
 * As the functions of C, and what is freed or outgrown is wiped.  A piece of
 * memory that one of them gave may be given to no free() but aad_wiping_free().
 */
void *aad_wiping_malloc(size_t size);
void aad_wiping_free(void *p);
void *aad_wiping_realloc(void *p, size_t size);
char *aad_wiping_strdup(const char *text);
void *aad_wiping_calloc(size_t count, size_t size);


/* As aad_file_read(), and a NUL may be in it. */
int aad_file_read_bytes(const char *path, aad_secret_t *content,
    aad_error_t *error);


/*
 * RFC 4648 4, and its form for URLs, 5, without padding.  They append what
 * 'data' or 'text' is in the other form and return 0, or -1 like
 * aad_secret_append(), and where 'text' is no such thing.
 */
int aad_base64_append(aad_secret_t *text, const unsigned char *data,
    size_t length);
int aad_base64url_append(aad_secret_t *text, const unsigned char *data,
    size_t length);
int aad_base64url_decode(const char *text, size_t length,
    aad_secret_t *decoded);


/* Text.  The tests of single characters know ASCII alone, in any locale. */
int aad_is_unreserved(char c);
int aad_is_space(char c);
char aad_lower_case(char c);

/* Ends the text where the mark begins, if it has it. */
void aad_text_end(char *text, const char *mark);

/*
 * Writes a random UUID, RFC 4122 4.4.  Returns 0, or -1 and "" where there is
 * no randomness.
 */
int aad_uuid(char *uuid, size_t size);

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
int aad_is_switch(const char *value);
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
    const unsigned char    *thumbprint;     /* of the only certificate that is
                                               taken, whoever signed it; NULL:
                                               any that can be verified */
} aad_http_request_t;

typedef struct {
    long                    status;
    int                     broken;         /* true: there is no answer, as
                                               the connection failed */
    int64_t                 sent_on;        /* Unix seconds */
    int64_t                 retry_after_ms; /* 0: not said */
    char                    challenge[AAD_CHALLENGE_BYTES];
                                            /* WWW-Authenticate, "": none, or
                                               several, or a longer one */
    int                     authority;      /* true: it answered, else an
                                               endpoint of the machine */
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


/* What passes by itself at an endpoint, and how often it is asked again. */
typedef struct {
    int                     statuses[AAD_STATUSES_MAX];     /* 0 ends them */
    int                     server_errors;  /* true: and all from 500 on */
    int                     broken;         /* true: and failed connections */
    unsigned                tries;          /* with the first one */
    int64_t                 first_ms;       /* the wait before the second */
    int64_t                 max_ms;         /* no wait is longer */
} aad_retry_t;

extern const aad_retry_t  aad_retry_authority;
extern const aad_retry_t  aad_retry_imds;
extern const aad_retry_t  aad_retry_machine;

/*
 * Whether to ask again after so many tries, of which the last one gave 'rc'
 * and 'response'.  Returns true after the wait that the answer asks for, or
 * one that grows from try to try; a wait that would last beyond
 * call->retry_until_ms is not begun.
 */
int aad_retry(aad_call_t *call, const aad_retry_t *retry, unsigned tries,
    int rc, const aad_http_response_t *response);

/* The same as aad_http(), as often as 'retry' says; the last one's result. */
int aad_http_retry(aad_call_t *call, const aad_http_request_t *request,
    const aad_retry_t *retry, aad_http_response_t *response,
    aad_error_t *error);

/*
 * Milliseconds to wait after so many tries; 'random' is any number, it
 * spreads those who failed together.  This function can't fail.
 */
int64_t aad_retry_wait_ms(const aad_retry_t *retry, unsigned tries,
    uint32_t random);

/* Milliseconds, of the whole of a call, in which something is tried again. */
int64_t aad_retry_share_ms(int64_t timeout_ms);


/*
 * Reads the 40 hexadecimal digits of a certificate's SHA-1; colons and white
 * space among them are passed over.  Returns 0, or -1 when it is none.
 */
int aad_thumbprint(const char *text,
    unsigned char thumbprint[AAD_THUMBPRINT_BYTES]);

/* The same as a check of a value's form. */
int aad_is_thumbprint(const char *value);

/*
 * Lets the SSL_CTX take a server's certificate if and only if it has this
 * thumbprint, which must live as long; nothing else about it is looked at.
 */
void aad_thumbprint_pin(void *ssl_ctx, const unsigned char *thumbprint);


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
 * Reads a date as Unix seconds: RFC 3339 5.6; "2006-01-02 15:04:05"; and the
 * forms of App Service's version 2017-09-01, "01/02/2006 15:04:05 +00:00" and
 * "1/2/2006 3:04:05 PM +00:00".  Returns 0, or -1 when it is none of these,
 * or no day of the calendar from 1970 on.
 */
int aad_date(const char *text, int64_t *seconds);


/*
 * Reads the body of a token answer into 'token': access_token, token_type,
 * expires_in or expires_on (numbers or strings, RFC 6749 5.1 and Microsoft's
 * "How to use managed identities on a VM"; expires_on may be a date too),
 * refresh_in.  'received_on' is the time at which the request was started.
 * 'now' is the time that lifetimes are judged by.  Returns 0, or -1 with the
 * reason in 'error' and an empty token.
 */
int aad_token_response(const aad_secret_t *body, int64_t received_on,
    int64_t now, aad_token_t *token, aad_error_t *error);

/* The same for "az account get-access-token", whose names differ. */
int aad_token_response_az(const aad_secret_t *body, int64_t received_on,
    int64_t now, aad_token_t *token, aad_error_t *error);

/* The same for "azd auth token", whose expiry is a date of RFC 3339. */
int aad_token_response_azd(const aad_secret_t *body, int64_t received_on,
    int64_t now, aad_token_t *token, aad_error_t *error);

/*
 * Whether the body is a JSON object whose member 'name' is this id, whatever
 * the case of its letters.
 */
int aad_response_has_id(const aad_secret_t *body, const char *name,
    const char *id);

/*
 * Reads an error body (RFC 6749 5.2, with Entra's error_codes and ids; or the
 * forms of the managed identity endpoints) into the step's code, hint and ids
 * and, in 'text', its words for people.  Anything that is no such JSON, or
 * repeats a secret, is described instead.
 */
void aad_error_response(aad_call_t *call, const aad_http_response_t *response,
    aad_error_t *text);


/*
 * What to do about an error: a static string, or NULL where nothing is known.
 * aad_hint() goes by the code alone ("AADSTS7000215", "PermissionDenied").
 * The other two are for an answer of the authority, or of an endpoint for
 * managed identities: by its code, else by its word for the error, else by
 * its HTTP status.
 */
const char *aad_hint(const char *code);
const char *aad_hint_of_authority(const char *code, const char *error,
    long status);
const char *aad_hint_of_machine(const char *code, const char *error,
    long status);


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

/*
 * Reads what the values name into credential->certificate, wipes the password
 * and sets the fingerprint.  Returns 0, or -1 with the reason in 'error'.
 */
int aad_client_certificate_read(aad_credential_t *credential,
    aad_error_t *error);


/* NULL is allowed. */
void aad_certificate_free(aad_certificate_t *certificate);

/*
 * Adds an assertion to the form, signed for this one request: the endpoint
 * may refuse to take it twice.  RFC 7523 2.2, as Microsoft's page "Microsoft
 * identity platform application authentication certificate credentials" has
 * it.  Returns AAD_OK, or AAD_FAILED with the step's reason.
 */
aad_result_t aad_client_assertion_authenticate(aad_call_t *call,
    const aad_certificate_t *certificate, const char *client_id,
    const char *token_endpoint, aad_secret_t *form);


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
extern const aad_form_t  aad_form_switch;
extern const aad_form_t  aad_form_visible;
extern const aad_form_t  aad_form_host_name;
extern const aad_form_t  aad_form_thumbprint;

#define AAD_VALUE_SECRET    0x01            /* never shown */
#define AAD_VALUE_FILE      0x02            /* the value is a file's content */
#define AAD_VALUE_REQUIRED  0x04
#define AAD_VALUE_DECIDES   0x08            /* a wrong one stops the chain */
#define AAD_VALUE_PLACE     0x10            /* where to look, not what is
                                               there: no part of identity */
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

/* ... and every one that may have a certificate has these behind them. */
enum {
    AAD_CERTIFICATE_FILE = AAD_APP_VALUES,
    AAD_CERTIFICATE_KEY,
    AAD_CERTIFICATE_PASSWORD,
    AAD_CERTIFICATE_SEND_CHAIN,             /* "on", or not set */
    AAD_CERTIFICATE_FINGERPRINT,
    AAD_CERTIFICATE_VALUES
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

    /* whether there is all that it takes, or that is wrong; NULL: always */
    int                   (*is_given)(const aad_credential_t *credential);
} aad_credential_type_t;

struct aad_credential_s {
    const aad_credential_type_t  *type;
    void                         *state;    /* the type's own */
    aad_credential_t             *inner;    /* of the type->inner */
    char                         *directory;
    aad_certificate_t            *certificate;  /* NULL: it has none */
    aad_secret_t                  values[AAD_VALUES_MAX];
    unsigned                      set;      /* bit a slot: by parameter */
    unsigned                      wrong;    /* likewise: a variable's value
                                               has not the form it must */
    unsigned                      too_long; /* likewise */
    char                          complaint[AAD_REASON_BYTES];
    aad_result_t                  complaint_result;
};

extern const aad_credential_type_t  aad_azure_cli;
extern const aad_credential_type_t  aad_azure_developer_cli;
extern const aad_credential_type_t  aad_client_certificate;
extern const aad_credential_type_t  aad_client_secret;
extern const aad_credential_type_t  aad_environment;
extern const aad_credential_type_t  aad_federated_managed_identity;
extern const aad_credential_type_t  aad_managed_identity;
extern const aad_credential_type_t  aad_workload_identity;

/*
 * A token of a credential of type "managed_identity" for another scope than
 * the settings'.  Returns what the credential's get_token() does.
 */
aad_result_t aad_managed_identity_token(const aad_credential_t *credential,
    aad_call_t *call, const char *scope, aad_token_t *token);

/* The value as text, "" when it is not set. */
const char *aad_value(const aad_credential_t *credential, size_t slot);

/* Whether the slot has a value, or would have one if it were not wrong. */
int aad_value_is_given(const aad_credential_t *credential, size_t slot);

/* Every type that runs a developer's tool has these as its first slots. */
enum {
    AAD_CLI_TENANT_ID,
    AAD_CLI_FILE,
    AAD_CLI_SEARCH,
    AAD_CLI_VALUES                          /* the type's own begin here */
};

/* A command line tool that prints tokens; its lists end with NULL. */
typedef struct {
    const char             *program;
    const char             *wishes[AAD_CLI_WISHES_MAX];     /* its words where
                                               nobody is logged in; the first
                                               is the mend */
    const char             *directory;      /* the variable that moves what
                                               its login has left */
    const char             *variables[AAD_CLI_VARIABLES_MAX]; /* "name=value",
                                               always set for it */

    int                   (*token)(const aad_secret_t *out,
        int64_t received_on, int64_t now, aad_token_t *token,
        aad_error_t *error);

    /* what its standard error says is wrong, cut to 'size' with the NUL */
    void                  (*complaint)(const char *err, char *words,
        size_t size);
} aad_developer_cli_t;

/*
 * Runs the tool of the step with these arguments, NULL ends them, and the
 * type's variables as its environment.  Returns what the step came to.
 */
aad_result_t aad_developer_cli(const aad_developer_cli_t *cli,
    aad_call_t *call, const char *const *arguments, aad_token_t *token);

/* The line that begins with "ERROR:", or else the first. */
void aad_developer_cli_line(const char *err, char *words, size_t size);

/* The message in azd's lines of JSON. */
void aad_azd_complaint(const char *err, char *words, size_t size);

/*
 * Writes the whole name of a file that the configuration names: a relative
 * one is in the credential's directory.  Returns 0, or -1 with the reason in
 * 'error'.
 */
int aad_credential_path(const aad_credential_t *credential, const char *name,
    char *path, size_t size, aad_error_t *error);

/*
 * Whether words of others repeat a secret of the credential in any usual
 * encoding, or hold a token: they must not get into a log then.  To be asked
 * before the words are cut.  aad_call_repeats_secret() looks for the secrets
 * of the step and for the caller's token.
 */
int aad_repeats_secret(const aad_credential_t *credential, const char *words);
int aad_call_repeats_secret(const aad_call_t *call, const char *words);

/*
 * Reads an error body once more, for what to answer to the caller; after
 * aad_error_response().
 */
void aad_refusal_read(aad_call_t *call, const aad_http_response_t *response);

/* Sets the kind, and what is said of it in general. */
void aad_refusal_set(aad_refusal_t *refusal, aad_refusal_kind_t kind);


#endif /* _AAD_INTERNAL_H_INCLUDED_ */
