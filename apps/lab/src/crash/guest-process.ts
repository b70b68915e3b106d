import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { setPriority } from 'node:os';
import { appEntry } from '../servers/node-programs.js';
import type { VmStatus } from '../status.js';
import type { LaneMarks, LaneWait } from '../guest/workload.js';

/** What the guests' process is asked. */
export type GuestRequest =
  | { readonly type: 'start'; readonly vms: readonly VmStatus[]; readonly pauseMs: number }
  | { readonly type: 'wait' }
  | { readonly type: 'bounds'; readonly atMs: number };

/** Longest wait of a guest since it was asked last. */
export interface GuestWait {
  readonly waits: readonly LaneWait[];
  /** The longest that the guests' own process was kept from running: no disk is to blame for that. */
  readonly ownDelayMs: number;
  readonly writeCount: number;
  /** Why the guests ended by themselves: a disk has refused a write. Empty: they run. */
  readonly failure: string;
}

export interface GuestBounds {
  /** Completed before the instant, and issued shortly after it; lane → writes. */
  readonly atLeast: LaneMarks;
  readonly atMost: LaneMarks;
}

type WireBounds = { readonly atLeast: [number, number][]; readonly atMost: [number, number][] };

/** The guests, in a process of their own: what they wait is measured apart from everything that the crash loop does. */
export class GuestProcess {
  #child: ChildProcess | undefined;
  #last = Promise.resolve<unknown>(undefined);

  async start(vms: readonly VmStatus[], pauseMs: number): Promise<void> {
    this.#child = fork(appEntry('lab/dist/crash/guest-main.js'), { serialization: 'advanced', stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    // What the guests are kept from running would look like a disk that is slow.
    if (process.getuid?.() === 0 && this.#child.pid !== undefined) setPriority(this.#child.pid, -10);
    await this.#ask({ type: 'start', vms, pauseMs });
  }

  takeWait(): Promise<GuestWait> {
    return this.#ask({ type: 'wait' });
  }

  /** The guests' own log of the writes around an instant (wall clock, ms). */
  async boundsAt(atMs: number): Promise<GuestBounds> {
    const { atLeast, atMost } = await this.#ask<WireBounds>({ type: 'bounds', atMs });
    return { atLeast: new Map(atLeast), atMost: new Map(atMost) };
  }

  /** As if the guests' hosts lost power. */
  async end(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
  }

  #ask<T>(request: GuestRequest): Promise<T> {
    const asked = this.#last.then(() => this.#exchange<T>(request));
    this.#last = asked.catch(() => undefined);
    return asked;
  }

  #exchange<T>(request: GuestRequest): Promise<T> {
    const child = this.#child;
    if (!child?.connected) throw new Error('the guests do not run');
    return new Promise((resolve, reject) => {
      const ended = (): void => reject(new Error('the guests have ended'));
      child.once('exit', ended);
      child.once('message', ({ result, error }: { result?: T; error?: string }) => {
        child.off('exit', ended);
        if (error === undefined) resolve(result as T);
        else reject(new Error(error));
      });
      child.send(request);
    });
  }
}
