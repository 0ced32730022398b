/*
 * Asks a credential of @azure/identity for a token.
 *
 *     node azure-identity.mjs '{"type":"ClientSecretCredential",
 *         "arguments":["TENANT","CLIENT","SECRET",{}],"scope":"SCOPE"}'
 *
 * An argument {"assertion":{...}}, with such an object in it, is a function
 * that resolves to that credential's token. The exit status is 0 where there
 * is a token; where there is none, standard error says why.
 */

import * as identity from '@azure/identity';


/* Makes a credential and asks it for a token. */
async function getToken({ type, arguments: given, scope }) {
    const values = given.map((value) => value?.assertion === undefined
        ? value
        : async () => (await getToken(value.assertion)).token);

    return new identity[type](...values).getToken(scope);
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
