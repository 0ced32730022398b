/*
 * The token from a file, or from IMDS where none is there that lives: what
 * js_content runs for the subrequest of each request.
 */

import fs from 'fs';


const MARGIN_S = 300;
const PATH = '/metadata/identity/oauth2/token?api-version=2018-02-01'
    + '&resource=https%3A%2F%2Fcognitiveservices.azure.com';


function kept() {
    try {
        const token = JSON.parse(fs.readFileSync(process.env.TOKEN_FILE));

        return token.until > Date.now() / 1000 ? token.bearer : '';

    } catch (error) {
        return '';
    }
}


async function fetched() {
    const answer = await ngx.fetch(
        process.env.AZURE_POD_IDENTITY_AUTHORITY_HOST + PATH,
        { headers: { Metadata: 'true' } });
    const body = await answer.json();
    const bearer = `Bearer ${body.access_token}`;
    const until = Number(body.expires_on) - MARGIN_S;

    fs.writeFileSync(process.env.TOKEN_FILE,
        JSON.stringify({ bearer, until }));
    return bearer;
}


async function get(r) {
    r.headersOut['X-Token'] = kept() || await fetched();
    r.return(204);
}


export default { get };
