import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { LabError } from '../lab-error.js';
import { findProgram } from '../servers/programs.js';

const run = promisify(execFile);
const PACKAGE_OF = { 'mkfs.ext4': 'e2fsprogs', e2fsck: 'e2fsprogs', debugfs: 'e2fsprogs', nbdcopy: 'libnbd-bin' } as const;
const OUTPUT_BYTES_MAX = 16 * 1024 * 1024;
const TIMEOUT_MS = 120_000;

export type Tool = keyof typeof PACKAGE_OF;

export interface ToolResult {
  readonly exitCode: number;
  readonly output: string;
}

/** Runs one of the guest's tools; whatever it exits with is an answer. */
export async function runTool(tool: Tool, args: readonly string[]): Promise<ToolResult> {
  const program = findProgram(tool, PACKAGE_OF[tool]);
  try {
    const { stdout, stderr } = await run(program, args, { maxBuffer: OUTPUT_BYTES_MAX, timeout: TIMEOUT_MS });
    return { exitCode: 0, output: stdout + stderr };
  } catch (error) {
    const failure = error as { code?: unknown; stdout?: string; stderr?: string };
    if (typeof failure.code !== 'number') throw new LabError('LAB_REFUSED', `${tool} ${args.join(' ')}: ${String(error)}`, { cause: error });
    return { exitCode: failure.code, output: `${failure.stdout ?? ''}${failure.stderr ?? ''}` };
  }
}

/** The same for tools whose failure is the end. @returns what it printed. */
export async function mustRun(tool: Tool, args: readonly string[]): Promise<string> {
  const { exitCode, output } = await runTool(tool, args);
  if (exitCode !== 0) throw new LabError('LAB_REFUSED', `${tool} ${args.join(' ')} ended with ${exitCode}:\n${output.trimEnd()}`);
  return output;
}
