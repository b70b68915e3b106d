import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { MiB } from '@tidemark/base';
import { PairedSites } from '../testing/paired-sites.js';
import { eventually } from '../testing/test-site.js';

const LOCATION = 'nbd+unix:///disk?socket=/run/storage/nbd.sock';

let sites: PairedSites;
beforeAll(async () => {
  sites = await PairedSites.open([]);
}, 120_000);
afterAll(async () => await sites?.close());

it('a VM whose disk is behind an NBD server is offered and protected like any other: its VRA gets the URI, its recovery a file', async () => {
  const { hosts, datastores, networks } = await sites.a.hypervisor.inventory();
  const vm = await sites.a.hypervisor.createVm({
    requestKey: 'nbd', name: 'stored elsewhere', hostId: hosts[0]?.id ?? '', cpuCount: 1, memoryMiB: 512, guestOs: 'Linux',
    disks: [{ id: 'scsi:0:0', sizeBytes: 64 * MiB, datastoreId: datastores[0]?.id ?? '', location: LOCATION, isFile: true }], nics: [{ networkId: networks[0]?.id ?? '' }],
  });
  await sites.a.hypervisor.powerOn(vm.id);
  const offered = async (): Promise<boolean> => (await sites.atA.ok<{ VmName: string }[]>('GET', `/virtualizationsites/${sites.a.config.siteId}/vms`)).some(({ VmName }) => VmName === 'stored elsewhere');
  await eventually('it is offered', offered);
  await sites.protect('App', ['stored elsewhere']);
  const vras = [...sites.plane.vras.values()];
  expect(vras.flatMap(({ state }) => state.attachedVms)).toMatchObject([{ vmId: vm.id, disks: [{ diskId: 'scsi:0:0', path: LOCATION, sizeBytes: 64 * MiB }] }]);
  const volumes = vras.flatMap((vra) => [...vra.recoveries.values()].flatMap(({ spec }) => spec.volumes));
  expect(volumes.map(({ mirrorPath, sizeBytes }) => [mirrorPath.startsWith('/'), sizeBytes])).toEqual([[true, 64 * MiB]]);

  // The server goes away, and comes back.
  const alerts = async (): Promise<string[]> => (await sites.atA.ok<{ HelpIdentifier: string; Description: string }[]>('GET', '/alerts')).map(({ HelpIdentifier, Description }) => `${HelpIdentifier}: ${Description}`);
  const serving = vras.find(({ state }) => state.attachedVms.length > 0);
  if (serving) serving.unreachableDisks = [{ vmId: vm.id, diskId: 'scsi:0:0', path: LOCATION, sinceMs: Date.now(), reason: 'ECONNREFUSED' }];
  await eventually('its alert', async () => (await alerts()).some((alert) => alert.startsWith('VRA0021: ') && alert.includes(`'stored elsewhere'`) && alert.includes(`${LOCATION}: ECONNREFUSED`)), 60_000);
  if (serving) serving.unreachableDisks = [];
  await eventually('no alert', async () => !(await alerts()).some((alert) => alert.startsWith('VRA0021')), 60_000);
}, 150_000);
