import { describe, expect, it } from '@jest/globals';
import { Clock } from '../clock.js';
import type { EventService } from '../event/event.service.js';
import type { Database } from '../persistence/database.js';
import type { TaskService } from '../task/task.service.js';
import { OperationService } from './operation.service.js';

const VPG = 'vpg-1';

/** Asks at each moment whether another operation of the VPG could begin. */
async function freeAt(): Promise<{ readonly inLastStep: boolean; readonly whenTaskCompletes: boolean }> {
  const repository = { insert: async () => undefined, update: async () => undefined, existsBy: async () => false };
  const database = { use: async (work: (db: typeof repository) => Promise<unknown>) => await work(repository) } as unknown as Database;
  const events = { record: async () => undefined } as unknown as EventService;
  let ended: () => void = () => undefined;
  const end = new Promise<void>((resolve) => (ended = resolve));
  const found = { inLastStep: true, whenTaskCompletes: false };
  const tasks = {
    newTaskId: () => 'task-1', start: async () => undefined, progress: async () => undefined,
    complete: async () => {
      found.whenTaskCompletes = isFree();
      ended();
    },
  } as unknown as TaskService;
  const service = new OperationService(database, tasks, events, new Clock());
  const isFree = (): boolean => {
    try {
      service.assertFree(VPG, true);
      return true;
    } catch {
      return false;
    }
  };
  service.register({
    kind: 'forceSync', taskType: 'ForceSync', isExclusive: true, done: () => 'done',
    steps: { checkSyncable: { do: async () => undefined }, requestSync: { do: async () => void (found.inLastStep = isFree()) } },
  });
  await service.begin({ kind: 'forceSync', input: {}, vpgId: VPG, initiatedBy: 'admin', related: {} });
  await end;
  service.onModuleDestroy();
  await service.onApplicationShutdown();
  return found;
}

describe('an exclusive operation', () => {
  it('holds its VPG to the end of its last step, and no longer when its task is seen to be complete', async () => {
    expect(await freeAt()).toEqual({ inLastStep: false, whenTaskCompletes: true });
  });
});
