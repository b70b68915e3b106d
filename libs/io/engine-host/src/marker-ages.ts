import { agedMarker, decodeMarker, RecordType, type StreamRecord } from '@tidemark/frame';

/** Markers in a queue are remembered up to this many: at one a second more than an hour. Older ones look as old as the oldest remembered. */
const PLACED_MAX = 4096;

/**
 * The time that markers spend in the sender's queue. It is added to their age when they are sent: the recovery side counts the age of a
 * checkpoint from its arrival, and a stream that lags by minutes must not look fresh.
 */
export class MarkerAges {
  /** Checkpoint id to the time of placing, oldest first. */
  readonly #placedAtMs = new Map<number, number>();

  placed(checkpointId: number, nowMs: number): void {
    this.#placedAtMs.set(checkpointId, nowMs);
    if (this.#placedAtMs.size <= PLACED_MAX) return;
    const [oldest] = this.#placedAtMs.keys();
    if (oldest !== undefined) this.#placedAtMs.delete(oldest);
  }

  /** The records with their markers as old as they are now, plus half the round trip; every record keeps its length. */
  aged(records: readonly StreamRecord[], { nowMs, roundTripMs }: { readonly nowMs: number; readonly roundTripMs: number }): readonly StreamRecord[] {
    if (!records.some(({ type }) => type === RecordType.marker)) return records;
    return records.map((record) => {
      if (record.type !== RecordType.marker || record.payload === undefined) return record;
      return { ...record, payload: agedMarker(record.payload, this.#elapsedMs(record.payload, nowMs) + roundTripMs / 2) };
    });
  }

  #elapsedMs(payload: Uint8Array, nowMs: number): number {
    const [oldestMs = nowMs] = this.#placedAtMs.values();
    return nowMs - (this.#placedAtMs.get(decodeMarker(payload).checkpointId) ?? oldestMs);
  }
}
