import { describe, expect, it } from '@jest/globals';
import type { ViewSpec } from './types.js';
import { ViewOpenings } from './view-openings.js';

const specOf = (viewId: string): ViewSpec => ({ vpgId: 'g', vmId: 'm', viewId, checkpointId: 1, purpose: 'test', volumes: [] });
const turn = (): Promise<void> => new Promise((resolve) => { setImmediate(resolve); });

function bench(fail: { open?: string; isSaveBroken?: boolean } = {}): { openings: ViewOpenings; said: string[]; highest: () => number } {
  const said: string[] = [];
  const open = new Set<string>();
  let highest = 0;
  let last: Promise<void> = Promise.resolve();
  const openings = new ViewOpenings({
    exclusive: (act) => (last = last.then(act)),
    open: async ({ viewId }) => {
      if (open.has(viewId)) throw new Error(`${viewId} twice at a time`);
      open.add(viewId);
      highest = Math.max(highest, open.size);
      await turn();
      open.delete(viewId);
      if (viewId === fail.open) throw new Error('cannot open');
      said.push(`open ${viewId}`);
    },
    save: async () => {
      await turn();
      if (fail.isSaveBroken === true) throw new Error('cannot save');
      said.push('save');
    },
  });
  return { openings, said, highest: () => highest };
}

describe('views that are asked for together', () => {
  it('are opened side by side, and answered after one save', async () => {
    const { openings, said } = bench();
    await Promise.all(['a', 'b', 'c'].map((viewId) => openings.open(specOf(viewId)).then(() => said.push(`answer ${viewId}`))));
    expect(said).toEqual(['open a', 'open b', 'open c', 'save', 'answer a', 'answer b', 'answer c']);
  });

  it('fail one by one', async () => {
    const { openings } = bench({ open: 'b' });
    const outcomes = await Promise.allSettled(['a', 'b', 'c'].map((viewId) => openings.open(specOf(viewId))));
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
  });

  it('are not answered as open when they could not be made durable', async () => {
    const { openings } = bench({ isSaveBroken: true });
    const outcomes = await Promise.allSettled(['a', 'b'].map((viewId) => openings.open(specOf(viewId))));
    expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
  });

  it('are opened in turn when they are one', async () => {
    const { openings, said } = bench();
    await Promise.all([openings.open(specOf('a')), openings.open(specOf('a'))]);
    expect(said).toEqual(['open a', 'open a', 'save']);
  });

  it('come in batches when there are many, and none is forgotten', async () => {
    const { openings, said, highest } = bench();
    await Promise.all(Array.from({ length: 100 }, (_, i) => openings.open(specOf(String(i)))));
    expect([said.filter((line) => line.startsWith('open')).length, said.filter((line) => line === 'save').length, highest()]).toEqual([100, 4, 32]);
  });
});
