import type { Site } from './checkers.js';
import type { SimFile } from './disk.js';
import { Random } from './random.js';
import type { World } from './world.js';

/** Faults of the medium below the files, on either side. They are chosen, and happen, by a row of numbers of their own: the other choices of a seed stay. */
export const DISK_FAULTS = ['unreadableSector'] as const;
export type DiskFault = (typeof DISK_FAULTS)[number];

const CHANCE: Record<DiskFault, number> = { unreadableSector: 0.2 };
const MEAN_MS = [150, 400, 1200] as const;
/** Sometimes a sector can be read again by itself: cables, and firmware that tries harder. */
const RECOVERS_CHANCE = 0.4;
const RECOVERS_MS_MAX = 1500;
const SECTORS_MAX = 4;

export function diskFaultsOf(seed: number): [DiskFault, number][] {
  const random = new Random(seed ^ 0xd15c);
  return DISK_FAULTS.flatMap((fault) => {
    const [isChosen, meanMs] = [random.chance(CHANCE[fault]), random.pick(MEAN_MS)];
    return isChosen ? [[fault, meanMs] as [DiskFault, number]] : [];
  });
}

interface Place {
  readonly file: SimFile;
  /** Whose journal, views and mirrors it belongs to; undefined: a protected disk. */
  readonly at?: { readonly host: Site['recovering'][number]; readonly key: string };
}

/** By what it is for: there are many more segments than disks. */
const KINDS = ['mirror', 'segment', 'index', 'scratch', 'protected'] as const;

function kindOf(path: string): (typeof KINDS)[number] {
  if (path.includes('/mirror/')) return 'mirror';
  if (path.endsWith('.segment')) return 'segment';
  return path.endsWith('.index') ? 'index' : 'scratch';
}

const keyOfPath = (path: string): string => path.split('/').slice(0, 2).join('/');

export class DiskFaults {
  readonly #random: Random;
  readonly #afflicted = new Set<SimFile>();

  constructor(private readonly world: World, private readonly site: Site) {
    this.#random = new Random(world.seed ^ 0xbad5ec7);
  }

  /** A few sectors of a file give an error to whoever reads them, until they are written anew. */
  unreadableSector(): void {
    const place = this.#pick();
    if (place === undefined || place.file.sizeBytes === 0) return;
    const { file, at } = place;
    const from = this.#random.int(file.sizeBytes);
    for (let sector = this.#random.int(SECTORS_MAX); sector >= 0; sector -= 1) file.becomesUnreadable(Math.min(file.sizeBytes - 1, from + 512 * sector));
    at?.host.unreadable.add(at.key);
    this.#afflicted.add(file);
    if (this.#random.chance(RECOVERS_CHANCE)) this.world.after(this.#random.below(RECOVERS_MS_MAX), () => file.becomesReadable());
  }

  /** What the sectors held is given back. */
  makeWhole(): void {
    for (const file of this.#afflicted) file.becomesReadable();
    for (const host of this.site.recovering) host.unreadable.clear();
  }

  #pick(): Place | undefined {
    const kind = this.#random.pick(KINDS);
    const places: Place[] = kind === 'protected'
      ? [...this.site.vms.values()].flatMap(({ disks }) => disks.map((file) => ({ file })))
      : this.site.recovering.flatMap((host) => [...host.disk.files].filter(([path]) => kindOf(path) === kind).map(([path, file]) => ({ file, at: { host, key: keyOfPath(path) } })));
    return places.length === 0 ? undefined : this.#random.pick(places);
  }
}
