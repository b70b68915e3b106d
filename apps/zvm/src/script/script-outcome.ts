import { shownText } from '@tidemark/base';
import type { ScriptEnd } from '@tidemark/script';
import type { Notes } from '../operation/operation-kind.js';

export type ScriptMoment = 'preRecovery' | 'postRecovery';

/** How a run ended, as it is kept with its operation. */
export interface ScriptOutcome {
  readonly isSuccess: boolean;
  /** For a task: `'dns.sh' failed with exit code 3 after 2 s: …` */
  readonly text: string;
  /** For an event: with more of the output. */
  readonly detail: string;
}

/** Durable before a script is started; with `outcome` once it has ended. */
export interface ScriptNote {
  readonly runId: string;
  readonly command: string;
  readonly outcome: ScriptOutcome | null;
}

const TASK_OUTPUT_LENGTH = 500;
const EVENT_OUTPUT_LENGTH = 4000;
/** A task's text goes to the paired site, which takes 4000 characters: two of these and what the operation says itself. */
const TEXT_LENGTH_MAX = 1500;

export const TITLES: Readonly<Record<ScriptMoment, string>> = { preRecovery: 'pre-recovery script', postRecovery: 'post-recovery script' };

export function noteOf(notes: Notes, moment: ScriptMoment): ScriptNote | undefined {
  return notes[moment] as ScriptNote | undefined;
}

/** What the text of a finished task says of scripts that failed and did not stop it. */
export function scriptRemarks(notes: Notes): string {
  const failed = (['preRecovery', 'postRecovery'] as const).flatMap((moment) => {
    const outcome = noteOf(notes, moment)?.outcome;
    return outcome && !outcome.isSuccess ? `; the ${TITLES[moment]} ${outcome.text}` : [];
  });
  return failed.join('');
}

export function outcomeOf(command: string, end: ScriptEnd, timeoutMs: number): ScriptOutcome {
  const isSuccess = end.exitCode === 0 && !end.isTimedOut && !end.isStopped;
  const text = `${named(command)} ${endText(end, timeoutMs)}`;
  // What went wrong is said last, and on the second stream when there is one.
  const said = lastOf(end.stderr.trim() === '' ? end.stdout : end.stderr, TASK_OUTPUT_LENGTH);
  return {
    isSuccess,
    text: cut(isSuccess || said === '' ? text : `${text}: ${said}`),
    detail: [text, ...outputText('output', end.stdout), ...outputText('errors', end.stderr)].join('; '),
  };
}

/** It did not come to an end that anybody saw: the ZVM ended with it. */
export function outcomeUnknown(command: string, moment: ScriptMoment): ScriptOutcome {
  const then = moment === 'preRecovery' ? 'look at what it left behind, then begin the operation anew' : 'look at what it left behind, and finish by hand what is missing';
  const text = `${named(command)} was under way when the site manager ended, which ended it too: what it had done by then is not known. It is not run again by itself: ${then}`;
  return { isSuccess: false, text: cut(text), detail: text };
}

export function outcomeNotRun(command: string, reason: string): ScriptOutcome {
  const text = `${named(command)} was not run: ${reason}`;
  return { isSuccess: false, text: cut(text), detail: text };
}

export const cut = (text: string): string => (text.length > TEXT_LENGTH_MAX ? `${text.slice(0, TEXT_LENGTH_MAX)}…`.toWellFormed() : text);

const named = (command: string): string => `'${shownText(command)}'`;

function endText({ exitCode, endedBy, isTimedOut, isStopped, durationMs }: ScriptEnd, timeoutMs: number): string {
  const after = `after ${(durationMs / 1000).toFixed(1)} s`;
  if (isTimedOut) return `was ended ${after}: it had ${timeoutMs / 1000} s (TimeoutInSeconds)`;
  if (isStopped) return `was ended ${after}, because the site manager ended`;
  if (exitCode === null) return `was ended by ${endedBy ?? 'a signal'} ${after}`;
  return exitCode === 0 ? `ended ${after}` : `failed with exit code ${exitCode} ${after}`;
}

const outputText = (what: string, text: string): string[] => {
  const last = lastOf(text, EVENT_OUTPUT_LENGTH);
  return last === '' ? [] : [`${what}: ${last}`];
};

/** The end of what was written, on one line and with nothing in it that would act on a terminal. */
function lastOf(text: string, lengthMax: number): string {
  const shown = text.toWellFormed().trim().split(/\s*[\r\n]+\s*/).map(shownText).join(' | ');
  return shown.length > lengthMax ? `…${shown.slice(-lengthMax)}`.toWellFormed() : shown;
}
