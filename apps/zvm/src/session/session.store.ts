import { Injectable } from '@nestjs/common';
import { Database } from '../persistence/database.js';
import { SessionEntity, UserEntity } from '../persistence/entities.js';

export interface User {
  readonly id: string;
  readonly name: string;
  readonly passwordHash: string;
}

/** Users and their open sessions. */
@Injectable()
export class SessionStore {
  constructor(private readonly database: Database) {}

  async findUser(name: string): Promise<User | undefined> {
    const row = await this.database.use((db) => db.getRepository(UserEntity).createQueryBuilder('u').where('lower(u.name) = lower(:name)', { name }).getOne());
    return row ? { id: row.id, name: row.name, passwordHash: row.passwordHash } : undefined;
  }

  async countUsers(): Promise<number> {
    return await this.database.use((db) => db.count(UserEntity));
  }

  async addUser(user: User, at: Date): Promise<void> {
    await this.database.use((db) => db.insert(UserEntity, { ...user, createdAt: at }));
  }

  async addSession(tokenHash: string, userName: string, at: Date): Promise<void> {
    await this.database.use((db) => db.insert(SessionEntity, { tokenHash, userName, createdAt: at, usedAt: at }));
  }

  /** The session's user, if it was used after `usedAfter`; it then counts as used `at`. */
  async touch(tokenHash: string, { at, usedAfter }: { readonly at: Date; readonly usedAfter: Date }): Promise<string | undefined> {
    return await this.database.use(async (db) => {
      const updated = await db.createQueryBuilder().update(SessionEntity).set({ usedAt: at })
        .where('token_hash = :tokenHash AND used_at > :usedAfter', { tokenHash, usedAfter })
        .returning(['userName']).execute();
      const [row] = updated.raw as { user_name: string }[];
      return row?.user_name;
    });
  }

  async remove(tokenHash: string): Promise<void> {
    await this.database.use((db) => db.delete(SessionEntity, { tokenHash }));
  }

  async removeIdle(usedBefore: Date): Promise<void> {
    await this.database.use((db) => db.createQueryBuilder().delete().from(SessionEntity).where('used_at <= :usedBefore', { usedBefore }).execute());
  }
}
