
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * Tokens from Microsoft Entra ID: credentials, the chain over them, and what
 * a caller needs to know of a token's life.  Blocking, thread safe (nothing
 * is shared but read-only settings), and free of any nginx header.
 */


#ifndef _AAD_H_INCLUDED_
#define _AAD_H_INCLUDED_


#include <stddef.h>
#include <stdint.h>


#define AAD_VERSION             "0.1.0"

#define AAD_CHAIN_STEPS_MAX     16
#define AAD_TYPES_MAX           16

/* group claims make tokens large: never truncated, refused above this */
#define AAD_TOKEN_BYTES_MAX     16384

/* a system's whole CA bundle has some 200 KB */
#define AAD_PEM_BYTES_MAX       4194304

#define AAD_DIGEST_BYTES        32
#define AAD_ID_BYTES            64
#define AAD_CODE_BYTES          64
#define AAD_REASON_BYTES        512
#define AAD_HINT_BYTES          256
#define AAD_HOST_BYTES          1024
#define AAD_AUDIENCE_BYTES      256

#define AAD_SCOPE_DEFAULT       "https://cognitiveservices.azure.com/.default"

#define AAD_REPORT_BYTES_MIN    512


/*
 * What asking a credential, or a whole chain, came to.  Unavailable: it does
 * not apply on this machine, the next step is asked.  Failed: it applies and
 * was refused, or it broke; the chain stops, so that a request never goes out
 * under an identity that nobody meant (azure-identity for Python has the same
 * rule).
 */
typedef enum {
    AAD_OK = 0,
    AAD_UNAVAILABLE,
    AAD_FAILED
} aad_result_t;


/* A bounded, NUL-terminated buffer that wipes what it held. */
typedef struct {
    char                   *data;       /* never NULL-dereferenced: "" when
                                           nothing was ever appended */
    size_t                  length;     /* bytes, without the NUL */
    size_t                  capacity;   /* bytes allocated */
    size_t                  maximum;    /* bytes it may hold */
} aad_secret_t;


/* One sentence for people: what is wrong, and how to mend it. */
typedef struct {
    char                    text[AAD_REASON_BYTES];
} aad_error_t;


typedef struct aad_credential_s  aad_credential_t;


/* Where a credential's defaults come from; read while it is created. */
typedef struct {
    /* NULL when the variable is not set */
    const char           *(*variable)(void *data, const char *name);
    void                   *data;
    const char             *directory;  /* for relative file names; ends in
                                           '/'; NULL: the current one */
} aad_environment_t;


/* What the environment says where the settings do not. */
typedef struct {
    aad_secret_t            authority_host;
    aad_secret_t            proxy;          /* "": none */
    aad_secret_t            no_proxy;
} aad_defaults_t;


/* All that decides which token is asked for; strings belong to the caller. */
typedef struct {
    const char             *authority_host;  /* as aad_authority_host() made */
    const char             *scope;
    const char             *ca_certificates; /* PEM, NULL: the system's */
    const char             *proxy;           /* for the authority, NULL: none */
    const char             *no_proxy;        /* hosts, as curl's NO_PROXY */
    aad_credential_t       *chain[AAD_CHAIN_STEPS_MAX];
    size_t                  chain_length;
} aad_settings_t;


/* The caller's clock and patience; may be called from any thread. */
typedef struct {
    int64_t               (*now)(void *data);           /* Unix seconds */
    int64_t               (*monotonic_ms)(void *data);
    int                   (*cancelled)(void *data);     /* true: give up */
    void                   *data;

    /* lets that much of monotonic_ms() pass; NULL: the thread sleeps */
    void                  (*wait)(void *data, int64_t ms);
} aad_hooks_t;


typedef struct {
    aad_secret_t            access_token;
    int64_t                 received_on;    /* Unix seconds, request start */
    int64_t                 expires_on;     /* Unix seconds */
    int64_t                 refresh_in;     /* seconds, 0: not said */
    size_t                  step;           /* of the chain */
    const char             *credential;     /* type name of that step */

    /* decoded for information only, "" where the token does not say */
    char                    client_id[AAD_ID_BYTES];
    char                    object_id[AAD_ID_BYTES];
    char                    tenant_id[AAD_ID_BYTES];
    char                    audience[AAD_AUDIENCE_BYTES];
} aad_token_t;


/* What one step said; nothing in it is secret. */
typedef struct {
    const char             *credential;
    aad_result_t            result;
    int                     retry_after;    /* seconds, 0: not said */
    int64_t                 elapsed_ms;     /* that it took */
    const char             *hint;           /* what to do, NULL: not known */
    char                    code[AAD_CODE_BYTES];
    char                    correlation_id[AAD_ID_BYTES];
    char                    trace_id[AAD_ID_BYTES];
    char                    reason[AAD_REASON_BYTES];
} aad_attempt_t;


/* What became of the chain; the steps after the last attempt are skipped. */
typedef struct {
    aad_attempt_t           attempts[AAD_CHAIN_STEPS_MAX];
    size_t                  count;
    const char             *skipped[AAD_CHAIN_STEPS_MAX];   /* type names */
    size_t                  skipped_count;
} aad_report_t;


/*
 * Prepares the libraries below this one.  Called once in a process before any
 * thread asks for a token.  Returns 0, or -1 when they cannot be used.
 */
int aad_global_init(void);

/*
 * Frees what the libraries below this one keep for the calling thread.  A
 * thread other than the main one calls it after what it has done here: its own
 * end may come while the process ends already.
 */
void aad_thread_end(void);


/*
 * Asks for a token, for at most 'timeout_ms' milliseconds: the chain from its
 * start, or, where 'only' is below the chain's length, that step alone (it
 * gave the token that is still valid, and the identity must not change under
 * it).  On AAD_OK the caller owns what 'token' holds and ends it with
 * aad_token_wipe(); otherwise 'token' is empty.  'report' has what every
 * step said that was asked.
 */
aad_result_t aad_get_token(const aad_settings_t *settings,
    const aad_hooks_t *hooks, int64_t timeout_ms, size_t only,
    aad_token_t *token, aad_report_t *report);

/* Wipes and frees what the token holds; harmless on a wiped one. */
void aad_token_wipe(aad_token_t *token);

/*
 * Writes one line that says why there is no token: of every step what it came
 * to, its reason, the ids under which the service finds the request in its
 * logs, and what to do.  Where 'size' (with the NUL) is too small for all of
 * it, the steps share what there is for their reasons; AAD_REPORT_BYTES_MIN
 * are enough for the whole of the last step's ids and hint.  Returns the
 * length.
 */
size_t aad_report_text(const aad_report_t *report, char *text, size_t size);


/*
 * Makes a credential of the named type ("managed_identity", ...) with the
 * defaults of its environment.  The caller owns it and ends it with
 * aad_credential_destroy().  Returns NULL and says why in 'error' on an
 * unknown type or lack of memory.
 */
aad_credential_t *aad_credential_create(const char *type,
    const aad_environment_t *environment, aad_error_t *error);

/*
 * Sets one parameter; a file that it names is read at once, or for a
 * certificate by aad_credential_complete().  The value is copied.
 * Returns 0, or -1 with the reason in 'error'.
 */
int aad_credential_set(aad_credential_t *credential, const char *name,
    const char *value, aad_error_t *error);

/*
 * The same for "name=value".  The value, which may have been a secret, is
 * wiped from 'parameter'.
 */
int aad_credential_set_parameter(aad_credential_t *credential,
    char *parameter, aad_error_t *error);

/*
 * Checks that all that is needed was set, and reads what belongs together.
 * Returns 0, or -1 with the reason in 'error'.  To be called once before the
 * credential is used, after the last aad_credential_set() if there is any.
 */
int aad_credential_complete(aad_credential_t *credential, aad_error_t *error);

/*
 * Whether a complete credential ends within 30 days of 'now', in Unix
 * seconds, or has ended, or is not yet valid.  Returns 1 with a sentence that
 * has the date in 'warning', or 0.
 */
int aad_credential_warning(const aad_credential_t *credential, int64_t now,
    aad_error_t *warning);

/* Wipes and frees the credential; NULL is allowed. */
void aad_credential_destroy(aad_credential_t *credential);

/* The type's name, a static string. */
const char *aad_credential_type(const aad_credential_t *credential);

/*
 * The names of the types that there are, AAD_TYPES_MAX at most: of the one
 * with this number, counted from 0, or NULL where there are fewer.
 */
const char *aad_credential_type_name(size_t number);

/*
 * Writes a name for people, "managed_identity client_id=...", without
 * secrets, cut to 'size' bytes with the NUL.
 */
void aad_credential_describe(const aad_credential_t *credential, char *text,
    size_t size);


/*
 * The types of the chain that is asked where none is configured, in their
 * order; ends with NULL.
 */
extern const char *const  aad_default_chain[];

/* The environment of this process, as an aad_environment_t wants it. */
const char *aad_process_variable(void *data, const char *name);

/*
 * Reads AZURE_AUTHORITY_HOST, and of HTTPS_PROXY and NO_PROXY the lower case
 * name first, as curl does.  The caller ends it with aad_defaults_wipe().
 * Returns 0, or -1 with the reason in 'error' and nothing to be wiped.
 */
int aad_defaults_read(aad_defaults_t *defaults,
    const aad_environment_t *environment, aad_error_t *error);

void aad_defaults_wipe(aad_defaults_t *defaults);

/*
 * Fills in what is NULL of authority, scope and proxy; a proxy "" is none.
 * The settings point into 'defaults' then.  The chain is left as it is.
 */
void aad_settings_complete(aad_settings_t *settings,
    const aad_defaults_t *defaults);

/*
 * Writes a name for people: the chain in short, without secrets, cut to
 * 'size' bytes with the NUL.
 */
void aad_settings_describe(const aad_settings_t *settings, char *text,
    size_t size);


/*
 * Checks the host that tokens are asked from and writes it without trailing
 * slash: https, or http to a loopback address alone; no path, no userinfo.
 * Returns 0, or -1 with the reason in 'error'.
 */
int aad_authority_host(const char *value, char *host, size_t size,
    aad_error_t *error);

/* Checks a scope.  Returns 0, or -1 with the reason in 'error'. */
int aad_scope(const char *value, aad_error_t *error);

/*
 * Whether authority and scope, or authority and the host that a token is for
 * ("name" or "*.suffix", with ":port" or not), are of two different clouds.
 * Nothing is said of an authority or a name that is none of Azure's own.
 * Returns 0, or -1 with words for the operator in 'warning'.
 */
int aad_settings_warning(const aad_settings_t *settings,
    aad_error_t *warning);
int aad_host_warning(const aad_settings_t *settings, const char *host,
    aad_error_t *warning);

/* Checks the URL of an egress proxy.  Returns 0, or -1 with the reason. */
int aad_proxy(const char *value, aad_error_t *error);

/*
 * Reads a time above zero in nginx's notation ("10s", "1m 30s", "500ms") as
 * milliseconds.  Returns 0, or -1 with the reason in 'error'.
 */
int aad_time(const char *value, int64_t *time_ms, aad_error_t *error);

/*
 * Reads a PEM file of CA certificates into 'pem', whose maximum the caller
 * has set.  Returns 0, or -1 with the reason in 'error'.
 */
int aad_ca_certificates(const char *file, aad_secret_t *pem,
    aad_error_t *error);

/*
 * The SHA-256 that names an identity: equal settings, equal digest; any
 * change of credential, secret, authority, scope or CA is another identity.
 * Returns 0, or -1 when libcrypto fails.
 */
int aad_settings_digest(const aad_settings_t *settings,
    unsigned char digest[AAD_DIGEST_BYTES]);


/* When a token may be used and when the next one is fetched. */
typedef struct {
    int64_t                 usable_ms;      /* milliseconds from now */
    int64_t                 refresh_ms;     /* milliseconds from now */
} aad_schedule_t;

/*
 * Plans the life of a token with 'lifetime_ms' milliseconds left.
 * 'refresh_in' is the service's wish in seconds, 0 for none; 'random' is any
 * number, it spreads the refreshes of a fleet.  This function can't fail.
 */
aad_schedule_t aad_schedule(int64_t lifetime_ms, int64_t refresh_in,
    uint32_t random);

/*
 * Milliseconds until the next try after 'failures' failures in a row, under a
 * token that was given for 'lifetime_ms' and can still be used, or with none:
 * 0.  At least 'retry_after' seconds.  'random' as for aad_schedule(): up to a
 * fifth more, of the longest wait none.  This function can't fail.
 */
int64_t aad_retry_ms(unsigned failures, int64_t lifetime_ms, int retry_after,
    uint32_t random);

/*
 * A random number for the two: one that no other process has, though it was
 * started in the same moment.  0 where libcrypto has none.
 */
uint32_t aad_random(void);


/* A moment by both clocks: either may be set, or stand still. */
typedef struct {
    int64_t                 wall_ms;        /* since 1970 */
    int64_t                 monotonic_ms;
} aad_moment_t;

/*
 * The life of an identity's token, without the token: whether it may be used,
 * who fetches the next one, and when.  Plain data, all zeros at first, that
 * several processes may share; each call is made under the caller's lock, and
 * none can fail.
 */
typedef struct {
    int64_t                 lease;              /* who fetches, 0: nobody */
    int64_t                 lease_until_ms;     /* monotonic */
    int64_t                 refresh_at_ms;      /* monotonic */
    int64_t                 suspected_ms;       /* monotonic, 0: never */
    int64_t                 lifetime_ms;        /* as it was given, 0: none */
    int64_t                 expires_at_ms;      /* monotonic */
    int64_t                 usable_until_ms;    /* monotonic */
    int64_t                 usable_until_wall_ms;
    unsigned                failures;           /* in a row */
    unsigned                tries;              /* of these, since the token
                                                   went, or came */
    int                     tried_with_token;
} aad_life_t;

/* Whose turn it is to fetch. */
typedef enum {
    AAD_TURN_OURS,
    AAD_TURN_OTHERS,                            /* one is on its way */
    AAD_TURN_LATER
} aad_turn_t;

typedef enum {
    AAD_STATE_EMPTY,                            /* none yet, none refused */
    AAD_STATE_VALID,
    AAD_STATE_REFRESHING,
    AAD_STATE_STALE,                            /* its refresh is failing */
    AAD_STATE_FAILED                            /* none, and none to be had */
} aad_state_t;

/* Whether there is a token that may be sent. */
int aad_life_usable(const aad_life_t *life, const aad_moment_t *now);

/* What to tell people. */
aad_state_t aad_life_state(const aad_life_t *life, const aad_moment_t *now);

/*
 * Asks for the right to fetch, for 'owner' (any number but 0) and at most
 * 'lease_ms' milliseconds: who does not give it back by then has died.  If it
 * is not given, 'delay_ms' is how long there is nothing to ask again for.
 */
aad_turn_t aad_life_lease(aad_life_t *life, const aad_moment_t *now,
    int64_t owner, int64_t lease_ms, int64_t *delay_ms);

/* Gives the right back unused; harmless for who does not have it. */
void aad_life_release(aad_life_t *life, int64_t owner);

/*
 * Takes a fetched token in and gives the right back.  Returns true, or false
 * for one that comes too late: another owner took the right over, and has
 * brought a better one.  'random' as for aad_schedule().
 */
int aad_life_store(aad_life_t *life, const aad_moment_t *now, int64_t owner,
    int64_t expires_on, int64_t refresh_in, uint32_t random);

/*
 * Counts a failed fetch, plans the next one and gives the right back.
 * Returns true, or false where another owner has the right by now.  'random'
 * as for aad_retry_ms().
 */
int aad_life_failed(aad_life_t *life, const aad_moment_t *now, int64_t owner,
    int retry_after, uint32_t random);

/*
 * Somebody refused the token.  Returns true when a refresh is due for that,
 * which is so once a minute at the most, and never against a back-off.
 */
int aad_life_suspect(aad_life_t *life, const aad_moment_t *now);


/*
 * Secrets.  aad_secret_init() allocates nothing.  The append functions return
 * 0, or -1 when the maximum would be passed or memory is out; what was there
 * before is then untouched.  aad_secret_wipe() leaves an empty secret with
 * the same maximum.
 */
void aad_secret_init(aad_secret_t *secret, size_t maximum);
int aad_secret_append(aad_secret_t *secret, const char *data, size_t length);
int aad_secret_append_text(aad_secret_t *secret, const char *text);
void aad_secret_wipe(aad_secret_t *secret);


/*
 * Appends a file's content.  Returns 0, or -1 with the reason in 'error' and
 * nothing in 'content': unreadable, larger than the secret's maximum, or
 * with a NUL in it.
 */
int aad_file_read(const char *path, aad_secret_t *content,
    aad_error_t *error);

/*
 * Copies 'text' with control characters and anything beyond ASCII replaced
 * by '?', line ends by blanks; cut to 'size' with the NUL.  For words of
 * others that go into a log.
 */
void aad_text_clean(char *clean, size_t size, const char *text);

/* Formats the error's sentence and returns -1, so that it can be returned. */
int aad_error(aad_error_t *error, const char *format, ...)
    __attribute__((format(printf, 2, 3)));


#endif /* _AAD_H_INCLUDED_ */
