import type { ThrottlingSettingsApi, ThrottlingWindowApi } from '@tidemark/contracts';
import { invalid } from '../errors.js';
import type { ThrottleSettings, ThrottleState } from './site-throttle.service.js';

const MB = 1_000_000;
/** 5 Mbit/s: replication below that falls behind with any workload (reference). */
const LIMIT_MBS_MIN = 0.625;
const LIMIT_MBS_MAX = 100_000;
const UNLIMITED_MBS = -1;

export const limitView = (bytesPerSecond: number | null): number => (bytesPerSecond === null ? UNLIMITED_MBS : bytesPerSecond / MB);

export function throttlingView({ bytesPerSecond, window }: ThrottleSettings, state: ThrottleState): ThrottlingSettingsApi {
  return {
    BandwidthThrottlingInMBs: limitView(bytesPerSecond),
    Window: window && { From: clockText(window.fromMinute), To: clockText(window.toMinute), BandwidthThrottlingInMBs: limitView(window.bytesPerSecond) },
    Status: { EffectiveLimitInMBs: limitView(state.bytesPerSecondMax), OutgoingInMBs: state.bytesPerSecond / MB, IsThrottled: state.isThrottled },
  };
}

/** @throws ZvmError ZVM_INVALID */
export function throttlingOf({ BandwidthThrottlingInMBs, Window }: ThrottlingSettingsApi): ThrottleSettings {
  return { bytesPerSecond: limitOf(BandwidthThrottlingInMBs), window: Window ? windowOf(Window) : null };
}

function windowOf({ From, To, BandwidthThrottlingInMBs }: ThrottlingWindowApi): NonNullable<ThrottleSettings['window']> {
  return { fromMinute: minuteOf(From), toMinute: minuteOf(To), bytesPerSecond: limitOf(BandwidthThrottlingInMBs) };
}

function limitOf(mbs: number): number | null {
  if (mbs === UNLIMITED_MBS || mbs === 0) return null;
  if (mbs >= LIMIT_MBS_MIN && mbs <= LIMIT_MBS_MAX) return Math.round(mbs * MB);
  throw invalid(`a limit of ${mbs} MB/s: -1 and 0 mean unlimited, else it is ${LIMIT_MBS_MIN} (5 Mbit/s) to ${LIMIT_MBS_MAX}`);
}

function minuteOf(text: string): number {
  const [, hours, minutes] = /^([01]\d|2[0-3]):([0-5]\d)$/.exec(text) ?? [];
  if (hours === undefined) throw invalid(`'${text}' is not a time of day (HH:MM)`);
  return Number(hours) * 60 + Number(minutes);
}

const clockText = (minute: number): string => `${String(Math.floor(minute / 60)).padStart(2, '0')}:${String(minute % 60).padStart(2, '0')}`;
