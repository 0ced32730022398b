
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * Who may call: the bearer token that a caller presents, by the rules of the
 * location.  One that has passed is remembered, so that its next request
 * costs a digest and no signature.
 */


#include "ngx_http_aoai_aad_callers.h"


static void ngx_http_aoai_aad_destroy_rule(void *data);
static ngx_int_t ngx_http_aoai_aad_bearer(ngx_http_request_t *r,
    ngx_str_t *token);
static ngx_int_t ngx_http_aoai_aad_validate(ngx_http_request_t *r,
    ngx_http_aoai_aad_loc_conf_t *alcf, ngx_http_aoai_aad_ctx_t *ctx,
    ngx_str_t *token);
static ngx_int_t ngx_http_aoai_aad_await_keys(
    ngx_http_aoai_aad_loc_conf_t *alcf, ngx_http_aoai_aad_ctx_t *ctx,
    ngx_uint_t ask);
static ngx_int_t ngx_http_aoai_aad_refuse_result(ngx_http_request_t *r,
    ngx_http_aoai_aad_ctx_t *ctx, aad_caller_result_t result,
    const char *reason);
static uint32_t ngx_http_aoai_aad_keys_version(
    ngx_http_aoai_aad_loc_conf_t *alcf);
static ngx_uint_t ngx_http_aoai_aad_keys_count(
    ngx_http_aoai_aad_loc_conf_t *alcf);
static ngx_int_t ngx_http_aoai_aad_no_keys(ngx_http_request_t *r,
    ngx_http_aoai_aad_loc_conf_t *alcf, ngx_http_aoai_aad_ctx_t *ctx);
static ngx_int_t ngx_http_aoai_aad_pass(ngx_http_request_t *r,
    ngx_http_aoai_aad_loc_conf_t *alcf, ngx_http_aoai_aad_ctx_t *ctx,
    aad_caller_t *caller);


/* aoai_aad_caller */
char *
ngx_http_aoai_aad_caller(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_aoai_aad_loc_conf_t *alcf = conf;

    ngx_str_t            *value;
    ngx_uint_t            i;
    aad_error_t           error;
    aad_caller_rule_t   **rule;
    ngx_pool_cleanup_t   *cln;

    if (alcf->callers == NGX_CONF_UNSET_PTR) {
        alcf->callers = ngx_array_create(cf->pool, 2,
                                         sizeof(aad_caller_rule_t *));
        if (alcf->callers == NULL) {
            return NGX_CONF_ERROR;
        }

        ngx_http_aoai_aad_set_place(cf, &alcf->callers_place);
    }

    rule = ngx_array_push(alcf->callers);
    cln = ngx_pool_cleanup_add(cf->pool, 0);

    if (rule == NULL || cln == NULL) {
        return NGX_CONF_ERROR;
    }

    *rule = aad_caller_rule_create();
    if (*rule == NULL) {
        return NGX_CONF_ERROR;
    }

    cln->handler = ngx_http_aoai_aad_destroy_rule;
    cln->data = *rule;

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        if (aad_caller_rule_set_parameter(*rule, (char *) value[i].data,
                                          &error)
            != 0)
        {
            goto wrong;
        }
    }

    if (aad_caller_rule_complete(*rule, &error) == 0) {
        return NGX_CONF_OK;
    }

wrong:

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "\"aoai_aad_caller\": %s",
                       error.text);
    return NGX_CONF_ERROR;
}


static void
ngx_http_aoai_aad_destroy_rule(void *data)
{
    aad_caller_rule_destroy(data);
}


/* A location that was meant to be closed, and is not, must not go unnoticed. */
void
ngx_http_aoai_aad_check_idle_callers(ngx_conf_t *cf,
    ngx_http_aoai_aad_loc_conf_t *alcf)
{
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (alcf->callers_place.line == 0 || clcf->name.len == 0
        || clcf->locations != NULL)
    {
        return;
    }

    ngx_http_aoai_aad_log_at(cf, NGX_LOG_WARN, &alcf->callers_place,
                             "aoai_aad_caller",
                             "it has no effect in a location without a "
                             "\"proxy_pass\" that \"aoai_aad\" is on for: "
                             "anybody may call it");
}


/* The location has its identity by now, whose authority is asked for keys. */
char *
ngx_http_aoai_aad_check_callers(ngx_conf_t *cf,
    ngx_http_aoai_aad_loc_conf_t *alcf)
{
    ngx_uint_t           i;
    aad_caller_rule_t  **rule;

    alcf->asks_callers = alcf->callers != NULL
                         || alcf->mode == NGX_HTTP_AOAI_AAD_ON_BEHALF_OF;

    if (alcf->callers == NULL) {
        return NGX_CONF_OK;
    }

    alcf->key_sets = ngx_array_create(cf->pool, 1,
                                      sizeof(ngx_http_aoai_aad_identity_t *));
    if (alcf->key_sets == NULL) {
        return NGX_CONF_ERROR;
    }

    rule = alcf->callers->elts;

    for (i = 0; i < alcf->callers->nelts; i++) {
        if (ngx_http_aoai_aad_add_key_set(cf, alcf,
                                          aad_caller_rule_tenant_id(rule[i]))
            != NGX_OK)
        {
            return NGX_CONF_ERROR;
        }
    }

    return aad_caller_rules_digest((const aad_caller_rule_t *const *) rule,
                                   alcf->callers->nelts,
                                   alcf->callers_digest)
           == 0 ? NGX_CONF_OK : NGX_CONF_ERROR;
}


/*
 * Looks whether the caller may pass.  Returns as ngx_http_aoai_aad_prepare(),
 * with the caller in 'ctx' on NGX_OK.
 */
ngx_int_t
ngx_http_aoai_aad_check_caller(ngx_http_request_t *r,
    ngx_http_aoai_aad_loc_conf_t *alcf, ngx_http_aoai_aad_ctx_t *ctx)
{
    uint32_t                         version;
    ngx_int_t                        rc;
    ngx_str_t                        token;
    aad_caller_t                     caller;
    ngx_http_aoai_aad_known_t        known;
    ngx_http_aoai_aad_main_conf_t   *amcf;
    ngx_http_aoai_aad_caller_key_t   key;

    rc = ngx_http_aoai_aad_caller_token(r, ctx, &token);

    if (rc != NGX_OK) {
        return rc;
    }

    if (ctx->caller && ctx->callers == alcf->callers) {
        return NGX_OK;
    }

    ctx->caller = NULL;

    amcf = ngx_http_get_module_main_conf(r, ngx_http_aoai_aad_module);

    ngx_memcpy(key.token, ctx->token_digest, AAD_DIGEST_BYTES);
    ngx_memcpy(key.context, alcf->callers_digest, AAD_DIGEST_BYTES);

    rc = ngx_http_aoai_aad_recall(amcf->callers, &key, &known, NULL, NULL, 0);

    if (rc == NGX_OK
        && known.version == ngx_http_aoai_aad_keys_version(alcf))
    {
        ngx_memzero(&caller, sizeof(aad_caller_t));

        ngx_memcpy(caller.object_id, known.object_id, AAD_ID_BYTES);
        ngx_memcpy(caller.client_id, known.client_id, AAD_ID_BYTES);
        ngx_memcpy(caller.tenant_id, known.tenant_id, AAD_ID_BYTES);
        ngx_memcpy(caller.name, known.name, AAD_CALLER_NAME_BYTES);
        caller.expires_on = known.expires_on;
        caller.app_only = known.app_only;

        return ngx_http_aoai_aad_pass(r, alcf, ctx, &caller);
    }

    /* of the keys before the check, or older ones than it had: those that came
       meanwhile are no reason to keep what they have not seen */

    version = ngx_http_aoai_aad_keys_version(alcf);

    rc = ngx_http_aoai_aad_validate(r, alcf, ctx, &token);

    if (rc != NGX_OK) {
        return rc;
    }

    ngx_memzero(&known, sizeof(ngx_http_aoai_aad_known_t));

    known.created = ngx_time();
    known.expires_on = (time_t) ctx->caller->expires_on;
    known.version = version;
    known.app_only = ctx->caller->app_only;
    ngx_memcpy(known.object_id, ctx->caller->object_id, AAD_ID_BYTES);
    ngx_memcpy(known.client_id, ctx->caller->client_id, AAD_ID_BYTES);
    ngx_memcpy(known.tenant_id, ctx->caller->tenant_id, AAD_ID_BYTES);
    ngx_memcpy(known.name, ctx->caller->name, AAD_CALLER_NAME_BYTES);

    ngx_http_aoai_aad_remember(amcf->callers, &key, &known, NULL);

    return NGX_OK;
}


/*
 * The token that the caller presents, with its digest in 'ctx'.  Returns as
 * ngx_http_aoai_aad_prepare(): NGX_DECLINED where there is none.
 */
ngx_int_t
ngx_http_aoai_aad_caller_token(ngx_http_request_t *r,
    ngx_http_aoai_aad_ctx_t *ctx, ngx_str_t *token)
{
    ngx_http_aoai_aad_main_conf_t  *amcf;

    static ngx_http_aoai_aad_answer_t  missing = {
        NGX_HTTP_UNAUTHORIZED, "invalid_token",
        "The gateway needs an access token of Entra ID, as \\\"Authorization: "
        "Bearer\\\", to know who calls.", "", NULL, ngx_null_string, 0
    };

    if (ngx_http_aoai_aad_bearer(r, token) != NGX_OK) {
        return ngx_http_aoai_aad_refuse_caller(r, ctx, &missing);
    }

    if (ctx->digested) {

        if (ctx->caller_token.data == token->data
            && ctx->caller_token.len == token->len)
        {
            return NGX_OK;
        }

        /* another module has put another one there: nothing that was found
           for the first may be had with it, or kept for it */

        ctx->digested = 0;
        ctx->caller = NULL;
        ctx->behalf = NULL;
    }

    amcf = ngx_http_get_module_main_conf(r, ngx_http_aoai_aad_module);

    if (aad_token_digest(amcf->token_digest, (char *) token->data, token->len,
                         ctx->token_digest)
        != 0)
    {
        return NGX_ERROR;
    }

    ctx->digested = 1;
    ctx->caller_token = *token;

    return NGX_OK;
}


/* RFC 6750, 2.1: the scheme in any case, one blank or more, the token */
static ngx_int_t
ngx_http_aoai_aad_bearer(ngx_http_request_t *r, ngx_str_t *token)
{
    u_char     *p, *last;
    ngx_str_t  *value;

    static const char  scheme[] = "Bearer ";

    if (r->headers_in.authorization == NULL) {
        return NGX_DECLINED;
    }

    value = &r->headers_in.authorization->value;

    if (value->len < sizeof(scheme)
        || ngx_strncasecmp(value->data, (u_char *) scheme, sizeof(scheme) - 1)
           != 0)
    {
        return NGX_DECLINED;
    }

    p = value->data + sizeof(scheme) - 1;
    last = value->data + value->len;

    while (p < last && *p == ' ') {
        p++;
    }

    token->data = p;
    token->len = last - p;

    return token->len ? NGX_OK : NGX_DECLINED;
}


static ngx_int_t
ngx_http_aoai_aad_validate(ngx_http_request_t *r,
    ngx_http_aoai_aad_loc_conf_t *alcf, ngx_http_aoai_aad_ctx_t *ctx,
    ngx_str_t *token)
{
    ngx_uint_t                      i, count;
    const char                     *reason;
    aad_caller_t                    caller;
    const aad_key_set_t           **key_sets;
    aad_caller_result_t             result;
    ngx_http_aoai_aad_identity_t  **identity;

    /* it was looked at, and newer keys have not come yet */

    if (ctx->keys == 1 + ngx_http_aoai_aad_keys_count(alcf)
        && ngx_http_aoai_aad_await_keys(alcf, ctx, 0) == NGX_AGAIN)
    {
        return NGX_AGAIN;
    }

    key_sets = ngx_palloc(r->pool, alcf->key_sets->nelts
                                   * sizeof(aad_key_set_t *));
    if (key_sets == NULL) {
        return NGX_ERROR;
    }

    identity = alcf->key_sets->elts;

again:

    for (i = 0; i < alcf->key_sets->nelts; i++) {
        key_sets[i] = ngx_http_aoai_aad_has_token(identity[i])
                      ? identity[i]->key_set : NULL;
    }

    count = ngx_http_aoai_aad_keys_count(alcf);

    result = aad_caller_check((char *) token->data, token->len,
                              alcf->callers->elts, alcf->callers->nelts,
                              key_sets, alcf->key_sets->nelts,
                              (int64_t) ngx_time(), &caller, &reason);

    if (result == AAD_CALLER_OK) {
        return ngx_http_aoai_aad_pass(r, alcf, ctx, &caller);
    }

    if (result == AAD_CALLER_UNKNOWN_KEY) {

        if (ngx_http_aoai_aad_await_keys(alcf, ctx, ctx->keys == 0)
            == NGX_AGAIN)
        {
            return NGX_AGAIN;
        }

        /* they may have come this very moment */

        if (count != ngx_http_aoai_aad_keys_count(alcf)) {
            goto again;
        }

        if (ngx_http_aoai_aad_no_keys(r, alcf, ctx) == NGX_OK) {
            return NGX_DECLINED;
        }
    }

    return ngx_http_aoai_aad_refuse_result(r, ctx, result, reason);
}


/*
 * The token is signed with a key that is not there.  Newer keys are asked for
 * once a minute at most, whatever callers present.  Returns NGX_AGAIN when
 * some are on their way, else NGX_DECLINED.
 */
static ngx_int_t
ngx_http_aoai_aad_await_keys(ngx_http_aoai_aad_loc_conf_t *alcf,
    ngx_http_aoai_aad_ctx_t *ctx, ngx_uint_t ask)
{
    ngx_int_t                       rc;
    ngx_uint_t                      i;
    ngx_http_aoai_aad_identity_t  **identity;

    if (ctx->timed_out) {
        return NGX_DECLINED;
    }

    ctx->keys = 1 + ngx_http_aoai_aad_keys_count(alcf);

    identity = alcf->key_sets->elts;
    rc = NGX_DECLINED;

    for (i = 0; i < alcf->key_sets->nelts; i++) {

        if (!ngx_http_aoai_aad_has_token(identity[i])) {

            if (ngx_http_aoai_aad_fetch(identity[i]) != NGX_AGAIN) {
                continue;
            }

        } else if (ask && ngx_http_aoai_aad_suspect(identity[i]) == NGX_OK) {
            ngx_http_aoai_aad_refresh(identity[i]);

        } else if (!ngx_http_aoai_aad_is_refreshing(identity[i])) {
            continue;
        }

        ngx_http_aoai_aad_watch(identity[i]);

        ctx->awaited = &identity[i]->waiting;
        rc = NGX_AGAIN;
    }

    return rc;
}


static ngx_int_t
ngx_http_aoai_aad_refuse_result(ngx_http_request_t *r,
    ngx_http_aoai_aad_ctx_t *ctx, aad_caller_result_t result,
    const char *reason)
{
    ngx_http_aoai_aad_answer_t  *answer;

    answer = ngx_pcalloc(r->pool, sizeof(ngx_http_aoai_aad_answer_t));
    if (answer == NULL) {
        return NGX_ERROR;
    }

    answer->reason = reason;

    if (result == AAD_CALLER_INSUFFICIENT) {

        /* RFC 6750, 3.1 */

        answer->status = NGX_HTTP_FORBIDDEN;
        answer->code = "insufficient_role";
        answer->message = "The caller's access token is valid, and lacks what "
                          "the gateway asks for: a role, a group, a scope, or "
                          "to be of a certain app or person.";
        answer->error = "insufficient_scope";

    } else {
        answer->status = NGX_HTTP_UNAUTHORIZED;
        answer->code = "invalid_token";
        answer->message = "The caller's access token is not one that the "
                          "gateway takes. WWW-Authenticate says why.";
        answer->error = "invalid_token";
    }

    return ngx_http_aoai_aad_refuse_caller(r, ctx, answer);
}


/* fetches so far */
static ngx_uint_t
ngx_http_aoai_aad_keys_count(ngx_http_aoai_aad_loc_conf_t *alcf)
{
    ngx_uint_t                      i, count;
    ngx_http_aoai_aad_identity_t  **identity;

    identity = alcf->key_sets->elts;
    count = 0;

    for (i = 0; i < alcf->key_sets->nelts; i++) {
        count += identity[i]->tokens;
    }

    return count;
}


/*
 * A name for the keys of all the tenants.  What was validated with others is
 * validated anew: its key may have been taken back.
 */
static uint32_t
ngx_http_aoai_aad_keys_version(ngx_http_aoai_aad_loc_conf_t *alcf)
{
    uint32_t                        version;
    ngx_uint_t                      i;
    ngx_http_aoai_aad_identity_t  **identity;

    identity = alcf->key_sets->elts;
    version = 0;

    for (i = 0; i < alcf->key_sets->nelts; i++) {
        if (ngx_http_aoai_aad_has_token(identity[i])) {
            version = version * 31 + identity[i]->key_set_version;
        }
    }

    return version;
}


/* Whether the authority cannot be asked, so that nothing is known of it. */
static ngx_int_t
ngx_http_aoai_aad_no_keys(ngx_http_request_t *r,
    ngx_http_aoai_aad_loc_conf_t *alcf, ngx_http_aoai_aad_ctx_t *ctx)
{
    ngx_uint_t                      i;
    ngx_msec_t                      msec;
    ngx_http_aoai_aad_answer_t     *answer;
    ngx_http_aoai_aad_identity_t  **identity;

    identity = alcf->key_sets->elts;

    for (i = 0; i < alcf->key_sets->nelts; i++) {
        if (!ngx_http_aoai_aad_has_token(identity[i])
            || identity[i]->life.failures)
        {
            break;
        }
    }

    if (i == alcf->key_sets->nelts) {
        return NGX_DECLINED;
    }

    ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                  "aoai_aad: a caller cannot be checked, the gateway has no "
                  "%V", &identity[i]->name);

    answer = ngx_pcalloc(r->pool, sizeof(ngx_http_aoai_aad_answer_t));
    if (answer == NULL) {
        return NGX_DECLINED;
    }

    msec = ngx_http_aoai_aad_retry_msec(identity[i]);

    answer->status = NGX_HTTP_SERVICE_UNAVAILABLE;
    answer->code = "keys_unavailable";
    answer->message = "The gateway cannot check the caller's access token at "
                      "the moment. Its error log says why.";
    answer->retry_after = msec ? msec : 1000;

    ctx->answer = answer;

    return NGX_OK;
}


/* The answer to a caller that may not pass.  Returns NGX_DECLINED. */
ngx_int_t
ngx_http_aoai_aad_refuse_caller(ngx_http_request_t *r,
    ngx_http_aoai_aad_ctx_t *ctx, ngx_http_aoai_aad_answer_t *answer)
{
    ngx_uint_t                      code;
    ngx_http_aoai_aad_main_conf_t  *amcf;

    amcf = ngx_http_get_module_main_conf(r, ngx_http_aoai_aad_module);

    code = answer->status == NGX_HTTP_FORBIDDEN
           ? NGX_HTTP_AOAI_AAD_INSUFFICIENT_ROLE
           : NGX_HTTP_AOAI_AAD_INVALID_TOKEN;

    ctx->answer = answer;

    /* for a look at who it is nobody is refused yet */

    if (ctx->looking) {
        return NGX_DECLINED;
    }

    (void) ngx_atomic_fetch_add(&amcf->totals->refused[code], 1);

    ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                  "aoai_aad: caller refused (%s): %s", answer->code,
                  answer->reason ? answer->reason : "no bearer token");

    return NGX_DECLINED;
}


/*
 * Who calls; NULL when it is not known, or not yet.  A limit wants to know it
 * before the access phase: it is looked at then, once, and never waited for.
 */
aad_caller_t *
ngx_http_aoai_aad_who(ngx_http_request_t *r)
{
    ngx_http_aoai_aad_ctx_t       *ctx;
    ngx_http_aoai_aad_loc_conf_t  *alcf;

    ctx = ngx_http_aoai_aad_last_ctx(r);

    if (ctx && (ctx->caller || ctx->looked)) {
        return ctx->caller;
    }

    alcf = ngx_http_get_module_loc_conf(r, ngx_http_aoai_aad_module);

    if (alcf->identity == NULL || alcf->callers == NULL) {
        return NULL;
    }

    ctx = ngx_http_aoai_aad_get_ctx(r);
    if (ctx == NULL) {
        return NULL;
    }

    ctx->looked = 1;
    ctx->looking = 1;

    (void) ngx_http_aoai_aad_check_caller(r, alcf, ctx);

    ctx->looking = 0;
    ctx->answer = NULL;

    return ctx->caller;
}


static ngx_int_t
ngx_http_aoai_aad_pass(ngx_http_request_t *r,
    ngx_http_aoai_aad_loc_conf_t *alcf, ngx_http_aoai_aad_ctx_t *ctx,
    aad_caller_t *caller)
{
    ctx->caller = ngx_palloc(r->pool, sizeof(aad_caller_t));
    if (ctx->caller == NULL) {
        return NGX_ERROR;
    }

    *ctx->caller = *caller;
    ctx->callers = alcf->callers;

    return NGX_OK;
}
