/*
 * Asks a credential of @azure/identity for a token.
 *
 *     node azure-identity.mjs '{"type":"ClientSecretCredential",
 *         "arguments":["TENANT","CLIENT","SECRET",{}],"scope":"SCOPE"}'
 *
 * An argument {"assertion":{...}}, with such an object in it, is a function
 * that resolves to that credential's token; so is the member "getAssertion" of
 * one. The exit status is 0 where there is a token; where there is none,
 * standard error says why.
 */

import * as identity from '@azure/identity';


/* Makes a credential and asks it for a token. */
async function getToken({ type, arguments: given, scope }) {
    const values = given.map(valueOf);

    return new identity[type](...values).getToken(scope);
}


/* An argument as its constructor wants it. */
function valueOf(given) {
    const asked = (credential) => async () =>
        (await getToken(credential)).token;

    if (given?.assertion !== undefined) {
        return asked(given.assertion);
    }

    return given?.getAssertion === undefined
        ? given
        : { ...given, getAssertion: asked(given.getAssertion) };
}


try {
    const token = await getToken(JSON.parse(process.argv[2]));

    if (!token?.token) {
        throw new Error('there is no token in the answer');
    }

} catch (error) {
    console.error(String(error?.message ?? error));
    process.exitCode = 1;
}
