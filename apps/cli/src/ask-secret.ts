import { CliError } from './cli-error.js';

const [END_OF_TEXT, END_OF_TRANSMISSION, BACKSPACE, DELETE, ESCAPE] = ['\u0003', '\u0004', '\b', '\u007f', '\u001b'];

/** Reads a line from the terminal without showing it; undefined where there is no terminal. */
export async function askSecret(streams: { readonly in: NodeJS.ReadStream; readonly err: NodeJS.WriteStream }, question: string): Promise<string | undefined> {
  const { in: input, err } = streams;
  if (!input.isTTY) return undefined;
  err.write(question);
  input.setRawMode(true);
  input.resume();
  input.setEncoding('utf8');
  try {
    return await new Promise<string>((resolve, reject) => {
      let typed = '';
      const read = (text: string): void => {
        if (text.startsWith(ESCAPE)) return;
        for (const character of text) {
          if (character === '\r' || character === '\n' || character === END_OF_TRANSMISSION) return end(() => resolve(typed));
          if (character === END_OF_TEXT) return end(() => reject(new CliError('CLI_FAILED', 'interrupted')));
          typed = character === DELETE || character === BACKSPACE ? [...typed].slice(0, -1).join('') : typed + character;
        }
      };
      const end = (settle: () => void): void => {
        input.off('data', read);
        settle();
      };
      input.on('data', read);
    });
  } finally {
    input.setRawMode(false);
    input.pause();
    err.write('\n');
  }
}
