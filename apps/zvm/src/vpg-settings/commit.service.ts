import { Injectable } from '@nestjs/common';
import { randomUUID } from 'node:crypto';
import { currentNote } from '../audit/audit-note.js';
import { settingsOf } from '../vpg/vpg-definition.js';
import { VpgActions } from '../vpg/vpg-actions.service.js';
import { VpgStore } from '../vpg/vpg.store.js';
import { DraftService } from './draft.service.js';

/** Makes the VPG of a draft, or changes the one that it edits. */
@Injectable()
export class CommitService {
  constructor(
    private readonly drafts: DraftService,
    private readonly actions: VpgActions,
    private readonly vpgs: VpgStore,
  ) {}

  /** Answers the task's id; the draft is gone then, and stays as it was when this throws. */
  async commit(draftId: string, initiatedBy: string): Promise<string> {
    const { vpgId, settings } = await this.drafts.get(draftId);
    const before = vpgId === null ? null : this.vpgs.find(vpgId);
    const taskId = vpgId === null
      ? await this.actions.create({ vpgId: randomUUID(), settings }, initiatedBy)
      : await this.actions.update({ vpgId, settings }, initiatedBy);
    currentNote()?.changed(before ? settingsOf(before.definition) : null, settings);
    await this.drafts.remove(draftId);
    return taskId;
  }
}
