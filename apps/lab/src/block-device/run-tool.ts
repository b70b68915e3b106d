import { execFile } from 'node:child_process';

/** Runs a program; throws with what it said when it fails. */
export function runTool(command: string, args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(command, [...args], (error, stdout, stderr) => {
      if (error) reject(new Error(`${command} ${args.join(' ')}: ${stderr.trim() || error.message}`, { cause: error }));
      else resolve(stdout.trim());
    });
  });
}

export const canRun = (command: string, args: readonly string[]): Promise<boolean> => runTool(command, args).then(() => true, () => false);
