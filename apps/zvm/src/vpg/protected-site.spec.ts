import { beforeEach, describe, expect, it } from '@jest/globals';
import type { ZvmConfig } from '../config.js';
import type { Database } from '../persistence/database.js';
import { SITE_A, SITE_B, vpgDefinition, vpgRecord } from '../testing/factories.js';
import type { VraStateService } from '../vra/vra-state.service.js';
import type { CatalogueStore } from './catalogue.store.js';
import { ProtectedSite } from './protected-site.service.js';
import type { VpgRecord } from './vpg-model.js';
import type { VpgConsents } from './vpg-consents.service.js';
import { VpgStore } from './vpg.store.js';

const { vpgId } = vpgDefinition();
const turned = vpgDefinition({ protectedSiteId: SITE_B, recoverySiteId: SITE_A });
/** Of what the statements do only the time that they take matters here. */
const database = { onReady: () => undefined, transaction: () => new Promise((resolve) => setImmediate(resolve)) } as unknown as Database;

describe('records of a VPG that arrive at the site that it protects', () => {
  let vpgs: VpgStore;
  let cleared: string[];
  let site: ProtectedSite;
  beforeEach(async () => {
    vpgs = new VpgStore(database);
    cleared = [];
    const catalogues = { clear: async () => cleared.push('copy'), forget: () => cleared.push('all') } as unknown as CatalogueStore;
    const vraStates = { poke: () => undefined } as unknown as VraStateService;
    const consents = { admit: () => Promise.resolve(), end: () => Promise.resolve() } as unknown as VpgConsents;
    const unused = undefined as never;
    site = new ProtectedSite(vpgs, catalogues, unused, vraStates, unused, consents, { siteId: SITE_A, siteName: 'A' } as ZvmConfig);
    await site.put(vpgRecord({ generation: 4 }), SITE_B);
  });

  const becomes = async (record: VpgRecord): Promise<void> => await vpgs.decide(vpgId, () => Promise.resolve(record));

  /** Seen on a loaded machine: the record with which the VPG was handed over came once more while it was being turned, and undid that. Nobody protected it from then on. */
  it('the old one does not land on the one in the other direction that was written since it was looked at', async () => {
    const stale = vpgRecord({ state: 'reversing', generation: 5 });
    const taken = vpgRecord({ definition: turned, state: 'creating', generation: 6 });
    const [, refusal] = await Promise.all([becomes(taken), site.put(stale, SITE_B).catch((error: unknown) => error)]);
    expect(refusal).toMatchObject({ code: 'ZVM_CONFLICT' });
    expect(vpgs.find(vpgId)).toEqual(taken);
  });

  it('the older of two does not land on the newer one', async () => {
    await Promise.all([site.put(vpgRecord({ generation: 6 }), SITE_B), site.put(vpgRecord({ generation: 5 }), SITE_B)]);
    expect(vpgs.find(vpgId)?.generation).toBe(6);
  });

  it('the word of a site that decides no longer removes nothing', async () => {
    await becomes(vpgRecord({ definition: turned, generation: 6 }));
    await expect(site.put(vpgRecord({ state: 'removed', generation: 7 }), SITE_B)).rejects.toMatchObject({ code: 'ZVM_CONFLICT' });
    expect(vpgs.isForgotten(vpgId)).toBe(false);
  });

  it('the one in the other direction is taken when this site has handed the VPG over, and its list of checkpoints begins anew', async () => {
    const failover = { phase: 'handedOver', vms: [{ recoveredVmId: 'vm1' }, { recoveredVmId: 'vm2' }] } as unknown as VpgRecord['failover'];
    await becomes(vpgRecord({ definition: turned, state: 'reversing', failover, generation: 9 }));
    await site.put(vpgRecord({ state: 'creating', generation: 3 }), SITE_B);
    expect([vpgs.find(vpgId)?.state, cleared]).toEqual(['creating', ['copy']]);
  });

  it('one that is removed by who decides is forgotten, and does not come back', async () => {
    await site.put(vpgRecord({ state: 'removed', generation: 5 }), SITE_B);
    expect([vpgs.find(vpgId), cleared]).toEqual([undefined, ['all']]);
    await expect(site.put(vpgRecord({ generation: 6 }), SITE_B)).rejects.toMatchObject({ code: 'ZVM_CONFLICT' });
  });
});
