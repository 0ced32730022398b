/*
 * @azure/identity and our library against the same servers: each flow of
 * identity-flows.mjs is a test, which is passed where both send the same, but
 * for the differences that are listed there.
 *
 *     node identity.mjs --tool=FILE --on-behalf-of=FILE --folder=DIR --ca=FILE
 *         --cert=FILE --key=FILE --pem=FILE --encrypted-pem=FILE
 *         --password=TEXT [--only=REGEX]
 *
 * The tool is aoai-aad, by which our library is asked, and the other one the
 * program by which it is asked on behalf of a caller; the folder is empty and
 * for files of ours. "ca" has signed "cert", the servers' certificate for
 * "localhost"; "pem" has an app's key, its certificate and the chain of that,
 * and "encrypted-pem" has the same with a password for the key. With "only"
 * no flows are tested but those whose names it matches. Prints TAP.
 */

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { X509Certificate, createHash, randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, rmSync, rmdirSync, symlinkSync,
         writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { jwtVerify } from 'jose';

import { compare, fieldsOf, titleOf } from './identity-compare.mjs';
import { SCOPE } from './identity-differences.mjs';
import { FEDERATED_TOKEN, SECRET, flows } from './identity-flows.mjs';
import { startRecorder } from './recorder.mjs';
import { readArguments } from './server.mjs';
import { done, skip, test } from './tap.mjs';


const RUN_MAX_MS = 12 * 1000;
const ASSERTION_MAX_S = 10 * 60;
const ARC_FOLDER = '/var/opt/azcmagent/tokens';
const PASSED_ON = ['ASAN_OPTIONS', 'LSAN_OPTIONS', 'UBSAN_OPTIONS'];

const here = dirname(fileURLToPath(import.meta.url));
const args = readArguments({
    'tool': null,
    'on-behalf-of': null,
    'folder': null,
    'ca': null,
    'cert': null,
    'key': null,
    'pem': null,
    'encrypted-pem': null,
    'password': null,
    'only': undefined,
});
const appChain = readFileSync(args.pem, 'utf8')
    .match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g)
    .map((pem) => new X509Certificate(pem));
const arcKey = join(ARC_FOLDER, `${randomUUID()}.key`);
const recorder = await startRecorder({
    cert: args.cert,
    key: args.key,
    arcKey,
});
const commands = join(args.folder, 'commands');
const at = {
    httpPort: recorder.httpPort,
    httpsPort: recorder.httpsPort,
    thumbprint: new X509Certificate(readFileSync(args.cert))
        .fingerprint.replaceAll(':', ''),
    ca: args.ca,
    pem: args.pem,
    encryptedPem: args['encrypted-pem'],
    password: args.password,
    passwordFile: join(args.folder, 'password'),
    secretFile: join(args.folder, 'secret'),
    tokenFile: join(args.folder, 'federated-token'),
};


/* The variables that both sides of a flow see. */
function environmentOf(flow) {
    const passedOn = PASSED_ON.filter((name) => name in process.env)
        .map((name) => [name, process.env[name]]);

    return {
        ...Object.fromEntries(passedOn),
        PATH: `${args.folder}:${process.env.PATH}`,
        HOME: args.folder,
        NODE_EXTRA_CA_CERTS: args.ca,
        NODE_NO_WARNINGS: '1',
        AZURE_AUTHORITY_HOST: `https://localhost:${at.httpsPort}`,
        AZURE_POD_IDENTITY_AUTHORITY_HOST: `http://127.0.0.1:${at.httpPort}`,
        ...flow.environment,
    };
}


/*
 * Runs a side of a flow. Resolves to { error, calls }: what it said where it
 * got no token, else undefined; and what it sent and ran.
 */
async function run(flow, [program, ...words]) {
    recorder.take();
    rmSync(commands, { force: true });

    const error = await new Promise((resolve) => {
        execFile(program, words, {
            cwd: args.folder,
            env: environmentOf(flow),
            timeout: RUN_MAX_MS,
            killSignal: 'SIGKILL',
        }, (failure, output, errors) => resolve(
            failure && `${output}${errors}`.trim().concat(` (${failure.code
                ?? failure.signal})`)));
    });
    const lines = existsSync(commands)
        ? readFileSync(commands, 'utf8').trim().split('\n')
        : [];

    return {
        error: error ?? undefined,
        calls: [...recorder.take(), ...lines.map((line) => JSON.parse(line))],
    };
}


/* Runs both sides of a flow and compares them. Rejects where they differ. */
async function testFlow(flow) {
    const [type, ...given] = flow.sdk;
    const sdk = await run(flow, [process.execPath,
        join(here, 'azure-identity.mjs'),
        JSON.stringify({ type, arguments: given, scope: SCOPE })]);
    const ours = await run(flow, commandOf(flow));

    checkEnd('@azure/identity', sdk, flow.refusal?.sdk);
    checkEnd('our library', ours, flow.refusal?.ours);

    const calls = withoutExtra(sdk.calls, flow.extra ?? []);

    if (calls.length !== ours.calls.length
        || calls.length !== flow.calls.length)
    {
        throw new Error(`${flow.calls.length} calls are listed;\n`
            + `@azure/identity: ${calls.map(titleOf).join(', ')}\n`
            + `we: ${ours.calls.map(titleOf).join(', ')}`);
    }

    const faults = [];

    for (const [i, intended] of flow.calls.entries()) {
        faults.push(...compare(fieldsOf(calls[i], flow.isSigned),
            fieldsOf(ours.calls[i], flow.isSigned), intended)
            .map((fault) => `call ${i + 1}: ${fault}`));
    }

    if (faults.length > 0) {
        throw new Error(faults.join('\n'));
    }

    if (flow.isSigned) {
        /* @azure/identity rounds the time, up to half a second too late */

        await verify(calls.at(-1), flow.sendsChain, 1);
        await verify(ours.calls.at(-1), flow.sendsChain, 0);
    }
}


/* How our library is asked. */
function commandOf(flow) {
    const authority = `https://localhost:${at.httpsPort}`;

    return flow.caller === undefined
        ? [args.tool, 'token', '--json', `--credential=${flow.ours}`,
           `--scope=${SCOPE}`, `--authority-host=${authority}`,
           `--ssl-trusted-certificate=${args.ca}`]
        : [args['on-behalf-of'], flow.ours, SCOPE, authority, args.ca,
           flow.caller];
}


/* Throws where a side has got no token, or has not refused as it should. */
function checkEnd(name, { error }, refusal) {
    if (refusal === undefined && error !== undefined) {
        throw new Error(`${name} has got no token: ${error}`);
    }

    if (refusal !== undefined && !refusal.test(error)) {
        throw new Error(`${name} should have refused with ${refusal}: `
            + (error ?? 'it has got a token'));
    }
}


/* The calls but those that are listed, each of which must have been made. */
function withoutExtra(calls, extra) {
    const left = [...calls];

    for (const { call } of extra) {
        const index = left.findIndex((made) => titleOf(made) === call);

        assert.notEqual(index, -1, `@azure/identity no longer sends ${call}`);
        left.splice(index, 1);
    }

    return left;
}


/*
 * Verifies a request's client assertion by the app's certificate, by a clock
 * that may be so many seconds slow. Rejects where it isn't what Entra wants.
 */
async function verify(request, sendsChain, clockTolerance) {
    const form = Object.fromEntries(request.form);
    const { host } = Object.fromEntries(request.headers);
    const { payload, protectedHeader } = await jwtVerify(
        form.client_assertion, appChain[0].publicKey, {
            algorithms: ['PS256'],
            audience: `https://${host}${request.path}`,
            issuer: form.client_id,
            subject: form.client_id,
            clockTolerance,
            requiredClaims: ['exp', 'jti', 'nbf'],
        });

    assert.ok(payload.exp - payload.nbf <= ASSERTION_MAX_S,
        'it holds no longer than it should');
    assert.equal(protectedHeader['x5t#S256'],
        createHash('sha256').update(appChain[0].raw).digest('base64url'),
        "the thumbprint is the certificate's");
    assert.deepEqual(protectedHeader.x5c, sendsChain
        ? appChain.map((certificate) => certificate.raw.toString('base64'))
        : undefined, 'the chain is sent where it should be');
}


/*
 * Makes the file that Arc's challenge names. Returns what takes away again
 * whatever was made.
 */
function makeArcKey() {
    const made = [];

    for (let folder = ARC_FOLDER; !existsSync(folder);
         folder = dirname(folder))
    {
        made.push(folder);
    }

    mkdirSync(ARC_FOLDER, { recursive: true });
    writeFileSync(arcKey, randomUUID());

    return () => {
        rmSync(arcKey, { force: true });

        try {
            made.forEach((folder) => rmdirSync(folder));
        } catch {
            /* somebody else has put something there */
        }
    };
}


/* That the comparison itself finds what it should. */
async function testCompare() {
    const listed = [{ field: 'a', sdk: /^1$/, why: 'a reason' }];
    const map = (object) => new Map(Object.entries(object));
    const count = (sdk, ours) => compare(map(sdk), map(ours), listed).length;

    await test('the comparison: a listed difference is none', () =>
        assert.equal(count({ a: '1', b: '2' }, { b: '2' }), 0));
    await test('the comparison: an unlisted one is found', () => {
        assert.equal(count({ a: '1', b: '2' }, { b: '3' }), 1);
        assert.equal(count({ a: '1', b: '2' }, {}), 1);
        assert.equal(count({ a: '1' }, { b: '2' }), 1);
    });
    await test('the comparison: so is a listed one that has changed', () => {
        assert.equal(count({ a: '2' }, {}), 1);
        assert.equal(count({ a: '1' }, { a: '2' }), 1);
    });
    await test('the comparison: so is a listed one that is gone', () => {
        assert.equal(count({}, {}), 1);
        assert.equal(count({ a: '1' }, { a: '1' }), 1);
    });
}


const isRoot = process.getuid() === 0;
const removeArcKey = isRoot ? makeArcKey() : () => {};

process.on('exit', removeArcKey);
process.on('SIGTERM', () => process.exit(1));

for (const program of ['az', 'azd']) {
    symlinkSync(join(here, 'recording-command.mjs'),
        join(args.folder, program));
}

writeFileSync(at.secretFile, `${SECRET}\n`, { mode: 0o600 });
writeFileSync(at.passwordFile, `${args.password}\n`, { mode: 0o600 });
writeFileSync(at.tokenFile, `${FEDERATED_TOKEN}\n`, { mode: 0o600 });

await testCompare();

for (const flow of flows(at)
    .filter((flow) => args.only === undefined || flow.name.match(args.only)))
{
    if (flow.needsRoot && !isRoot) {
        skip(flow.name, `only root can write to ${ARC_FOLDER}`);
    } else {
        await test(flow.name, () => testFlow(flow));
    }
}

done();
