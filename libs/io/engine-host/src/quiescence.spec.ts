import { describe, expect, it } from '@jest/globals';
import type { FrozenGuest } from './guest-agent.js';
import { Quiescence } from './quiescence.js';
import type { QuiesceMessage } from './quiesce-message.js';

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const silent = { info: () => undefined, warn: () => undefined, error: () => undefined };
const freezeMessage: QuiesceMessage = { type: 'quiesce', vpgId: 'vpg', requestId: 'r', kind: 'freeze', reason: '' };

/** VRA `b` with two VMs. */
class Stage {
  readonly sent: { readonly to: string; readonly kind: string; readonly reason: string }[] = [];
  readonly frozen = new Set<string>();
  readonly waits = new Map<string, () => void>();
  readonly quiescence = new Quiescence({
    selfVraId: 'b', log: silent,
    agents: { freeze: (vmId) => this.#freeze(vmId) },
    send: (to, { kind, reason }) => void this.sent.push({ to, kind, reason }),
    isPeerUp: () => true,
    ownVmIds: () => ['vm-1', 'vm-2'],
  });

  constructor(private readonly slowVmId = '') {}

  async #freeze(vmId: string): Promise<FrozenGuest> {
    if (vmId === this.slowVmId) await new Promise<void>((resolve) => this.waits.set(vmId, resolve));
    this.frozen.add(vmId);
    return { isStillFrozen: () => Promise.resolve(this.frozen.has(vmId)), thaw: () => Promise.resolve(void this.frozen.delete(vmId)) };
  }
}

describe('what is frozen for another VRA', () => {
  it('is marked, confirmed while frozen, and thawed when that one says so; nobody else can', async () => {
    const { quiescence, frozen, sent } = new Stage();
    expect(quiescence.markRefusal('vpg', 1, ['vm-1'])).toContain('vm-1');
    quiescence.message('a', freezeMessage);
    await settled();
    expect(sent).toEqual([{ to: 'a', kind: 'frozen', reason: '' }]);
    expect(quiescence.markRefusal('vpg', 2, ['vm-1', 'vm-2'])).toBeUndefined();
    expect(quiescence.markRefusal('vpg', 3, ['vm-1', 'vm-3'])).toContain('vm-3');
    quiescence.message('c', { ...freezeMessage, kind: 'thaw' });
    quiescence.message('a', { ...freezeMessage, kind: 'thaw', requestId: 'older' });
    expect(frozen.size).toBe(2);
    expect(await quiescence.confirm('vpg', 2)).toBeUndefined();
    quiescence.message('a', { ...freezeMessage, kind: 'thaw' });
    expect(frozen.size).toBe(0);
  });

  it('is not confirmed after one guest thawed', async () => {
    const { quiescence, frozen } = new Stage();
    quiescence.message('a', freezeMessage);
    await settled();
    quiescence.markRefusal('vpg', 2, ['vm-1', 'vm-2']);
    frozen.delete('vm-2');
    expect(await quiescence.confirm('vpg', 2)).toContain('vm-2 thawed');
  });

  it('is thawed when that one is lost, also what froze after that', async () => {
    const stage = new Stage('vm-2');
    stage.quiescence.message('a', freezeMessage);
    await settled();
    expect([...stage.frozen]).toEqual(['vm-1']);
    stage.quiescence.peerLost('c');
    expect([...stage.frozen]).toEqual(['vm-1']);
    stage.quiescence.peerLost('a');
    expect([...stage.frozen]).toEqual([]);
    stage.waits.get('vm-2')?.();
    await settled();
    expect([...stage.frozen]).toEqual([]);
    expect(stage.sent).toMatchObject([{ to: 'a', kind: 'unfrozen' }]);
  });

  it('is not shared with a second request', async () => {
    const { quiescence, sent } = new Stage();
    quiescence.message('a', freezeMessage);
    await settled();
    quiescence.message('c', { ...freezeMessage, requestId: 's' });
    await settled();
    expect(sent.at(-1)).toMatchObject({ to: 'c', kind: 'unfrozen' });
  });
});

describe('the leader', () => {
  it('makes nothing when a VRA is lost meanwhile, and thaws everywhere', async () => {
    const { quiescence, frozen, sent } = new Stage();
    let isMade = false;
    const made = quiescence.during('vpg', ['a', 'b'], () => Promise.resolve((isMade = true))).catch((error: unknown) => error);
    await settled();
    expect(frozen.size).toBe(2);
    quiescence.peerLost('a');
    expect(await made).toMatchObject({ code: 'CHECKPOINT_FREEZE' });
    expect([isMade, frozen.size, sent.map(({ kind }) => kind)]).toEqual([false, 0, ['freeze', 'thaw']]);
  });
});
