import type { VpgApi } from '@tidemark/contracts';
import { VPG_STATUS, VPG_SUB_STATUS } from '@tidemark/contracts/enumerations';
import { nameOf } from './names.js';
import { orDash, type Output } from './output.js';

export function vpgTable(output: Output, vpgs: readonly VpgApi[]): string {
  return output.table(vpgs, {
    NAME: (vpg) => vpg.VpgName, STATUS: (vpg) => statusText(output, vpg), RPO: rpoText, HISTORY: historyText, VMS: (vpg) => String(vpg.VmsCount),
    'PROTECTED AT': (vpg) => orDash(vpg.ProtectedSiteName), 'RECOVERY AT': (vpg) => orDash(vpg.RecoverySiteName), REMARK: remarkText,
  });
}

/** `MeetingSLA`, `Initializing: InitialSync 40 %`, in the colour of its urgency. */
export function statusText({ colors }: Output, vpg: VpgApi): string {
  const status = nameOf(VPG_STATUS, vpg.Status);
  const subStatus = nameOf(VPG_SUB_STATUS, vpg.SubStatus);
  const progress = vpg.ProgressPercentage > 0 && vpg.ProgressPercentage < 100 ? ` ${Math.floor(vpg.ProgressPercentage)} %` : '';
  const text = subStatus === 'None' ? status : `${status}: ${subStatus}${progress}`;
  if (status === 'MeetingSLA') return colors.green(text);
  return status === 'NotMeetingSLA' || status === 'RpoNotMeetingSLA' ? colors.red(text) : colors.yellow(text);
}

/** What the status alone does not say; nothing for a VPG in its normal state. */
export const remarkText = ({ SubStatusDescription: text }: VpgApi): string => orDash(text === 'None' ? null : text?.replace(/^None: /, ''));

const KIND_TEXTS: Readonly<Record<string, string>> = {
  InitialSync: 'initial sync', VolumeInitialSync: 'first copy of added disks', DeltaSync: 'delta sync (compares, sends what differs)', BitmapSync: 'bitmap sync (sends what has changed)',
};

/** `bitmap sync …: 12.0 of 40.0 MiB left, 3.2 MiB/s, ends about 09:12:03 UTC; Network Congestion` */
export function syncText({ Sync: sync }: VpgApi): string {
  if (!sync) return 'none';
  const rate = sync.BytesPerSecond > 0 ? `, ${mebibytes(sync.BytesPerSecond)} MiB/s` : '';
  const end = sync.EstimatedEnd ? `, ends about ${sync.EstimatedEnd.slice(11, 19)} UTC (${sync.SecondsLeft ?? 0} s)` : ', end not known yet';
  return `${KIND_TEXTS[sync.Kind] ?? sync.Kind}: ${mebibytes(sync.BytesLeft)} of ${mebibytes(sync.TotalBytes)} MiB left${rate}${end}${sync.Reason === '' ? '' : `; ${sync.Reason}`}`;
}

const mebibytes = (bytes: number): string => (bytes / 2 ** 20).toFixed(1);

/** An unknown RPO is never shown as 0. */
export const rpoText = (vpg: VpgApi): string => (vpg.ActualRPO === null || vpg.ActualRPO === undefined || vpg.ActualRPO < 0 ? 'unknown' : `${vpg.ActualRPO} s`);

export function historyText({ HistoryStatusApi: history }: VpgApi): string {
  if (!history) return '–';
  return history.ActualHistoryInMinutes < 120 ? `${history.ActualHistoryInMinutes} min` : `${Math.floor(history.ActualHistoryInMinutes / 60)} h`;
}
