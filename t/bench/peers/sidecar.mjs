/*
 * The sidecar of auth_request: answers each request with the token in
 * X-Token, for a cache to keep for five minutes.
 *
 *     node sidecar.mjs --port=PORT
 */

import { createServer } from 'node:http';

import { readArguments } from '../../sdk/server.mjs';
import { listen, token } from './token.mjs';


const { port } = readArguments({ port: null });

async function answer(req, res) {
    try {
        res.writeHead(204, {
            'X-Token': `Bearer ${await token()}`,
            'Cache-Control': 'max-age=300',
        });

    } catch (error) {
        console.error(error);
        res.writeHead(503);
    }

    res.end();
}


listen(createServer(answer), port);
