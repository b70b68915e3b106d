import { KiB, MiB } from '@tidemark/base';

/**
 * What may stand in queues of the path on top of the path itself. Frames of other streams wait behind it, so it bounds how long a small write of a
 * high-priority VPG waits on a full link; shorter than this a pause of either process would let the link run dry.
 */
const QUEUE_MS_TARGET = 25;
const WINDOW_BYTES_FIRST = 512 * KiB;
const WINDOW_BYTES_MIN = 128 * KiB;
const WINDOW_BYTES_MAX = 32 * MiB;
/** The shortest round trip is believed for 10 to 20 s: a path may change, and a queue that never drains must not be taken for the path. */
const ROUND_TRIP_WINDOW_MS = 10_000;
/** Delivery rates of the last measurements; the best one says what the path can carry. */
const RATE_SAMPLES = 12;
const DRAIN_SHARE = 0.75;
const PROBE_BYTES_MIN = 64 * KiB;
/** Answers that may be outstanding. */
const PROBES_MAX = 64;

interface Probe {
  readonly id: number;
  readonly sentAtMs: number;
  /** All bytes sent when the probe left, itself included. */
  readonly sentBytes: number;
  readonly deliveredBytes: number;
  readonly deliveredAtMs: number;
  /** The window was the limit at that time: growth makes sense. */
  readonly isLimited: boolean;
}

/**
 * How many bytes may be under way on one connection. TCP would fill the kernel's buffers, which hide seconds of a slow link's queue; here the answers
 * to pings between the frames tell what the peer has read. The window doubles per round trip until a queue shows, and then is what the path
 * delivers in its shortest round trip plus {@link QUEUE_MS_TARGET}.
 */
export class FlightWindow {
  #windowBytes = WINDOW_BYTES_FIRST;
  #sentBytes = 0;
  #deliveredBytes = 0;
  #deliveredAtMs: number;
  #probedBytes = 0;
  #nextId = 1;
  readonly #probes: Probe[] = [];
  readonly #rates: { readonly bytesPerSecond: number; readonly atMs: number }[] = [];
  #roundTripMin: number | undefined;
  #roundTripMinNext: number | undefined;
  #roundTripTurnMs: number;
  #isQueueing = false;

  constructor(nowMs: number) {
    this.#deliveredAtMs = nowMs;
    this.#roundTripTurnMs = nowMs;
  }

  get windowBytes(): number {
    return this.#windowBytes;
  }

  /** Sent and not known to be read by the peer. */
  get inFlightBytes(): number {
    return this.#sentBytes - this.#deliveredBytes;
  }

  get isFull(): boolean {
    return this.inFlightBytes >= this.#windowBytes;
  }

  /** What the path delivers; Infinity as long as it was never seen to be the limit. */
  get bytesPerSecond(): number {
    return this.#isQueueing ? this.#bestRate() : Infinity;
  }

  sent(bytes: number): void {
    this.#sentBytes += bytes;
  }

  /** A probe should follow what was just sent. */
  get wantsProbe(): boolean {
    if (this.#probes.length >= PROBES_MAX) return false;
    const unprobedBytes = this.#sentBytes - this.#probedBytes;
    return unprobedBytes >= Math.max(PROBE_BYTES_MIN, this.#windowBytes / 8) || (this.isFull && unprobedBytes > 0);
  }

  /** Number for the body of a ping of `bytes` that leaves now. */
  probe(bytes: number, nowMs: number): number {
    const id = this.#nextId;
    this.#nextId += 1;
    // After a pause the time before it says nothing about the path.
    if (this.inFlightBytes === 0) this.#deliveredAtMs = nowMs;
    const isLimited = this.inFlightBytes >= this.#windowBytes / 2;
    this.#sentBytes += bytes;
    this.#probedBytes = this.#sentBytes;
    if (this.#probes.length === PROBES_MAX) this.#probes.shift();
    this.#probes.push({ id, sentAtMs: nowMs, sentBytes: this.#sentBytes, deliveredBytes: this.#deliveredBytes, deliveredAtMs: this.#deliveredAtMs, isLimited });
    return id;
  }

  /** The peer has answered. The round trip in ms; undefined for an answer to nothing that was asked. */
  answered(id: number, nowMs: number): number | undefined {
    const index = this.#probes.findIndex((each) => each.id === id);
    const probe = this.#probes[index];
    if (probe === undefined) return undefined;
    this.#probes.splice(0, index + 1);
    const roundTripMs = Math.max(0, nowMs - probe.sentAtMs);
    const grownBytes = probe.sentBytes - this.#deliveredBytes;
    this.#deliveredBytes = probe.sentBytes;
    this.#deliveredAtMs = nowMs;
    this.#measureRate(probe, nowMs);
    this.#resize(roundTripMs, grownBytes, probe.isLimited, nowMs);
    return roundTripMs;
  }

  #measureRate(probe: Probe, nowMs: number): void {
    const elapsedMs = nowMs - probe.deliveredAtMs;
    if (elapsedMs <= 0) return;
    const bytesPerSecond = ((probe.sentBytes - probe.deliveredBytes) * 1000) / elapsedMs;
    // A rate that the caller limited is only news when it is the best one.
    if (!probe.isLimited && bytesPerSecond < this.#bestRate()) return;
    this.#rates.push({ bytesPerSecond, atMs: nowMs });
    if (this.#rates.length > RATE_SAMPLES) this.#rates.shift();
  }

  #bestRate(): number {
    return this.#rates.reduce((best, { bytesPerSecond }) => Math.max(best, bytesPerSecond), 0);
  }

  #resize(roundTripMs: number, grownBytes: number, isLimited: boolean, nowMs: number): void {
    const shortestMs = this.#shortest(roundTripMs, nowMs);
    if (roundTripMs - shortestMs <= QUEUE_MS_TARGET) {
      if (!isLimited) return;
      this.#isQueueing = this.#isQueueing && roundTripMs - shortestMs > QUEUE_MS_TARGET / 4;
      this.#windowBytes = Math.min(WINDOW_BYTES_MAX, this.#windowBytes + grownBytes);
      return;
    }
    if (!isLimited) return;
    this.#isQueueing = true;
    const pathBytes = (this.#bestRate() * (shortestMs + QUEUE_MS_TARGET)) / 1000;
    this.#windowBytes = Math.min(this.#windowBytes, Math.max(WINDOW_BYTES_MIN, pathBytes));
  }

  /** Less than the path holds, for a moment: its own queue must not become the shortest round trip that the next window is made from. */
  #drain(): void {
    const pathBytes = (this.#bestRate() * (this.#roundTripMin ?? 0)) / 1000;
    this.#windowBytes = Math.max(WINDOW_BYTES_MIN, Math.min(this.#windowBytes, pathBytes * DRAIN_SHARE));
  }

  #shortest(roundTripMs: number, nowMs: number): number {
    if (nowMs - this.#roundTripTurnMs >= ROUND_TRIP_WINDOW_MS) {
      this.#roundTripMin = this.#roundTripMinNext;
      this.#roundTripMinNext = undefined;
      this.#roundTripTurnMs = nowMs;
      if (this.#isQueueing) this.#drain();
    }
    this.#roundTripMinNext = Math.min(this.#roundTripMinNext ?? Infinity, roundTripMs);
    this.#roundTripMin = Math.min(this.#roundTripMin ?? Infinity, roundTripMs);
    return Math.min(this.#roundTripMin, this.#roundTripMinNext);
  }
}
