import { unreachable } from '@tidemark/base';
import { Splitter, type CaptureSink, type GuestRead, type GuestWrite, type SplitterEffect } from '@tidemark/splitter';
import type { WriteGate } from '@tidemark/engine-host/activity';
import type { GuestVm, KnownWrite } from './guest-vm.js';
import { ACTIVITY_SCALE } from './sim-activity.js';
import type { SimHost, Surroundings } from './sim-host.js';
import { Violation } from './world.js';

export interface WriteEnds {
  onCompleted(): void;
  onAborted(): void;
}

export interface ReadEnds {
  onRead(writeId: number): void;
  onAborted(): void;
}

interface PendingWrite extends WriteEnds {
  readonly known: KnownWrite;
  isStarted: boolean;
}

interface PendingRead extends ReadEnds {
  readonly read: GuestRead;
}

export interface CaptureOptions {
  readonly host: SimHost;
  readonly around: Surroundings;
  readonly ioMsMax: number;
  readonly holdBoundMs: number;
  /** Chance that a write fails on the protected volume. */
  writeErrorChance(): number;
  /** Something was captured: there may be something to send. */
  onWork(): void;
}

/** The proxy in front of one VM's protected volumes: the real splitter, and a disk that takes its time. */
export class Capture {
  readonly splitter = new Splitter();
  readonly #writes = new Map<number, PendingWrite>();
  readonly #reads = new Map<number, PendingRead>();
  #gates: readonly WriteGate[] = [];
  /** For a planted bug: sinks that are told of a write before it is on the disk. */
  readonly #early = new Set<CaptureSink>();

  constructor(readonly vm: GuestVm, private readonly options: CaptureOptions) {
    vm.captureRestarts();
    this.splitter.addSink('truth', {
      capture: (write) => vm.wasCaptured(this.#knownOf(write), options.around.world.nowMs),
      captureFailed: (write) => vm.captureFailed(write),
    });
  }

  get requestCount(): number {
    return this.#writes.size + this.#reads.size;
  }

  addSink(key: string, sink: CaptureSink): void {
    if (this.options.around.plant?.flag === 'capturedEarly') {
      this.#early.add(sink);
      this.splitter.addSink(key, { capture: () => undefined, captureFailed: () => undefined });
    } else this.splitter.addSink(key, sink);
  }

  addGate(gate: WriteGate): void {
    this.#gates = [...this.#gates, gate];
  }

  removeGate(gate: WriteGate): void {
    this.#gates = this.#gates.filter((each) => each !== gate);
  }

  removeSink(key: string): void {
    this.#split((effects) => this.splitter.removeSink(key, effects));
  }

  hold(key: string): void {
    this.#split((effects) => this.splitter.hold(key, effects));
  }

  release(key: string): void {
    this.#split((effects) => this.splitter.release(key, effects));
  }

  write(known: KnownWrite, ends: WriteEnds): void {
    this.#split((effects) => {
      const writeId = this.splitter.submitWrite(known.write, effects);
      this.#writes.set(writeId, { known, isStarted: false, ...ends });
      for (const sink of this.#early) sink.capture(known.write);
    });
  }

  read(read: GuestRead, ends: ReadEnds): void {
    if (this.options.around.plant?.flag === 'readsUnheld') return ends.onRead(this.vm.writeIdAt(read.volume, read.offset));
    this.#split((effects) => {
      const readId = this.splitter.submitRead(read, effects);
      this.#reads.set(readId, { read, ...ends });
    });
  }

  /** The guest's FLUSH goes to the protected volumes and to nowhere else. */
  flush(onFlushed: () => void): void {
    for (const disk of this.vm.disks) disk.beginSync();
    this.#after(this.options.around.world.random.below(this.options.ioMsMax), () => {
      for (const disk of this.vm.disks) disk.endSync();
      onFlushed();
    });
  }

  /** Of one volume: what the activity log waits for. */
  flushed(volume: number): Promise<void> {
    const disk = this.vm.disks[volume];
    const { world } = this.options.around;
    disk?.beginSync();
    return new Promise((resolve) => this.#after(world.random.below(this.options.ioMsMax), () => {
      disk?.endSync();
      world.touch();
      resolve();
    }));
  }

  /** What was under way may have reached the disk, in part, and is never captured; the guest's requests fail. */
  crashed(): void {
    this.vm.changes = undefined;
    const { random } = this.options.around.world;
    for (const { known, isStarted, onAborted } of this.#writes.values()) {
      if (isStarted && known.capturedIndex === undefined && random.chance(0.7)) {
        const { length } = known.write;
        this.vm.putOnDisk(known.write, random.chance(0.5) ? length : length - (length % 1024));
        this.vm.becomesBase(known);
      }
      onAborted();
    }
    for (const { onAborted } of this.#reads.values()) onAborted();
    this.#writes.clear();
    this.#reads.clear();
  }

  #after(delayMs: number, run: () => void): void {
    this.options.host.after(delayMs, run);
  }

  #knownOf(write: GuestWrite): KnownWrite {
    for (const { known } of this.#writes.values()) if (known.write === write) return known;
    throw new Violation('protocol', 'a write was captured that nobody issued');
  }

  #split(act: (effects: SplitterEffect[]) => void): void {
    const effects: SplitterEffect[] = [];
    act(effects);
    this.#carryOut(effects);
  }

  #carryOut(effects: readonly SplitterEffect[]): void {
    for (const effect of effects) {
      switch (effect.kind) {
        case 'writeLocal': this.#writeLocal(effect.writeId); break;
        case 'startRead': this.#readLocal(effect.readId); break;
        case 'complete': if (effect.isOk) this.#completed(effect.writeId); break;
        default: unreachable(effect);
      }
    }
    this.options.onWork();
  }

  #writeLocal(writeId: number): void {
    const pending = this.#writes.get(writeId);
    if (pending === undefined) throw new Violation('protocol', 'local write of an unknown request');
    if (!this.#isAwaitingMarks(writeId, pending)) this.#writeNow(writeId, pending);
  }

  #isAwaitingMarks(writeId: number, { known: { write } }: PendingWrite): boolean {
    for (const gate of this.#gates) {
      const passed = gate.pass(write.volume, write.offset * ACTIVITY_SCALE, write.length * ACTIVITY_SCALE);
      if (passed === undefined) continue;
      this.options.around.world.touch();
      void passed.then(() => this.#writeLocal(writeId));
      return true;
    }
    return false;
  }

  /** The bytes reach the disk in two halves, some time before the end is reported: a sync may read between. */
  #writeNow(writeId: number, pending: PendingWrite): void {
    pending.isStarted = true;
    const { random } = this.options.around.world;
    const { write } = pending.known;
    this.vm.changes?.bitmaps[write.volume]?.mark(write.offset, write.offset + write.length);
    const ioMs = random.below(this.options.ioMsMax);
    const isOk = !random.chance(this.options.writeErrorChance());
    this.#after(ioMs * 0.3, () => this.vm.putOnDisk(write, Math.floor(write.length / 1024) * 512));
    if (isOk) this.#after(ioMs * 0.6, () => this.vm.putOnDisk(write));
    this.#after(ioMs, () => this.#localDone(writeId, pending, isOk));
  }

  #localDone(writeId: number, pending: PendingWrite, isOk: boolean): void {
    const effects: SplitterEffect[] = [];
    this.splitter.localWriteDone(writeId, isOk, effects);
    if (!isOk) {
      this.#writes.delete(writeId);
      pending.onAborted();
    }
    this.#carryOut(effects);
  }

  #readLocal(readId: number): void {
    this.#after(this.options.around.world.random.below(this.options.ioMsMax), () => {
      const pending = this.#reads.get(readId);
      if (pending === undefined) return;
      this.#reads.delete(readId);
      const writeId = this.vm.writeIdAt(pending.read.volume, pending.read.offset);
      this.#split((effects) => this.splitter.readDone(readId, effects));
      const { volume, offset, length } = pending.read;
      if (this.vm.disks[volume]?.readMedium(offset, offset + length) === undefined) pending.onAborted();
      else pending.onRead(writeId);
    });
  }

  #completed(writeId: number): void {
    const pending = this.#writes.get(writeId);
    if (pending === undefined) throw new Violation('protocol', 'completion of an unknown request');
    this.#writes.delete(writeId);
    const { nowMs } = this.options.around.world;
    const { capturedAtMs } = pending.known;
    const heldMs = nowMs - capturedAtMs - this.options.host.pausedMs(capturedAtMs, nowMs);
    if (heldMs > this.options.holdBoundMs / this.options.host.clockRate + 1) throw new Violation('hold', `a guest write was held for ${heldMs.toFixed(1)} ms`);
    pending.onCompleted();
  }
}
