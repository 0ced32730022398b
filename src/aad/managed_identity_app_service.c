
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * App Service, Functions and Container Apps ("How to use managed identities
 * for App Service and Azure Functions").  Its version of 2017, of which they
 * still have the two variables beside the newer ones, lives on alone in Azure
 * Machine Learning: there the pair of them means that.
 */


#include "managed_identity.h"


static int aad_app_service_is_here(const aad_credential_t *credential);
static aad_result_t aad_app_service_get_token(
    const aad_credential_t *credential, aad_call_t *call, aad_token_t *token);
static int aad_azure_ml_is_here(const aad_credential_t *credential);
static aad_result_t aad_azure_ml_get_token(
    const aad_credential_t *credential, aad_call_t *call, aad_token_t *token);
static int aad_azure_ml_default_id(aad_mi_question_t *question);


const aad_mi_source_t  aad_mi_app_service = {
    "App Service",
    "2019-08-01",
    "app",
    { "client_id", "principal_id", "mi_res_id" },
    aad_app_service_is_here,
    aad_app_service_get_token
};

const aad_mi_source_t  aad_mi_azure_ml = {
    "Azure ML",
    "2017-09-01",
    "compute",
    { "clientid", NULL, NULL },
    aad_azure_ml_is_here,
    aad_azure_ml_get_token
};


static int
aad_app_service_is_here(const aad_credential_t *credential)
{
    return aad_mi_has(credential, AAD_MI_IDENTITY_ENDPOINT)
           && aad_mi_has(credential, AAD_MI_IDENTITY_HEADER);
}


static aad_result_t
aad_app_service_get_token(const aad_credential_t *credential,
    aad_call_t *call, aad_token_t *token)
{
    aad_result_t       result;
    aad_mi_question_t  question;

    if (aad_mi_begin(&question, &aad_mi_app_service, credential, call,
                     aad_value(credential, AAD_MI_IDENTITY_ENDPOINT))
        != 0
        || aad_mi_secret(&question, "X-IDENTITY-HEADER: ",
                         aad_value(credential, AAD_MI_IDENTITY_HEADER))
           != 0)
    {
        result = aad_reason(call, AAD_FAILED, "out of memory");

    } else {
        result = aad_mi_ask(&question, call, "IDENTITY_ENDPOINT", token);
    }

    aad_mi_end(&question);

    return result;
}


static int
aad_azure_ml_is_here(const aad_credential_t *credential)
{
    return aad_mi_has(credential, AAD_MI_MSI_ENDPOINT)
           && aad_mi_has(credential, AAD_MI_MSI_SECRET);
}


/* MSAL for Node and .NET send both headers. */
static aad_result_t
aad_azure_ml_get_token(const aad_credential_t *credential, aad_call_t *call,
    aad_token_t *token)
{
    aad_result_t       result;
    aad_mi_question_t  question;

    if (aad_mi_begin(&question, &aad_mi_azure_ml, credential, call,
                     aad_value(credential, AAD_MI_MSI_ENDPOINT))
        != 0
        || aad_mi_secret(&question, "secret: ",
                         aad_value(credential, AAD_MI_MSI_SECRET)) != 0
        || aad_azure_ml_default_id(&question) != 0)
    {
        result = aad_reason(call, AAD_FAILED, "out of memory");

    } else {
        aad_mi_header(&question, "Metadata: true");
        result = aad_mi_ask(&question, call, "MSI_ENDPOINT", token);
    }

    aad_mi_end(&question);

    return result;
}


/* The user-assigned identity of the compute, where no other is chosen. */
static int
aad_azure_ml_default_id(aad_mi_question_t *question)
{
    const aad_credential_t  *credential;

    credential = question->credential;

    if (aad_mi_has(credential, AAD_MI_CLIENT_ID)
        || !aad_mi_has(credential, AAD_MI_DEFAULT_CLIENT_ID))
    {
        return 0;
    }

    return aad_mi_parameter(question, aad_mi_azure_ml.ids[AAD_MI_CLIENT_ID],
                            aad_value(credential, AAD_MI_DEFAULT_CLIENT_ID));
}
