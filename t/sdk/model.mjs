/*
 * What the upstream of these tests knows and says; its client expects it.
 */

import { createHash } from 'node:crypto';


export const CHAT = 'gpt-4o';
export const COMPLETIONS = 'text-davinci-003';
export const EMBEDDINGS = 'text-embedding-3-small';

export const DEPLOYMENTS = [CHAT, COMPLETIONS, EMBEDDINGS];

export const TAGLINE = 'Life is short. Have the second scoop.';

/* a chat message with SLOWLY in it is answered in chunks, one at a time */
export const SLOWLY = 'Count slowly.';
export const COUNT = 'one two three four five six seven eight nine ten';
export const CHUNK_SIZE = 6;
export const CHUNK_GAP_MS = 100;


/* The answer to any other chat message: it tells whose answer it is. */
export function reply(message) {
    return `You said: ${message}`;
}


/*
 * The id that an uploaded file gets. It depends on nothing but the content,
 * so that the sender can tell whether that came through unchanged.
 */
export function fileId(content) {
    const digest = createHash('sha256').update(content).digest('hex');

    return `file-${digest.slice(0, 32)}`;
}
