
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * The status page's style and script, and the policy that lets them and
 * nothing else into it.
 */


#include "ngx_http_aoai_aad_status.h"

#include <openssl/evp.h>

/* of status.css and status.js, made by config */
#include "ngx_http_aoai_aad_page.h"


static ngx_int_t ngx_http_aoai_aad_page_digest(const char *text,
    u_char *digest);


const char *const  ngx_http_aoai_aad_page_style = ngx_http_aoai_aad_page_css;
const char *const  ngx_http_aoai_aad_page_script = ngx_http_aoai_aad_page_js;


/*
 * The page's Content-Security-Policy (CSP Level 3): its own style and script
 * by their digests, and requests to where it came from.
 */
ngx_int_t
ngx_http_aoai_aad_page_policy(ngx_conf_t *cf, ngx_str_t *policy)
{
    u_char  style[64], script[64];
    size_t  size;

    static const char  format[] =
        "default-src 'none'; style-src 'sha256-%s'; "
        "script-src 'sha256-%s'; connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

    if (ngx_http_aoai_aad_page_digest(ngx_http_aoai_aad_page_css, style)
        != NGX_OK
        || ngx_http_aoai_aad_page_digest(ngx_http_aoai_aad_page_js, script)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    size = sizeof(format) + sizeof(style) + sizeof(script);

    policy->data = ngx_pnalloc(cf->pool, size);
    if (policy->data == NULL) {
        return NGX_ERROR;
    }

    policy->len = ngx_snprintf(policy->data, size, format, style, script)
                  - policy->data;

    return NGX_OK;
}


/* the SHA-256 in base64, with a NUL */
static ngx_int_t
ngx_http_aoai_aad_page_digest(const char *text, u_char *digest)
{
    u_char        sha256[EVP_MAX_MD_SIZE];
    unsigned int  length;

    if (EVP_Digest(text, ngx_strlen(text), sha256, &length, EVP_sha256(),
                   NULL)
        != 1)
    {
        return NGX_ERROR;
    }

    (void) EVP_EncodeBlock(digest, sha256, (int) length);

    return NGX_OK;
}
