import { spawn, type ChildProcess } from 'node:child_process';
import { pid } from 'node:process';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, expect, it } from '@jest/globals';
import { TurnWatch } from './turn-watch.js';
import { WaitMeter } from './wait-meter.js';

const children: ChildProcess[] = [];
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
});

/** Computes until it is ended, on the first CPU. */
function computing(): number {
  const child = spawn('taskset', ['-c', '0', 'sh', '-c', 'while :; do :; done'], { stdio: 'ignore' });
  children.push(child);
  if (child.pid === undefined) throw new Error('no taskset');
  return child.pid;
}

function compute(cpuMs: number): void {
  const usedMs = (): number => (process.threadCpuUsage().user + process.threadCpuUsage().system) / 1000;
  for (const endMs = usedMs() + cpuMs; usedMs() < endMs; );
}

it('a process that sleeps or computes keeps whoever waits for it waiting', async () => {
  // One thread: those of this process wait for each other's CPU on a busy machine, and are taken off one by one.
  const child = spawn('sleep', ['60'], { stdio: 'ignore' });
  children.push(child);
  const sleeper = new WaitMeter(() => [child.pid ?? 0]);
  await delay(100);
  const asleep = sleeper.start();
  await delay(200);
  expect(sleeper.waitedMs(asleep)).toBeGreaterThan(100);
  const meter = new WaitMeter(() => [pid]);
  const busy = meter.start();
  compute(200);
  expect(meter.waitedMs(busy)).toBeGreaterThan(150);
});

it('a process that gets half of a CPU does so half of the time', async () => {
  const [other, seen] = [computing(), computing()];
  const meter = new WaitMeter(() => [seen]);
  const start = meter.start();
  const startedMs = performance.now();
  await delay(1000);
  const wallMs = performance.now() - startedMs;
  expect(other).not.toBe(seen);
  expect(meter.waitedMs(start)).toBeLessThan(0.8 * wallMs);
});

it('what the guest does itself is not laid at the door of the process that it waits for', async () => {
  const child = spawn('sleep', ['60'], { stdio: 'ignore' });
  children.push(child);
  const meter = new WaitMeter(() => [child.pid ?? 0], pid);
  const start = meter.start();
  compute(200);
  expect(meter.waitedMs(start)).toBeLessThan(50);
  await delay(200);
  expect(meter.waitedMs(start)).toBeGreaterThan(100);
});

it('a long turn of the event loop is seen, a sleep is none', async () => {
  const watch = new TurnWatch();
  try {
    await delay(100);
    compute(200);
    await delay(50);
    expect(watch.takeLongestMs()).toBeGreaterThan(150);
    await delay(100);
    expect(watch.takeLongestMs()).toBeLessThan(150);
  } finally {
    watch.close();
  }
});
