import { Injectable, Logger } from '@nestjs/common';
import { TidemarkError } from '@tidemark/base';
import { ControlRefusal } from '@tidemark/nest';
import { Clock } from '../clock.js';
import { messageOf, ZvmError } from '../errors.js';
import type { AuditMethod, AuditResult } from './audit-entry.js';
import { type AuditDraft, AuditLog, SYSTEM } from './audit-log.js';
import { AuditNote, withNote } from './audit-note.js';
import { type Allowance, EntryBudget } from './entry-budget.js';
import { plainText } from './redaction.js';

/** A refused request comes again each second from a site that means well, and as fast as the wire carries from one that does not. */
const REFUSED: Allowance = { burst: 30, everyMs: 120_000 };
/** Far above what a failover of thousands of VPGs brings; what a site could do for months on end is 86 MB a day. */
const DONE: Allowance = { burst: 10_000, everyMs: 1000 };

const NOBODY = { method: 'Unknown', subject: null } as const;

export interface Act {
  /** `peer vpg.act`, `enrolment` */
  readonly action: string;
  /** Who, as the bounds of entries tell them apart. */
  readonly cause: string;
  readonly user: string;
  readonly method: AuditMethod;
  readonly subject?: string;
  /** Who it is, the act itself shows: of a refused one nobody knows. */
  readonly isClaimed?: boolean;
  readonly address?: string;
  readonly entities: readonly string[];
  /** Without secrets. */
  readonly input: unknown;
}

/** An entry for what others than this site's users ask of it, done or refused, before its answer leaves. */
@Injectable()
export class ActAudit {
  readonly #log = new Logger('audit');
  readonly #done: EntryBudget;
  readonly #refused: EntryBudget;

  constructor(
    private readonly audit: AuditLog,
    clock: Clock,
  ) {
    this.#done = new EntryBudget(clock, DONE);
    this.#refused = new EntryBudget(clock, REFUSED);
  }

  /** What `work` finds has changed nothing, {@link AuditNote.isNothing}, has no entry. @throws what `work` throws; ZvmError ZVM_DATABASE_DOWN when it was done and cannot be recorded */
  async record<R>(act: Act, work: () => Promise<R>): Promise<R> {
    const note = new AuditNote();
    const outcome = await withNote(note, work).then((result) => ({ result }), (error: unknown) => ({ error }));
    note.isClosed = true;
    if ('error' in outcome) {
      await this.#append(act, note, outcome.error).catch((error: unknown) => this.#log.error(`a refusal of ${act.action} cannot be recorded: ${messageOf(error)}`));
      throw outcome.error;
    }
    if (note.isNothing) return outcome.result;
    await this.#append(act, note).catch((error: unknown) => {
      throw new ZvmError('ZVM_DATABASE_DOWN', `it was done, but the audit could not record it: ${messageOf(error)}`, { cause: error });
    });
    return outcome.result;
  }

  async #append({ cause, isClaimed, ...act }: Act, note: AuditNote, error?: unknown): Promise<void> {
    const leftOut = (error === undefined ? this.#done : this.#refused).spend(`${act.action} ${cause}`);
    if (leftOut === undefined) return;
    const draft: AuditDraft = {
      ...SYSTEM, ...act, ...(isClaimed === true && error !== undefined && NOBODY), user: plainText(act.user), entities: [...new Set([...act.entities, ...note.entities])], changes: note.changes,
      taskId: note.taskId, result: resultOf(error), message: textOf(error, leftOut),
    };
    await this.audit.append(draft);
  }
}

/** Refused: this site has looked at it and said no. */
function resultOf(error: unknown): AuditResult {
  if (error === undefined) return 'Done';
  return error instanceof ControlRefusal || (error instanceof TidemarkError && !error.isRetryable) ? 'Refused' : 'Failed';
}

function textOf(error: unknown, leftOut: number): string | null {
  const parts = [...(error === undefined ? [] : [plainText(messageOf(error))]), ...(leftOut === 0 ? [] : [`${leftOut} more of the kind before this one have no entry of their own`])];
  return parts.length === 0 ? null : parts.join('; ');
}
