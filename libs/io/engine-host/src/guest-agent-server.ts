import { mkdir, rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { LineReader } from './line-reader.js';

/** What an agent does to its guest. */
export interface GuestQuiescer {
  /** Resolves when everything that applications hold is flushed and they hold their writes from now on. */
  freeze(): Promise<void>;
  thaw(): Promise<void> | void;
}

/** The guest's end of docs/spec/guest-agent.md: one freeze at a time; the end of its connection or of its bound thaws. */
export class GuestAgentServer {
  #holder: Socket | undefined;
  #bound: NodeJS.Timeout | undefined;
  readonly #sockets = new Set<Socket>();

  private constructor(
    private readonly guest: GuestQuiescer,
    private readonly server: Server,
  ) {}

  static async listen(path: string, guest: GuestQuiescer): Promise<GuestAgentServer> {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    await rm(path, { force: true });
    const server = createServer();
    const agent = new GuestAgentServer(guest, server);
    server.on('connection', (socket) => agent.#serve(socket));
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(path, resolve);
    });
    return agent;
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket);
    let last: Promise<void> = Promise.resolve();
    const lines = new LineReader((line) => {
      last = last.then(() => this.#command(socket, line)).catch((error: unknown) => void socket.write(`failed ${String(error).replaceAll('\n', ' ').slice(0, 200)}\n`));
    });
    socket.on('data', (bytes) => {
      if (!lines.take(bytes)) socket.destroy();
    });
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      this.#sockets.delete(socket);
      void last.then(() => this.#thaw(socket)).catch(() => undefined);
    });
  }

  async #command(socket: Socket, line: string): Promise<void> {
    const [verb, argument] = line.split(' ');
    if (verb === 'freeze') await this.#freeze(socket, Number(argument));
    else if (verb === 'thaw') await this.#thaw(socket);
    socket.write(this.#holder === socket ? 'frozen\n' : 'thawed\n');
  }

  async #freeze(socket: Socket, holdMsMax: number): Promise<void> {
    if (!(holdMsMax > 0)) throw new Error('freeze for how long?');
    if (this.#holder) throw new Error('frozen for somebody else already');
    this.#holder = socket;
    this.#bound = setTimeout(() => void this.#thaw(socket).catch(() => undefined), holdMsMax);
    try {
      await this.guest.freeze();
    } catch (error) {
      await this.#thaw(socket);
      throw error;
    }
  }

  async #thaw(socket: Socket): Promise<void> {
    if (this.#holder !== socket) return;
    clearTimeout(this.#bound);
    this.#holder = undefined;
    await this.guest.thaw();
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.server.close(resolve));
  }
}
