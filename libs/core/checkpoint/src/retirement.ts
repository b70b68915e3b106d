import { unreachable } from '@tidemark/base';
import type {
  AgedCheckpoint, RetirementConfig, RetirementEffect, RetirementEvent, RetirementMessage, RetirementOptions, RetirementStatus,
} from './retirement-types.js';

const ANSWER_TIMEOUT_MS = 5000;

interface Attempt {
  readonly phase: 'asking' | 'retiring';
  readonly checkpointId: number;
  readonly waiting: Set<string>;
  readonly deadlineMs: number;
}

type Body<Message> = Message extends RetirementMessage ? Omit<Message, 'type' | 'vpgId' | 'epoch'> : never;

/**
 * The newest listed checkpoint that is as old as the history window: with it as the oldest one, every moment of the window can
 * still be reached. undefined: nothing is old enough. So the newest listed checkpoint never goes by age.
 */
export function oldestToKeep(checkpoints: readonly AgedCheckpoint[], historyMs: number): number | undefined {
  const ids = checkpoints.filter((checkpoint) => checkpoint.ageMs >= historyMs).map((checkpoint) => checkpoint.checkpointId);
  return ids.length === 0 ? undefined : Math.max(...ids);
}

/**
 * Agreement of the VRAs that recover one VPG on what is retired: ask all, make durable at all, and only then apply at any. The
 * first recoverer leads. While one is out of reach, or refuses, nobody goes on. docs/spec/checkpoint.md
 */
export class Retirement {
  readonly #self: string;
  readonly #timeoutMs: number;
  readonly #upPeers = new Set<string>();
  #config: RetirementConfig | undefined;
  #attempt: Attempt | undefined;
  /** What this VRA promised not to pin below, and until when. */
  #promise: { readonly checkpointId: number; readonly untilMs: number } | undefined;
  #retiredId: number;
  #allowedId = 0;
  #lastRefusal: string | null = null;
  #wakeAtMs = Infinity;
  #nowMs = 0;
  #effects: RetirementEffect[] = [];

  constructor(options: RetirementOptions) {
    this.#self = options.selfVraId;
    this.#retiredId = options.retiredId;
    this.#timeoutMs = options.answerTimeoutMs ?? ANSWER_TIMEOUT_MS;
  }

  step(event: RetirementEvent, effects: RetirementEffect[]): void {
    this.#nowMs = event.nowMs;
    this.#effects = effects;
    if (event.type === 'tick') this.#wakeAtMs = Infinity;
    if (this.#attempt !== undefined && event.nowMs >= this.#attempt.deadlineMs) {
      this.#withdraw(`no answer of ${[...this.#attempt.waiting].join(', ')}`);
    }
    this.#handle(event);
    this.#wake();
  }

  /** False while a retirement that would drop `checkpointId` is being agreed: try again in a moment. */
  canPin(checkpointId: number, nowMs: number): boolean {
    return this.#promise === undefined || nowMs >= this.#promise.untilMs || checkpointId >= this.#promise.checkpointId;
  }

  status(): RetirementStatus {
    return {
      isLeading: this.#isLeading,
      allowedId: this.#allowedId,
      phase: this.#attempt?.phase ?? 'idle',
      lastRefusal: this.#lastRefusal,
    };
  }

  get #isLeading(): boolean {
    return this.#config?.recoverers[0]?.vraId === this.#self;
  }

  get #others(): readonly string[] {
    return (this.#config?.recoverers ?? []).map((member) => member.vraId).filter((vraId) => vraId !== this.#self);
  }

  get #ownVmIds(): readonly string[] {
    return this.#config?.recoverers.find((member) => member.vraId === this.#self)?.vmIds ?? [];
  }

  #handle(event: RetirementEvent): void {
    switch (event.type) {
      case 'configured': return this.#configured(event.config);
      case 'tick': return;
      case 'peerUp': return this.#peerUp(event.vraId);
      case 'peerLost': return this.#peerLost(event.vraId);
      case 'message': return this.#message(event.fromVraId, event.message);
      case 'listed': return this.#listed(event.checkpoints, event.spaceId ?? 0);
      case 'pinsAnswered': return this.#pinsAnswered(event);
      case 'retired': return this.#retired(event);
      default: return unreachable(event);
    }
  }

  #configured(config: RetirementConfig): void {
    if (this.#attempt !== undefined) this.#withdraw('a new configuration came');
    this.#config = config;
  }

  #peerUp(vraId: string): void {
    this.#upPeers.add(vraId);
    // It may have restarted between its durable record and the permission.
    if (this.#isLeading && this.#allowedId > 0) this.#send(vraId, { kind: 'allow', checkpointId: this.#allowedId });
  }

  #peerLost(vraId: string): void {
    this.#upPeers.delete(vraId);
    if (this.#attempt?.waiting.has(vraId) === true) this.#withdraw(`${vraId} is out of reach`);
  }

  #message(from: string, message: RetirementMessage): void {
    const config = this.#config;
    if (config === undefined || message.vpgId !== config.vpgId || message.epoch !== config.epoch || !this.#others.includes(from)) return;
    const isFromLeader = config.recoverers[0]?.vraId === from;
    const { checkpointId } = message;
    switch (message.kind) {
      case 'ask':
        if (isFromLeader) this.#effects.push({ type: 'askPins', checkpointId, vmIds: this.#ownVmIds });
        return;
      case 'retire': if (isFromLeader) this.#retire(checkpointId); return;
      case 'allow': if (isFromLeader) this.#allow(checkpointId); return;
      case 'withdraw': if (isFromLeader) this.#promise = undefined; return;
      case 'free': return this.#answered(from, 'asking', checkpointId);
      case 'retired': return this.#answered(from, 'retiring', checkpointId);
      case 'refused':
        if (this.#attempt?.checkpointId === checkpointId) this.#withdraw(`${from}: ${message.reason}`);
        return;
      default: return unreachable(message);
    }
  }

  // ---- leader

  #listed(checkpoints: readonly AgedCheckpoint[], spaceId: number): void {
    const config = this.#config;
    if (config === undefined || !this.#isLeading || this.#attempt !== undefined) return;
    // What was once made durable here is brought to its end first, after a restart too.
    const checkpointId = Math.max(oldestToKeep(checkpoints, config.historyMs) ?? 0, spaceId, this.#retiredId);
    if (checkpointId <= this.#allowedId) return;
    const missing = this.#others.filter((vraId) => !this.#upPeers.has(vraId));
    if (missing.length > 0) this.#lastRefusal = `out of reach: ${missing.join(', ')}`;
    else this.#begin('asking', checkpointId);
  }

  #begin(phase: Attempt['phase'], checkpointId: number): void {
    this.#attempt = { phase, checkpointId, waiting: new Set([this.#self, ...this.#others]), deadlineMs: this.#nowMs + this.#timeoutMs };
    for (const vraId of this.#others) this.#send(vraId, { kind: phase === 'asking' ? 'ask' : 'retire', checkpointId });
    const vmIds = this.#ownVmIds;
    this.#effects.push(phase === 'asking' ? { type: 'askPins', checkpointId, vmIds } : { type: 'makeRetired', checkpointId, vmIds });
  }

  #answered(from: string, phase: Attempt['phase'], checkpointId: number): void {
    const attempt = this.#attempt;
    if (attempt?.phase !== phase || attempt.checkpointId !== checkpointId) return;
    attempt.waiting.delete(from);
    if (attempt.waiting.size > 0) return;
    if (phase === 'asking') return this.#begin('retiring', checkpointId);
    this.#attempt = undefined;
    this.#lastRefusal = null;
    for (const vraId of this.#others) this.#send(vraId, { kind: 'allow', checkpointId });
    this.#allow(checkpointId);
  }

  #withdraw(reason: string): void {
    const attempt = this.#attempt;
    if (attempt === undefined) return;
    this.#attempt = undefined;
    this.#promise = undefined;
    this.#lastRefusal = reason;
    for (const vraId of this.#others) this.#send(vraId, { kind: 'withdraw', checkpointId: attempt.checkpointId });
  }

  // ---- every recoverer

  #pinsAnswered({ checkpointId, isFree, reason }: { checkpointId: number; isFree: boolean; reason: string }): void {
    // A leader waits `timeoutMs` for each of two answers; a promise outlives both.
    if (isFree) this.#promise = { checkpointId, untilMs: this.#nowMs + 3 * this.#timeoutMs };
    this.#answer({ phase: 'asking', checkpointId, reason: isFree ? null : reason });
  }

  #retire(checkpointId: number): void {
    const isPromised = this.#promise?.checkpointId === checkpointId && this.#nowMs < this.#promise.untilMs;
    if (isPromised) this.#effects.push({ type: 'makeRetired', checkpointId, vmIds: this.#ownVmIds });
    else this.#answer({ phase: 'retiring', checkpointId, reason: 'nothing was promised' });
  }

  #retired({ checkpointId, isDurable, reason }: { checkpointId: number; isDurable: boolean; reason: string }): void {
    if (isDurable) this.#retiredId = Math.max(this.#retiredId, checkpointId);
    this.#answer({ phase: 'retiring', checkpointId, reason: isDurable ? null : reason });
  }

  #answer({ phase, checkpointId, reason }: { phase: Attempt['phase']; checkpointId: number; reason: string | null }): void {
    const leader = this.#config?.recoverers[0]?.vraId;
    if (leader === undefined) return;
    if (leader !== this.#self) {
      if (reason !== null) this.#send(leader, { kind: 'refused', checkpointId, reason });
      else this.#send(leader, { kind: phase === 'asking' ? 'free' : 'retired', checkpointId });
    } else if (reason === null) this.#answered(this.#self, phase, checkpointId);
    else if (this.#attempt?.checkpointId === checkpointId) this.#withdraw(reason);
  }

  /** Only past what is durable here: a permission for anything else is a mistake of the leader's, or of another time. */
  #allow(checkpointId: number): void {
    if (checkpointId > this.#retiredId || checkpointId <= this.#allowedId) return;
    this.#allowedId = checkpointId;
    if (this.#promise !== undefined && this.#promise.checkpointId <= checkpointId) this.#promise = undefined;
    this.#effects.push({ type: 'allowApply', checkpointId, vmIds: this.#ownVmIds });
  }

  #send(vraId: string, body: Body<RetirementMessage>): void {
    const config = this.#config;
    if (config === undefined || !this.#upPeers.has(vraId)) return;
    this.#effects.push({ type: 'send', vraId, message: { type: 'retirement', vpgId: config.vpgId, epoch: config.epoch, ...body } });
  }

  #wake(): void {
    const atMs = this.#attempt?.deadlineMs ?? Infinity;
    if (atMs === Infinity || atMs === this.#wakeAtMs) return;
    this.#wakeAtMs = atMs;
    this.#effects.push({ type: 'wakeAt', atMs });
  }
}
