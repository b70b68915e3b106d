import { Command, CommanderError, Option } from 'commander';
import { EXIT, errorText, exitCodeOf } from './cli-error.js';
import { addAuditCommands } from './commands/audit.js';
import { addCertificateCommands } from './commands/certificates.js';
import { addCheckpointCommands } from './commands/checkpoints.js';
import { addFailoverCommands } from './commands/failover.js';
import { addLoginCommands } from './commands/login.js';
import { addInventoryCommands } from './commands/inventory.js';
import { addRecoveryHostCommands } from './commands/recovery-host.js';
import { addSiteCommands } from './commands/sites.js';
import { addTaskCommands } from './commands/tasks.js';
import { addThrottleCommands } from './commands/throttle.js';
import { terminalText } from './terminal-text.js';
import { addTokenCommands } from './commands/tokens.js';
import { addUserCommands } from './commands/users.js';
import { addVbaCommands } from './commands/vbas.js';
import { addVpgCommands } from './commands/vpgs.js';
import type { Environment } from './connection.js';
import { type GlobalOptions, inSession, type Session, type Streams } from './context.js';

/** Makes the action of a command: logs in, works, logs out. */
export type InSession = (command: Command, work: (session: Session) => Promise<void>) => Promise<void>;

const HELP = `
Which site:
  tidemark login --url https://127.0.1.1:9669 --ca cert.pem     asks for the password; the session is kept until logout
  tidemark vpgs --url https://127.0.1.1:9669 --ca cert.pem      in that session, or with TIDEMARK_TOKEN, or TIDEMARK_PASSWORD
  tidemark vpgs --site a                                        a site of the lab that is up here

Environment:
  TIDEMARK_URL, TIDEMARK_USER, TIDEMARK_PASSWORD, TIDEMARK_TOKEN, TIDEMARK_CA, TIDEMARK_FINGERPRINT   as the options
  TIDEMARK_PAIRING_TOKEN   for tidemark pair
  TIDEMARK_LAB_DIR   folder of the lab, for --lab and --site (/var/tmp/tidemark-lab)

Exit codes:
  0  done
  1  the operation failed, or what was named does not exist
  2  wrong command line
  3  the site cannot be reached, is not trusted, or refused the log-in
  130  interrupted`;

export interface RunOptions {
  readonly environment: Environment;
  readonly streams: Streams;
  readonly signal: AbortSignal;
}

/** Runs one command line; the exit code. Never throws. */
export async function runProgram(argv: readonly string[], options: RunOptions): Promise<number> {
  const program = buildProgram(options);
  try {
    await program.parseAsync([...argv], { from: 'user' });
    return EXIT.ok;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
    if (options.signal.aborted) return EXIT.interrupted;
    options.streams.err.write(`tidemark: ${terminalText(errorText(error))}\n`);
    return exitCodeOf(error);
  }
}

function buildProgram(options: RunOptions): Command {
  const program = new Command('tidemark');
  // Before any subcommand is made: they copy these settings.
  program.exitOverride().configureOutput({ writeOut: (text) => options.streams.out.write(text), writeErr: (text) => options.streams.err.write(text) });
  program
    .description('Continuous data protection and disaster recovery for virtual machines: the command line of a site manager (ZVM).')
    .version('0.1.0')
    .option('--site <name>', 'a site of the lab')
    .option('--lab', 'the lab that is up here (said by --site too)')
    .option('--lab-file <file>', "the lab whose status is in this file")
    .option('--url <address>', 'address of the site manager')
    .option('--user <name>', 'who logs in (admin)')
    .option('--password-file <file>', 'holds the password; - is standard input')
    .option('--token-file <file>', 'holds an API token; - is standard input')
    .option('--ca <file>', "PEM of the CA, or of the site's own certificate")
    .option('--fingerprint <hex>', "SHA-256 of the site's certificate")
    .addOption(new Option('-o, --output <format>', 'table or json').default('table'))
    .addHelpText('after', HELP)
    .showHelpAfterError('(tidemark --help tells more)');
  const session: InSession = (command, work) => inSession(command.optsWithGlobals<GlobalOptions>(), options, work);
  for (const add of [
    addLoginCommands, addSiteCommands, addInventoryCommands, addVpgCommands, addCheckpointCommands, addFailoverCommands, addTaskCommands, addThrottleCommands,
    addRecoveryHostCommands, addVbaCommands, addUserCommands, addTokenCommands, addCertificateCommands, addAuditCommands,
  ]) add(program, session);
  return program;
}
