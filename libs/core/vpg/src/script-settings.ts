import { isPlainText } from '@tidemark/base';
import type { Fault } from './facts.js';
import type { ScriptSettings, VpgSettings } from './settings.js';

export const SCRIPT_LIMITS = { commandLengthMax: 1024, parametersLengthMax: 4096, argumentsMax: 64, timeoutSecondsMin: 1, timeoutSecondsMax: 3600, timeoutSecondsDefault: 300 } as const;

/**
 * The arguments of a script: parted by blanks; `"…"` and `'…'` keep blanks and are taken off; within `"…"`, `\"` and `\\` stand for `"` and `\`. Nothing else has a meaning: no `$`, `*`, `~`, `%`, `|` or `;`.
 * Undefined: a quote is not closed.
 */
export function splitParameters(text: string): string[] | undefined {
  const words: string[] = [];
  let word: string | undefined;
  for (let at = 0; at < text.length; at += 1) {
    const character = text.charAt(at);
    if (character === ' ') {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else if (character === '"' || character === "'") {
      const quoted = quotedAt(text, at);
      if (!quoted) return undefined;
      word = (word ?? '') + quoted.text;
      at = quoted.end;
    } else word = (word ?? '') + character;
  }
  return word === undefined ? words : [...words, word];
}

/** `end`: where the closing quote stands. */
function quotedAt(text: string, from: number): { readonly text: string; readonly end: number } | undefined {
  const quote = text.charAt(from);
  let inner = '';
  for (let at = from + 1; at < text.length; at += 1) {
    const character = text.charAt(at);
    if (character === quote) return { text: inner, end: at };
    const next = text.charAt(at + 1);
    const isEscape = quote === '"' && character === '\\' && (next === '"' || next === '\\');
    if (isEscape) at += 1;
    inner += isEscape ? next : character;
  }
  return undefined;
}

/** Whether the file is there and may be run, its site finds out. */
export function checkScripts({ scripting }: VpgSettings): Fault[] {
  return [
    ...checkScript('Scripting.PreRecovery', scripting.preRecovery),
    ...checkScript('Scripting.PostRecovery', scripting.postRecovery),
    ...(isNamed(scripting.postBackup?.command) ? [{ path: 'Scripting.PostBackup.Command', message: 'backups are not in this version, and no script would run after them: leave it empty' }] : []),
  ];
}

const isNamed = (command: unknown): boolean => command !== null && command !== undefined && command !== '';

/** Of settings from a peer too, whose fields nobody has looked at. */
function checkScript(path: string, { command, parameters, timeoutInSeconds }: Readonly<Record<keyof ScriptSettings, unknown>>): Fault[] {
  if (!isNamed(command)) return [];
  const faults: Fault[] = [];
  const { commandLengthMax, parametersLengthMax, argumentsMax, timeoutSecondsMin, timeoutSecondsMax } = SCRIPT_LIMITS;
  if (typeof command !== 'string' || command.length > commandLengthMax || !isPlainText(command)) faults.push({ path: `${path}.Command`, message: `a path of at most ${commandLengthMax} visible characters is expected` });
  const text = parameters ?? '';
  if (typeof text !== 'string' || text.length > parametersLengthMax || !isPlainText(text)) faults.push({ path: `${path}.Parameters`, message: `a text of at most ${parametersLengthMax} visible characters is expected` });
  else {
    const words = splitParameters(text);
    if (!words) faults.push({ path: `${path}.Parameters`, message: 'a quote is not closed' });
    else if (words.length > argumentsMax) faults.push({ path: `${path}.Parameters`, message: `${words.length} parameters, ${argumentsMax} are allowed` });
  }
  const seconds = timeoutInSeconds ?? SCRIPT_LIMITS.timeoutSecondsDefault;
  if (typeof seconds !== 'number' || !Number.isInteger(seconds) || seconds < timeoutSecondsMin || seconds > timeoutSecondsMax) {
    faults.push({ path: `${path}.TimeoutInSeconds`, message: `${typeof seconds === 'number' ? seconds : 'no number'} given, ${timeoutSecondsMin} to ${timeoutSecondsMax} seconds are allowed` });
  }
  return faults;
}
