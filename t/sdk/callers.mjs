/*
 * Apps and people of the tenant of folk.mjs who call a gateway with tokens of
 * their own: the openai client, which @azure/identity gets them for.
 *
 *     node callers.mjs --gateway=URL --second=URL --tenant=URL --record=URL
 *
 * Behind the two gateways, which are alike, is azure-openai.mjs with its
 * record, and before them callers-tenant.mjs. The keys of that rotate: the
 * first gateway sees one that is added, the second one that is taken back.
 * Prints TAP; the exit status is not 0 where a test has failed.
 */

import assert from 'node:assert/strict';

import { ClientSecretCredential, UsernamePasswordCredential,
         getBearerTokenProvider } from '@azure/identity';
import { AuthenticationError, AzureOpenAI, PermissionDeniedError }
    from 'openai';

import { APPS, CONSOLE, GATEWAY, GATEWAY_URI, OLDER_URI, OTHER_URI, PEOPLE,
         TENANT } from './folk.mjs';
import { CHAT, COUNT, SLOWLY, reply } from './model.mjs';
import { readArguments } from './server.mjs';
import { done, test } from './tap.mjs';


const VERSION = '2025-04-01-preview';
const TIMEOUT_MS = 10 * 1000;
const PARALLEL = 8;

/* keys are fetched from where each of the two metadata documents says */
const REQUESTS_FOR_KEYS = 2;

/* the gateways' locations */
const OWN = '/own';
const BEHALF = '/behalf';
const UNCHECKED = '/unchecked';
const MOMENT = '/moment';

const args = readArguments({
    gateway: null,
    second: null,
    tenant: null,
    record: null,
});
const authority = {
    authorityHost: args.tenant,
    disableInstanceDiscovery: true,
};


/* The tokens of an app that calls in its own name: one, while it is valid. */
function app({ id, secret }, uri = GATEWAY_URI) {
    return getBearerTokenProvider(
        new ClientSecretCredential(TENANT, id, secret, authority),
        `${uri}/.default`);
}


/* Those of somebody who has signed in to the console. */
function person({ name, password }, uri = GATEWAY_URI) {
    return getBearerTokenProvider(
        new UsernamePasswordCredential(TENANT, CONSOLE.id, name, password,
            authority),
        `${uri}/.default`);
}


/*
 * What a program has that calls a gateway: ask() asks one question, sent() is
 * how often its client has sent something.
 */
function program(azureADTokenProvider, location, gateway = args.gateway) {
    let count = 0;

    const client = new AzureOpenAI({
        endpoint: gateway + location,
        azureADTokenProvider,
        apiVersion: VERSION,
        timeout: TIMEOUT_MS,
        fetch(...request) {
            count += 1;

            return fetch(...request);
        },
    });

    return {
        sent: () => count,
        ask: (content, stream = false) => client.chat.completions.create({
            model: CHAT,
            messages: [{ role: 'user', content }],
            stream,
        }),
    };
}


/* Asks a question, and fails where the answer is another one's. */
async function chat({ ask }, content = 'Hello!') {
    const { choices } = await ask(content);

    assert.equal(choices[0].message.content, reply(content));
}


/* The same for an answer that comes in pieces. */
async function streamed({ ask }) {
    let text = '';

    for await (const { choices } of await ask(SLOWLY, true)) {
        text += choices[0]?.delta.content ?? '';
    }

    assert.equal(text, COUNT);
}


/*
 * Asks, and fails unless that fails with such an error at the first attempt,
 * of the gateway's words, and unless nothing has gone upstream. Resolves to
 * what WWW-Authenticate says.
 */
async function refused(asking, kind, code) {
    const before = (await record()).length;
    const sent = asking.sent();
    const error = await asking.ask('Anyone?').then(
        () => assert.fail('the call has not failed'),
        (reason) => reason);

    assert.ok(error instanceof kind, error);
    assert.equal(error.code, code);
    assert.equal(error.type, 'gateway_error');
    assert.ok(error.error.message.length > 0);
    assert.ok(error.message.includes(error.error.message), error);
    assert.equal(asking.sent() - sent, 1, 'it was tried again');
    assert.equal((await record()).length, before, 'it went upstream');

    return error.headers.get('www-authenticate');
}


/* What has come upstream. */
async function record() {
    return (await fetch(`${args.record}/__record`)).json();
}


/* The last of them. */
async function last() {
    return (await record()).at(-1);
}


/* Calls a function and resolves to what the tenant was asked meanwhile. */
async function asked(body) {
    const before = await tenant('GET', 'counts');

    await body();

    const after = await tenant('GET', 'counts');

    return {
        exchanges: after.exchanges - before.exchanges,
        key_requests: after.key_requests - before.key_requests,
    };
}


/* Asks the tenant what only a test does. */
async function tenant(method, call) {
    return (await fetch(`${args.tenant}/${call}`, { method })).json();
}


/* Who is let in where the gateway has an identity of its own. */
async function testCallers() {
    await test('an app with the role: let in, as the gateway', async () => {
        const asking = program(app(APPS.worker), OWN);

        await chat(asking);
        assert.equal((await last()).oid, GATEWAY.oid);
        await streamed(asking);
        assert.equal((await last()).oid, GATEWAY.oid);
    });

    await test('a token of v1: let in', () =>
        chat(program(app(APPS.worker, OLDER_URI), OWN)));

    await test('an app of another role', async () => {
        const challenge = await refused(program(app(APPS.stranger), OWN),
            PermissionDeniedError, 'insufficient_role');

        assert.match(challenge, /error="insufficient_scope"/);
    });

    await test('a person without the role', () =>
        refused(program(person(PEOPLE.alice), OWN), PermissionDeniedError,
            'insufficient_role'));

    await test('a token for another app', async () => {
        const challenge = await refused(
            program(app(APPS.worker, OTHER_URI), OWN),
            AuthenticationError, 'invalid_token');

        assert.match(challenge, /error="invalid_token"/);
        assert.match(challenge, /another audience/);
    });

    await test('a key in the place of a token', async () => {
        const client = new AzureOpenAI({
            endpoint: args.gateway + OWN,
            apiKey: 'placeholder-key',
            apiVersion: VERSION,
        });
        const error = await client.models.list().then(
            () => assert.fail('the call has not failed'),
            (reason) => reason);

        assert.ok(error instanceof AuthenticationError, error);
        assert.equal(error.code, 'invalid_token');
        assert.doesNotMatch(error.headers.get('www-authenticate'), /error=/);
    });
}


/* Who gets a token of their own. */
async function testBehalf() {
    const alice = program(person(PEOPLE.alice), BEHALF);
    const bob = program(person(PEOPLE.bob), BEHALF);

    await test('the upstream sees the caller', async () => {
        const { exchanges } = await asked(() => chat(alice));

        assert.equal(exchanges, 1);
        assert.equal((await last()).oid, PEOPLE.alice.oid);
    });

    await test('a second call costs no exchange', async () => {
        const { exchanges } = await asked(async () => {
            await chat(alice);
            await streamed(alice);
        });

        assert.equal(exchanges, 0);
        assert.equal((await last()).oid, PEOPLE.alice.oid);
    });

    await test('many calls of a new caller cost one', async () => {
        const { exchanges } = await asked(() => Promise.all(
            Array.from({ length: PARALLEL }, (_, i) =>
                chat(bob, `I am ${i}.`))));

        assert.equal(exchanges, 1);
    });

    await test('a token that may be used for less than a second', () =>
        chat(program(person(PEOPLE.alice), MOMENT)));

    await test('no two callers share a token', async () => {
        const before = (await record()).length;

        for (let i = 0; i < PARALLEL / 2; i++) {
            await Promise.all([chat(alice), chat(bob)]);
        }

        const tokens = new Map();

        for (const { oid, token_sha256 } of (await record()).slice(before)) {
            tokens.set(oid, (tokens.get(oid) ?? new Set()).add(token_sha256));
        }

        assert.deepEqual([...tokens.keys()].sort(),
            [PEOPLE.alice.oid, PEOPLE.bob.oid]);

        const all = [...tokens.values()].flatMap((seen) => [...seen]);

        assert.equal(new Set(all).size, 2, 'each has one of their own');
        assert.equal(all.length, 2);
    });

    await test('of whom more is asked: told what', async () => {
        const challenge = await refused(program(person(PEOPLE.carol), BEHALF),
            AuthenticationError, 'insufficient_claims');

        assert.match(challenge, /error="insufficient_claims"/);

        const [, claims] = /claims="([\w+/=]+)"/.exec(challenge) ?? [];

        assert.equal(String(Buffer.from(claims ?? '', 'base64')),
            PEOPLE.carol.challenge);
    });

    await test('an app alone: nobody to act for', async () => {
        const { exchanges } = await asked(() => refused(
            program(app(APPS.worker), BEHALF), PermissionDeniedError,
            'on_behalf_of_refused'));

        assert.equal(exchanges, 0);
    });

    await test('an app alone, by the tenant\'s verdict', async () => {
        const { exchanges } = await asked(() => refused(
            program(app(APPS.worker), UNCHECKED), PermissionDeniedError,
            'on_behalf_of_refused'));

        assert.equal(exchanges, 1);
    });

    await test('a token for another app, by the tenant\'s verdict', () =>
        refused(program(person(PEOPLE.alice, OTHER_URI), UNCHECKED),
            AuthenticationError, 'invalid_token'));
}


/* A key is added, then another one, and the first is taken back. */
async function testRotation() {
    const old = app(APPS.worker);
    const unused = app(APPS.worker);
    const oldPerson = person(PEOPLE.alice);

    await test('before the keys rotate', async () => {
        await chat(program(old, OWN));
        await chat(program(old, OWN, args.second));
        await chat(program(oldPerson, BEHALF, args.second));
        await unused();
    });

    const { keys: added } = await tenant('POST', 'rotate');
    const second = app(APPS.worker);

    await test('a token of a new key: let in at once', async () => {
        const { key_requests: requests } = await asked(async () => {
            await Promise.all(Array.from({ length: PARALLEL },
                () => chat(program(second, OWN))));
            await chat(program(old, OWN));
            await chat(program(unused, OWN));
        });

        assert.equal(added.length, 2);
        assert.equal(requests, REQUESTS_FOR_KEYS, 'they are fetched once');
    });

    await test('and exchanged', async () => {
        await chat(program(person(PEOPLE.bob), BEHALF));
        assert.equal((await last()).oid, PEOPLE.bob.oid);
    });

    await tenant('POST', 'rotate');

    const { keys: left } = await tenant('POST', 'withdraw');

    await test('the keys are fetched anew for the third one', async () => {
        const { key_requests: requests } = await asked(() =>
            chat(program(app(APPS.worker), OWN, args.second)));

        assert.deepEqual(left.slice(1), added.slice(0, 1));
        assert.equal(requests, REQUESTS_FOR_KEYS);
    });

    await test('a key that is still there', () =>
        chat(program(second, OWN, args.second)));

    await test('the one that was taken back: remembered callers', async () => {
        await refused(program(old, OWN, args.second), AuthenticationError,
            'invalid_token');
        await refused(program(oldPerson, BEHALF, args.second),
            AuthenticationError, 'invalid_token');
    });

    await test('and those who come with it for the first time', async () => {
        const challenge = await refused(program(unused, OWN, args.second),
            AuthenticationError, 'invalid_token');

        assert.match(challenge, /key is unknown/);
    });
}


/* the client reads variables such as OPENAI_BASE_URL, the tests do not */
for (const name of Object.keys(process.env)) {
    if (/^(AZURE_)?OPENAI_/.test(name)) {
        delete process.env[name];
    }
}

await testCallers();
await testBehalf();
await testRotation();
done();
