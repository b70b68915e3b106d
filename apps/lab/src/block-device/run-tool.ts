import { execFile } from 'node:child_process';

const OUTPUT_BYTES_MAX = 16 * 1024 * 1024;

export interface ToolOptions {
  readonly uid?: number;
  readonly gid?: number;
  readonly cwd?: string;
}

/** Runs a program; throws with what it said when it fails. @returns what it printed. */
export function runTool(command: string, args: readonly string[], options: ToolOptions = {}): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(command, [...args], { ...options, maxBuffer: OUTPUT_BYTES_MAX }, (error, stdout, stderr) => {
      if (error) reject(new Error(`${command} ${args.join(' ')}: ${stderr.trim() || stdout.trim() || error.message}`, { cause: error }));
      else resolve(stdout.trim());
    });
  });
}

export const canRun = (command: string, args: readonly string[]): Promise<boolean> => runTool(command, args).then(() => true, () => false);
