import { networkOf } from '@tidemark/sys/network';
import type { Socket } from 'node:net';

export interface PlaceLimits {
  readonly connectionsMax: number;
  /** Of one IPv4 address or IPv6 /64. */
  readonly connectionsPerNetworkMax: number;
}

/**
 * Who has the places of a listener. One network has a share of them at most. When all are taken, the oldest connection of the network that has most goes, so
 * that a few networks full of idle connections keep nobody else out.
 */
export class ConnectionPlaces {
  /** Oldest first. */
  readonly #byNetwork = new Map<string, Set<Socket>>();
  #count = 0;

  constructor(private readonly limits: PlaceLimits) {}

  get count(): number {
    return this.#count;
  }

  /** False: there is no place for it. */
  enter(socket: Socket): boolean {
    const network = networkOf(socket.remoteAddress ?? '');
    const own = this.#byNetwork.get(network) ?? new Set();
    if (own.size >= this.limits.connectionsPerNetworkMax) return false;
    if (this.#count >= this.limits.connectionsMax && !this.#makeRoom(own.size)) return false;
    this.#byNetwork.set(network, own.add(socket));
    this.#count += 1;
    socket.once('close', () => this.#leave(network, socket));
    return true;
  }

  /** Not for a network that has as many as the largest one. */
  #makeRoom(ownCount: number): boolean {
    let [largest, sockets] = ['', new Set<Socket>()];
    for (const [network, its] of this.#byNetwork) if (its.size > sockets.size) [largest, sockets] = [network, its];
    const [oldest] = sockets;
    if (!oldest || ownCount >= sockets.size) return false;
    this.#leave(largest, oldest);
    oldest.destroy();
    return true;
  }

  #leave(network: string, socket: Socket): void {
    const own = this.#byNetwork.get(network);
    if (own?.delete(socket) !== true) return;
    this.#count -= 1;
    if (own.size === 0) this.#byNetwork.delete(network);
  }
}
