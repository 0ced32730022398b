/*
 * Whether client assertions are what they must be: jose verifies those that a
 * token server has accepted, and the server refuses to take them again.
 *
 *     NODE_EXTRA_CA_CERTS=CA node assertions.mjs --server=URL
 *         --token-endpoint=URL --client-id=ID --certificate=FILE
 *
 * The server is entra.mjs, the certificate that of its application, with the
 * key of which all assertions are signed. Prints TAP.
 */

import assert from 'node:assert/strict';
import { createHash, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';

import { decodeProtectedHeader, importX509, jwtVerify } from 'jose';

import { readArguments } from './server.mjs';
import { done, test } from './tap.mjs';


const LIFETIME_S = 600;
const GUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const CLAIMS = ['aud', 'exp', 'iat', 'iss', 'jti', 'nbf', 'sub'];
const SCOPE = 'https://cognitiveservices.azure.com/.default';
const ASSERTION_TYPE =
    'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';


/* Asks for a token with an assertion; resolves to the status and the JSON. */
async function ask(assertion) {
    const response = await fetch(args['token-endpoint'], {
        method: 'POST',
        body: new URLSearchParams({
            client_id: args['client-id'],
            client_assertion_type: ASSERTION_TYPE,
            client_assertion: assertion,
            grant_type: 'client_credentials',
            scope: SCOPE,
        }),
    });

    return { status: response.status, json: await response.json() };
}


/* Verifies the signature and the claims; resolves to header and claims. */
function verify(assertion) {
    return jwtVerify(assertion, key, {
        algorithms: ['PS256'],
        audience: args['token-endpoint'],
        issuer: args['client-id'],
        subject: args['client-id'],
        typ: 'JWT',
        requiredClaims: CLAIMS,
    });
}


const args = readArguments({
    'server': null,
    'token-endpoint': null,
    'client-id': null,
    'certificate': null,
});

const pem = readFileSync(args.certificate, 'utf8');
const certificate = new X509Certificate(pem);
const key = await importX509(pem, 'PS256');
const assertions = await (await fetch(`${args.server}/assertions`)).json();
const withChain = assertions.filter((assertion) =>
    decodeProtectedHeader(assertion).x5c !== undefined);


await test('assertions with x5c and without were accepted', () => {
    assert.ok(withChain.length > 0);
    assert.ok(withChain.length < assertions.length);
});

await test('jose verifies their signatures', async () => {
    for (const assertion of assertions) {
        await verify(assertion);
    }
});

await test('jose refuses one whose claims were changed', async () => {
    const [header, claims, signature] = assertions[0].split('.');
    const other = { ...JSON.parse(Buffer.from(claims, 'base64url')),
                    exp: 4000000000 };
    const text = Buffer.from(JSON.stringify(other)).toString('base64url');

    await assert.rejects(verify(`${header}.${text}.${signature}`),
        { code: 'ERR_JWS_SIGNATURE_VERIFICATION_FAILED' });
});

await test('the claims are those of the contract', async () => {
    for (const assertion of assertions) {
        const { payload } = await verify(assertion);

        assert.deepEqual(Object.keys(payload).sort(), CLAIMS);
        assert.equal(payload.nbf, payload.iat);
        assert.equal(payload.exp, payload.nbf + LIFETIME_S);
        assert.match(payload.jti, GUID);
    }
});

await test('x5t#S256 is the thumbprint of the certificate', () => {
    const digest = createHash('sha256').update(certificate.raw);
    const thumbprint = digest.digest('base64url');

    for (const assertion of assertions) {
        assert.equal(decodeProtectedHeader(assertion)['x5t#S256'],
            thumbprint);
    }
});

await test('x5c is the certificate', () => {
    for (const assertion of withChain) {
        assert.deepEqual(decodeProtectedHeader(assertion).x5c,
            [certificate.raw.toString('base64')]);
    }
});

await test('no jti is there twice', () => {
    const ids = assertions.map((assertion) =>
        JSON.parse(Buffer.from(assertion.split('.')[1], 'base64url')).jti);

    assert.equal(new Set(ids).size, assertions.length);
});

await test('the server refuses a replayed assertion', async () => {
    for (const assertion of assertions) {
        const { status, json } = await ask(assertion);

        assert.equal(status, 401);
        assert.equal(json.error, 'invalid_client');
        assert.equal(json.access_token, undefined);
    }
});

done();
