import { encodeFrame, encodeOpen, FrameKind } from '@tidemark/frame';
import { connectLink, crc32c, TlsTransport } from '@tidemark/link';
import type { ComponentIdentity, ComponentName, TrustedSite } from '@tidemark/trust';
import { randomUUID } from 'node:crypto';
import { allowed, type Outcome, refused } from './attempt.js';
import type { Place } from './wire.js';

/** A VRA's keys, and whom it believes. */
export interface VraKeys {
  readonly identity: ComponentIdentity;
  readonly believes: readonly TrustedSite[];
}

interface Heard {
  readonly isReady: boolean;
  /** Kinds of the frames that came. */
  readonly kinds: readonly number[];
  readonly ended: string | undefined;
}

/** Connects as a VRA does, with our own transport: what it may do there is then up to the other end alone. */
async function converse(place: Place, keys: VraKeys, expected: ComponentName, chunks: readonly Uint8Array[], waitMs = 1500): Promise<Heard> {
  const transport = new TlsTransport({ identity: keys.identity });
  transport.believe(keys.believes);
  try {
    const link = await connectLink({ address: place.place, port: place.port, transport, expected, link: { kinds: [FrameKind.refused, FrameKind.opened, FrameKind.control, FrameKind.ack] } });
    return await new Promise((resolve) => {
      const kinds: number[] = [];
      let isReady = false;
      const finish = (ended?: string): void => {
        clearTimeout(timer);
        resolve({ isReady, kinds, ended });
        void link.close();
      };
      const timer = setTimeout(() => finish(), waitMs);
      link.start({
        onReady: () => {
          isReady = true;
          if (chunks.length > 0) link.send(chunks);
          else finish();
        },
        onFrame: ({ kind }) => {
          kinds.push(kind);
          finish();
        },
        onClose: (cause) => finish(cause?.message ?? 'the other end hung up'),
      });
    });
  } finally {
    transport.close();
  }
}

/** Whether the other end says hello to this VRA: it believes it, and takes what it says. */
export async function sayHello(place: Place, keys: VraKeys, expected: ComponentName): Promise<Outcome> {
  try {
    const { isReady, ended } = await converse(place, keys, expected, []);
    return isReady ? allowed('hello was answered') : refused(ended ?? 'no hello');
  } catch (error) {
    return refused((error as Error).message);
  }
}

/** Asks for the stream of a protection, as if it protected that VM. */
export async function openStream(place: Place, keys: VraKeys, expected: ComponentName, { vpgId, vmId }: { readonly vpgId: string; readonly vmId: string }): Promise<Outcome> {
  const request = { vpgId, vmId, epoch: 1, sessionId: randomUUID(), volumes: [64 * 1024 * 1024], firstQueuedSeq: 1, lastSeq: 0, ackedSeq: 0 };
  try {
    const { kinds, ended } = await converse(place, keys, expected, encodeFrame({ kind: FrameKind.open, stream: 1 }, [encodeOpen(request)], crc32c));
    if (kinds.includes(FrameKind.opened)) return allowed('the stream was opened');
    return refused(kinds.includes(FrameKind.refused) ? 'refused: there is no such VM' : (ended ?? 'nothing was answered'));
  } catch (error) {
    return refused((error as Error).message);
  }
}
