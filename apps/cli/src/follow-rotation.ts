import { setTimeout as sleep } from 'node:timers/promises';
import { ApiError } from '@tidemark/api-client';
import type { CaRotationApi, SiteCertificatesApi } from '@tidemark/contracts';
import type { Session } from './context.js';
import { ProgressBar } from './progress.js';

const LOOK_MS = 1000;
/** A ZVM that restarts meanwhile goes on with the rotation. */
const SILENCE_MS = 60_000;

/** What has been reached in each phase, and its share of the way. */
const PHASES: Readonly<Record<string, { readonly percent: number; readonly text: string }>> = {
  Announced: { percent: 33, text: 'the next CA is being made known' },
  Switched: { percent: 66, text: 'the next CA signs, certificates are being renewed' },
  Steady: { percent: 100, text: 'only the new CA is trusted' },
};

/** Shows how far the rotation of the CA is and whom it waits for, until it is complete. Throws ApiError when the site is away for longer than a restart takes. */
export async function followRotation({ client, output, signal }: Session): Promise<SiteCertificatesApi> {
  const bar = new ProgressBar(output);
  let heardAt = performance.now();
  let believed = '';
  try {
    for (;;) {
      signal.throwIfAborted();
      const now = await client.get<SiteCertificatesApi>('/localsite/certificates').catch((error: unknown) => {
        if (error instanceof ApiError && error.isRetryable && performance.now() - heardAt < SILENCE_MS) return undefined;
        throw error;
      });
      if (now !== undefined) {
        heardAt = performance.now();
        // The file of --ca holds the CA of before the rotation: with it alone the site would be unknown as soon as the next one signs.
        if (now.CaPem !== believed) client.believeToo(now.CaPem);
        believed = now.CaPem;
        bar.show(PHASES[now.Rotation.Phase]?.percent ?? 0, rotationText(now.Rotation));
        if (now.Rotation.Phase === 'Steady') return now;
      }
      await sleep(LOOK_MS, undefined, { signal });
    }
  } finally {
    bar.end();
  }
}

const rotationText = ({ Phase, WaitsFor }: CaRotationApi): string => `${PHASES[Phase]?.text ?? Phase}${WaitsFor.length === 0 ? '' : `; waits for ${WaitsFor.join(', ')}`}`;
