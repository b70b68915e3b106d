import { SitePair } from '../e2e/site-pair.js';
import { processesOf } from '../lab.js';
import { SITE_NAMES } from '../layout.js';
import { listenersOf, type Listener } from './listeners.js';
import { SelfMade } from './self-made.js';
import { ThirdSite } from './third-site.js';

const VPG_VM = 'web01';

/** The lab that is attacked, and what attackers have. */
export class Stage {
  private constructor(
    readonly pair: SitePair,
    /** Protected at site a, recovered at site b. */
    readonly vpgId: string,
    readonly vmId: string,
    readonly third: ThirdSite,
    readonly forger: SelfMade,
  ) {}

  static async raise(tell: (line: string) => void): Promise<Stage> {
    tell('two sites are being started');
    const pair = await SitePair.up();
    try {
      tell(`${VPG_VM} is being protected`);
      const vpgId = await pair.protect('attacked', [VPG_VM]);
      tell('each site gets a backup appliance');
      for (const site of SITE_NAMES) await processesOf(pair.lab, site).addVba(await pair.api(site));
      const { id: vmId } = await pair.vm('a', VPG_VM);
      tell('a third site is being started and paired with site b');
      const third = await ThirdSite.raise(pair.lab.layout.sites.b, await pair.api('b'));
      return new Stage(pair, vpgId, vmId, third, await SelfMade.make(pair.siteId('a')));
    } catch (error) {
      await pair.down();
      throw error;
    }
  }

  /** Every socket on which a process of the lab can be reached now. */
  async listeners(): Promise<Listener[]> {
    const found: Listener[] = [];
    for (const site of SITE_NAMES) {
      const records = await processesOf(this.pair.lab, site).list();
      // A VRA is a child of its hypervisor manager, and has an entry of its own.
      for (const record of records) found.push(...listenersOf(site, record, new Set(records.map(({ pid }) => pid))));
    }
    return found;
  }

  async remove(): Promise<void> {
    await this.forger.remove();
    await this.third.remove();
    await this.pair.down();
  }
}
