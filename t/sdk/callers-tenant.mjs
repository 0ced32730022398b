/*
 * The tenant of folk.mjs: oidc-provider over TLS, with its metadata of both
 * versions, and keys that rotate.
 *
 *     node callers-tenant.mjs --cert=FILE --key=FILE
 *
 * The certificate has to name "localhost". When ready, one line of JSON:
 *
 *     {"port":N,"tenant":"...","client_id":"...","client_secret":"...",
 *      "audience":"...","older_audience":"...","role":"...",
 *      "service_issuer":"...","jwks_uri":"..."}
 *
 * with the gateway's app, what its callers' tokens are for, the role that lets
 * them in, and the issuer of tokens for Azure OpenAI.
 *
 *     GET  /counts    {"exchanges":N,"key_requests":N}, from the beginning
 *     POST /rotate    a new key is published, and signs from now on
 *     POST /withdraw  the oldest key is published no more
 *
 * Keep standard input open: the server ends when it closes, or on SIGTERM.
 */

import { randomBytes } from 'node:crypto';

import { JWT_BEARER, PASSWORD, addGrants } from './callers-grants.mjs';
import { APPS, CONSOLE, GATEWAY, GATEWAY_URI, OLDER_URI, PEOPLE, RESOURCES,
         ROLE, SERVICE, TENANT } from './folk.mjs';
import { announce, endWithStarter, listen, readArguments, sendJson, tlsServer }
    from './server.mjs';
import { Provider, application, bySecret, discovery, errors, resourceOf,
         resourceServer, signingKey } from './token-server.mjs';


const LIFETIME_S = 3599;

const ROUTES = {
    token: `/${TENANT}/oauth2/v2.0/token`,
    jwks: `/${TENANT}/discovery/v2.0/keys`,
};

/* where v1 has its keys, which are the same */
const V1_JWKS = `/${TENANT}/discovery/keys`;


/* The applications of the tenant. */
function applications() {
    const asking = [...Object.values(APPS), GATEWAY].map((app) =>
        application(app.id, bySecret(app.secret)));

    asking.at(-1).grant_types.push(JWT_BEARER);

    return [...asking, application(CONSOLE.id, {
        grant_types: [PASSWORD],
        token_endpoint_auth_method: 'none',
    })];
}


/* The claims that Entra ID has, and oidc-provider has not. */
function claims(ctx, token) {
    return { tid: TENANT, ...claimsOfCaller(token) };
}


/* Those of a person, whose token has an account, or of an app alone. */
function claimsOfCaller({ accountId, clientId }) {
    if (accountId !== undefined) {
        const { oid, name } = Object.values(PEOPLE)
            .find((person) => person.oid === accountId);

        return { oid, preferred_username: name, scp: 'user_impersonation' };
    }

    const { oid, roles } = [...Object.values(APPS), GATEWAY]
        .find((app) => app.id === clientId);

    return { oid, roles, idtyp: 'app' };
}


/* Gives a token the form of its version. */
function shape(ctx, token, parts) {
    const { version, audience } = RESOURCES[token.resourceServer.identifier()];

    parts.header = { typ: 'JWT' };
    parts.payload.iss = issuers[version];
    parts.payload.ver = `${version}.0`;
    parts.payload.aud = audience;
    parts.payload[version === 1 ? 'appid' : 'azp'] = token.clientId;
}


/* What a scope is for; MSAL asks for people with more words than one. */
function targetOf(scope) {
    const resource = scope?.split(' ').map(resourceOf).find(Boolean);

    if (RESOURCES[resource] === undefined) {
        throw new errors.InvalidScope('there is no such resource');
    }

    return resource;
}


/* The resource server as oidc-provider wants it, of the newest key. */
function describe(resource) {
    return resourceServer(resource, LIFETIME_S, keys[0].kid);
}


/* The tenant with the keys of this moment; it has no other state. */
function makeProvider() {
    const made = new Provider(issuers[2], {
        clients: applications(),
        clientAuthMethods: ['client_secret_post', 'none'],
        routes: ROUTES,
        features: {
            devInteractions: { enabled: false },
            clientCredentials: { enabled: true },
            resourceIndicators: {
                enabled: true,
                defaultResource: (ctx) => targetOf(ctx.oidc.params.scope),
                getResourceServerInfo: (ctx, resource) => describe(resource),
            },
        },
        formats: { customizers: { jwt: shape } },
        extraTokenClaims: claims,
        ttl: { AccessToken: LIFETIME_S, ClientCredentials: LIFETIME_S },
        jwks: { keys },
        cookies: { keys: [cookieKey] },
    });

    addGrants(made, {
        keys,
        issuers: Object.values(issuers),
        exchanged: () => { counts.exchanges += 1; },
        resourceServerOf(scope) {
            const resource = targetOf(scope);

            return new made.ResourceServer(resource, describe(resource));
        },
    });

    return made.callback();
}


/* Changes the keys that are published; the first of them signs. */
function publish(changed) {
    keys = changed;
    answer = makeProvider();

    return { keys: keys.map((key) => key.kid) };
}


/* Answers a request: one of a test, a metadata document, or the provider's. */
function serve(req, res) {
    const [path] = req.url.split('?', 1);
    const call = calls[`${req.method} ${path}`];

    if (call !== undefined) {
        sendJson(res, 200, call());
        return;
    }

    if (path === V1_JWKS) {
        req.url = ROUTES.jwks;
    }

    if (req.url === ROUTES.jwks) {
        counts.key_requests += 1;
    }

    answer(req, res);
}


const args = readArguments({ cert: null, key: null });

endWithStarter();

const server = tlsServer(args);
const port = await listen(server);
const origin = `https://localhost:${port}`;
const issuers = {
    1: `${origin}/sts/${TENANT}/`,
    2: `${origin}/${TENANT}/v2.0`,
};
const documentAt = '.well-known/openid-configuration';
const token_endpoint = `${origin}${ROUTES.token}`;
const cookieKey = randomBytes(32).toString('hex');
const counts = { exchanges: 0, key_requests: 0 };
const calls = {
    'GET /counts': () => counts,
    'POST /rotate': () => publish([signingKey(), ...keys]),
    'POST /withdraw': () => publish(keys.slice(0, -1)),
    [`GET /${TENANT}/v2.0/${documentAt}`]: () => discovery({
        issuer: issuers[2],
        token_endpoint,
        jwks_uri: `${origin}${ROUTES.jwks}`,
    }),
    [`GET /${TENANT}/${documentAt}`]: () => discovery({
        issuer: issuers[1],
        token_endpoint,
        jwks_uri: `${origin}${V1_JWKS}`,
    }),
};
let keys, answer;

publish([signingKey()]);
server.on('request', serve);

announce({
    port,
    tenant: TENANT,
    client_id: GATEWAY.id,
    client_secret: GATEWAY.secret,
    audience: RESOURCES[GATEWAY_URI].audience,
    older_audience: RESOURCES[OLDER_URI].audience,
    role: ROLE,
    service_issuer: issuers[RESOURCES[SERVICE].version],
    jwks_uri: `${origin}${ROUTES.jwks}`,
});
