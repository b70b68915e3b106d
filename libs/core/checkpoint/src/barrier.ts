import { assert, unreachable } from '@tidemark/base';
import type { CheckpointMarker } from '@tidemark/frame';
import { Election } from './election.js';
import { Rounds, type CheckpointRequest, type Outcome } from './leader.js';
import { Participant, type Answers } from './participant.js';
import { checkpointIdOf, CHECKPOINTS_PER_TERM, firstTermOf, termOf, VERSION_MAX } from './terms.js';
import type { BarrierConfig, BarrierEffect, BarrierEvent, BarrierMessage, BarrierOptions, BarrierStatus, BarrierTime } from './types.js';

const HOLD_BOUND_MS = 50;
const OUTCOME_TIMEOUT_MS = 5000;

/** Distributes over the union, so that each kind keeps its own fields. */
type Body<Message> = Message extends BarrierMessage ? Omit<Message, 'type' | 'vpgId' | 'version' | 'epoch' | 'term'> & { readonly term?: number } : never;
type MessageOf<Kind extends BarrierMessage['kind']> = Extract<BarrierMessage, { kind: Kind }>;

/**
 * Checkpoints of one VPG at one protecting VRA: participant, and leader when it is its turn. One cut over all VMs and hosts:
 * a sealed checkpoint holds of two dependent writes none, both, or only the first. docs/spec/checkpoint.md
 */
export class Barrier {
  readonly #election: Election;
  readonly #participant: Participant;
  readonly #rounds: Rounds;
  #config: BarrierConfig | undefined;
  #ownVmIds: readonly string[] = [];
  #allVmIds: readonly string[] = [];
  /** Of the term led now; the next checkpoint's number is one more. */
  #lastIndex = 0;
  #lastMarkedId = 0;
  /** The highest number that a journal was heard to hold. */
  #seenId = 0;
  #nextAutomaticAtMs = Infinity;
  /** An automatic checkpoint was due and could not be begun. */
  #isBehind = false;
  #clockOffsetMs = 0;
  #wakeAtMs = Infinity;
  /** Of the event in hand: set by {@link step}, read by the parts that answer inside it. */
  #now: BarrierTime = { nowMs: 0, wallMs: 0 };
  #effects: BarrierEffect[] = [];

  constructor(options: BarrierOptions) {
    this.#election = new Election(options.selfVraId, options.storedVote);
    this.#participant = new Participant(options.holdBoundMs ?? HOLD_BOUND_MS, this.#answers());
    this.#rounds = new Rounds(options.outcomeTimeoutMs ?? OUTCOME_TIMEOUT_MS);
  }

  step(event: BarrierEvent, effects: BarrierEffect[]): void {
    this.#now = event;
    this.#effects = effects;
    if (event.type === 'tick') this.#wakeAtMs = Infinity;
    // The bound comes first: a release that arrives late finds no hold any more.
    this.#participant.expire(event.nowMs, effects);
    this.#rounds.expire(event.nowMs, effects);
    this.#handle(event);
    this.#advance();
    this.#wake();
  }

  status(): BarrierStatus {
    const isLeading = this.#election.isLeading;
    const part = isLeading ? this.#rounds : this.#participant;
    return {
      version: this.#config?.version ?? 0,
      term: this.#election.term,
      leaderVraId: this.#election.leaderVraId,
      isLeading,
      isHolding: this.#participant.isHolding,
      sealedCount: part.sealedCount,
      voidCount: part.voidCount,
      lastVoidReason: part.lastVoidReason,
      holdMsP50: this.#participant.holdTimes.p50Ms,
      holdMsP99: this.#participant.holdTimes.p99Ms,
      holdMsMax: this.#participant.holdTimes.maxMs,
      clockOffsetMs: isLeading ? 0 : this.#clockOffsetMs,
    };
  }

  get #self(): string {
    return this.#election.selfVraId;
  }

  #handle(event: BarrierEvent): void {
    const { nowMs } = event;
    switch (event.type) {
      case 'configured': return this.#configured(event.config);
      case 'tick': return;
      case 'peerUp': return this.#peerUp(event.vraId);
      case 'peerLost': return this.#peerLost(event.vraId);
      case 'roundTripMeasured': this.#election.peer(event.vraId).roundTripMs = event.roundTripMs; return;
      case 'message': return this.#message(event.fromVraId, event.message);
      case 'insertRequested': return this.#insertRequested(event);
      case 'markersPlaced': return this.#participant.markersPlaced(event.checkpointId, this.#effects);
      case 'markersRefused': return this.#participant.markersRefused(event, nowMs, this.#effects);
      case 'captureConfirmed': return this.#participant.captureConfirmed(event, nowMs, this.#effects);
      case 'sealsPlaced': return this.#participant.sealsPlaced(event.checkpointId, event.isPlaced);
      case 'termStored': return this.#termStored(event.term, event.leaderVraId);
      case 'numberSeen': return this.#numberSeen(event.checkpointId);
      default: return unreachable(event);
    }
  }

  #configured(config: BarrierConfig): void {
    if (this.#config !== undefined && config.version <= this.#config.version) return;
    assert(config.version <= VERSION_MAX, 'barrier version out of range');
    this.#stopLeading('a new configuration came');
    this.#participant.reset('a new configuration came', this.#now.nowMs, this.#effects);
    this.#config = config;
    this.#ownVmIds = config.members.find((member) => member.vraId === this.#self)?.vmIds ?? [];
    this.#allVmIds = [...new Set(config.members.flatMap((member) => member.vmIds))];
    this.#election.configure(config, this.#now.nowMs);
    for (const vraId of this.#election.upPeers) this.#sendHello(vraId);
  }

  #peerUp(vraId: string): void {
    this.#election.peerUp(vraId);
    if (this.#election.others.includes(vraId)) this.#sendHello(vraId);
  }

  #peerLost(vraId: string): void {
    this.#election.peerLost(vraId);
    if (!this.#election.others.includes(vraId)) return;
    if (this.#rounds.open !== undefined) this.#voidRound(`${vraId} is out of reach`);
    this.#participant.leaderLost(vraId, this.#now.nowMs, this.#effects);
  }

  #insertRequested({ requestId, tag, kind }: Extract<BarrierEvent, { type: 'insertRequested' }>): void {
    if (this.#election.isLeading) this.#rounds.request({ requestId, tag, kind }, this.#effects);
    else this.#effects.push({ type: 'voided', requestId, reason: 'this VRA does not lead the VPG' });
  }

  #message(from: string, message: BarrierMessage): void {
    const config = this.#config;
    if (message.kind === 'hello') this.#election.helloCame(from, message, this.#now.nowMs);
    if (config === undefined || message.vpgId !== config.vpgId || message.version !== config.version || message.epoch !== config.epoch) return;
    if (!this.#election.others.includes(from)) return;
    switch (message.kind) {
      case 'hello': return this.#hello(from, message);
      case 'claim': return this.#claimCame(from, message.term);
      case 'beat': this.#isObeyed(from, message.term); return;
      case 'mark': return this.#mark(from, message);
      case 'release': return this.#participant.release({ checkpointId: message.checkpointId, leaderVraId: from }, this.#now.nowMs, this.#effects);
      case 'void': return this.#participant.voided({ checkpointId: message.checkpointId, leaderVraId: from, reason: message.reason }, this.#now.nowMs, this.#effects);
      case 'follows': return this.#follows(from, message.term);
      case 'marked': return this.#markedBy(message.checkpointId, from);
      case 'unmarked': return this.#unmarkedBy(message.checkpointId, from, message.reason);
      case 'outcome': return this.#outcomeOf({ ...message, vraId: from });
      case 'refused': return this.#refused(message);
      default: return unreachable(message);
    }
  }

  // ---- election

  #hello(from: string, message: MessageOf<'hello'>): void {
    if (message.isLeading) this.#claimCame(from, message.term);
    else if (this.#election.isLeading) this.#send(from, { kind: 'claim' });
  }

  #claimCame(from: string, term: number): void {
    if (this.#isObeyed(from, term)) this.#send(from, { kind: 'follows' });
  }

  /** `from` speaks as leader of `term`: true if this VRA obeys it, durably. A higher term is voted for first. */
  #isObeyed(from: string, term: number): boolean {
    const config = this.#config;
    const verdict = config === undefined || term < firstTermOf(config.version) ? 'refuse' : this.#election.judge(from, term, this.#now.nowMs);
    switch (verdict) {
      case 'obey': return true;
      case 'store': this.#store(term, from); return false;
      case 'wait': return false;
      case 'refuse':
        this.#send(from, { kind: 'refused', term: this.#election.bindingTerm, leaderVraId: this.#election.bindingLeader ?? '' });
        return false;
      default: return unreachable(verdict);
    }
  }

  #store(term: number, leaderVraId: string): void {
    const previous = this.#election.leaderVraId;
    this.#stopLeading(`${leaderVraId} leads in term ${term}`);
    this.#participant.abandon(`${leaderVraId} leads in term ${term}`, this.#now.nowMs, this.#effects);
    this.#election.vote({ term, leaderVraId });
    this.#effects.push({ type: 'storeTerm', vote: { term, leaderVraId } });
    if (previous === null || previous === this.#self || previous === leaderVraId) return;
    this.#send(previous, { kind: 'refused', term, leaderVraId });
  }

  #termStored(term: number, leaderVraId: string): void {
    const vote = this.#election.stored({ term, leaderVraId }, this.#now.nowMs);
    if (vote === undefined) return;
    if (!this.#election.isLeading) {
      if (this.#election.others.includes(leaderVraId)) this.#send(leaderVraId, { kind: 'follows' });
      return;
    }
    this.#lastIndex = 0;
    this.#isBehind = true;
    this.#planNext();
    this.#beginIfComplete();
    for (const vraId of this.#election.upPeers) this.#send(vraId, { kind: 'claim' });
  }

  #follows(from: string, term: number): void {
    this.#election.peer(from).followedTerm = term;
    this.#beginIfComplete();
  }

  /** A checkpoint that had to be left out for want of a follower is made as soon as the last one follows. */
  #beginIfComplete(): void {
    if (!this.#isBehind || !this.#election.isLeading || this.#election.missingFollowers().length > 0) return;
    this.#isBehind = false;
    this.#nextAutomaticAtMs = this.#now.nowMs;
  }

  #refused({ term, leaderVraId }: MessageOf<'refused'>): void {
    const election = this.#election;
    const isOurClaim = election.bindingLeader === this.#self;
    election.sawTerm(term);
    if (!isOurClaim || term < election.bindingTerm || leaderVraId === this.#self) return;
    const isRival = term === election.bindingTerm && election.upPeers.includes(leaderVraId);
    const isOutlived = !election.upPeers.includes(leaderVraId);
    this.#stopLeading(`refused: ${leaderVraId} leads in term ${term}`);
    // Two claimed one term: the one that comes first in the order claims the next; nobody waits for a leader that is gone.
    if (isOutlived || (isRival && election.precedes(leaderVraId))) this.#claim();
  }

  /** Of another version's row it cannot be: a peer that says so must not use up the numbers that are left. */
  #numberSeen(checkpointId: number): void {
    const config = this.#config;
    if (config === undefined || termOf(checkpointId) >= firstTermOf(config.version + 1)) return;
    this.#seenId = Math.max(this.#seenId, checkpointId);
    this.#election.sawTerm(termOf(checkpointId));
  }

  /** This VRA leads, with numbers that a journal would not list: it has forgotten a term that it, or another one, has led. */
  get #isOutnumbered(): boolean {
    return this.#election.isLeading && this.#seenId > (this.#election.term - 1) * CHECKPOINTS_PER_TERM + this.#lastIndex;
  }

  #claim(): void {
    const term = this.#election.nextTerm();
    if (term !== undefined) this.#store(term, this.#self);
  }

  #stopLeading(reason: string): void {
    this.#voidRound(reason);
    this.#rounds.clear(reason, this.#effects);
    if (!this.#election.isLeading) return;
    this.#election.stepDown(this.#now.nowMs);
    this.#nextAutomaticAtMs = Infinity;
  }

  #sendHello(vraId: string): void {
    const { term, leaderVraId, isLeading } = this.#election;
    this.#send(vraId, { kind: 'hello', term, leaderVraId, isLeading });
  }

  // ---- leader

  #advance(): void {
    if (this.#election.shallClaim(this.#now.nowMs) || this.#isOutnumbered) this.#claim();
    if (!this.#election.isLeading || this.#rounds.open !== undefined) return;
    const isDue = this.#now.nowMs >= this.#nextAutomaticAtMs;
    if (!isDue && !this.#rounds.hasRequests) return;
    const missing = this.#election.missingFollowers();
    if (missing.length > 0) return this.#skip(`out of reach, or not following yet: ${missing.join(', ')}`, isDue);
    if (this.#lastIndex >= CHECKPOINTS_PER_TERM - 1) return this.#claim();
    this.#begin(this.#rounds.nextRequest() ?? { requestId: null, tag: null, kind: 'automatic' });
  }

  /** Nobody holds for a checkpoint that cannot be made; the followers hear that the leader lives. */
  #skip(reason: string, isDue: boolean): void {
    this.#rounds.refuseRequests(reason, this.#effects);
    if (!isDue) return;
    this.#isBehind = true;
    this.#rounds.countSkipped(reason);
    this.#planNext();
    for (const vraId of this.#election.upPeers) {
      this.#send(vraId, { kind: this.#election.peer(vraId).followedTerm === this.#election.term ? 'beat' : 'claim' });
    }
  }

  #planNext(): void {
    this.#nextAutomaticAtMs = this.#now.nowMs + (this.#config?.intervalMs ?? Infinity);
  }

  #begin(request: CheckpointRequest): void {
    const config = this.#config;
    assert(config !== undefined, 'leads without configuration');
    this.#lastIndex += 1;
    this.#planNext();
    const { term, others } = this.#election;
    const checkpointId = checkpointIdOf({ term, index: this.#lastIndex });
    const { nowMs, wallMs } = this.#now;
    this.#rounds.begin({ ...request, checkpointId, atMs: wallMs, decidedAtMs: nowMs, waiting: new Set([this.#self, ...others]) });
    const marker = this.#marker({ checkpointId, atMs: wallMs, ageMs: 0, tag: request.tag, kind: request.kind });
    this.#lastMarkedId = checkpointId;
    this.#participant.mark(
      { marker, leaderVraId: this.#self, ownVmIds: this.#ownVmIds, isHeld: others.length > 0 }, nowMs, this.#effects,
    );
  }

  #marker(part: Pick<CheckpointMarker, 'checkpointId' | 'atMs' | 'ageMs' | 'tag' | 'kind'>): CheckpointMarker {
    const config = this.#config;
    assert(config !== undefined, 'marks without configuration');
    return { ...part, vpgId: config.vpgId, epoch: config.epoch, term: this.#election.term, vmIds: this.#allVmIds };
  }

  /** The own markers stand first: if they cannot, no other VRA holds for nothing. */
  #sendMarks(): void {
    const round = this.#rounds.open;
    if (round === undefined) return;
    const { checkpointId, atMs, tag, kind } = round;
    const elapsedMs = this.#now.nowMs - round.decidedAtMs;
    for (const vraId of this.#election.others) {
      this.#send(vraId, { kind: 'mark', checkpointId, atMs, elapsedMs, tag, checkpointKind: kind, vmIds: this.#allVmIds });
    }
  }

  #markedBy(checkpointId: number, vraId: string): void {
    const isLast = this.#rounds.marked(checkpointId, vraId);
    if (!isLast && vraId === this.#self) this.#sendMarks();
    if (!isLast) return;
    const { others } = this.#election;
    this.#rounds.released([this.#self, ...others], this.#now.nowMs);
    for (const other of others) this.#send(other, { kind: 'release', checkpointId });
    this.#participant.release({ checkpointId, leaderVraId: this.#self }, this.#now.nowMs, this.#effects);
  }

  #unmarkedBy(checkpointId: number, vraId: string, reason: string): void {
    if (this.#rounds.open?.checkpointId === checkpointId) this.#voidRound(`${vraId}: ${reason}`);
  }

  #outcomeOf(outcome: Outcome): void {
    if (this.#rounds.open?.checkpointId === outcome.checkpointId) {
      if (!outcome.isSealed) this.#voidRound(`${outcome.vraId}: ${outcome.reason}`);
    } else this.#rounds.outcome(outcome, this.#effects);
  }

  #voidRound(reason: string): void {
    const round = this.#rounds.voidOpen(reason, this.#effects);
    if (round === undefined) return;
    const { checkpointId } = round;
    for (const vraId of this.#election.upPeers) this.#send(vraId, { kind: 'void', checkpointId, reason });
    this.#participant.voided({ checkpointId, leaderVraId: this.#self, reason }, this.#now.nowMs, this.#effects);
  }

  // ---- participant

  #mark(from: string, message: MessageOf<'mark'>): void {
    if (!this.#isObeyed(from, message.term)) return;
    const { checkpointId } = message;
    const problem = this.#problemOf(message);
    if (problem !== null) return this.#send(from, { kind: 'unmarked', checkpointId, reason: problem });
    this.#lastMarkedId = checkpointId;
    const ageMs = message.elapsedMs + this.#election.peer(from).roundTripMs / 2;
    this.#clockOffsetMs = this.#now.wallMs - (message.atMs + ageMs);
    const marker = this.#marker({ checkpointId, atMs: message.atMs, ageMs, tag: message.tag, kind: message.checkpointKind });
    this.#participant.mark({ marker, leaderVraId: from, ownVmIds: this.#ownVmIds, isHeld: true }, this.#now.nowMs, this.#effects);
  }

  #problemOf(message: MessageOf<'mark'>): string | null {
    if (termOf(message.checkpointId) !== message.term) return 'the checkpoint is not of its term';
    if (message.checkpointId <= this.#lastMarkedId) return 'a newer checkpoint was marked already';
    const own = new Set(this.#allVmIds);
    const isSameSet = message.vmIds.length === own.size && message.vmIds.every((vmId) => own.has(vmId));
    return isSameSet ? null : 'another set of VMs under the same version';
  }

  #answers(): Answers {
    return {
      marked: (checkpointId, leader) => {
        if (leader === this.#self) this.#markedBy(checkpointId, leader);
        else this.#send(leader, { kind: 'marked', checkpointId });
      },
      unmarked: (checkpointId, leader, reason) => {
        if (leader === this.#self) this.#unmarkedBy(checkpointId, leader, reason);
        else this.#send(leader, { kind: 'unmarked', checkpointId, reason });
      },
      outcome: (checkpointId, leader, { isSealed, reason }) => {
        if (leader === this.#self) this.#outcomeOf({ checkpointId, vraId: leader, isSealed, reason });
        else this.#send(leader, { kind: 'outcome', checkpointId, isSealed, reason });
      },
    };
  }

  // ---- out

  #send(vraId: string, body: Body<BarrierMessage>): void {
    const config = this.#config;
    if (config === undefined || !this.#election.peer(vraId).isUp) return;
    const { vpgId, version, epoch } = config;
    this.#effects.push({ type: 'send', vraId, message: { type: 'barrier', vpgId, version, epoch, term: this.#election.term, ...body } as BarrierMessage });
  }

  #wake(): void {
    const atMs = Math.min(this.#participant.deadlineMs, this.#rounds.deadlineMs, this.#election.claimAtMs(), this.#rounds.open === undefined ? this.#nextAutomaticAtMs : Infinity);
    if (atMs === this.#wakeAtMs || atMs === Infinity) return;
    this.#wakeAtMs = atMs;
    this.#effects.push({ type: 'wakeAt', atMs });
  }
}
