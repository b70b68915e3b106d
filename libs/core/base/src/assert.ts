/** A bug of ours. The engine that meets one is stopped; it is never thrown for what a disk, a peer or a user did. */
export class AssertionError extends Error {
  override readonly name = 'AssertionError';
}

/** Throws {@link AssertionError} when `condition` is false. For our own bugs only. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new AssertionError(message);
}

/** The last arm of a `switch` over a closed union: the compiler proves that no case is missing. */
export function unreachable(value: never): never {
  throw new AssertionError(`unreachable: ${JSON.stringify(value)}`);
}
