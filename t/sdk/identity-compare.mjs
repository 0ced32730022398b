/*
 * What two sides sent, field by field. A call is a request that recorder.mjs
 * has recorded, or a command that recording-command.mjs has; its fields have
 * names such as "query resource" or "argument 3".
 *
 * An intended difference is { field, sdk, ours, why }: the field's values on
 * both sides, each a text, a regular expression that matches it, or left out
 * where that side does not send the field.
 */

import { decodeJwt, decodeProtectedHeader } from 'jose';


/* stands for a value that differs each time, as it should */
export const FRESH = '(a fresh UUID)';

const FRESH_NAMES = ['client-request-id', 'x-ms-client-request-id', 'jti'];
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

const ASSERTION = 'client_assertion';

/* it follows from the body, each field of which is compared */
const DERIVED = 'content-length';

/* claims that are points in time: compared by their distance */
const TIMES = ['nbf', 'iat', 'exp'];


/* The first words of a call, for people: "GET /path" or "az". */
export function titleOf(call) {
    return call.program ?? `${call.method} ${call.path}`;
}


/*
 * A call's fields, as a Map. With isSigned the client assertion is taken
 * apart, as one that its sender has signed afresh.
 */
export function fieldsOf(call, isSigned) {
    const fields = new Map();

    if (call.program !== undefined) {
        fields.set('program', call.program);
        fields.set('directory', call.directory);
        fields.set('standard input', call.input);
        call.words.forEach((word, i) => fields.set(`argument ${i + 1}`, word));

        return fields;
    }

    for (const name of ['scheme', 'serverName', 'method', 'path', 'body']) {
        fields.set(name, call[name]);
    }

    for (const kind of ['query', 'headers', 'form']) {
        for (const [name, value] of call[kind] ?? []) {
            if (kind === 'headers' && name === DERIVED) {
                continue;
            }

            if (kind === 'form' && name === ASSERTION && isSigned) {
                addAssertion(fields, value);

            } else {
                add(fields, `${kind.replace(/s$/, '')} ${name}`,
                    settled(name, value));
            }
        }
    }

    return fields;
}


/* Adds a field; one that comes again gets a list of its values. */
function add(fields, name, value) {
    fields.set(name, fields.has(name)
        ? `${fields.get(name)}, again: ${value}`
        : value);
}


/* A value, or what stands for one that differs each time. */
function settled(name, value) {
    return FRESH_NAMES.includes(name) && UUID.test(value) ? FRESH : value;
}


/* Adds an assertion's header and claims, and how long it holds. */
function addAssertion(fields, assertion) {
    const claims = decodeJwt(assertion);

    for (const [name, value] of
         Object.entries(decodeProtectedHeader(assertion)))
    {
        add(fields, `assertion header ${name}`, JSON.stringify(value));
    }

    for (const [name, value] of Object.entries(claims)) {
        add(fields, `assertion claim ${name}`, TIMES.includes(name)
            ? `(a ${typeof value})`
            : JSON.stringify(settled(name, value)));
    }

    add(fields, 'assertion lifetime', `${claims.exp - claims.nbf} s`);
}


/*
 * Compares two calls' fields. Returns a line for each difference that is not
 * intended, and for each intended one that there is not.
 */
export function compare(sdk, ours, intended) {
    const faults = [];
    const listed = new Map(intended.map((entry) => [entry.field, entry]));

    for (const field of new Set([...sdk.keys(), ...ours.keys()])) {
        const values = { sdk: sdk.get(field), ours: ours.get(field) };
        const entry = listed.get(field);

        listed.delete(field);

        if (entry === undefined) {
            if (values.sdk !== values.ours) {
                faults.push(`${field}: ${told(values)}`);
            }

        } else if (values.sdk === values.ours
                   || !fits(values.sdk, entry.sdk)
                   || !fits(values.ours, entry.ours))
        {
            faults.push(`${field}: ${told(values)}; the difference that is `
                        + `intended is another: ${told(entry)}`);
        }
    }

    for (const [field, entry] of listed) {
        faults.push(`${field}: neither sends it; the difference that is `
                    + `intended is: ${told(entry)}`);
    }

    return faults;
}


/* Whether a value is the one that is expected. */
function fits(value, expected) {
    return expected instanceof RegExp
        ? value !== undefined && expected.test(value)
        : value === expected;
}


/* Both sides' values in words. */
function told({ sdk, ours }) {
    const words = (value) => value === undefined ? 'nothing' : String(value);

    return `@azure/identity sends ${words(sdk)}, we send ${words(ours)}`;
}
