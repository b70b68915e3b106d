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

/**
 * libuv's pool has 4 threads unless UV_THREADPOOL_SIZE says otherwise: two fdatasyncs per datastore leave the others to
 * guest reads and writes. A device serves no more of them at once anyway.
 */
const SYNC_LANE_LIMIT = 2;
const syncLanes = new Map<number, Lane>();

/** The lane of the fdatasyncs of one datastore, named by its device number (`st_dev`). */
export function syncLane(device: number): Lane {
  const known = syncLanes.get(device);
  if (known !== undefined) return known;
  const lane = new Lane(SYNC_LANE_LIMIT);
  syncLanes.set(device, lane);
  return lane;
}
