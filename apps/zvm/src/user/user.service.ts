import { Inject, Injectable, Logger, type OnModuleInit } from '@nestjs/common';
import { replaceFile } from '@tidemark/sys/replace-file';
import { randomUUID } from 'node:crypto';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Caller, Origin } from '../access/caller.js';
import type { RoleGrant } from '../access/permissions.js';
import { AuditLog } from '../audit/audit-log.js';
import { currentNote } from '../audit/audit-note.js';
import { changesBetween } from '../audit/redaction.js';
import { Clock } from '../clock.js';
import { ZVM_CONFIG, type ZvmConfig } from '../config.js';
import { conflict, forbidden, invalid } from '../errors.js';
import { Database } from '../persistence/database.js';
import { Lockout } from '../session/lockout.js';
import { assertGoodPassword, generatePassword, hashPassword, isRightPassword } from './password.js';
import { type User, UserStore } from './user.store.js';

const FIRST_USER = 'admin';

export interface NewPassword {
  readonly user: User;
  readonly password: string;
}

interface PasswordChange {
  readonly caller: Caller;
  readonly oldPassword: string;
  readonly newPassword: string;
  readonly origin: Origin;
}

/** People who may log in with a password. */
@Injectable()
export class UserService implements OnModuleInit {
  readonly #log = new Logger(UserService.name);

  constructor(
    private readonly store: UserStore,
    private readonly lockout: Lockout,
    private readonly database: Database,
    private readonly clock: Clock,
    private readonly audit: AuditLog,
    @Inject(ZVM_CONFIG) private readonly config: ZvmConfig,
  ) {}

  onModuleInit(): void {
    this.database.onReady(() => this.#ensureFirstUser());
  }

  /** With a generated password, which the user must change. @throws ZvmError ZVM_INVALID, ZVM_CONFLICT */
  async add(name: string, roles: readonly RoleGrant[]): Promise<NewPassword> {
    if (!/^[\p{L}\p{N}][\p{L}\p{N} ._@+-]*$/u.test(name)) throw invalid('UserName: letters, digits, blanks and . _ @ + - are possible, the first one a letter or digit');
    const password = generatePassword();
    const user: User = {
      id: randomUUID(), name, passwordHash: await hashPassword(password), roles, isDisabled: false, isPasswordToBeChanged: true, createdAtMs: this.clock.nowMs(), lastLoginAtMs: null,
    };
    await this.store.add(user);
    currentNote()?.entities.add(`user:${user.id}`);
    currentNote()?.changed(null, shown(user));
    return { user, password };
  }

  /** Its sessions end. Answers how it was and is. @throws ZvmError ZVM_CONFLICT for the last administrator */
  async change(userId: string, change: { readonly roles?: readonly RoleGrant[]; readonly isDisabled?: boolean }): Promise<{ readonly before: User; readonly after: User }> {
    const before = await this.store.get(userId);
    if (Object.keys(change).length > 0) await this.store.change(before.id, change);
    const after = await this.store.get(userId);
    currentNote()?.changed(shown(before), shown(after));
    return { before, after };
  }

  async remove(userId: string): Promise<User> {
    const user = await this.store.get(userId);
    await this.store.remove(user.id);
    currentNote()?.changed(shown(user), null);
    return user;
  }

  /** A new one, which the user must change; locks that failed log-ins brought end with it. */
  async resetPassword(userId: string): Promise<NewPassword> {
    const user = await this.store.get(userId);
    const password = generatePassword();
    await this.store.change(user.id, { passwordHash: await hashPassword(password), isPasswordToBeChanged: true });
    await this.lockout.forget(user.name);
    return { user, password };
  }

  async unlock(userId: string): Promise<User> {
    const user = await this.store.get(userId);
    await this.lockout.forget(user.name);
    return user;
  }

  /** A wrong old password counts as a failed log-in: an open session is no place to guess from. */
  async changeOwnPassword({ caller, oldPassword, newPassword, origin }: PasswordChange): Promise<void> {
    if (caller.userId === null || caller.method !== 'Password') throw forbidden('only who logged in with a password can change it');
    const user = await this.store.get(caller.userId);
    const attempt = await this.lockout.begin({ userName: user.name, userId: user.id, address: origin.address });
    if (!(await isRightPassword(user.passwordHash, oldPassword))) throw forbidden('OldPassword: it is wrong');
    await this.lockout.succeeded({ ...attempt, userId: user.id });
    assertGoodPassword(newPassword, user.name);
    if (newPassword === oldPassword) throw conflict('NewPassword: it is the old one');
    await this.store.change(user.id, { passwordHash: await hashPassword(newPassword), isPasswordToBeChanged: false }, caller.sessionId);
    // The file of the first start tells a password that opens nothing any more.
    if (user.name === FIRST_USER) await rm(this.#firstPasswordFile, { force: true });
  }

  get #firstPasswordFile(): string {
    return join(this.config.stateDir, 'admin-password');
  }

  /** The file comes before the row: killed in between, the next start makes both anew. */
  async #ensureFirstUser(): Promise<void> {
    if ((await this.store.count()) > 0) return;
    const password = generatePassword();
    await mkdir(this.config.stateDir, { recursive: true, mode: 0o700 });
    await replaceFile(this.#firstPasswordFile, `${password}\n`, 0o600);
    const user: User = {
      id: randomUUID(), name: FIRST_USER, passwordHash: await hashPassword(password), roles: [{ role: 'administrator', vpgIds: null }], isDisabled: false,
      isPasswordToBeChanged: false, createdAtMs: this.clock.nowMs(), lastLoginAtMs: null,
    };
    await this.store.add(user, async (db) => await this.audit.stageOwn(db, { action: 'user.firstAdded', entities: [`user:${user.id}`], changes: changesBetween(null, shown(user)) }));
    await this.audit.flush();
    // Shown to a person at a terminal only: where output goes to a log, the log shall not keep it.
    if (process.stdout.isTTY) process.stdout.write(`first administrator: user ${FIRST_USER}, password ${password}\n`);
    this.#log.log(`first administrator '${FIRST_USER}' created; the password is in ${this.#firstPasswordFile}`);
  }
}

/** A user as the audit shows it. */
const shown = ({ name, roles, isDisabled, isPasswordToBeChanged }: User): object => ({ name, roles, isDisabled, isPasswordToBeChanged });
