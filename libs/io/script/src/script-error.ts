import { TidemarkError } from '@tidemark/base';

export type ScriptErrorCode =
  | 'SCRIPT_NAME' // what is named cannot be a script of the scripts folder
  | 'SCRIPT_MISSING' // there is no such file
  | 'SCRIPT_UNSAFE' // somebody who must not could change it, or it is no regular file
  | 'SCRIPT_ACCESS' // the user that runs scripts could not read and execute it
  | 'SCRIPT_USER' // it would run with the rights of who starts it
  | 'SCRIPT_FOLDER' // the scripts folder itself is missing, or no folder
  | 'SCRIPT_START'; // it could not be started

/** Why a script is not run, and what to do about it. Trying again without a change helps nobody. */
export class ScriptError extends TidemarkError<ScriptErrorCode> {
  get isRetryable(): boolean {
    return false;
  }
}
