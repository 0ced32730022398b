
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * The callers' side: who presents a token of Entra ID, whether it may pass,
 * and a token of Azure's on its behalf.  What asks the authority blocks and is
 * for a thread; all that checks is pure, takes no lock and asks no clock.
 */


#ifndef _AAD_CALLER_H_INCLUDED_
#define _AAD_CALLER_H_INCLUDED_


#include "aad.h"


/* of the one document that aad_get_key_set() makes, kept where a token may be:
   more than thirty keys */
#define AAD_KEY_SET_BYTES_MAX       AAD_TOKEN_BYTES_MAX

/* how far two clocks may be apart, for "exp" and "nbf" */
#define AAD_CALLER_LEEWAY_S         60

#define AAD_CALLER_NAME_BYTES       128

/* base64, with the NUL: what a header has room for */
#define AAD_CLAIMS_BYTES            2048


/*
 * Key sets: what a tenant's tokens are signed with, and which issuers they
 * name.
 */

/*
 * Fetches both of the tenant's metadata documents (of v2.0 and v1, Microsoft's
 * pages "OpenID Connect on the Microsoft identity platform" and "Access
 * tokens"), and the keys that they name, for at most 'timeout_ms'
 * milliseconds; blocking.  Of the settings authority, CAs and proxy are used,
 * the rest may be zero.  'tenant_id' is a GUID.
 *
 * On AAD_OK 'document' has one JSON text of at most AAD_KEY_SET_BYTES_MAX
 * bytes: it is public, has no pointers, is the same for the same keys, and
 * goes into aad_key_set_parse() in this process or another one.  The caller
 * ends it with aad_secret_wipe(), in any case.  Otherwise it is AAD_FAILED,
 * and the report has one attempt with the reason, the hint and retry_after.
 */
aad_result_t aad_get_key_set(const aad_settings_t *settings,
    const aad_hooks_t *hooks, int64_t timeout_ms, const char *tenant_id,
    aad_secret_t *document, aad_report_t *report);

/*
 * The SHA-256 that names a key set: equal authority, CAs, proxy and tenant,
 * equal digest.  Returns 0, or -1 when libcrypto fails.
 */
int aad_key_set_digest(const aad_settings_t *settings, const char *tenant_id,
    unsigned char digest[AAD_DIGEST_BYTES]);


/* Parsed keys; read only, so that any number of threads may share them. */
typedef struct aad_key_set_s  aad_key_set_t;

/*
 * Reads a document of aad_get_key_set(), which needs no NUL at its end.  The
 * caller owns the set and ends it with aad_key_set_destroy().  Returns NULL
 * and says why in 'error'.
 */
aad_key_set_t *aad_key_set_parse(const char *document, size_t length,
    aad_error_t *error);

/* The tenant's GUID, in lower case. */
const char *aad_key_set_tenant_id(const aad_key_set_t *key_set);

/* NULL is allowed. */
void aad_key_set_destroy(aad_key_set_t *key_set);


/*
 * Rules: one line of "aoai_aad_caller".
 *
 *   audience=A   "aud", an app's client id or its "api://..."; required, once
 *   tenant=T     "tid", the tenant's GUID; required, once.  No domain: the
 *                token has none, and a domain may go to another tenant.
 *
 * and conditions, all of which must hold; the first three as often as need be,
 * the others once, for a token has one value of them:
 *
 *   roles=R      is in "roles" (app roles, of people and of apps)
 *   groups=G     is in "groups"
 *   scp=S        is a word of "scp": people have it, apps never
 *   appid=C      is the app that asked for the token, "appid" or "azp"
 *   azp=C        the same
 *   oid=O        is the person or the app itself
 */
typedef struct aad_caller_rule_s  aad_caller_rule_t;

/* Returns an empty rule, which the caller owns, or NULL without memory. */
aad_caller_rule_t *aad_caller_rule_create(void);

/*
 * Takes one "name=value", which is copied.  Returns 0, or -1 with the value
 * and the mend in 'error'.
 */
int aad_caller_rule_set_parameter(aad_caller_rule_t *rule,
    const char *parameter, aad_error_t *error);

/*
 * Checks that all that is needed was set; to be called before the rule is
 * used.  Returns 0, or -1 with the reason in 'error'.
 */
int aad_caller_rule_complete(const aad_caller_rule_t *rule,
    aad_error_t *error);

/* The GUID, in lower case; several rules may have the same. */
const char *aad_caller_rule_tenant_id(const aad_caller_rule_t *rule);

/* NULL is allowed. */
void aad_caller_rule_destroy(aad_caller_rule_t *rule);

/*
 * The SHA-256 of rules in their order: what passed under one list of them is
 * known under an equal one alone.  Returns 0, or -1 when libcrypto fails.
 */
int aad_caller_rules_digest(const aad_caller_rule_t *const *rules,
    size_t count, unsigned char digest[AAD_DIGEST_BYTES]);


/* A validated caller.  Texts are printable ASCII, "" where not said. */
typedef struct {
    char                    object_id[AAD_ID_BYTES];    /* "oid" */
    char                    client_id[AAD_ID_BYTES];    /* "appid", "azp" */
    char                    tenant_id[AAD_ID_BYTES];    /* "tid" */
    char                    name[AAD_CALLER_NAME_BYTES];    /* for people: it
                                               can be changed and reused */
    int64_t                 expires_on;     /* "exp", Unix seconds */
    int                     app_only;       /* true: an app, for itself; there
                                               is nobody to act for */
} aad_caller_t;

typedef enum {
    AAD_CALLER_OK = 0,
    AAD_CALLER_INVALID,                     /* 401 */
    AAD_CALLER_UNKNOWN_KEY,                 /* 401, but newer keys may help */
    AAD_CALLER_INSUFFICIENT                 /* 403: valid, and a condition does
                                               not hold */
} aad_caller_result_t;

/*
 * Checks the token (the 'length' bytes after "Bearer ") by RFC 7515, 7519 and
 * 8725: RS256 by the key of its "kid", then for each rule the issuer, tenant,
 * audience, life and conditions, until one lets it pass.  The signature is
 * looked at once, however many rules and tenants there are, and before any of
 * the claims.
 *
 * An access token of Entra ID names the app that asked for it, in "appid" or
 * "azp"; what does not, an ID token for one, is none.
 *
 * 'key_sets' are those of the rules' tenants, in any order; NULL is one that
 * is not there (yet).  AAD_CALLER_UNKNOWN_KEY is returned where a set lacks
 * the key, or is not there, and would have been needed.
 *
 * 'now' is in Unix seconds.  'caller' is filled on AAD_CALLER_OK and
 * AAD_CALLER_INSUFFICIENT, and empty otherwise.  'reason' is one of a fixed
 * set of texts, safe in a log and between the quotes of a header, "" on
 * AAD_CALLER_OK; with several rules it is that of the one that came closest.
 */
aad_caller_result_t aad_caller_check(const char *token, size_t length,
    const aad_caller_rule_t *const *rules, size_t rules_count,
    const aad_key_set_t *const *key_sets, size_t key_sets_count, int64_t now,
    aad_caller_t *caller, const char **reason);

/*
 * Reads "exp" of a token without any check of who made it: how long a token
 * may be kept that another one has validated.  Returns 0, or -1 when it has
 * none.
 */
int aad_caller_expires_on(const char *token, size_t length,
    int64_t *expires_on);


/* Makes digests, one after the other; for one thread at a time. */
typedef struct aad_token_digest_s  aad_token_digest_t;

/* Returns one that the caller owns, or NULL when libcrypto or memory fail. */
aad_token_digest_t *aad_token_digest_create(void);

/* NULL is allowed. */
void aad_token_digest_destroy(aad_token_digest_t *digest);

/* The SHA-256 of a token.  Returns 0, or -1 when libcrypto fails. */
int aad_token_digest(aad_token_digest_t *digest, const char *token,
    size_t length, unsigned char bytes[AAD_DIGEST_BYTES]);


/*
 * On behalf of: Microsoft's page "Microsoft identity platform and OAuth2.0
 * On-Behalf-Of flow".
 */

typedef enum {
    AAD_REFUSAL_NONE = 0,                   /* there is a token */
    AAD_REFUSAL_TOKEN,                      /* 401 invalid_token */
    AAD_REFUSAL_INTERACTION,                /* 401 insufficient_claims: consent
                                               or a second factor is missing */
    AAD_REFUSAL_FORBIDDEN,                  /* 403: an app's token, or a person
                                               not assigned to the app */
    AAD_REFUSAL_UNAVAILABLE,                /* 503: the authority is down, or
                                               throttles */
    AAD_REFUSAL_CREDENTIAL                  /* 503: our own credential, or the
                                               configuration, is wrong */
} aad_refusal_kind_t;

typedef struct {
    aad_refusal_kind_t      kind;
    int                     retry_after;    /* seconds, 0: not said */
    const char             *reason;         /* for the caller: a static text,
                                               safe between the quotes of a
                                               header; "" for none */
    char                    code[AAD_CODE_BYTES];       /* "AADSTS50013", or
                                               "invalid_grant", "": not said */
    char                    claims[AAD_CLAIMS_BYTES];   /* in base64, ready for
                                               claims="...", "": not said */
} aad_refusal_t;

/*
 * Exchanges the caller's token for one of settings->scope, by the chain's
 * first step that is an app and available, for at most 'timeout_ms'
 * milliseconds; blocking, tried again as aad_get_token() does.  The token's
 * "aud" must be this app.  It stays the caller's, who wipes it; nothing of it
 * gets into the report.
 *
 * On AAD_OK the caller ends 'token' with aad_token_wipe(); otherwise it is
 * empty, 'refusal' says what to answer, and the report, which is for the log,
 * what happened.
 */
aad_result_t aad_get_token_on_behalf_of(const aad_settings_t *settings,
    const aad_hooks_t *hooks, int64_t timeout_ms,
    const aad_secret_t *assertion, aad_token_t *token, aad_report_t *report,
    aad_refusal_t *refusal);

/*
 * Whether the chain, of complete credentials, has a step that can do so.
 * Returns 0, or -1 with the mend in 'error'.
 */
int aad_on_behalf_of_check(const aad_settings_t *settings,
    aad_error_t *error);


#endif /* _AAD_CALLER_H_INCLUDED_ */
