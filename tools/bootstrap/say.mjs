/** Something the person at the keyboard must do or know; printed without a stack trace. */
export class SetupError extends Error {}

/** Progress and complaints go to stderr: stdout belongs to the target. */
export function say(text) {
  process.stderr.write(`tidemark: ${text}\n`);
}
