/*
 * What the servers of these tests have in common: their arguments, a free
 * loopback port, and an end.
 */

import { readFileSync } from 'node:fs';
import { STATUS_CODES } from 'node:http';
import { createServer } from 'node:https';
import { parseArgs } from 'node:util';


const MAX_RUN_MS = 30 * 60 * 1000;


/*
 * Reads "--name=value" arguments. Every known name is in "defaults": one with
 * the default null has to be given, with undefined it may be left out, with
 * false it is a switch. Throws an Error that names an argument that is unknown
 * or missing.
 */
export function readArguments(defaults) {
    const options = {};

    for (const [name, value] of Object.entries(defaults)) {
        options[name] = { type: value === false ? 'boolean' : 'string' };
    }

    const { values } = parseArgs({ options });
    const result = { ...defaults, ...values };

    for (const [name, value] of Object.entries(result)) {
        if (value === null) {
            throw new Error(`--${name}=... is missing`);
        }
    }

    return result;
}


/* A server with the PEM files of a certificate and its key. */
export function tlsServer({ cert, key }) {
    return createServer({ cert: readFileSync(cert), key: readFileSync(key) });
}


/* Listens on a free port of 127.0.0.1 and resolves to its number. */
export function listen(server) {
    return new Promise((resolve, reject) => {
        server.once('error', reject);
        server.listen(0, '127.0.0.1', () => resolve(server.address().port));
    });
}


/* Tells the starter, in one line of JSON, that the server is ready. */
export function announce(facts) {
    process.stdout.write(`${JSON.stringify(facts)}\n`);
}


/*
 * Ends the process with its starter: when standard input closes or SIGTERM
 * comes, and with an exit status of 1 after MAX_RUN_MS.
 */
export function endWithStarter() {
    const end = () => process.exit(0);

    process.stdin.on('end', end).on('error', end).resume();
    process.on('SIGTERM', end);
    setTimeout(() => process.exit(1), MAX_RUN_MS);
}


/* Answers a request with JSON. */
export function sendJson(res, status, body) {
    const text = JSON.stringify(body);

    res.writeHead(status, {
        'Content-Type': 'application/json',
        'Content-Length': Buffer.byteLength(text),
    });
    res.end(text);
}


/* The whole HTTP response, with a JSON body, to a refused handshake. */
export function refusal(status, body = {}) {
    const text = JSON.stringify(body);

    return `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n`
        + 'Content-Type: application/json\r\n'
        + `Content-Length: ${Buffer.byteLength(text)}\r\n`
        + `Connection: close\r\n\r\n${text}`;
}
