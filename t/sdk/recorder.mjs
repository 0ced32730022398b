/*
 * The servers that give out tokens, on loopback: Entra ID, IMDS, App Service,
 * Azure ML, Cloud Shell, Arc and Service Fabric. They record what they are
 * asked, and answer alike whoever asks.
 */

import { readFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';

import { urlOf } from './credentials.mjs';
import { listen, sendJson } from './server.mjs';
import { readBody } from './stubs.mjs';


const FORM = 'application/x-www-form-urlencoded';
const METADATA = '/v2.0/.well-known/openid-configuration';
const DEFAULT_SCOPE = /\/\.default$/;

const ENTRA_SECONDS = 3599;
const MACHINE_SECONDS = 24 * 60 * 60;

/* where a managed identity's token is; only IMDS has no say in it */
export const PATHS = {
    imds: '/metadata/identity/oauth2/token',
    appService: '/msi/token',
    machineLearning: '/nbip/v1.0/token',
    cloudShell: '/cloudshell/oauth2/token',
    arc: '/arc/identity/oauth2/token',
    serviceFabric: '/fabric/identity/oauth2/token',
};


/*
 * Starts them with the PEM files of a certificate for "localhost"; Arc names
 * the file arcKey in its challenge. Resolves to
 *
 *     { httpPort, httpsPort,   plain and TLS, each of which has all servers
 *       take() }               the requests since the last call, in the order
 *                              of their coming
 *
 * where a request is { scheme, serverName, method, path, query, headers, form,
 * body }: serverName is the TLS one, "" where there was none; query, headers
 * and form are lists of [name, value] with the names of headers in lower case;
 * form is null and body a text where it is no form.
 */
export async function startRecorder({ cert, key, arcKey }) {
    const now = Math.floor(Date.now() / 1000);
    const requests = [];

    const answer = (scheme) => async (req, res) => {
        const request = await record(scheme, req);

        requests.push(request);
        respond(request, res, { now, arcKey });
    };

    const plain = http.createServer(answer('http'));
    const secure = https.createServer({
        cert: readFileSync(cert),
        key: readFileSync(key),
    }, answer('https'));

    return {
        httpPort: await listen(plain),
        httpsPort: await listen(secure),
        take: () => requests.splice(0),
    };
}


/* Reads a request as a whole. */
async function record(scheme, req) {
    const url = urlOf(req);
    const body = String(await readBody(req));
    const isForm = req.headers['content-type']?.startsWith(FORM) ?? false;
    const headers = [];

    for (let i = 0; i < req.rawHeaders.length; i += 2) {
        headers.push([req.rawHeaders[i].toLowerCase(), req.rawHeaders[i + 1]]);
    }

    return {
        scheme,
        serverName: req.socket.servername || '',
        method: req.method,
        path: url.pathname,
        query: [...url.searchParams],
        headers,
        form: isForm ? [...new URLSearchParams(body)] : null,
        body: isForm ? '' : body,
    };
}


/* Answers a request as the server does whose path it has. */
function respond(request, res, { now, arcKey }) {
    const form = new URLSearchParams(request.form ?? []);
    const query = new URLSearchParams(request.query);
    const headers = new Headers(request.headers);

    if (request.path.endsWith('/oauth2/v2.0/token')) {
        sendJson(res, 200, entraToken(form, now));

    } else if (request.path.endsWith(METADATA)) {
        const tenant = request.path.slice(0, -METADATA.length)
            .split('/').at(-1);

        sendJson(res, 200, entraMetadata(
            `https://localhost:${res.socket.localPort}/${tenant}`));

    } else if (request.path === PATHS.arc && !headers.has('authorization')) {
        res.setHeader('WWW-Authenticate', `Basic realm=${arcKey}`);
        sendJson(res, 401, {});

    } else if (Object.values(PATHS).includes(request.path.replace(/\/$/, ''))) {
        const resource = query.get('resource') ?? form.get('resource');

        sendJson(res, 200, machineToken(request.path, resource, query, now));

    } else {
        sendJson(res, 404, { error: 'not_found' });
    }
}


/* Entra's answer, whose numbers are numbers. */
function entraToken(form, now) {
    return {
        token_type: 'Bearer',
        expires_in: ENTRA_SECONDS,
        ext_expires_in: ENTRA_SECONDS,
        access_token: token({
            aud: form.get('scope')?.replace(DEFAULT_SCOPE, ''),
            appid: form.get('client_id'),
            exp: now + ENTRA_SECONDS,
        }),
    };
}


/* The metadata document of an issuer. */
function entraMetadata(issuer) {
    return {
        issuer: `${issuer}/v2.0`,
        token_endpoint: `${issuer}/oauth2/v2.0/token`,
        authorization_endpoint: `${issuer}/oauth2/v2.0/authorize`,
        end_session_endpoint: `${issuer}/oauth2/v2.0/logout`,
        jwks_uri: `${issuer}/discovery/v2.0/keys`,
    };
}


/*
 * A managed identity's answer, whose numbers are strings. App Service says
 * only when the token expires; Arc repeats which identity it is for.
 */
function machineToken(path, resource, query, now) {
    const expires = now + MACHINE_SECONDS;
    const answer = {
        access_token: token({ aud: resource, exp: expires }),
        expires_on: String(expires),
        resource,
        token_type: 'Bearer',
    };

    if (path !== PATHS.appService) {
        answer.expires_in = String(MACHINE_SECONDS);
        answer.not_before = String(now);
    }

    if (path === PATHS.arc) {
        for (const name of ['client_id', 'object_id', 'msi_res_id']) {
            if (query.has(name)) {
                answer[name] = query.get(name);
            }
        }
    }

    return answer;
}


/* A token of the form that Entra's have; nobody checks its signature. */
function token(claims) {
    const part = (value) => Buffer.from(value).toString('base64url');
    const header = { typ: 'JWT', alg: 'RS256', kid: 'recorder' };

    return [JSON.stringify(header), JSON.stringify(claims), 'signature']
        .map(part)
        .join('.');
}
