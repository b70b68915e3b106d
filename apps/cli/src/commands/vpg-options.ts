import { type Command, Option } from 'commander';
import type { ApiClient } from '@tidemark/api-client';
import type { VpgSettingsBasicApi, VpgSettingsLimitationApi } from '@tidemark/contracts';
import { usage } from '../cli-error.js';

/** What may be said of a VPG when it is made, and later. */
export interface SettingsOptions {
  readonly rpo?: string;
  readonly journalHours?: string;
  readonly checkpointInterval?: string;
  readonly keepAllHours?: string;
  readonly keepMinuteHours?: string;
  readonly journalLimitMb?: string;
  readonly scratchLimitMb?: string;
  readonly priority?: string;
  readonly compression?: boolean;
  readonly testIntervalDays?: string;
}

/** In brackets what a new VPG has without the option. */
export function withSettingsOptions(command: Command): Command {
  return command
    .option('--rpo <seconds>', 'target RPO (300)').option('--journal-hours <hours>', 'history to keep (24)')
    .option('--checkpoint-interval <seconds>', 'between automatic checkpoints, 1 to 3600 (as the site is set up)')
    .option('--keep-all-hours <hours>', 'every checkpoint stays so long, then one a minute; 0: all stay (0)')
    .option('--keep-minute-hours <hours>', 'with --keep-all-hours: older ones stay one an hour (24 more than that)')
    .option('--journal-limit-mb <MB>', "hard limit of each VM's journal, warned of at 75 %; 0: none (153600)")
    .option('--scratch-limit-mb <MB>', 'of what each VM writes in a failover test, warned of at 75 %; 0: none (153600)')
    .addOption(new Option('--priority <priority>', 'of its replication (medium)').choices(['low', 'medium', 'high']))
    .option('--compression', 'compress what goes to the other site (the default)').option('--no-compression', 'send it as it is')
    .option('--test-interval-days <days>', 'warn when the last failover test is older; 0: never (182)');
}

export interface SettingsChange {
  readonly basic: VpgSettingsBasicApi;
  readonly journal: VpgSettingsLimitationApi | undefined;
  readonly scratch: VpgSettingsLimitationApi | undefined;
}

/** Only what was given, so that the rest stays as it is. @throws CliError CLI_USAGE */
export function settingsChange(options: SettingsOptions): SettingsChange {
  const keepAll = wholeNumber('--keep-all-hours', options.keepAllHours);
  // Without thinning there is nothing that the hours of minutes could mean, and the site refuses them.
  const keepMinutes = wholeNumber('--keep-minute-hours', options.keepMinuteHours) ?? (keepAll === 0 ? null : undefined);
  const testDays = wholeNumber('--test-interval-days', options.testIntervalDays);
  const basic: Partial<Record<keyof VpgSettingsBasicApi, unknown>> = {
    RpoInSeconds: wholeNumber('--rpo', options.rpo), JournalHistoryInHours: wholeNumber('--journal-hours', options.journalHours),
    CheckpointIntervalInSeconds: wholeNumber('--checkpoint-interval', options.checkpointInterval), KeepAllCheckpointsForHours: keepAll, KeepMinuteCheckpointsForHours: keepMinutes,
    Priority: options.priority, UseWanCompression: options.compression, TestIntervalInMinutes: testDays === undefined ? undefined : testDays * 1440,
  };
  return {
    basic: Object.fromEntries(Object.entries(basic).filter(([, value]) => value !== undefined)),
    journal: limitation(wholeNumber('--journal-limit-mb', options.journalLimitMb)), scratch: limitation(wholeNumber('--scratch-limit-mb', options.scratchLimitMb)),
  };
}

export const isNoChange = ({ basic, journal, scratch }: SettingsChange): boolean => Object.keys(basic).length === 0 && journal === undefined && scratch === undefined;

/** The old warning threshold could be above the new limit, and percents would go before both. */
function limitation(limitMb: number | undefined): VpgSettingsLimitationApi | undefined {
  return limitMb === undefined ? undefined : { HardLimitInMB: limitMb, HardLimitInPercent: 0, WarningThresholdInMB: Math.floor(limitMb * 0.75), WarningThresholdInPercent: 0 };
}

/** Sections apart from the basic one, of a draft. */
export async function putLimits(client: ApiClient, draft: string, { journal, scratch }: SettingsChange): Promise<void> {
  if (journal) await client.put(`${draft}/journal`, { Limitation: journal });
  if (scratch) await client.put(`${draft}/scratch`, { Limitation: scratch });
}

/** A draft that is not committed is taken back. @returns the task's id */
export async function inDraft(client: ApiClient, wanted: object, fill: (draft: string) => Promise<void>): Promise<string> {
  const draft = `/vpgSettings/${await client.post('/vpgSettings', wanted)}`;
  try {
    await fill(draft);
    return await client.post(`${draft}/commit`);
  } catch (error) {
    await client.delete(draft).catch(() => undefined);
    throw error;
  }
}

function wholeNumber(option: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (!/^\d{1,9}$/.test(text)) throw usage(`${option}: '${text}' is no whole number`);
  return Number(text);
}
