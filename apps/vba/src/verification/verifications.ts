import type { VerificationStartV1, VerificationV1, VerificationVolumeV1, VerifiedVolumeV1 } from '@tidemark/contracts';
import { ControlRefusal } from '@tidemark/nest';
import type { Volume } from '@tidemark/volume';
import { hashVolume } from './hash-volume.js';

/** Read one after the other: one reader fills the link or the disks behind it. */
const KEPT_MAX = 64;
/** Nobody has asked after it for so long: who wanted it is gone, and has closed its view or will. */
const FORGOTTEN_MS = 10 * 60_000;

export interface VerificationSurroundings {
  open(volume: VerificationVolumeV1): Promise<Volume>;
  /** Monotonic. */
  nowMs(): number;
}

interface Verification {
  readonly volumes: readonly VerificationVolumeV1[];
  readonly totalBytes: number;
  readonly stop: AbortController;
  readonly done: VerifiedVolumeV1[];
  state: VerificationV1['state'];
  problem: string;
  readBytes: number;
  askedMs: number;
  running: Promise<void>;
}

/** Checkpoints that are being read, or were; in memory only. */
export class Verifications {
  readonly #kept = new Map<string, Verification>();
  #last: Promise<void> = Promise.resolve();
  #readBytes = 0;

  constructor(private readonly around: VerificationSurroundings) {}

  get runningCount(): number {
    return [...this.#kept.values()].filter(({ state }) => state === 'reading').length;
  }

  /** Since the start. */
  get readBytes(): number {
    return this.#readBytes;
  }

  /** Known by its id: under way or done already. Throws VBA_BUSY. */
  start({ verificationId, volumes }: VerificationStartV1): void {
    this.#dropForgotten();
    if (this.#kept.has(verificationId)) return;
    if (this.#kept.size >= KEPT_MAX) throw new ControlRefusal('VBA_BUSY', `this VBA has ${String(KEPT_MAX)} verifications under way: wait until some have ended`);
    const totalBytes = volumes.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    const verification: Verification = {
      volumes, totalBytes, stop: new AbortController(), done: [], state: 'reading', problem: '', readBytes: 0, askedMs: this.around.nowMs(), running: Promise.resolve(),
    };
    this.#kept.set(verificationId, verification);
    verification.running = this.#last.then(() => this.#run(verification));
    this.#last = verification.running;
  }

  /** Throws VBA_UNKNOWN_VERIFICATION: this process was never asked to, or it was ended. */
  get(verificationId: string): VerificationV1 {
    const verification = this.#kept.get(verificationId);
    if (!verification) throw new ControlRefusal('VBA_UNKNOWN_VERIFICATION', `verification ${verificationId} is not known: start it`);
    verification.askedMs = this.around.nowMs();
    const { state, problem, readBytes, totalBytes, done } = verification;
    return { state, problem, readBytes, totalBytes, volumes: state === 'read' ? done : [] };
  }

  /** Resolves when what it was reading is closed. */
  async end(verificationId: string): Promise<void> {
    const verification = this.#kept.get(verificationId);
    this.#kept.delete(verificationId);
    verification?.stop.abort(new Error('ended'));
    // Of one that waits its turn nothing is read: it need not wait until the turn comes.
    if (verification?.readBytes !== 0) await verification?.running;
  }

  #dropForgotten(): void {
    const now = this.around.nowMs();
    for (const [id, { askedMs }] of this.#kept) if (now - askedMs > FORGOTTEN_MS) void this.end(id);
  }

  /** Never rejects. */
  async #run(verification: Verification): Promise<void> {
    for (const wanted of verification.volumes) {
      try {
        verification.done.push(await this.#read(verification, wanted));
      } catch (error) {
        verification.problem = `disk ${wanted.diskId} of VM ${wanted.vmId}: ${error instanceof Error ? error.message : String(error)}`;
        verification.state = 'failed';
        return;
      }
    }
    verification.state = 'read';
  }

  async #read(verification: Verification, wanted: VerificationVolumeV1): Promise<VerifiedVolumeV1> {
    const { signal } = verification.stop;
    signal.throwIfAborted();
    const volume = await this.around.open(wanted);
    let readBytes = 0;
    const onRead = (bytes: number): void => {
      readBytes += bytes;
      verification.readBytes += bytes;
      this.#readBytes += bytes;
    };
    try {
      const sha256 = await hashVolume(volume, { signal, onRead });
      return { vmId: wanted.vmId, diskId: wanted.diskId, readBytes, sha256 };
    } finally {
      await volume.close();
    }
  }

  async close(): Promise<void> {
    for (const { stop } of this.#kept.values()) stop.abort(new Error('this VBA stops'));
    await this.#last;
  }
}
