import { GuestAgentServer, guestAgentSocketPath } from '@tidemark/engine-host';
import { NbdClient } from './nbd-client.js';

export const RECORD_BYTES = 4096;
const ACCEPT_MS = 1;
/** What the application keeps back: its disk is behind, and not a consistent state of it. */
const DIRTY_RECORDS = 40;

/**
 * A guest with an application that accepts records all the time and writes them late, newest first: its disk has gaps unless it was
 * flushed. Record n is a block full of n at n blocks from the start.
 */
export class CachingGuest {
  #accepted = 0;
  #dirty: number[] = [];
  #isFrozen = false;
  #isStopped = false;
  #lastWrite: Promise<void> = Promise.resolve();
  #writing: Promise<void> = Promise.resolve();
  /** What was flushed by each freeze. */
  readonly flushedCounts: number[] = [];
  thawCount = 0;
  /** Called when a freeze has flushed everything, before it is answered. */
  onFlushed: () => Promise<void> | void = () => undefined;
  agent: GuestAgentServer | undefined;

  private constructor(private readonly disk: NbdClient) {}

  static async start({ nbdSocketPath, exportName, agentFolder, vmId }: { nbdSocketPath: string; exportName: string; agentFolder: string; vmId: string }): Promise<CachingGuest> {
    const guest = new CachingGuest(await NbdClient.connect(nbdSocketPath, exportName));
    guest.agent = await GuestAgentServer.listen(guestAgentSocketPath(agentFolder, vmId), { freeze: () => guest.#freeze(), thaw: () => guest.#thaw() });
    guest.#writing = guest.#run();
    return guest;
  }

  get isFrozen(): boolean {
    return this.#isFrozen;
  }

  get acceptedCount(): number {
    return this.#accepted;
  }

  async #run(): Promise<void> {
    while (!this.#isStopped) {
      await new Promise((resolve) => setTimeout(resolve, ACCEPT_MS));
      if (this.#isFrozen) continue;
      this.#accepted += 1;
      this.#dirty.push(this.#accepted);
      if (this.#dirty.length > DIRTY_RECORDS) await this.#write(this.#dirty.splice(-1));
    }
  }

  /** One after the other, as the client wants it. A disk whose VRA is gone takes nothing. */
  #write(records: readonly number[]): Promise<void> {
    this.#lastWrite = this.#lastWrite.then(async () => {
      for (const record of records) await this.disk.write(record * RECORD_BYTES, Buffer.alloc(RECORD_BYTES, (record % 250) + 1)).catch(() => undefined);
    });
    return this.#lastWrite;
  }

  async #freeze(): Promise<void> {
    const count = this.#accepted;
    this.#isFrozen = true;
    await this.#write(this.#dirty.splice(0));
    this.flushedCounts.push(count);
    await this.onFlushed();
  }

  #thaw(): void {
    this.#isFrozen = false;
    this.thawCount += 1;
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#writing;
    await this.agent?.close();
    this.disk.close();
  }
}

/** Records that a disk image holds. */
export function recordsOf(image: Buffer): number[] {
  const records: number[] = [];
  for (let record = 1; (record + 1) * RECORD_BYTES <= image.length; record += 1) {
    const block = image.subarray(record * RECORD_BYTES, (record + 1) * RECORD_BYTES);
    if (block.every((byte) => byte === (record % 250) + 1)) records.push(record);
  }
  return records;
}
