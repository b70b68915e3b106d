import { createInterface } from 'node:readline/promises';
import type { ApiClient } from '@tidemark/api-client';
import type { TaskApi } from '@tidemark/contracts';
import { TASK_TYPE_TITLES } from './names.js';
import { type ConnectionOptions, type Environment, type Target, targetOf, withClient } from './connection.js';
import { CliError, usage } from './cli-error.js';
import { Output } from './output.js';
import { terminalText } from './terminal-text.js';
import { askSecret } from './ask-secret.js';
import { ProgressBar } from './progress.js';

export interface GlobalOptions extends ConnectionOptions {
  readonly output: 'table' | 'json';
}

export interface Streams {
  readonly in: NodeJS.ReadStream;
  readonly out: NodeJS.WriteStream;
  readonly err: NodeJS.WriteStream;
}

/** What a command works with: a logged-in client, the terminal, waiting for tasks. */
export interface Session {
  readonly client: ApiClient;
  readonly output: Output;
  readonly url: string;
  readonly entry: Target['entry'];
  readonly environment: Environment;
  /** Asks for something that is not shown while it is typed; undefined without a terminal. */
  readonly ask: (question: string) => Promise<string | undefined>;
  /** Aborts when the user presses Ctrl-C. */
  readonly signal: AbortSignal;
  /** Waits for a task with a bar; throws with the task's reason. `isWaiting` false: only tells its id. */
  readonly task: (taskId: string, options: { readonly isWaiting: boolean }) => Promise<TaskApi | undefined>;
  /** Asks at a terminal; without one the command line is taken at its word. Throws CLI_FAILED on anything but yes. */
  readonly confirm: (question: string, isConfirmed: boolean) => Promise<void>;
}

export async function inSession(options: GlobalOptions, { environment, streams, signal }: { environment: Environment; streams: Streams; signal: AbortSignal }, work: (session: Session) => Promise<void>): Promise<void> {
  if (!['table', 'json'].includes(options.output)) throw usage("--output must be 'table' or 'json'");
  const ask = (question: string): Promise<string | undefined> => askSecret(streams, question);
  const target = await targetOf(options, environment, ask);
  const output = new Output(options.output, streams.out, streams.err, environment);
  await withClient(target, (client) => work({
    client, output, signal, url: target.url, entry: target.entry, environment, ask,
    task: (taskId, { isWaiting }) => waitForTask({ client, output, signal, taskId, isWaiting }),
    confirm: (question, isConfirmed) => confirm(streams, question, isConfirmed),
  }));
}

interface TaskWait {
  readonly client: ApiClient;
  readonly output: Output;
  readonly signal: AbortSignal;
  readonly taskId: string;
  readonly isWaiting: boolean;
}

async function waitForTask({ client, output, signal, taskId, isWaiting }: TaskWait): Promise<TaskApi | undefined> {
  if (!isWaiting) return undefined;
  const bar = new ProgressBar(output);
  try {
    return await client.waitForTask<TaskApi>(taskId, { signal, onProgress: (task) => bar.show(task.Status.Progress, taskLabel(task)) });
  } finally {
    bar.end();
  }
}

function taskLabel(task: TaskApi): string {
  const title = TASK_TYPE_TITLES[task.Type] ?? 'task';
  return task.CurrentStep ? `${title}: ${task.CurrentStep}` : title;
}

async function confirm(streams: Streams, question: string, isConfirmed: boolean): Promise<void> {
  if (isConfirmed || !streams.in.isTTY) return;
  const prompt = createInterface({ input: streams.in, output: streams.err });
  try {
    const answer = await prompt.question(`${terminalText(question)} Type yes to go on: `);
    if (answer.trim().toLowerCase() !== 'yes') throw new CliError('CLI_FAILED', 'nothing was done');
  } finally {
    prompt.close();
  }
}
