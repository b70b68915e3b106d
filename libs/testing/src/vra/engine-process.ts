/**
 * One VRA engine as a process of its own, driven by JSON lines on its standard input and output: `{id, call, args}` in, `{id, result}` or
 * `{id, error}` out, and `{logged}` for each error in its log. The first line out is `{address}`.
 */
import { argv, stdin, stdout } from 'node:process';
import { createInterface } from 'node:readline';
import { TlsTransport } from '@tidemark/link';
import { plainTransport } from '@tidemark/link/plain';
import { ComponentIdentity, type ComponentName } from '@tidemark/trust';
import { VraEngine, type DesiredState, type RecoverySpec, type ViewSpec, type VraOptions } from '@tidemark/engine-host';
import { TurnWatch } from '../load/turn-watch.js';

const say = (message: object): void => void stdout.write(`${JSON.stringify(message)}\n`);
const log = { info: () => undefined, warn: () => undefined, error: (fields: object, message: string) => say({ logged: `${message} ${JSON.stringify(fields)}` }) };
const { trustFolder, plain, ...options } = JSON.parse(argv[2] ?? '') as Omit<VraOptions, 'log' | 'transport'> & Connections;
const engine = await VraEngine.start({ ...options, transport: await transport(), log });
let turns: TurnWatch | undefined;
say({ address: engine.address });

/** Watched from the first call on: the watch reads files of /proc a hundred times a second, which took a third of the CPU that the benchmarks of this program are about. */
function takeLongestTurnMs(): number {
  if (turns !== undefined) return turns.takeLongestMs();
  turns = new TurnWatch();
  return 0;
}

/** One of them. */
interface Connections {
  /** The VRA's own key and certificate: mutual TLS. */
  readonly trustFolder?: string;
  /** TCP without TLS, for benches: who this is, and for whom whoever connects is taken. */
  readonly plain?: { readonly self: ComponentName; readonly peer: ComponentName };
}

async function transport(): Promise<VraOptions['transport']> {
  if (plain) return plainTransport(plain);
  const identity = await ComponentIdentity.open(trustFolder ?? '');
  if (!identity) throw new Error(`no certificate in ${trustFolder ?? 'no folder'}`);
  return new TlsTransport({ identity });
}

const CALLS: Record<string, (args: never) => unknown> = {
  applyDesiredState: (args: DesiredState) => engine.applyDesiredState(args),
  putRecovery: (args: RecoverySpec) => engine.putRecovery(args),
  removeRecovery: (args: { vpgId: string; vmId: string; isMirrorKept: boolean }) => engine.removeRecovery(args),
  listCheckpoints: (args: { vpgId: string; vmId: string }) => engine.listCheckpoints(args),
  status: () => engine.status(),
  eventLoopDelay: () => engine.eventLoopDelay(),
  resetEventLoopDelay: () => engine.resetEventLoopDelay(),
  takeLongestTurnMs,
  openView: (args: ViewSpec) => engine.openView(args),
  closeView: ({ viewId }: { viewId: string }) => engine.closeView(viewId),
};

for await (const line of createInterface({ input: stdin })) {
  const { id, call, args } = JSON.parse(line) as { id: number; call: string; args: never };
  try {
    say({ id, result: (await CALLS[call]?.(args)) ?? {} });
  } catch (error) {
    say({ id, error: String(error) });
  }
}
turns?.close();
await engine.close();
