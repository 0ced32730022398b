
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * Azure's clouds.  An authority knows the apps, resources and services of its
 * own cloud alone, so that authority, scope, exchange audience and hosts have
 * to be of the same one.  The names are of Microsoft's pages "National
 * clouds", "Azure OpenAI in Azure Government" and "Configure an application
 * to trust a managed identity".
 */


#include "internal.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>


#define AAD_CLOUD_HOSTS_MAX     8


/* Lists end with NULL; the first authority is the one to write. */
typedef struct {
    const char             *name;
    const char             *exchange_audience;  /* NULL: not known */
    const char             *authorities[AAD_CLOUD_HOSTS_MAX];

    /* the n-th of one cloud is what the n-th of another one is there */
    const char             *resources[AAD_CLOUD_HOSTS_MAX];
    const char             *suffixes[AAD_CLOUD_HOSTS_MAX];
} aad_cloud_t;


static const aad_cloud_t *aad_cloud_of_authority(const char *authority_host);
static const aad_cloud_t *aad_cloud_of_resource(const char *scope,
    size_t *number);
static const aad_cloud_t *aad_cloud_of_host(const char *host,
    size_t *number);
static int aad_cloud_is_name(const char *text, size_t length,
    const char *name);


static const aad_cloud_t  aad_clouds[] = {
    { "the public cloud", "api://AzureADTokenExchange",
      { "login.microsoftonline.com", "login.windows.net",
        "login.microsoft.com", "sts.windows.net", NULL },
      { "cognitiveservices.azure.com", "ai.azure.com", NULL },
      { ".openai.azure.com", ".cognitiveservices.azure.com",
        ".services.ai.azure.com", NULL } },

    { "Azure Government", "api://AzureADTokenExchangeUSGov",
      { "login.microsoftonline.us", "login.usgovcloudapi.net",
        "login-us.microsoftonline.com", NULL },
      { "cognitiveservices.azure.us", "ai.azure.us", NULL },
      { ".openai.azure.us", ".cognitiveservices.azure.us",
        ".services.ai.azure.us", NULL } },

    { "Azure in China", "api://AzureADTokenExchangeChina",
      { "login.chinacloudapi.cn", "login.partner.microsoftonline.cn", NULL },
      { "cognitiveservices.azure.cn", "ai.azure.cn", NULL },
      { ".openai.azure.cn", ".cognitiveservices.azure.cn",
        ".services.ai.azure.cn", NULL } },

    /* these have names of their own, which are not published yet */

    { "a sovereign cloud", NULL,
      { "login.sovcloud-identity.fr", "login.sovcloud-identity.de",
        "login.sovcloud-identity.sg", NULL },
      { NULL }, { NULL } },

    { "the German cloud, which was closed,", NULL,
      { "login.microsoftonline.de", NULL },
      { NULL }, { NULL } },

    { NULL, NULL, { NULL }, { NULL }, { NULL } }
};


const char *
aad_cloud_exchange_audience(const char *authority_host)
{
    const aad_cloud_t  *cloud;

    cloud = aad_cloud_of_authority(authority_host);

    if (cloud == NULL || cloud->exchange_audience == NULL) {
        cloud = aad_clouds;
    }

    return cloud->exchange_audience;
}


int
aad_settings_warning(const aad_settings_t *settings, aad_error_t *warning)
{
    size_t              number;
    const aad_cloud_t  *authority, *resource;

    authority = aad_cloud_of_authority(settings->authority_host);
    resource = aad_cloud_of_resource(settings->scope, &number);

    if (authority == NULL || resource == NULL || authority == resource) {
        return 0;
    }

    if (authority->resources[0] == NULL) {
        return aad_error(warning, "the scope \"%.128s\" is of %s, but the "
                         "authority \"%.128s\" is of %s: write that cloud's "
                         "own \"aoai_aad_scope\", or "
                         "\"aoai_aad_authority_host https://%s;\"",
                         settings->scope, resource->name,
                         settings->authority_host, authority->name,
                         resource->authorities[0]);
    }

    return aad_error(warning, "the scope \"%.128s\" is of %s, but the "
                     "authority \"%.128s\" is of %s: write \"aoai_aad_scope "
                     "https://%s/.default;\", or "
                     "\"aoai_aad_authority_host https://%s;\"",
                     settings->scope, resource->name,
                     settings->authority_host, authority->name,
                     authority->resources[number],
                     resource->authorities[0]);
}


int
aad_host_warning(const aad_settings_t *settings, const char *host,
    aad_error_t *warning)
{
    size_t              number;
    const aad_cloud_t  *authority, *service;

    authority = aad_cloud_of_authority(settings->authority_host);
    service = aad_cloud_of_host(host, &number);

    if (authority == NULL || service == NULL || authority == service) {
        return 0;
    }

    if (authority->suffixes[0] == NULL) {
        return aad_error(warning, "the host \"%.128s\" is of %s, but the "
                         "authority \"%.128s\" is of %s: write that cloud's "
                         "own host, or "
                         "\"aoai_aad_authority_host https://%s;\"",
                         host, service->name, settings->authority_host,
                         authority->name, service->authorities[0]);
    }

    return aad_error(warning, "the host \"%.128s\" is of %s, but the "
                     "authority \"%.128s\" is of %s: name a host under "
                     "\"*%s\", or write \"aoai_aad_authority_host "
                     "https://%s;\"",
                     host, service->name, settings->authority_host,
                     authority->name, authority->suffixes[number],
                     service->authorities[0]);
}


/* Returns NULL for an authority of nobody's cloud. */
static const aad_cloud_t *
aad_cloud_of_authority(const char *authority_host)
{
    aad_url_t            url;
    const char *const   *name;
    const aad_cloud_t   *cloud;

    if (aad_url_parse(authority_host, &url) != 0) {
        return NULL;
    }

    for (cloud = aad_clouds; cloud->name != NULL; cloud++) {
        for (name = cloud->authorities; *name != NULL; name++) {
            if (aad_cloud_is_name(url.host, url.host_length, *name)) {
                return cloud;
            }
        }
    }

    return NULL;
}


/* Returns NULL for a scope of another service, or of an app. */
static const aad_cloud_t *
aad_cloud_of_resource(const char *scope, size_t *number)
{
    aad_url_t            url;
    const aad_cloud_t   *cloud;

    if (aad_url_parse(scope, &url) != 0) {
        return NULL;
    }

    for (cloud = aad_clouds; cloud->name != NULL; cloud++) {
        for (*number = 0; cloud->resources[*number] != NULL; ++*number) {
            if (aad_cloud_is_name(url.host, url.host_length,
                                  cloud->resources[*number]))
            {
                return cloud;
            }
        }
    }

    return NULL;
}


/* Takes "name", "*.suffix", and either with ":port". */
static const aad_cloud_t *
aad_cloud_of_host(const char *host, size_t *number)
{
    size_t              length, suffix_length;
    const aad_cloud_t  *cloud;

    length = strcspn(host, ":");

    for (cloud = aad_clouds; cloud->name != NULL; cloud++) {
        for (*number = 0; cloud->suffixes[*number] != NULL; ++*number) {
            suffix_length = strlen(cloud->suffixes[*number]);

            if (length > suffix_length
                && aad_cloud_is_name(host + length - suffix_length,
                                     suffix_length,
                                     cloud->suffixes[*number]))
            {
                return cloud;
            }
        }
    }

    return NULL;
}


static int
aad_cloud_is_name(const char *text, size_t length, const char *name)
{
    return length == strlen(name) && strncasecmp(text, name, length) == 0;
}
