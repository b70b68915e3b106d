type Bytes = Uint8Array | Uint32Array;

/** What views have read last, of all journals of a process: however many are open, no more than `bytesMax`. Whoever has not read for the longest gives way. */
export class ReadCache {
  /** By key of all shares, least recently used first. */
  readonly #owners = new Map<string, CacheShare<Bytes>>();
  #bytes = 0;
  #lastShare = 0;

  constructor(readonly bytesMax: number) {}

  get bytes(): number {
    return this.#bytes;
  }

  /** For one user, who keeps at most `bytesMax` of it. */
  share<V extends Bytes>(bytesMax: number): CacheShare<V> {
    this.#lastShare += 1;
    return new CacheShare<V>(`${String(this.#lastShare)}:`, {
      bytesMax: Math.min(bytesMax, this.bytesMax),
      used: (key, owner) => {
        this.#owners.delete(key);
        this.#owners.set(key, owner);
      },
      dropped: (key) => void this.#owners.delete(key),
      resized: (bytes) => this.#resized(bytes),
      roomBytes: () => this.bytesMax - this.#bytes,
    });
  }

  #resized(bytes: number): void {
    this.#bytes += bytes;
    for (const [key, owner] of this.#owners) {
      if (this.#bytes <= this.bytesMax) return;
      owner.drop(key);
    }
  }
}

interface Whole {
  readonly bytesMax: number;
  used(key: string, owner: CacheShare<Bytes>): void;
  dropped(key: string): void;
  resized(bytes: number): void;
  roomBytes(): number;
}

export class CacheShare<V extends Bytes> {
  /** Least recently used first. */
  readonly #values = new Map<string, V>();
  #bytes = 0;

  constructor(
    private readonly prefix: string,
    private readonly whole: Whole,
  ) {}

  get bytes(): number {
    return this.#bytes;
  }

  get(name: string): V | undefined {
    const key = this.prefix + name;
    const value = this.#values.get(key);
    if (value !== undefined) this.#use(key, value);
    return value;
  }

  put(name: string, value: V): void {
    const key = this.prefix + name;
    this.drop(key);
    this.#use(key, value);
    this.#resize(value.byteLength);
    for (const [oldKey] of this.#values) {
      if (this.#bytes <= this.whole.bytesMax) return;
      this.drop(oldKey);
    }
  }

  #use(key: string, value: V): void {
    this.#values.delete(key);
    this.#values.set(key, value);
    this.whole.used(key, this as unknown as CacheShare<Bytes>);
  }

  /** By its whole key. */
  drop(key: string): void {
    const value = this.#values.get(key);
    if (value === undefined) return;
    this.#values.delete(key);
    this.whole.dropped(key);
    this.#resize(-value.byteLength);
  }

  /** Counts what is about to be read as held, until {@link release}. False: there is no room for it that nobody uses. */
  reserve(bytes: number): boolean {
    if (this.#bytes + bytes > this.whole.bytesMax || bytes > this.whole.roomBytes()) return false;
    this.#resize(bytes);
    return true;
  }

  release(bytes: number): void {
    this.#resize(-bytes);
  }

  #resize(bytes: number): void {
    this.#bytes += bytes;
    this.whole.resized(bytes);
  }

  clear(): void {
    for (const key of [...this.#values.keys()]) this.drop(key);
  }
}
