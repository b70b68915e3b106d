import { unreachable } from '@tidemark/base';
import type { IncarnationBegun, JournalEffect, JournalError, JournalEvent } from '@tidemark/journal';
import { storageFailure } from './defaults.js';
import type { FrameReader } from './frame-reader.js';
import type { Mirrors } from './mirrors.js';
import type { SegmentFiles } from './segment-files.js';
import type { JournalFileOptions } from './types.js';

type Answer = { readonly resolve: (answer: IncarnationBegun | undefined) => void; readonly reject: (error: JournalError) => void };

export interface EffectRunnerParts {
  readonly segments: SegmentFiles;
  readonly mirrors: Mirrors;
  readonly reader: FrameReader;
  readonly listeners: Pick<JournalFileOptions, 'onDurable' | 'onCheckpointsChanged' | 'onState'>;
  readonly completed: (event: JournalEvent) => void;
}

/** Carries out the effects of the engine on files and mirrors, and hands its answers to those who asked. */
export class EffectRunner {
  readonly #segments: SegmentFiles;
  readonly #mirrors: Mirrors;
  readonly #reader: FrameReader;
  readonly #listeners: EffectRunnerParts['listeners'];
  readonly #completed: EffectRunnerParts['completed'];
  readonly #answers = new Map<number, Answer>();
  /** File and mirror work under way: close waits for it. */
  readonly work = new Set<Promise<void>>();

  constructor({ segments, mirrors, reader, listeners, completed }: EffectRunnerParts) {
    this.#segments = segments;
    this.#mirrors = mirrors;
    this.#reader = reader;
    this.#listeners = listeners;
    this.#completed = completed;
  }

  expect(request: number, answer: Answer): void {
    this.#answers.set(request, answer);
  }

  refuseAll(error: JournalError): void {
    for (const { reject } of this.#answers.values()) reject(error);
    this.#answers.clear();
  }

  carryOut(effect: JournalEffect): void {
    switch (effect.type) {
      case 'append':
        return this.#run(() => this.#append(effect), 'appended', (failure) => ({ type: 'appendFailed', ...failure }));
      case 'sync':
        return this.#run(() => this.#sync(effect.segment), 'synced', ({ detail }) => ({ type: 'syncFailed', detail }));
      case 'createSegment':
        return this.#run(() => this.#segments.create(effect.segment, effect.header), 'segmentCreated', (failure) => ({ type: 'segmentCreateFailed', ...failure }));
      case 'truncateSegment':
        return this.#run(() => this.#segments.truncate(effect.segment, effect.bytes), 'truncated', ({ detail }) => ({ type: 'truncateFailed', detail }));
      case 'removeSegment':
        return this.#run(() => this.#segments.remove(effect.segment), 'segmentRemoved', ({ detail }) => ({ type: 'segmentRemoveFailed', detail }));
      case 'mirrorWrite':
        return this.#run(async () => await this.#mirrors.write(effect.records), 'mirrorWritten', (failure) => ({ type: 'mirrorFailed', owner: 'direct', ...failure }));
      case 'mirrorReplay':
        return this.#run(async () => await this.#mirrors.replay(effect, this.#reader), ({ lastSeq, at, recordNo }) => ({ type: 'mirrorReplayed', lastSeq, at, recordNo }), (failure) => ({ type: 'mirrorFailed', owner: 'apply', ...failure }));
      case 'mirrorSync':
        return this.#run(
          async () => await this.#mirrors.flush(), () => ({ type: 'mirrorSynced', owner: effect.owner }),
          (failure) => ({ type: 'mirrorFailed', owner: effect.owner, ...failure }),
        );
      case 'durable':
        return this.#listeners.onDurable(effect.seq);
      case 'checkpointsChanged':
        return this.#listeners.onCheckpointsChanged(effect.lastChange);
      case 'stateChanged':
        return this.#listeners.onState(effect.state);
      case 'answered':
        return this.#takeAnswer(effect.request)?.resolve(effect.answer);
      case 'refused':
        return this.#takeAnswer(effect.request)?.reject(effect.error);
      default:
        return unreachable(effect);
    }
  }

  #takeAnswer(request: number): Answer | undefined {
    const answer = this.#answers.get(request);
    this.#answers.delete(request);
    return answer;
  }

  /** Carries out one effect and reports its one completion. */
  #run<T>(
    work: () => Promise<T>,
    done: 'appended' | 'synced' | 'segmentCreated' | 'truncated' | 'segmentRemoved' | 'mirrorWritten' | ((result: T) => JournalEvent),
    failed: (failure: ReturnType<typeof storageFailure>) => JournalEvent,
  ): void {
    const running = work().then(
      (result): JournalEvent => (typeof done === 'function' ? done(result) : { type: done }),
      (error: unknown) => failed(storageFailure(error)),
    ).then((event) => {
      this.work.delete(running);
      this.#completed(event);
    });
    this.work.add(running);
  }

  async #append({ segment, at, chunks }: Extract<JournalEffect, { readonly type: 'append' }>): Promise<void> {
    await this.#segments.use(segment, async (handle) => await handle.writeAll(chunks, at));
  }

  async #sync(segment: number): Promise<void> {
    await this.#segments.use(segment, async (handle) => await handle.dataSync());
  }
}
