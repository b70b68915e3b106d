import type { Datastore, Inventory } from '@tidemark/hypervisor';
import { normalize } from 'node:path/posix';
import { invalid } from '../errors.js';
import type { VpgDefinition } from '../vpg/vpg-model.js';

/** Which files of this site's datastores a VPG may begin with: its mirrors are written over, and may be deleted with it. */
export interface PreseedRules {
  /** A paired site asks: it has a folder of its own in each datastore, and nothing else. */
  readonly askedBySiteId: string | undefined;
  /** Of this VPG already. */
  readonly ownPaths: ReadonlySet<string>;
  /** Of other VPGs, by path; the name. */
  readonly takenPaths: ReadonlyMap<string, string>;
}

export function preseedRules(definitions: readonly VpgDefinition[], { vpgId, recoverySiteId, askedBySiteId }: { readonly vpgId: string; readonly recoverySiteId: string; readonly askedBySiteId: string | undefined }): PreseedRules {
  const here = definitions.filter((definition) => definition.recoverySiteId === recoverySiteId);
  const pathsOf = ({ vms }: VpgDefinition): string[] => vms.flatMap(({ disks }) => disks.map(({ mirrorPath }) => mirrorPath));
  return {
    askedBySiteId,
    ownPaths: new Set(here.filter((definition) => definition.vpgId === vpgId).flatMap(pathsOf)),
    takenPaths: new Map(here.filter((definition) => definition.vpgId !== vpgId).flatMap((definition) => pathsOf(definition).map((path) => [path, definition.name] as const))),
  };
}

/** Where a paired site's disks are put for it. */
export const seedFolder = ({ path }: Pick<Datastore, 'path'>, siteId: string): string => `${path}/seed/${siteId}/`;

/** Of a VPG that was deleted with its volumes kept: all else below `tidemark/`, journals above all, is the VRAs' own. */
const KEPT_MIRROR = /^tidemark\/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\/[\w-]+\/[\w-]+\.raw$/;

/** Below its datastore, and nobody's. @throws ZvmError ZVM_INVALID, to a paired site without a word about what else is there */
export function preseedPath(path: string, datastore: Datastore, { inventory, rules }: { readonly inventory: Inventory; readonly rules: PreseedRules }): string {
  const whole = path.startsWith('/') ? path : `${datastore.path}/${path}`;
  // `..` and the like would lead out of the datastore, or make another name for a VM's disk.
  if (normalize(whole) !== whole || !whole.startsWith(`${datastore.path}/`)) throw invalid(`preseeded volume ${path} is not on datastore ${datastore.name}`);
  if (rules.ownPaths.has(whole)) return whole;
  const { askedBySiteId } = rules;
  if (askedBySiteId !== undefined && !whole.startsWith(seedFolder(datastore, askedBySiteId))) {
    throw invalid(`preseeded volume ${path} is not below seed/${askedBySiteId}/ of datastore ${datastore.name}: volumes for VPGs that another site asks for are put there; any other one is named at the recovery site itself`);
  }
  const owner = inventory.vms.find((vm) => vm.disks.some((disk) => disk.location === whole));
  // A VM that is off does not lock its own.
  if (owner) throw invalid(`preseeded volume ${path} is attached to VM '${owner.name}'`);
  const vpgName = rules.takenPaths.get(whole);
  if (vpgName !== undefined) throw invalid(`preseeded volume ${path} is a recovery volume of VPG '${vpgName}'`);
  const inside = whole.slice(datastore.path.length + 1);
  if (inside.startsWith('tidemark/') && !KEPT_MIRROR.test(inside)) throw invalid(`preseeded volume ${path} lies among the files of VRAs: only a recovery volume that was kept when its VPG was deleted may be named there`);
  return whole;
}
