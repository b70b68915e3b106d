import type { Command } from 'commander';
import type { CheckpointApi, CheckpointVerificationApi } from '@tidemark/contracts';
import { CHECKPOINT_TYPE } from '@tidemark/contracts/enumerations';
import { usage } from '../cli-error.js';
import { findCheckpoint, findVpg, inOrder } from '../lookup.js';
import { nameOf } from '../names.js';
import { orDash, timeText } from '../output.js';
import type { InSession } from '../program.js';
import { findVba } from './vbas.js';

const SHOWN = 20;

export function addCheckpointCommands(program: Command, session: InSession): void {
  const checkpoints = program.command('checkpoints').description('points in time that a VPG can be recovered to');

  checkpoints.command('list', { isDefault: true }).description('newest last').argument('<vpg>', 'name or identifier')
    .option('--from <time>', 'not older than this').option('--to <time>', 'not newer than this').option('-n, --last <count>', `only the newest (${SHOWN}; json: all)`).option('--all', 'all of them')
    .action((wanted: string, options: { from?: string; to?: string; last?: string; all?: boolean }, command: Command) => session(command, async ({ client, output }) => {
      const vpg = await findVpg(client, wanted);
      const found = inOrder(await client.get<CheckpointApi[]>(`/vpgs/${vpg.VpgIdentifier}/checkpoints`, { startDate: instant(options.from), endDate: instant(options.to) }));
      const count = countOf(options, output.format);
      const shown = count === undefined ? found : found.slice(-count);
      output.list(shown, {
        CHECKPOINT: (one) => one.CheckpointIdentifier, TIME: (one) => timeText(one.TimeStamp), AGE: (one) => ageText(one.TimeStamp),
        TYPE: (one) => nameOf(CHECKPOINT_TYPE, one.Type), TAG: (one) => orDash(one.Tag),
      }, `VPG '${vpg.VpgName}' has no checkpoint`);
      if (output.format === 'table' && shown.length < found.length) output.note(`the newest ${shown.length} of ${found.length}; --all shows all`);
    }));

  checkpoints.command('insert').description('make a tagged checkpoint; ends when both sites list it').argument('<vpg>', 'name or identifier').argument('<tag>', 'what it is to be known by')
    .option('--application-consistent', 'freeze the applications of every VM meanwhile, through their guest agents; fails if one cannot')
    .option('--no-wait', 'do not wait until it is listed')
    .action((wanted: string, tag: string, options: { applicationConsistent?: boolean; wait: boolean }, command: Command) => session(command, async ({ client, output, task }) => {
      const vpg = await findVpg(client, wanted);
      const taskId = await client.post(`/vpgs/${vpg.VpgIdentifier}/checkpoints`, { CheckpointName: tag, ...(options.applicationConsistent === true ? { Vss: true } : {}) });
      await task(taskId, { isWaiting: options.wait });
      if (!options.wait) return output.done({ TaskIdentifier: taskId }, `checkpoint '${tag}' asked for: task ${taskId}`);
      const listed = inOrder(await client.get<CheckpointApi[]>(`/vpgs/${vpg.VpgIdentifier}/checkpoints`)).findLast((one) => one.Tag === tag);
      output.done(listed ?? { TaskIdentifier: taskId }, `checkpoint ${listed?.CheckpointIdentifier ?? ''} '${tag}' is listed`);
    }));

  checkpoints.command('verify').description('have a VBA of the recovery site read every byte of it, while protection goes on').argument('<vpg>', 'name or identifier')
    .argument('[checkpoint]', 'identifier, time, tag or latest', 'latest').option('--vba <vba>', 'name or identifier (any that answers); asked at the recovery site').option('--no-wait', 'do not wait until it is read')
    .action((wanted: string, wantedCheckpoint: string, options: { vba?: string; wait: boolean }, command: Command) => session(command, async ({ client, output, task }) => {
      const vpg = await findVpg(client, wanted);
      const { CheckpointIdentifier } = await findCheckpoint(client, vpg, wantedCheckpoint);
      const VbaIdentifier = options.vba === undefined ? null : (await findVba(client, options.vba)).VbaIdentifier;
      const taskId = await client.post(`/vpgs/${vpg.VpgIdentifier}/verifycheckpoint`, { CheckpointIdentifier, VbaIdentifier });
      await task(taskId, { isWaiting: options.wait });
      output.done({ TaskIdentifier: taskId, CheckpointIdentifier }, options.wait ? `checkpoint ${CheckpointIdentifier} can be read` : `checkpoint ${CheckpointIdentifier} is being read: task ${taskId}`);
    }));

  checkpoints.command('verified').description('those that were read to the end, with the SHA-256 of each disk; as the recovery site knows them').argument('<vpg>', 'name or identifier')
    .action((wanted: string, _options, command: Command) => session(command, async ({ client, output }) => {
      const vpg = await findVpg(client, wanted);
      const found = await client.get<CheckpointVerificationApi[]>(`/vpgs/${vpg.VpgIdentifier}/verifications`);
      const rows = found.flatMap(({ Volumes, ...verification }) => Volumes.map((volume) => ({ ...verification, ...volume })));
      output.list(rows, {
        CHECKPOINT: (row) => row.CheckpointIdentifier, VERIFIED: (row) => timeText(row.VerifiedAt), VM: (row) => row.VmName, DISK: (row) => row.DiskIdentifier, BYTES: (row) => String(row.ReadInBytes), SHA256: (row) => row.Sha256,
      }, `no checkpoint of VPG '${vpg.VpgName}' was verified`);
    }));
}

function countOf(options: { last?: string; all?: boolean }, format: 'table' | 'json'): number | undefined {
  if (options.all === true) return undefined;
  if (options.last === undefined) return format === 'json' ? undefined : SHOWN;
  if (!/^[1-9]\d{0,6}$/.test(options.last)) throw usage(`--last: '${options.last}' is no count`);
  return Number(options.last);
}

function instant(text: string | undefined): string | undefined {
  if (text === undefined) return undefined;
  const atMs = Date.parse(text);
  if (Number.isNaN(atMs)) throw usage(`'${text}' is no time; an example: 2026-11-22T02:00:00Z`);
  return new Date(atMs).toISOString();
}

function ageText(iso: string): string {
  const seconds = Math.max(0, Math.round((Date.now() - Date.parse(iso)) / 1000));
  if (seconds < 120) return `${seconds} s`;
  return seconds < 7200 ? `${Math.floor(seconds / 60)} min` : `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
}
