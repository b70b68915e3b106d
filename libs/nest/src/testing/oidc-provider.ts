import { freePort } from './free-port.js';
import { createPrivateKey, createSign, generateKeyPairSync, randomUUID, type JsonWebKey } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';

/** The parts of oidc-provider, which has no types, that are used here. */
interface Context {
  readonly path: string;
  body: { id_token?: string } | undefined;
}
interface Grant {
  addOIDCScope(scope: string): void;
  save(): Promise<string>;
}
interface Provider {
  readonly Grant: new (values: { accountId: string; clientId: string }) => Grant;
  callback(): (request: IncomingMessage, response: ServerResponse) => void;
  use(middleware: (context: Context, next: () => Promise<void>) => Promise<void>): void;
  interactionDetails(request: IncomingMessage, response: ServerResponse): Promise<{ prompt: { name: string }; params: { login_hint?: string; client_id: string }; session?: { accountId: string } }>;
  interactionFinished(request: IncomingMessage, response: ServerResponse, result: object): Promise<void>;
}

export interface IdTokenClaims {
  [name: string]: unknown;
}

export interface TestProvider {
  readonly issuer: string;
  /** What it puts into the next ID tokens instead of the right claims, signed with its own key (or another). */
  forge: ((claims: IdTokenClaims) => IdTokenClaims) | undefined;
  isKeyWrong: boolean;
  /** What a browser does with the provider's address: logs in as `person` and comes back. */
  browse(url: string, person: string): Promise<string>;
  close(): Promise<void>;
}

const GROUPS: Readonly<Record<string, readonly string[]>> = { anna: ['staff', 'dr-admins'], tom: ['dr-testers'], eve: ['staff'] };

/** A real OpenID provider (oidc-provider) on a loopback port, with one client and a few people. */
export async function startProvider(client: { readonly clientId: string; readonly clientSecret: string; readonly redirectUri: string }): Promise<TestProvider> {
  const port = await freePort();
  const issuer = `http://127.0.0.1:${port}`;
  const jwk: JsonWebKey = { ...generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ format: 'jwk' }), kid: 'one', alg: 'RS256', use: 'sig' };
  const { Provider: ProviderClass } = (await import('oidc-provider' as string)) as { Provider: new (issuer: string, settings: object) => Provider };
  const provider = new ProviderClass(issuer, {
    clients: [{ client_id: client.clientId, client_secret: client.clientSecret, redirect_uris: [client.redirectUri], application_type: 'native', response_types: ['code'], grant_types: ['authorization_code'] }],
    jwks: { keys: [jwk] }, scopes: ['openid', 'profile'], claims: { openid: ['sub'], profile: ['preferred_username', 'groups'] }, conformIdTokenClaims: false, cookies: { keys: [randomUUID()] },
    features: { devInteractions: { enabled: false } }, interactions: { url: (_context: unknown, interaction: { uid: string }) => `/interaction/${interaction.uid}` },
    findAccount: (_context: unknown, id: string) => ({ accountId: id, claims: () => ({ sub: id, preferred_username: id, groups: GROUPS[id] ?? [] }) }),
    pkce: { required: () => true },
  });
  const own: TestProvider = { issuer, forge: undefined, isKeyWrong: false, browse: (url, person) => browse(url, person), close: () => new Promise((resolve) => server.close(() => resolve())) };
  provider.use(async (context, next) => {
    await next();
    if (context.path !== '/token' || !own.forge || context.body?.id_token === undefined) return;
    const [, payload = ''] = context.body.id_token.split('.');
    const claims = own.forge(JSON.parse(Buffer.from(payload, 'base64url').toString('utf8')) as IdTokenClaims);
    const key = own.isKeyWrong ? generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey : createPrivateKey({ key: jwk, format: 'jwk' });
    const text = [{ alg: 'RS256', kid: 'one', typ: 'JWT' }, claims].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.');
    context.body = { ...context.body, id_token: `${text}.${createSign('RSA-SHA256').update(text).sign(key).toString('base64url')}` };
  });
  const answer = provider.callback();
  const server = createServer((request, response) => {
    if (request.url?.startsWith('/interaction/') === true) void interact(provider, request, response);
    else answer(request, response);
  });
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  return own;
}

/** Logs in whoever the hint names, and agrees to everything. */
async function interact(provider: Provider, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { prompt, params, session } = await provider.interactionDetails(request, response);
  if (prompt.name === 'login') return await provider.interactionFinished(request, response, { login: { accountId: params.login_hint ?? 'nobody' } });
  const grant = new provider.Grant({ accountId: session?.accountId ?? '', clientId: params.client_id });
  grant.addOIDCScope('openid profile');
  return await provider.interactionFinished(request, response, { consent: { grantId: await grant.save() } });
}

async function browse(url: string, person: string): Promise<string> {
  const { origin } = new URL(url);
  const cookies = new Map<string, string>();
  let next = `${url}&login_hint=${person}`;
  for (let hops = 0; hops < 12; hops += 1) {
    const answer = await fetch(next, { redirect: 'manual', headers: { cookie: [...cookies].map(([name, value]) => `${name}=${value}`).join('; ') } });
    for (const cookie of answer.headers.getSetCookie()) {
      const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(cookie) ?? [];
      cookies.set(name, value);
    }
    const location = answer.headers.get('location');
    if (location === null) throw new Error(`${next} answers ${answer.status}: ${await answer.text()}`);
    next = new URL(location, next).href;
    if (!next.startsWith(origin)) return next;
  }
  throw new Error('the provider leads nowhere');
}
