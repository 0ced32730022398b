
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * What is in a rule; for this folder only.
 */


#ifndef _AAD_CALLER_RULE_H_INCLUDED_
#define _AAD_CALLER_RULE_H_INCLUDED_


#include "json.h"


#define AAD_CALLER_CONDITIONS_MAX   32


/* One name that a condition may have. */
typedef struct {
    const char             *name;
    const aad_form_t       *form;
    int                     once;           /* true: a token has one value */
    int                   (*holds)(const cJSON *claims, const char *value);
} aad_caller_claim_t;

typedef struct {
    const aad_caller_claim_t  *claim;
    char                      *value;
} aad_caller_condition_t;

struct aad_caller_rule_s {
    char                   *audience;
    char                    tenant_id[AAD_ID_BYTES];
    aad_caller_condition_t  conditions[AAD_CALLER_CONDITIONS_MAX];
    size_t                  conditions_count;
};


/* Ends with an empty one; "appid" and "azp" have the same holds(). */
extern const aad_caller_claim_t  aad_caller_claims[];

/* The app that asked for the token: "appid" of v1, "azp" of v2.0, or "". */
const char *aad_caller_client_id(const cJSON *claims);


#endif /* _AAD_CALLER_RULE_H_INCLUDED_ */
