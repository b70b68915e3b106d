type Task = () => void;

/** Runs at most `limit` tasks at once, the others wait in order. For work that would fill the thread pool, such as fdatasync. */
export class Lane {
  readonly #limit: number;
  readonly #waiting: Task[] = [];
  #running = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** What `task` gives, once it had its turn. */
  async run<T>(task: () => Promise<T>): Promise<T> {
    if (this.#running >= this.#limit) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    else this.#running += 1;
    try {
      return await task();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#running -= 1;
      else next(); // the slot is handed on, so that no newcomer can slip in between
    }
  }
}

/** Whose fdatasyncs: those of disks that guests wait for, or those of journals and their index files. */
export type SyncKind = 'guest' | 'journal';

/**
 * libuv's pool has 4 threads unless UV_THREADPOOL_SIZE says otherwise: three fdatasyncs per datastore leave one to reads and
 * writes. With two of a kind at most neither kind ever waits for the other alone: whoever finds all three taken waits for the first
 * that ends, and one of them is of its own kind.
 */
const SYNC_LIMIT = 3;
const SYNC_LIMIT_OF_KIND = 2;

/** The fdatasyncs of one kind on one datastore. */
export class SyncLane {
  readonly #own = new Lane(SYNC_LIMIT_OF_KIND);

  constructor(private readonly all: Lane) {}

  /** As {@link Lane.run}. */
  async run<T>(task: () => Promise<T>): Promise<T> {
    return await this.#own.run(async () => await this.all.run(task));
  }
}

export function syncLanes(): Record<SyncKind, SyncLane> {
  const all = new Lane(SYNC_LIMIT);
  return { guest: new SyncLane(all), journal: new SyncLane(all) };
}

const lanesOfDevices = new Map<number, Record<SyncKind, SyncLane>>();

/** The lane of the fdatasyncs of one kind on one datastore, named by its device number (`st_dev`). */
export function syncLane(device: number, kind: SyncKind): SyncLane {
  let lanes = lanesOfDevices.get(device);
  if (lanes === undefined) {
    lanes = syncLanes();
    lanesOfDevices.set(device, lanes);
  }
  return lanes[kind];
}
