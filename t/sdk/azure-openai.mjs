/*
 * An Azure OpenAI that takes nothing but a valid token: a JWT check in front
 * of aimock, and of what aimock lacks.
 *
 *     NODE_EXTRA_CA_CERTS=CA node azure-openai.mjs --issuer=URL --jwks=URL
 *         (--cert=FILE --key=FILE | --plain) [--audience=URI]
 *
 * CA has to vouch for the issuer, as entra.mjs announces it. When ready, one
 * line of JSON: {"port":N,"record_port":M}. Port M, plain HTTP on loopback,
 * answers GET /__record with an array of what came, in order:
 *
 *     {"method":"POST","path":"/openai/files?api-version=V","status":200,
 *      "headers":["host","authorization",...],"bytes":N,"token_sha256":"...",
 *      "oid":"..."}
 *
 * "headers" has the names alone; "bytes" is the length of the body without
 * its chunked coding; "status" is 0 until the answer has begun, or where none
 * was possible; "token_sha256" is null where there was no bearer token, and
 * "oid" where it has none. Keep standard input open: the server ends when it
 * closes, or on SIGTERM.
 *
 * 401  no valid token, in the words of Azure
 * 400  "credential_leaked": a client's credential came with the request
 * 404  no api-version outside /openai/v1, or nothing of that name
 */

import { createServer as createPlainServer } from 'node:http';
import { Transform, pipeline } from 'node:stream';

import { startAimock } from './aimock.mjs';
import { headerNames, refuseLeak, tokenCheck, tokenDigest, tokenOwner, urlOf }
    from './credentials.mjs';
import { DEPLOYMENTS } from './model.mjs';
import { announce, endWithStarter, listen, readArguments, refusal, sendJson,
         tlsServer } from './server.mjs';
import { completions, listModels, readBody, uploadFile } from './stubs.mjs';


const REQUEST_TIMEOUT_MS = 60 * 1000;
const KEEPALIVE_TIMEOUT_MS = 5 * 60 * 1000;
const RECORD_MAX = 10000;

const V1 = '/openai/v1/';
const DEPLOYMENT_PATH = /^\/openai\/deployments\/([^/]+)\/(.+)$/;

const NOT_FOUND = {
    status: 404,
    body: { error: { code: '404', message: 'Resource not found' } },
};

const NO_DEPLOYMENT = {
    status: 404,
    body: {
        error: {
            code: 'DeploymentNotFound',
            message: 'The API deployment for this resource does not exist.',
        },
    },
};


/*
 * Finds what serves a request: a handler and the deployment in the path, if
 * any, or the answer where nothing serves it.
 */
function route(req) {
    const { pathname, searchParams } = urlOf(req);

    if (pathname.startsWith(V1)) {
        const name = `${req.method} ${pathname.slice(V1.length)}`;

        return found(deploymentCalls[name] ?? serviceCalls[name]);
    }

    if (!searchParams.has('api-version')) {
        return NOT_FOUND;
    }

    const [, deployment, path] = DEPLOYMENT_PATH.exec(pathname) ?? [];

    if (deployment === undefined) {
        const name = pathname.replace(/^\/openai\//, '');

        return found(serviceCalls[`${req.method} ${name}`]);
    }

    if (!DEPLOYMENTS.includes(deployment)) {
        return NO_DEPLOYMENT;
    }

    return found(deploymentCalls[`${req.method} ${path}`], deployment);
}


/* What route() returns for the handler that it has found, or has not. */
function found(handler, deployment) {
    return handler ? { handler, deployment } : NOT_FOUND;
}


/*
 * The path where aimock has the realtime API, for either of Azure's two;
 * undefined for any other path.
 */
function realtimePath(req) {
    const { pathname, searchParams } = urlOf(req);

    if (pathname === `${V1}realtime`) {
        return req.url;
    }

    if (pathname === '/openai/realtime' && searchParams.has('api-version')) {
        const model = searchParams.get('deployment');

        return `${V1}realtime?${new URLSearchParams({ model })}`;
    }

    return undefined;
}


/* Notes a request and its answer in the record; returns the entry. */
function note(req, answer) {
    const entry = {
        method: req.method,
        path: req.url,
        get status() {
            return answer.headersSent ? answer.statusCode : 0;
        },
        headers: headerNames(req),
        bytes: 0,
        token_sha256: tokenDigest(req),
        oid: tokenOwner(req),
    };

    record.push(entry);
    record.splice(0, record.length - RECORD_MAX);

    return entry;
}


/* The body of a request, counted into its entry while it is read. */
function countedBody(req, entry) {
    const body = new Transform({
        transform(part, encoding, done) {
            entry.bytes += part.length;
            done(null, part);
        },
    });

    pipeline(req, body, () => {});

    return body;
}


/* The answer to a request that may not pass, undefined for one that may. */
async function refuse(req) {
    return refuseLeak(req) ?? await refuseToken(req);
}


/* Answers a request: refused, served here, or passed on to aimock. */
async function serve(req, res) {
    const body = countedBody(req, note(req, res));

    try {
        const target = await refuse(req) ?? route(req);

        if (target.handler) {
            const { handler, deployment } = target;

            await handler({ req, body, res, deployment });

        } else {
            await readBody(body);
            sendJson(res, target.status, target.body);
        }

    } catch (error) {
        fail(res, error);
    }
}


/* Answers a request that met an error which its sender cannot mend. */
function fail(res, error) {
    const { status, body } = internalError(error);

    if (res.headersSent) {
        res.destroy();

    } else {
        sendJson(res, status, body);
    }
}


/* The answer to a request that met an error, which is also logged. */
function internalError(error) {
    console.warn(error);

    return { status: 500, body: { error: { message: error.message } } };
}


/* Answers a WebSocket handshake: refused, or passed on to aimock. */
async function serveUpgrade(req, socket, head) {
    const answer = { headersSent: false, statusCode: 101 };
    const path = realtimePath(req);

    note(req, answer);
    socket.on('error', () => socket.destroy());

    const refused = await refuse(req).catch(internalError)
        ?? (path ? undefined : NOT_FOUND);

    answer.headersSent = true;

    if (refused) {
        answer.statusCode = refused.status;
        socket.end(refusal(refused.status, refused.body));
        return;
    }

    req.url = path;
    aimock.forwardUpgrade(req, socket, head);
}


/* Answers what a test asks about the requests so far. */
function serveRecord(req, res) {
    if (req.url === '/__record') {
        sendJson(res, 200, record);

    } else {
        sendJson(res, NOT_FOUND.status, NOT_FOUND.body);
    }
}


const args = readArguments({
    issuer: null,
    jwks: null,
    audience: 'https://cognitiveservices.azure.com',
    cert: undefined,
    key: undefined,
    plain: false,
});

if (!args.plain && !(args.cert && args.key)) {
    throw new Error('--cert=... and --key=..., or --plain, are missing');
}

endWithStarter();

const record = [];
const refuseToken = tokenCheck(args);
const aimock = await startAimock();
const deploymentCalls = {
    'POST chat/completions': aimock.forward,
    'POST completions': completions,
    'POST embeddings': aimock.forward,
};
const serviceCalls = {
    'GET models': listModels,
    'POST files': uploadFile,
    'POST responses': aimock.forward,
};
const server = args.plain
    ? createPlainServer()
    : tlsServer(args);

server.requestTimeout = REQUEST_TIMEOUT_MS;
server.keepAliveTimeout = KEEPALIVE_TIMEOUT_MS;
server.on('request', serve);
server.on('upgrade', serveUpgrade);

announce({
    port: await listen(server),
    record_port: await listen(createPlainServer(serveRecord)),
});
