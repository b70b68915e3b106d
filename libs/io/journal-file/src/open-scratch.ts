import { SEGMENT_BYTES_DEFAULT } from '@tidemark/journal';
import { crc32c as defaultCrc32c } from './defaults.js';
import { scratchFiles } from './node-files.js';
import { ScratchJournal, type ScratchOptions } from './scratch-journal.js';
import type { JournalFileOptions } from './types.js';

/** The scratch of a view, with what the journal it belongs to was opened with. */
export const openScratch = async (
  { identity, files, crc32c, clocks, segmentBytes }: JournalFileOptions, view: Pick<ScratchOptions, 'folder' | 'volumeCount' | 'roomBytes'>,
): Promise<ScratchJournal> =>
  await ScratchJournal.open({
    ...view,
    identity,
    files: files ?? scratchFiles,
    crc32c: crc32c ?? defaultCrc32c,
    clocks,
    segmentBytes: segmentBytes ?? SEGMENT_BYTES_DEFAULT,
  });
