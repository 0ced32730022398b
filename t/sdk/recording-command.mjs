#!/usr/bin/env node
/*
 * Stands in for the programs az and azd, which it is named by symbolic links:
 * it appends how it was called, as a line of JSON, to the file "commands"
 * beside the link, and prints a token.
 */

import { appendFileSync, fstatSync, readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';


const LIFE_MS = 60 * 60 * 1000;

const [, link, ...words] = process.argv;
const program = basename(link);
const expires = new Date(Date.now() + LIFE_MS);

appendFileSync(join(dirname(link), 'commands'), `${JSON.stringify({
    program,
    words,
    directory: process.cwd(),
    input: fstatSync(0).isFIFO() || fstatSync(0).isSocket()
        ? 'a pipe'
        : `${readFileSync(0).length} bytes`,
})}\n`);

console.log(JSON.stringify(program === 'az'
    ? {
        accessToken: 'eyJ0.eyJ9.c2ln',
        expires_on: Math.floor(expires / 1000),
        expiresOn: expires.toISOString().replace(/[TZ]/g, ' ').trim(),
        tokenType: 'Bearer',
    }
    : {
        token: 'eyJ0.eyJ9.c2ln',
        expiresOn: expires.toISOString().replace(/\.\d+/, ''),
    }));
