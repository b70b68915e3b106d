import { assert } from '@tidemark/base';
import { visitFences } from './fence-page.js';
import { ImageMap } from './image-map.js';
import { type IndexPage, PAGE_ENTRIES } from './index-page.js';
import type { RunFences } from './run-fences.js';
import { WriteCollector } from './segment-writes.js';

/** A window of an image: everything of the journal with afterSeq < seq < beforeSeq that covers `[start, end)`. */
export interface ImageWindow {
  readonly volume: number;
  readonly start: number;
  readonly end: number;
  /** The mirrors held everything up to here when the view was opened. */
  readonly afterSeq: number;
  readonly beforeSeq: number;
}

/** A sorted run, as a lookup sees it. */
export interface LookupRun {
  readonly fences: RunFences;
  /** `fences` are those of the fence pages, of which this is the first one's number; undefined: of the pages themselves. */
  readonly fencePagesAt: number | undefined;
}

export interface PageRef {
  readonly run: number;
  readonly page: number;
  /** The checksum that it must have on disk. */
  readonly pageCrc: number;
  /** Holds fences, not writes. */
  readonly isFences: boolean;
}

interface Candidate extends PageRef {
  readonly maxSeq: number;
  readonly start: number;
  readonly end: number;
}

/** Read before what they show decides whether more is needed; doubled with every round. */
const FIRST_PAGES = 16;
/** A window that needs more pages than this is cut, down to a block. */
const WINDOW_PAGES_MAX = 256;
const WINDOW_BYTES_MIN = 4096;
/** A window is cut before any fence page is read to what may need so many pages: then those that are read are few. */
const COARSE_PAGES_MAX = 4 * WINDOW_PAGES_MAX;

/**
 * Puts one window of an image together from sorted runs. Says which pages it needs, newest first, and stops as soon as no page that is left can
 * hold anything newer: a block that was written a million times costs a few pages. Of a window that needs too many it takes the beginning. Reads nothing itself.
 */
export class ImageLookup {
  readonly #window: ImageWindow;
  #end: number;
  /** The window is not cut any more: pages of writes are taken. */
  #isFixed: boolean;
  #collector: WriteCollector | undefined;
  #candidates: Candidate[] = [];
  #isSorted = false;
  #isPruned = true;
  #roundPages = FIRST_PAGES;
  #image: ImageMap | undefined;

  constructor(
    private readonly runs: readonly LookupRun[],
    window: ImageWindow,
  ) {
    this.#window = window;
    this.#end = coarseEnd(runs, window);
    this.#isFixed = this.#end - window.start <= WINDOW_BYTES_MIN;
    runs.forEach(({ fences, fencePagesAt }, run) => fences.visit({ ...window, end: this.#end }, window, (page) => {
      const fence = { firstOffset: fences.firstOffset(page), maxEnd: fences.maxEnd(page), maxSeq: fences.maxSeq(page), pageCrc: fences.pageCrc(page) };
      this.#add({ run, page: page + (fencePagesAt ?? 0), isFences: fencePagesAt !== undefined }, fence);
    }));
  }

  #add(ref: Omit<PageRef, 'pageCrc'>, { firstOffset, maxEnd, maxSeq, pageCrc }: { readonly firstOffset: number; readonly maxEnd: number; readonly maxSeq: number; readonly pageCrc: number }): void {
    const { start, beforeSeq } = this.#window;
    this.#candidates.push({ ...ref, pageCrc, maxSeq: Math.min(maxSeq, beforeSeq - 1), start: Math.max(start, firstOffset), end: Math.min(this.#end, maxEnd) });
    this.#isSorted = false;
  }

  /** The pages to {@link take} next; none: the image is complete. */
  wanted(): readonly PageRef[] {
    if (!this.#isFixed) {
      const fences = this.#candidates.filter(({ isFences }) => isFences);
      if (fences.length > 0) return this.#taken(fences);
      this.#cut();
    }
    if (!this.#isPruned && this.#candidates.length > 0) this.#prune();
    if (!this.#isSorted) this.#candidates.sort((a, b) => b.maxSeq - a.maxSeq);
    this.#isSorted = true;
    const round = this.#candidates.slice(0, this.#roundPages);
    // Pages of writes only when no fence page can show a newer one.
    const fences = round.filter(({ isFences }) => isFences);
    if (fences.length > 0) return this.#taken(fences);
    this.#roundPages *= 2;
    return this.#taken(round);
  }

  #taken(round: readonly Candidate[]): readonly Candidate[] {
    const taken = new Set(round);
    this.#candidates = this.#candidates.filter((candidate) => !taken.has(candidate));
    return round;
  }

  take({ run, isFences }: PageRef, page: IndexPage): void {
    if (isFences) {
      visitFences(page, { ...this.#window, end: this.#end }, (number, fence) => this.#add({ run, page: number, isFences: false }, fence));
      return;
    }
    assert(this.#isFixed, 'pages that were wanted');
    this.#collect().take(page);
    this.#image = undefined;
    this.#isPruned = false;
  }

  #collect(): WriteCollector {
    return (this.#collector ??= new WriteCollector({ ...this.#window, end: this.#end }));
  }

  /** The image shows the window up to here, when nothing is wanted any more. */
  get end(): number {
    return this.#end;
  }

  get image(): ImageMap {
    return (this.#image ??= new ImageMap(this.#collect().columns()));
  }

  #cut(): void {
    const { start } = this.#window;
    let bytes = this.#end - start;
    const pages = (): number => this.#candidates.reduce((sum, candidate) => sum + (candidate.start < start + bytes ? 1 : 0), 0);
    while (bytes > WINDOW_BYTES_MIN && pages() > WINDOW_PAGES_MAX + this.runs.length) bytes = Math.max(WINDOW_BYTES_MIN, Math.ceil(bytes / 2));
    const end = start + bytes;
    this.#end = end;
    this.#isFixed = true;
    this.#candidates = this.#candidates.filter((candidate) => candidate.start < end).map((candidate) => (candidate.end <= end ? candidate : { ...candidate, end }));
  }

  /** Leaves out the pages under which everything is covered by newer writes, and forgets writes that do not show. */
  #prune(): void {
    const { image } = this;
    this.#candidates = this.#candidates.filter((candidate) => {
      let isNeeded = false;
      image.visit(candidate.start, candidate.end, (_, __, piece) => {
        isNeeded ||= piece === undefined || piece.seq < candidate.maxSeq;
      });
      return isNeeded;
    });
    const shown = image.shownWrites();
    this.#collect().keep((index) => shown.has(index));
    this.#image = undefined;
    this.#isPruned = true;
  }
}

/** Where a window must end so that its fence pages are few; at most its own end. */
function coarseEnd(runs: readonly LookupRun[], { volume, start, end }: ImageWindow): number {
  let bytes = end - start;
  const pages = (): number => runs.reduce((sum, { fences, fencePagesAt }) => sum + fences.pagesIn(volume, start, start + bytes) * (fencePagesAt === undefined ? 1 : PAGE_ENTRIES), 0);
  while (bytes > WINDOW_BYTES_MIN && pages() > COARSE_PAGES_MAX) bytes = Math.max(WINDOW_BYTES_MIN, Math.ceil(bytes / 2));
  return start + bytes;
}
