
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * What the sources of a managed identity share; for managed_identity*.c only.
 * The wire facts of each are from its SDKs (azure-identity, MSAL) and from
 * Microsoft's pages that its file names.
 */


#ifndef _AAD_MANAGED_IDENTITY_H_INCLUDED_
#define _AAD_MANAGED_IDENTITY_H_INCLUDED_


#include "internal.h"


/* slots of the credential's values */
enum {
    AAD_MI_CLIENT_ID,
    AAD_MI_OBJECT_ID,
    AAD_MI_RESOURCE_ID,
    AAD_MI_IDENTITY_ENDPOINT,
    AAD_MI_IDENTITY_HEADER,
    AAD_MI_THUMBPRINT,
    AAD_MI_IMDS_ENDPOINT,
    AAD_MI_MSI_ENDPOINT,
    AAD_MI_MSI_SECRET,
    AAD_MI_DEFAULT_CLIENT_ID,
    AAD_MI_IMDS_HOST
};

#define AAD_MI_IDS              3           /* the first of them */


/* A place to ask. */
typedef struct {
    const char             *name;
    const char             *version;        /* api-version, NULL: none, and
                                               the parameters are a form */
    const char             *owner;          /* whose identity it is, NULL:
                                               there is no choice of them */
    const char             *ids[AAD_MI_IDS];    /* its names for the slots,
                                               NULL: it cannot be told */

    /* true: the environment says that nginx is at this place */
    int                   (*is_here)(const aad_credential_t *credential);

    aad_result_t          (*get_token)(const aad_credential_t *credential,
        aad_call_t *call, aad_token_t *token);
} aad_mi_source_t;

extern const aad_mi_source_t  aad_mi_service_fabric;
extern const aad_mi_source_t  aad_mi_app_service;
extern const aad_mi_source_t  aad_mi_azure_ml;
extern const aad_mi_source_t  aad_mi_cloud_shell;
extern const aad_mi_source_t  aad_mi_arc;
extern const aad_mi_source_t  aad_mi_imds;


/* A question to a source, and its answer. */
typedef struct {
    const aad_mi_source_t  *source;
    const aad_credential_t *credential;
    aad_secret_t            url;
    aad_secret_t            form;
    aad_secret_t            secret;         /* header */
    aad_http_request_t      request;
    aad_http_response_t     response;
} aad_mi_question_t;

/*
 * Makes the question: the source's api-version, the resource and the id that
 * was chosen, for this endpoint.  Returns 0, or -1 when memory is out.  The
 * caller ends it with aad_mi_end() in both cases.
 */
int aad_mi_begin(aad_mi_question_t *question, const aad_mi_source_t *source,
    const aad_credential_t *credential, const aad_call_t *call,
    const char *endpoint);

/*
 * Adds a header, whose text must live as long, or one made of its beginning
 * ("Name: ") and a secret, of which there can be one.  The latter returns 0,
 * or -1 when memory is out.
 */
void aad_mi_header(aad_mi_question_t *question, const char *header);
int aad_mi_secret(aad_mi_question_t *question, const char *name,
    const char *value);

/* Adds a parameter.  Returns 0, or -1 when memory is out. */
int aad_mi_parameter(aad_mi_question_t *question, const char *name,
    const char *value);

/*
 * Asks, and reads the token.  For a place that the environment names, where
 * every error is final; 'endpoint' is the name of its variable.
 */
aad_result_t aad_mi_ask(aad_mi_question_t *question, aad_call_t *call,
    const char *endpoint, aad_token_t *token);

/*
 * Reads the token of a status 200.  Where there is none the result is
 * 'otherwise', with the reason.
 */
aad_result_t aad_mi_token(const aad_mi_question_t *question,
    aad_call_t *call, aad_result_t otherwise, aad_token_t *token);

void aad_mi_end(aad_mi_question_t *question);

/* Whether the slot has a value. */
int aad_mi_has(const aad_credential_t *credential, size_t slot);


/*
 * Arc.
 *
 * aad_arc_key() checks an answer's challenge, "Basic realm=FILE", and appends
 * the file's content to 'key': FILE must be in 'directory' itself, must end
 * with ".key", and must be a regular file, no link, of 4096 bytes at most.
 * Returns 0, or -1 with the reason in 'error' and nothing in 'key'.
 *
 * aad_arc_endpoint() writes the URL with 127.0.0.1 for "localhost".
 */
int aad_arc_key(const char *directory, const char *challenge,
    aad_secret_t *key, aad_error_t *error);
void aad_arc_endpoint(const char *url, char *endpoint, size_t size);


#endif /* _AAD_MANAGED_IDENTITY_H_INCLUDED_ */
