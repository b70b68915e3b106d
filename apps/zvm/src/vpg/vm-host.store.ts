import { Injectable, type OnModuleInit } from '@nestjs/common';
import { Database } from '../persistence/database.js';
import { ProtectedVmHostEntity } from '../persistence/entities.js';

const keyOf = (vpgId: string, vmId: string): string => `${vpgId}/${vmId}`;

/** Where each protected VM ran when it was looked at last: a move while this ZVM was down is found by what is written here. */
@Injectable()
export class VmHostStore implements OnModuleInit {
  readonly #hosts = new Map<string, string>();
  #isLoaded = false;

  constructor(private readonly database: Database) {}

  onModuleInit(): void {
    this.database.onReady(async () => {
      if (this.#isLoaded) return;
      for (const { vpgId, vmId, hostId } of await this.database.use((db) => db.find(ProtectedVmHostEntity))) this.#hosts.set(keyOf(vpgId, vmId), hostId);
      this.#isLoaded = true;
    });
  }

  get isLoaded(): boolean {
    return this.#isLoaded;
  }

  find(vpgId: string, vmId: string): string | undefined {
    return this.#hosts.get(keyOf(vpgId, vmId));
  }

  async put(vpgId: string, vmId: string, hostId: string): Promise<void> {
    await this.database.use((db) => db.upsert(ProtectedVmHostEntity, { vpgId, vmId, hostId }, ['vpgId', 'vmId']));
    this.#hosts.set(keyOf(vpgId, vmId), hostId);
  }
}
