import { createSocket } from 'node:dgram';
import { connect as connectTcp, isIPv6, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { lookup } from 'node:dns/promises';

export interface SyslogTarget {
  readonly protocol: 'udp' | 'tcp' | 'tls';
  readonly host: string;
  readonly port: number;
  /** CA of the collector, PEM; null: the system's. */
  readonly caPem: string | null;
}

const TIMEOUT_MS = 15_000;

/**
 * Delivers all messages or throws. Syslog has no acknowledgements, so each batch has a connection of its own: it counts as delivered when the
 * collector, told that nothing more comes, has read to the end and closed without an error. What is sent again after a failure may arrive twice.
 * UDP delivers what the network lets through, and nobody learns the rest.
 */
export async function deliver(messages: readonly Buffer[], target: SyslogTarget): Promise<void> {
  switch (target.protocol) {
    case 'udp': return await overUdp(messages, target);
    case 'tcp': return await overStream(messages, connectTcp({ host: target.host, port: target.port }), 'connect');
    case 'tls': {
      const { host, port, caPem } = target;
      return await overStream(messages, connectTls({ host, port, servername: isName(host) ? host : '', minVersion: 'TLSv1.2', ...(caPem === null ? {} : { ca: caPem }) }), 'secureConnect');
    }
  }
}

const isName = (host: string): boolean => !isIPv6(host) && !/^[\d.]+$/.test(host);

/** Octet counting (RFC 6587, 3.4.1; RFC 5425, 4.3): a line feed in a message would end nothing. */
const framed = (message: Buffer): Buffer => Buffer.concat([Buffer.from(`${message.length} `), message]);

function overStream(messages: readonly Buffer[], socket: Socket, readyEvent: 'connect' | 'secureConnect'): Promise<void> {
  return new Promise((resolve, reject) => {
    let isSent = false;
    let isRead = false;
    const fail = (error: Error): void => {
      socket.destroy();
      reject(error);
    };
    const timer = setTimeout(() => fail(new Error(`the collector has not taken the messages within ${TIMEOUT_MS / 1000} s`)), TIMEOUT_MS);
    socket.once(readyEvent, () => socket.end(Buffer.concat(messages.map(framed)), () => {
      isSent = true;
    }));
    // What it answers, if anything, says nothing.
    socket.resume();
    socket.once('end', () => {
      isRead = isSent;
    });
    socket.once('error', (error) => {
      clearTimeout(timer);
      fail(error);
    });
    socket.once('close', () => {
      clearTimeout(timer);
      if (isRead) resolve();
      else reject(new Error('the collector closed the connection before it had taken the messages'));
    });
  });
}

async function overUdp(messages: readonly Buffer[], { host, port }: SyslogTarget): Promise<void> {
  const { address, family } = await lookup(host);
  const socket = createSocket(family === 6 ? 'udp6' : 'udp4');
  try {
    for (const message of messages) {
      await new Promise<void>((resolve, reject) => socket.send(message, port, address, (error) => (error ? reject(error) : resolve())));
    }
  } finally {
    socket.close();
  }
}
