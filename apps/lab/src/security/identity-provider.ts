import { startProvider, type TestProvider } from '@tidemark/nest/testing';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { SiteProcesses } from '../site-processes.js';
import { allowed, type Attempt, type Outcome, refused } from './attempt.js';
import { restCall, type RestAnswer } from './strangers.js';
import type { Place } from './wire.js';

const REDIRECT = 'http://127.0.0.1:5/callback';
const CLIENT = { clientId: 'tidemark', clientSecret: 'probe-secret', redirectUri: REDIRECT };
/** As the provider has them: `anna` is an administrator of disaster recovery, `eve` is somebody of the staff. */
const [ADMINISTRATOR, STAFF] = ['anna', 'eve'] as const;

/** An identity provider of a site, and what one could make of its answers. */
export class IdentityProvider {
  private constructor(
    private readonly provider: TestProvider,
    private readonly folder: string,
    readonly settingsPath: string,
  ) {}

  static async start(): Promise<IdentityProvider> {
    const provider = await startProvider(CLIENT);
    const folder = await mkdtemp(join(tmpdir(), 'tidemark-oidc-'));
    const settingsPath = join(folder, 'oidc.json');
    await writeFile(join(folder, 'secret'), CLIENT.clientSecret, { mode: 0o600 });
    await writeFile(settingsPath, JSON.stringify({
      issuer: provider.issuer, clientId: CLIENT.clientId, clientSecretFile: join(folder, 'secret'), roles: [{ value: 'dr-admins', role: 'administrator' }],
    }));
    return new IdentityProvider(provider, folder, settingsPath);
  }

  /** A site's ZVM believes it from its next start on. */
  async install(processes: SiteProcesses): Promise<void> {
    const { registry } = processes.runner;
    const record = (await registry.list()).find(({ name }) => name === 'zvm');
    if (!record) throw new Error('the site has no ZVM yet');
    await processes.kill('zvm');
    await registry.put({ ...record, env: { ...record.env, TIDEMARK_OIDC_FILE: this.settingsPath } });
    await processes.start('zvm');
  }

  attempts(place: Place, port: string): Attempt[] {
    const who = 'person of the identity provider';
    const attempt = (tried: string, run: () => Promise<Outcome>, isExpectedAllowed = false): Attempt => ({ who, port, tried, isExpectedAllowed, run });
    const forged = (change: object, isKeyWrong = false) => (): Promise<Outcome> => this.#forged(place, change, isKeyWrong);
    const seconds = (ago: number): number => Math.floor(Date.now() / 1000) - ago;
    return [
      attempt('log in', () => this.#logIn(place, ADMINISTRATOR), true),
      attempt('log in without a role here', () => this.#logIn(place, STAFF)),
      attempt('an ID token with a role added, signed by another key', forged({ groups: ['dr-admins'] }, true)),
      attempt('an ID token that has expired', forged({ groups: ['dr-admins'], exp: seconds(60), iat: seconds(3600) })),
      attempt('an ID token for another audience', forged({ groups: ['dr-admins'], aud: 'another-client' })),
      attempt('an ID token of another issuer', forged({ groups: ['dr-admins'], iss: 'https://evil.example' })),
      attempt('an ID token of another log-in', forged({ groups: ['dr-admins'], nonce: 'replayed' })),
      // What the signature is worth: only it stands between the forger and a session.
      attempt('the same, signed by the provider itself', forged({ groups: ['dr-admins'] }), true),
      attempt('finish a log-in twice', () => this.#twice(place)),
      attempt('finish a log-in that nobody began', async () => outcomeOf(await finish(place, 'x'.repeat(43), `${REDIRECT}?code=x&state=x`))),
      attempt('have the code sent elsewhere', async () => outcomeOf(await begin(place, 'https://evil.example/callback'))),
    ];
  }

  async #logIn(place: Place, person: string): Promise<Outcome> {
    const { id, url } = await begun(place);
    return outcomeOf(await finish(place, id, await this.provider.browse(url, person)));
  }

  async #forged(place: Place, change: object, isKeyWrong: boolean): Promise<Outcome> {
    this.provider.forge = (claims) => ({ ...claims, ...change });
    this.provider.isKeyWrong = isKeyWrong;
    try {
      return await this.#logIn(place, STAFF);
    } finally {
      this.provider.forge = undefined;
      this.provider.isKeyWrong = false;
    }
  }

  async #twice(place: Place): Promise<Outcome> {
    const { id, url } = await begun(place);
    const callback = await this.provider.browse(url, ADMINISTRATOR);
    const first = await finish(place, id, callback);
    if (first.session === undefined) throw new Error(`the first one failed: ${first.status} ${first.text}`);
    return outcomeOf(await finish(place, id, callback));
  }

  async close(): Promise<void> {
    await this.provider.close();
    await rm(this.folder, { recursive: true, force: true });
  }
}

const begin = (place: Place, redirectUri: string): Promise<RestAnswer> => restCall(place, { method: 'POST', path: '/v1/session/oidc/begin', body: JSON.stringify({ RedirectUri: redirectUri }) });

const finish = (place: Place, id: string, callback: string): Promise<RestAnswer> =>
  restCall(place, { method: 'POST', path: '/v1/session/oidc/finish', body: JSON.stringify({ LoginIdentifier: id, CallbackUrl: callback }) });

async function begun(place: Place): Promise<{ readonly id: string; readonly url: string }> {
  const { status, text } = await begin(place, REDIRECT);
  if (status !== 200) throw new Error(`no log-in could be begun: ${status} ${text}`);
  const { LoginIdentifier: id, AuthorizationUrl: url } = JSON.parse(text) as { LoginIdentifier: string; AuthorizationUrl: string };
  return { id, url };
}

const outcomeOf = ({ status, text, session }: RestAnswer): Outcome => (session === undefined && status !== 200 ? refused(`${status} ${text.slice(0, 120)}`) : allowed(`${status}, ${session === undefined ? 'no session' : 'a session'}`));
