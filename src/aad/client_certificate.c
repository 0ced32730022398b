
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * An app registration with a certificate.
 */


#include "certificate.h"

#include <stdio.h>
#include <string.h>
#include <time.h>


#define AAD_CERTIFICATE_WARNING_DAYS    30
#define AAD_DAY_S                       86400


static aad_result_t aad_client_certificate_prove(
    const aad_credential_t *credential, aad_call_t *call,
    const char *token_endpoint, aad_secret_t *form);
static void aad_certificate_date(int64_t seconds, char *date, size_t size);


static const aad_value_t  aad_client_certificate_values[] = {
    { "tenant_id", NULL, AAD_APP_TENANT_ID, &aad_form_tenant,
      AAD_VALUE_REQUIRED },
    { "client_id", NULL, AAD_APP_CLIENT_ID, &aad_form_guid,
      AAD_VALUE_REQUIRED },
    { "certificate", NULL, AAD_CERTIFICATE_FILE, NULL,
      AAD_VALUE_REQUIRED|AAD_VALUE_PLACE },
    { "key", NULL, AAD_CERTIFICATE_KEY, NULL, AAD_VALUE_PLACE },
    { "password_file", NULL, AAD_CERTIFICATE_PASSWORD, NULL,
      AAD_VALUE_SECRET|AAD_VALUE_FILE },
    { "send_chain", NULL, AAD_CERTIFICATE_SEND_CHAIN, &aad_form_switch, 0 },
    { NULL, NULL, 0, NULL, 0 }
};


const aad_credential_type_t  aad_client_certificate = {
    "client_certificate",
    aad_client_certificate_values,
    aad_client_certificate_read,
    aad_oauth_get_token,
    aad_client_certificate_prove,
    NULL,
    NULL,
    NULL
};


/*
 * The password has served its purpose then; what names the identity is the
 * certificate, however its files are called or encrypted.
 */
int
aad_client_certificate_read(aad_credential_t *credential, aad_error_t *error)
{
    char                       file[AAD_URL_BYTES_MAX];
    char                       key_file[AAD_URL_BYTES_MAX];
    aad_secret_t              *fingerprint, *send_chain;
    aad_certificate_source_t   source;

    memset(&source, 0, sizeof(aad_certificate_source_t));

    if (aad_credential_path(credential,
                            aad_value(credential, AAD_CERTIFICATE_FILE),
                            file, sizeof(file), error) != 0
        || aad_credential_path(credential,
                               aad_value(credential, AAD_CERTIFICATE_KEY),
                               key_file, sizeof(key_file), error) != 0)
    {
        return -1;
    }

    source.file = file;

    if (credential->values[AAD_CERTIFICATE_KEY].length != 0) {
        source.key_file = key_file;
    }

    if (credential->set & (1u << AAD_CERTIFICATE_FILE)) {
        source.key_mend = ": put it into the same file, or name its own with "
                          "\"key=\"";
        source.password_mend = "name a file with its password, "
                               "\"password_file=\"";

    } else {
        source.key_mend = ": put it into the same file";
        source.password_mend = "set AZURE_CLIENT_CERTIFICATE_PASSWORD";
    }

    send_chain = &credential->values[AAD_CERTIFICATE_SEND_CHAIN];

    if (strcmp(send_chain->data, "on") == 0) {
        source.send_chain = 1;

    } else {
        aad_secret_wipe(send_chain);
    }

    source.password = &credential->values[AAD_CERTIFICATE_PASSWORD];

    credential->certificate = aad_certificate_read(&source, error);

    aad_secret_wipe(&credential->values[AAD_CERTIFICATE_PASSWORD]);

    if (credential->certificate == NULL) {
        return -1;
    }

    fingerprint = &credential->values[AAD_CERTIFICATE_FINGERPRINT];

    if (aad_secret_append_text(fingerprint,
                               credential->certificate->fingerprint) != 0)
    {
        return aad_error(error, "out of memory");
    }

    return 0;
}


int
aad_credential_warning(const aad_credential_t *credential, int64_t now,
    aad_error_t *warning)
{
    char                      date[AAD_ID_BYTES];
    const aad_certificate_t  *certificate;

    certificate = credential->certificate;

    if (certificate == NULL) {
        return 0;
    }

    if (certificate->not_before > now) {
        aad_certificate_date(certificate->not_before, date, sizeof(date));
        aad_error(warning, "the certificate in \"%s\" is not valid before "
                  "%s; is this machine's clock right?", certificate->file,
                  date);
        return 1;
    }

    if (certificate->not_after - now
        > (int64_t) AAD_CERTIFICATE_WARNING_DAYS * AAD_DAY_S)
    {
        return 0;
    }

    aad_certificate_date(certificate->not_after, date, sizeof(date));

    aad_error(warning, "the certificate in \"%s\" %s %s: register a new one "
              "with the app, put it in the place of this one, and reload",
              certificate->file,
              certificate->not_after < now ? "has expired on" : "expires on",
              date);

    return 1;
}


static aad_result_t
aad_client_certificate_prove(const aad_credential_t *credential,
    aad_call_t *call, const char *token_endpoint, aad_secret_t *form)
{
    return aad_client_assertion_authenticate(call, credential->certificate,
                            aad_value(credential, AAD_APP_CLIENT_ID),
                            token_endpoint, form);
}


/* in UTC, as certificates have it */
static void
aad_certificate_date(int64_t seconds, char *date, size_t size)
{
    time_t     time;
    struct tm  tm;

    time = (time_t) seconds;
    (void) gmtime_r(&time, &tm);

    if (strftime(date, size, "%Y-%m-%d %H:%M:%S UTC", &tm) == 0) {
        date[0] = '\0';
    }
}
