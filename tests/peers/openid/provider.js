// The OpenID provider that the tests log in with: npm's oidc-provider, over TLS.
//
//   node provider.js FOLDER_OF_THE_PACKAGE SETTINGS.json
//
// SETTINGS.json: host, port (0: any), cert and key (paths), client (as registered),
// keys (JWKs with their private parts), and people: login → password, sub, amr, acr
// and claims. The people are read at each login, so that a test may move them to
// other groups. Prints one line, the issuer, once it listens.

import { createServer } from 'node:https';
import { readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

const [folder, file] = process.argv.slice(2);
const read = () => JSON.parse(readFileSync(file, 'utf-8'));
const settings = read();
const { Provider } = await import(
  pathToFileURL(`${folder}/node_modules/oidc-provider/lib/index.js`)
);

const server = createServer({
  cert: readFileSync(settings.cert),
  key: readFileSync(settings.key),
});
await new Promise((done) => server.listen(settings.port, '127.0.0.1', done));
const issuer = `https://${settings.host}:${server.address().port}`;

function person(sub) {
  return Object.values(read().people).find((each) => each.sub === sub);
}

const provider = new Provider(issuer, {
  clients: [settings.client],
  jwks: { keys: settings.keys },
  cookies: { keys: ['not a secret'] },
  claims: {
    openid: ['sub', 'amr', 'acr'],
    profile: ['name', 'preferred_username'],
    groups: ['groups'],
  },
  conformIdTokenClaims: false,
  features: { devInteractions: { enabled: false } },
  interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
  pkce: { required: () => true },
  async findAccount(_, sub) {
    return { accountId: sub, claims: () => ({ sub, ...person(sub)?.claims }) };
  },
  async loadExistingGrant({ oidc }) {
    const grant = new oidc.provider.Grant({
      clientId: oidc.client.clientId,
      accountId: oidc.session.accountId,
    });
    grant.addOIDCScope('openid profile groups');
    await grant.save();
    return grant;
  },
});

// A page with a form, and what comes of it: no script, as simple as it gets.
provider.use(async (ctx, next) => {
  if (!ctx.path.startsWith('/interaction/')) return next();
  if (ctx.method === 'GET') {
    ctx.type = 'html';
    ctx.body = `<!doctype html><link rel="icon" href="data:,"><title>Provider</title><form method="post">
      <input name="login"><input name="password" type="password">
      <button>Sign in</button></form>`;
    return undefined;
  }
  const chunks = [];
  for await (const chunk of ctx.req) chunks.push(chunk);
  const form = new URLSearchParams(Buffer.concat(chunks).toString());
  const found = read().people[form.get('login')];
  const result =
    found && found.password === form.get('password')
      ? { login: { accountId: found.sub, amr: found.amr, acr: found.acr } }
      : { error: 'access_denied', error_description: 'forged <b>words</b>' };
  ctx.redirect(await provider.interactionResult(ctx.req, ctx.res, result));
  return undefined;
});

server.on('request', provider.callback());
process.stdout.write(`${issuer}\n`);
