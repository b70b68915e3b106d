import type { ApiClient } from '@tidemark/api-client';
import type { CheckpointApi, LocalSiteApi, VirtualizationSiteApi, VpgApi } from '@tidemark/contracts';
import { missing } from './cli-error.js';

interface Known<Item> {
  readonly items: readonly Item[];
  readonly idOf: (item: Item) => string;
  readonly nameOf: (item: Item) => string;
  /** `VM`, for messages. */
  readonly what: string;
}

/** The one item with this id or, in any letter case, this name. Throws CLI_NOT_FOUND, also when the name is not unique. */
export function findOne<Item>(wanted: string, { items, idOf, nameOf, what }: Known<Item>): Item {
  const byId = items.find((item) => idOf(item) === wanted);
  if (byId !== undefined) return byId;
  const [first, ...more] = items.filter((item) => nameOf(item).toLowerCase() === wanted.toLowerCase());
  if (first !== undefined && more.length === 0) return first;
  if (first !== undefined) throw missing(`there are ${more.length + 1} ${what}s named '${wanted}': give the identifier, one of ${[first, ...more].map(idOf).join(', ')}`);
  const names = items.map(nameOf).sort();
  const known = names.length === 0 ? `there are no ${what}s` : `there are: ${names.slice(0, 20).join(', ')}${names.length > 20 ? ', …' : ''}`;
  throw missing(`no ${what} '${wanted}'; ${known}`);
}

export async function findVpg(client: ApiClient, wanted: string): Promise<VpgApi> {
  return findOne(wanted, { items: await client.get<VpgApi[]>('/vpgs'), idOf: (vpg) => vpg.VpgIdentifier, nameOf: (vpg) => vpg.VpgName, what: 'VPG' });
}

export interface KnownSites {
  readonly local: LocalSiteApi;
  readonly all: readonly VirtualizationSiteApi[];
}

export async function knownSites(client: ApiClient): Promise<KnownSites> {
  const [local, all] = [await client.get<LocalSiteApi>('/localsite'), await client.get<VirtualizationSiteApi[]>('/virtualizationsites')];
  return { local, all };
}

export const findSite = (wanted: string, { all }: KnownSites): VirtualizationSiteApi =>
  findOne(wanted, { items: all, idOf: (site) => site.SiteIdentifier, nameOf: (site) => site.VirtualizationSiteName, what: 'site' });

/**
 * `latest`, an identifier, a time (the newest checkpoint at or before it) or a tag (the newest that carries it). Chosen here and now: a
 * checkpoint that appears a moment later is not taken.
 */
export async function findCheckpoint(client: ApiClient, vpg: VpgApi, wanted: string): Promise<CheckpointApi> {
  const checkpoints = inOrder(await client.get<CheckpointApi[]>(`/vpgs/${vpg.VpgIdentifier}/checkpoints`));
  const newest = checkpoints.at(-1);
  if (newest === undefined) throw missing(`VPG '${vpg.VpgName}' has no checkpoint`);
  if (wanted.toLowerCase() === 'latest') return newest;
  const found = /^\d+$/.test(wanted) ? checkpoints.find((one) => one.CheckpointIdentifier === wanted) : byTimeOrTag(checkpoints, wanted);
  if (found !== undefined) return found;
  const first = checkpoints[0] ?? newest;
  throw missing(`VPG '${vpg.VpgName}' has no checkpoint '${wanted}'; it has ${checkpoints.length}, from ${first.CheckpointIdentifier} (${first.TimeStamp}) to ${newest.CheckpointIdentifier} (${newest.TimeStamp})`);
}

/** Identifiers grow; as text they do not sort. */
export const inOrder = (checkpoints: readonly CheckpointApi[]): CheckpointApi[] =>
  [...checkpoints].sort((a, b) => Number(a.CheckpointIdentifier) - Number(b.CheckpointIdentifier));

function byTimeOrTag(checkpoints: readonly CheckpointApi[], wanted: string): CheckpointApi | undefined {
  const tagged = checkpoints.findLast((one) => (one.Tag ?? '').toLowerCase() === wanted.toLowerCase());
  if (tagged !== undefined) return tagged;
  const atMs = /^\d{4}-\d{2}-\d{2}/.test(wanted) ? Date.parse(wanted) : Number.NaN;
  return Number.isNaN(atMs) ? undefined : checkpoints.findLast((one) => Date.parse(one.TimeStamp) <= atMs);
}
