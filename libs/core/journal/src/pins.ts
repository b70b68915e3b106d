/** Who needs which checkpoint: nothing below it is retired. */
export interface Pin {
  /** Somebody reads by an index made when it was pinned: no segment is freed. */
  readonly isReading: boolean;
  /** undefined: not a checkpoint, but the head as it was when it was pinned. */
  readonly checkpointId: number | undefined;
  readonly markerSeq: number;
}

export const pinName = ({ checkpointId, markerSeq }: Pin): string =>
  checkpointId === undefined ? `the image at stream position ${markerSeq - 1}` : `checkpoint ${checkpointId}`;

export class Pins {
  readonly #pins = new Map<string, Pin>();

  get hasReader(): boolean {
    return [...this.#pins.values()].some(({ isReading }) => isReading);
  }

  add(key: string, pin: Pin): void {
    this.#pins.set(key, pin);
  }

  remove(key: string): void {
    this.#pins.delete(key);
  }

  /** The pin of the oldest checkpoint. */
  lowest(): Pin | undefined {
    let lowest: Pin | undefined;
    for (const pin of this.#pins.values()) if (lowest === undefined || pin.markerSeq < lowest.markerSeq) lowest = pin;
    return lowest;
  }

  isPinned(checkpointId: number): boolean {
    return [...this.#pins.values()].some((pin) => pin.checkpointId === checkpointId);
  }

  /** Somebody reads another image than that of this checkpoint. One that is only kept goes with the history. */
  otherReader(checkpointId: number): Pin | undefined {
    return [...this.#pins.values()].find((pin) => pin.isReading && pin.checkpointId !== checkpointId);
  }
}
