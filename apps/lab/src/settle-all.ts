/** Like Promise.all, but it ends only when all have ended: none still runs behind the back of who handles the first failure. */
export async function settleAll<T>(work: readonly Promise<T>[]): Promise<T[]> {
  await Promise.allSettled(work);
  return await Promise.all(work);
}
