import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { SitePair } from '../e2e/site-pair.js';
import { findOrMakeLab, type Lab } from '../identity.js';
import { labDown, processesOf } from '../lab.js';
import type { SiteLayout } from '../layout.js';
import { IdentityProvider } from './identity-provider.js';
import { pairSites, siteApi } from '../rest/connect-sites.js';
import type { SiteApi } from '../rest/site-api.js';

const SUBNETS = '43,44';

/** A site of somebody else, without VRAs: real, and paired with one of the lab's as two companies would do it. */
export class ThirdSite {
  private constructor(
    private readonly environment: Record<string, string>,
    private readonly lab: Lab,
    readonly provider: IdentityProvider,
  ) {}

  static async raise(peer: SiteLayout, peerApi: SiteApi): Promise<ThirdSite> {
    const environment = await SitePair.makeEnvironment(SUBNETS);
    const third = new ThirdSite(environment, await findOrMakeLab(environment), await IdentityProvider.start());
    try {
      const processes = processesOf(third.lab, 'a');
      await processes.startServers();
      await processes.startZvm();
      await third.provider.install(processes);
      const api = await siteApi(third.site);
      await pairSites(api, peer, peerApi);
      await api.close();
      return third;
    } catch (error) {
      await third.remove();
      throw error;
    }
  }

  get site(): SiteLayout {
    return this.lab.layout.sites.a;
  }

  get siteId(): string {
    return this.lab.identity.sites.a.siteId;
  }

  async remove(): Promise<void> {
    await this.provider.close();
    await labDown(this.environment);
    await rm(join(this.environment['TIDEMARK_LAB_DIR'] ?? '', '..'), { recursive: true, force: true });
  }
}
