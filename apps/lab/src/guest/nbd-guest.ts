import { setTimeout as sleep } from 'node:timers/promises';
import { LabError } from '../lab-error.js';
import { COMMAND, NbdConnection, type NbdRequest, NbdRequestError } from './nbd-connection.js';

const RECONNECT_MS = 100;

/** What a guest's disk driver does (QEMU with `reconnect-delay`): requests that a lost connection left open are sent again on the next one. */
export class NbdGuest {
  #socketPath: string;
  readonly #exportName: string;
  readonly #closed = new AbortController();
  #connection: NbdConnection | undefined;
  #connecting: Promise<NbdConnection> | undefined;
  #sizeBytes: number | undefined;
  #openWrites = 0;
  #onQuiet: (() => void) | undefined;
  /** Writes wait for it while the guest is frozen. */
  #frozen: { readonly thawed: Promise<void>; readonly thaw: () => void } | undefined;

  /** @param nbdUri `nbd+unix:///EXPORT?socket=PATH` */
  constructor(nbdUri: string) {
    const { socketPath, exportName } = socketOf(nbdUri);
    this.#socketPath = socketPath;
    this.#exportName = exportName;
  }

  /**
   * The VM runs on another host now: what is open ends there. (A migrated QEMU takes its open requests along in the same way: the
   * old one stops before the new one sends them again.)
   */
  moveTo(nbdUri: string): void {
    this.#socketPath = socketOf(nbdUri).socketPath;
    this.#connection?.close();
  }

  /** Known once connected. */
  get sizeBytes(): number {
    if (this.#sizeBytes === undefined) throw new LabError('LAB_REFUSED', `${this.#exportName} was never connected`);
    return this.#sizeBytes;
  }

  /** Tries until the export answers. Rejects with the last failure when `signal` aborts. */
  async connect(signal: AbortSignal = this.#closed.signal): Promise<void> {
    await this.#connected(signal);
  }

  async read(offset: number, length: number): Promise<Buffer> {
    return await this.#request({ command: COMMAND.read, offset, length });
  }

  /** Resolves when the server has completed it. */
  async write(offset: number, payload: Uint8Array): Promise<void> {
    while (this.#frozen) await this.#frozen.thawed;
    this.#openWrites += 1;
    try {
      await this.#request({ command: COMMAND.write, offset, length: payload.byteLength, payload });
    } finally {
      this.#openWrites -= 1;
      if (this.#openWrites === 0) this.#onQuiet?.();
    }
  }

  /** As fsfreeze does: resolves when open writes have completed and the disk is flushed; further ones wait until {@link thaw}. */
  async freeze(): Promise<void> {
    if (!this.#frozen) {
      let thaw = (): void => undefined;
      const thawed = new Promise<void>((resolve) => (thaw = resolve));
      this.#frozen = { thawed, thaw };
    }
    if (this.#openWrites > 0) await new Promise<void>((resolve) => (this.#onQuiet = resolve));
    await this.flush();
  }

  thaw(): void {
    const frozen = this.#frozen;
    this.#frozen = undefined;
    frozen?.thaw();
  }

  async flush(): Promise<void> {
    await this.#request({ command: COMMAND.flush, offset: 0, length: 0 });
  }

  /** Requests that are open fail. */
  close(): void {
    this.#closed.abort();
    this.#connection?.close();
    this.thaw();
  }

  async #request(request: NbdRequest): Promise<Buffer> {
    for (;;) {
      const connection = await this.#connected(this.#closed.signal);
      try {
        return await connection.request(request);
      } catch (error) {
        if (error instanceof NbdRequestError || this.#closed.signal.aborted) throw error;
      }
    }
  }

  async #connected(signal: AbortSignal): Promise<NbdConnection> {
    if (this.#connection?.isOpen) return this.#connection;
    this.#connecting ??= this.#connectAgain(signal).finally(() => {
      this.#connecting = undefined;
    });
    return await this.#connecting;
  }

  async #connectAgain(signal: AbortSignal): Promise<NbdConnection> {
    for (let failure: unknown; ; ) {
      if (signal.aborted || this.#closed.signal.aborted) {
        throw new LabError('LAB_TIMEOUT', `${this.#exportName} at ${this.#socketPath} does not answer`, { cause: failure });
      }
      try {
        const connection = await NbdConnection.open(this.#socketPath, this.#exportName, signal);
        this.#sizeBytes = connection.sizeBytes;
        this.#connection = connection;
        return connection;
      } catch (error) {
        failure = error;
        await sleep(RECONNECT_MS);
      }
    }
  }
}

function socketOf(nbdUri: string): { readonly socketPath: string; readonly exportName: string } {
  const url = new URL(nbdUri);
  const socketPath = url.searchParams.get('socket');
  if (url.protocol !== 'nbd+unix:' || socketPath === null) throw new LabError('LAB_REFUSED', `${nbdUri} is not an NBD address of a UNIX socket`);
  return { socketPath, exportName: decodeURIComponent(url.pathname.slice(1)) };
}
