
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * What cJSON does not do by itself; for this folder only.
 */


#ifndef _AAD_JSON_H_INCLUDED_
#define _AAD_JSON_H_INCLUDED_


#include "internal.h"

#include <cjson/cJSON.h>


/* whole numbers beyond are no exact doubles, and no dates */
#define AAD_JSON_INTEGER_MAX        1e15


/* Whether an escape stands for NUL, or for nothing, which cJSON makes NUL. */
int aad_json_has_nul(const char *text);

/*
 * Parses a text that decides something: one object in UTF-8, without a NUL in
 * any form, and with no member twice (RFC 7515 4, RFC 7519 4).  Returns it,
 * for aad_json_wipe(), or NULL.
 */
cJSON *aad_json_strict(const aad_secret_t *text);

/* A string's characters, "" where the member is none. */
const char *aad_json_text(const cJSON *json, const char *name);

/* The same, clean and cut to 'size' bytes with the NUL. */
void aad_json_copy(const cJSON *json, const char *name, char *text,
    size_t size);

/*
 * A number without its fraction.  Returns 0, or -1 when the member is none,
 * or one beyond AAD_JSON_INTEGER_MAX.
 */
int aad_json_number(const cJSON *json, const char *name, int64_t *value);

/* Wipes the object's own strings and frees it; NULL is allowed. */
void aad_json_wipe(cJSON *json);


#endif /* _AAD_JSON_H_INCLUDED_ */
