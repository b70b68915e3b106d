import { decodeMarker, decodeSeal, decodeSyncStart, RecordType, type StreamRecord } from '@tidemark/frame';

/** An image of all volumes of a protection. */
export type Image = Uint8Array[];

export const blankImage = (sizesBytes: readonly number[]): Image => sizesBytes.map((size) => new Uint8Array(size));
export const copyImage = (image: Image): Image => image.map((bytes) => bytes.slice());
export const isSameImage = (a: Image, b: Image): boolean => a.every((bytes, i) => isSame(bytes, b[i] ?? new Uint8Array()));

function isSame(a: Uint8Array, b: Uint8Array): boolean {
  for (let at = 0; at < a.length; at += 1) if (a[at] !== b[at]) return false;
  return a.length === b.length;
}

export interface AppendedRecord {
  readonly seq: number;
  readonly incarnation: number;
  readonly record: StreamRecord;
}

/**
 * The recovery side as the design describes it and as simple as it can be: records that are pending or durable, one image after all
 * durable records, the image at each marker. Stands in for journal and mirror.
 */
export class ModelJournal {
  image: Image;
  durableSeq = 0;
  incarnation = 0;
  sessionId: string | null = null;
  isBaseComplete = false;
  isInSync = true;
  pending: AppendedRecord[] = [];
  /** Image at each marker outside a sync, by checkpoint. */
  readonly atMarker = new Map<number, Image>();
  readonly listed: number[] = [];
  /** Of the newest marker: where its seal must lie. */
  #marker: { checkpointId: number; incarnation: number } | undefined;
  readonly problems: string[] = [];
  syncStarts: string[] = [];

  constructor(sizesBytes: readonly number[]) {
    this.image = blankImage(sizesBytes);
  }

  append(incarnation: number, firstSeq: number, records: readonly StreamRecord[]): void {
    records.forEach((record, index) => this.pending.push({ seq: firstSeq + index, incarnation, record }));
  }

  /** Makes the oldest `count` pending records durable. */
  commit(count: number): void {
    for (const appended of this.pending.splice(0, count)) this.#apply(appended);
  }

  #apply({ seq, incarnation, record }: AppendedRecord): void {
    if (seq <= this.durableSeq) this.problems.push(`seq ${seq} twice`);
    this.durableSeq = seq;
    switch (record.type) {
      case RecordType.write:
      case RecordType.syncWrite:
        this.image[record.volume]?.set(record.payload ?? new Uint8Array(), record.offset);
        return;
      case RecordType.zeroes:
      case RecordType.syncZeroes:
        this.image[record.volume]?.fill(0, record.offset, record.offset + record.length);
        return;
      case RecordType.syncStart:
        this.isInSync = true;
        this.syncStarts.push(decodeSyncStart(record.payload ?? new Uint8Array()).kind);
        return;
      case RecordType.syncEnd:
        this.isInSync = false;
        this.isBaseComplete = true;
        return;
      case RecordType.marker:
        if (this.isInSync) this.problems.push('marker inside a sync');
        this.#marker = { checkpointId: decodeMarker(record.payload ?? new Uint8Array()).checkpointId, incarnation };
        this.atMarker.set(this.#marker.checkpointId, copyImage(this.image));
        return;
      case RecordType.seal:
        this.#seal(decodeSeal(record.payload ?? new Uint8Array()).checkpointId, incarnation);
    }
  }

  #seal(checkpointId: number, incarnation: number): void {
    const isListed = !this.isInSync && this.#marker?.checkpointId === checkpointId && this.#marker.incarnation === incarnation;
    if (isListed) this.listed.push(checkpointId);
  }
}
