import { ImageMap } from './image-map.js';
import type { IndexPage } from './index-page.js';
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

export interface PageRef {
  readonly run: number;
  readonly page: number;
}

interface Candidate extends PageRef {
  readonly maxSeq: number;
  readonly start: number;
  readonly end: number;
}

/** Read before what they show decides whether more is needed; doubled with every round. */
const FIRST_PAGES = 16;
/** A window that needs more pages than this is cut in two, down to a block. */
const WINDOW_PAGES_MAX = 256;
const WINDOW_BYTES_MIN = 4096;

/**
 * Puts one window of an image together from sorted runs. Says which pages it needs, newest first, and stops as soon as no page that is left can
 * hold anything newer: a block that was written a million times costs a few pages. Reads nothing itself.
 */
export class ImageLookup {
  readonly #collector: WriteCollector;
  #candidates: Candidate[];
  #roundPages = FIRST_PAGES;
  #image: ImageMap | undefined;

  constructor(
    runs: readonly RunFences[],
    window: ImageWindow,
  ) {
    this.#collector = new WriteCollector(window);
    const candidates: Candidate[] = [];
    runs.forEach((fences, run) => fences.visit(window, window, (page) => {
      const maxSeq = Math.min(fences.maxSeq(page), window.beforeSeq - 1);
      candidates.push({ run, page, maxSeq, start: Math.max(window.start, fences.firstOffset(page)), end: Math.min(window.end, fences.maxEnd(page)) });
    }));
    this.#candidates = candidates.sort((a, b) => b.maxSeq - a.maxSeq);
  }

  /** The pages to {@link take} next; none: the image is complete. */
  wanted(): readonly PageRef[] {
    if (this.#roundPages > FIRST_PAGES && this.#candidates.length > 0) this.#prune();
    const round = this.#candidates.slice(0, this.#roundPages);
    this.#candidates = this.#candidates.slice(round.length);
    this.#roundPages *= 2;
    return round;
  }

  take(page: IndexPage): void {
    this.#image = undefined;
    this.#collector.take(page);
  }

  get image(): ImageMap {
    return (this.#image ??= new ImageMap(this.#collector.columns()));
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
    this.#collector.keep((index) => shown.has(index));
    this.#image = undefined;
  }
}

/** Where a window that begins at `start` must end so that its pages are few; at most `end`. */
export function windowEnd(runs: readonly RunFences[], volume: number, start: number, end: number): number {
  let bytes = end - start;
  const pages = (): number => runs.reduce((sum, fences) => sum + fences.pagesIn(volume, start, start + bytes), 0);
  while (bytes > WINDOW_BYTES_MIN && pages() > WINDOW_PAGES_MAX + runs.length) bytes = Math.max(WINDOW_BYTES_MIN, Math.ceil(bytes / 2));
  return start + bytes;
}
