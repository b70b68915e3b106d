import { SECTOR_BYTES } from '@tidemark/base';
import { decodeJournalRecord, decodeSegmentHeader, isFrameKind, JOURNAL_RECORD_HEADER_BYTES, recordBytes, SEGMENT_HEADER_BYTES } from '@tidemark/journal';
import { crc32c } from '@tidemark/link';
import type { Site } from './checkers.js';
import type { SimFile } from './disk.js';
import { Random } from './random.js';
import type { World } from './world.js';

/** Faults of the medium below the files, on either side. They are chosen, and happen, by a row of numbers of their own: the other choices of a seed stay. */
export const DISK_FAULTS = ['unreadableSector', 'misdirectedWrite'] as const;
export type DiskFault = (typeof DISK_FAULTS)[number];

const CHANCE: Record<DiskFault, number> = { unreadableSector: 0.2, misdirectedWrite: 0.1 };
const MEAN_MS = [150, 400, 1200] as const;
/** Sometimes a sector can be read again by itself: cables, and firmware that tries harder. */
const RECOVERS_CHANCE = 0.4;
const RECOVERS_MS_MAX = 1500;
const SECTORS_MAX = 4;
const PAGE_BYTES = 4096;

export function diskFaultsOf(seed: number): [DiskFault, number][] {
  const random = new Random(seed ^ 0xd15c);
  return DISK_FAULTS.flatMap((fault) => {
    const [isChosen, meanMs] = [random.chance(CHANCE[fault]), random.pick(MEAN_MS)];
    return isChosen ? [[fault, meanMs] as [DiskFault, number]] : [];
  });
}

interface Misdirected {
  readonly from: number;
  readonly to: number;
  readonly bytes: number;
}

/** Those with a later one of the same journal, and with records behind the state: damage at the very end of a journal is like an append that a crash tore. */
function vouchedFor(segments: readonly (readonly [string, SimFile])[]): (readonly [string, SimFile])[] {
  const filled = segments.filter(([, { sizeBytes }]) => sizeBytes > PAGE_BYTES);
  return filled.filter(([path]) => filled.some(([later]) => keyOfPath(later) === keyOfPath(path) && later > path));
}

function recordsOf(file: SimFile): { readonly at: number; readonly bytes: number }[] {
  const header = decodeSegmentHeader(file.read(0, SEGMENT_HEADER_BYTES).slice(), crc32c);
  const records: { at: number; bytes: number }[] = [];
  for (let at = SEGMENT_HEADER_BYTES; header !== undefined && at + JOURNAL_RECORD_HEADER_BYTES <= file.sizeBytes;) {
    const record = decodeJournalRecord(file.read(at, at + JOURNAL_RECORD_HEADER_BYTES), header.salt, crc32c);
    if (record === undefined) break;
    if (isFrameKind(record.kind)) records.push({ at, bytes: recordBytes(record.bodyBytes) });
    at += recordBytes(record.bodyBytes);
  }
  return records;
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
    for (let sector = this.#random.int(SECTORS_MAX); sector >= 0; sector -= 1) file.becomesUnreadable(Math.min(file.sizeBytes - 1, from + SECTOR_BYTES * sector));
    at?.host.unreadable.add(at.key);
    this.#afflicted.add(file);
    if (this.#random.chance(RECOVERS_CHANCE)) this.world.after(this.#random.below(RECOVERS_MS_MAX), () => file.becomesReadable());
  }

  /** A write of a journal went to another place of its file. True: of a segment, so that acknowledged data may be lost, loudly. */
  misdirectedWrite(): boolean {
    const host = this.#random.pick(this.site.recovering);
    const files = [...host.disk.files].filter(([, file]) => file.isDurable);
    const segments = vouchedFor(files.filter(([path]) => path.endsWith('.segment') && path.includes('/journal/')));
    const indexes = files.filter(([path, { sizeBytes }]) => path.endsWith('.index') && sizeBytes > 2 * PAGE_BYTES);
    const isSegment = this.#random.chance(0.7);
    const chosen = isSegment ? segments : indexes;
    if (chosen.length === 0) return false;
    const [path, file] = this.#random.pick(chosen);
    const wrong = isSegment && this.#random.chance(0.6) ? this.#record(file) : this.#sectors(file, isSegment ? SECTOR_BYTES : PAGE_BYTES);
    if (wrong === undefined) return false;
    file.misdirect(wrong, this.#random.chance(0.4));
    if (!isSegment) return false;
    this.world.isMediumRotted = true;
    host.rotted.add(keyOfPath(path));
    return true;
  }

  #sectors(file: SimFile, unit: number): Misdirected | undefined {
    const bytes = unit * (1 + this.#random.int(SECTORS_MAX));
    const places = Math.floor((file.sizeBytes - bytes) / unit);
    if (places < 1) return undefined;
    const [from, to] = [this.#random.int(places + 1) * unit, this.#random.int(places + 1) * unit];
    return from === to ? undefined : { from, to, bytes };
  }

  /** The worst of them: a whole record in the place of an older one of its length, with all its checksums. */
  #record(file: SimFile): Misdirected | undefined {
    const records = recordsOf(file);
    const pairs = records.flatMap((older, i) => records.slice(i + 1).filter(({ bytes }) => bytes === older.bytes).map((newer) => ({ from: newer.at, to: older.at, bytes: newer.bytes })));
    return pairs.length === 0 ? undefined : this.#random.pick(pairs);
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
