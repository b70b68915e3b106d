import { describe, expect, it } from '@jest/globals';
import { OpeningVms } from './opening-vms.js';

/** Ends when it is told. */
function opening(): { readonly open: () => Promise<void>; readonly end: () => void } {
  let end = (): void => undefined;
  const done = new Promise<void>((resolve) => (end = resolve));
  return { open: () => done, end };
}

/** Everything that is due by now has run. */
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

async function isOver(promise: Promise<void>): Promise<boolean> {
  let over = false;
  void promise.then(() => (over = true));
  await turn();
  return over;
}

describe('VMs whose disks are being opened', () => {
  it('are known until it is over', async () => {
    const vms = new OpeningVms();
    const one = opening();
    const begun = vms.begin('vm-1', 'a', one.open);
    expect(vms.has('vm-1')).toBe(true);
    one.end();
    await begun;
    expect(vms.has('vm-1')).toBe(false);
  });

  it('are waited for when something else is wanted of them now, not when they are what is wanted', async () => {
    const vms = new OpeningVms();
    const [changed, same] = [opening(), opening()];
    void vms.begin('changed', 'old', changed.open);
    void vms.begin('same', 'as ever', same.open);
    const settled = vms.settleOthers((vmId) => (vmId === 'same' ? 'as ever' : 'new'));
    expect(await isOver(settled)).toBe(false);
    changed.end();
    expect(await isOver(settled)).toBe(true);
    expect(vms.has('same')).toBe(true);
  });

  it('are waited for no longer than patience lasts, and not at all when there are none', async () => {
    const vms = new OpeningVms();
    expect(await isOver(vms.settleWithin(3_600_000))).toBe(true);
    const [one, other] = [opening(), opening()];
    void vms.begin('vm-1', '', one.open);
    void vms.begin('vm-2', '', other.open);
    await vms.settleWithin(10);
    const settled = vms.settle();
    one.end();
    expect(await isOver(settled)).toBe(false);
    other.end();
    expect(await isOver(settled)).toBe(true);
  });
});
