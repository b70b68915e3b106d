import type { BlockFile } from '@tidemark/block-file';
import type { DirtyBitmap } from '@tidemark/extent';
import type { GuestChanges } from './guest-changes.js';
import type { AttachedVmSpec, RecoverySpec } from './types.js';
import type { ViewHost } from './view-host.js';

/** What a promoted view hands to the VM that now has its disks. */
export interface HandOver {
  readonly files: ReadonlyMap<string, BlockFile>;
  /** What the guest has changed since the view's checkpoint; absent: not known for every disk. */
  readonly changes: GuestChanges | undefined;
  /** The VM could not be attached: the view serves on. */
  giveBack(): void;
}

interface Held {
  readonly views: Iterable<ViewHost>;
  readonly recoveries: Iterable<RecoverySpec>;
}

/** See `SendingSurroundings.takeOver`: a promoted view's exports and files go to the VM that now has the disks. */
export function handOver(spec: AttachedVmSpec, held: Held): HandOver | 'notYet' {
  const views = [...held.views];
  // A volume that is still somebody's mirror must not be written by a guest.
  const mirrors = new Set([...held.recoveries].flatMap(({ volumes }) => volumes.map(({ mirrorPath }) => mirrorPath)));
  const owners: { readonly view: ViewHost; readonly index: number; readonly exportName: string }[] = [];
  for (const { exportName, path } of spec.disks) {
    const owner = ownerOf(views, exportName);
    if (owner) {
      if (!owner.view.isPromoted) return 'notYet';
      owners.push({ ...owner, exportName });
    } else if (mirrors.has(path)) return 'notYet';
  }
  const files = new Map<string, BlockFile>();
  for (const { view, index, exportName } of owners) {
    view.disownExport(exportName);
    files.set(exportName, view.recovery.takeMirror(index));
  }
  const giveBack = (): void => {
    for (const { view, index, exportName } of owners) {
      view.ownExport(exportName);
      view.recovery.giveBackMirror(index);
    }
  };
  return { files, changes: changesOf(spec, owners), giveBack };
}

/** All disks come from one view that has seen every write, or nothing is said. */
function changesOf({ disks }: AttachedVmSpec, owners: readonly { readonly view: ViewHost; readonly index: number; readonly exportName: string }[]): GuestChanges | undefined {
  const [first] = owners;
  if (!first || owners.length < disks.length) return undefined;
  const bitmaps = new Map<string, DirtyBitmap>();
  for (const { view, index, exportName } of owners) {
    const bitmap = view.changedBlocks(index);
    if (view !== first.view || !bitmap) return undefined;
    bitmaps.set(exportName, bitmap);
  }
  return { basisId: first.view.spec.viewId, bitmaps };
}

function ownerOf(views: readonly ViewHost[], exportName: string): { readonly view: ViewHost; readonly index: number } | undefined {
  for (const view of views) {
    const volume = view.spec.volumes.find((each) => each.exportName === exportName);
    if (volume && view.ownsExport(exportName)) return { view, index: view.volumeIndexOf(volume.diskId) };
  }
  return undefined;
}
