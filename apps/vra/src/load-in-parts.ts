/**
 * Loads one after the other. After each there is a pause, for guests. One turn of the event loop is too little: a guest that connects again needs a turn for each of its five
 * round trips, and a write behind an NBD server two, and would wait for as many parts. Some milliseconds are enough for all of that.
 */
export async function loadInParts(parts: readonly string[], load: (part: string) => Promise<unknown>, pause: () => Promise<unknown>): Promise<void> {
  for (const part of parts) {
    await load(part);
    await pause();
  }
}
