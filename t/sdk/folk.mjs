/*
 * Who is in the tenant of callers-tenant.mjs, and what its tokens are for.
 */

export const TENANT = '11111111-1111-4111-8111-111111111111';

export const SERVICE = 'https://cognitiveservices.azure.com';

/* the gateway's app registration, whose callers' tokens are of v2 */
export const GATEWAY = {
    id: '22222222-2222-4222-8222-222222222222',
    oid: '22222222-aaaa-4aaa-8aaa-222222222222',
    secret: 'g~a.t-e_w+a/y=1&100%',
    roles: [],
};

/* what its callers ask a token for, and what another app's callers do */
export const GATEWAY_URI = `api://${GATEWAY.id}`;
export const OLDER_URI = 'api://older-gateway';
export const OTHER_URI = 'api://other';

/* the app role that lets callers in */
export const ROLE = 'Models.Use';

/* apps that call in their own name */
export const APPS = {
    worker: {
        id: '33333333-3333-4333-8333-333333333333',
        oid: '33333333-aaaa-4aaa-8aaa-333333333333',
        secret: 'worker-secret',
        roles: ['Models.List', ROLE],
    },
    stranger: {
        id: '44444444-4444-4444-8444-444444444444',
        oid: '44444444-aaaa-4aaa-8aaa-444444444444',
        secret: 'stranger-secret',
        roles: ['Models.List'],
    },
};

/* the app that people sign in to; it has no secret */
export const CONSOLE = { id: '55555555-5555-4555-8555-555555555555' };

/* of carol a second factor is asked before anybody acts on her behalf */
export const PEOPLE = {
    alice: {
        oid: '66666666-aaaa-4aaa-8aaa-666666666666',
        name: 'alice@tenant.test',
        password: 'first-password',
    },
    bob: {
        oid: '77777777-aaaa-4aaa-8aaa-777777777777',
        name: 'bob@tenant.test',
        password: 'second-password',
    },
    carol: {
        oid: '88888888-aaaa-4aaa-8aaa-888888888888',
        name: 'carol@tenant.test',
        password: 'third-password',
        challenge: '{"access_token":{"acrs":{"essential":true,"value":"c1"}}}',
    },
};

/*
 * The version of a resource's tokens, and their audience, as its app
 * registration decides: v1 has the URI, v2 the client id.
 */
export const RESOURCES = {
    [SERVICE]: { version: 1, audience: SERVICE },
    [OLDER_URI]: { version: 1, audience: OLDER_URI },
    [OTHER_URI]: { version: 2, audience: OTHER_URI },
    [GATEWAY_URI]: { version: 2, audience: GATEWAY.id },
};
