/// <reference path="./globals.d.ts" />
const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { fatal: true });

export const utf8Bytes = (text: string): Uint8Array<ArrayBuffer> => encoder.encode(text);

/** Throws `TypeError` on bytes that are not UTF-8: callers that read a peer's bytes turn that into a ProtocolError. */
export const utf8Text = (bytes: Uint8Array): string => decoder.decode(bytes);
