import { readFile } from 'node:fs/promises';
import { missing, usage } from './cli-error.js';

/** The whole of a file, or of standard input for `-`. `what` names it in errors. Throws CLI_NOT_FOUND. */
export const readText = async (path: string, what: string): Promise<string> => (path === '-' ? await readStandardInput() : await readFileText(path, what));

/** One line of a file, or of standard input: what is on a command line everybody on the machine can read. Throws CliError. */
export async function readSecret(path: string, what: string): Promise<string> {
  const [line = ''] = (await readText(path, what)).split('\n');
  if (line.trim() === '') throw usage(`${path === '-' ? 'standard input' : path} does not hold ${what}`);
  return line.replace(/\r$/, '');
}

export async function readStandardInput(): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks).toString('utf8');
}

async function readFileText(path: string, what: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw missing(`cannot read ${what}: ${error instanceof Error ? error.message : String(error)}`);
  }
}
