/** A script that was looked at and may be run. */
export interface ScriptFile {
  /** As it was named. */
  readonly command: string;
  readonly path: string;
  /** Of its content, hex. */
  readonly sha256: string;
}

export interface ScriptRun {
  readonly file: ScriptFile;
  readonly args: readonly string[];
  /** Its whole environment but PATH, LANG, HOME and TMPDIR. `workFolder`: where it is started. */
  readonly environment: (workFolder: string) => Readonly<Record<string, string>>;
  readonly timeoutMs: number;
  /** Ends it as a timeout does. */
  readonly signal: AbortSignal;
}

export interface ScriptEnd {
  /** Null: a signal ended it. */
  readonly exitCode: number | null;
  /** `SIGKILL`, … */
  readonly endedBy: string | null;
  readonly isTimedOut: boolean;
  /** By `signal`. */
  readonly isStopped: boolean;
  readonly durationMs: number;
  /** The last 64 KiB of each. */
  readonly stdout: string;
  readonly stderr: string;
  /** Its work folder, when that could not be removed. */
  readonly leftFolder: string | null;
}

/** Runs files of one folder, without a shell, with no more rights than they need. */
export interface ScriptRunner {
  /** @throws ScriptError that says what to do */
  check(command: string): Promise<ScriptFile>;
  /** Resolves when the script and everything in its process group have ended. @throws ScriptError SCRIPT_START */
  run(run: ScriptRun): Promise<ScriptEnd>;
}
