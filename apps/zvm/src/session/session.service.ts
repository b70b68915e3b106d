import { Inject, Injectable, Logger, type OnModuleInit } from '@nestjs/common';
import { hash, verify } from '@node-rs/argon2';
import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Clock } from '../clock.js';
import { ZVM_CONFIG, type ZvmConfig } from '../config.js';
import { ZvmError } from '../errors.js';
import { writeDurably } from '../http/durable-file.js';
import { Database } from '../persistence/database.js';
import { SessionStore } from './session.store.js';

const IDLE_MS = 30 * 60_000;
const FIRST_USER = 'admin';
/** Verified when the user does not exist, so that both refusals take as long. */
const NO_PASSWORD_HASH = '$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$BvvRmsYxjlgyqBCT2mEwDoR1k6zPb2xcTHb5xCcgUmE';

const hashOf = (token: string): string => createHash('sha256').update(token.toLowerCase()).digest('hex');

@Injectable()
export class SessionService implements OnModuleInit {
  readonly #log = new Logger(SessionService.name);

  constructor(
    private readonly store: SessionStore,
    private readonly database: Database,
    private readonly clock: Clock,
    @Inject(ZVM_CONFIG) private readonly config: ZvmConfig,
  ) {}

  onModuleInit(): void {
    this.database.onReady(() => this.#ensureFirstUser());
  }

  /** @throws ZvmError ZVM_UNAUTHORIZED */
  async logIn(authorization: string | undefined): Promise<string> {
    const { name, password } = readBasic(authorization);
    const user = await this.store.findUser(name);
    const isRight = await verify(user?.passwordHash ?? NO_PASSWORD_HASH, password).catch(() => false);
    if (!user || !isRight) throw new ZvmError('ZVM_UNAUTHORIZED', 'wrong user name or password');
    const token = randomUUID();
    const now = new Date(this.clock.nowMs());
    await this.store.removeIdle(new Date(now.getTime() - IDLE_MS));
    await this.store.addSession(hashOf(token), user.name, now);
    return token;
  }

  /** Name of the session's user. @throws ZvmError ZVM_UNAUTHORIZED */
  async userOf(token: string | undefined): Promise<string> {
    if (!token) throw new ZvmError('ZVM_UNAUTHORIZED', 'no session: log in with POST /v1/session/add and send its x-zerto-session header');
    const at = new Date(this.clock.nowMs());
    const userName = await this.store.touch(hashOf(token), { at, usedAfter: new Date(at.getTime() - IDLE_MS) });
    if (userName === undefined) throw new ZvmError('ZVM_UNAUTHORIZED', 'Invalid session: it is unknown or has ended; log in again');
    return userName;
  }

  async logOut(token: string): Promise<void> {
    await this.store.remove(hashOf(token));
  }

  /** The file comes before the row: killed in between, the next start makes both anew. */
  async #ensureFirstUser(): Promise<void> {
    if ((await this.store.countUsers()) > 0) return;
    const password = randomBytes(18).toString('base64url');
    await mkdir(this.config.stateDir, { recursive: true, mode: 0o700 });
    const file = join(this.config.stateDir, 'admin-password');
    await writeDurably(file, `${password}\n`, 0o600);
    const user = { id: randomUUID(), name: FIRST_USER, passwordHash: await hash(password) };
    await this.store.addUser(user, new Date(this.clock.nowMs()));
    // Shown to a person at a terminal only: where output goes to a log, the log shall not keep it.
    if (process.stdout.isTTY) process.stdout.write(`first administrator: user ${FIRST_USER}, password ${password}\n`);
    this.#log.log(`first administrator '${FIRST_USER}' created; the password is in ${file}`);
  }
}

function readBasic(authorization: string | undefined): { readonly name: string; readonly password: string } {
  const encoded = /^Basic\s+([A-Za-z0-9+/=_-]+)$/i.exec(authorization ?? '')?.[1];
  const text = encoded === undefined ? '' : Buffer.from(encoded, 'base64').toString('utf8');
  const colon = text.indexOf(':');
  if (colon < 1) throw new ZvmError('ZVM_UNAUTHORIZED', 'log in with HTTP Basic authentication: user name and password');
  return { name: text.slice(0, colon), password: text.slice(colon + 1) };
}
