import { utf8Text, viewOf } from '@tidemark/base';
import { STRING_BYTES_MAX } from './limits.js';

/** An option's body is not what its type says: answered with ERR_INVALID, the connection goes on. */
export class OptionError extends Error {}

/** Reads the body of one option, which is bounded and whole already. */
export class OptionBody {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = viewOf(bytes);
  }

  u16(): number {
    this.#need(2);
    this.#at += 2;
    return this.#view.getUint16(this.#at - 2);
  }

  u32(): number {
    this.#need(4);
    this.#at += 4;
    return this.#view.getUint32(this.#at - 4);
  }

  /** A string after its 32-bit length. */
  string(): string {
    return this.#text(this.u32());
  }

  /** The rest of the body as one string. */
  rest(): string {
    return this.#text(this.#bytes.length - this.#at);
  }

  end(): void {
    if (this.#at !== this.#bytes.length) throw new OptionError('bytes after the end of the option');
  }

  #text(length: number): string {
    if (length > STRING_BYTES_MAX) throw new OptionError('string above 4096 bytes');
    this.#need(length);
    this.#at += length;
    try {
      return utf8Text(this.#bytes.subarray(this.#at - length, this.#at));
    } catch {
      throw new OptionError('string is not UTF-8');
    }
  }

  #need(bytes: number): void {
    if (this.#at + bytes > this.#bytes.length) throw new OptionError('option is too short');
  }
}
