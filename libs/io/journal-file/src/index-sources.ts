import { assert } from '@tidemark/base';
import type { ImageLookup, IndexPage, LookupRun, PageRef } from '@tidemark/journal';
import type { PageCache } from './page-cache.js';
import type { RunFile } from './run-file.js';

/** Where the pages of one run of a lookup are: in an index file, or in memory. */
export interface Source extends LookupRun {
  readonly file: RunFile | undefined;
  readonly pages: readonly IndexPage[];
}

/** Goes on while the pages that are wanted are in memory; the ones that are not. */
export function takeCached(lookup: ImageLookup, sources: readonly Source[], cache: PageCache): PageRef[] {
  for (let wanted = lookup.wanted(); wanted.length > 0; wanted = lookup.wanted()) {
    const missing: PageRef[] = [];
    for (const ref of wanted) {
      const { file, pages } = sourceOf(sources, ref);
      const page = file === undefined ? pages[ref.page] : cache.get(file, ref.page);
      if (page === undefined) missing.push(ref);
      else lookup.take(ref, page);
    }
    if (missing.length > 0) return missing;
  }
  return [];
}

/** Reads what is missing, until nothing is wanted any more. */
export async function lookUp(
  lookup: ImageLookup,
  { sources, firstMissing, cache }: { readonly sources: readonly Source[]; readonly firstMissing: readonly PageRef[]; readonly cache: PageCache },
): Promise<void> {
  for (const { file } of sources) file?.acquire();
  try {
    for (let missing = firstMissing; missing.length > 0; missing = takeCached(lookup, sources, cache)) {
      const pages = await Promise.all(missing.map(async (ref) => ({ ref, page: await readPage(sourceOf(sources, ref).file, ref, cache) })));
      for (const { ref, page } of pages) lookup.take(ref, page);
    }
  } finally {
    for (const { file } of sources) await file?.release();
  }
}

async function readPage(file: RunFile | undefined, ref: PageRef, cache: PageCache): Promise<IndexPage> {
  assert(file !== undefined, 'pages of a run in memory are there');
  return await cache.read(file, ref);
}

function sourceOf(sources: readonly Source[], { run }: PageRef): Source {
  const source = sources[run];
  assert(source !== undefined, 'a run of this lookup');
  return source;
}
