import { EXIT } from './cli-error.js';
import { runProgram } from './program.js';

const interrupted = new AbortController();
let interrupts = 0;
process.on('SIGINT', () => {
  interrupts += 1;
  // The first one lets the command log out; who presses twice wants out.
  if (interrupts > 1) process.exit(EXIT.interrupted);
  interrupted.abort(new Error('interrupted'));
});

// `tidemark … | head`: the reader has what it wanted.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(EXIT.ok);
  throw error;
});

process.exitCode = await runProgram(process.argv.slice(2), {
  environment: process.env,
  streams: { in: process.stdin, out: process.stdout, err: process.stderr },
  signal: interrupted.signal,
});
