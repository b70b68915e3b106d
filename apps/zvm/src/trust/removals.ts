import { FileSet, TrustError, type VoidedComponent } from '@tidemark/trust';

const FILES = ['removals.json'] as const;
/** A pairing that ended longer ago stands in no backup that anybody brings back. */
const PARTED_KEPT_MS = 400 * 24 * 3_600_000;

/** An appliance whose certificates are void, for as long as one of them can live. */
export interface VoidedUntil extends VoidedComponent {
  readonly endsAtMs: number;
}

interface Noted {
  readonly voided: readonly VoidedUntil[];
  /** Pairings of that site that began before `atMs` are over. */
  readonly parted: readonly { readonly siteId: string; readonly atMs: number }[];
}

const isSame = (one: Pick<VoidedComponent, 'role' | 'instanceId'>, other: Pick<VoidedComponent, 'role' | 'instanceId'>): boolean => one.role === other.role && one.instanceId === other.instanceId;

/**
 * Who was removed, beside the site's keys (`trust/removals/`) as well as in the database: what either of them says counts, so that one which was brought back from a
 * backup lets nobody in again. Written here first.
 */
export class Removals {
  readonly #files: FileSet<(typeof FILES)[number]>;
  #last: Promise<void> = Promise.resolve();

  private constructor(
    folder: string,
    private noted: Noted,
  ) {
    this.#files = new FileSet(folder, FILES);
  }

  /** Throws TRUST_FILE. */
  static async open(folder: string): Promise<Removals> {
    const texts = await new FileSet(folder, FILES).read();
    return new Removals(folder, texts ? parse(texts['removals.json'], folder) : { voided: [], parted: [] });
  }

  get voided(): readonly VoidedUntil[] {
    return this.noted.voided;
  }

  /** When the last pairing with this site ended; -Infinity: none that is known of. */
  partedAtMs(siteId: string): number {
    return this.noted.parted.find((one) => one.siteId === siteId)?.atMs ?? -Infinity;
  }

  /** Durable when it resolves. */
  async noteVoided(voided: VoidedUntil, nowMs: number): Promise<void> {
    await this.#change((noted) => ({ ...noted, voided: [...noted.voided.filter((one) => !isSame(one, voided) && one.endsAtMs > nowMs), voided] }));
  }

  /** Durable when it resolves. */
  async noteParted(siteId: string, atMs: number): Promise<void> {
    await this.#change((noted) => ({ ...noted, parted: [...noted.parted.filter((one) => one.siteId !== siteId && one.atMs > atMs - PARTED_KEPT_MS), { siteId, atMs }] }));
  }

  async #change(next: (noted: Noted) => Noted): Promise<void> {
    const mine = this.#last.then(async () => {
      const noted = next(this.noted);
      await this.#files.write({ 'removals.json': JSON.stringify(noted) });
      this.noted = noted;
    });
    this.#last = mine.catch(() => undefined);
    await mine;
  }
}

function parse(text: string, folder: string): Noted {
  try {
    const { voided, parted } = JSON.parse(text) as Partial<Noted>;
    if (Array.isArray(voided) && Array.isArray(parted)) return { voided, parted };
  } catch {
    // Said below.
  }
  throw new TrustError('TRUST_FILE', `${folder}/current/removals.json cannot be read; bring it back from a backup. Without it (remove ${folder}) only the database says who was removed`);
}
