/** The few file operations that the journal needs, as a port: tests put failures and crashes in between. */
export interface JournalHandle {
  /** Writes all of `chunks`, one after the other, from byte `at` on. */
  writeAll(chunks: readonly Uint8Array[], at: number): Promise<void>;
  /** Fills `target` or throws. */
  readFully(target: Uint8Array, at: number): Promise<void>;
  size(): Promise<number>;
  truncate(bytes: number): Promise<void>;
  /** fdatasync: bytes and length are durable. Its failure is final. */
  dataSync(): Promise<void>;
  /** What is read from now on is what the disk has, but for what is still to be written there. Where the system cannot do that, what the page cache has. */
  dropCache(): void;
  close(): Promise<void>;
}

export interface FileLayer {
  makeFolder(path: string): Promise<void>;
  /** Names in the folder, sorted. */
  list(folder: string): Promise<string[]>;
  open(path: string, mode: 'create' | 'readWrite'): Promise<JournalHandle>;
  remove(path: string): Promise<void>;
  /** Replaces what has the new name. */
  rename(from: string, to: string): Promise<void>;
  removeFolder(path: string): Promise<void>;
  /** Between the steps of long work: everything else that waits has its turn. */
  giveWay(): Promise<void>;
  /** Makes created and removed names durable. */
  syncFolder(path: string): Promise<void>;
}
