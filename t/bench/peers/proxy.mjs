/*
 * A proxy that puts the token on each request, streaming both ways.
 *
 *     node proxy.mjs --port=PORT --upstream=ADDRESS:PORT
 */

import { Agent, createServer, request } from 'node:http';

import { readArguments } from '../../sdk/server.mjs';
import { listen, token } from './token.mjs';


const { port, upstream } = readArguments({ port: null, upstream: null });
const [host, upstreamPort] = upstream.split(':');
const agent = new Agent({ keepAlive: true, maxFreeSockets: 64 });


function refuse(res, error) {
    console.error(error);

    if (res.headersSent) {
        res.destroy();
    } else {
        res.writeHead(502).end();
    }
}


/* Hop-by-hop headers are each side's own. */
function passedOn(headers) {
    const { connection, 'keep-alive': keepAlive, ...others } = headers;

    return others;
}


async function forward(req, res) {
    const headers = {
        ...passedOn(req.headers),
        host: upstream,
        authorization: `Bearer ${await token()}`,
    };

    delete headers['api-key'];

    const outgoing = request({ host, port: upstreamPort, agent, headers,
        method: req.method, path: req.url });

    outgoing.on('response', (answer) => {
        res.writeHead(answer.statusCode, passedOn(answer.headers));
        answer.pipe(res);
    });
    outgoing.on('error', (error) => refuse(res, error));

    // pipeline() would make an error object for each request
    res.on('close', () => res.writableFinished || outgoing.destroy());
    req.pipe(outgoing);
}


listen(createServer((req, res) => {
    forward(req, res).catch((error) => refuse(res, error));
}), port);
