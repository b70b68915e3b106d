import { TidemarkError } from '@tidemark/base';
import { ApiError } from '@tidemark/api-client';

/** What a script may rely on; documented in `tidemark --help`. */
export const EXIT = { ok: 0, failed: 1, usage: 2, unreachable: 3, interrupted: 130 } as const;
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

export type CliErrorCode =
  | 'CLI_USAGE' // the command line cannot be meant
  | 'CLI_NOT_FOUND' // no such site, VM, VPG, …
  | 'CLI_FAILED'; // what was asked for did not come about

export class CliError extends TidemarkError<CliErrorCode> {
  get isRetryable(): boolean {
    return false;
  }
}

export const usage = (message: string): CliError => new CliError('CLI_USAGE', message);
export const missing = (message: string): CliError => new CliError('CLI_NOT_FOUND', message);

const UNREACHABLE: ReadonlySet<string> = new Set(['API_UNREACHABLE', 'API_UNTRUSTED', 'API_UNAUTHORIZED', 'API_TIMEOUT']);

export function exitCodeOf(error: unknown): ExitCode {
  if (error instanceof ApiError) return UNREACHABLE.has(error.code) ? EXIT.unreachable : EXIT.failed;
  if (error instanceof CliError) return error.code === 'CLI_USAGE' ? EXIT.usage : EXIT.failed;
  return EXIT.failed;
}

const HINTS: Readonly<Record<string, string>> = {
  API_UNTRUSTED: "give the site's CA with --ca FILE, or the fingerprint that its administrator reads there (tidemark certificate) with --fingerprint HEX",
  API_TASK_TIMEOUT: 'the task goes on at the site; watch it with: tidemark tasks',
};

/** One line for people, and one more when there is something to do about it. */
export function errorText(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  const hint = error instanceof ApiError && !isOfWrongTime(error) ? HINTS[error.code] : undefined;
  return hint === undefined ? message : `${message}\n       ${hint}`;
}

/** Trusting something else does not mend a certificate that has ended or a clock that is wrong; the message says what does. */
const isOfWrongTime = ({ cause }: ApiError): boolean => ['CERT_HAS_EXPIRED', 'CERT_NOT_YET_VALID'].includes((cause as NodeJS.ErrnoException | undefined)?.code ?? '');
