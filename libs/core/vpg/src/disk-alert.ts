import { alert, type WantedAlert } from './alerts.js';
import { timeText } from './time-text.js';

/** A protected disk that the VRA of its VM's host has not reached for some seconds. */
export interface UnreachableDiskFacts {
  readonly vpgId: string;
  readonly vpgName: string;
  readonly vmId: string;
  readonly vmName: string;
  readonly diskId: string;
  readonly vraName: string;
  /** URI of its NBD server, or path of its file. */
  readonly path: string;
  /** Wall clock of the VRA. */
  readonly sinceMs: number;
  readonly reason: string;
}

/** VRA0021 for each disk and VPG, until the disk is back. The same disk at a later time is the same alert with another text. */
export const diskAlertsFor = (disks: readonly UnreachableDiskFacts[]): WantedAlert[] => disks.map(diskAlert);

function diskAlert({ vpgId, vpgName, vmId, vmName, diskId, vraName, path, sinceMs, reason }: UnreachableDiskFacts): WantedAlert {
  const description = `VRA '${vraName}' has not reached disk ${diskId} of VM '${vmName}' in VPG '${vpgName}' since ${timeText(sinceMs)}: ${path}: ${reason}. Whoever uses the disk waits, and gets IO errors after 25 s. `
    + `Start its NBD server, or look at the storage and the way there: the VRA tries again by itself and then compares what the disk may have forgotten. A disk that is gone for good has to be taken from the VM`;
  return alert('VRA0021', { subject: `${vpgId}/${vmId}/${diskId}`, description, vpgIds: [vpgId] });
}
