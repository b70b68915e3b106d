import { Inject, Injectable, Logger } from '@nestjs/common';
import { type ScriptEnd, ScriptError, type ScriptFile, type ScriptRunner } from '@tidemark/script';
import { SCRIPT_LIMITS, type ScriptSettings, splitParameters, type VpgSettings } from '@tidemark/vpg';
import { randomUUID } from 'node:crypto';
import { AuditLog, SYSTEM } from '../audit/audit-log.js';
import { plainText } from '../audit/redaction.js';
import { ZVM_CONFIG, type ZvmConfig } from '../config.js';
import { conflict, invalid, messageOf } from '../errors.js';
import { EventService } from '../event/event.service.js';
import type { Notes, StepContext } from '../operation/operation-kind.js';
import { settingsOf } from '../vpg/vpg-definition.js';
import type { VpgRecord } from '../vpg/vpg-model.js';
import { VpgStore } from '../vpg/vpg.store.js';
import { scriptEnvironment, type ScriptOperation } from './script-environment.js';
import { siteOfTask } from '../task/task-id.js';
import { noteOf, outcomeNotRun, outcomeOf, outcomeUnknown, type ScriptMoment, type ScriptNote, type ScriptOutcome, TITLES } from './script-outcome.js';

/** Nest injection token of a {@link ScriptRunner}; null: this ZVM has no scripts folder. */
export const SCRIPT_RUNNER = Symbol('ScriptRunner');

const NO_FOLDER = 'no scripts folder is set at the recovery site: make one that only root can write, and name it in TIDEMARK_SCRIPTS_DIR of its ZVM';

export interface ScriptOccasion {
  readonly moment: ScriptMoment;
  readonly operation: ScriptOperation;
  /** A pre-recovery script that fails does not stop the operation. */
  readonly isFailureIgnored: boolean;
}

interface VpgInput {
  readonly vpgId: string;
}

interface Account {
  readonly runId: string;
  readonly outcome: ScriptOutcome;
  readonly file: ScriptFile | null;
  readonly end: ScriptEnd | null;
}

/**
 * Runs the scripts of VPGs that recover at this site. A run is noted down durably before it begins and when it has ended: after a restart one whose end is not known
 * is never run again by itself, because nobody here can tell what it had done.
 */
@Injectable()
export class RecoveryScripts {
  readonly #log = new Logger(RecoveryScripts.name);

  constructor(
    private readonly vpgs: VpgStore,
    private readonly audit: AuditLog,
    private readonly events: EventService,
    @Inject(SCRIPT_RUNNER) private readonly runner: ScriptRunner | null,
    @Inject(ZVM_CONFIG) private readonly config: ZvmConfig,
  ) {}

  /** The scripts that the settings name can be run here. @throws ZvmError ZVM_INVALID that says what to do */
  async check(settings: VpgSettings): Promise<void> {
    const problems = await this.problemsOf(settings);
    if (problems.length > 0) throw invalid(problems.join('; '));
  }

  /** Why scripts that the settings name cannot be run here. */
  async problemsOf({ scripting }: VpgSettings): Promise<string[]> {
    const problems: string[] = [];
    for (const [path, { command }] of [['Scripting.PreRecovery.Command', scripting.preRecovery], ['Scripting.PostRecovery.Command', scripting.postRecovery]] as const) {
      if (!command) continue;
      try {
        await this.#fileOf(command);
      } catch (error) {
        problems.push(`${path}: ${messageOf(error)}`);
      }
    }
    return problems;
  }

  /** A step of an operation. @throws ZvmError ZVM_CONFLICT when a pre-recovery script has failed, and is not ignored */
  async step(context: StepContext<VpgInput>, occasion: ScriptOccasion): Promise<Notes> {
    const { moment } = occasion;
    const record = this.vpgs.get(context.input.vpgId);
    const script = settingsOf(record.definition).scripting[moment];
    if (!script.command) return {};
    const noted = noteOf(context.notes, moment);
    const outcome = noted ? await this.#afterRestart(context, noted, moment) : await this.#run(context, { record, script, occasion, command: script.command });
    if (!outcome.isSuccess && moment === 'preRecovery' && !occasion.isFailureIgnored) throw conflict(outcome.text);
    return {};
  }

  async #afterRestart(context: StepContext<VpgInput>, { runId, command, outcome }: ScriptNote, moment: ScriptMoment): Promise<ScriptOutcome> {
    const known = outcome ?? outcomeUnknown(command, moment);
    if (!outcome) await context.keep({ [moment]: { runId, command, outcome: known } satisfies ScriptNote });
    await this.#account(context, moment, { runId, outcome: known, file: null, end: null });
    return known;
  }

  async #run(context: StepContext<VpgInput>, job: { readonly record: VpgRecord; readonly script: ScriptSettings; readonly occasion: ScriptOccasion; readonly command: string }): Promise<ScriptOutcome> {
    const { command, occasion: { moment } } = job;
    const runId = randomUUID();
    const ran = await this.#tried(context, { ...job, runId });
    // It was cut short, and what it had done is not known: the next start says so.
    if (context.signal.aborted) throw conflict('this ZVM ends');
    await context.keep({ [moment]: { runId, command, outcome: ran.outcome } satisfies ScriptNote });
    await this.#account(context, moment, ran);
    return ran.outcome;
  }

  /** Whatever goes wrong is how the run ended: a post-recovery script must not undo what has been recovered. */
  async #tried(context: StepContext<VpgInput>, { record, script, occasion, command, runId }: { readonly record: VpgRecord; readonly script: ScriptSettings; readonly occasion: ScriptOccasion; readonly command: string; readonly runId: string }): Promise<Account> {
    const timeoutMs = 1000 * (script.timeoutInSeconds ?? SCRIPT_LIMITS.timeoutSecondsDefault);
    let file: ScriptFile | null = null;
    try {
      const found = await this.#fileOf(command);
      file = found.file;
      const args = splitParameters(script.parameters ?? '');
      if (!args) throw conflict('a quote in its parameters is not closed');
      await context.share(0, `${TITLES[occasion.moment]} '${command}' runs, for at most ${timeoutMs / 1000} s`);
      await context.keep({ [occasion.moment]: { runId, command, outcome: null } satisfies ScriptNote });
      if (context.signal.aborted) throw conflict('this ZVM ends');
      const end = await found.runner.run({ file, args, environment: (folder) => this.#environment(record, occasion, folder), timeoutMs, signal: context.signal });
      if (end.leftFolder !== null) this.#log.warn(`the work folder of a script could not be removed: ${end.leftFolder}`);
      return { runId, outcome: outcomeOf(command, end, timeoutMs), file, end };
    } catch (error) {
      return { runId, outcome: outcomeNotRun(command, messageOf(error)), file, end: null };
    }
  }

  async #fileOf(command: string): Promise<{ readonly runner: ScriptRunner; readonly file: ScriptFile }> {
    if (!this.runner) throw new ScriptError('SCRIPT_FOLDER', NO_FOLDER);
    return { runner: this.runner, file: await this.runner.check(command) };
  }

  #environment({ definition, failover, failoverTest }: VpgRecord, { moment, operation, isFailureIgnored }: ScriptOccasion, workFolder: string): Record<string, string> {
    const chosen = (operation === 'Test' ? failoverTest : failover)?.vms.map(({ vmId }) => vmId) ?? [];
    return scriptEnvironment({
      vpgName: definition.name, vpgId: definition.vpgId, vmNames: definition.vms.filter(({ vmId }) => chosen.includes(vmId)).map(({ name }) => name), operation,
      isForced: moment === 'preRecovery' ? isFailureIgnored : null, hypervisor: this.config.hypervisor,
    }, workFolder);
  }

  /** The recovery goes on when this fails: what it does counts for more than the account of it. */
  async #account({ taskId, initiatedBy, input: { vpgId } }: StepContext<VpgInput>, moment: ScriptMoment, { runId, outcome: { isSuccess, text, detail }, file, end }: Account): Promise<void> {
    const type = moment === 'preRecovery' ? 'PreScript' : 'PostScript';
    const askedBy = siteOfTask(taskId);
    const isOfPeer = askedBy !== this.config.siteId;
    try {
      await this.audit.append({
        ...SYSTEM, user: initiatedBy, method: isOfPeer ? 'Peer' : 'System', subject: isOfPeer ? askedBy : null, action: `script.ended ${type}`, entities: [`vpg:${vpgId}`],
        input: { file: file?.path ?? null, sha256: file?.sha256 ?? null, exitCode: end?.exitCode ?? null, endedBy: end?.endedBy ?? null, isTimedOut: end?.isTimedOut ?? false, durationMs: end?.durationMs ?? null },
        result: isSuccess ? 'Done' : 'Failed', message: plainText(text), taskId,
      });
      await this.events.record({
        eventId: runId, type: isSuccess ? type : 'ScriptExecutionFailure', category: 'Events', entity: 'VPG', description: `${TITLES[moment]} ${detail}`, userName: initiatedBy, isSuccess, vpgIds: [vpgId],
      });
    } catch (error) {
      this.#log.error(`the end of the ${TITLES[moment]} of task ${taskId} cannot be recorded: ${messageOf(error)}; ${text}`);
    }
  }
}
