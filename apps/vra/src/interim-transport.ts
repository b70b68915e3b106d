import type { LinkTransport } from '@tidemark/link';
import { type ComponentName, nameUri, parseNameUri } from '@tidemark/trust';
import { connect, createServer, type Socket } from 'node:net';

/** Until VRAs are enrolled and have certificates: whoever connects says who it is. Goes with the enrolment. */
export function interimTransport(self: ComponentName): LinkTransport {
  return {
    self,
    createServer: (onSocket) => ({ server: createServer({ noDelay: true }, (socket) => greet(socket, onSocket)), endHandshakes: () => undefined }),
    connect: ({ address, port, localAddress, expected }, signal) =>
      new Promise((resolve, reject) => {
        const socket = connect({ host: address, port, noDelay: true, ...(localAddress === undefined ? {} : { localAddress }) });
        const stop = (): void => void socket.destroy(new Error('no connection in time'));
        signal.addEventListener('abort', stop, { once: true });
        socket.once('error', reject);
        socket.once('connect', () => {
          signal.removeEventListener('abort', stop);
          socket.off('error', reject);
          socket.write(`${nameUri(self)}\n`);
          resolve({ socket, peer: expected });
        });
      }),
    believe: () => undefined,
    guard: () => undefined,
    close: () => undefined,
  };
}

function greet(socket: Socket, onSocket: (known: { socket: Socket; peer: ComponentName }) => void): void {
  const drop = (): void => void socket.destroy();
  socket.once('error', drop);
  let text = '';
  const read = (): void => {
    for (;;) {
      const byte = (socket.read(1) as Buffer | null)?.toString();
      if (byte === undefined) return;
      if (byte !== '\n' && text.length < 300) {
        text += byte;
        continue;
      }
      socket.off('readable', read);
      socket.off('error', drop);
      const peer = parseNameUri(text);
      if (!peer) return drop();
      // Bytes were read here already: nobody else may take the descriptor over.
      onSocket({ socket: Object.assign(socket, { encrypted: true }), peer });
      return;
    }
  };
  socket.on('readable', read);
}
