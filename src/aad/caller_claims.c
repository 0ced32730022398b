
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * The claims that a condition may ask for, as Microsoft's page "Access token
 * claims reference" has them.  A claim of another type than it has there holds
 * nothing.
 */


#include "caller_rule.h"

#include <string.h>
#include <strings.h>


static int aad_caller_has_role(const cJSON *claims, const char *value);
static int aad_caller_has_group(const cJSON *claims, const char *value);
static int aad_caller_has_scope(const cJSON *claims, const char *value);
static int aad_caller_is_client(const cJSON *claims, const char *value);
static int aad_caller_is_object(const cJSON *claims, const char *value);
static int aad_caller_is_in(const cJSON *claims, const char *name,
    const char *value);
static int aad_caller_equals(const char *text, const char *value);


const aad_caller_claim_t  aad_caller_claims[] = {
    { "roles", &aad_form_visible, 0, aad_caller_has_role },

    /* an id, unless the app was told to have names of another directory */

    { "groups", &aad_form_visible, 0, aad_caller_has_group },
    { "scp", &aad_form_visible, 0, aad_caller_has_scope },
    { "appid", &aad_form_guid, 1, aad_caller_is_client },
    { "azp", &aad_form_guid, 1, aad_caller_is_client },
    { "oid", &aad_form_guid, 1, aad_caller_is_object },
    { NULL, NULL, 0, NULL }
};


const char *
aad_caller_client_id(const cJSON *claims)
{
    const char  *client_id;

    client_id = aad_json_text(claims, "appid");

    return client_id[0] != '\0' ? client_id : aad_json_text(claims, "azp");
}


static int
aad_caller_has_role(const cJSON *claims, const char *value)
{
    return aad_caller_is_in(claims, "roles", value);
}


static int
aad_caller_has_group(const cJSON *claims, const char *value)
{
    return aad_caller_is_in(claims, "groups", value);
}


/* RFC 6749 3.3: words with one blank between them */
static int
aad_caller_has_scope(const cJSON *claims, const char *value)
{
    size_t       length;
    const char  *p;

    p = aad_json_text(claims, "scp");

    for ( /* void */ ; *p != '\0'; p += length) {

        p += strspn(p, " ");
        length = strcspn(p, " ");

        if (length == strlen(value) && strncmp(p, value, length) == 0) {
            return 1;
        }
    }

    return 0;
}


static int
aad_caller_is_client(const cJSON *claims, const char *value)
{
    return strcasecmp(aad_caller_client_id(claims), value) == 0;
}


static int
aad_caller_is_object(const cJSON *claims, const char *value)
{
    return strcasecmp(aad_json_text(claims, "oid"), value) == 0;
}


static int
aad_caller_is_in(const cJSON *claims, const char *name, const char *value)
{
    const cJSON  *list, *item;

    list = cJSON_GetObjectItemCaseSensitive(claims, name);

    if (!cJSON_IsArray(list)) {
        return 0;
    }

    cJSON_ArrayForEach(item, list) {
        if (cJSON_IsString(item)
            && aad_caller_equals(item->valuestring, value))
        {
            return 1;
        }
    }

    return 0;
}


/* the letters of a GUID have no case, any others have one */
static int
aad_caller_equals(const char *text, const char *value)
{
    return aad_is_guid(value) ? strcasecmp(text, value) == 0
                              : strcmp(text, value) == 0;
}
