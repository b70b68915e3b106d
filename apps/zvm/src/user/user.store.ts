import { Injectable } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import type { RoleGrant } from '../access/permissions.js';
import { conflict, notFound } from '../errors.js';
import { Database } from '../persistence/database.js';
import { SessionEntity, UserEntity } from '../persistence/people.entities.js';

export interface User {
  readonly id: string;
  readonly name: string;
  readonly passwordHash: string;
  readonly roles: readonly RoleGrant[];
  readonly isDisabled: boolean;
  readonly isPasswordToBeChanged: boolean;
  readonly createdAtMs: number;
  readonly lastLoginAtMs: number | null;
}

export type UserChange = Partial<Pick<User, 'passwordHash' | 'roles' | 'isDisabled' | 'isPasswordToBeChanged'>>;

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
/** Key of the lock under which the set of administrators changes. */
const USERS_LOCK = 0x7573_6572;

export const isAdministrator = ({ roles, isDisabled }: Pick<User, 'roles' | 'isDisabled'>): boolean =>
  !isDisabled && roles.some(({ role, vpgIds }) => role === 'administrator' && vpgIds === null);

@Injectable()
export class UserStore {
  constructor(private readonly database: Database) {}

  /** In any letter case. */
  async findByName(name: string): Promise<User | undefined> {
    const row = await this.database.use((db) => db.getRepository(UserEntity).createQueryBuilder('u').where('lower(u.name) = lower(:name)', { name }).getOne());
    return row ? fromRow(row) : undefined;
  }

  async get(userId: string): Promise<User> {
    const row = UUID.test(userId) ? await this.database.use((db) => db.findOneBy(UserEntity, { id: userId.toLowerCase() })) : null;
    if (!row) throw notFound('user', userId);
    return fromRow(row);
  }

  async list(): Promise<User[]> {
    return (await this.database.use((db) => db.find(UserEntity, { order: { name: 'ASC' } }))).map(fromRow);
  }

  async count(): Promise<number> {
    return await this.database.use((db) => db.count(UserEntity));
  }

  /** @throws ZvmError ZVM_CONFLICT when the name is taken, in any letter case */
  async add(user: User, account?: (db: EntityManager) => Promise<void>): Promise<void> {
    await this.database.transaction(async (db) => {
      const added = await db.createQueryBuilder().insert().into(UserEntity).values(toRow(user)).orIgnore().returning('id').execute();
      if ((added.raw as unknown[]).length === 0) throw conflict(`there is a user named '${user.name}' already`);
      await account?.(db);
    });
  }

  /** Sessions of the user end, but `keptSessionId`. @throws ZvmError ZVM_CONFLICT when no administrator would be left */
  async change(userId: string, change: UserChange, keptSessionId: string | null = null): Promise<void> {
    await this.#guarded(async (db) => {
      await db.update(UserEntity, { id: userId }, change as Partial<UserEntity>);
      await db.createQueryBuilder().delete().from(SessionEntity)
        .where('user_id = :userId AND session_id IS DISTINCT FROM :keptSessionId', { userId, keptSessionId }).execute();
    });
  }

  /** @throws ZvmError ZVM_CONFLICT when no administrator would be left */
  async remove(userId: string): Promise<void> {
    await this.#guarded((db) => db.delete(UserEntity, { id: userId }));
  }

  async loggedIn(userId: string, at: Date): Promise<void> {
    await this.database.use((db) => db.update(UserEntity, { id: userId }, { lastLoginAt: at }));
  }

  /** One change at a time: two administrators who remove each other at once must not both succeed. */
  async #guarded(work: (db: EntityManager) => Promise<unknown>): Promise<void> {
    await this.database.transaction(async (db) => {
      await db.query('SELECT pg_advisory_xact_lock($1)', [USERS_LOCK]);
      const before = await db.find(UserEntity);
      await work(db);
      const after = await db.find(UserEntity);
      const count = (rows: UserEntity[]): number => rows.map(fromRow).filter(isAdministrator).length;
      if (count(before) > 0 && count(after) === 0) throw conflict('this is the last administrator: nobody could manage the site any more; make another one first');
    });
  }
}

function toRow({ createdAtMs, lastLoginAtMs, ...user }: User): UserEntity {
  return { ...user, createdAt: new Date(createdAtMs), lastLoginAt: lastLoginAtMs === null ? null : new Date(lastLoginAtMs) };
}

function fromRow({ createdAt, lastLoginAt, roles, ...row }: UserEntity): User {
  return { ...row, roles: roles as RoleGrant[], createdAtMs: createdAt.getTime(), lastLoginAtMs: lastLoginAt?.getTime() ?? null };
}
