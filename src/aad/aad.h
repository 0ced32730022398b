
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

/* group claims make tokens large: never truncated, refused above this */
#define AAD_TOKEN_BYTES_MAX     16384

/* a system's whole CA bundle has some 200 KB */
#define AAD_PEM_BYTES_MAX       4194304

#define AAD_DIGEST_BYTES        32
#define AAD_ID_BYTES            64
#define AAD_CODE_BYTES          64
#define AAD_REASON_BYTES        512


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
} aad_token_t;


/* What one step said; nothing in it is secret. */
typedef struct {
    const char             *credential;
    aad_result_t            result;
    int                     retry_after;    /* seconds, 0: not said */
    const char             *hint;           /* what to do, NULL: not known */
    char                    code[AAD_CODE_BYTES];
    char                    correlation_id[AAD_ID_BYTES];
    char                    reason[AAD_REASON_BYTES];
} aad_attempt_t;


typedef struct {
    aad_attempt_t           attempts[AAD_CHAIN_STEPS_MAX];
    size_t                  count;
} aad_report_t;


/*
 * Prepares the libraries below this one.  Called once in a process before any
 * thread asks for a token.  Returns 0, or -1 when they cannot be used.
 */
int aad_global_init(void);


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
 * Makes a credential of the named type ("managed_identity", ...) with the
 * defaults of its environment.  The caller owns it and ends it with
 * aad_credential_destroy().  Returns NULL and says why in 'error' on an
 * unknown type or lack of memory.
 */
aad_credential_t *aad_credential_create(const char *type,
    const aad_environment_t *environment, aad_error_t *error);

/*
 * Sets one parameter; files it names are read at once.  The value is copied.
 * Returns 0, or -1 with the reason in 'error'.
 */
int aad_credential_set(aad_credential_t *credential, const char *name,
    const char *value, aad_error_t *error);

/*
 * Checks that all that is needed was set.  Returns 0, or -1 with the reason
 * in 'error'.  To be called once, after the last aad_credential_set().
 */
int aad_credential_complete(aad_credential_t *credential, aad_error_t *error);

/* Wipes and frees the credential; NULL is allowed. */
void aad_credential_destroy(aad_credential_t *credential);

/* The type's name, a static string. */
const char *aad_credential_type(const aad_credential_t *credential);

/*
 * Writes a name for people, "managed_identity client_id=...", without
 * secrets, cut to 'size' bytes with the NUL.
 */
void aad_credential_describe(const aad_credential_t *credential, char *text,
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

/* Checks the URL of an egress proxy.  Returns 0, or -1 with the reason. */
int aad_proxy(const char *value, aad_error_t *error);

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
 * Milliseconds until the next try after 'failures' failures in a row, with
 * or without a token that can still be used; at least 'retry_after' seconds.
 */
int64_t aad_retry_ms(unsigned failures, int has_token, int retry_after);


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


#endif /* _AAD_H_INCLUDED_ */
