import type { SiteLayout } from '../layout.js';
import { fromAppliance } from './vra-https.js';

/** Sums over a site's VRAs, for one VPG, since the streams began. */
export interface ReplicationFigures {
  /** By guests. */
  readonly writtenBytes: number;
  /** On port 4008, after compression. */
  readonly sentBytes: number;
  /** Captured, not yet durable at the recovery site. */
  readonly lagBytes: number;
  readonly syncRemainingBytes: number;
  /** That the syncs had to compare or to send. */
  readonly allSyncsBytes: number;
  /** Time that guests' completions were held for checkpoints, p99; the worst VRA. */
  readonly holdMsP99: number;
}

/** Read from the metrics ports of the site's VRAs; one that does not answer counts nothing. */
export async function replicationFigures(site: SiteLayout, vpgId: string): Promise<ReplicationFigures> {
  const texts = await Promise.all(site.hosts.map((host) => fromAppliance(site, host.address, '/metrics').catch(() => '')));
  const values = (name: string): number[] => texts.flatMap((text) => samples(text, name, vpgId));
  const sum = (name: string): number => values(name).reduce((total, value) => total + value, 0);
  return {
    writtenBytes: sum('tidemark_written_bytes'),
    sentBytes: sum('tidemark_sent_bytes'),
    lagBytes: sum('tidemark_lag_bytes'),
    syncRemainingBytes: sum('tidemark_sync_remaining_bytes'),
    allSyncsBytes: sum('tidemark_sync_all_bytes'),
    holdMsP99: Math.max(0, ...values('tidemark_barrier_hold_ms_p99')),
  };
}

/** Values of `name{…vpg="vpgId"…} 12` in the Prometheus text format. */
export function samples(text: string, name: string, vpgId: string): number[] {
  return text
    .split('\n')
    .filter((line) => line.startsWith(`${name}{`) && line.includes(`vpg="${vpgId}"`))
    .map((line) => Number(line.slice(line.lastIndexOf(' ') + 1)))
    .filter(Number.isFinite);
}
