
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * "Why have I no token" in one line, of whatever length there is room for.
 */


#include "aad.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>


/* a reason that has to be cut is not cut below this */
#define AAD_REPORT_REASON_BYTES_MIN  40

/* what may be left out, in this order, when the room is less still */
typedef enum {
    AAD_REPORT_ALL = 0,
    AAD_REPORT_NO_TRACE_IDS,                /* but the last step's */
    AAD_REPORT_NO_HINTS,                    /* but the last step's */
    AAD_REPORT_NO_IDS,                      /* but the last step's */
    AAD_REPORT_NO_SKIPPED,
    AAD_REPORT_LAST_STEP,                   /* alone */
    AAD_REPORT_NOTHING
} aad_report_form_t;

/* A text that ends where its room does; a NULL one is only measured. */
typedef struct {
    char                   *text;
    size_t                  size;           /* bytes, with the NUL */
    size_t                  length;
} aad_report_writer_t;


static size_t aad_report_write(const aad_report_t *report,
    aad_report_form_t form, size_t limit, char *text, size_t size);
static void aad_report_attempt(aad_report_writer_t *writer,
    const aad_attempt_t *attempt, aad_report_form_t form, size_t limit);
static int aad_report_says_code(const aad_attempt_t *attempt, size_t limit);
static size_t aad_report_limit(const aad_report_t *report,
    aad_report_form_t form, size_t size);
static void aad_report_add(aad_report_writer_t *writer, const char *format,
    ...) __attribute__((format(printf, 2, 3)));


size_t
aad_report_text(const aad_report_t *report, char *text, size_t size)
{
    size_t             limit;
    aad_report_form_t  form;

    for (form = AAD_REPORT_ALL; form < AAD_REPORT_NOTHING; form++) {

        limit = aad_report_limit(report, form, size);

        if (limit != 0) {
            return aad_report_write(report, form, limit, text, size);
        }
    }

    return aad_report_write(report, AAD_REPORT_LAST_STEP, 1, text, size);
}


/* Returns the length that it has, or would have with a NULL text. */
static size_t
aad_report_write(const aad_report_t *report, aad_report_form_t form,
    size_t limit, char *text, size_t size)
{
    size_t               i;
    aad_report_writer_t  writer;

    writer.text = text;
    writer.size = size;
    writer.length = 0;

    if (text != NULL && size != 0) {
        text[0] = '\0';
    }

    i = form == AAD_REPORT_LAST_STEP && report->count != 0
        ? report->count - 1 : 0;

    for ( /* void */ ; i < report->count; i++) {

        if (writer.length != 0) {
            aad_report_add(&writer, "; ");
        }

        aad_report_attempt(&writer, &report->attempts[i],
                           i + 1 == report->count ? AAD_REPORT_ALL : form,
                           limit);
    }

    if (form < AAD_REPORT_NO_SKIPPED) {
        for (i = 0; i < report->skipped_count; i++) {
            aad_report_add(&writer, "%s%s", i == 0 ? "; not asked: " : ", ",
                           report->skipped[i]);
        }
    }

    return writer.length;
}


static void
aad_report_attempt(aad_report_writer_t *writer, const aad_attempt_t *attempt,
    aad_report_form_t form, size_t limit)
{
    const char  *ids;

    /* what an earlier try was told is of no interest any more */

    if (attempt->result == AAD_OK) {
        aad_report_add(writer, "%s gave a token", attempt->credential);
        return;
    }

    aad_report_add(writer, "%s %s", attempt->credential,
                   attempt->result == AAD_FAILED ? "failed"
                                                 : "is unavailable");

    if (strlen(attempt->reason) > limit) {
        aad_report_add(writer, ": %.*s...",
                       (int) (limit > 3 ? limit - 3 : 0), attempt->reason);

    } else if (attempt->reason[0] != '\0') {
        aad_report_add(writer, ": %s", attempt->reason);
    }

    ids = " (";

    if (!aad_report_says_code(attempt, limit)) {
        aad_report_add(writer, "%scode %s", ids, attempt->code);
        ids = ", ";
    }

    if (attempt->correlation_id[0] != '\0' && form < AAD_REPORT_NO_IDS) {
        aad_report_add(writer, "%scorrelation id %s", ids,
                       attempt->correlation_id);
        ids = ", ";
    }

    if (attempt->trace_id[0] != '\0' && form < AAD_REPORT_NO_TRACE_IDS) {
        aad_report_add(writer, "%strace id %s", ids, attempt->trace_id);
        ids = ", ";
    }

    if (ids[0] == ',') {
        aad_report_add(writer, ")");
    }

    if (attempt->hint != NULL && form < AAD_REPORT_NO_HINTS) {
        aad_report_add(writer, ", which means: %s", attempt->hint);
    }
}


/* Whether a reason of that length has the code in it, or there is none. */
static int
aad_report_says_code(const aad_attempt_t *attempt, size_t limit)
{
    size_t       end;
    const char  *code;

    if (attempt->code[0] == '\0') {
        return 1;
    }

    code = strstr(attempt->reason, attempt->code);

    if (code == NULL) {
        return 0;
    }

    end = code - attempt->reason + strlen(attempt->code);

    return strlen(attempt->reason) <= limit || end + 3 <= limit;
}


/*
 * The most that each reason may have for the whole to fit: what is not used by
 * the short ones is there for the long ones.  Returns 0 when there is no such
 * limit, or one that leaves too little of a reason.
 */
static size_t
aad_report_limit(const aad_report_t *report, aad_report_form_t form,
    size_t size)
{
    size_t  low, high, middle;

    low = 0;
    high = AAD_REASON_BYTES;

    if (aad_report_write(report, form, high, NULL, 0) < size) {
        return high;
    }

    while (low + 1 < high) {
        middle = (low + high) / 2;

        if (aad_report_write(report, form, middle, NULL, 0) < size) {
            low = middle;

        } else {
            high = middle;
        }
    }

    return low >= AAD_REPORT_REASON_BYTES_MIN ? low : 0;
}


static void
aad_report_add(aad_report_writer_t *writer, const char *format, ...)
{
    int      n;
    size_t   room;
    va_list  args;

    room = writer->text == NULL || writer->length >= writer->size
           ? 0 : writer->size - writer->length;

    va_start(args, format);
    n = vsnprintf(room != 0 ? writer->text + writer->length : NULL, room,
                  format, args);
    va_end(args);

    if (n <= 0) {
        return;
    }

    writer->length += n;

    /* what was cut is not there; what was measured is */

    if (writer->text != NULL && writer->length >= writer->size) {
        writer->length = writer->size != 0 ? writer->size - 1 : 0;
    }
}
