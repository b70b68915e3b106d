import { Injectable } from '@nestjs/common';
import type { VpgSettings } from '@tidemark/vpg';
import { Database } from '../persistence/database.js';
import { VpgSettingsDraftEntity } from '../persistence/entities.js';

export interface Draft {
  readonly draftId: string;
  /** The VPG that it edits; null: a new one. */
  readonly vpgId: string | null;
  readonly settings: VpgSettings;
}

/** VPG definitions that are being written. They live in PostgreSQL: a restart of the ZVM loses none. */
@Injectable()
export class DraftStore {
  constructor(private readonly database: Database) {}

  async find(draftId: string): Promise<Draft | undefined> {
    const row = await this.database.use((db) => db.findOneBy(VpgSettingsDraftEntity, { draftId }));
    return row ? fromRow(row) : undefined;
  }

  async list(): Promise<Draft[]> {
    const rows = await this.database.use((db) => db.find(VpgSettingsDraftEntity, { order: { usedAt: 'DESC' } }));
    return rows.map(fromRow);
  }

  async save({ draftId, vpgId, settings }: Draft, usedAt: Date): Promise<void> {
    await this.database.use((db) => db.upsert(VpgSettingsDraftEntity, { draftId, vpgId, settings: settings as never, usedAt }, ['draftId']));
  }

  async remove(draftId: string): Promise<void> {
    await this.database.use((db) => db.delete(VpgSettingsDraftEntity, { draftId }));
  }

  async removeUnused(usedBefore: Date): Promise<void> {
    await this.database.use((db) =>
      db.createQueryBuilder().delete().from(VpgSettingsDraftEntity).where('used_at < :usedBefore', { usedBefore }).execute());
  }
}

function fromRow(row: VpgSettingsDraftEntity): Draft {
  return { draftId: row.draftId, vpgId: row.vpgId, settings: row.settings as VpgSettings };
}
