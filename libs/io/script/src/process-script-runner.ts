import { chown, mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type GroupEnd, runGroup } from './process-group.js';
import { lookAtScript, type UserIds } from './script-file.js';
import type { ScriptEnd, ScriptFile, ScriptRun, ScriptRunner } from './script-runner.js';

const SETPRIV = '/usr/bin/setpriv';
const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
const GRACE_MS = 5000;
const REMOVE_MS = 60_000;

export interface ScriptRunnerOptions {
  /** Absolute. */
  readonly folder: string;
  /** Whom scripts run as when this process is root; otherwise they run as its own user. */
  readonly user: UserIds;
  /** Between SIGTERM and SIGKILL. */
  readonly graceMs?: number;
}

/** Scripts as child processes of `setpriv`, which takes every right away before it becomes the script. */
export class ProcessScriptRunner implements ScriptRunner {
  readonly #folder: string;
  readonly #ownUid: number;
  readonly #runsAs: UserIds;
  readonly #graceMs: number;

  constructor({ folder, user, graceMs = GRACE_MS }: ScriptRunnerOptions) {
    this.#folder = folder.replace(/(?<=.)\/+$/, '');
    this.#ownUid = process.geteuid?.() ?? 0;
    this.#runsAs = this.#ownUid === 0 ? user : { uid: this.#ownUid, gid: process.getegid?.() ?? 0 };
    this.#graceMs = graceMs;
  }

  async check(command: string): Promise<ScriptFile> {
    return await lookAtScript(command, { folder: this.#folder, ownUid: this.#ownUid, runsAs: this.#runsAs });
  }

  async run({ file, args, environment, timeoutMs, signal }: ScriptRun): Promise<ScriptEnd> {
    const folder = await mkdtemp(join(tmpdir(), 'tidemark-script-'));
    if (this.#ownUid === 0) await chown(folder, this.#runsAs.uid, this.#runsAs.gid);
    const startedMs = performance.now();
    let durationMs = 0;
    let leftFolder: string | null = folder;
    let end: GroupEnd;
    try {
      end = await runGroup({ ...this.#dropped([file.path, ...args]), environment: { ...environment(folder), ...baseEnvironment(folder) }, folder, timeoutMs, graceMs: this.#graceMs, signal });
      durationMs = Math.round(performance.now() - startedMs);
    } finally {
      if (await this.#isRemoved(folder)) leftFolder = null;
    }
    return { ...end, durationMs, leftFolder };
  }

  /** As the script's user: root that follows the names of somebody else's folder can be led elsewhere. */
  async #isRemoved(folder: string): Promise<boolean> {
    const remove = this.#dropped(['/bin/rm', '-rf', '--one-file-system', '--', folder]);
    try {
      const { exitCode } = await runGroup({ ...remove, environment: baseEnvironment('/'), folder: '/', timeoutMs: REMOVE_MS, graceMs: this.#graceMs, signal: new AbortController().signal });
      return exitCode === 0;
    } catch {
      return false;
    }
  }

  /** setpriv takes the rights away and becomes the program: no process stands between, and no shell. */
  #dropped(program: readonly string[]): { readonly command: string; readonly args: readonly string[] } {
    const { uid, gid } = this.#runsAs;
    const other = this.#ownUid === 0 ? [`--reuid=${uid}`, `--regid=${gid}`, '--clear-groups', '--bounding-set=-all'] : [];
    // A script does not outlive a ZVM that is killed.
    return { command: SETPRIV, args: [...other, '--no-new-privs', '--inh-caps=-all', '--ambient-caps=-all', '--pdeathsig=KILL', '--', ...program] };
  }
}

const baseEnvironment = (workFolder: string): Record<string, string> => ({ PATH, LANG: 'C.UTF-8', HOME: workFolder, TMPDIR: workFolder });
