import { alert, type WantedAlert } from './alerts.js';
import { timeText } from './time-text.js';

/** A VM whose recovery side did not have what it had acknowledged as durable. */
export interface LossFacts {
  readonly vpgId: string;
  readonly vpgName: string;
  readonly vmId: string;
  readonly vmName: string;
  readonly recoverySiteName: string;
  /** Since the protecting VRA's stream began. */
  readonly count: number;
  /** Of the newest, wall clock of the protecting VRA. */
  readonly atMs: number;
  readonly detail: string;
}

/** Stands at both sites, of the VPG. The text says nothing that changes afterwards: with another text it has happened again. */
export const lossAlertsFor = (losses: readonly LossFacts[]): WantedAlert[] => losses.map(lossAlert);

function lossAlert({ vpgId, vpgName, vmId, vmName, recoverySiteName, count, atMs, detail }: LossFacts): WantedAlert {
  const again = count > 1 ? ` (time ${count} since its protecting VRA attached it)` : '';
  const description = `at ${timeText(atMs)} writes of '${vmName}' in VPG '${vpgName}' that site ${recoverySiteName} had acknowledged as durable were not in its recovery journal any more${again}: ${detail}. `
    + `Checkpoints behind that point are gone; everything is being compared and sent again, new checkpoints come after that. The storage of the journal has forgotten what it had confirmed: `
    + `look at its datastore (power loss with a write cache, a snapshot or copy put back, errors of the disk) and at the log of the recovering VRA. Stays until it is dismissed`;
  return alert('TDM0022', { subject: `${vpgId}/${vmId}`, description, vpgIds: [vpgId] });
}
