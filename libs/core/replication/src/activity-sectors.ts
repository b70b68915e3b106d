import { assert, getU64, isSafeU64, MiB, setU64, viewOf, type Crc32c } from '@tidemark/base';

/** What one bit of the activity log stands for. A crash costs a comparison of whole extents; smaller ones would mean more waits for marks. */
export const ACTIVITY_EXTENT_BYTES = 1 * MiB;
/** The unit that a disk writes whole or not at all. */
export const SECTOR_BYTES = 512;
const AT = { crc: 0, magic: 4, version: 8, volume: 10, sector: 12, logId: 16, clearedSeq: 24, bits: 32 } as const;
const MAGIC = 0x4c41_4454; // 'TDAL'
const VERSION = 1;
/** 32-bit words of marks in one sector. */
export const SECTOR_WORDS = (SECTOR_BYTES - AT.bits) / 4;
/** Extents of one sector: 3.75 GiB of a volume. */
export const SECTOR_EXTENTS = SECTOR_WORDS * 32;
export const LOG_ID_BYTES = 8;

export interface ActivitySector {
  readonly volume: number;
  /** Counted in the volume. */
  readonly sector: number;
  readonly clearedSeq: number;
  readonly words: Uint32Array;
}

/** Sectors that the marks of a volume take. */
export const sectorsOf = (sizeBytes: number): number => Math.max(1, Math.ceil(sizeBytes / (ACTIVITY_EXTENT_BYTES * SECTOR_EXTENTS)));

export function encodeSector(sector: ActivitySector, logId: Uint8Array, crc32c: Crc32c): Uint8Array {
  assert(sector.words.length === SECTOR_WORDS && logId.length === LOG_ID_BYTES, 'a whole sector');
  const bytes = new Uint8Array(SECTOR_BYTES);
  const view = viewOf(bytes);
  view.setUint32(AT.magic, MAGIC, true);
  view.setUint16(AT.version, VERSION, true);
  view.setUint16(AT.volume, sector.volume, true);
  view.setUint32(AT.sector, sector.sector, true);
  bytes.set(logId, AT.logId);
  setU64(view, AT.clearedSeq, sector.clearedSeq);
  for (const [index, word] of sector.words.entries()) view.setUint32(AT.bits + 4 * index, word, true);
  view.setUint32(AT.crc, crc32c(bytes.subarray(AT.magic)), true);
  return bytes;
}

/** Undefined for anything but a sector of this log at this place. */
export function decodeSector(bytes: Uint8Array, expected: { readonly volume: number; readonly sector: number; readonly logId: Uint8Array }, crc32c: Crc32c): ActivitySector | undefined {
  const view = viewOf(bytes);
  if (bytes.length !== SECTOR_BYTES || view.getUint32(AT.crc, true) !== crc32c(bytes.subarray(AT.magic))) return undefined;
  const isOurs = view.getUint32(AT.magic, true) === MAGIC && view.getUint16(AT.version, true) === VERSION && expected.logId.every((byte, i) => bytes[AT.logId + i] === byte);
  const isHere = view.getUint16(AT.volume, true) === expected.volume && view.getUint32(AT.sector, true) === expected.sector;
  if (!isOurs || !isHere || !isSafeU64(view, AT.clearedSeq)) return undefined;
  const words = Uint32Array.from({ length: SECTOR_WORDS }, (_, i) => view.getUint32(AT.bits + 4 * i, true));
  return { volume: expected.volume, sector: expected.sector, clearedSeq: getU64(view, AT.clearedSeq), words };
}
