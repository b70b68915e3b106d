import type { Attempt, Outcome } from './attempt.js';
import { allowed, refused } from './attempt.js';
import type { Port } from './ports.js';
import { restCall, type RestCall } from './strangers.js';

export const ROLES = ['administrator', 'operator', 'tester', 'viewer', 'fileRestoreOperator'] as const;
export type Role = (typeof ROLES)[number];

/** Somebody who is logged in. */
export interface Person {
  readonly who: string;
  readonly headers: Readonly<Record<string, string>>;
}

interface Act {
  readonly tried: string;
  readonly call: (ids: Ids) => RestCall;
  readonly may: readonly Role[];
  /** It would be done: only those try it who may not. */
  readonly isDone?: boolean;
}

export interface Ids {
  readonly siteId: string;
  /** Of an ordinary VPG that there is. */
  readonly vpgId: string;
  /** Of nothing. */
  readonly none: string;
}

const get = (path: string): RestCall => ({ method: 'GET', path: `/v1${path}` });
const post = (path: string, body: object = {}): RestCall => ({ method: 'POST', path: `/v1${path}`, body: JSON.stringify(body) });
const remove = (path: string): RestCall => ({ method: 'DELETE', path: `/v1${path}`, body: '{}' });
const put = (path: string, body: object = {}): RestCall => ({ method: 'PUT', path: `/v1${path}`, body: JSON.stringify(body) });

const ADMINISTRATORS: readonly Role[] = ['administrator'];
const OPERATORS: readonly Role[] = ['administrator', 'operator'];
const TESTERS: readonly Role[] = ['administrator', 'operator', 'tester'];

/**
 * Written by hand from what a role is for, not from the table in the ZVM: two of one mind would agree on a slip. Calls that change something name something that does not exist, so that who may is told
 * 404 or 400, and who may not 403 before anything is looked up.
 */
const ACTS: readonly Act[] = [
  { tried: 'list VPGs', call: () => get('/vpgs'), may: ROLES },
  { tried: 'list checkpoints', call: ({ vpgId }) => get(`/vpgs/${vpgId}/checkpoints`), may: ROLES },
  { tried: 'list tasks', call: () => get('/tasks'), may: ROLES },
  { tried: 'insert a checkpoint', call: ({ none }) => post(`/vpgs/${none}/checkpoints`, { CheckpointName: 'x' }), may: TESTERS },
  { tried: 'start a failover test', call: ({ none }) => post(`/vpgs/${none}/FailoverTest`), may: TESTERS },
  { tried: 'fail over', call: ({ none }) => post(`/vpgs/${none}/Failover`), may: OPERATORS },
  { tried: 'commit a failover', call: ({ none }) => post(`/vpgs/${none}/FailoverCommit`), may: OPERATORS },
  { tried: 'roll a failover back', call: ({ none }) => post(`/vpgs/${none}/FailoverRollback`), may: OPERATORS },
  { tried: 'stop a failover test', call: ({ none }) => post(`/vpgs/${none}/FailoverTestStop`), may: TESTERS },
  { tried: 'verify a checkpoint', call: ({ none }) => post(`/vpgs/${none}/verifycheckpoint`), may: TESTERS },
  { tried: 'move a VPG', call: ({ none }) => post(`/vpgs/${none}/Move`), may: OPERATORS },
  { tried: 'commit a move', call: ({ none }) => post(`/vpgs/${none}/MoveCommit`), may: OPERATORS },
  { tried: 'roll a move back', call: ({ none }) => post(`/vpgs/${none}/moveRollback`), may: OPERATORS },
  { tried: 'claim the ownership of a VPG', call: ({ none }) => post(`/vpgs/${none}/ClaimOwnership`), may: OPERATORS },
  { tried: 'compare a VPG anew', call: ({ none }) => post(`/vpgs/${none}/forcesync`), may: OPERATORS },
  { tried: 'resume a VPG', call: ({ none }) => post(`/vpgs/${none}/resume`), may: OPERATORS },
  { tried: 'commit settings of a VPG', call: ({ none }) => post(`/vpgSettings/${none}/commit`), may: OPERATORS },
  { tried: 'pause a VPG', call: ({ none }) => post(`/vpgs/${none}/pause`), may: OPERATORS },
  { tried: 'delete a VPG', call: ({ none }) => remove(`/vpgs/${none}`), may: OPERATORS },
  { tried: 'change settings of a VPG', call: ({ none }) => put(`/vpgSettings/${none}`), may: OPERATORS },
  { tried: 'dismiss an alert', call: ({ none }) => post(`/alerts/${none}/dismiss`), may: OPERATORS },
  { tried: 'install a VRA', call: () => post('/vras'), may: ADMINISTRATORS },
  { tried: 'remove a VRA', call: () => remove('/vras/999999'), may: ADMINISTRATORS },
  { tried: 'make an enrolment token of a VRA', call: () => post('/vras/999999/enrolmenttoken'), may: ADMINISTRATORS },
  { tried: 'change the recovery VRA', call: () => post('/vras/999999/changerecoveryvra/execute'), may: ADMINISTRATORS },
  { tried: 'add a VBA', call: () => post('/vbas'), may: ADMINISTRATORS },
  { tried: 'make an enrolment token of a VBA', call: () => post('/vbas/999999/enrolmenttoken'), may: ADMINISTRATORS },
  { tried: 'remove a VBA', call: () => remove('/vbas/999999'), may: ADMINISTRATORS },
  { tried: 'pair with a site', call: () => post('/peersites'), may: ADMINISTRATORS },
  { tried: 'part with a site', call: ({ none }) => remove(`/peersites/${none}`), may: ADMINISTRATORS },
  { tried: 'make a pairing token', call: () => post('/peersites/generatetoken'), may: ADMINISTRATORS },
  { tried: 'throttle the site', call: () => put('/localsite/settings/throttling', { BandwidthThrottlingInMBs: 'x' }), may: ADMINISTRATORS },
  { tried: 'change the certificate of 9669', call: () => put('/localsite/certificate'), may: ADMINISTRATORS },
  { tried: 'go back to the own certificate at 9669', call: () => remove('/localsite/certificate'), may: ADMINISTRATORS, isDone: true },
  { tried: 'rotate the CA', call: () => post('/localsite/certificates/rotate'), may: ADMINISTRATORS, isDone: true },
  { tried: 'send the audit elsewhere', call: () => put('/localsite/settings/syslog', { Host: 5 }), may: ADMINISTRATORS },
  { tried: 'send the audit nowhere', call: () => remove('/localsite/settings/syslog'), may: ADMINISTRATORS, isDone: true },
  { tried: 'change a user', call: ({ none }) => put(`/users/${none}`, { Roles: [{ Role: 'administrator' }] }), may: ADMINISTRATORS },
  { tried: 'delete a user', call: ({ none }) => remove(`/users/${none}`), may: ADMINISTRATORS },
  { tried: 'unlock a user', call: ({ none }) => post(`/users/${none}/unlock`), may: ADMINISTRATORS },
  { tried: 'list users', call: () => get('/users'), may: ADMINISTRATORS },
  { tried: 'make a user', call: () => post('/users'), may: ADMINISTRATORS },
  { tried: 'reset a password', call: ({ none }) => post(`/users/${none}/resetPassword`), may: ADMINISTRATORS },
  { tried: 'read the audit', call: () => get('/audit'), may: ADMINISTRATORS },
];

/** What each role tries; `isElsewhere`: its role is bound to another VPG, so it gets nowhere but to its own session. */
export function personAttempts({ who, headers }: Person, role: Role, { port, ids, isElsewhere = false }: { readonly port: Port; readonly ids: Ids; readonly isElsewhere?: boolean }): Attempt[] {
  const isTried = ({ may, isDone }: Act): boolean => isDone !== true || isElsewhere || !may.includes(role);
  return ACTS.filter(isTried).map(({ tried, call, may }) => ({
    who, port: port.name, tried, isExpectedAllowed: may.includes(role) && !(isElsewhere && !LISTS.includes(tried)),
    run: async (): Promise<Outcome> => {
      const { method, path, body, headers: more } = call(ids);
      const { status, text } = await restCall(port, { method, path, ...(body === undefined ? {} : { body }), headers: { ...headers, ...more } });
      // Past the guard a call that names nothing real ends in 400, 404 or 409: that is "allowed" here.
      return status === 401 || status === 403 || status >= 500 ? refused(`${status} ${text.slice(0, 120)}`) : allowed(String(status));
    },
  }));
}

/** Lists are answered to everybody, with what he may see in them; of which VPG an alert is, only the alert says, and here there is none. */
const LISTS: readonly string[] = ['list VPGs', 'list tasks', 'dismiss an alert'];
