import { utf8Bytes } from './text.js';

/** Where an export is served. */
export type NbdAddress =
  | { readonly kind: 'unix'; readonly socketPath: string; readonly exportName: string }
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number; readonly exportName: string };

/** Default port of the protocol (IANA). */
export const NBD_PORT = 10_809;
/** Of the protocol. */
const EXPORT_NAME_BYTES_MAX = 4096;
/** sockaddr_un holds 108 bytes with the final zero. */
const SOCKET_PATH_BYTES_MAX = 107;

/** The text is not an NBD URI that we can use; the message says what to write instead. */
export class NbdUriError extends Error {
  override readonly name = 'NbdUriError';
}

const FORMS = 'write nbd://host:port/export or nbd+unix:///export?socket=/path/of/the.sock';

/** True if the text means an NBD export rather than a file: it has a scheme. */
export const isNbdUri = (text: string): boolean => /^[a-z][a-z0-9+.-]*:\/\//i.test(text);

/** Reads `nbd://host[:port]/export` and `nbd+unix:///export?socket=/path`. Throws {@link NbdUriError}. */
export function parseNbdUri(text: string): NbdAddress {
  const parts = /^([a-z][a-z0-9+.-]*):\/\/([^/?#]*)(?:\/([^?#]*))?(?:\?([^#]*))?$/i.exec(text);
  if (parts === null) throw new NbdUriError(`'${text}' is not an NBD URI: ${FORMS}`);
  const [, scheme = '', authority = '', path = '', query = ''] = parts;
  const exportName = decoded(path, 'export name');
  if (utf8Bytes(exportName).length > EXPORT_NAME_BYTES_MAX) throw new NbdUriError('an export name has at most 4096 bytes');
  switch (scheme.toLowerCase()) {
    case 'nbd':
      if (query !== '') throw new NbdUriError(`nbd:// takes nothing after a question mark, found '${query}'`);
      return { kind: 'tcp', ...hostOf(authority), exportName };
    case 'nbd+unix':
      if (authority !== '') throw new NbdUriError(`nbd+unix:// has no host, found '${authority}': ${FORMS}`);
      return { kind: 'unix', socketPath: socketOf(query), exportName };
    case 'nbds':
    case 'nbds+unix':
      throw new NbdUriError('NBD over TLS is not supported for protected volumes: serve the export on a UNIX socket of this host, or through a tunnel');
    default:
      throw new NbdUriError(`'${scheme}' is not a scheme of NBD: ${FORMS}`);
  }
}

function hostOf(authority: string): { readonly host: string; readonly port: number } {
  const parts = /^(\[[0-9a-f:.]+\]|[^:@[\]]+)(?::(\d{1,5}))?$/i.exec(authority);
  if (parts === null) throw new NbdUriError(`'${authority}' is not a host with a port: ${FORMS}`);
  const port = parts[2] === undefined ? NBD_PORT : Number(parts[2]);
  if (port < 1 || port > 65_535) throw new NbdUriError(`${port} is not a port`);
  return { host: (parts[1] ?? '').replace(/^\[|\]$/g, ''), port };
}

function socketOf(query: string): string {
  const sockets = query.split('&').filter((part) => part.startsWith('socket='));
  if (sockets.length !== 1 || query.includes('&')) throw new NbdUriError(`nbd+unix:// needs ?socket=/path and nothing else: ${FORMS}`);
  const socketPath = decoded((sockets[0] ?? '').slice('socket='.length), 'socket path');
  if (!socketPath.startsWith('/')) throw new NbdUriError(`the socket must be an absolute path, found '${socketPath}'`);
  if (utf8Bytes(socketPath).length > SOCKET_PATH_BYTES_MAX) throw new NbdUriError(`the path of a socket has at most ${SOCKET_PATH_BYTES_MAX} bytes`);
  return socketPath;
}

function decoded(text: string, what: string): string {
  try {
    const value = decodeURIComponent(text);
    if (value.includes('\0')) throw new NbdUriError(`the ${what} must have no zero byte`);
    return value;
  } catch (error) {
    if (error instanceof NbdUriError) throw error;
    throw new NbdUriError(`the ${what} '${text}' is not percent-encoded text`);
  }
}
