
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * Azure's clouds, by the hosts of their authorities, as on Microsoft's pages
 * "National clouds" and "Configure an application to trust a managed
 * identity".
 */


#include "internal.h"

#include <string.h>
#include <strings.h>


static const struct {
    const char             *authority;
    const char             *exchange_audience;
} aad_clouds[] = {
    { "login.microsoftonline.us", "api://AzureADTokenExchangeUSGov" },
    { "login.usgovcloudapi.net", "api://AzureADTokenExchangeUSGov" },
    { "login-us.microsoftonline.com", "api://AzureADTokenExchangeUSGov" },
    { "login.chinacloudapi.cn", "api://AzureADTokenExchangeChina" },
    { "login.partner.microsoftonline.cn", "api://AzureADTokenExchangeChina" }
};


const char *
aad_cloud_exchange_audience(const char *authority_host)
{
    size_t     i;
    aad_url_t  url;

    for (i = 0; aad_url_parse(authority_host, &url) == 0
                && i < sizeof(aad_clouds) / sizeof(aad_clouds[0]); i++)
    {
        if (strlen(aad_clouds[i].authority) == url.host_length
            && strncasecmp(aad_clouds[i].authority, url.host,
                           url.host_length)
               == 0)
        {
            return aad_clouds[i].exchange_audience;
        }
    }

    return "api://AzureADTokenExchange";
}
