import { firstTermOf, nextTerm, TERM_MAX } from './terms.js';
import type { BarrierConfig, BarrierMessage, TermVote } from './types.js';

/** A leader is taken as lost after this many silent intervals; each further member in the order waits one more. */
const SILENT_INTERVALS = 3;

interface Peer {
  isUp: boolean;
  /** The last hello on this connection, whatever its version. */
  hello: { version: number; isLeading: boolean } | undefined;
  /** The term in which it said that it follows this VRA. */
  followedTerm: number;
  roundTripMs: number;
}

/**
 * Who leads: votes, terms, silence. A VRA obeys one leader per term and never an older term; both are durable before
 * they count, so that no two checkpoints ever carry one number.
 */
export class Election {
  #config: BarrierConfig | undefined;
  #vote: TermVote | null;
  #storing: TermVote | undefined;
  #seenTerm = 0;
  #isLeading = false;
  #followedVraId: string | null = null;
  #lastHeardAtMs = 0;
  /** Nobody was voted for in this version since this process, or this version, began. */
  #isFresh = true;
  readonly #peers = new Map<string, Peer>();

  constructor(
    readonly selfVraId: string,
    storedVote: TermVote | null,
  ) {
    this.#vote = storedVote;
    this.#seenTerm = storedVote?.term ?? 0;
  }

  get isLeading(): boolean {
    return this.#isLeading;
  }

  get leaderVraId(): string | null {
    return this.#isLeading ? this.selfVraId : this.#followedVraId;
  }

  get term(): number {
    return this.#vote?.term ?? 0;
  }

  /** What binds this VRA: the vote on its way to the disk binds already, it only does not count yet. */
  get #binding(): TermVote | null {
    return this.#storing ?? this.#vote;
  }

  get bindingTerm(): number {
    return this.#binding?.term ?? 0;
  }

  get bindingLeader(): string | null {
    return this.#binding?.leaderVraId ?? null;
  }

  get isStoring(): boolean {
    return this.#storing !== undefined;
  }

  configure(config: BarrierConfig, nowMs: number): void {
    this.#config = config;
    this.#isLeading = false;
    this.#followedVraId = null;
    this.#isFresh = true;
    this.#lastHeardAtMs = nowMs;
    for (const peer of this.#peers.values()) peer.followedTerm = 0;
  }

  get others(): readonly string[] {
    return (this.#config?.members ?? []).map((member) => member.vraId).filter((vraId) => vraId !== this.selfVraId);
  }

  peer(vraId: string): Peer {
    const known = this.#peers.get(vraId);
    if (known !== undefined) return known;
    const peer: Peer = { isUp: false, hello: undefined, followedTerm: 0, roundTripMs: 0 };
    this.#peers.set(vraId, peer);
    return peer;
  }

  get upPeers(): readonly string[] {
    return this.others.filter((vraId) => this.#peers.get(vraId)?.isUp === true);
  }

  peerUp(vraId: string): void {
    if (this.peer(vraId).isUp) return;
    Object.assign(this.peer(vraId), { isUp: true, hello: undefined, followedTerm: 0 });
  }

  peerLost(vraId: string): void {
    Object.assign(this.peer(vraId), { isUp: false, hello: undefined, followedTerm: 0 });
    if (this.#followedVraId === vraId) this.#followedVraId = null;
  }

  /** Members that this VRA cannot make a checkpoint with now, as its leader. */
  missingFollowers(): readonly string[] {
    return this.others.filter((vraId) => {
      const peer = this.#peers.get(vraId);
      return peer?.isUp !== true || peer.followedTerm !== this.term;
    });
  }

  helloCame(vraId: string, message: BarrierMessage & { kind: 'hello' }, nowMs: number): void {
    this.peer(vraId).hello = { version: message.version, isLeading: message.isLeading };
    this.#seenTerm = Math.max(this.#seenTerm, message.term);
    const config = this.#config;
    if (config === undefined || this.#position(vraId) > this.#position(this.selfVraId)) return;
    // A member that precedes us came back: it gets one interval to claim before we do.
    this.#lastHeardAtMs = Math.max(this.#lastHeardAtMs, nowMs - (this.#patienceMs(config) - config.intervalMs));
  }

  sawTerm(term: number): void {
    this.#seenTerm = Math.max(this.#seenTerm, term);
  }

  /** A message in which `vraId` speaks as leader of `term`: obey it, store a vote for it first, or refuse it. */
  judge(vraId: string, term: number, nowMs: number): 'obey' | 'store' | 'wait' | 'refuse' {
    if (term > this.bindingTerm) return 'store';
    if (term !== this.bindingTerm || vraId !== this.bindingLeader) return 'refuse';
    if (this.isStoring) return 'wait';
    this.#heard(vraId, nowMs);
    return 'obey';
  }

  vote(vote: TermVote): void {
    this.#storing = vote;
    this.#seenTerm = Math.max(this.#seenTerm, vote.term);
    this.#isLeading = false;
    this.#followedVraId = null;
  }

  /** Returns the vote that counts from now on; undefined if a newer one is on its way. */
  stored(vote: TermVote, nowMs: number): TermVote | undefined {
    const storing = this.#storing;
    if (storing === undefined || storing.term !== vote.term || storing.leaderVraId !== vote.leaderVraId) return undefined;
    this.#vote = storing;
    this.#storing = undefined;
    this.#lastHeardAtMs = nowMs;
    // A vote of an older version's row still binds, but nobody leads by it.
    if (this.#config === undefined || storing.term < firstTermOf(this.#config.version)) return undefined;
    this.#isFresh = false;
    this.#isLeading = storing.leaderVraId === this.selfVraId;
    if (!this.#isLeading) this.#heard(storing.leaderVraId, nowMs);
    return storing;
  }

  stepDown(nowMs: number): void {
    this.#isLeading = false;
    this.#lastHeardAtMs = nowMs;
  }

  /** False: not this VRA's turn, or pointless because a member is out of reach. */
  shallClaim(nowMs: number): boolean {
    return nowMs >= this.claimAtMs();
  }

  /** The lowest term that this VRA may claim; undefined: no number left, a new configuration must come. */
  nextTerm(): number | undefined {
    if (this.#config === undefined) return undefined;
    const term = nextTerm(this.#config.version, Math.max(this.#seenTerm, this.bindingTerm));
    return term <= TERM_MAX ? term : undefined;
  }

  /** When {@link shallClaim} will say yes if nothing happens; Infinity: not by the passing of time. */
  claimAtMs(): number {
    const config = this.#config;
    if (config === undefined || this.#isLeading || this.isStoring || this.nextTerm() === undefined) return Infinity;
    if (this.#position(this.selfVraId) < 0 || !this.#isEveryPeerReady(config)) return Infinity;
    if (this.#isFresh && this.#position(this.selfVraId) === 0) return 0;
    return this.#lastHeardAtMs + this.#patienceMs(config);
  }

  /** Is this VRA before `vraId` in the order of succession? */
  precedes(vraId: string): boolean {
    return this.#position(this.selfVraId) < this.#position(vraId);
  }

  /** A checkpoint needs every member, so a claim without all of them would only burn terms. */
  #isEveryPeerReady(config: BarrierConfig): boolean {
    return this.others.every((vraId) => {
      const peer = this.#peers.get(vraId);
      return peer?.isUp === true && peer.hello?.version === config.version;
    });
  }

  #patienceMs(config: BarrierConfig): number {
    const successors = config.members.map((member) => member.vraId).filter((vraId) => vraId !== this.bindingLeader);
    const rank = Math.max(0, successors.indexOf(this.selfVraId));
    return (SILENT_INTERVALS + rank) * config.intervalMs;
  }

  #position(vraId: string): number {
    return (this.#config?.members ?? []).findIndex((member) => member.vraId === vraId);
  }

  #heard(vraId: string, nowMs: number): void {
    if (vraId === this.selfVraId) return;
    this.#followedVraId = vraId;
    this.#lastHeardAtMs = nowMs;
  }
}
