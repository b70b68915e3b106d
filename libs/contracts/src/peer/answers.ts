import { type Answer, type Answered, answerOf, DONE } from '../shape/answer.js';
import { count, flag, list, oneOf, shaped, text, whole, wholeFrom } from '../shape/checks.js';
import { CHECKPOINT_INSERTED, fingerprints } from '../vra/answers.js';
import { type CatalogueRevisionV1, PairingGrantV1, PeerTrustV1, type PeerVraV1, type VmPowerResultV1, type VpgSettledV1 } from './messages.js';
import type { DatastoreNewsV1, DiskNewsV1, HostNewsV1, InventoryNewsV1, NicNewsV1, SiteInventoryV1, VmNewsV1 } from './site-inventory.js';
import { type SettledVmV1, VPG_VMS_MAX } from './vpg-record.js';

/** Far above any site that one manager runs; together they stay far below what a message may hold. */
const HOSTS_MAX = 5000;
const VMS_MAX = 50_000;
const PLACES_MAX = 10_000;
/** VMs that nobody protects may have more than ours can. */
const PARTS_MAX = 256;

const id = text(200);
const name = text(300);
const path = text(4096);
const ids = list(id, PLACES_MAX);
const bytes = wholeFrom(0);

const host = shaped<HostNewsV1>({ id, name, address: text(255), isConnected: flag, datastoreIds: ids, networkIds: ids, nbdSocketPath: path });
const datastore = shaped<DatastoreNewsV1>({ id, name, path, capacityBytes: bytes, freeBytes: bytes });
const named = shaped<InventoryNewsV1['networks'][number]>({ id, name });
const disk = shaped<DiskNewsV1>({ id, sizeBytes: bytes, datastoreId: id, location: path, exportName: name, isFile: flag });
const nic = shaped<NicNewsV1>({ id, networkId: id, mac: text(64) });
const vm = shaped<VmNewsV1>({
  id, name, hostId: id, folderId: id, powerState: oneOf('poweredOn', 'poweredOff'), cpuCount: count, memoryMiB: count, guestOs: text(200), disks: list(disk, PARTS_MAX), nics: list(nic, PARTS_MAX),
});
const inventory = shaped<InventoryNewsV1>({
  revision: whole, hosts: list(host, HOSTS_MAX), datastores: list(datastore, PLACES_MAX), networks: list(named, PLACES_MAX), folders: list(named, PLACES_MAX), vms: list(vm, VMS_MAX),
});
const vra = shaped<PeerVraV1>({ vraId: text(64), name, hostId: id, address: text(255), controlPort: count, dataPort: count, isAlive: flag });
const SITE_INVENTORY: Answer<SiteInventoryV1> = answerOf(shaped<SiteInventoryV1>({ inventory, vras: list(vra, HOSTS_MAX) }));

const CATALOGUE_REVISION: Answer<CatalogueRevisionV1> = answerOf(shaped<CatalogueRevisionV1>({ revision: count }));
const VM_POWER_RESULT: Answer<VmPowerResultV1> = answerOf(shaped<VmPowerResultV1>({ changedVmIds: list(id, VPG_VMS_MAX) }));
const VPG_SETTLED: Answer<VpgSettledV1> = answerOf(shaped<VpgSettledV1>({ vms: list(shaped<SettledVmV1>({ vmId: id, fingerprints }), VPG_VMS_MAX) }));

/** What a site may answer to each question of a paired one; on no other topic it is asked. */
export const PEER_ANSWERS = {
  'pairing.redeem': { type: PairingGrantV1 },
  'pairing.confirm': DONE,
  'pairing.seal': DONE,
  'peer.unpair': DONE,
  'trust.renew': { type: PeerTrustV1 },
  'inventory.get': SITE_INVENTORY,
  'vpg.put': DONE,
  'vpg.act': DONE,
  'vpg.takeReverse': DONE,
  'vpg.settle': VPG_SETTLED,
  'vpg.forceSync': DONE,
  'checkpoint.insert': CHECKPOINT_INSERTED,
  'catalogue.put': CATALOGUE_REVISION,
  'vm.power': VM_POWER_RESULT,
} satisfies Record<string, Answer<object>>;

export type PeerTopic = keyof typeof PEER_ANSWERS;

/** What is answered on that topic. */
export type PeerAnswer<Topic extends PeerTopic> = Answered<(typeof PEER_ANSWERS)[Topic]>;
