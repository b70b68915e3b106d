import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { childrenOf } from '../process/proc.js';
import type { ProcessRecord } from '../process/process-registry.js';

/** Something that a process of the lab listens on. */
export interface Listener {
  /** Name of the process in the lab: `a/nats`. */
  readonly process: string;
  readonly kind: 'tcp' | 'udp' | 'unix';
  /** Address of an Internet socket, path of a UNIX socket (`@` first: an abstract one). */
  readonly place: string;
  /** 0: a UNIX socket. */
  readonly port: number;
}

const TCP_LISTEN = '0A';
/** UDP has no state of its own for it: bound and not connected. */
const UDP_BOUND = '07';
/** `__SO_ACCEPTCON` of unix_sock: it listens. */
const UNIX_LISTENS = '00010000';

/** Every socket on which a process, or one that it started (but `others`), can be reached; read from the kernel, so nothing has to be declared anywhere. */
export function listenersOf(site: string, record: Pick<ProcessRecord, 'name' | 'pid'>, others: ReadonlySet<number> = new Set()): Listener[] {
  const process = `${site}/${record.name}`;
  const found = familyOf(record.pid, others).flatMap((pid) => listenersOfPid(pid).map((listener) => ({ process, ...listener })));
  // Workers of one server share its sockets.
  return [...new Map(found.map((listener) => [`${listener.kind} ${listener.place} ${listener.port}`, listener])).values()];
}

const familyOf = (pid: number, others: ReadonlySet<number>): number[] => [pid, ...childrenOf(pid).filter((child) => !others.has(child.pid)).flatMap((child) => familyOf(child.pid, others))];

function listenersOfPid(pid: number): Omit<Listener, 'process'>[] {
  const inodes = socketInodes(pid);
  const lines = (file: string): string[][] => readFileSync(`/proc/${pid}/net/${file}`, 'utf8').split('\n').slice(1).filter((line) => line !== '').map((line) => line.trim().split(/\s+/));
  const internet = (file: string, kind: 'tcp' | 'udp', state: string): Omit<Listener, 'process'>[] =>
    lines(file).filter((fields) => fields[3] === state && inodes.has(fields[9] ?? '')).map((fields) => ({ kind, ...readAddress(fields[1] ?? '') }));
  const unix = lines('unix').filter((fields) => fields[3] === UNIX_LISTENS && inodes.has(fields[6] ?? '')).map((fields) => ({ kind: 'unix' as const, place: fields[7] ?? '(without a name)', port: 0 }));
  return [...internet('tcp', 'tcp', TCP_LISTEN), ...internet('tcp6', 'tcp', TCP_LISTEN), ...internet('udp', 'udp', UDP_BOUND), ...internet('udp6', 'udp', UDP_BOUND), ...unix];
}

function socketInodes(pid: number): Set<string> {
  const folder = `/proc/${pid}/fd`;
  const inodes = new Set<string>();
  for (const name of readdirSync(folder)) {
    const inode = /^socket:\[(\d+)\]$/.exec(linkAt(`${folder}/${name}`))?.[1];
    if (inode !== undefined) inodes.add(inode);
  }
  return inodes;
}

/** A descriptor may be closed between listing and looking. */
function linkAt(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}

/** `0101007F:25C5`: each group of four bytes as the machine has it, which is little-endian here. */
export function readAddress(text: string): { readonly place: string; readonly port: number } {
  const [address = '', port = ''] = text.split(':');
  const bytes = Buffer.from(address, 'hex');
  for (let at = 0; at < bytes.length; at += 4) bytes.subarray(at, at + 4).reverse();
  const place = bytes.length === 4 ? bytes.join('.') : (bytes.toString('hex').match(/.{4}/g) ?? []).join(':');
  return { place, port: Number.parseInt(port, 16) };
}
