import { connect } from 'node:net';
import { createInterface } from 'node:readline';

/** One QMP conversation: capabilities, the commands in order, end. Throws with QEMU's words when one fails. */
export async function qmp(socketPath, commands) {
  const socket = connect({ path: socketPath });
  const lines = createInterface({ input: socket })[Symbol.asyncIterator]();
  const answer = async () => {
    for (;;) {
      const { value, done } = await lines.next();
      if (done) throw new Error(`QMP at ${socketPath} ended`);
      const message = JSON.parse(value);
      if (message.error) throw new Error(`QMP: ${message.error.desc}`);
      if ('return' in message || 'QMP' in message) return message;
    }
  };
  try {
    await answer();
    for (const command of [{ execute: 'qmp_capabilities' }, ...commands]) {
      socket.write(`${JSON.stringify(command)}\n`);
      await answer();
    }
  } finally {
    socket.destroy();
  }
}
