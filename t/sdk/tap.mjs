/*
 * Tests that print TAP: test() runs one, skip() counts one that cannot be run,
 * done() prints the plan and ends the process. The exit status is 0 where all
 * have passed.
 *
 *     await test('one and one', () => assert.equal(1 + 1, 2));
 *     done();
 */

const TEST_MAX_MS = 30 * 1000;

let run = 0;
let failed = 0;


/*
 * Runs a test: a function that throws, or whose promise rejects, where it
 * fails. One that takes longer than TEST_MAX_MS has failed. Never rejects.
 */
export async function test(name, body) {
    let timer;

    run += 1;

    try {
        await Promise.race([
            Promise.resolve().then(body),
            new Promise((resolve, reject) => {
                const late = () => reject(new Error(`over ${TEST_MAX_MS} ms`));

                timer = setTimeout(late, TEST_MAX_MS);
            }),
        ]);
        console.log(`ok ${run} - ${name}`);

    } catch (error) {
        failed += 1;
        console.log(`not ok ${run} - ${name}`);
        console.log(String(error?.stack ?? error).replace(/^/gm, '# '));
    }

    clearTimeout(timer);
}


/* Counts a test that cannot be run here, and says why. */
export function skip(name, why) {
    run += 1;
    console.log(`ok ${run} - ${name} # SKIP ${why}`);
}


/* Prints the plan and ends the process, with whatever is still open. */
export function done() {
    console.log(`1..${run}`);
    process.exitCode = failed > 0 || run === 0 ? 1 : 0;
    setTimeout(() => process.exit(), 1000).unref();
}
