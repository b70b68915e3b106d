import type { SiteApi } from '../rest/site-api.js';
import { allowed, type Attempt, type Outcome, refused } from './attempt.js';
import type { Port } from './ports.js';
import { restCall, type RestCall } from './strangers.js';

const DAY_MS = 86_400_000;
/** Long enough to be made, short enough to be over when its turn comes. */
const BRIEF_MS = 1500;
const ELSEWHERE = 'ffffffff-0000-4000-8000-00000000000f';

interface Token {
  readonly TokenIdentifier: string;
  readonly Token: string;
}

const LIST: RestCall = { method: 'GET', path: '/v1/vpgs' };
const USERS: RestCall = { method: 'GET', path: '/v1/users' };
const failoverOf = (vpgId: string): RestCall => ({ method: 'POST', path: `/v1/vpgs/${vpgId}/Failover`, body: '{"CheckpointIdentifier": "x"}' });
const TEST: RestCall = { method: 'POST', path: `/v1/vpgs/${ELSEWHERE}/FailoverTest`, body: '{}' };
const anotherToken = (): RestCall => ({ method: 'POST', path: '/v1/tokens', body: JSON.stringify({ Name: 'child', Scopes: ['view'], Expires: new Date(Date.now() + DAY_MS).toISOString() }) });

/** API tokens of the site's administrator, who may do everything: only what the token itself is decides. */
export async function programAttempts(api: SiteApi, port: Port, vpgId: string): Promise<Attempt[]> {
  const make = (name: string, more: object = {}): Promise<Token> =>
    api.call<Token>('POST', '/tokens', { Name: name, Scopes: ['view'], Expires: new Date(Date.now() + DAY_MS).toISOString(), ...more });
  const viewing = await make('probe-view');
  const bound = await make('probe-bound', { Scopes: ['view', 'failover'], VpgIdentifiers: [ELSEWHERE] });
  const revoked = await make('probe-revoked');
  await api.call('DELETE', `/tokens/${revoked.TokenIdentifier}`);
  const briefUntilMs = Date.now() + BRIEF_MS;
  const brief = await make('probe-brief', { Expires: new Date(briefUntilMs).toISOString() });
  const attempt = (who: string, tried: string, isExpectedAllowed: boolean, run: () => Promise<Outcome>): Attempt => ({ who, port: port.name, tried, isExpectedAllowed, run });
  const bearer = (token: string, call: RestCall): Promise<Outcome> => asked(port, { ...call, headers: { authorization: `Bearer ${token}` } });
  const viewer = 'API token to view';
  const failover = 'API token to fail over another VPG';
  return [
    attempt(viewer, 'list VPGs', true, () => bearer(viewing.Token, LIST)),
    attempt(viewer, 'start a failover test', false, () => bearer(viewing.Token, TEST)),
    attempt(viewer, 'list users', false, () => bearer(viewing.Token, USERS)),
    attempt(viewer, 'make another token', false, () => bearer(viewing.Token, anotherToken())),
    attempt(viewer, 'be a session', false, () => asked(port, { ...LIST, headers: { 'x-zerto-session': viewing.Token } })),
    attempt(viewer, 'with its last character changed', false, () => bearer(`${viewing.Token.slice(0, -1)}${viewing.Token.endsWith('A') ? 'Q' : 'A'}`, LIST)),
    attempt(failover, 'fail over that VPG', true, () => bearer(bound.Token, failoverOf(ELSEWHERE))),
    attempt(failover, 'fail over the VPG of this lab', false, () => bearer(bound.Token, failoverOf(vpgId))),
    attempt('API token that was revoked', 'list VPGs', false, () => bearer(revoked.Token, LIST)),
    attempt('API token that has ended', 'list VPGs', false, async () => {
      await new Promise((resolve) => setTimeout(resolve, Math.max(0, briefUntilMs + 1 - Date.now())));
      return await bearer(brief.Token, LIST);
    }),
  ];
}

/** Past the guard a call that names nothing real ends in 400, 404 or 409: it was allowed. */
async function asked(port: Port, call: RestCall): Promise<Outcome> {
  const { status, text } = await restCall(port, call);
  return status === 401 || status === 403 || status >= 500 ? refused(`${status} ${text.slice(0, 120)}`) : allowed(String(status));
}
