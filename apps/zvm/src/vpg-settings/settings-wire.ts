import type { VpgSettingsApi } from '@tidemark/contracts';
import { defaultVmSettings, type VmSettings, type VpgSettings } from '@tidemark/vpg';

/**
 * Settings on the wire are the domain's, key by key, with a capital first letter. On the way in a key may be absent (the draft
 * keeps its value) or null (a value is cleared; a whole section falls back to its defaults), so that every GET can be PUT back.
 */


function rename(value: unknown, keyOf: (key: string) => string): unknown {
  if (Array.isArray(value)) return value.map((item) => rename(item, keyOf));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [keyOf(key), rename(inner, keyOf)]));
}

export const toWire = <T>(value: unknown): T => rename(value, (key) => key.charAt(0).toUpperCase() + key.slice(1)) as T;
export const fromWire = (value: unknown): Record<string, unknown> =>
  rename(value, (key) => key.charAt(0).toLowerCase() + key.slice(1)) as Record<string, unknown>;

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value);

/** `given` laid over `current`; a null section becomes that of `defaults`. Lists are taken whole. */
export function mergeSection<T>(current: T, given: unknown, defaults: T): T {
  if (given === undefined) return current;
  if (given === null) return isObject(defaults) || Array.isArray(defaults) ? defaults : (null as T);
  if (!isObject(given) || (!isObject(current) && !isObject(defaults))) return given as T;
  const base: Record<string, unknown> = isObject(current) ? current : (defaults as Record<string, unknown>);
  const shape = isObject(defaults) ? defaults : base;
  const merged = Object.fromEntries(Object.keys({ ...shape, ...base }).map((key) => [key, mergeSection(base[key], given[key], shape[key])]));
  return merged as T;
}

/** A VM's settings from the wire: every volume and NIC that the VM has appears, whether it was named or not. */
export function mergeVm(given: Record<string, unknown>, template: VmSettings, current: VmSettings = template): VmSettings {
  const { volumes, nics, ...rest } = given;
  const merged = mergeSection<VmSettings>(current, rest, template);
  return {
    ...merged,
    vmIdentifier: template.vmIdentifier,
    volumes: mergeEntries(volumes, { key: 'volumeIdentifier', current: current.volumes ?? [], template: template.volumes ?? [] }),
    nics: mergeEntries(nics, { key: 'nicIdentifier', current: current.nics ?? [], template: template.nics ?? [] }),
  };
}

/** Entries that the VM does not have are kept as given: the commit names them as faults. */
function mergeEntries<T extends object>(given: unknown, { key, current, template }: { readonly key: keyof T & string; readonly current: readonly T[]; readonly template: readonly T[] }): T[] {
  if (!Array.isArray(given)) return [...(given === null ? template : current)];
  const wanted = given.filter(isObject);
  const idOf = (entry: object): unknown => (entry as Record<string, unknown>)[key];
  const known = template.map((entry) => {
    const named = wanted.find((candidate) => idOf(candidate) === idOf(entry));
    return mergeSection<T>(current.find((candidate) => idOf(candidate) === idOf(entry)) ?? entry, named, entry);
  });
  const unknown = wanted.filter((entry) => !template.some((candidate) => idOf(candidate) === idOf(entry))) as T[];
  return [...known, ...unknown];
}

/** A VM that the protected site does not show (yet): only what was given. */
export const bareVm = (vmId: string): VmSettings => defaultVmSettings({ vmId, diskIds: [], nicIds: [] });

export const settingsView = (settings: VpgSettings): VpgSettingsApi => toWire<VpgSettingsApi>(settings);

