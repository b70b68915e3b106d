import type { NbdExport, NbdExports } from '@tidemark/nbd';
import type { Volume } from '@tidemark/volume';
import { NbdServerError } from './nbd-server-error.js';
import { VolumeSlot } from './volume-slot.js';

export interface ExportOptions {
  readonly name: string;
  readonly volume: Volume;
  /** Shown to clients that list exports. Empty if not given. */
  readonly description?: string;
  /** True refuses writes even where the volume would take them. The volume's own answer if not given. */
  readonly isReadOnly?: boolean;
}

export interface ExportStatus extends NbdExport {
  readonly connectionCount: number;
  /** Requests on the volume that the export has now. */
  readonly inFlight: number;
}

/** What the table asks of a connection. */
export interface ExportConnection {
  /** Takes no more requests, answers those in flight, closes. Resolves when it is closed. */
  drain(): Promise<void>;
}

/** One export as its connections see it: its volume may change between two requests. */
export class ExportEntry implements NbdExport {
  readonly name: string;
  readonly description: string;
  readonly sizeBytes: number;
  readonly isReadOnly: boolean;
  readonly connections = new Set<ExportConnection>();
  slot: VolumeSlot;

  constructor(options: ExportOptions) {
    this.name = options.name;
    this.description = options.description ?? '';
    this.sizeBytes = options.volume.sizeBytes;
    this.isReadOnly = options.isReadOnly === true || options.volume.isReadOnly;
    this.slot = new VolumeSlot(options.volume);
  }
}

/** The exports of one or several servers. Volumes are the caller's: the table never closes one. */
export class ExportTable implements NbdExports {
  readonly #entries = new Map<string, ExportEntry>();

  /** Throws `NBD_EXPORT_EXISTS`. */
  add(options: ExportOptions): void {
    if (this.#entries.has(options.name)) throw new NbdServerError('NBD_EXPORT_EXISTS', `export ${options.name} exists`);
    this.#entries.set(options.name, new ExportEntry(options));
  }

  /**
   * No new client gets it from now on; requests in flight are answered, then its connections are closed. Resolves when its volume
   * is idle and may be closed. Throws `NBD_EXPORT_UNKNOWN`.
   */
  async remove(name: string): Promise<void> {
    const entry = this.#entryOf(name);
    this.#entries.delete(name);
    await Promise.all([...entry.connections].map((connection) => connection.drain()));
    await entry.slot.idle();
  }

  /**
   * Requests that arrive from now on go to `volume`, those in flight end on the old one, connections stay. Resolves when the old
   * volume is idle and may be closed. Throws `NBD_EXPORT_UNKNOWN`, and `NBD_EXPORT_MISMATCH` (then nothing has changed).
   */
  async replaceVolume(name: string, volume: Volume): Promise<void> {
    const entry = this.#entryOf(name);
    if (volume.sizeBytes !== entry.sizeBytes) {
      throw new NbdServerError('NBD_EXPORT_MISMATCH', `export ${name} has ${String(entry.sizeBytes)} bytes, the new volume ${String(volume.sizeBytes)}`);
    }
    if (volume.isReadOnly && !entry.isReadOnly) {
      throw new NbdServerError('NBD_EXPORT_MISMATCH', `export ${name} is writable, the new volume is not`);
    }
    const old = entry.slot;
    entry.slot = new VolumeSlot(volume);
    await old.idle();
  }

  find(name: string): ExportEntry | undefined {
    return this.#entries.get(name);
  }

  /** All exports by name. */
  list(): ExportStatus[] {
    return [...this.#entries.values()]
      .map(({ name, description, sizeBytes, isReadOnly, connections, slot }) =>
        ({ name, description, sizeBytes, isReadOnly, connectionCount: connections.size, inFlight: slot.inFlight }))
      .sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  #entryOf(name: string): ExportEntry {
    const entry = this.#entries.get(name);
    if (entry === undefined) throw new NbdServerError('NBD_EXPORT_UNKNOWN', `no export ${name}`);
    return entry;
  }
}
