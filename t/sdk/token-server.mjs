/*
 * What the token servers of these tests have in common: oidc-provider, shaped
 * as Entra ID.
 */

import { generateKeyPairSync, randomUUID } from 'node:crypto';

/* oidc-provider remarks on its host; standard output is for our line */
console.info = console.warn;

export const { default: Provider, errors } = await import('oidc-provider');


const DEFAULT_SCOPE = '/.default';


/* A fresh signing key as a private JWK. */
export function signingKey() {
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });

    return { ...privateKey.export({ format: 'jwk' }), alg: 'RS256',
             use: 'sig', kid: randomUUID() };
}


/*
 * The resource that a scope "RESOURCE/.default" stands for, undefined for any
 * other scope: Entra grants an application nothing less.
 */
export function resourceOf(scope) {
    return scope?.endsWith(DEFAULT_SCOPE)
        ? scope.slice(0, -DEFAULT_SCOPE.length)
        : undefined;
}


/*
 * The resource server as oidc-provider wants it described. Its tokens are
 * signed with the key of that id, or with any where none is given.
 */
export function resourceServer(resource, lifetime, kid) {
    return {
        scope: `${resource}${DEFAULT_SCOPE}`,
        audience: resource,
        accessTokenTTL: lifetime,
        accessTokenFormat: 'jwt',
        jwt: { sign: { alg: 'RS256', kid } },
    };
}


/* An application that asks for tokens in its own name. */
export function application(id, authentication) {
    return {
        client_id: id,
        grant_types: ['client_credentials'],
        response_types: [],
        redirect_uris: [],
        ...authentication,
    };
}


/* How an application with a secret proves who it is. */
export function bySecret(secret) {
    return {
        client_secret: secret,
        token_endpoint_auth_method: 'client_secret_post',
    };
}


/* A metadata document, at the place where Entra has it. */
export function discovery(facts) {
    return {
        issuer: facts.issuer,
        token_endpoint: facts.token_endpoint,
        jwks_uri: facts.jwks_uri,
        authorization_endpoint:
            facts.token_endpoint.replace(/token$/, 'authorize'),
        token_endpoint_auth_methods_supported:
            ['client_secret_post', 'private_key_jwt'],
        response_types_supported: ['code'],
        subject_types_supported: ['pairwise'],
        id_token_signing_alg_values_supported: ['RS256'],
    };
}
