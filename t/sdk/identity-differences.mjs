/*
 * The differences between @azure/identity and us that are intended, as
 * identity-compare.mjs describes them; everything else has to be the same.
 */

import { FRESH } from './identity-compare.mjs';


const FORM = 'application/x-www-form-urlencoded;charset=utf-8';

export const SCOPE = 'https://cognitiveservices.azure.com/.default';

const TELEMETRY_WHY = 'telemetry of MSAL, which we are not';


/* The differences in every HTTP request. */
const HTTP = [
    {
        field: 'header user-agent',
        sdk: /^azsdk-js-identity\/\S+ core-rest-pipeline\/\S+ Node\/\S+ \(/,
        ours: /^ngx_http_aoai_aad_module\/[0-9.]+$/,
        why: 'each says what it is',
    },
    {
        field: 'header accept',
        ours: 'application/json',
        why: 'we read nothing else; Service Fabric documents it',
    },
    {
        field: 'header accept-encoding',
        sdk: 'gzip,deflate',
        why: 'an answer of two kilobytes is not worth a decompressor',
    },
    {
        field: 'header connection',
        sdk: 'keep-alive',
        why: 'it is what HTTP/1.1 means anyway',
    },
    {
        field: 'header x-ms-client-request-id',
        sdk: FRESH,
        why: 'of the SDKs\' own HTTP pipeline; no endpoint documents it',
    },
];

/* The differences in a POST of a form. */
export const POST = [
    ...HTTP,
    {
        field: 'header content-type',
        sdk: FORM,
        ours: 'application/x-www-form-urlencoded',
        why: 'the type has no such parameter, and all bytes are ASCII',
    },
];

/* The differences in a GET. */
export const GET = [
    ...HTTP,
    {
        field: 'header content-type',
        sdk: FORM,
        why: 'a GET has no body that could have a type',
    },
];

/* The differences at Entra's token endpoint. */
export const ENTRA = [
    ...POST,
    {
        field: 'header client-request-id',
        ours: FRESH,
        why: 'Entra takes it from here as well; it is the one that we log',
    },
    {
        field: 'query client-request-id',
        sdk: FRESH,
        why: 'we send it in a header, as MSAL for Go and Python do',
    },
    {
        field: 'form client-request-id',
        sdk: FRESH,
        why: 'we send it in a header, as MSAL for Go and Python do',
    },
    { field: 'form x-client-SKU', sdk: 'msal.js.node', why: TELEMETRY_WHY },
    { field: 'form x-client-VER', sdk: /^[0-9.]+$/, why: TELEMETRY_WHY },
    { field: 'form x-client-OS', sdk: /^\w+$/, why: TELEMETRY_WHY },
    { field: 'form x-client-CPU', sdk: /^\w+$/, why: TELEMETRY_WHY },
    {
        field: 'form x-ms-lib-capability',
        sdk: 'retry-after, h429',
        why: TELEMETRY_WHY,
    },
    {
        field: 'form x-client-current-telemetry',
        sdk: /^5\|/,
        why: TELEMETRY_WHY,
    },
    {
        field: 'form x-client-last-telemetry',
        sdk: /^5\|/,
        why: TELEMETRY_WHY,
    },
];

/* The differences where a caller's token is exchanged there. */
export const ON_BEHALF_OF = [
    ...ENTRA.filter(({ field }) => !field.endsWith('-telemetry')),
    {
        field: 'form scope',
        sdk: `${SCOPE} openid profile offline_access`,
        ours: SCOPE,
        why: 'an ID token and a refresh token, of which we have no use: the '
            + 'one would be thrown away, the other outlive its caller',
    },
    {
        field: 'form client_info',
        sdk: '1',
        why: 'it asks for the key of MSAL\'s cache; ours is a digest',
    },
];

/* The differences at IMDS. */
export const IMDS = [
    ...GET,
    {
        field: 'path',
        sdk: '/metadata/identity/oauth2/token/',
        ours: '/metadata/identity/oauth2/token',
        why: '@azure/identity adds the slash where the host is another than '
            + 'IMDS\'s own, as it has to be in a test',
    },
    { field: 'header x-client-sku', sdk: 'msal.js.node', why: TELEMETRY_WHY },
    { field: 'header x-client-ver', sdk: /^[0-9.]+$/, why: TELEMETRY_WHY },
];

/* The differences in how a command is run. */
export const COMMAND = [
    {
        field: 'directory',
        sdk: /^(\/usr)?\/bin$/,
        ours: '/',
        why: 'neither is a place where others can put a program or a file',
    },
    {
        field: 'standard input',
        sdk: 'a pipe',
        ours: '0 bytes',
        why: 'a command that asks a question must not wait for its answer',
    },
];

/* The differences in how azd is run. */
export const AZD = [
    ...COMMAND,
    {
        field: 'argument 3',
        sdk: '--output',
        ours: '-o',
        why: 'two names of one option; azidentity for Go uses ours',
    },
];


/* The differences at App Service that is given an object id. */
export function appServiceObject(id) {
    const why = 'App Service documents principal_id, object_id as its alias';

    return [
        ...GET,
        { field: 'query object_id', sdk: id, why },
        { field: 'query principal_id', ours: id, why },
    ];
}


/* The request for an issuer's metadata, which @azure/identity alone makes. */
export function metadata(tenant, prefix = '') {
    return {
        call: `GET ${prefix}/${tenant}/v2.0/.well-known/openid-configuration`,
        why: 'we know where the token endpoint is: a request less to fail',
    };
}
