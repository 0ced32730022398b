/*
 * The openai client through a gateway that holds the credentials: the client
 * itself has a placeholder for a key, or a token that is worth nothing.
 *
 *     GATEWAY=http://127.0.0.1:PORT node client.mjs [unavailable | realtime]
 *
 * Behind the gateway is azure-openai.mjs. Prints TAP; the exit status is not
 * 0 where a test has failed. With "unavailable" the gateway is one that gets
 * no token, and the client has to be told so; with "realtime" it is one that
 * passes a WebSocket handshake on.
 */

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import http from 'node:http';
import https from 'node:https';
import { Readable } from 'node:stream';

import { APIError, AzureOpenAI, NotFoundError, OpenAI, toStreamingFile }
    from 'openai';

import { CHAT, CHUNK_GAP_MS, COMPLETIONS, COUNT, DEPLOYMENTS, EMBEDDINGS,
         SLOWLY, TAGLINE, fileId, reply } from './model.mjs';
import { done, test } from './tap.mjs';


const LEGACY_VERSION = '2022-12-01';
const VERSION = '2025-04-01-preview';
const PLACEHOLDER_KEY = 'placeholder-key';

const TIMEOUT_MS = 10 * 1000;
const UPLOAD_BYTES = 4 * 1024 * 1024 + 1;
const UPLOAD_PART_BYTES = 64 * 1024;
const PARALLEL = 8;

const MODES = {
    undefined: testService,
    unavailable: testUnavailable,
    realtime: testRealtime,
};

const { GATEWAY } = process.env;
const common = { maxRetries: 0, timeout: TIMEOUT_MS };


/* An AzureOpenAI with the placeholder key. */
function azureClient(apiVersion) {
    return new AzureOpenAI({
        ...common,
        endpoint: GATEWAY,
        apiKey: PLACEHOLDER_KEY,
        apiVersion,
    });
}


/* An AzureOpenAI that sends a bearer token of its own. */
function tokenClient() {
    return new AzureOpenAI({
        ...common,
        endpoint: GATEWAY,
        azureADTokenProvider: async () => 'callers-own-token',
        apiVersion: VERSION,
    });
}


/* An OpenAI, which sends its key as a bearer token. */
function plainClient() {
    return new OpenAI({
        ...common,
        baseURL: `${GATEWAY}/openai/v1/`,
        apiKey: PLACEHOLDER_KEY,
    });
}


/* A gateway in front of azure-openai.mjs: every call answers as it should. */
async function testService() {
    const azure = azureClient(VERSION);

    await testCompletions(azureClient(LEGACY_VERSION));
    await testCommon('AzureOpenAI', azure);

    await test('AzureOpenAI: models', async () => {
        const { data } = await azure.models.list();

        assert.deepEqual(data.map((model) => model.id), DEPLOYMENTS);
    });

    await test('AzureOpenAI: unknown deployment', async () => {
        const error = await failureOf(chat(azure, 'Hello?', 'nothing'));

        assert.ok(error instanceof NotFoundError, error);
        assert.equal(error.code, 'DeploymentNotFound');
    });

    await test(`AzureOpenAI: ${PARALLEL} chats at once`, async () => {
        const numbers = Array.from({ length: PARALLEL }, (_, i) => i);

        await Promise.all(numbers.map((i) => chatOnce(azure, `I am ${i}.`)));
    });

    await test('AzureOpenAI: with a token provider', () =>
        chatOnce(tokenClient(), 'Whose token is this?'));

    await testCommon('OpenAI', plainClient());
}


/* The call that Azure OpenAI began with. */
async function testCompletions(client) {
    const question = {
        model: COMPLETIONS,
        prompt: 'Write a tagline for an ice cream brand:',
        max_tokens: 100,
    };

    await test('AzureOpenAI: legacy completions', async () => {
        const { choices } = await client.completions.create(question);

        assert.equal(choices[0].text, TAGLINE);
        assert.equal(choices[0].finish_reason, 'stop');
    });

    await test('AzureOpenAI: legacy completions, streamed', async () => {
        const stream = await client.completions.create({
            ...question,
            stream: true,
        });

        await readSlowly(stream, (choice) => choice.text, TAGLINE);
    });
}


/* What both classes can do. */
async function testCommon(name, client) {
    await test(`${name}: chat`, () => chatOnce(client, 'Hello!'));

    await test(`${name}: chat, streamed`, async () => {
        const stream = await client.chat.completions.create({
            model: CHAT,
            messages: [{ role: 'user', content: SLOWLY }],
            stream: true,
        });

        await readSlowly(stream, (choice) => choice.delta.content, COUNT);
    });

    await test(`${name}: embeddings`, async () => {
        const { data } = await client.embeddings.create({
            model: EMBEDDINGS,
            input: ['vanilla', 'pistachio'],
        });

        assert.equal(data.length, 2);
        assert.ok(data[0].embedding.every(Number.isFinite));
        assert.notDeepEqual(data[0].embedding, data[1].embedding);
    });

    await test(`${name}: responses`, async () => {
        const input = 'Hello again!';
        const response = await client.responses.create({ model: CHAT, input });

        assert.equal(response.output_text, reply(input));
    });

    await test(`${name}: file upload from a stream`, () => upload(client));
}


/* Asks one question; resolves to the whole answer. */
function chat(client, content, model = CHAT) {
    return client.chat.completions.create({
        model,
        messages: [{ role: 'user', content }],
    });
}


/* Asks one question and fails where the answer is not to this one. */
async function chatOnce(client, content) {
    const { choices } = await chat(client, content);

    assert.equal(choices[0].message.content, reply(content));
}


/* Resolves to the error of a call; rejects where the call succeeds. */
async function failureOf(call) {
    try {
        await call;

    } catch (error) {
        return error;
    }

    throw new Error('the call has not failed');
}


/*
 * Reads a stream whose chunks are sent CHUNK_GAP_MS apart. Fails where the
 * text is not the expected one, or where the chunks do not come one by one:
 * half of the time between the first and the last has to be left of it.
 */
async function readSlowly(stream, textOf, expected) {
    const times = [];
    let text = '';

    for await (const { choices } of stream) {
        const part = choices[0] && textOf(choices[0]);

        if (part) {
            times.push(performance.now());
            text += part;
        }
    }

    assert.equal(text, expected);
    assert.ok(times.length > 3, `${times.length} chunks`);

    const tookMs = times.at(-1) - times[0];
    const leastMs = (times.length - 1) * CHUNK_GAP_MS / 2;

    assert.ok(tookMs > leastMs, `all chunks within ${tookMs} ms`);
}


/* Uploads a file of unknown length, which makes the request chunked. */
async function upload(client) {
    const content = randomBytes(UPLOAD_BYTES);
    const parts = [];

    for (let i = 0; i < content.length; i += UPLOAD_PART_BYTES) {
        parts.push(content.subarray(i, i + UPLOAD_PART_BYTES));
    }

    const file = await client.files.create({
        file: toStreamingFile(Readable.from(parts), 'batch.jsonl'),
        purpose: 'batch',
    });

    assert.equal(file.bytes, content.length);
    assert.equal(file.id, fileId(content));
    assert.equal(file.filename, 'batch.jsonl');
}


/* A gateway without a token: the reason reaches the client's program. */
async function testUnavailable() {
    const clients = {
        'AzureOpenAI': azureClient(VERSION),
        'AzureOpenAI with a token provider': tokenClient(),
        'OpenAI': plainClient(),
    };

    for (const [name, client] of Object.entries(clients)) {
        await test(`${name}: no token`, async () => {
            const error = await failureOf(chat(client, 'Anyone?'));

            assert.ok(error instanceof APIError, error);
            assert.equal(error.status, 503, error);
            assert.equal(error.code, 'token_unavailable');
            assert.equal(error.type, 'gateway_error');
            assert.ok(error.error.message.length > 0);
            assert.ok(error.message.includes(error.error.message));
            assert.match(error.headers.get('retry-after') ?? '', /^\d+$/);
        });
    }
}


/*
 * The realtime API. The handshake is the one that the client makes with the
 * WebSocket of a browser, where the key is one of the subprotocols; the
 * client itself insists on TLS.
 */
async function testRealtime() {
    await test('realtime: first event', async () => {
        const { protocol, event } = await realtime();

        assert.equal(protocol, 'realtime');
        assert.equal(event.type, 'session.created');
    });
}


/* Opens a WebSocket; resolves to the subprotocol and the first event. */
function realtime() {
    const url = new URL(`/openai/v1/realtime?model=${CHAT}`, GATEWAY);
    const { request } = url.protocol === 'https:' ? https : http;

    return new Promise((resolve, reject) => {
        const req = request(url, {
            headers: {
                'Connection': 'Upgrade',
                'Upgrade': 'websocket',
                'Sec-WebSocket-Version': '13',
                'Sec-WebSocket-Key': randomBytes(16).toString('base64'),
                'Sec-WebSocket-Protocol':
                    `realtime, openai-insecure-api-key.${PLACEHOLDER_KEY}`,
            },
            timeout: TIMEOUT_MS,
        });

        req.on('upgrade', ({ headers }, socket, head) => {
            const protocol = headers['sec-websocket-protocol'];
            let bytes = head;

            const read = (part) => {
                bytes = Buffer.concat([bytes, part]);

                const text = firstFrame(bytes);

                if (text !== undefined) {
                    socket.destroy();
                    resolve({ protocol, event: JSON.parse(text) });
                }
            };

            socket.on('data', read).on('error', reject);
            read(Buffer.alloc(0));
        });

        req.on('response', ({ statusCode }) =>
            reject(new Error(`handshake: ${statusCode}`)));
        req.on('timeout', () => req.destroy(new Error('timeout')));
        req.on('error', reject);
        req.end();
    });
}


/*
 * The text of a WebSocket frame from a server, undefined while it is
 * incomplete. Frames of less than 126 or more than 65535 bytes do not occur.
 */
function firstFrame(bytes) {
    const length = bytes.length < 4 ? Infinity : bytes.readUInt16BE(2);

    return bytes.length < 4 + length
        ? undefined
        : bytes.toString('utf8', 4, 4 + length);
}


const run = MODES[process.argv[2]];

if (run === undefined || GATEWAY === undefined) {
    throw new Error('GATEWAY is not set, or the argument is unknown');
}

/* the client reads variables such as OPENAI_BASE_URL, the tests do not */
for (const name of Object.keys(process.env)) {
    if (/^(AZURE_)?OPENAI_/.test(name)) {
        delete process.env[name];
    }
}

await run();
done();
