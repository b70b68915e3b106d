import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import type { VpgApi } from '@tidemark/contracts';
import { ApiError } from '@tidemark/api-client';
import { usage } from '../cli-error.js';
import type { Session } from '../context.js';
import { findVpg } from '../lookup.js';
import type { InSession } from '../program.js';
import { vpgTable } from '../vpg-table.js';

interface WatchOptions {
  readonly every: string;
  readonly count?: string;
}

export function addVpgWatch(vpgs: Command, session: InSession): void {
  vpgs.command('watch').description('status, RPO and progress until Ctrl-C; json: one line per look').argument('[vpg]', 'name or identifier (all)')
    .option('--every <seconds>', 'between two looks', '2').option('--count <looks>', 'end after so many')
    .action((wanted: string | undefined, options: WatchOptions, command: Command) => {
      const everyMs = numberOf('--every', options.every, 0.1) * 1000;
      const count = options.count === undefined ? Number.POSITIVE_INFINITY : numberOf('--count', options.count, 1);
      return session(command, (one) => watch(one, { wanted, everyMs, count }));
    });
}

function numberOf(option: string, text: string, min: number): number {
  const value = Number(text);
  if (!Number.isFinite(value) || value < min) throw usage(`${option}: '${text}' is no number from ${min} on`);
  return value;
}

async function watch(session: Session, { wanted, everyMs, count }: { wanted: string | undefined; everyMs: number; count: number }): Promise<void> {
  const vpgId = wanted === undefined ? undefined : (await findVpg(session.client, wanted)).VpgIdentifier;
  let lines = 0;
  for (let look = 1; ; look += 1) {
    lines = draw(session, await lookNow(session, vpgId), lines);
    if (look >= count || !(await pause(everyMs, session.signal))) return;
  }
}

/** A site that does not answer for a moment ends no watch: it is told, and asked again. */
async function lookNow({ client }: Session, vpgId: string | undefined): Promise<readonly VpgApi[] | ApiError> {
  try {
    return vpgId === undefined ? await client.get<VpgApi[]>('/vpgs') : [await client.get<VpgApi>(`/vpgs/${vpgId}`)];
  } catch (error) {
    if (error instanceof ApiError && error.isRetryable) return error;
    throw error;
  }
}

function draw({ output }: Session, seen: readonly VpgApi[] | ApiError, linesBefore: number): number {
  if (output.format === 'json') {
    output.jsonLine(seen instanceof ApiError ? { Message: seen.message } : { At: new Date().toISOString(), Vpgs: seen });
    return 0;
  }
  output.rewind(linesBefore);
  const text = seen instanceof ApiError ? seen.message : seen.length === 0 ? 'there are no VPGs' : vpgTable(output, seen);
  output.text(text);
  return text.split('\n').length;
}

async function pause(ms: number, signal: AbortSignal): Promise<boolean> {
  if (signal.aborted) return false;
  return sleep(ms, true, { signal }).catch(() => false);
}
