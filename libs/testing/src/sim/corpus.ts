/** Seeds that run in every test: those that once found something, and a spread over themes and topologies. */
export const CORPUS: readonly number[] = [
  940, // a view that was being opened did not count as a pin: a retirement passed it
  905, 948, 950, // the simulation's own: a recovered guest was judged before it had looked at what a crash left
  1079, // a move and its protection in the other direction
  1037, 1059, // a disk without lock was given to one VRA while a document that gave it to another was under way
  600108, // a damaged header of the first segment: what later segments said of epochs was not asked, and a burned one was reserved again
  700427, // the simulation's own: two VRAs served the disks of a VM that moved to and fro, for no lock kept the second one off
  700203, // the simulation's own: a guest with two promoted disks flushed the first and relied on both
  600366, // the simulation's own: at the end a last write was on the disk and not captured yet
  600225, // two senders took turns for one VM, and the answer to an open got lost: a record of the other counted as ours
  5081, // a journal at its hard limit opened for a record longer than its credit, had no room for it, and so on for ever
  5097, // early retirements
  110145, // an activity log that was removed was asked to mark a volume that had been added since
  80413, // the header of a new generation, whose sync had failed, was read in the page cache and built upon; a power loss took it, and what was acknowledged behind it
  583957712, // files that a generation had cut off were read again when its header did not read, and showed checkpoints whose beginning was freed
  42741, // a bit turned in front of the record that dropped a checkpoint, which came back without the versions that a compaction had taken away
  795391399, // streams refused above the hard limit, where nothing was left to be given up, and so on for ever
  795390300, // a view's read that failed while its next window was looked up was nobody's, and ended the process
  930001270, // behind a break positions began again below a retired checkpoint's: listed ones went with the next generation
  13, // journals that go from one recovering host to another
  1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 36, 49, 67, 73,
];
