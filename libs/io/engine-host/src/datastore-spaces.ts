import { DatastoreSpace } from './datastore-space.js';
import type { RecoverySpec } from './types.js';

/** The accounts of a VRA's datastores: journals of one datastore share one. */
export class DatastoreSpaces {
  readonly #spaces = new Map<string, DatastoreSpace>();

  /** To be called for one recovery after the other: two at a time would measure a datastore twice. */
  async of({ datastore }: Pick<RecoverySpec, 'datastore'>): Promise<DatastoreSpace> {
    let space = this.#spaces.get(datastore.path);
    if (!space) {
      space = await DatastoreSpace.open(datastore.path, datastore.capacityBytes);
      this.#spaces.set(datastore.path, space);
    }
    space.capacityBytes = datastore.capacityBytes;
    return space;
  }

  get all(): readonly DatastoreSpace[] {
    return [...this.#spaces.values()];
  }

  close(): void {
    for (const space of this.#spaces.values()) space.close();
  }
}
