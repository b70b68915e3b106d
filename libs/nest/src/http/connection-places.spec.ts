import { expect, it } from '@jest/globals';
import { EventEmitter } from 'node:events';
import type { Socket } from 'node:net';
import { ConnectionPlaces } from './connection-places.js';

class FakeSocket extends EventEmitter {
  isDestroyed = false;

  constructor(readonly remoteAddress: string) {
    super();
  }

  destroy(): void {
    this.isDestroyed = true;
    this.emit('close');
  }
}

const places = new ConnectionPlaces({ connectionsMax: 6, connectionsPerNetworkMax: 4 });
const come = (address: string): { readonly socket: FakeSocket; readonly isIn: boolean } => {
  const socket = new FakeSocket(address);
  return { socket, isIn: places.enter(socket as unknown as Socket) };
};

it('one network has its share; when all places are taken the oldest of the largest network goes, and nobody of a smaller one', () => {
  const many = [1, 2, 3, 4].map(() => come('10.0.0.1'));
  expect(come('10.0.0.1').isIn).toBe(false);
  const others = ['2001:db8::1', '2001:db8::2'].map(come);
  expect([...many, ...others].every(({ isIn }) => isIn)).toBe(true);
  expect(come('10.0.0.2').isIn).toBe(true);
  expect(many.map(({ socket }) => socket.isDestroyed)).toEqual([true, false, false, false]);
  expect(others.every(({ socket }) => !socket.isDestroyed)).toBe(true);
  expect(come('2001:db8::3').isIn).toBe(true); // the third of its /64
  expect(come('2001:db8::4').isIn).toBe(false); // as many as the largest
  expect(places.count).toBe(6);
  for (const { socket } of many) socket.destroy();
  expect(places.count).toBe(4);
  expect(come('10.0.0.1').isIn).toBe(true);
});
