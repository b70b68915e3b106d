import { describe, expect, it } from '@jest/globals';
import { StateChanges } from './state-changes.js';
import { emptyState, type SimulatedState } from './state.js';

const addFolder = (name: string) => async (draft: SimulatedState): Promise<string> => {
  draft.folders.push({ id: name, name });
  return await Promise.resolve(name);
};

const namesOf = ({ folders }: SimulatedState): string[] => folders.map(({ name }) => name).filter((name) => name.startsWith('new'));

function opened(onSave: (names: string[]) => Promise<void> = () => Promise.resolve()) {
  const saves: string[][] = [];
  const changes = new StateChanges(emptyState('11111111-0000-4000-8000-000000000000'), async (state) => {
    saves.push(namesOf(state));
    await onSave(namesOf(state));
  });
  return { changes, saves };
}

describe('StateChanges', () => {
  it('saves changes that wait together once, in their order, and answers and shows none before', async () => {
    let isDurable: (() => void) | undefined;
    const { changes, saves } = opened(() => new Promise((resolve) => {
      isDurable = resolve;
    }));
    const answered: string[] = [];
    const revision = changes.state.revision;
    const note = (name: string): number => answered.push(name);
    const first = changes.make(addFolder('new-1')).then(note);
    const others = [changes.make(addFolder('new-2')).then(note), changes.make(addFolder('new-3')).then(note)];
    while (!isDurable) await new Promise(setImmediate);
    expect([saves, answered, namesOf(changes.state)]).toEqual([[['new-1']], [], []]);
    isDurable();
    isDurable = undefined;
    await first;
    while (!isDurable) await new Promise<void>(setImmediate);
    expect([saves.at(-1), answered, namesOf(changes.state)]).toEqual([['new-1', 'new-2', 'new-3'], ['new-1'], ['new-1']]);
    (isDurable as () => void)();
    await Promise.all(others);
    expect([saves.length, answered, namesOf(changes.state), changes.state.revision]).toEqual([2, ['new-1', 'new-2', 'new-3'], ['new-1', 'new-2', 'new-3'], revision + 3]);
  });

  it('a change that throws, or alters nothing, takes nothing from those beside it', async () => {
    const { changes, saves } = opened();
    const refused = async (draft: SimulatedState): Promise<never> => {
      draft.folders.length = 0;
      return await Promise.reject(new Error('refused'));
    };
    const outcomes = await Promise.allSettled([changes.make(addFolder('new-1')), changes.make(refused), changes.make(() => Promise.resolve('same')), changes.make(addFolder('new-2'))]);
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled', 'fulfilled']);
    expect([namesOf(changes.state), saves.at(-1)]).toEqual([['new-1', 'new-2'], ['new-1', 'new-2']]);
  });

  it('fails all that were to be saved together, shows none of them, and goes on', async () => {
    let isFull = false;
    const { changes } = opened((names) => (isFull && names.length > 1 ? Promise.reject(new Error('no space')) : Promise.resolve()));
    await changes.make(addFolder('new-1'));
    isFull = true;
    const outcomes = await Promise.allSettled([changes.make(addFolder('new-2')), changes.make(addFolder('new-3')), changes.make(addFolder('new-4'))]);
    expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected']);
    expect(namesOf(changes.state)).toEqual(['new-1']);
    isFull = false;
    await changes.make(addFolder('new-5'));
    expect(namesOf(changes.state)).toEqual(['new-1', 'new-5']);
  });

  it('saves what follows a change that deletes files after that one', async () => {
    const { changes, saves } = opened();
    await Promise.all([
      changes.make(addFolder('new-1')),
      changes.make(addFolder('new-2')), changes.make(addFolder('new-3'), { deletesFiles: true }), changes.make(addFolder('new-4')),
    ]);
    expect(saves).toEqual([['new-1'], ['new-1', 'new-2', 'new-3'], ['new-1', 'new-2', 'new-3', 'new-4']]);
  });
});
