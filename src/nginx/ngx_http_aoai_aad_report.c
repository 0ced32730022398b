
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * What each step of a chain said last, kept in the identity's slot: the texts
 * of some steps are long and those of most are short, so they share a room of
 * a fixed size.
 */


#include "ngx_http_aoai_aad.h"


#define NGX_HTTP_AOAI_AAD_TEXTS     6       /* of a verdict */


static void ngx_http_aoai_aad_judge(ngx_http_aoai_aad_verdict_t *verdict,
    aad_attempt_t *attempt);
static size_t ngx_http_aoai_aad_blame(aad_report_t *report);
static void ngx_http_aoai_aad_write_error(ngx_http_aoai_aad_report_t *to,
    ngx_http_aoai_aad_verdict_t *verdict);
static char *ngx_http_aoai_aad_write_verdict(char *p, size_t room,
    ngx_http_aoai_aad_verdict_t *verdict);
static void ngx_http_aoai_aad_texts(ngx_http_aoai_aad_verdict_t *verdict,
    char **texts[NGX_HTTP_AOAI_AAD_TEXTS]);


/*
 * A walk over the whole chain is all that is known then.  A renewal, which
 * asks the step number 'only' alone, leaves the verdicts on the others as they
 * are.  An error stays until the next one, with its time: that it is over is
 * what the state says.
 */
void
ngx_http_aoai_aad_write_report(ngx_http_aoai_aad_identity_t *identity,
    ngx_http_aoai_aad_report_t *to, ngx_http_aoai_aad_report_t *previous,
    aad_report_t *report, size_t only)
{
    char                         *p, *last;
    size_t                        i, blame, count;
    ngx_http_aoai_aad_verdict_t   verdicts[AAD_CHAIN_STEPS_MAX];

    count = identity->settings.chain_length;

    if (only >= count
        || ngx_http_aoai_aad_read_report(previous, verdicts) != count)
    {
        ngx_memzero(verdicts, sizeof(verdicts));

        for (i = 0; i < count; i++) {
            verdicts[i].credential = (char *) aad_credential_type(
                                                identity->settings.chain[i]);
        }
    }

    to->last_error = previous->last_error;

    for (i = 0; i < report->count; i++) {
        ngx_http_aoai_aad_judge(&verdicts[only < count ? only : i],
                                &report->attempts[i]);
    }

    blame = ngx_http_aoai_aad_blame(report);

    if (blame < report->count) {
        ngx_http_aoai_aad_write_error(to, &verdicts[only < count ? only
                                                                 : blame]);
    }

    to->count = count;

    p = to->texts;
    last = to->texts + NGX_HTTP_AOAI_AAD_REPORT_BYTES;

    for (i = 0; i < count; i++) {
        to->steps[i].result = verdicts[i].result;
        to->steps[i].asked = verdicts[i].asked;
        to->steps[i].at = verdicts[i].at;

        p = ngx_http_aoai_aad_write_verdict(p, (last - p) / (count - i),
                                            &verdicts[i]);
    }
}


static void
ngx_http_aoai_aad_judge(ngx_http_aoai_aad_verdict_t *verdict,
    aad_attempt_t *attempt)
{
    verdict->credential = (char *) attempt->credential;
    verdict->result = attempt->result;
    verdict->asked = 1;
    verdict->at = ngx_time();

    /* what was said before a retry that brought the token is of no interest */

    if (attempt->result == AAD_OK) {
        verdict->code = NULL;
        verdict->correlation_id = NULL;
        verdict->trace_id = NULL;
        verdict->reason = NULL;
        verdict->hint = NULL;
        return;
    }

    verdict->code = attempt->code;
    verdict->correlation_id = attempt->correlation_id;
    verdict->trace_id = attempt->trace_id;
    verdict->reason = attempt->reason;
    verdict->hint = (char *) attempt->hint;
}


/*
 * The step whose words help most: one that failed, else one of which it is
 * known what it means, else the last.  Returns the count where there is a
 * token.
 */
static size_t
ngx_http_aoai_aad_blame(aad_report_t *report)
{
    size_t          i, blame;
    ngx_uint_t      rank, highest;
    aad_attempt_t  *attempt;

    blame = report->count;
    highest = 0;

    for (i = 0; i < report->count; i++) {

        attempt = &report->attempts[i];

        if (attempt->result == AAD_OK) {
            return report->count;
        }

        rank = attempt->result == AAD_FAILED ? 3
               : attempt->hint || attempt->code[0] ? 2 : 1;

        if (rank >= highest) {
            highest = rank;
            blame = i;
        }
    }

    return blame;
}


static void
ngx_http_aoai_aad_write_error(ngx_http_aoai_aad_report_t *to,
    ngx_http_aoai_aad_verdict_t *verdict)
{
    to->last_error.at = verdict->at;
    to->last_error.result = verdict->result;

    ngx_cpystrn((u_char *) to->last_error.credential,
                (u_char *) verdict->credential, AAD_ID_BYTES);
    ngx_cpystrn((u_char *) to->last_error.code,
                (u_char *) verdict->code, AAD_CODE_BYTES);
    ngx_cpystrn((u_char *) to->last_error.correlation_id,
                (u_char *) verdict->correlation_id, AAD_ID_BYTES);
    ngx_cpystrn((u_char *) to->last_error.trace_id,
                (u_char *) verdict->trace_id, AAD_ID_BYTES);
    ngx_cpystrn((u_char *) to->last_error.reason,
                (u_char *) verdict->reason, AAD_REASON_BYTES);
    ngx_cpystrn((u_char *) to->last_error.hint,
                (u_char *) (verdict->hint ? verdict->hint : ""),
                AAD_HINT_BYTES);
}


/* A step may have its share of the room, and what those before have left. */
static char *
ngx_http_aoai_aad_write_verdict(char *p, size_t room,
    ngx_http_aoai_aad_verdict_t *verdict)
{
    char        *text, **texts[NGX_HTTP_AOAI_AAD_TEXTS];
    size_t       length;
    ngx_uint_t   i;

    ngx_http_aoai_aad_texts(verdict, texts);

    /* a NUL for each that is still to come */

    room -= NGX_HTTP_AOAI_AAD_TEXTS;

    for (i = 0; i < NGX_HTTP_AOAI_AAD_TEXTS; i++) {
        text = *texts[i] ? *texts[i] : "";
        length = ngx_min(ngx_strlen(text), room);

        p = (char *) ngx_cpymem(p, text, length);
        *p++ = '\0';

        room -= length;
    }

    return p;
}


/*
 * Returns the number of steps, 0 before the first fetch.  The texts are those
 * of the report; none of them is NULL.
 */
ngx_uint_t
ngx_http_aoai_aad_read_report(ngx_http_aoai_aad_report_t *report,
    ngx_http_aoai_aad_verdict_t verdicts[AAD_CHAIN_STEPS_MAX])
{
    char        *p, **texts[NGX_HTTP_AOAI_AAD_TEXTS];
    ngx_uint_t   i, n;

    p = report->texts;

    for (i = 0; i < report->count; i++) {
        verdicts[i].result = report->steps[i].result;
        verdicts[i].asked = report->steps[i].asked;
        verdicts[i].at = report->steps[i].at;

        ngx_http_aoai_aad_texts(&verdicts[i], texts);

        for (n = 0; n < NGX_HTTP_AOAI_AAD_TEXTS; n++) {
            *texts[n] = p;
            p += ngx_strlen(p) + 1;
        }
    }

    return report->count;
}


/* in the order of their rank, should there be no room for all of them */
static void
ngx_http_aoai_aad_texts(ngx_http_aoai_aad_verdict_t *verdict,
    char **texts[NGX_HTTP_AOAI_AAD_TEXTS])
{
    texts[0] = &verdict->credential;
    texts[1] = &verdict->code;
    texts[2] = &verdict->correlation_id;
    texts[3] = &verdict->trace_id;
    texts[4] = &verdict->hint;
    texts[5] = &verdict->reason;
}


/* Returns false where there was none. */
ngx_uint_t
ngx_http_aoai_aad_read_error(ngx_http_aoai_aad_report_t *report,
    ngx_http_aoai_aad_verdict_t *verdict)
{
    verdict->credential = report->last_error.credential;
    verdict->result = report->last_error.result;
    verdict->asked = 1;
    verdict->at = report->last_error.at;
    verdict->code = report->last_error.code;
    verdict->correlation_id = report->last_error.correlation_id;
    verdict->trace_id = report->last_error.trace_id;
    verdict->reason = report->last_error.reason;
    verdict->hint = report->last_error.hint;

    return verdict->at != 0;
}
