/** A protecting and a recovering engine, each a process of its own, with a link of the bench's making between them. */
import { LinkProxy, NbdClient } from '@tidemark/testing';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { SITE_ID, startEngine } from './engine.mjs';
import { fill } from './files.mjs';

const VPG = 'c2f8a1d4-0000-4000-8000-000000000002';

/**
 * @param {{ folder: string, sizeBytes: number, intervalMs: number, isCompressed: boolean, link: object }} options `link`: shape and tap of the LinkProxy
 */
export async function startPair({ folder, sizeBytes, intervalMs, isCompressed, link }) {
  const file = join(folder, 'disk.raw');
  fill(file, sizeBytes);
  const protecting = await startEngine({ vraId: 'protecting', folder, cpu: 0 });
  const recovering = await startEngine({ vraId: 'recovering', folder, cpu: 1 });
  const proxy = await LinkProxy.listen({ target: { address: recovering.address.address, port: recovering.address.dataPort } });
  const home = join(folder, 'recovery');
  await recovering.call('putRecovery', {
    vpgId: VPG, vmId: 'vm', protectedSiteId: SITE_ID, epoch: 1, recoverers: [{ vra: recovering.address, vmIds: ['vm'] }], historyMs: 3_600_000,
    volumes: [{ diskId: 'disk', sizeBytes, mirrorPath: join(home, 'mirror.raw') }], journalFolder: join(home, 'journal'), datastore: { path: home, capacityBytes: 1024 ** 4 },
  });
  await protecting.call('applyDesiredState', {
    revision: 1,
    attachedVms: [{ vmId: 'vm', disks: [{ diskId: 'disk', exportName: 'disk', path: file, sizeBytes }] }],
    protections: [{ vpgId: VPG, vmId: 'vm', epoch: 1, diskIds: ['disk'], recoveringVra: { ...recovering.address, dataPort: proxy.port }, recoverySiteId: SITE_ID, isCompressed, priority: 'medium' }],
    barriers: [{ vpgId: VPG, version: 1, epoch: 1, intervalMs, members: [{ vra: protecting.address, vmIds: ['vm'] }] }],
  });
  const state = async () => (await protecting.call('status')).protections[0];
  const settle = async () => {
    for (;;) {
      const { state: name, lagBytes } = await state();
      if (name === 'replicating' && lagBytes === 0) return;
      await delay(20);
    }
  };
  await settle();
  proxy.setShape(link);
  const guest = await NbdClient.connect(protecting.socket, 'disk');
  return {
    proxy, guest, state, settle,
    listing: (afterChange) => recovering.call('listCheckpoints', { vpgId: VPG, vmId: 'vm', afterChange }),
    async stop() {
      guest.close();
      await protecting.stop();
      await recovering.stop();
      await proxy.close();
    },
  };
}
