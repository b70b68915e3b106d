import { describe, expect, it } from '@jest/globals';
import { ScriptError, type ScriptEnd, type ScriptRunner } from '@tidemark/script';
import { defaultVpgSettings } from '@tidemark/vpg';
import type { AuditLog } from '../audit/audit-log.js';
import type { ZvmConfig } from '../config.js';
import type { EventService } from '../event/event.service.js';
import type { Notes, StepContext } from '../operation/operation-kind.js';
import { SITE_A, vpgDefinition, vpgRecord } from '../testing/factories.js';
import type { VpgStore } from '../vpg/vpg.store.js';
import { RecoveryScripts, type ScriptOccasion } from './recovery-scripts.service.js';
import { type ScriptMoment, scriptRemarks } from './script-outcome.js';

const GOOD: ScriptEnd = { exitCode: 0, endedBy: null, isTimedOut: false, isStopped: false, durationMs: 1500, stdout: 'done\n', stderr: '', leftFolder: null };
const BAD: ScriptEnd = { ...GOOD, exitCode: 3, stderr: 'no\u001b[2J DNS\nat all' };

interface Case {
  readonly end?: ScriptEnd | Error;
  readonly checkFault?: Error;
  readonly notes?: Notes;
  readonly hasRunner?: boolean;
  readonly isStopping?: boolean;
  readonly isAccountBroken?: boolean;
  readonly command?: string | null;
}

/** One step with everything around it recorded in `order`. */
function stage({ end = GOOD, checkFault, notes = {}, hasRunner = true, isStopping = false, isAccountBroken = false, command = 'dns.sh' }: Case) {
  const order: string[] = [];
  const kept: { notes: Notes } = { notes };
  const script = { command, parameters: '--zone "a b"', timeoutInSeconds: 9 };
  const settings = { ...defaultVpgSettings({ vpgSettingsId: 's', protectedSiteId: SITE_A }), scripting: { preRecovery: script, postRecovery: script, postBackup: null } };
  const definition = vpgDefinition({ settings });
  const stop = new AbortController();
  const runner: ScriptRunner = {
    check: async (named) => {
      order.push('check');
      if (checkFault) throw checkFault;
      return { command: named, path: `/scripts/${named}`, sha256: 'ab' };
    },
    run: async ({ args, timeoutMs }) => {
      order.push(`run ${args.join('|')} ${timeoutMs}`);
      if (isStopping) stop.abort();
      if (end instanceof Error) throw end;
      return end;
    },
  };
  const account = (what: string) => async (entry: { readonly result?: string; readonly type?: string; readonly message?: string | null; readonly description?: string }) => {
    if (isAccountBroken) throw new Error('no database');
    order.push(`${what} ${entry.result ?? entry.type ?? ''}`);
    texts.push(entry.message ?? entry.description ?? '');
  };
  const texts: string[] = [];
  const service = new RecoveryScripts(
    { get: () => vpgRecord({ definition }) } as unknown as VpgStore, { append: account('audit') } as unknown as AuditLog, { record: account('event') } as unknown as EventService,
    hasRunner ? runner : null, { siteId: SITE_A, hypervisor: 'simulated:https://127.0.0.1:1' } as ZvmConfig,
  );
  const context: StepContext<{ vpgId: string }> = {
    taskId: `${SITE_A}.t`, initiatedBy: 'eve', input: { vpgId: definition.vpgId }, notes, signal: stop.signal, share: async () => undefined,
    keep: async (more) => {
      const note = Object.values(more)[0] as { outcome: object | null };
      order.push(note.outcome ? 'keep its end' : 'keep its start');
      kept.notes = { ...kept.notes, ...more };
    },
  };
  const step = async (moment: ScriptMoment, over: Partial<ScriptOccasion> = {}): Promise<string> => {
    await service.step(context, { moment, operation: 'Test', isFailureIgnored: false, ...over });
    return scriptRemarks(kept.notes);
  };
  return { step, order, texts, kept, check: async () => await service.check(settings) };
}

describe('a run of a script', () => {
  it('is durably noted before it starts and when it has ended, and only then told of', async () => {
    const { step, order, kept } = stage({});
    expect(await step('preRecovery')).toBe('');
    expect(order).toEqual(['check', 'keep its start', 'run --zone|a b 9000', 'keep its end', 'audit Done', 'event PreScript']);
    const again = stage({ notes: kept.notes });
    await again.step('preRecovery');
    expect(again.order).toEqual(['audit Done', 'event PreScript']);
  });

  it('that has failed before the recovery stops it, also when the step is done again, unless that is ignored', async () => {
    const { step, order, texts, kept } = stage({ end: BAD });
    const text = /^'dns\.sh' failed with exit code 3 after 1\.5 s: no\\u\{1b\}\[2J DNS \| at all$/;
    await expect(step('preRecovery')).rejects.toMatchObject({ message: expect.stringMatching(text), isRetryable: false });
    expect(order.slice(-2)).toEqual(['audit Failed', 'event ScriptExecutionFailure']);
    expect(texts.at(-1)).toMatch(/; output: done; errors: no\\u/);
    const again = stage({ notes: kept.notes });
    await expect(again.step('preRecovery')).rejects.toThrow(text);
    expect(await again.step('preRecovery', { isFailureIgnored: true })).toMatch(/^; the pre-recovery script 'dns\.sh' failed/);
  });

  it.each<[string, Case, RegExp]>([
    ['ends badly', { end: BAD }, /failed with exit code 3/],
    ['takes too long', { end: { ...GOOD, exitCode: 0, isTimedOut: true } }, /was ended after 1\.5 s: it had 9 s/],
    ['is killed', { end: { ...GOOD, exitCode: null, endedBy: 'SIGSEGV' } }, /was ended by SIGSEGV/],
    ['cannot be started', { end: new ScriptError('SCRIPT_START', 'no setpriv') }, /was not run: no setpriv/],
    ['is not there any more', { checkFault: new ScriptError('SCRIPT_MISSING', 'put it there') }, /was not run: put it there/],
    ['would run as the ZVM', { checkFault: new ScriptError('SCRIPT_USER', 'run the site manager as root') }, /was not run: run the site manager as root/],
    ['meets a bug of ours', { end: new TypeError('x is undefined') }, /was not run: x is undefined/],
    ['has no folder', { hasRunner: false }, /was not run: no scripts folder .*TIDEMARK_SCRIPTS_DIR/],
    ['cannot be told of', { end: BAD, isAccountBroken: true }, /failed with exit code 3/],
  ])('that %s after the recovery is a remark and no error', async (_name, given, remark) => {
    expect(await stage(given).step('postRecovery')).toMatch(remark);
    if (!given.isAccountBroken) await expect(stage(given).step('preRecovery')).rejects.toThrow(remark);
  });

  it('whose end is not known is not run again: before the recovery it has failed, afterwards it is reported', async () => {
    const notes = { preRecovery: { runId: 'r', command: 'dns.sh', outcome: null }, postRecovery: { runId: 'r', command: 'dns.sh', outcome: null } };
    const first = stage({ notes });
    await expect(first.step('preRecovery')).rejects.toThrow(/under way when the site manager ended.*not known.*not run again.*begin the operation anew/);
    expect(first.order).toEqual(['keep its end', 'audit Failed', 'event ScriptExecutionFailure']);
    expect(await stage({ notes }).step('postRecovery')).toMatch(/not known.*finish by hand/);
  });

  it('that is cut short by the end of this ZVM leaves its start noted and its end open', async () => {
    const { step, order } = stage({ isStopping: true, end: { ...GOOD, exitCode: null, isStopped: true, endedBy: 'SIGTERM' } });
    await expect(step('postRecovery')).rejects.toThrow('this ZVM ends');
    expect(order).toEqual(['check', 'keep its start', 'run --zone|a b 9000']);
  });

  it('does not happen without a script, and is checked when settings are committed', async () => {
    for (const command of [null, '']) {
      const none = stage({ command, hasRunner: false });
      expect([await none.step('preRecovery'), await none.check(), none.order]).toEqual(['', undefined, []]);
    }
    await expect(stage({ hasRunner: false }).check()).rejects.toMatchObject({ code: 'ZVM_INVALID', message: expect.stringMatching(/PreRecovery\.Command: no scripts folder.*PostRecovery\.Command: /) });
  });

  it('never makes a text that a paired site would not take', async () => {
    const long = await stage({ command: 'x'.repeat(1024), checkFault: new ScriptError('SCRIPT_MISSING', 'y'.repeat(5000)) }).step('postRecovery');
    expect(long.length).toBeLessThan(1700);
  });
});
