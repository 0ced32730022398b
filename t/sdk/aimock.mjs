/*
 * The part of Azure OpenAI that aimock serves, and the way to it. It runs in
 * this process, behind a loopback port of its own, and sees no credentials.
 */

import { request } from 'node:http';
import { pipeline } from 'node:stream';

import { LLMock } from '@copilotkit/aimock';

import { CHUNK_GAP_MS, CHUNK_SIZE, COUNT, SLOWLY, reply } from './model.mjs';
import { refusal, sendJson } from './server.mjs';


const HOP_BY_HOP = ['connection', 'keep-alive', 'transfer-encoding'];


/* Starts aimock and resolves to the functions that send it requests. */
export async function startAimock() {
    const mock = new LLMock();

    mock.on({ userMessage: SLOWLY }, { content: COUNT },
            { latency: CHUNK_GAP_MS, chunkSize: CHUNK_SIZE });
    mock.on({ endpoint: 'chat' }, answer);
    mock.on({ endpoint: 'realtime' }, answer);

    const { hostname, port } = new URL(await mock.start());
    const target = { hostname, port };

    return {
        forward: (call) => forward(target, call),
        forwardUpgrade: (req, socket, head) =>
            forwardUpgrade(target, req, socket, head),
    };
}


/* aimock's view of our reply to the last message of a request. */
function answer(req) {
    const { content } = req.messages.at(-1);
    const text = typeof content === 'string'
        ? content
        : content.map((part) => part.text ?? '').join('');

    return { content: reply(text) };
}


/* A request to aimock like the one that came, less its credentials. */
function outgoing(target, req) {
    const { authorization, host, ...headers } = req.headers;

    return request({
        ...target,
        method: req.method,
        path: req.url,
        headers,
        agent: false,
    });
}


/* Passes a request on and its response back as it comes. */
function forward(target, { req, body, res }) {
    const upstream = outgoing(target, req);

    upstream.on('response', (response) => {
        const headers = { ...response.headers };

        HOP_BY_HOP.forEach((name) => delete headers[name]);
        res.writeHead(response.statusCode, headers);
        pipeline(response, res, () => {});
    });

    res.on('close', () => upstream.destroy());

    pipeline(body, upstream, (error) => {
        if (error && !res.headersSent) {
            sendJson(res, 502, { error: { message: error.message } });
        }
    });
}


/* Passes a WebSocket handshake on, then bytes both ways. */
function forwardUpgrade(target, req, socket, head) {
    const upstream = outgoing(target, req);

    upstream.on('upgrade', (response, peer, peerHead) => {
        socket.write(headOf(response));
        socket.write(peerHead);
        peer.write(head);
        pipeline(socket, peer, socket, () => {});
    });

    upstream.on('response', (response) => {
        socket.end(refusal(response.statusCode));
        response.resume();
    });

    upstream.on('error', () => socket.destroy());
    socket.on('error', () => upstream.destroy());
    upstream.end();
}


/* The status line and headers of a response as they came. */
function headOf({ statusCode, statusMessage, rawHeaders }) {
    const lines = [`HTTP/1.1 ${statusCode} ${statusMessage}`];

    for (let i = 0; i < rawHeaders.length; i += 2) {
        lines.push(`${rawHeaders[i]}: ${rawHeaders[i + 1]}`);
    }

    return `${lines.join('\r\n')}\r\n\r\n`;
}
