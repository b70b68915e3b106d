import { processesOf } from '../lab.js';
import type { SitePair } from '../e2e/site-pair.js';
import { replicationFigures } from '../rest/vra-figures.js';

interface Seen {
  readonly pid: number;
  readonly allSyncsBytes: number;
}

/** What the protecting VRAs of site a compare or send again in syncs. A restarted one counts from 0. */
export class ComparedBytes {
  readonly #seen = new Map<string, Seen>();

  constructor(
    private readonly pair: SitePair,
    private readonly vpgId: string,
  ) {}

  /** Since this was asked last. */
  async take(): Promise<number> {
    const { a } = this.pair.lab.layout.sites;
    const { registry } = processesOf(this.pair.lab, 'a').runner;
    let bytes = 0;
    for (const host of a.hosts) {
      const pid = (await registry.get(host.vraName))?.pid ?? 0;
      const { allSyncsBytes } = await replicationFigures({ ...a, hosts: [host] }, this.vpgId);
      const before = this.#seen.get(host.vraName);
      bytes += before?.pid === pid && allSyncsBytes >= before.allSyncsBytes ? allSyncsBytes - before.allSyncsBytes : allSyncsBytes;
      this.#seen.set(host.vraName, { pid, allSyncsBytes });
    }
    return bytes;
  }
}
