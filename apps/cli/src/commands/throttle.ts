import type { Command } from 'commander';
import type { ThrottlingSettingsApi } from '@tidemark/contracts';
import { usage } from '../cli-error.js';
import type { InSession } from '../program.js';

const PATH = '/localsite/settings/throttling';

interface SetOptions {
  readonly from?: string;
  readonly to?: string;
  readonly windowLimit?: string;
}

/** `tidemark throttle`: how much this site replicates to all its peers together. */
export function addThrottleCommands(program: Command, session: InSession): void {
  const throttle = program.command('throttle').description('limit what this site replicates, to all peers together');

  throttle.command('show', { isDefault: true }).description('the limit, and what it does now')
    .action((_options, command: Command) => session(command, async ({ client, output }) => {
      const settings = await client.get<ThrottlingSettingsApi>(PATH);
      output.facts(settings, facts(settings));
    }));

  throttle.command('set').description('set the limit').argument('<MB/s>', "10^6 bytes per second, at least 0.625 (5 Mbit/s), or 'unlimited'")
    .option('--from <HH:MM>', 'a daily window with a limit of its own begins').option('--to <HH:MM>', 'and ends, local time of the site')
    .option('--window-limit <MB/s>', "the limit in the window, or 'unlimited'")
    .action((limit: string, options: SetOptions, command: Command) => session(command, async ({ client, output }) => {
      const settings = await client.put<ThrottlingSettingsApi>(PATH, { BandwidthThrottlingInMBs: limitOf(limit), Window: windowOf(options) });
      output.done(settings, Object.entries(facts(settings)).slice(0, 2).map(([name, text]) => `${name}: ${text}`).join(', '));
    }));
}

function limitOf(text: string): number {
  if (text === 'unlimited') return -1;
  const mbs = Number(text);
  if (!Number.isFinite(mbs) || mbs < -1) throw usage(`'${text}': MB/s or 'unlimited' is expected`);
  return mbs;
}

function windowOf({ from, to, windowLimit }: SetOptions): ThrottlingSettingsApi['Window'] {
  if (from === undefined && to === undefined && windowLimit === undefined) return null;
  if (from === undefined || to === undefined || windowLimit === undefined) throw usage('a window needs --from, --to and --window-limit');
  return { From: from, To: to, BandwidthThrottlingInMBs: limitOf(windowLimit) };
}

function facts({ BandwidthThrottlingInMBs, Window, Status }: ThrottlingSettingsApi): Record<string, string> {
  return {
    limit: limitText(BandwidthThrottlingInMBs),
    window: Window ? `${Window.From} to ${Window.To}: ${limitText(Window.BandwidthThrottlingInMBs)}` : 'none',
    'in force now': limitText(Status?.EffectiveLimitInMBs ?? -1),
    sending: `${(Status?.OutgoingInMBs ?? 0).toFixed(2)} MB/s${Status?.IsThrottled === true ? ', held back by the limit' : ''}`,
  };
}

const limitText = (mbs: number): string => (mbs <= 0 ? 'unlimited' : `${String(mbs)} MB/s`);
