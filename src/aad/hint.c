
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * What to do about an error.  The codes are of Microsoft's pages "Microsoft
 * Entra authentication and authorization error codes", "How to use managed
 * identities on an Azure VM to acquire a token" and "Use a managed identity
 * with a Service Fabric application", of RFC 6749 5.2, and of what Azure
 * OpenAI answers to a token.
 */


#include "internal.h"

#include <string.h>


typedef struct {
    const char             *code;
    const char             *hint;
} aad_hint_t;

typedef struct {
    long                    first;          /* HTTP status */
    long                    last;
    const char             *hint;
} aad_status_hint_t;


static const char *aad_hint_of(const aad_hint_t *hints, const char *code);
static const char *aad_hint_of_status(const aad_status_hint_t *hints,
    long status);


#define AAD_HINT_SECRET     "the client secret is wrong; it is the secret's " \
                            "value that is needed, not its id"
#define AAD_HINT_TENANT     "there is no such tenant; check the tenant id, "  \
                            "and \"aoai_aad_authority_host\" for its cloud"
#define AAD_HINT_TENANT_ID  "the tenant id has a wrong form; it is a GUID "   \
                            "or a domain name"
#define AAD_HINT_RESOURCE   "the scope's resource is unknown in this "        \
                            "tenant; check \"aoai_aad_scope\", and "        \
                            "\"aoai_aad_authority_host\" for its cloud"
#define AAD_HINT_SCOPE      "the scope is wrong; it must end with "           \
                            "\"/.default\""
#define AAD_HINT_POLICY     "a Conditional Access policy forbids it; is "     \
                            "this location allowed for the app?"
#define AAD_HINT_DEFAULTS   "security defaults forbid it"
#define AAD_HINT_PERSON     "a person has to sign in again with a second "    \
                            "factor (\"az login\", \"azd auth login\"), " \
                            "or use the identity of an app instead"
#define AAD_HINT_SIGN_IN    "the sign-in has ended; sign in again "           \
                            "(\"az login\", \"azd auth login\")"
#define AAD_HINT_JWT        "the assertion is no JWT; look at what is in "    \
                            "the token file"
#define AAD_HINT_BUSY       "Entra ID is busy; this passes"
#define AAD_HINT_NONE_HERE  "no such identity is assigned here; assign it, "  \
                            "or name another one"
#define AAD_HINT_ENDPOINT   "the managed identity endpoint does not know "    \
                            "this request; is it the endpoint that the "      \
                            "variables of the environment say?"


static const aad_hint_t  aad_hints[] = {

    /* who asks */

    { "AADSTS7000215", AAD_HINT_SECRET },
    { "AADSTS7000222", "the client secret has expired; make a new one and "
                       "reload" },
    { "AADSTS7000218", "the app has neither secret nor certificate to show" },
    { "AADSTS700016", "no app with this client id is in the tenant; is the "
                      "tenant right, and the app installed in it?" },
    { "AADSTS7000229", "the app has no service principal in the tenant; "
                       "create it there" },
    { "AADSTS7000112", "the app is disabled; enable it in Entra ID" },
    { "AADSTS90002", AAD_HINT_TENANT },
    { "AADSTS900021", AAD_HINT_TENANT_ID },
    { "AADSTS900023", AAD_HINT_TENANT_ID },
    { "AADSTS50059", "the request names no tenant; check the tenant id" },

    /* for what */

    { "AADSTS500011", AAD_HINT_RESOURCE },
    { "AADSTS50001", AAD_HINT_RESOURCE },
    { "AADSTS70011", AAD_HINT_SCOPE },
    { "AADSTS1002012", AAD_HINT_SCOPE },
    { "AADSTS65001", "consent is missing; an administrator has to grant it" },

    /* by which assertion */

    { "AADSTS700027", "the certificate is not registered with the app, or "
                      "its key is another one" },
    { "AADSTS700021", "the assertion is not about this client id" },
    { "AADSTS700023", "the assertion is for another audience" },
    { "AADSTS700024", "the assertion is not valid now; is this machine's "
                      "clock right, is the token file renewed?" },
    { "AADSTS50027", AAD_HINT_JWT },
    { "AADSTS5002723", AAD_HINT_JWT },
    { "AADSTS70021", "no federated credential of the app matches; compare "
                     "issuer, subject and audience letter by letter" },
    { "AADSTS700211", "no federated credential of the app has this issuer; "
                      "compare letter by letter, a slash at its end too" },
    { "AADSTS700212", "no federated credential of the app has this "
                      "audience; it is api://AzureADTokenExchange, or the "
                      "one of the cloud" },
    { "AADSTS700213", "no federated credential of the app has this subject; "
                      "of a managed identity it is the object id" },
    { "AADSTS700229", "the assertion is no app's token; it must be a managed "
                      "identity's" },
    { "AADSTS90061", "Entra ID cannot reach the issuer's keys; its "
                     "\"/.well-known/openid-configuration\" must be public" },

    /* on whose behalf */

    { "AADSTS50013", "the caller's token is not for this app; its audience "
                     "must be the app" },
    { "AADSTS500133", "the caller's token has expired; the caller needs a "
                      "new one" },
    { "AADSTS7000114", "the caller is an app, which cannot be acted for; "
                       "use \"aoai_aad on\"" },
    { "AADSTS50105", "the user is not assigned to the app; assign the user "
                     "in Entra ID" },
    { "AADSTS900144", "the request lacks a parameter; something on the way "
                      "may have changed it" },
    { "AADSTS50076", AAD_HINT_PERSON },
    { "AADSTS50079", AAD_HINT_PERSON },
    { "AADSTS50158", AAD_HINT_PERSON },
    { "AADSTS70043", AAD_HINT_SIGN_IN },
    { "AADSTS700082", AAD_HINT_SIGN_IN },

    /* under which policy */

    { "AADSTS53003", AAD_HINT_POLICY },
    { "AADSTS530032", AAD_HINT_DEFAULTS },
    { "AADSTS530033", AAD_HINT_DEFAULTS },
    { "AADSTS530034", AAD_HINT_DEFAULTS },
    { "AADSTS530035", AAD_HINT_DEFAULTS },

    /* when */

    { "AADSTS50196", "Entra ID sees too many equal requests; wait, and look "
                     "for what repeats them" },
    { "AADSTS90033", AAD_HINT_BUSY },
    { "AADSTS90006", AAD_HINT_BUSY },
    { "AADSTS90024", AAD_HINT_BUSY },
    { "AADSTS90055", AAD_HINT_BUSY },
    { "temporarily_unavailable", AAD_HINT_BUSY },
    { "server_error", AAD_HINT_BUSY },

    /* where Entra says no more than RFC 6749 and its own draft of it */

    { "invalid_client", "the app's secret, certificate or assertion is "
                        "wrong, or has expired" },
    { "unauthorized_client", "the app may not ask in this way; is it the "
                             "right client id and tenant?" },
    { "invalid_grant", "what the app showed to get a token is wrong, or "
                       "has expired" },
    { "invalid_scope", AAD_HINT_SCOPE },
    { "invalid_resource", AAD_HINT_RESOURCE },
    { "invalid_request", "the request is not understood; check the tenant "
                         "id and \"aoai_aad_authority_host\"" },
    { "interaction_required", AAD_HINT_PERSON },

    /* Azure OpenAI, about the token */

    { "PermissionDenied", "the identity lacks a role; give it \"Cognitive "
                          "Services OpenAI User\" on the resource (Owner "
                          "and Contributor are none), and wait five minutes" },
    { "Tenant provided in token does not match resource token",
      "identity and resource are in two tenants; use an identity of the "
      "resource's tenant" },

    { NULL, NULL }
};


/* where a managed identity's endpoint means something of its own by it */
static const aad_hint_t  aad_machine_hints[] = {
    { "bad_request_102", "the header \"Metadata: true\" is missing: "
                         "something on the way took it out" },
    { "invalid_request", AAD_HINT_NONE_HERE },
    { "unknown_source", AAD_HINT_ENDPOINT },
    { "unauthorized_client", AAD_HINT_ENDPOINT },
    { "unknown", "the endpoint failed; this passes" },

    /* Cloud Shell */

    { "AudienceNotSupported", "Cloud Shell gives no tokens for this scope; "
                              "use another credential" },

    /* Service Fabric */

    { "SecretHeaderNotFound", "IDENTITY_HEADER did not arrive; is it set as "
                              "Service Fabric sets it?" },
    { "ManagedIdentityNotFound", "no identity is assigned to the application; "
                                 "assign it in the cluster's template" },
    { "ArgumentNullOrEmpty", AAD_HINT_ENDPOINT },
    { "InvalidApiVersion", "the endpoint is older than its documentation; "
                           "update the Service Fabric runtime" },

    { NULL, NULL }
};


static const aad_status_hint_t  aad_status_hints[] = {
    { 403, 403, "something between here and Entra ID forbids it; look at "
                "proxies and firewalls" },
    { 407, 407, "the proxy wants to know who asks; write user and password "
                "into \"aoai_aad_proxy\"" },
    { 300, 399, "no redirect is followed; something between here and Entra "
                "ID answers in its place" },
    { 404, 404, "there is no Entra ID at this address; check "
                "\"aoai_aad_authority_host\"" },
    { 429, 429, "Entra ID gets too many requests; this passes" },
    { 500, 599, AAD_HINT_BUSY },
    { 0, 0, NULL }
};


static const aad_status_hint_t  aad_machine_status_hints[] = {
    { 403, 403, "something in between forbids it: a firewall, a proxy, or a "
                "quota" },
    { 300, 399, "no redirect is followed; something else answers at this "
                "address" },
    { 404, 404, "the endpoint is being updated, or is another one; the "
                "former passes" },
    { 410, 410, "the endpoint is being updated and back within 70 seconds" },
    { 429, 429, "the endpoint gets too many requests; this passes" },
    { 500, 599, "the endpoint failed; this passes, unless the identity or "
                "the scope is one that it does not know" },
    { 0, 0, NULL }
};


const char *
aad_hint(const char *code)
{
    return aad_hint_of(aad_hints, code);
}


const char *
aad_hint_of_authority(const char *code, const char *error, long status)
{
    const char  *hint;

    hint = aad_hint_of(aad_hints, code);

    if (hint == NULL) {
        hint = aad_hint_of(aad_hints, error);
    }

    return hint != NULL ? hint : aad_hint_of_status(aad_status_hints, status);
}


const char *
aad_hint_of_machine(const char *code, const char *error, long status)
{
    const char  *hint;

    hint = aad_hint_of(aad_machine_hints, code);

    if (hint == NULL) {
        hint = aad_hint_of(aad_hints, code);
    }

    if (hint == NULL) {
        hint = aad_hint_of(aad_machine_hints, error);
    }

    if (hint == NULL) {
        hint = aad_hint_of(aad_hints, error);
    }

    return hint != NULL ? hint
                        : aad_hint_of_status(aad_machine_status_hints, status);
}


static const char *
aad_hint_of(const aad_hint_t *hints, const char *code)
{
    for ( /* void */ ; hints->code != NULL; hints++) {
        if (strcmp(hints->code, code) == 0) {
            return hints->hint;
        }
    }

    return NULL;
}


static const char *
aad_hint_of_status(const aad_status_hint_t *hints, long status)
{
    for ( /* void */ ; hints->hint != NULL; hints++) {
        if (status >= hints->first && status <= hints->last) {
            return hints->hint;
        }
    }

    return NULL;
}
