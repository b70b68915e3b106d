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
  /** Mostly it was so already: the handler calls {@link AuditNote.begin} when it is not. */
  readonly isRepeated?: boolean;
  readonly entities: readonly string[];
  /** Without secrets. */
  readonly input: unknown;
}

/** An entry for what others than this site's users ask of it: begun before it is done, there, done or refused, before its answer leaves. */
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

  /** What `work` finds has changed nothing, {@link AuditNote.isNothing}, has no entry. @throws what `work` throws; ZvmError ZVM_DATABASE_DOWN when it was done and cannot be recorded, or cannot be begun */
  async record<R>(act: Act, work: () => Promise<R>): Promise<R> {
    const note = new AuditNote();
    let begun: Promise<string> | undefined;
    note.begin = async () => void (await (begun ??= this.audit.begin(draftOf(act, { isKnown: false }))));
    if (act.isRepeated !== true) await note.begin();
    const outcome = await withNote(note, work).then((result) => ({ result }), (error: unknown) => ({ error }));
    note.isClosed = true;
    const begunId = await begun?.catch(() => undefined);
    if ('error' in outcome) {
      await this.#append(act, { note, begunId, error: outcome.error }).catch((error: unknown) => this.#log.error(`a refusal of ${act.action} cannot be recorded: ${messageOf(error)}`));
      throw outcome.error;
    }
    if (note.isNothing) {
      this.#withdraw(begunId);
      return outcome.result;
    }
    await this.#append(act, { note, begunId }).catch((error: unknown) => {
      throw new ZvmError('ZVM_DATABASE_DOWN', `it was done, but the audit could not record it: ${messageOf(error)}`, { cause: error });
    });
    return outcome.result;
  }

  async #append(act: Act, { note, begunId, error }: { readonly note: AuditNote; readonly begunId: string | undefined; readonly error?: unknown }): Promise<void> {
    const leftOut = (error === undefined ? this.#done : this.#refused).spend(`${act.action} ${act.cause}`);
    if (leftOut === undefined) return this.#withdraw(begunId);
    const draft = draftOf(act, { isKnown: error === undefined });
    await this.audit.append({
      ...draft, entities: [...new Set([...act.entities, ...note.entities])], changes: note.changes, taskId: note.taskId, result: resultOf(error), message: textOf(error, leftOut),
    }, begunId);
  }

  #withdraw(begunId: string | undefined): void {
    if (begunId !== undefined) this.audit.withdraw(begunId);
  }
}

function draftOf({ action, user, method, subject, isClaimed = false, address, entities, input }: Act, { isKnown }: { readonly isKnown: boolean }): Omit<AuditDraft, 'result'> {
  const who = isClaimed && !isKnown ? NOBODY : { method, subject: subject ?? null };
  return { ...SYSTEM, action, user: plainText(user), ...who, address: address ?? null, entities, input, message: null };
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
