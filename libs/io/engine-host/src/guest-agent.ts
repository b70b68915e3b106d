import { createConnection, type Socket } from 'node:net';
import { join } from 'node:path';
import { EngineError } from './engine-error.js';
import { LineReader } from './line-reader.js';

/** A guest that has flushed what its applications hold, and writes nothing until {@link thaw}. */
export interface FrozenGuest {
  /** True: frozen without a break since {@link GuestAgents.freeze} resolved. Never rejects. */
  isStillFrozen(): Promise<boolean>;
  /** Again: nothing happens. Never rejects: a guest that does not hear it thaws by its own bound, or by the lost connection. */
  thaw(): Promise<void>;
}

/** Port: how a VRA reaches the agents in the guests of its host. */
export interface GuestAgents {
  /** Resolves when the guest's applications have flushed and hold their writes; the guest thaws by itself after `holdMsMax`. CHECKPOINT_FREEZE: it could not. */
  freeze(vmId: string, options: { readonly holdMsMax: number; readonly timeoutMs: number }): Promise<FrozenGuest>;
}

const CHECK_TIMEOUT_MS = 1000;

export const guestAgentSocketPath = (folder: string, vmId: string): string => join(folder, `${encodeURIComponent(vmId)}.sock`);

/** Agents that listen on `<folder>/<vmId>.sock` (docs/spec/guest-agent.md). One connection is one freeze: its end thaws. */
export class SocketGuestAgents implements GuestAgents {
  constructor(private readonly folder: string) {}

  async freeze(vmId: string, { holdMsMax, timeoutMs }: { readonly holdMsMax: number; readonly timeoutMs: number }): Promise<FrozenGuest> {
    const connection = new AgentConnection(guestAgentSocketPath(this.folder, vmId));
    let answer: string;
    try {
      answer = await connection.ask(`freeze ${String(holdMsMax)}`, timeoutMs);
    } catch (error) {
      connection.close();
      throw new EngineError('CHECKPOINT_FREEZE', `the agent of VM ${vmId} does not answer: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
    }
    if (answer === 'frozen') return connection;
    connection.close();
    throw new EngineError('CHECKPOINT_FREEZE', `VM ${vmId} could not freeze: ${answer.replace(/^failed /, '').slice(0, 200)}`);
  }
}

class AgentConnection implements FrozenGuest {
  readonly #socket: Socket;
  readonly #waiting: { readonly resolve: (line: string) => void; readonly reject: (error: Error) => void }[] = [];
  #lost: Error | undefined;

  constructor(path: string) {
    const lines = new LineReader((line) => this.#waiting.shift()?.resolve(line));
    this.#socket = createConnection({ path });
    this.#socket.on('data', (bytes) => {
      if (!lines.take(bytes)) this.#end(new Error('a line that is too long'));
    });
    this.#socket.on('error', (error) => this.#end(error));
    this.#socket.on('close', () => this.#end(new Error('the connection ended')));
  }

  async isStillFrozen(): Promise<boolean> {
    return await this.ask('check', CHECK_TIMEOUT_MS).then((answer) => answer === 'frozen', () => false);
  }

  async thaw(): Promise<void> {
    if (this.#lost === undefined) await this.ask('thaw', CHECK_TIMEOUT_MS).catch(() => '');
    this.close();
  }

  async ask(line: string, timeoutMs: number): Promise<string> {
    if (this.#lost !== undefined) throw this.#lost;
    let timer: NodeJS.Timeout | undefined;
    try {
      return await new Promise<string>((resolve, reject) => {
        this.#waiting.push({ resolve, reject });
        // Answers have no ids: after one that did not come the connection is of no use.
        timer = setTimeout(() => this.#end(new Error(`no answer within ${String(timeoutMs)} ms`)), timeoutMs);
        this.#socket.write(`${line}\n`);
      });
    } finally {
      clearTimeout(timer);
    }
  }

  close(): void {
    this.#end(new Error('closed'));
  }

  #end(error: Error): void {
    this.#lost ??= error;
    this.#socket.destroy();
    for (const { reject } of this.#waiting.splice(0)) reject(error);
  }
}
