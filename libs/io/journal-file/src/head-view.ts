import type { ViewVolume } from './view-volume.js';

/** The disks as the journal's durable position left them when it was opened; read-only. Made for hashing: see data-plane.md, delta sync. */
export class HeadView {
  /** Stream position of the last write in it. */
  readonly seq: number;
  /** By volume index. */
  readonly volumes: readonly ViewVolume[];
  #isClosed = false;

  constructor(private readonly parts: { readonly seq: number; readonly volumes: readonly ViewVolume[]; readonly onClosed: () => void }) {
    this.seq = parts.seq;
    this.volumes = parts.volumes;
  }

  /** Reads under way end first; then segments may be freed again. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    await Promise.all(this.volumes.map(async (volume) => await volume.close()));
    this.parts.onClosed();
  }
}
