/*
 * Which credentials a request brings: none of its client's, and one token.
 */

import { createHash } from 'node:crypto';

import { createRemoteJWKSet, decodeJwt, errors, jwtVerify } from 'jose';


const KEY_HEADERS = ['api-key', 'ocp-apim-subscription-key'];
const KEY_PROTOCOL = 'openai-insecure-api-key.';


/* The URL of a request, with a host that means nothing. */
export function urlOf(req) {
    return new URL(`http://localhost${req.url}`);
}


/* The names of a request's headers in lower case, repeated ones repeated. */
export function headerNames(req) {
    return req.rawHeaders
        .filter((_, index) => index % 2 === 0)
        .map((name) => name.toLowerCase());
}


/* The token's SHA-256 in hex, null where there is no token. */
export function tokenDigest(req) {
    const token = bearerToken(req);

    return token === undefined
        ? null
        : createHash('sha256').update(token).digest('hex');
}


/*
 * The object id in the token, null where there is none: whose it is, once it
 * has passed the check.
 */
export function tokenOwner(req) {
    try {
        return decodeJwt(bearerToken(req)).oid ?? null;

    } catch {
        return null;
    }
}


/*
 * The answer to a request with credentials that a gateway should have taken
 * away, undefined where there are none.
 */
export function refuseLeak(req) {
    const leak = leakOf(req);

    return leak && {
        status: 400,
        body: {
            error: {
                code: 'credential_leaked',
                message: `The upstream got ${leak}.`,
                type: 'leak',
            },
        },
    };
}


/* Names the credentials in excess, undefined where there are none. */
function leakOf(req) {
    const names = headerNames(req);
    const query = urlOf(req).searchParams;
    const protocols = req.headers['sec-websocket-protocol'] ?? '';

    if (names.filter((name) => name === 'authorization').length > 1) {
        return 'more than one Authorization header';
    }

    for (const name of KEY_HEADERS) {
        if (names.includes(name)) {
            return `the header ${name}`;
        }
    }

    for (const name of query.keys()) {
        if (name.toLowerCase() === 'api-key') {
            return 'the query argument api-key';
        }
    }

    if (protocols.includes(KEY_PROTOCOL)) {
        return `the WebSocket subprotocol ${KEY_PROTOCOL}*`;
    }

    return undefined;
}


/*
 * Makes the function that resolves to the answer to a request whose token is
 * missing or invalid, in the words of Azure, and to undefined for a valid one.
 * It rejects where the issuer's keys cannot be had, and takes those that are
 * new at once.
 */
export function tokenCheck({ issuer, jwks, audience }) {
    const keys = createRemoteJWKSet(new URL(jwks), { cooldownDuration: 0 });
    const refusal = {
        status: 401,
        body: {
            statusCode: 401,
            message: 'Unauthorized. Access token is missing, invalid, '
                + `audience is incorrect (${audience}), or have expired.`,
        },
    };

    return async function refuseToken(req) {
        const token = bearerToken(req);

        if (token === undefined) {
            return refusal;
        }

        try {
            await jwtVerify(token, keys, {
                issuer,
                audience,
                algorithms: ['RS256'],
                requiredClaims: ['exp'],
            });

        } catch (error) {
            if (error instanceof errors.JOSEError
                && !(error instanceof errors.JWKSTimeout))
            {
                return refusal;
            }

            throw error;
        }

        return undefined;
    };
}


/* The token of the Authorization header, undefined where there is none. */
function bearerToken(req) {
    return /^Bearer (\S+)$/.exec(req.headers.authorization ?? '')?.[1];
}
