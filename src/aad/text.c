
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 */


#include "internal.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>


static int aad_is_alphanumeric(char c);
static int aad_is_made_of(const char *value, const char *others);


const aad_form_t  aad_form_guid = { aad_is_guid, "a GUID" };
const aad_form_t  aad_form_tenant = {
    aad_is_tenant, "a tenant's GUID or domain name"
};
const aad_form_t  aad_form_resource_id = {
    aad_is_resource_id, "a resource id, \"/subscriptions/...\""
};
const aad_form_t  aad_form_subscription = {
    aad_is_subscription, "a subscription's GUID or name"
};
const aad_form_t  aad_form_url = {
    aad_is_url, "an http:// or https:// URL"
};
const aad_form_t  aad_form_visible = {
    aad_is_visible, "made of visible characters"
};
const aad_form_t  aad_form_path = {
    aad_is_absolute_path, "an absolute file name"
};
const aad_form_t  aad_form_switch = { aad_is_switch, "\"on\" or \"off\"" };
const aad_form_t  aad_form_host_name = { aad_is_host_name, "a host name" };


int
aad_is_unreserved(char c)
{
    return aad_is_alphanumeric(c)
           || c == '-' || c == '.' || c == '_' || c == '~';
}


int
aad_is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}


char
aad_lower_case(char c)
{
    return c >= 'A' && c <= 'Z' ? (char) (c | 0x20) : c;
}


int
aad_is_guid(const char *value)
{
    size_t  i;

    for (i = 0; i < 36; i++) {

        if (i == 8 || i == 13 || i == 18 || i == 23) {
            if (value[i] != '-') {
                return 0;
            }

            continue;
        }

        if (value[i] == '\0'
            || strchr("0123456789abcdefABCDEF", value[i]) == NULL)
        {
            return 0;
        }
    }

    return value[36] == '\0';
}


/*
 * "common", "organizations" and "consumers", which have no dot, are none:
 * there is no tenant behind them that could issue an app's token.
 */
int
aad_is_tenant(const char *value)
{
    return aad_is_guid(value)
           || (strchr(value, '.') != NULL && value[0] != '-'
               && value[0] != '.' && aad_is_made_of(value, ".-"));
}


int
aad_is_resource_id(const char *value)
{
    return strncmp(value, "/subscriptions/", 15) == 0
           && aad_is_made_of(value, "/._-()");
}


int
aad_is_subscription(const char *value)
{
    return value[0] != '-' && aad_is_made_of(value, "._ -");
}


int
aad_is_url(const char *value)
{
    aad_url_t  url;

    return aad_url_parse(value, &url) == 0;
}


/* no blanks, no control characters: nothing that could end a line */
int
aad_is_visible(const char *value)
{
    for (/* void */; *value != '\0'; value++) {
        if (*value <= ' ' || *value > '~') {
            return 0;
        }
    }

    return 1;
}


int
aad_is_absolute_path(const char *value)
{
    return value[0] == '/';
}


int
aad_is_switch(const char *value)
{
    return strcmp(value, "on") == 0 || strcmp(value, "off") == 0;
}


int
aad_is_host_name(const char *value)
{
    return value[0] != '-' && value[0] != '.'
           && aad_is_made_of(value, ".-");
}


int
aad_is_loopback(const char *host, size_t length)
{
    char            text[INET_ADDRSTRLEN + 1];
    struct in_addr  address;

    if (length == 5 && strncmp(host, "[::1]", 5) == 0) {
        return 1;
    }

    /* an address alone, never a name such as 127.example.com */

    snprintf(text, sizeof(text), "%.*s", (int) length, host);

    return length < sizeof(text)
           && inet_pton(AF_INET, text, &address) == 1
           && (ntohl(address.s_addr) >> 24) == 127;
}


int
aad_url_parse(const char *text, aad_url_t *url)
{
    long         number;
    char        *end;
    size_t       length;
    const char  *host, *port;

    if (!aad_is_visible(text)) {
        return -1;
    }

    if (strncmp(text, "https://", 8) == 0) {
        url->https = 1;
        host = text + 8;

    } else if (strncmp(text, "http://", 7) == 0) {
        url->https = 0;
        host = text + 7;

    } else {
        return -1;
    }

    length = strcspn(host, "/?#");

    url->userinfo = memchr(host, '@', length) != NULL;

    while (memchr(host, '@', length) != NULL) {
        host++;
        length--;
    }

    url->host = host;
    url->host_length = host[0] == '[' ? strcspn(host, "]") + 1
                                      : strcspn(host, ":/?#");

    if (url->host_length == 0 || url->host_length > length) {
        return -1;
    }

    port = host + url->host_length;

    if (*port == ':') {
        number = strtol(port + 1, &end, 10);

        if (port[1] < '0' || port[1] > '9' || number > 65535) {
            return -1;
        }

        port = end;
    }

    if (port != host + length) {
        return -1;
    }

    url->rest = port;

    return 0;
}


void
aad_resource(const char *scope, char *resource, size_t size)
{
    size_t  length;

    static const char    suffix[] = "/.default";
    static const size_t  suffix_length = sizeof(suffix) - 1;

    length = strlen(scope);

    if (length > suffix_length
        && strcmp(scope + length - suffix_length, suffix) == 0)
    {
        length -= suffix_length;
    }

    snprintf(resource, size, "%.*s", (int) length, scope);
}


void
aad_text_clean(char *clean, size_t size, const char *text)
{
    size_t  i;

    for (i = 0; i + 1 < size && text[i] != '\0'; i++) {

        if (aad_is_space(text[i])) {
            clean[i] = ' ';

        } else if (text[i] < ' ' || text[i] > '~') {
            clean[i] = '?';

        } else {
            clean[i] = text[i];
        }
    }

    while (i != 0 && clean[i - 1] == ' ') {
        i--;
    }

    clean[i] = '\0';
}


void
aad_text_end(char *text, const char *mark)
{
    char  *end;

    end = strstr(text, mark);

    if (end != NULL) {
        *end = '\0';
    }
}


int
aad_error(aad_error_t *error, const char *format, ...)
{
    va_list  args;

    va_start(args, format);
    vsnprintf(error->text, sizeof(error->text), format, args);
    va_end(args);

    return -1;
}


aad_result_t
aad_reason(aad_call_t *call, aad_result_t result, const char *format, ...)
{
    va_list  args;

    va_start(args, format);
    vsnprintf(call->attempt->reason, sizeof(call->attempt->reason), format,
              args);
    va_end(args);

    return result;
}


aad_result_t
aad_reason_of(aad_call_t *call, aad_result_t result, const char *part)
{
    char  reason[AAD_REASON_BYTES];

    memcpy(reason, call->attempt->reason, sizeof(reason));

    return aad_reason(call, result, "%s: %s", part, reason);
}


static int
aad_is_alphanumeric(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z')
           || (c >= 'a' && c <= 'z');
}


/* letters, digits and 'others', and not empty */
static int
aad_is_made_of(const char *value, const char *others)
{
    const char  *p;

    for (p = value; *p != '\0'; p++) {
        if (!aad_is_alphanumeric(*p) && strchr(others, *p) == NULL) {
            return 0;
        }
    }

    return p != value;
}
