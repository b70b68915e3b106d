import { beforeEach, describe, expect, it } from '@jest/globals';
import type { TaskNewsV1 } from '@tidemark/contracts';
import type { Clock } from '../clock.js';
import type { TaskService } from '../task/task.service.js';
import { SITE_A, SITE_B, vpgDefinition, vpgRecord } from '../testing/factories.js';
import type { VpgStore } from '../vpg/vpg.store.js';
import { NEW_TASKS_MAX, PeerTaskIntake } from './peer-task-intake.js';

const SITE_C = 'eeeeeeee-0000-4000-8000-000000000000';
const SHARED = vpgDefinition().vpgId;
const FOREIGN = 'dddddddd-0000-4000-8000-000000000000';
const GONE = 'ffffffff-0000-4000-8000-000000000000';
const north = { siteId: SITE_B, name: 'North' };

describe('tasks that a paired site tells of', () => {
  let nowMs: number;
  let followed: string[];
  let shown: Set<string>;
  let broken: Set<string>;
  let intake: PeerTaskIntake;
  beforeEach(() => {
    nowMs = 0;
    [followed, shown, broken] = [[], new Set(), new Set()];
    const tasks = {
      knownOf: async (ids: string[]) => new Set(ids.filter((id) => shown.has(id))),
      follow: async ({ taskId }: TaskNewsV1) => {
        if (broken.has(taskId)) throw new Error('the database takes no such row');
        followed.push(taskId);
        shown.add(taskId);
      },
    } as unknown as TaskService;
    const records = [vpgRecord(), vpgRecord({ definition: vpgDefinition({ vpgId: FOREIGN, recoverySiteId: SITE_C }) })];
    intake = new PeerTaskIntake(tasks, { find: (id: string) => records.find(({ definition }) => definition.vpgId === id) } as unknown as VpgStore, { monotonicMs: () => nowMs } as Clock);
  });

  const task = (taskId: string, vpgIds: readonly string[] = [SHARED], values: Partial<TaskNewsV1> = {}): TaskNewsV1 => ({
    taskId, type: 'FailOver', state: 'InProgress', progress: 1, initiatedBy: 'a', reason: '', related: { vpgIds, siteIds: [SITE_A], hostIds: [] }, runnerSiteId: SITE_B, startedAtMs: 1, completedAtMs: null, generation: 1, ...values,
  });

  it('are shown when they are about a VPG of the two, and run there', async () => {
    await intake.take(north, [
      task('shared'), task('with one that is gone', [SHARED, GONE]), task('of nothing', []), task('unknown', [GONE]), task('foreign', [FOREIGN]), task('both', [SHARED, FOREIGN]), task('of another runner', [SHARED], { runnerSiteId: SITE_C }),
    ]);
    expect(followed).toEqual(['shared', 'with one that is gone']);
  });

  it('that are shown go on being told when their VPG is gone', async () => {
    shown.add('removal');
    await intake.take(north, [task('removal', [GONE]), task('another', [GONE])]);
    expect(followed).toEqual(['removal']);
  });

  it('are so many an hour and no more; known ones always', async () => {
    const flood = (from: number): TaskNewsV1[] => Array.from({ length: 700 }, (_, index) => task(`flood ${from + index}`));
    for (let second = 0; second < 5; second += 1) await intake.take(north, flood(700 * second));
    expect(followed).toHaveLength(NEW_TASKS_MAX);
    await intake.take(north, [task('flood 0'), task('late')]);
    expect(followed.slice(NEW_TASKS_MAX)).toEqual(['flood 0']);
    nowMs += 3_600_001;
    await intake.take(north, [task('late')]);
    expect(followed.at(-1)).toBe('late');
  });

  it('that cannot be written down hold up no other one, and are tried again', async () => {
    broken.add('bad');
    await expect(intake.take(north, [task('bad'), task('good')])).rejects.toThrow('no such row');
    expect(followed).toEqual(['good']);
    broken.clear();
    await intake.take(north, [task('bad')]);
    expect(followed).toEqual(['good', 'bad']);
  });

  it('are written down one message at a time: a slow database has no second one waiting', async () => {
    await Promise.all([intake.take(north, [task('first')]), intake.take(north, [task('second')])]);
    expect(followed).toEqual(['first']);
  });
});
