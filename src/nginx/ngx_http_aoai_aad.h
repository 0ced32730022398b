
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * What the files of this folder share; for this folder only.
 */


#ifndef _NGX_HTTP_AOAI_AAD_H_INCLUDED_
#define _NGX_HTTP_AOAI_AAD_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http.h>

#include "aad.h"
#include "caller.h"
#include "ngx_http_aoai_aad_counters.h"


#define NGX_HTTP_AOAI_AAD_OFF           0
#define NGX_HTTP_AOAI_AAD_ON            1
#define NGX_HTTP_AOAI_AAD_ON_BEHALF_OF  2

/* a fetch may take as long, however little time a request has */
#define NGX_HTTP_AOAI_AAD_FETCH_MSEC    10000


/* what is known of a token besides its bytes */
typedef struct {
    time_t                          expires_on;
    ngx_uint_t                      step;
    char                            credential[AAD_ID_BYTES];
    char                            client_id[AAD_ID_BYTES];
    char                            object_id[AAD_ID_BYTES];
    char                            tenant_id[AAD_ID_BYTES];
} ngx_http_aoai_aad_token_t;


typedef struct {
    ngx_http_aoai_aad_token_t       token;
    size_t                          length;
    u_char                          data[AAD_TOKEN_BYTES_MAX];
} ngx_http_aoai_aad_record_t;


/* what a step of the chain said last; texts of C, in a report or a copy */
typedef struct {
    char                           *credential;
    aad_result_t                    result;
    ngx_uint_t                      asked;          /* 0: skipped */
    time_t                          at;
    char                           *code;
    char                           *correlation_id;
    char                           *trace_id;
    char                           *reason;
    char                           *hint;
} ngx_http_aoai_aad_verdict_t;


#define NGX_HTTP_AOAI_AAD_REPORT_BYTES  4096

/* the same in shared memory, where a pointer says nothing */
typedef struct {
    ngx_uint_t                      count;          /* steps; 0: no fetch */
    struct {
        aad_result_t                result;
        ngx_uint_t                  asked;
        time_t                      at;
    } steps[AAD_CHAIN_STEPS_MAX];

    /* the texts of each step one after the other, each with its NUL */
    char                            texts[NGX_HTTP_AOAI_AAD_REPORT_BYTES];

    struct {
        time_t                      at;             /* 0: there was none */
        aad_result_t                result;
        char                        credential[AAD_ID_BYTES];
        char                        code[AAD_CODE_BYTES];
        char                        correlation_id[AAD_ID_BYTES];
        char                        trace_id[AAD_ID_BYTES];
        char                        reason[AAD_REASON_BYTES];
        char                        hint[AAD_HINT_BYTES];
    } last_error;
} ngx_http_aoai_aad_report_t;


typedef struct {
    aad_life_t                      life;
    ngx_uint_t                      record;         /* the token's */
    ngx_uint_t                      report;         /* the last fetch's */
    ngx_uint_t                      tokens;         /* stored so far */
    time_t                          fetched;        /* the last of them */
    time_t                          failing_since;  /* 0: it is not */
    time_t                          failure_logged;
    time_t                          denial_logged;
} ngx_http_aoai_aad_state_t;


/*
 * One identity in shared memory.  A change is written to the state that is not
 * in force, and its token to the record that is not; then one word, the
 * sequence, puts both in force: a worker killed in the midst of it leaves
 * nothing half.  The sequence is all that is read without the zone's mutex.
 */
typedef struct {
    ngx_queue_t                     queue;
    ngx_uint_t                      configuration;  /* last one that used it */
    u_char                          digest[AAD_DIGEST_BYTES];

    ngx_atomic_t                    sequence;       /* odd: state[1] */
    ngx_http_aoai_aad_state_t       state[2];
    ngx_http_aoai_aad_record_t      record[2];
    ngx_http_aoai_aad_report_t      report[2];

    /* far from the sequence, which is read more often than written */
    ngx_http_aoai_aad_counters_t    counters;
} ngx_http_aoai_aad_slot_t;


typedef struct {
    ngx_queue_t                     slots;
    ngx_uint_t                      configuration;  /* counts the reloads */
    ngx_http_aoai_aad_totals_t      totals;
} ngx_http_aoai_aad_shared_t;


typedef struct ngx_http_aoai_aad_fetch_s  ngx_http_aoai_aad_fetch_t;
typedef struct ngx_http_aoai_aad_refusal_s  ngx_http_aoai_aad_refusal_t;
typedef struct ngx_http_aoai_aad_callers_s  ngx_http_aoai_aad_callers_t;


/* a slot without the token */
typedef struct {
    ngx_http_aoai_aad_state_t       state;
    ngx_http_aoai_aad_token_t       token;
    ngx_http_aoai_aad_report_t      report;
    ngx_http_aoai_aad_counters_t    counters;
} ngx_http_aoai_aad_snapshot_t;


/* ways to present a credential to Azure OpenAI, other than the token */
#define NGX_HTTP_AOAI_AAD_KEY_ARGUMENT     "api-key"
#define NGX_HTTP_AOAI_AAD_KEY_SUBPROTOCOL  "openai-insecure-api-key."

/* a header whose name is as long as none of these is none of them */
#define NGX_HTTP_AOAI_AAD_MAY_HAVE_KEY(length)                                \
    ((length) < 32                                                            \
     && ((1U << (sizeof("api-key") - 1)                                       \
          | 1U << (sizeof("authorization") - 1)                               \
          | 1U << (sizeof("ocp-apim-subscription-key") - 1)                   \
          | 1U << (sizeof("sec-websocket-protocol") - 1))                     \
         & 1U << (length)))

#define NGX_HTTP_AOAI_AAD_LINE        "Authorization: Bearer "

/* besides the token's */
#define NGX_HTTP_AOAI_AAD_LINE_BYTES                                          \
    (sizeof(NGX_HTTP_AOAI_AAD_LINE) - 1 + sizeof(CRLF CRLF) - 1)

/*
 * The end of a request's head: the token's whole header, and the empty line.
 * Requests send it from here, and none of them copies it: it is wiped when it
 * is neither an identity's any more nor in the hands of one of them.
 */
typedef struct {
    ngx_uint_t                      uses;
    size_t                          length;
    u_char                          data[1];
} ngx_http_aoai_aad_line_t;


/*
 * Equal settings are one identity, however many locations use it.  A tenant's
 * key set is one too: all that is fetched ahead of time, kept for all workers
 * and waited for goes the same way.
 */
typedef struct {
    ngx_str_t                       name;
    aad_settings_t                  settings;
    u_char                          digest[AAD_DIGEST_BYTES];
    ngx_msec_t                      timeout;    /* of a fetch */
    char                           *tenant_id;  /* of a key set, else NULL */
    ngx_http_aoai_aad_slot_t       *slot;       /* NULL: on behalf of */
    ngx_slab_pool_t                *shpool;     /* of the slot */

    /* this worker's own, as of that sequence */
    ngx_atomic_uint_t               sequence;
    aad_life_t                      life;
    ngx_uint_t                      tokens;
    ngx_http_aoai_aad_token_t       token;
    ngx_msec_t                      usable_until;   /* 0: to be looked at */
    time_t                          usable_until_sec;
    ngx_http_aoai_aad_line_t       *line;       /* NULL: no token */
    aad_key_set_t                  *key_set;
    uint32_t                        key_set_version;
    ngx_queue_t                     waiting;
    ngx_event_t                     refresh;
    ngx_event_t                     watch;
    ngx_thread_task_t              *task;
    unsigned                        fetching:1;
    unsigned                        late:1;     /* and said so in the log */

    /* on behalf of callers */
    time_t                          behalf_logged;
    time_t                          denial_logged;
} ngx_http_aoai_aad_identity_t;


/* where in the configuration something stands */
typedef struct {
    ngx_str_t                       file;
    ngx_uint_t                      line;       /* 0: nowhere */
} ngx_http_aoai_aad_place_t;


typedef struct {
    ngx_str_t                       name;       /* lower case, no final dot */
    in_port_t                       port;       /* 0: any */
    unsigned                        wildcard:1; /* name: ".suffix" */
    unsigned                        fits:1;     /* an authority's cloud */
    char                           *misfit;     /* the authority it does not */
    ngx_http_aoai_aad_place_t       place;
} ngx_http_aoai_aad_host_t;


typedef struct {
    ngx_array_t                     identities; /* identity_t * */
    ngx_array_t                     behalf;     /* those that others stand
                                                   behind; identity_t * */
    ngx_array_t                     key_sets;   /* identity_t * */
    ngx_array_t                     fetched;    /* identities, key sets */
    ngx_array_t                    *default_chain;
    size_t                          cache_size;
    ngx_http_aoai_aad_totals_t     *totals;     /* in shared memory where
                                                   there is some; never NULL */
    ngx_http_aoai_aad_callers_t    *callers;    /* NULL: no location asks */
    aad_token_digest_t             *token_digest;   /* this worker's */
    ngx_thread_pool_t              *thread_pool;
    ngx_queue_t                     exchanges;  /* of this worker */
    ngx_uint_t                      exchanging;
    ngx_uint_t                      exchanges_known;    /* and waited for */
    ngx_event_t                     exchange_watch;

    /* proxy_pass's own */
    ngx_http_handler_pt             proxy_handler;
    ngx_http_get_variable_pt        proxy_host_handler;
    ngx_int_t                     (*input_filter_init)(void *data);
    void                          (*finalize_request)(ngx_http_request_t *r,
                                         ngx_int_t rc);

    /* the warnings */
    ngx_array_t                    *checked;    /* what was looked at */
    ngx_array_t                     host_lists; /* ngx_array_t *, of host_t */

    ngx_str_t                       page_policy;    /* of the status page */

    /* of the environment, read with the first location that needs them */
    aad_defaults_t                 *defaults;
} ngx_http_aoai_aad_main_conf_t;


/* a location whose heads have no line but of the request's headers and of names
   that are known */
typedef struct {
    ngx_int_t                       host;       /* the index of $proxy_host */
    u_char                          own[256];   /* by the end of a header's
                                                   hash, whether proxy_pass may
                                                   have a header of its own in
                                                   the place of that one */
} ngx_http_aoai_aad_plain_t;


typedef struct {
    ngx_uint_t                      mode;
    ngx_array_t                    *credentials;    /* aad_credential_t * */
    ngx_str_t                       scope;
    ngx_str_t                       authority_host;
    ngx_str_t                       ca_certificates;
    ngx_str_t                       proxy;          /* "": off */
    ngx_array_t                    *allowed_hosts;  /* host_t */
    ngx_msec_t                      timeout;
    ngx_array_t                    *callers;        /* caller_rule_t * */
    ngx_msec_t                      behalf_max_age; /* 0: the token's life */
    ngx_http_aoai_aad_place_t       mode_place;     /* not inherited */
    ngx_http_aoai_aad_place_t       callers_place;  /* not inherited */
    ngx_http_aoai_aad_place_t       scope_place;
    ngx_http_aoai_aad_place_t       authority_place;

    /* of a location with aoai_aad_status; not inherited */
    ngx_uint_t                      status_form;
    ngx_http_aoai_aad_place_t       status_place;

    /* found while the levels are merged; NULL where nothing is to be done */
    ngx_http_aoai_aad_identity_t   *identity;
    ngx_http_handler_pt             handler;        /* what proxy_pass set */
    ngx_array_t                    *key_sets;       /* identity_t *, of the
                                                       callers' tenants */
    u_char                          callers_digest[AAD_DIGEST_BYTES];
    unsigned                        asks_callers:1; /* for a token */
    ngx_http_aoai_aad_plain_t      *plain;      /* NULL: each head has to be
                                                   looked at */

    /* what this worker has said of hosts that may have no token */
    time_t                          denial_logged;
    ngx_uint_t                      denials_logged;
    uint32_t                        denied_host;

    /* this worker's verdict on the location's fixed upstream */
    ngx_http_upstream_srv_conf_t   *allowed_upstream;
} ngx_http_aoai_aad_loc_conf_t;


/* what a request gets that does not go upstream; static texts */
typedef struct {
    ngx_uint_t                      status;
    const char                     *code;
    const char                     *message;
    const char                     *error;      /* of WWW-Authenticate; "": the
                                                   header alone, NULL: none */
    const char                     *reason;
    ngx_str_t                       claims;
    ngx_msec_t                      retry_after;    /* 0: not said */
} ngx_http_aoai_aad_answer_t;


/* a token that was exchanged for the caller's */
typedef struct {
    ngx_str_t                       line;       /* as of an identity */
    time_t                          usable_until;
    time_t                          created;
    ngx_http_aoai_aad_token_t       token;
} ngx_http_aoai_aad_behalf_t;


typedef struct {
    ngx_queue_t                     queue;
    ngx_queue_t                    *queued;     /* where; NULL: nowhere */
    ngx_msec_t                      started;
    ngx_event_t                     event;
} ngx_http_aoai_aad_wait_t;


/*
 * It is its own cleanup, and so found again where an internal redirect took
 * it away.
 */
typedef struct {
    ngx_pool_cleanup_t              cleanup;
    ngx_http_request_t             *request;
    ngx_http_aoai_aad_identity_t   *identity;   /* of the location */
    ngx_http_aoai_aad_cache_status_e   cache_status;
    unsigned                        waiting:1;
    unsigned                        timed_out:1;
    unsigned                        digested:1;
    unsigned                        looking:1;  /* who calls, for a variable */
    unsigned                        looked:1;
    unsigned                        sent:1;     /* with a token */
    unsigned                        exchanges:8;    /* waited for */
    ngx_msec_t                      wait_time;
    ngx_http_aoai_aad_wait_t       *wait;       /* NULL: it never did */
    ngx_http_aoai_aad_answer_t     *answer;
    aad_caller_t                   *caller;     /* NULL: not validated */
    ngx_uint_t                      keys;       /* asked for a newer key set
                                                   than these; 0: none */
    ngx_http_aoai_aad_behalf_t     *behalf;
    ngx_http_aoai_aad_refusal_t    *refusal;
    ngx_http_aoai_aad_line_t       *line;       /* in use by this request */
    ngx_int_t                     (*create_request)(ngx_http_request_t *r);

    /* from here on not zeroed, for something above says when it is set, or
       the request does not get to where it is used */

    ngx_queue_t                    *awaited;    /* after NGX_AGAIN */
    ngx_array_t                    *callers;    /* the caller's rules */
    ngx_str_t                       caller_token;   /* whose digest it is */
    u_char                          token_digest[AAD_DIGEST_BYTES];
    ngx_str_t                       authorization;  /* the line's bytes, or
                                                       those of "behalf" */
    ngx_msec_t                      authorized; /* when it was looked at */
    ngx_uint_t                      token;      /* the one sent */
    ngx_buf_t                       buf;        /* of the line */
    ngx_chain_t                     link;
    ngx_chain_t                     spare[2];   /* for nginx */
} ngx_http_aoai_aad_ctx_t;


/* module */
char *ngx_http_aoai_aad_credential(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_aoai_aad_allowed_hosts(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
ngx_int_t ngx_http_aoai_aad_add_variables(ngx_conf_t *cf);

/* credential: the chain and the identity of a location */
ngx_int_t ngx_http_aoai_aad_identify(ngx_conf_t *cf,
    ngx_http_aoai_aad_loc_conf_t *alcf);

/* hosts */
ngx_array_t *ngx_http_aoai_aad_default_hosts(ngx_conf_t *cf);
ngx_int_t ngx_http_aoai_aad_look_at_destination(ngx_http_request_t *r,
    ngx_http_aoai_aad_loc_conf_t *alcf);
ngx_uint_t ngx_http_aoai_aad_is_remote(ngx_str_t *text);
ngx_uint_t ngx_http_aoai_aad_is_loopback(ngx_str_t *name);

/* clouds */
ngx_int_t ngx_http_aoai_aad_check_clouds(ngx_conf_t *cf,
    ngx_http_aoai_aad_loc_conf_t *alcf);
void ngx_http_aoai_aad_check_lists(ngx_conf_t *cf,
    ngx_http_aoai_aad_main_conf_t *amcf);
void ngx_http_aoai_aad_set_place(ngx_conf_t *cf,
    ngx_http_aoai_aad_place_t *place);
ngx_int_t ngx_http_aoai_aad_is_new(ngx_conf_t *cf, void *one, void *other);
void ngx_http_aoai_aad_log_at(ngx_conf_t *cf, ngx_uint_t level,
    ngx_http_aoai_aad_place_t *place, const char *name, const char *text);

/* location */
ngx_int_t ngx_http_aoai_aad_check_location(ngx_conf_t *cf,
    ngx_http_aoai_aad_loc_conf_t *alcf);
void *ngx_http_aoai_aad_proxy_value(ngx_conf_t *cf, const char *directive);
void ngx_http_aoai_aad_check_handler(ngx_conf_t *cf,
    ngx_http_aoai_aad_loc_conf_t *alcf);
ngx_http_upstream_conf_t *ngx_http_aoai_aad_upstream_conf(ngx_conf_t *cf);

/* status */
char *ngx_http_aoai_aad_set_status(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_aoai_aad_check_status(ngx_conf_t *cf,
    ngx_http_aoai_aad_loc_conf_t *alcf);

/* access */
ngx_int_t ngx_http_aoai_aad_access_handler(ngx_http_request_t *r);
ngx_int_t ngx_http_aoai_aad_precontent_handler(ngx_http_request_t *r);
ngx_int_t ngx_http_aoai_aad_prepare(ngx_http_request_t *r,
    ngx_http_aoai_aad_loc_conf_t *alcf, ngx_http_aoai_aad_ctx_t *ctx);
ngx_http_aoai_aad_ctx_t *ngx_http_aoai_aad_create_ctx(ngx_http_request_t *r);
ngx_http_aoai_aad_ctx_t *ngx_http_aoai_aad_last_ctx(ngx_http_request_t *r);

/* wait */
ngx_int_t ngx_http_aoai_aad_wait(ngx_http_request_t *r,
    ngx_http_aoai_aad_loc_conf_t *alcf, ngx_http_aoai_aad_ctx_t *ctx);
ngx_int_t ngx_http_aoai_aad_go_on(ngx_http_request_t *r,
    ngx_http_aoai_aad_ctx_t *ctx);
void ngx_http_aoai_aad_wake(ngx_queue_t *queue);
void ngx_http_aoai_aad_dismiss(ngx_queue_t *queue);
int ngx_http_aoai_aad_cancelled(void *data);

/* answer */
ngx_int_t ngx_http_aoai_aad_unavailable(ngx_http_request_t *r);
ngx_int_t ngx_http_aoai_aad_answer(ngx_http_request_t *r,
    ngx_http_aoai_aad_answer_t *answer);

/* caller */
char *ngx_http_aoai_aad_caller(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
void ngx_http_aoai_aad_check_idle_callers(ngx_conf_t *cf,
    ngx_http_aoai_aad_loc_conf_t *alcf);
char *ngx_http_aoai_aad_check_callers(ngx_conf_t *cf,
    ngx_http_aoai_aad_loc_conf_t *alcf);
ngx_int_t ngx_http_aoai_aad_check_caller(ngx_http_request_t *r,
    ngx_http_aoai_aad_loc_conf_t *alcf, ngx_http_aoai_aad_ctx_t *ctx);
ngx_int_t ngx_http_aoai_aad_caller_token(ngx_http_request_t *r,
    ngx_http_aoai_aad_ctx_t *ctx, ngx_str_t *token);
aad_caller_t *ngx_http_aoai_aad_who(ngx_http_request_t *r);
ngx_int_t ngx_http_aoai_aad_refuse_caller(ngx_http_request_t *r,
    ngx_http_aoai_aad_ctx_t *ctx, ngx_http_aoai_aad_answer_t *answer);

/* key_set */
ngx_int_t ngx_http_aoai_aad_add_key_set(ngx_conf_t *cf,
    ngx_http_aoai_aad_loc_conf_t *alcf, const char *tenant_id);
aad_result_t ngx_http_aoai_aad_get_key_set(
    ngx_http_aoai_aad_identity_t *key_set, aad_token_t *token,
    aad_report_t *report);
ngx_int_t ngx_http_aoai_aad_read_key_set(
    ngx_http_aoai_aad_identity_t *key_set, u_char *document, size_t length);
ngx_uint_t ngx_http_aoai_aad_is_refreshing(
    ngx_http_aoai_aad_identity_t *key_set);

/* callers_zone */
ngx_int_t ngx_http_aoai_aad_add_callers_zone(ngx_conf_t *cf,
    ngx_http_aoai_aad_main_conf_t *amcf);

/* behalf */
ngx_int_t ngx_http_aoai_aad_init_behalf(ngx_cycle_t *cycle,
    ngx_http_aoai_aad_main_conf_t *amcf);
ngx_int_t ngx_http_aoai_aad_act_on_behalf(ngx_http_request_t *r,
    ngx_http_aoai_aad_loc_conf_t *alcf, ngx_http_aoai_aad_ctx_t *ctx);
void ngx_http_aoai_aad_drop_behalf(ngx_http_request_t *r,
    ngx_http_aoai_aad_identity_t *identity, ngx_http_aoai_aad_ctx_t *ctx);


/* send */
ngx_int_t ngx_http_aoai_aad_content_handler(ngx_http_request_t *r);

/* refusal */
ngx_int_t ngx_http_aoai_aad_read_refusal(ngx_http_request_t *r);
void ngx_http_aoai_aad_end_refusal(ngx_http_request_t *r);

/* head */
ngx_uint_t ngx_http_aoai_aad_is_clean_head(ngx_buf_t *b, ngx_str_t *uri);
u_char *ngx_http_aoai_aad_clean_head(ngx_buf_t *b, ngx_str_t *uri);

/* plain */
ngx_http_get_variable_pt ngx_http_aoai_aad_proxy_host_handler(ngx_conf_t *cf);
ngx_int_t ngx_http_aoai_aad_look_at_heads(ngx_conf_t *cf,
    ngx_http_aoai_aad_plain_t **plain);

/* hide */
ngx_int_t ngx_http_aoai_aad_hide_credentials(ngx_http_request_t *r,
    ngx_http_aoai_aad_plain_t *plain);
void ngx_http_aoai_aad_show_credentials(ngx_http_request_t *r);

/* header */
ngx_table_elt_t *ngx_http_aoai_aad_find_header(ngx_list_t *headers,
    const char *name, ngx_uint_t number);
ngx_int_t ngx_http_aoai_aad_add_header(ngx_http_request_t *r,
    const char *name, ngx_str_t *value);

/* cache */
ngx_int_t ngx_http_aoai_aad_add_zone(ngx_conf_t *cf,
    ngx_http_aoai_aad_main_conf_t *amcf);
ngx_int_t ngx_http_aoai_aad_init_module(ngx_cycle_t *cycle);
void ngx_http_aoai_aad_keep_out_of_dumps(ngx_shm_zone_t *zone);
ngx_uint_t ngx_http_aoai_aad_is_alive(ngx_pid_t pid);
ngx_uint_t ngx_http_aoai_aad_log_due(time_t *logged);
ngx_int_t ngx_http_aoai_aad_look(ngx_http_aoai_aad_identity_t *identity);
u_char *ngx_http_aoai_aad_write_line(u_char *p, u_char *token, size_t length);
void ngx_http_aoai_aad_release_line(ngx_http_aoai_aad_line_t *line);
ngx_int_t ngx_http_aoai_aad_lease(ngx_http_aoai_aad_identity_t *identity,
    ngx_msec_t *delay);
void ngx_http_aoai_aad_release(ngx_http_aoai_aad_identity_t *identity);
ngx_int_t ngx_http_aoai_aad_store(ngx_http_aoai_aad_identity_t *identity,
    aad_token_t *token, aad_report_t *report, size_t only);
ngx_uint_t ngx_http_aoai_aad_failed(ngx_http_aoai_aad_identity_t *identity,
    int retry_after, aad_report_t *report, size_t only);
ngx_int_t ngx_http_aoai_aad_suspect(ngx_http_aoai_aad_identity_t *identity);
ngx_uint_t ngx_http_aoai_aad_denied(ngx_http_aoai_aad_identity_t *identity);
void ngx_http_aoai_aad_forget(ngx_http_aoai_aad_identity_t *identity);
ngx_msec_t ngx_http_aoai_aad_retry_msec(
    ngx_http_aoai_aad_identity_t *identity);
ngx_int_t ngx_http_aoai_aad_snapshot(ngx_http_aoai_aad_identity_t *identity,
    ngx_http_aoai_aad_snapshot_t *snapshot);
void ngx_http_aoai_aad_moment(aad_moment_t *now);

/* report */
void ngx_http_aoai_aad_write_report(ngx_http_aoai_aad_identity_t *identity,
    ngx_http_aoai_aad_report_t *to, ngx_http_aoai_aad_report_t *previous,
    aad_report_t *report, size_t only);
ngx_uint_t ngx_http_aoai_aad_read_report(ngx_http_aoai_aad_report_t *report,
    ngx_http_aoai_aad_verdict_t verdicts[AAD_CHAIN_STEPS_MAX]);
ngx_uint_t ngx_http_aoai_aad_read_error(ngx_http_aoai_aad_report_t *report,
    ngx_http_aoai_aad_verdict_t *verdict);

/* counters */
void ngx_http_aoai_aad_count_request(ngx_http_aoai_aad_identity_t *identity,
    ngx_http_aoai_aad_ctx_t *ctx);
void ngx_http_aoai_aad_count_wait(ngx_http_aoai_aad_identity_t *identity,
    ngx_msec_t msec);
void ngx_http_aoai_aad_count_denied_host(
    ngx_http_aoai_aad_identity_t *identity);
void ngx_http_aoai_aad_count_fetch(ngx_http_aoai_aad_identity_t *identity,
    aad_result_t result, aad_report_t *report);

/* refresh */
ngx_http_aoai_aad_main_conf_t *ngx_http_aoai_aad_cycle_conf(
    ngx_cycle_t *cycle);
ngx_int_t ngx_http_aoai_aad_init_process(ngx_cycle_t *cycle);
void ngx_http_aoai_aad_exit_process(ngx_cycle_t *cycle);
ngx_int_t ngx_http_aoai_aad_fetch(ngx_http_aoai_aad_identity_t *identity);
void ngx_http_aoai_aad_refresh(ngx_http_aoai_aad_identity_t *identity);
void ngx_http_aoai_aad_watch(ngx_http_aoai_aad_identity_t *identity);


/*
 * Whether there is a token to send now, in identity->line, or a key set to
 * check with, in identity->key_set: the question of every request, more than
 * once.  While the worker's copy is the newest, and not near its end, three
 * comparisons answer it.
 */
static ngx_inline ngx_int_t
ngx_http_aoai_aad_has_token(ngx_http_aoai_aad_identity_t *identity)
{
    if (identity->slot->sequence == identity->sequence
        && ngx_current_msec < identity->usable_until
        && ngx_time() < identity->usable_until_sec)
    {
        return 1;
    }

    return ngx_http_aoai_aad_look(identity);
}


/*
 * Whether the request may take a token to where nginx is about to connect, as
 * ngx_http_aoai_aad_look_at_destination() says; the location's own upstream
 * and scheme never change.
 */
static ngx_inline ngx_int_t
ngx_http_aoai_aad_destination(ngx_http_request_t *r,
    ngx_http_aoai_aad_loc_conf_t *alcf)
{
    if (r->upstream->resolved == NULL
        && alcf->allowed_upstream != NULL
        && r->upstream->conf->upstream == alcf->allowed_upstream)
    {
        return NGX_OK;
    }

    return ngx_http_aoai_aad_look_at_destination(r, alcf);
}


/*
 * Whether the name is 'lowcase', of no less than four bytes and the same
 * length, but for the case of its letters.  Four bytes at a time, for a name
 * like a credential's is in most requests.
 */
static ngx_inline ngx_uint_t
ngx_http_aoai_aad_is_same_name(u_char *name, const char *lowcase,
    size_t length)
{
    size_t    i;
    uint32_t  given, wanted, difference;

    difference = 0;

    for (i = 0; i < length; i += 4) {

        i = ngx_min(i, length - 4);

        ngx_memcpy(&given, name + i, 4);
        ngx_memcpy(&wanted, lowcase + i, 4);

        /* no other character of a name becomes a letter by it, or "-" */

        difference |= (given | 0x20202020) ^ wanted;
    }

    return difference == 0;
}


/* Whether a header of this name is a credential. */
static ngx_inline ngx_uint_t
ngx_http_aoai_aad_is_credential(u_char *name, size_t length)
{
    switch (length) {

    case sizeof("api-key") - 1:
        return ngx_http_aoai_aad_is_same_name(name, "api-key",
                                              sizeof("api-key") - 1);

    case sizeof("authorization") - 1:
        return ngx_http_aoai_aad_is_same_name(name, "authorization",
                                              sizeof("authorization") - 1);

    case sizeof("ocp-apim-subscription-key") - 1:
        return ngx_http_aoai_aad_is_same_name(name,
                                    "ocp-apim-subscription-key",
                                    sizeof("ocp-apim-subscription-key") - 1);

    default:
        return 0;
    }
}


/* Whether a key can be among the values of a header of this name. */
static ngx_inline ngx_uint_t
ngx_http_aoai_aad_has_subprotocols(u_char *name, size_t length)
{
    return length == sizeof("sec-websocket-protocol") - 1
           && ngx_strncasecmp(name, (u_char *) "sec-websocket-protocol",
                              length) == 0;
}


/* clocks and cancellation, for what runs in a thread */
extern const aad_hooks_t  ngx_http_aoai_aad_hooks;

extern ngx_module_t  ngx_http_aoai_aad_module;

/* of nginx, which declares it in a header since 1.29.4 alone */
extern ngx_module_t  ngx_http_proxy_module;


/* The request's context, made at need; NULL when memory is out. */
static ngx_inline ngx_http_aoai_aad_ctx_t *
ngx_http_aoai_aad_get_ctx(ngx_http_request_t *r)
{
    ngx_http_aoai_aad_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_aoai_aad_module);

    return ctx ? ctx : ngx_http_aoai_aad_create_ctx(r);
}


#endif /* _NGX_HTTP_AOAI_AAD_H_INCLUDED_ */
