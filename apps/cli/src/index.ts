export { EXIT, type ExitCode } from './cli-error.js';
export { runProgram, type RunOptions } from './program.js';
