import { makeNatsKey, makeRequest, parseToken, type ComponentIdentity } from '@tidemark/trust';
import pg from 'pg';
import type { SiteApi } from '../rest/site-api.js';
import { allowed, type Attempt, type Outcome, refused } from './attempt.js';
import { natsUserOf } from './components.js';
import type { Port } from './ports.js';
import { restCall } from './strangers.js';

interface Asked {
  readonly token: string;
  readonly role: string;
  readonly instanceId: string;
  readonly hostId: string;
  readonly natsPublicKey: string;
}

/** Port 9080 with tokens that the site has made for one of its VRAs. That VRA goes on with what it has: who enrols with the NATS key that it has replaces nobody. */
export async function enrolmentAttempts({ api, port, vra, databaseUrl }: { readonly api: SiteApi; readonly port: Port; readonly vra: ComponentIdentity; readonly databaseUrl: string }): Promise<Attempt[]> {
  const who = 'holder of an enrolment token';
  const make = async (): Promise<string> => (await api.call<{ Token: string }>('POST', `/vras/${vra.name.instanceId}/enrolmenttoken`)).Token;
  // A newer one ends an older one.
  const [ended, good] = [await make(), await make()];
  const { hostId } = parseToken(good, 'enrolment');
  const own: Asked = { token: good, role: 'vra', instanceId: vra.name.instanceId, hostId, natsPublicKey: subjectOf(natsUserOf(vra).jwt) };
  const thief: Asked = { ...own, natsPublicKey: makeNatsKey().publicKey };
  const attempt = (tried: string, asked: Asked, isExpectedAllowed = false): Attempt => ({ who, port: port.name, tried, isExpectedAllowed, run: () => enrol(port, asked) });
  return [
    attempt('as another role', { ...thief, role: 'vba' }),
    attempt('as another VRA', { ...thief, instanceId: '999999' }),
    attempt('on another host', { ...thief, hostId: 'another-host' }),
    attempt('with another secret', { ...thief, token: withOtherSecret(good) }),
    { who, port: port.name, tried: 'with a token that has ended', isExpectedAllowed: false, run: async () => {
      await end(databaseUrl, parseToken(ended, 'enrolment').tokenId);
      return await enrol(port, { ...thief, token: ended });
    } },
    attempt('as the one that it is for', own, true),
    attempt('with a token that was used, by somebody else', thief),
  ];
}

async function enrol(port: Port, asked: Asked): Promise<Outcome> {
  const { pem } = await makeRequest();
  const { status, text } = await restCall(port, { method: 'POST', path: '/internal/v1/enrol', body: JSON.stringify({ ...asked, certificateRequest: pem }) });
  return status === 200 ? allowed('a certificate and a NATS user') : refused(`${status} ${text.slice(0, 120)}`);
}

/** The public key that a NATS user is. */
function subjectOf(jwt: string): string {
  const { sub } = JSON.parse(Buffer.from(jwt.split('.')[1] ?? '', 'base64url').toString()) as { sub: string };
  return sub;
}

function withOtherSecret(token: string): string {
  const [product, kind, body = ''] = token.split('.');
  const fields = JSON.parse(Buffer.from(body, 'base64url').toString()) as Record<string, unknown>;
  return [product, kind, Buffer.from(JSON.stringify({ ...fields, secret: 'A'.repeat(String(fields['secret']).length) })).toString('base64url')].join('.');
}

/** As if its hour were over. */
async function end(databaseUrl: string, tokenId: string): Promise<void> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    const { rowCount } = await client.query(`UPDATE trust_tokens SET expires_at = now() - interval '1 second' WHERE token_id = $1`, [tokenId]);
    if (rowCount !== 1) throw new Error(`the site knows no token ${tokenId}`);
  } finally {
    await client.end();
  }
}

/** With the password that the ZVM has. */
export async function databaseLogIn(databaseUrl: string): Promise<Outcome> {
  const client = new pg.Client({ connectionString: databaseUrl, connectionTimeoutMillis: 4000 });
  client.on('error', () => undefined);
  try {
    await client.connect();
    const { rows } = await client.query('SELECT count(*) AS count FROM vpgs');
    return allowed(`reads ${(rows[0] as { count: string }).count} VPGs`);
  } catch (error) {
    return refused((error as Error).message);
  } finally {
    await client.end().catch(() => undefined);
  }
}
