import { chmod, lstat, unlink } from 'node:fs/promises';
import { connect, type Server } from 'node:net';
import { NbdServerError } from './nbd-server-error.js';

export interface SocketPlace {
  readonly socketPath: string;
  /** Permissions of the socket file, from the moment that it is there. Default 0600: who may connect may read and write every disk of the host. */
  readonly mode?: number;
}

export interface TcpPlace {
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
}

/** sockaddr_un holds 108 bytes with the final zero; the kernel would cut the rest off silently. */
const SOCKET_PATH_BYTES_MAX = 107;

/** Starts listening. Throws `NBD_LISTEN`. */
export async function listenAt(server: Server, place: SocketPlace | TcpPlace): Promise<void> {
  if (!('socketPath' in place)) return await startListening(server, { host: place.host, port: place.port });
  if (Buffer.byteLength(place.socketPath) > SOCKET_PATH_BYTES_MAX) {
    throw new NbdServerError('NBD_LISTEN', `socket path is longer than ${String(SOCKET_PATH_BYTES_MAX)} bytes: ${place.socketPath}`);
  }
  await removeStaleSocket(place.socketPath);
  const mode = place.mode ?? SOCKET_MODE;
  await startListeningAt(server, place.socketPath, mode);
  const found = (await lstat(place.socketPath)).mode & 0o777;
  if (found !== mode) throw new NbdServerError('NBD_LISTEN', `${place.socketPath} has mode ${found.toString(8)}, not ${mode.toString(8)}: this file system does not keep modes`);
}

const SOCKET_MODE = 0o600;

/** The file appears in the call of `listen`: under this umask nobody else gets in between that and a chmod. */
async function startListeningAt(server: Server, path: string, mode: number): Promise<void> {
  const umask = process.umask(0o777 & ~mode);
  try {
    const listening = startListening(server, { path });
    process.umask(umask);
    await listening;
  } finally {
    process.umask(umask);
  }
  await chmod(path, mode);
}

function startListening(server: Server, where: { path: string } | { host: string; port: number }): Promise<void> {
  return new Promise((resolve, reject) => {
    const failed = (cause: Error): void => reject(new NbdServerError('NBD_LISTEN', cause.message, { cause }));
    server.once('error', failed);
    server.listen({ ...where, backlog: 511 }, () => {
      server.off('error', failed);
      resolve();
    });
  });
}

/** A socket file outlives a killed server. It is removed only if nobody answers there, and never if it is anything else. */
async function removeStaleSocket(path: string): Promise<void> {
  const stat = await lstat(path).catch((error: unknown) => {
    if ((error as { code?: unknown }).code === 'ENOENT') return undefined;
    throw new NbdServerError('NBD_LISTEN', `cannot look at ${path}`, { cause: error });
  });
  if (stat === undefined) return;
  if (!stat.isSocket()) throw new NbdServerError('NBD_LISTEN', `${path} is not a socket`);
  if (await isAnswered(path)) throw new NbdServerError('NBD_LISTEN', `${path} is in use by another process`);
  await unlink(path).catch((cause: unknown) => {
    if ((cause as { code?: unknown }).code !== 'ENOENT') throw new NbdServerError('NBD_LISTEN', `cannot remove ${path}`, { cause });
  });
}

function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ path });
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    // Anything but a refusal (no rights, full backlog) may be a living server.
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code !== 'ECONNREFUSED' && error.code !== 'ENOENT'));
  });
}
