import { assert } from '@tidemark/base';
import { countOf, ENTRY_AT, entryAt, type IndexPage, offsetAt, PageWriter, seqAt, volumeOf } from './index-page.js';

/** Merges sorted runs page by page, in bounded steps. Feed it the pages of each input in order; take its pages out. */
export class RunMerger {
  readonly #writer = new PageWriter();
  readonly #pages: (IndexPage | undefined)[];
  readonly #entry: Uint32Array;
  readonly #volume: Float64Array;
  readonly #offset: Float64Array;
  readonly #seq: Float64Array;
  /** Inputs whose next page is wanted. */
  readonly #hungry: number[];
  #isDone = false;
  entryCount = 0;

  constructor(
    inputs: number,
    /** Entries of segments that were freed are left out. */
    private readonly isKept: (segment: number, input: number) => boolean,
  ) {
    this.#pages = new Array<IndexPage | undefined>(inputs).fill(undefined);
    this.#entry = new Uint32Array(inputs);
    this.#volume = new Float64Array(inputs).fill(Infinity);
    this.#offset = new Float64Array(inputs);
    this.#seq = new Float64Array(inputs);
    this.#hungry = Array.from({ length: inputs }, (_, input) => input);
  }

  get isDone(): boolean {
    return this.#isDone;
  }

  /** The input whose next page {@link give} must bring before the next step. */
  get wanted(): number | undefined {
    return this.#hungry.at(-1);
  }

  /** `undefined`: the input has no more. */
  give(input: number, page: IndexPage | undefined): void {
    assert(this.#hungry.pop() === input, 'the page that is wanted');
    this.#pages[input] = page;
    this.#entry[input] = 0;
    if (page === undefined) this.#volume[input] = Infinity;
    else this.#load(input, page);
  }

  /** Moves at most `entriesMax` entries; ends early when a page is wanted. */
  step(entriesMax: number): void {
    for (let moved = 0; moved < entriesMax && this.#hungry.length === 0; moved += 1) {
      const input = this.#lowest();
      if (input < 0) {
        this.#writer.finish();
        this.#isDone = true;
        return;
      }
      this.#move(input);
    }
  }

  takePages(): IndexPage[] {
    return this.#writer.pages.splice(0);
  }

  #lowest(): number {
    const volumes = this.#volume;
    const offsets = this.#offset;
    const seqs = this.#seq;
    let best = -1;
    for (let i = 0; i < volumes.length; i += 1) {
      const v = volumes[i] ?? Infinity;
      if (v === Infinity) continue;
      if (best < 0) best = i;
      else {
        const order = v - (volumes[best] ?? 0) || (offsets[i] ?? 0) - (offsets[best] ?? 0) || (seqs[i] ?? 0) - (seqs[best] ?? 0);
        if (order < 0) best = i;
      }
    }
    return best;
  }

  #move(input: number): void {
    const page = this.#pages[input];
    assert(page !== undefined, 'an input with a page');
    const i = this.#entry[input] ?? 0;
    const at = entryAt(i);
    if (this.isKept(page[at + ENTRY_AT.segment] ?? 0, input)) {
      this.#writer.add(this.#volume[input] ?? 0, page, at);
      this.entryCount += 1;
    }
    this.#entry[input] = i + 1;
    if (i + 1 < countOf(page)) this.#load(input, page);
    else this.#hungry.push(input);
  }

  #load(input: number, page: IndexPage): void {
    const at = entryAt(this.#entry[input] ?? 0);
    this.#volume[input] = volumeOf(page);
    this.#offset[input] = offsetAt(page, at);
    this.#seq[input] = seqAt(page, at);
  }
}
