
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * What aoai_aad_status shows: one model of the data, and the writers of its
 * forms, which add nothing to it.
 */


#ifndef _NGX_HTTP_AOAI_AAD_STATUS_H_INCLUDED_
#define _NGX_HTTP_AOAI_AAD_STATUS_H_INCLUDED_


#include "ngx_http_aoai_aad.h"


/* of an identity; texts of C that may hold anything, none of them secret */
typedef struct {
    char                           *name;
    char                           *scope;
    char                           *authority;
    aad_state_t                     state;
    ngx_uint_t                      ready;
    ngx_uint_t                      fetching;
    ngx_uint_t                      has_token;      /* or had one */
    ngx_http_aoai_aad_token_t       token;

    /* seconds from now, 0: past; -1: there is no such time */
    int64_t                         expires_in;
    int64_t                         refresh_in;

    /* of the token's life, in thousandths: now, the refresh, and the moment
       from which it is not used any more */
    ngx_uint_t                      used;
    ngx_uint_t                      refresh_point;
    ngx_uint_t                      last_use;

    time_t                          fetched;        /* 0: never */
    time_t                          failing_since;  /* 0: it is not */

    size_t                          chain_length;
    char                           *chain[AAD_CHAIN_STEPS_MAX];
    char                           *steps[AAD_CHAIN_STEPS_MAX];

    size_t                          verdict_count;  /* 0: no fetch yet */
    ngx_http_aoai_aad_verdict_t     verdicts[AAD_CHAIN_STEPS_MAX];
    ngx_uint_t                      has_error;
    ngx_http_aoai_aad_verdict_t     error;

    ngx_http_aoai_aad_counters_t    counters;

    ngx_http_aoai_aad_snapshot_t    snapshot;       /* the texts are here */
} ngx_http_aoai_aad_status_identity_t;


typedef struct {
    time_t                          now;
    char                           *ready_uri;      /* NULL: it has none */
    ngx_uint_t                      count;
    ngx_uint_t                      ready;          /* of them */
    ngx_http_aoai_aad_status_identity_t  *identities;
    ngx_http_aoai_aad_totals_t      totals;
} ngx_http_aoai_aad_status_t;


/* A growing text; after a failure, that memory is out, it takes no more. */
typedef struct {
    ngx_pool_t                     *pool;
    ngx_chain_t                    *first;
    ngx_chain_t                    *last;
    off_t                           length;
    unsigned                        failed:1;
} ngx_http_aoai_aad_writer_t;


typedef enum {
    NGX_HTTP_AOAI_AAD_STATUS_ANY = 0,       /* what is asked for */
    NGX_HTTP_AOAI_AAD_STATUS_JSON,
    NGX_HTTP_AOAI_AAD_STATUS_HTML,
    NGX_HTTP_AOAI_AAD_STATUS_PROMETHEUS
} ngx_http_aoai_aad_status_form_e;


/* writer */
void ngx_http_aoai_aad_write(ngx_http_aoai_aad_writer_t *w, const void *data,
    size_t length);
void ngx_http_aoai_aad_write_text(ngx_http_aoai_aad_writer_t *w,
    const char *text);
void ngx_http_aoai_aad_print(ngx_http_aoai_aad_writer_t *w,
    const char *format, ...);
void ngx_http_aoai_aad_write_time(ngx_http_aoai_aad_writer_t *w, time_t time);
uint32_t ngx_http_aoai_aad_next_character(const char **text);
void ngx_http_aoai_aad_write_character(ngx_http_aoai_aad_writer_t *w,
    uint32_t character);

/* accept */
ngx_http_aoai_aad_status_form_e ngx_http_aoai_aad_negotiate(
    ngx_http_request_t *r, ngx_http_aoai_aad_status_form_e form);

/* model */
ngx_http_aoai_aad_status_t *ngx_http_aoai_aad_collect(ngx_http_request_t *r);
ngx_uint_t ngx_http_aoai_aad_is_ready(
    ngx_http_aoai_aad_identity_t *identity);
const char *ngx_http_aoai_aad_state_name(aad_state_t state);
const char *ngx_http_aoai_aad_result_name(
    ngx_http_aoai_aad_verdict_t *verdict);

/* the forms */
void ngx_http_aoai_aad_status_json(ngx_http_aoai_aad_writer_t *w,
    ngx_http_aoai_aad_status_t *status);
void ngx_http_aoai_aad_status_prometheus(ngx_http_aoai_aad_writer_t *w,
    ngx_http_aoai_aad_status_t *status);
void ngx_http_aoai_aad_status_html(ngx_http_aoai_aad_writer_t *w,
    ngx_http_aoai_aad_status_t *status);
void ngx_http_aoai_aad_ready_json(ngx_http_aoai_aad_writer_t *w,
    ngx_http_aoai_aad_status_t *status);

/* page */
extern const char *const  ngx_http_aoai_aad_page_style;
extern const char *const  ngx_http_aoai_aad_page_script;
ngx_int_t ngx_http_aoai_aad_page_policy(ngx_conf_t *cf, ngx_str_t *policy);


#endif /* _NGX_HTTP_AOAI_AAD_STATUS_H_INCLUDED_ */
