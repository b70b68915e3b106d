import { shownText } from '@tidemark/base';
import { chown, mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type GroupEnd, runGroup } from './process-group.js';
import { ScriptError } from './script-error.js';
import { lookAtScript, type UserIds } from './script-file.js';
import type { ScriptEnd, ScriptFile, ScriptRun, ScriptRunner } from './script-runner.js';

const SETPRIV = '/usr/bin/setpriv';
const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
const GRACE_MS = 5000;
const REMOVE_MS = 60_000;
const TRY_MS = 60_000;

export interface ScriptRunnerOptions {
  /** Absolute. */
  readonly folder: string;
  /** Whom scripts run as; a process that cannot become that user runs none. */
  readonly user: UserIds;
  /** Between SIGTERM and SIGKILL. */
  readonly graceMs?: number;
}

const WOULD_HARM = 'this site manager runs no scripts, because they would have its rights, and with them the keys of the site';

/** Scripts as child processes of `setpriv`, which takes every right away before it becomes the script. */
export class ProcessScriptRunner implements ScriptRunner {
  readonly #folder: string;
  readonly #ownUid: number;
  readonly #user: UserIds;
  readonly #graceMs: number;

  constructor({ folder, user, graceMs = GRACE_MS }: ScriptRunnerOptions) {
    this.#folder = folder.replace(/(?<=.)\/+$/, '');
    this.#ownUid = process.geteuid?.() ?? 0;
    this.#user = user;
    this.#graceMs = graceMs;
  }

  async check(command: string): Promise<ScriptFile> {
    const file = await lookAtScript(command, { folder: this.#folder, ownUid: this.#ownUid, runsAs: this.#user });
    await this.#assertHarmless();
    return file;
  }

  /** Tried, not concluded from who this process is: a container takes rights from root, and a service may be given some without it. */
  async #assertHarmless(): Promise<void> {
    const { uid } = this.#user;
    if (uid === 0 || uid === this.#ownUid) throw new ScriptError('SCRIPT_USER', `${WOULD_HARM}, for user ${uid} is ${uid === 0 ? 'root' : "the site manager's own"}: name one in TIDEMARK_SCRIPTS_USER that has nothing else`);
    const { exitCode, stderr } = await this.#runDropped(['/bin/true'], TRY_MS);
    if (exitCode === 0) return;
    const why = shownText(stderr.trim().slice(0, 200)) || `setpriv ended with ${String(exitCode)}`;
    throw new ScriptError('SCRIPT_USER', `${WOULD_HARM}, for it cannot become user ${uid} (${why}): run the site manager as root with CAP_SETUID and CAP_SETGID, or take the script out of the settings`);
  }

  async run({ file, args, environment, timeoutMs, signal }: ScriptRun): Promise<ScriptEnd> {
    const folder = await mkdtemp(join(tmpdir(), 'tidemark-script-'));
    await chown(folder, this.#user.uid, this.#user.gid);
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
    return await this.#runDropped(['/bin/rm', '-rf', '--one-file-system', '--', folder], REMOVE_MS).then(({ exitCode }) => exitCode === 0, () => false);
  }

  async #runDropped(program: readonly string[], timeoutMs: number): Promise<GroupEnd> {
    return await runGroup({ ...this.#dropped(program), environment: baseEnvironment('/'), folder: '/', timeoutMs, graceMs: this.#graceMs, signal: new AbortController().signal });
  }

  /** setpriv takes the rights away and becomes the program: no process stands between, and no shell. */
  #dropped(program: readonly string[]): { readonly command: string; readonly args: readonly string[] } {
    const { uid, gid } = this.#user;
    // A script does not outlive a ZVM that is killed.
    return { command: SETPRIV, args: [`--reuid=${uid}`, `--regid=${gid}`, '--clear-groups', '--bounding-set=-all', '--no-new-privs', '--inh-caps=-all', '--ambient-caps=-all', '--pdeathsig=KILL', '--', ...program] };
  }
}

const baseEnvironment = (workFolder: string): Record<string, string> => ({ PATH, LANG: 'C.UTF-8', HOME: workFolder, TMPDIR: workFolder });
