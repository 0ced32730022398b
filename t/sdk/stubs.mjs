/*
 * The part of Azure OpenAI that aimock lacks: legacy completions, file uploads
 * and the list of models. Every function answers one request.
 */

import { CHUNK_GAP_MS, DEPLOYMENTS, TAGLINE, fileId } from './model.mjs';
import { sendJson } from './server.mjs';


const DEFAULT_MAX_TOKENS = 16;
const BODY_MAX_BYTES = 64 * 1024 * 1024;


/*
 * Legacy completions: a tagline, whatever the prompt, cut after max_tokens
 * words; a word is a token here. "stream" sends it word by word.
 */
export async function completions({ body, res, deployment }) {
    const question = parseJson(await readBody(body));
    const fault = completionFault(question);

    if (fault) {
        sendFault(res, fault);
        return;
    }

    const limit = question.max_tokens ?? DEFAULT_MAX_TOKENS;
    const model = deployment ?? question.model;
    const words = TAGLINE.split(/(?= )/);
    const text = words.slice(0, limit);
    const finish = text.length < words.length ? 'length' : 'stop';

    if (question.stream) {
        await streamCompletion(res, model, text, finish);
        return;
    }

    const prompt = [question.prompt].flat().join(' ');
    const promptTokens = prompt.split(/\s+/).length;

    sendJson(res, 200, {
        ...completionPart(model, text.join(''), finish),
        usage: {
            prompt_tokens: promptTokens,
            completion_tokens: text.length,
            total_tokens: promptTokens + text.length,
        },
    });
}


/* What is wrong with a completions request, undefined where nothing is. */
function completionFault(question) {
    if (question === undefined) {
        return 'The body is no JSON object.';
    }

    const prompts = [question.prompt].flat();

    if (!prompts.every((prompt) => typeof prompt === 'string')) {
        return 'prompt has to be a string or an array of strings.';
    }

    const limit = question.max_tokens ?? DEFAULT_MAX_TOKENS;

    if (!Number.isInteger(limit) || limit < 1) {
        return 'max_tokens has to be an integer of at least 1.';
    }

    return undefined;
}


/* Sends the words as server-sent events, CHUNK_GAP_MS apart. */
async function streamCompletion(res, model, words, finish) {
    res.writeHead(200, { 'Content-Type': 'text/event-stream' });

    for (const word of words) {
        sendEvent(res, completionPart(model, word, null));
        await new Promise((resolve) => setTimeout(resolve, CHUNK_GAP_MS));
    }

    sendEvent(res, completionPart(model, '', finish));
    res.end('data: [DONE]\n\n');
}


/* Sends one server-sent event. */
function sendEvent(res, data) {
    res.write(`data: ${JSON.stringify(data)}\n\n`);
}


/* A completion object without its usage: a whole answer, or a chunk of one. */
function completionPart(model, text, finish) {
    return {
        id: 'cmpl-1',
        object: 'text_completion',
        created: now(),
        model,
        choices: [{ index: 0, text, logprobs: null, finish_reason: finish }],
    };
}


/* A file upload, answered with the count of the bytes in the file. */
export async function uploadFile({ req, body, res }) {
    const type = req.headers['content-type'] ?? '';
    const form = await readForm(await readBody(body), type);
    const file = form?.get('file');

    if (!(file instanceof Blob) || typeof form.get('purpose') !== 'string') {
        sendFault(res, 'A form with a file and its purpose is due.');
        return;
    }

    const content = Buffer.from(await file.arrayBuffer());

    sendJson(res, 200, {
        id: fileId(content),
        object: 'file',
        bytes: content.length,
        created_at: now(),
        filename: file.name,
        purpose: form.get('purpose'),
        status: 'processed',
    });
}


/* The list of models: one for each deployment. */
export async function listModels({ body, res }) {
    await readBody(body);

    sendJson(res, 200, {
        object: 'list',
        data: DEPLOYMENTS.map((id) => ({
            id,
            object: 'model',
            created: now(),
            owned_by: 'system',
        })),
    });
}


/*
 * Reads a body to its end. Rejects where it is cut short or longer than
 * BODY_MAX_BYTES.
 */
export async function readBody(body) {
    const parts = [];
    let bytes = 0;

    for await (const part of body) {
        bytes += part.length;

        if (bytes > BODY_MAX_BYTES) {
            throw new Error('the body is too long');
        }

        parts.push(part);
    }

    return Buffer.concat(parts);
}


/* The JSON object in a buffer, undefined where there is none. */
function parseJson(buffer) {
    try {
        const value = JSON.parse(buffer);

        return value instanceof Object ? value : undefined;

    } catch {
        return undefined;
    }
}


/* The form in a buffer, undefined where there is none. */
async function readForm(buffer, type) {
    try {
        const headers = { 'Content-Type': type };

        return await new Response(buffer, { headers }).formData();

    } catch {
        return undefined;
    }
}


/* Answers a request that is wrong in itself. */
function sendFault(res, message) {
    sendJson(res, 400, {
        error: { message, type: 'invalid_request_error', code: null },
    });
}


/* Unix time in seconds. */
function now() {
    return Math.floor(Date.now() / 1000);
}
