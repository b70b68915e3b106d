import { type Command, Option } from 'commander';
import type { CheckpointApi, VpgApi } from '@tidemark/contracts';
import { VPG_STATUS } from '@tidemark/contracts/enumerations';
import { usage } from '../cli-error.js';
import type { Session } from '../context.js';
import { findCheckpoint, findVpg } from '../lookup.js';
import { nameOf } from '../names.js';
import { timeText } from '../output.js';
import type { InSession } from '../program.js';

interface StartOptions {
  readonly checkpoint: string;
  readonly wait: boolean;
}

interface FailoverOptions extends StartOptions {
  readonly commitPolicy: keyof typeof COMMIT_POLICIES;
  readonly after?: string;
  readonly shutdown: keyof typeof SHUTDOWN_POLICIES;
  readonly reverse?: boolean;
  readonly continueOnPreScriptFailure?: boolean;
  readonly yes?: boolean;
}

const COMMIT_POLICIES = { none: 'None', commit: 'Commit', rollback: 'Rollback' } as const;
const SHUTDOWN_POLICIES = { no: 'None', graceful: 'Shutdown', force: 'ForceShutdown' } as const;
const DECIDE_SECONDS = 3600;

interface MoveOptions {
  readonly continueOnPreScriptFailure?: boolean;
  readonly forceShutdown?: boolean;
  readonly reverse?: boolean;
  readonly commitPolicy: keyof typeof COMMIT_POLICIES;
  readonly after?: string;
  readonly wait: boolean;
  readonly yes?: boolean;
}

interface CommitOptions {
  /** Absent: as was said when the failover began. */
  readonly reverse?: boolean;
  readonly wait: boolean;
  readonly yes?: boolean;
}

export function addFailoverCommands(program: Command, session: InSession): void {
  addTestCommands(program, session);

  withStart(program.command('failover').description('recover a VPG at its recovery site; commit or rollback follows'))
    .addOption(new Option('--commit-policy <policy>', 'what happens by itself').choices(Object.keys(COMMIT_POLICIES)).default('none'))
    .option('--after <seconds>', `when the policy acts (${DECIDE_SECONDS})`)
    .addOption(new Option('--shutdown <policy>', 'what happens to the protected VMs, when their site can be reached').choices(Object.keys(SHUTDOWN_POLICIES)).default('no'))
    .option('--reverse', 'after the commit protect the VPG in the other direction')
    .option('--continue-on-pre-script-failure', 'a pre-recovery script that fails is reported and stops nothing')
    .option('-y, --yes', 'do not ask')
    .action((wanted: string, options: FailoverOptions, command: Command) => session(command, (one) => failover(one, wanted, options)));

  program.command('move').description('shut the VMs of a VPG down and start them at its recovery site, with everything they wrote; commit or rollback follows')
    .argument('<vpg>', 'name or identifier')
    .option('--force-shutdown', 'power off VMs that do not shut down by themselves; otherwise they stop the move')
    .option('--reverse', 'after the commit protect the VPG in the other direction')
    .option('--continue-on-pre-script-failure', 'a pre-recovery script that fails is reported and stops nothing')
    .addOption(new Option('--commit-policy <policy>', 'what happens by itself').choices(Object.keys(COMMIT_POLICIES)).default('none'))
    .option('--after <seconds>', `when the policy acts (${DECIDE_SECONDS})`)
    .option('--no-wait', 'do not wait for the task').option('-y, --yes', 'do not ask')
    .action((wanted: string, options: MoveOptions, command: Command) => session(command, (one) => move(one, wanted, options)));

  program.command('commit').description('keep the recovered VMs of a failover or a move; ends the history before it').argument('<vpg>', 'name or identifier')
    .option('--reverse', 'then protect in the other direction: the old VMs are powered off and taken from the inventory, their disks become recovery volumes')
    .option('--no-reverse', 'do not, whatever was said when the failover began')
    .option('--no-wait', 'do not wait for the task').option('-y, --yes', 'do not ask')
    .action((wanted: string, options: CommitOptions, command: Command) => session(command, (one) => commit(one, wanted, options)));

  program.command('claim').description('at a site whose VMs were failed over elsewhere: let them write here again').argument('<vpg>', 'name or identifier')
    .option('--force', 'although the other site owns them: both sites may then run the same VMs')
    .action((wanted: string, options: { force?: boolean }, command: Command) => session(command, async (one) => {
      const vpg = await findVpg(one.client, wanted);
      await one.client.post(`/vpgs/${vpg.VpgIdentifier}/ClaimOwnership`, { Force: options.force === true });
      one.output.done({}, `the VMs of '${vpg.VpgName}' may write at this site again`);
    }));

  program.command('rollback').description('delete the recovered VMs, go on protecting').argument('<vpg>', 'name or identifier')
    .option('--no-wait', 'do not wait for the task').option('-y, --yes', 'do not ask')
    .action((wanted: string, options: { wait: boolean; yes?: boolean }, command: Command) => session(command, async (one) => {
      const vpg = await findVpg(one.client, wanted);
      await one.confirm(`Rolling back deletes the recovered VMs of '${vpg.VpgName}' with everything written to them.`, options.yes === true);
      await operate(one, { vpg, path: isMoving(vpg) ? 'moveRollback' : 'FailoverRollback', body: {}, isWaiting: options.wait, doneText: `${nounOf(vpg)} of '${vpg.VpgName}' rolled back` });
    }));
}

function addTestCommands(program: Command, session: InSession): void {
  const test = program.command('failover-test').description('recover a VPG beside its production, to see that it works');

  withStart(test.command('start').description('start the test VMs'))
    .action((wanted: string, options: StartOptions, command: Command) => session(command, async (one) => {
      const { vpg, checkpoint } = await chosen(one, wanted, options);
      await operate(one, {
        vpg, path: 'FailoverTest', body: { CheckpointIdentifier: checkpoint.CheckpointIdentifier }, isWaiting: options.wait,
        doneText: `test VMs of '${vpg.VpgName}' run at checkpoint ${checkpointText(checkpoint)}`,
      });
    }));

  test.command('stop').description('delete the test VMs').argument('<vpg>', 'name or identifier')
    .option('--failed', 'record that the test has failed').option('--notes <text>', 'kept with the result').option('--no-wait', 'do not wait for the task')
    .action((wanted: string, options: { failed?: boolean; notes?: string; wait: boolean }, command: Command) => session(command, async (one) => {
      const vpg = await findVpg(one.client, wanted);
      const body = { FailoverTestSuccess: options.failed !== true, FailoverTestSummary: options.notes ?? '' };
      await operate(one, { vpg, path: 'FailoverTestStop', body, isWaiting: options.wait, doneText: `failover test of '${vpg.VpgName}' stopped` });
    }));
}

const withStart = (command: Command): Command => command
  .argument('<vpg>', 'name or identifier')
  .option('-c, --checkpoint <which>', 'latest, an identifier, a time (the newest one before it), or a tag', 'latest')
  .option('--no-wait', 'do not wait for the task');

async function chosen({ client }: Session, wanted: string, options: StartOptions): Promise<{ vpg: VpgApi; checkpoint: CheckpointApi }> {
  const vpg = await findVpg(client, wanted);
  return { vpg, checkpoint: await findCheckpoint(client, vpg, options.checkpoint) };
}

async function failover(session: Session, wanted: string, options: FailoverOptions): Promise<void> {
  const waitSeconds = secondsOf(options);
  const { vpg, checkpoint } = await chosen(session, wanted, options);
  await session.confirm(`'${vpg.VpgName}' will be recovered at ${vpg.RecoverySiteName ?? 'its recovery site'}, as of checkpoint ${checkpointText(checkpoint)}.`, options.yes === true);
  const body = {
    CheckpointIdentifier: checkpoint.CheckpointIdentifier, CommitPolicy: COMMIT_POLICIES[options.commitPolicy], TimeToWaitBeforeShutdownInSec: waitSeconds,
    ShutdownPolicy: SHUTDOWN_POLICIES[options.shutdown], IsReverseProtection: options.reverse === true,
    ...(options.continueOnPreScriptFailure === true && { ContinueOnPreScriptFailure: true }),
  };
  const next = options.commitPolicy === 'none' ? `next: tidemark commit or rollback` : `${options.commitPolicy} follows in ${waitSeconds} s`;
  await operate(session, { vpg, path: 'Failover', body, isWaiting: options.wait, doneText: `VMs of '${vpg.VpgName}' run at checkpoint ${checkpointText(checkpoint)}; ${next}` });
}

async function commit(session: Session, wanted: string, { reverse, wait, yes }: CommitOptions): Promise<void> {
  const vpg = await findVpg(session.client, wanted);
  await session.confirm(`Committing keeps the recovered VMs of '${vpg.VpgName}' and ends its history: no checkpoint before the failover can be used any more.`, yes === true);
  const body = reverse === undefined ? {} : isMoving(vpg) ? { ReverseProtection: reverse } : { IsReverseProtection: reverse };
  const next = reverse === true ? 'promotion, then protection in the other direction, go on in the background' : 'promotion goes on in the background';
  await operate(session, { vpg, path: isMoving(vpg) ? 'MoveCommit' : 'FailoverCommit', body, isWaiting: wait, doneText: `${nounOf(vpg)} of '${vpg.VpgName}' committed; ${next}` });
}

const isMoving = (vpg: VpgApi): boolean => nameOf(VPG_STATUS, vpg.Status) === 'Moving';
const nounOf = (vpg: VpgApi): string => (isMoving(vpg) ? 'move' : 'failover');

async function move(session: Session, wanted: string, options: MoveOptions): Promise<void> {
  const waitSeconds = secondsOf(options);
  const vpg = await findVpg(session.client, wanted);
  await session.confirm(`The VMs of '${vpg.VpgName}' will be shut down at ${vpg.ProtectedSiteName ?? 'their site'} and started at ${vpg.RecoverySiteName ?? 'the recovery site'}.`, options.yes === true);
  const body = {
    CommitPolicy: COMMIT_POLICIES[options.commitPolicy], CommitPolicyTimeout: waitSeconds, ForceShutdown: options.forceShutdown === true, ReverseProtection: options.reverse === true,
    ...(options.continueOnPreScriptFailure === true && { ContinueOnPreScriptFailure: true }),
  };
  const next = options.commitPolicy === 'none' ? 'next: tidemark commit or rollback' : `${options.commitPolicy} follows in ${waitSeconds} s`;
  await operate(session, { vpg, path: 'Move', body, isWaiting: options.wait, doneText: `VMs of '${vpg.VpgName}' run at ${vpg.RecoverySiteName ?? 'the recovery site'}; ${next}` });
}

function secondsOf({ commitPolicy, after }: Pick<FailoverOptions, 'commitPolicy' | 'after'>): number {
  if (after === undefined) return DECIDE_SECONDS;
  if (commitPolicy === 'none') throw usage('--after needs --commit-policy commit or rollback');
  if (!/^\d{1,5}$/.test(after) || Number(after) > 86_400) throw usage(`--after: '${after}' is not within 0 to 86400 seconds`);
  return Number(after);
}

const checkpointText = (checkpoint: CheckpointApi): string => `${checkpoint.CheckpointIdentifier} (${timeText(checkpoint.TimeStamp)}${checkpoint.Tag ? `, ${checkpoint.Tag}` : ''})`;

interface Operation {
  readonly vpg: VpgApi;
  readonly path: string;
  readonly body: object;
  readonly isWaiting: boolean;
  readonly doneText: string;
}

async function operate({ client, output, task }: Session, { vpg, path, body, isWaiting, doneText }: Operation): Promise<void> {
  const taskId = await client.post(`/vpgs/${vpg.VpgIdentifier}/${path}`, body);
  const ended = await task(taskId, { isWaiting });
  output.done(ended ?? { TaskIdentifier: taskId }, isWaiting ? `${doneText}${scriptRemark(ended?.CompleteReason)}` : `started: task ${taskId}`);
}

/** What the task says of scripts that failed and did not stop it. */
const scriptRemark = (reason: string | null | undefined): string => /; the (?:pre|post)-recovery script .*$/s.exec(reason ?? '')?.[0] ?? '';
