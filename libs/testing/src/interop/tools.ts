import { execFile } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { describe, it } from '@jest/globals';

export interface ToolResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

function isInstalled(tool: string): boolean {
  return (process.env['PATH'] ?? '').split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, tool), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/**
 * A `describe` that needs external tools. Where one is missing its place is taken by one skipped test that names it, or by
 * a failing one when REQUIRE_INTEROP=1 says that the tools must be there.
 */
export function describeWithTools(name: string, tools: readonly string[], body: () => void): void {
  const missing = tools.filter((tool) => !isInstalled(tool));
  if (missing.length === 0) return describe(name, body);
  const message = `${name}: needs ${missing.join(', ')}`;
  if (process.env['REQUIRE_INTEROP'] !== '1') return it.skip(message, () => undefined);
  it(message, () => {
    throw new Error(`not installed: ${missing.join(', ')}`);
  });
}

/** Runs a tool to its end; a code other than 0 is a result, not an error. Killed after a minute. */
export function run(tool: string, args: readonly string[]): Promise<ToolResult> {
  return new Promise((resolve, reject) => {
    execFile(tool, args, { timeout: 60_000, maxBuffer: 64 * 1024 * 1024 }, (error, stdout, stderr) => {
      const code = error === null ? 0 : error.code;
      if (typeof code === 'number') resolve({ code, stdout, stderr });
      else reject(error ?? new Error(`${tool} did not end`));
    });
  });
}

/** The same, where only success will do. */
export async function runOk(tool: string, args: readonly string[]): Promise<string> {
  const result = await run(tool, args);
  if (result.code !== 0) throw new Error(`${tool} ${args.join(' ')} ended with ${String(result.code)}:\n${result.stdout}${result.stderr}`);
  return result.stdout;
}
