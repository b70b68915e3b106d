import { describe, expect, it } from '@jest/globals';
import { createColors } from 'picocolors';
import { Output } from './output.js';
import { terminalJson, terminalText } from './terminal-text.js';

const HOSTILE = 'web\u001b]0;owned\u0007\u001b[2J\u009b1A\u202e\rroot';
const OBEYED = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/;

function written(format: 'table' | 'json', write: (output: Output) => void): string {
  let text = '';
  const stream = { write: (part: string) => void (text += part), isTTY: false } as unknown as NodeJS.WriteStream;
  write(new Output(format, stream, stream, { NO_COLOR: '1' }));
  return text;
}

describe('what a name can do to a terminal', () => {
  it.each([
    ['a table', (output: Output) => output.list([{ name: HOSTILE }], { NAME: (row) => row.name }, '')],
    ['facts', (output: Output) => output.facts({}, { name: HOSTILE })],
    ['the end of an operation', (output: Output) => output.done({}, `VPG '${HOSTILE}' deleted`)],
    ['a note', (output: Output) => output.note(HOSTILE)],
    ['plain text', (output: Output) => output.text(`two\n${HOSTILE}`)],
  ])('nothing in %s', (_what, write) => {
    expect(written('table', write)).not.toMatch(OBEYED);
    expect(written('table', write)).toContain('\\u{1b}]0;owned');
  });

  it('nothing in JSON, and programs read the name as it is', () => {
    const text = written('json', (output) => output.list([{ name: HOSTILE }], {}, ''));
    expect(text).not.toMatch(OBEYED);
    expect(JSON.parse(text)).toEqual([{ name: HOSTILE }]);
    expect(terminalJson('"Köln 👩‍💻"')).toBe('"Köln 👩‍💻"');
  });

  it('our own colours stay', () => {
    const red = createColors(true).red('bad');
    expect(terminalText(`${red}\nnext`)).toBe(`${red}\nnext`);
  });
});
