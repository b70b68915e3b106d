import type { Fault } from './facts.js';
import { VPG_LIMITS } from './limits.js';
import type { BasicSettings, Limitation, VpgSettings } from './settings.js';

/** Limits of journals and scratch that cannot be meant: warnings above hard limits, journals too small to work. */
export function checkLimits(settings: VpgSettings): Fault[] {
  return [
    ...checkCheckpoints(settings.basic),
    ...checkLimitation('Journal.Limitation', settings.journal.limitation, VPG_LIMITS.journalMbMin),
    ...checkLimitation('Scratch.Limitation', settings.scratch.limitation, 1),
    ...settings.vms.flatMap((vm, index) => [
      ...checkLimitation(`Vms[${index}].Journal.Limitation`, vm.journal?.limitation ?? null, VPG_LIMITS.journalMbMin),
      ...checkLimitation(`Vms[${index}].Scratch.Limitation`, vm.scratch?.limitation ?? null, 1),
    ]),
  ];
}

function checkCheckpoints(basic: BasicSettings): Fault[] {
  const faults: Fault[] = [];
  const isWhole = (value: number | null, min: number, max: number): boolean => value === null || (Number.isInteger(value) && value >= min && value <= max);
  const { checkpointSecondsMin, checkpointSecondsMax, historyHoursMax } = VPG_LIMITS;
  if (!isWhole(basic.checkpointIntervalInSeconds, checkpointSecondsMin, checkpointSecondsMax)) {
    faults.push({ path: 'Basic.CheckpointIntervalInSeconds', message: `${basic.checkpointIntervalInSeconds ?? ''} given, ${checkpointSecondsMin} to ${checkpointSecondsMax} seconds are allowed` });
  }
  const [keepAll, keepMinutes] = [basic.keepAllCheckpointsForHours, basic.keepMinuteCheckpointsForHours];
  if (!isWhole(keepAll, 0, historyHoursMax)) faults.push({ path: 'Basic.KeepAllCheckpointsForHours', message: `${keepAll ?? ''} given, 0 to ${historyHoursMax} hours are allowed` });
  if (!isWhole(keepMinutes, 0, historyHoursMax)) faults.push({ path: 'Basic.KeepMinuteCheckpointsForHours', message: `${keepMinutes ?? ''} given, 0 to ${historyHoursMax} hours are allowed` });
  else if (!keepAll && keepMinutes) faults.push({ path: 'Basic.KeepMinuteCheckpointsForHours', message: `${keepMinutes} given, but without KeepAllCheckpointsForHours nothing is thinned: give that too, or leave both null` });
  else if (keepAll && keepMinutes !== null && keepMinutes < keepAll) faults.push({ path: 'Basic.KeepMinuteCheckpointsForHours', message: `${keepMinutes} is below the ${keepAll} hours in which all stay` });
  return faults;
}

function checkLimitation(path: string, limitation: Limitation | null, megabytesMin: number): Fault[] {
  if (limitation === null) return [];
  const { hardLimitInMB, hardLimitInPercent, warningThresholdInMB, warningThresholdInPercent } = limitation;
  const faults: Fault[] = [];
  const negative = Object.entries(limitation).find(([, value]: [string, number | null]) => (value ?? 0) < 0);
  if (negative !== undefined) faults.push({ path, message: `${negative[0]} is below 0` });
  if (hardLimitInMB && !hardLimitInPercent && hardLimitInMB < megabytesMin) {
    faults.push({ path: `${path}.HardLimitInMB`, message: `${hardLimitInMB} MB given, at least ${megabytesMin} are needed (0: unlimited)` });
  }
  const isAbove = (warning: number | null, hard: number | null): boolean => Boolean(warning) && Boolean(hard) && (warning ?? 0) > (hard ?? 0);
  const isByPercent = Boolean(hardLimitInPercent);
  if (!isByPercent && !warningThresholdInPercent && isAbove(warningThresholdInMB, hardLimitInMB)) {
    faults.push({ path: `${path}.WarningThresholdInMB`, message: `the warning threshold of ${warningThresholdInMB ?? 0} MB is above the hard limit of ${hardLimitInMB ?? 0} MB` });
  }
  if (isByPercent && isAbove(warningThresholdInPercent, hardLimitInPercent)) {
    faults.push({ path: `${path}.WarningThresholdInPercent`, message: `the warning threshold of ${warningThresholdInPercent ?? 0} % is above the hard limit of ${hardLimitInPercent ?? 0} %` });
  }
  return faults;
}
