/*
 * The token from @azure/identity, of the SDKs' tests, and the servers'
 * argument.
 */

import { createRequire } from 'node:module';

const require = createRequire(new URL('../../sdk/', import.meta.url));
const { getBearerTokenProvider, ManagedIdentityCredential } =
    require('@azure/identity');


const IDLE_MS = 3600 * 1000;

/* A function that resolves to a token that is valid. */
export const token = getBearerTokenProvider(new ManagedIdentityCredential(),
    'https://cognitiveservices.azure.com/.default');


/* Listens on a port of 127.0.0.1, and closes no connection that is kept. */
export function listen(server, port) {
    server.keepAliveTimeout = IDLE_MS;
    server.listen(Number(port), '127.0.0.1');
}
