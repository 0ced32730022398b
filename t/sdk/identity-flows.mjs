/*
 * The flows that @azure/identity and we have both.
 */

import { AZD, COMMAND, ENTRA, GET, IMDS, ON_BEHALF_OF, POST, appServiceObject,
         metadata } from './identity-differences.mjs';
import { PATHS } from './recorder.mjs';


export const SECRET = 'p~a.s-s_w+o/r=d&100% \u00fc';
export const FEDERATED_TOKEN = 'eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJwb2QifQ.c2ln';

const CALLER = 'eyJhbGciOiJSUzI1NiJ9.eyJhdWQiOiJhcGk6Ly9nYXRlIn0.c2lnbmVk';

const EXCHANGE_SCOPE = 'api://AzureADTokenExchange/.default';

const TENANT = '11111111-1111-4111-8111-111111111111';
const CLIENT = '22222222-2222-4222-8222-222222222222';
const IDENTITY = '33333333-3333-4333-8333-333333333333';
const OBJECT = '44444444-4444-4444-8444-444444444444';
const SUBSCRIPTION = '55555555-5555-4555-8555-555555555555';
const RESOURCE = `/subscriptions/${SUBSCRIPTION}/resourceGroups/group-1`
    + '/providers/Microsoft.ManagedIdentity/userAssignedIdentities/gate_way';
const HEADER = '853b9a84-5bfa-4b22-a3f3-0b9a43d9ad8a';

/* what the URL of the AKS identity-binding proxy ends in */
const BINDING = '/binding';


/*
 * The flows. "at" says where everything is: the ports of the recorder and the
 * thumbprint of its certificate, and the files that identity.mjs has made. A
 * flow has
 *
 *     name         of the test
 *     environment  variables of both sides
 *     ours         the words of aoai_aad_credential
 *     caller       whose token is exchanged; left out where none is
 *     sdk          the class of @azure/identity and its arguments
 *     calls        for each call that both sides make, the differences that
 *                  are intended
 *     extra        calls that @azure/identity alone makes
 *     refusal      where both have to refuse: what each of them says then
 *     isSigned     true: the last call has an assertion that the app signs
 *     sendsChain   true: with the chain of its certificate
 *     needsRoot    true: only root can put the file where it has to be
 */
export function flows(at) {
    return [
        ...secrets(at),
        ...certificates(at),
        ...federated(at),
        ...onBehalfOf(at),
        ...imds(at),
        ...appService(at),
        ...otherMachines(at),
        ...developers(),
    ];
}


/* What every app of @azure/identity is told here. */
function optionsOf(at) {
    return {
        authorityHost: `https://localhost:${at.httpsPort}`,
        disableInstanceDiscovery: true,
    };
}


const app = `tenant_id=${TENANT} client_id=${CLIENT}`;
const appVariables = { AZURE_TENANT_ID: TENANT, AZURE_CLIENT_ID: CLIENT };


/* Apps with a secret. */
function secrets(at) {
    const options = optionsOf(at);
    const common = { calls: [ENTRA], extra: [metadata(TENANT)] };

    return [
        {
            ...common,
            name: 'client secret',
            ours: `client_secret ${app} secret_file=${at.secretFile}`,
            sdk: ['ClientSecretCredential', TENANT, CLIENT, SECRET, options],
        },
        {
            ...common,
            name: 'client secret of the environment',
            environment: { ...appVariables, AZURE_CLIENT_SECRET: SECRET },
            ours: 'environment',
            sdk: ['EnvironmentCredential', options],
        },
    ];
}


/* Apps with a certificate. */
function certificates(at) {
    const options = optionsOf(at);
    const common = {
        calls: [ENTRA],
        extra: [metadata(TENANT)],
        isSigned: true,
    };
    const plain = { certificatePath: at.pem };
    const encrypted = {
        certificatePath: at.encryptedPem,
        certificatePassword: at.password,
    };
    const chain = { ...options, sendCertificateChain: true };
    const files = { ...appVariables, AZURE_CLIENT_CERTIFICATE_PATH: at.pem };

    return [
        {
            ...common,
            name: 'client certificate',
            ours: `client_certificate ${app} certificate=${at.pem}`,
            sdk: ['ClientCertificateCredential', TENANT, CLIENT, plain,
                  options],
        },
        {
            ...common,
            name: 'client certificate with its chain',
            ours: `client_certificate ${app} certificate=${at.pem}`
                + ' send_chain=on',
            sdk: ['ClientCertificateCredential', TENANT, CLIENT, plain, chain],
            sendsChain: true,
        },
        {
            ...common,
            name: 'client certificate with a password',
            ours: `client_certificate ${app} certificate=${at.encryptedPem}`
                + ` password_file=${at.passwordFile}`,
            sdk: ['ClientCertificateCredential', TENANT, CLIENT, encrypted,
                  options],
        },
        {
            ...common,
            name: 'client certificate of the environment',
            environment: files,
            ours: 'environment',
            sdk: ['EnvironmentCredential', options],
        },
        {
            ...common,
            name: 'client certificate of the environment with its chain',
            environment: {
                ...files,
                AZURE_CLIENT_SEND_CERTIFICATE_CHAIN: 'true',
            },
            ours: 'environment',
            sdk: ['EnvironmentCredential', options],
            sendsChain: true,
        },
        {
            ...common,
            name: 'client certificate of the environment with a password',
            environment: {
                ...appVariables,
                AZURE_CLIENT_CERTIFICATE_PATH: at.encryptedPem,
                AZURE_CLIENT_CERTIFICATE_PASSWORD: at.password,
            },
            ours: 'environment',
            sdk: ['EnvironmentCredential', options],
        },
    ];
}


/* Apps for which somebody else's token speaks. */
function federated(at) {
    const options = optionsOf(at);
    const common = { calls: [ENTRA], extra: [metadata(TENANT)] };
    const parameters = {
        tenantId: TENANT,
        clientId: CLIENT,
        tokenFilePath: at.tokenFile,
    };
    const variables = {
        ...appVariables,
        AZURE_FEDERATED_TOKEN_FILE: at.tokenFile,
    };
    const assertion = {
        type: 'ManagedIdentityCredential',
        arguments: [{ clientId: IDENTITY }],
        scope: EXCHANGE_SCOPE,
    };

    return [
        {
            ...common,
            name: 'workload identity',
            ours: `workload_identity ${app} token_file=${at.tokenFile}`,
            sdk: ['WorkloadIdentityCredential', { ...options, ...parameters }],
        },
        {
            ...common,
            name: 'workload identity of the environment',
            environment: variables,
            ours: 'workload_identity',
            sdk: ['WorkloadIdentityCredential', options],
        },
        {
            ...common,
            name: 'workload identity by the AKS identity-binding proxy',
            environment: {
                ...variables,
                AZURE_KUBERNETES_TOKEN_PROXY:
                    `https://127.0.0.1:${at.httpsPort}${BINDING}`,
                AZURE_KUBERNETES_SNI_NAME: 'localhost',
                AZURE_KUBERNETES_CA_FILE: at.ca,
            },
            ours: 'workload_identity',
            sdk: ['WorkloadIdentityCredential',
                  { ...options, enableAzureProxy: true }],
            extra: [metadata(TENANT, BINDING)],
        },
        {
            ...common,
            name: 'federated managed identity',
            ours: `federated_managed_identity ${app}`
                + ` identity_client_id=${IDENTITY}`,
            sdk: ['ClientAssertionCredential', TENANT, CLIENT, { assertion },
                  options],
            calls: [IMDS, ENTRA],
        },
    ];
}


/* Apps that exchange what their callers have shown. */
function onBehalfOf(at) {
    const common = {
        calls: [ON_BEHALF_OF],
        caller: CALLER,
        extra: [metadata(TENANT)],
    };
    const options = {
        ...optionsOf(at),
        tenantId: TENANT,
        clientId: CLIENT,
        userAssertionToken: CALLER,
    };
    const getAssertion = {
        type: 'ManagedIdentityCredential',
        arguments: [{ clientId: IDENTITY }],
        scope: EXCHANGE_SCOPE,
    };

    return [
        {
            ...common,
            name: 'on behalf of a caller, by a client secret',
            ours: `client_secret ${app} secret_file=${at.secretFile}`,
            sdk: ['OnBehalfOfCredential',
                  { ...options, clientSecret: SECRET }],
        },
        {
            ...common,
            name: 'on behalf of a caller, by a client certificate',
            ours: `client_certificate ${app} certificate=${at.pem}`,
            sdk: ['OnBehalfOfCredential',
                  { ...options, certificatePath: at.pem }],
            isSigned: true,
        },
        {
            ...common,
            name: 'on behalf of a caller, by a certificate with its chain',
            ours: `client_certificate ${app} certificate=${at.pem}`
                + ' send_chain=on',
            sdk: ['OnBehalfOfCredential', {
                ...options,
                certificatePath: at.pem,
                sendCertificateChain: true,
            }],
            isSigned: true,
            sendsChain: true,
        },
        {
            ...common,
            name: 'on behalf of a caller, by a federated managed identity',
            ours: `federated_managed_identity ${app}`
                + ` identity_client_id=${IDENTITY}`,
            sdk: ['OnBehalfOfCredential', { ...options, getAssertion }],
            calls: [IMDS, ON_BEHALF_OF],
        },
    ];
}


/* A flow of a managed identity. */
function machine(name, environment, options, rest) {
    const [value] = Object.values(options);
    const parameter = Object.keys(options)[0]?.replace('Id', '_id');

    return {
        name: `managed identity of ${name}`
            + (parameter ? ` by ${parameter}` : ''),
        environment,
        ours: `managed_identity${parameter ? ` ${parameter}=${value}` : ''}`,
        sdk: ['ManagedIdentityCredential', options],
        calls: [GET],
        ...rest,
    };
}


/* A virtual machine, a scale set, or a node of AKS. */
function imds() {
    const rest = { calls: [IMDS] };

    return [
        machine('IMDS', {}, {}, rest),
        machine('IMDS', {}, { clientId: IDENTITY }, rest),
        machine('IMDS', {}, { objectId: OBJECT }, rest),
        machine('IMDS', {}, { resourceId: RESOURCE }, rest),
    ];
}


/* App Service, Functions and Container Apps. */
function appService(at) {
    const environment = {
        IDENTITY_ENDPOINT: `http://127.0.0.1:${at.httpPort}`
            + PATHS.appService,
        IDENTITY_HEADER: HEADER,
    };

    return [
        machine('App Service', environment, {}),
        machine('App Service', environment, { clientId: IDENTITY }),
        machine('App Service', environment, { objectId: OBJECT },
            { calls: [appServiceObject(OBJECT)] }),
        machine('App Service', environment, { resourceId: RESOURCE }),
    ];
}


/* The rest: those that take one kind of identity alone, or none. */
function otherMachines(at) {
    const origin = `http://127.0.0.1:${at.httpPort}`;
    const machineLearning = {
        MSI_ENDPOINT: origin + PATHS.machineLearning,
        MSI_SECRET: HEADER,
        DEFAULT_IDENTITY_CLIENT_ID: CLIENT,
    };
    const cloudShell = { MSI_ENDPOINT: origin + PATHS.cloudShell };
    const arc = {
        IDENTITY_ENDPOINT: origin + PATHS.arc,
        IMDS_ENDPOINT: origin,
    };
    const serviceFabric = {
        IDENTITY_ENDPOINT: `https://localhost:${at.httpsPort}`
            + PATHS.serviceFabric,
        IDENTITY_HEADER: HEADER,
        IDENTITY_SERVER_THUMBPRINT: at.thumbprint,
    };
    const challenged = { calls: [GET, GET], needsRoot: true };
    const refused = (sdk, ours) => ({ calls: [], refusal: { sdk, ours } });
    const noMachineLearning = refused(/Only client id/, /Azure ML/);
    const noCloudShell = refused(/not supported for CloudShell/,
        /Cloud Shell/);
    const noServiceFabric = refused(/not supported by the Service Fabric/,
        /Service Fabric/);
    const byClient = { clientId: IDENTITY };
    const byObject = { objectId: OBJECT };
    const byResource = { resourceId: RESOURCE };

    return [
        machine('Azure ML', machineLearning, {}),
        machine('Azure ML', machineLearning, byClient),
        machine('Azure ML', machineLearning, byObject, noMachineLearning),
        machine('Azure ML', machineLearning, byResource, noMachineLearning),

        machine('Cloud Shell', cloudShell, {}, { calls: [POST] }),
        machine('Cloud Shell', cloudShell, byClient, noCloudShell),
        machine('Cloud Shell', cloudShell, byObject, noCloudShell),
        machine('Cloud Shell', cloudShell, byResource, noCloudShell),

        machine('Arc', arc, {}, challenged),
        machine('Arc', arc, byClient, challenged),
        machine('Arc', arc, byObject, challenged),
        machine('Arc', arc, byResource, challenged),

        machine('Service Fabric', serviceFabric, {}),
        machine('Service Fabric', serviceFabric, byClient, noServiceFabric),
        machine('Service Fabric', serviceFabric, byObject, noServiceFabric),
        machine('Service Fabric', serviceFabric, byResource, noServiceFabric),
    ];
}


/* The accounts of a developer's command lines. */
function developers() {
    return [
        {
            name: 'az',
            ours: 'azure_cli',
            sdk: ['AzureCliCredential', {}],
            calls: [COMMAND],
        },
        {
            name: 'az with a tenant',
            ours: `azure_cli tenant_id=${TENANT}`,
            sdk: ['AzureCliCredential', { tenantId: TENANT }],
            calls: [COMMAND],
        },
        {
            name: 'az with a subscription',
            ours: `azure_cli subscription=${SUBSCRIPTION}`,
            sdk: ['AzureCliCredential', { subscription: SUBSCRIPTION }],
            calls: [COMMAND],
        },
        {
            name: 'azd',
            ours: 'azure_developer_cli',
            sdk: ['AzureDeveloperCliCredential', {}],
            calls: [AZD],
        },
        {
            name: 'azd with a tenant',
            ours: `azure_developer_cli tenant_id=${TENANT}`,
            sdk: ['AzureDeveloperCliCredential', { tenantId: TENANT }],
            calls: [AZD],
        },
    ];
}
