import { parseNbdUri } from '@tidemark/base';
import { AlignedVolume, VolumeError, type Volume } from '@tidemark/volume';
import { NbdVolume, type NbdVolumeOptions, type Outage } from './nbd-volume.js';

export interface OpenNbdOptions extends NbdVolumeOptions {
  /** `nbd://host:port/export` or `nbd+unix:///export?socket=/path`. */
  readonly uri: string;
  /** The size that the export must have. Without it, the size that it has. */
  readonly sizeBytes?: number;
}

/** A volume whose server may be away. */
export interface ServedVolume extends Volume {
  /** See {@link NbdVolume.outage}. */
  readonly outage: Outage | undefined;
}

class AlignedNbdVolume extends AlignedVolume implements ServedVolume {
  constructor(private readonly served: NbdVolume) {
    super(served, served.facts.blockBytesMin);
  }

  get outage(): Outage | undefined {
    return this.served.outage;
  }
}

/**
 * Opens an export as a volume that takes any alignment. Throws {@link VolumeError} as {@link NbdVolume.connect} does, `VOLUME_SIZE` for
 * another size, and NbdUriError for a URI that is none.
 */
export async function openNbdVolume(options: OpenNbdOptions): Promise<ServedVolume> {
  const volume = await NbdVolume.connect(parseNbdUri(options.uri), options);
  if (options.sizeBytes !== undefined && volume.sizeBytes !== options.sizeBytes) {
    await volume.close();
    throw new VolumeError('VOLUME_SIZE', `${options.uri} has ${String(volume.sizeBytes)} bytes instead of ${String(options.sizeBytes)}`);
  }
  return volume.facts.blockBytesMin === 1 ? volume : new AlignedNbdVolume(volume);
}
