
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * What to do about an error of Entra ID, by the codes of Microsoft's page
 * "Microsoft Entra authentication and authorization error codes".
 */


#include "internal.h"

#include <stdlib.h>
#include <string.h>


typedef struct {
    long                    code;
    const char             *hint;
} aad_hint_t;


static const aad_hint_t  aad_hints[] = {
    { 7000215, "the client secret is wrong; it is the secret's value that is "
               "needed, not its id" },
    { 7000222, "the client secret has expired; make a new one and reload" },
    { 7000218, "the app has neither secret nor certificate to show" },
    { 700016, "no app with this client id is in the tenant; is the tenant "
              "right, and the app installed in it?" },
    { 7000229, "the app has no service principal in the tenant; create it "
               "there" },
    { 7000112, "the app is disabled; enable it in Entra ID" },
    { 90002, "there is no such tenant; check the tenant id, and the cloud" },
    { 900021, "the tenant id has a wrong form" },
    { 900023, "the tenant id has a wrong form" },
    { 50059, "the request names no tenant; check the tenant id" },
    { 500011, "the scope's resource is unknown in this tenant; check "
              "\"aoai_aad_scope\", and the cloud" },
    { 50001, "the scope's resource is unknown in this tenant; check "
             "\"aoai_aad_scope\", and the cloud" },
    { 70011, "the scope is wrong; it must end with \"/.default\"" },
    { 1002012, "the scope is wrong; it must end with \"/.default\"" },
    { 700027, "the certificate is not registered with the app" },
    { 700021, "the assertion is not about this client id" },
    { 700023, "the assertion is for another audience" },
    { 700024, "the assertion is not valid now; is this machine's clock "
              "right, is the token file renewed?" },
    { 70021, "no federated credential of the app matches; compare issuer, "
             "subject and audience" },
    { 700211, "no federated credential of the app has this issuer" },
    { 700212, "no federated credential of the app has this audience" },
    { 700213, "no federated credential of the app has this subject" },
    { 700229, "the assertion is no app's token" },
    { 90061, "Entra ID cannot reach the issuer's keys" },
    { 53003, "a Conditional Access policy forbids it; is this location "
             "allowed for the app?" },
    { 530035, "security defaults forbid it" },
    { 65001, "consent is missing; an administrator has to grant it" },
    { 50196, "Entra ID sees too many equal requests; wait, and look for what "
             "repeats them" },
    { 90033, "Entra ID is busy; this passes" },
    { 90006, "Entra ID is busy; this passes" },
    { 90024, "Entra ID is busy; this passes" },
    { 90055, "Entra ID is busy; this passes" },
    { 0, NULL }
};


const char *
aad_hint(const char *code)
{
    long               number;
    const aad_hint_t  *hint;

    if (strncmp(code, "AADSTS", 6) != 0) {
        return NULL;
    }

    number = strtol(code + 6, NULL, 10);

    for (hint = aad_hints; hint->code != 0; hint++) {
        if (hint->code == number) {
            return hint->hint;
        }
    }

    return NULL;
}
