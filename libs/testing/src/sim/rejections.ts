/**
 * Where asynchronous code fails with nobody to tell, a real process would end; here the run does. Returns what stops the watch. One run
 * at a time.
 */
export function watchRejections(onError: (error: Error) => void): () => void {
  const listener = (reason: unknown): void => onError(reason instanceof Error ? reason : new Error(String(reason)));
  process.on('unhandledRejection', listener);
  return () => process.off('unhandledRejection', listener);
}
