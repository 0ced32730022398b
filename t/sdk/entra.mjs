/*
 * A token server that is shaped as Entra ID: oidc-provider over TLS, with one
 * tenant and one application that has a client secret, and one more where an
 * application with a certificate, which signs by PS256, is named.
 *
 *     node entra.mjs --cert=FILE --key=FILE --tenant=ID --client-id=ID
 *         --client-secret=SECRET [--object-id=ID] [--lifetime=SECONDS]
 *         [--app-id=ID --app-certificate=FILE]
 *
 * The certificate has to name "localhost". When ready, one line of JSON:
 *
 *     {"port":N,"issuer":"https://localhost:N/TENANT/v2.0",
 *      "token_endpoint":"...","jwks_uri":"..."}
 *
 * GET /requests answers {"token_requests":N}, refused ones included, and GET
 * /assertions the client assertions that were accepted, oldest first. Access
 * tokens are JWTs (RS256) whose audience is the scope without "/.default".
 * Keep standard input open: the server ends when it closes, or on SIGTERM.
 */

import { randomBytes, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';

import { announce, endWithStarter, listen, readArguments, sendJson, tlsServer }
    from './server.mjs';
import { Provider, application, bySecret, discovery, errors, resourceOf,
         resourceServer, signingKey } from './token-server.mjs';


/* How an application with a certificate, a PEM file, proves who it is. */
function byCertificate(file) {
    const { publicKey } = new X509Certificate(readFileSync(file));
    const key = publicKey.export({ format: 'jwk' });

    return {
        token_endpoint_auth_method: 'private_key_jwt',
        token_endpoint_auth_signing_alg: 'PS256',
        jwks: { keys: [{ ...key, alg: 'PS256', use: 'sig' }] },
    };
}


/* The applications of the tenant. */
function applications(args) {
    const list = [application(args['client-id'],
        bySecret(args['client-secret']))];

    if (args['app-id'] !== undefined) {
        list.push(application(args['app-id'],
            byCertificate(args['app-certificate'])));
    }

    return list;
}


/* oidc-provider's settings for one tenant. */
function settings(args) {
    const lifetime = Number(args.lifetime);

    return {
        clients: applications(args),
        routes: {
            token: `/${args.tenant}/oauth2/v2.0/token`,
            jwks: `/${args.tenant}/discovery/v2.0/keys`,
        },
        features: {
            devInteractions: { enabled: false },
            clientCredentials: { enabled: true },
            resourceIndicators: {
                enabled: true,
                defaultResource(ctx) {
                    const resource = resourceOf(ctx.oidc.params.scope);

                    if (resource === undefined) {
                        throw new errors.InvalidScope(
                            'the scope has to end in /.default');
                    }

                    return resource;
                },
                getResourceServerInfo: (ctx, resource) =>
                    resourceServer(resource, lifetime),
            },
        },
        extraTokenClaims: (ctx, token) => ({
            appid: token.clientId,
            azp: token.clientId,
            oid: args['object-id'],
            tid: args.tenant,
            ver: '2.0',
        }),
        ttl: { ClientCredentials: lifetime },
        jwks: { keys: [signingKey()] },
        cookies: { keys: [randomBytes(32).toString('hex')] },
    };
}


const args = readArguments({
    'cert': null,
    'key': null,
    'tenant': null,
    'client-id': null,
    'client-secret': null,
    'object-id': '00000000-0000-4000-8000-00000000000d',
    'app-id': undefined,
    'app-certificate': undefined,
    'lifetime': '3599',
});

endWithStarter();

const server = tlsServer(args);
const port = await listen(server);
const origin = `https://localhost:${port}`;
const config = settings(args);
const facts = {
    port,
    issuer: `${origin}/${args.tenant}/v2.0`,
    token_endpoint: `${origin}${config.routes.token}`,
    jwks_uri: `${origin}${config.routes.jwks}`,
};
const metadataPath = `/${args.tenant}/v2.0/.well-known/openid-configuration`;
const provider = new Provider(facts.issuer, config);
const answer = provider.callback();
const assertions = [];
let tokenRequests = 0;

provider.on('grant.success', (ctx) => {
    const assertion = ctx.oidc.body.client_assertion;

    if (assertion !== undefined) {
        assertions.push(assertion);
    }
});

server.on('request', (req, res) => {
    const path = req.url.split('?', 1)[0];

    if (path === '/requests') {
        sendJson(res, 200, { token_requests: tokenRequests });

    } else if (path === '/assertions') {
        sendJson(res, 200, assertions);

    } else if (path === metadataPath) {
        sendJson(res, 200, discovery(facts));

    } else {
        if (path === config.routes.token) {
            tokenRequests += 1;
        }

        answer(req, res);
    }
});

announce(facts);
