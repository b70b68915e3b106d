import { Injectable } from '@nestjs/common';
import { createHash, randomUUID } from 'node:crypto';
import type { Caller, Origin } from '../access/caller.js';
import { Rights, type RoleGrant } from '../access/permissions.js';
import { currentNote } from '../audit/audit-note.js';
import { Clock } from '../clock.js';
import { notFound, ZvmError } from '../errors.js';
import { isRightPassword } from '../user/password.js';
import { UserStore } from '../user/user.store.js';
import { Lockout } from './lockout.js';
import { type LiveSession, type SessionRecord, SessionStore } from './session.store.js';

/** The reference's figure; clients count on it. */
const IDLE_MS = 30 * 60_000;
/** However busy it is. */
const SESSION_MS = 12 * 3_600_000;

const hashOf = (token: string): string => createHash('sha256').update(token.toLowerCase()).digest('hex');

export interface OpenedSession {
  readonly token: string;
  readonly caller: Caller;
}

/** A user of this site, or a person of the identity provider. */
export type Person =
  | { readonly userId: string; readonly userName: string; readonly roles: readonly RoleGrant[]; readonly isPasswordToBeChanged: boolean; readonly subject: null }
  | { readonly userId: null; readonly userName: string; readonly roles: readonly RoleGrant[]; readonly isPasswordToBeChanged: false; readonly subject: string };

@Injectable()
export class SessionService {
  constructor(
    private readonly store: SessionStore,
    private readonly users: UserStore,
    private readonly lockout: Lockout,
    private readonly clock: Clock,
  ) {}

  /** @throws ZvmError ZVM_UNAUTHORIZED; TooManyError while locked */
  async logIn(authorization: string | undefined, origin: Origin): Promise<OpenedSession> {
    const { name, password } = readBasic(authorization);
    const note = currentNote();
    if (note) note.claimedUser = name;
    const user = await this.users.findByName(name);
    const attempt = await this.lockout.begin({ userName: name, userId: user?.id, address: origin.address });
    const isRight = await isRightPassword(user?.passwordHash, password);
    // A disabled user is told so only when the password was right: others learn nothing.
    if (!user || !isRight) throw new ZvmError('ZVM_UNAUTHORIZED', 'wrong user name or password');
    await this.lockout.succeeded({ ...attempt, userId: user.id });
    if (user.isDisabled) throw new ZvmError('ZVM_UNAUTHORIZED', `user '${user.name}' is disabled: ask an administrator`);
    await this.users.loggedIn(user.id, new Date(this.clock.nowMs()));
    return await this.open({ userId: user.id, userName: user.name, roles: user.roles, isPasswordToBeChanged: user.isPasswordToBeChanged, subject: null }, origin);
  }

  async open(person: Person, origin: Origin): Promise<OpenedSession> {
    const token = randomUUID();
    const now = this.clock.nowMs();
    await this.store.removeEnded({ at: new Date(now), usedBefore: new Date(now - IDLE_MS) });
    const session: SessionRecord = {
      sessionId: randomUUID(), userId: person.userId, userName: person.userName, subject: person.subject, roles: person.userId === null ? person.roles : null,
      address: origin.address, client: origin.client, createdAtMs: now, usedAtMs: now, expiresAtMs: now + SESSION_MS,
    };
    await this.store.add(hashOf(token), session);
    return { token, caller: callerIn({ ...session, roles: person.roles, isPasswordToBeChanged: person.isPasswordToBeChanged }) };
  }

  /** Who speaks in this session. @throws ZvmError ZVM_UNAUTHORIZED */
  async callerOf(token: string): Promise<Caller> {
    const at = this.clock.nowMs();
    const session = await this.store.touch(hashOf(token), { at: new Date(at), usedAfter: new Date(at - IDLE_MS) });
    if (session === undefined) throw new ZvmError('ZVM_UNAUTHORIZED', 'Invalid session: it is unknown or has ended; log in again');
    return callerIn(session);
  }

  async list(): Promise<SessionRecord[]> {
    const now = this.clock.nowMs();
    return (await this.store.list()).filter((session) => session.expiresAtMs > now && session.usedAtMs > now - IDLE_MS);
  }

  async end(sessionId: string): Promise<void> {
    const isUuid = /^[0-9a-f-]{36}$/i.test(sessionId);
    if (!isUuid || !(await this.store.remove(sessionId.toLowerCase()))) throw notFound('session', sessionId);
  }
}

function callerIn(session: LiveSession): Caller {
  return {
    name: session.userName, method: session.userId === null ? 'Oidc' : 'Password', userId: session.userId, subject: session.subject, sessionId: session.sessionId,
    tokenId: null, rights: new Rights(session.roles), expiresAtMs: session.expiresAtMs, isPasswordToBeChanged: session.isPasswordToBeChanged,
  };
}

function readBasic(authorization: string | undefined): { readonly name: string; readonly password: string } {
  const encoded = /^Basic\s+([A-Za-z0-9+/=_-]+)$/i.exec(authorization ?? '')?.[1];
  const text = encoded === undefined ? '' : Buffer.from(encoded, 'base64').toString('utf8');
  const colon = text.indexOf(':');
  // PostgreSQL takes no null character.
  if (colon < 1 || text.includes('\0')) throw new ZvmError('ZVM_UNAUTHORIZED', 'log in with HTTP Basic authentication: user name and password');
  return { name: text.slice(0, colon), password: text.slice(colon + 1) };
}
