/** Our end of the `nbd` benchmark: one raw file on one UNIX socket. Arguments: socket, file. */
import { BlockFile } from '@tidemark/block-file';
import { ExportTable, NbdServer } from '@tidemark/nbd-server';

const [, , socketPath, path] = process.argv;
const table = new ExportTable();
table.add({ name: 'disk', volume: await BlockFile.open({ path, isReadOnly: false }) });
await NbdServer.listen({ socketPath }, table, { onProblem: (error) => console.error(error) });
process.once('SIGTERM', () => process.exit(0));
