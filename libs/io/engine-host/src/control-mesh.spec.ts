import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { afterEach, describe, expect, it } from '@jest/globals';
import { encodeHello } from '@tidemark/frame';
import { crc32c, type LinkTransport } from '@tidemark/link';
import { ControlMesh } from './control-mesh.js';

const nameOf = (instanceId: string) => ({ siteId: 'site-a', role: 'vra', instanceId }) as const;

/** Whoever connects meets a VRA of a later release. */
function transportTo(attempts: () => void): LinkTransport {
  const nobody = (): never => {
    throw new Error('nobody connects here');
  };
  return {
    self: nameOf('vra-1'),
    connect: ({ expected }) => {
      attempts();
      const socket = new Duplex({ read: () => undefined, write: (_chunk, _encoding, done) => done() });
      for (const chunk of encodeHello({ versionMin: 2, versionMax: 3, features: 0 }, crc32c)) socket.push(chunk);
      return Promise.resolve({ socket: socket as Socket, peer: expected });
    },
    createServer: nobody, believe: nobody, guard: nobody, close: nobody,
  };
}

let mesh: ControlMesh | undefined;
afterEach(async () => await mesh?.close());

describe('ControlMesh', () => {
  it('says why there is no talking to a VRA that speaks another version, and tries again', async () => {
    const warned: object[] = [];
    const isWarnedTwice = Promise.withResolvers<undefined>();
    const up: string[] = [];
    let attempts = 0;
    const log = {
      info: () => undefined, error: () => undefined,
      warn: (fields: object) => {
        if (warned.push(fields) === 2) isWarnedTwice.resolve(undefined);
      },
    };
    const nothing = (): void => undefined;
    const handlers = { peerUp: (vraId: string) => void up.push(vraId), peerLost: nothing, roundTripMeasured: nothing, message: nothing, held: nothing, quiesce: nothing };
    mesh = new ControlMesh({ vraId: 'vra-1', address: '127.0.0.1', transport: transportTo(() => (attempts += 1)) }, handlers, log);
    mesh.setPeers([{ vraId: 'vra-2', address: '127.0.0.1', controlPort: 4007, dataPort: 4008 }]);
    await isWarnedTwice.promise;
    const said = { peer: 'vra-2', cause: 'the peer speaks frame versions 2 to 3, this side speaks frame version 1' };
    expect([warned, up, attempts >= 2, mesh.isPeerUp('vra-2')]).toEqual([[said, said], [], true, false]);
  });
});
