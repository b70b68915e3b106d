import type { Socket } from 'node:net';
import { networkOf } from './network-of.js';

export interface GateLimits {
  /** Connections at a time whose peer is not known yet; per address: of one IPv4 address or IPv6 /64. */
  readonly handshakesMax: number;
  readonly handshakesPerAddressMax: number;
}

/** An honest handshake takes three round trips: of 64 that are under way the oldest is the least likely to be one. */
export const GATE_LIMITS: GateLimits = { handshakesMax: 64, handshakesPerAddressMax: 16 };

/**
 * Connections that have not shown who they are. They never count against the places of links, and they cannot keep each other out: when there are too
 * many, the oldest one of the address that has most goes, so strangers who connect and then wait only push out themselves.
 */
export class HandshakeGate {
  /** Oldest first. */
  readonly #byAddress = new Map<string, Set<Socket>>();
  #count = 0;

  constructor(private readonly limits: GateLimits = GATE_LIMITS) {}

  get count(): number {
    return this.#count;
  }

  enter(socket: Socket): void {
    const address = networkOf(socket.remoteAddress ?? '');
    const own = this.#byAddress.get(address) ?? new Set();
    this.#byAddress.set(address, own.add(socket));
    this.#count += 1;
    socket.once('close', () => this.#leave(address, socket));
    if (own.size > this.limits.handshakesPerAddressMax) this.#evict(own);
    else if (this.#count > this.limits.handshakesMax) this.#evict(this.#largest());
  }

  /** The handshake of the connection from there is done. */
  passed({ remoteAddress = '', remotePort }: { readonly remoteAddress?: string | undefined; readonly remotePort?: number | undefined }): void {
    const address = networkOf(remoteAddress);
    for (const socket of this.#byAddress.get(address) ?? []) if (socket.remotePort === remotePort && socket.remoteAddress === remoteAddress) this.#leave(address, socket);
  }

  end(): void {
    for (const sockets of [...this.#byAddress.values()]) for (const socket of [...sockets]) socket.destroy();
  }

  #leave(address: string, socket: Socket): void {
    const own = this.#byAddress.get(address);
    if (own?.delete(socket) !== true) return;
    this.#count -= 1;
    if (own.size === 0) this.#byAddress.delete(address);
  }

  #largest(): Set<Socket> {
    let largest = new Set<Socket>();
    for (const sockets of this.#byAddress.values()) if (sockets.size > largest.size) largest = sockets;
    return largest;
  }

  #evict(sockets: Set<Socket>): void {
    const [oldest] = sockets;
    if (!oldest) return;
    this.#leave(networkOf(oldest.remoteAddress ?? ''), oldest);
    oldest.destroy();
  }
}
