import { type Done } from '@tidemark/base';
import { VolumeError, type VolumeErrorCode } from './volume-error.js';
import type { AllocationRun, Volume, WriteOptions, WriteZeroesOptions } from './volume.js';

export type VolumeOperationKind = 'read' | 'write' | 'writeZeroes' | 'flush' | 'allocation' | 'close';

export interface VolumeOperation {
  readonly kind: VolumeOperationKind;
  readonly offset: number;
  readonly length: number;
}

/** What happens to one operation. An empty object delays nothing and fails nothing. */
export interface Fault {
  /** The operation reaches the volume below only when this is settled. */
  readonly until?: Promise<void>;
  /** The operation fails with this code ... */
  readonly error?: VolumeErrorCode;
  /** ... after so many bytes of a failing write did reach the volume below (a torn write). 0 if not given. */
  readonly writtenBytes?: number;
}

/** Asked once per operation, in the order in which operations arrive. `undefined` lets it pass untouched. */
export type FaultScript = (operation: VolumeOperation) => Fault | undefined;

/** A volume that delays and fails as a script says. */
export class FaultVolume implements Volume {
  readonly #below: Volume;
  readonly #script: FaultScript;

  constructor(below: Volume, script: FaultScript) {
    this.#below = below;
    this.#script = script;
  }

  get sizeBytes(): number {
    return this.#below.sizeBytes;
  }

  get isReadOnly(): boolean {
    return this.#below.isReadOnly;
  }

  read(offset: number, target: Uint8Array): Done {
    const fault = this.#script({ kind: 'read', offset, length: target.length });
    if (fault === undefined) return this.#below.read(offset, target);
    return this.#faulty(fault, 'read', () => this.#below.read(offset, target));
  }

  write(offset: number, source: Uint8Array, options?: WriteOptions): Done {
    const fault = this.#script({ kind: 'write', offset, length: source.length });
    if (fault === undefined) return this.#below.write(offset, source, options);
    return this.#faulty(fault, 'write', (bytes) => {
      const part = source.subarray(0, bytes);
      return part.length === 0 && source.length > 0 ? undefined : this.#below.write(offset, part, options);
    });
  }

  writeZeroes(offset: number, length: number, options?: WriteZeroesOptions): Done {
    const fault = this.#script({ kind: 'writeZeroes', offset, length });
    if (fault === undefined) return this.#below.writeZeroes(offset, length, options);
    return this.#faulty(fault, 'writeZeroes', (bytes) => {
      const part = Math.min(bytes ?? length, length);
      return part === 0 && length > 0 ? undefined : this.#below.writeZeroes(offset, part, options);
    });
  }

  flush(): Done {
    const fault = this.#script({ kind: 'flush', offset: 0, length: 0 });
    if (fault === undefined) return this.#below.flush();
    return this.#faulty(fault, 'flush', () => this.#below.flush());
  }

  async allocation(offset: number, length: number): Promise<AllocationRun[]> {
    const fault = this.#script({ kind: 'allocation', offset, length });
    let runs: AllocationRun[] = [];
    const ask = async (): Promise<void> => {
      runs = await this.#below.allocation(offset, length);
    };
    if (fault === undefined) await ask();
    else await this.#faulty(fault, 'allocation', ask);
    return runs;
  }

  async close(): Promise<void> {
    const fault = this.#script({ kind: 'close', offset: 0, length: 0 });
    if (fault === undefined) return await this.#below.close();
    return await this.#faulty(fault, 'close', () => this.#below.close());
  }

  /** `run` is called with the number of bytes that a failing write may still write, or without for all of them. */
  async #faulty(fault: Fault, kind: VolumeOperationKind, run: (bytes?: number) => Done): Promise<void> {
    if (fault.until !== undefined) await fault.until;
    if (fault.error === undefined) return await run();
    if (kind === 'write' || kind === 'writeZeroes') await run(fault.writtenBytes ?? 0);
    throw new VolumeError(fault.error, `scripted fault of ${kind}`);
  }
}
