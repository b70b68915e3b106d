/**
 * One VRA engine as a process of its own, driven by JSON lines: {id, call, args} in, {id, result} or {id, error} out; the first line
 * out is {address}. Benchmarks use it to put the two ends on two cores.
 */
import { createInterface } from 'node:readline';
import { VraEngine } from '@tidemark/engine-host';

const say = (message) => process.stdout.write(`${JSON.stringify(message)}\n`);
const tell = (level) => (fields, text) => process.stderr.write(`${level} ${text} ${JSON.stringify(fields)}\n`);
const options = JSON.parse(process.argv[2]);

const engine = await VraEngine.start({ ...options, log: { info: () => undefined, warn: tell('warn'), error: tell('error') } });
say({ address: engine.address });

const CALLS = {
  applyDesiredState: (args) => engine.applyDesiredState(args),
  putRecovery: (args) => engine.putRecovery(args),
  listCheckpoints: (args) => engine.listCheckpoints(args),
  status: () => ({ ...engine.status(), cpu: process.cpuUsage(), rssBytes: process.memoryUsage.rss() }),
  openView: (args) => engine.openView(args),
  closeView: ({ viewId }) => engine.closeView(viewId),
};

for await (const line of createInterface({ input: process.stdin })) {
  const { id, call, args } = JSON.parse(line);
  try {
    say({ id, result: (await CALLS[call](args)) ?? {} });
  } catch (error) {
    say({ id, error: String(error) });
  }
}
await engine.close();
process.exit(0);
