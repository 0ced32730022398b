/*
 * Two grants of Entra ID that oidc-provider lacks: a person's password, and
 * the exchange of a person's token for one on their behalf. Errors are worded
 * as Entra ID words them.
 */

import { createLocalJWKSet, jwtVerify } from 'jose';

import { PEOPLE } from './folk.mjs';


export const PASSWORD = 'password';
export const JWT_BEARER = 'urn:ietf:params:oauth:grant-type:jwt-bearer';

const PARAMETERS = {
    [PASSWORD]: ['scope', 'username', 'password'],
    [JWT_BEARER]: ['scope', 'assertion', 'requested_token_use'],
};


/*
 * Adds the grants to a provider. "keys" are its signing keys, "issuers" those
 * of the tokens that it exchanges; resourceServerOf(scope) is the one that a
 * token is for, and exchanged() is called for each that was asked for.
 */
export function addGrants(provider, of) {
    const grants = {
        [PASSWORD]: (ctx) => signIn(provider, of, ctx),
        [JWT_BEARER]: (ctx) => actOnBehalf(provider, of, ctx),
    };

    for (const [name, grant] of Object.entries(grants)) {
        provider.registerGrantType(name, grant, PARAMETERS[name]);
    }
}


/* Answers a person who signs in by password. */
async function signIn(provider, of, ctx) {
    const { username, password } = ctx.oidc.params;
    const person = personWith('name', username);

    if (person === undefined || person.password !== password) {
        refuse(ctx, 'invalid_grant', 50126, 'Invalid username or password.');

    } else {
        await issue(provider, of, ctx, person);
    }
}


/* Answers an app that shows the token of a person who has called it. */
async function actOnBehalf(provider, of, ctx) {
    const { assertion, requested_token_use: use } = ctx.oidc.params;

    of.exchanged();

    if (use !== 'on_behalf_of') {
        refuse(ctx, 'invalid_request', 900144, 'requested_token_use is due.');
        return;
    }

    const claims = await verified(assertion, of, ctx.oidc.client.clientId);

    if (claims === undefined) {
        refuse(ctx, 'invalid_grant', 50013, 'Assertion failed validation.');
        return;
    }

    const person = personWith('oid', claims.oid);

    if (person === undefined) {
        refuse(ctx, 'invalid_grant', 7000114, 'Application is not allowed to '
            + 'make application on-behalf-of calls.');

    } else if (person.challenge !== undefined) {
        refuse(ctx, 'interaction_required', 50079, 'You must enroll in '
            + 'multi-factor authentication.',
            { suberror: 'basic_action', claims: person.challenge });

    } else {
        await issue(provider, of, ctx, person);
    }
}


/* The claims of a token for this app, undefined for what is no such token. */
async function verified(assertion, { keys, issuers }, clientId) {
    const published = keys.map(({ kty, n, e, alg, use, kid }) =>
        ({ kty, n, e, alg, use, kid }));

    try {
        const { payload } = await jwtVerify(assertion,
            createLocalJWKSet({ keys: published }), {
                issuer: issuers,
                audience: clientId,
                algorithms: ['RS256'],
                requiredClaims: ['exp', 'oid'],
            });

        return payload;

    } catch {
        return undefined;
    }
}


/* Answers with a token of this person for what was asked. */
async function issue(provider, of, ctx, person) {
    const { client, params } = ctx.oidc;
    const target = of.resourceServerOf(params.scope);
    const token = new provider.AccessToken({
        client,
        accountId: person.oid,
        gty: params.grant_type,
        scope: target.scope,
    });

    token.resourceServer = target;

    ctx.body = {
        access_token: await token.save(),
        expires_in: token.expiration,
        token_type: token.tokenType,
        scope: token.scope,
    };
}


/* Answers with an error, and what else Entra ID says of it. */
function refuse(ctx, error, code, text, more = {}) {
    ctx.status = 400;
    ctx.body = {
        error,
        error_description: `AADSTS${code}: ${text}`,
        error_codes: [code],
        ...more,
    };
}


/* The person of whom that is true, undefined where there is none. */
function personWith(name, value) {
    return Object.values(PEOPLE).find((person) => person[name] === value);
}
