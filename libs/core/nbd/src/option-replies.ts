import { utf8Bytes, viewOf } from '@tidemark/base';
import { BLOCK_BYTES_MIN, BLOCK_BYTES_PREFERRED, PAYLOAD_BYTES_MAX } from './limits.js';
import type { NbdExport } from './types.js';
import {
  BASE_ALLOCATION, BASE_ALLOCATION_ID, HandshakeFlag, InfoType, NBD_MAGIC_HIGH, NBD_MAGIC_LOW, OPTION_MAGIC_HIGH, OPTION_MAGIC_LOW,
  OPTION_REPLY_MAGIC_HIGH, OPTION_REPLY_MAGIC_LOW, OptionReply, setOffset, TransmissionFlag,
} from './wire.js';

const REPLY_HEADER_BYTES = 20;
const PADDING_BYTES = 124;

/** What the server says first: fixed newstyle, and that the padding after an export's name can be left out. */
export function greeting(): Uint8Array {
  const bytes = new Uint8Array(18);
  const view = viewOf(bytes);
  view.setUint32(0, NBD_MAGIC_HIGH);
  view.setUint32(4, NBD_MAGIC_LOW);
  view.setUint32(8, OPTION_MAGIC_HIGH);
  view.setUint32(12, OPTION_MAGIC_LOW);
  view.setUint16(16, HandshakeFlag.fixedNewstyle | HandshakeFlag.noZeroes);
  return bytes;
}

export function optionReply(option: number, type: number, body: Uint8Array = new Uint8Array(0)): Uint8Array {
  const bytes = new Uint8Array(REPLY_HEADER_BYTES + body.length);
  const view = viewOf(bytes);
  view.setUint32(0, OPTION_REPLY_MAGIC_HIGH);
  view.setUint32(4, OPTION_REPLY_MAGIC_LOW);
  view.setUint32(8, option);
  view.setUint32(12, type);
  view.setUint32(16, body.length);
  bytes.set(body, REPLY_HEADER_BYTES);
  return bytes;
}

export function serverReply(option: number, nbdExport: NbdExport): Uint8Array {
  const name = utf8Bytes(nbdExport.name);
  const description = utf8Bytes(nbdExport.description);
  const body = new Uint8Array(4 + name.length + description.length);
  viewOf(body).setUint32(0, name.length);
  body.set(name, 4);
  body.set(description, 4 + name.length);
  return optionReply(option, OptionReply.server, body);
}

export function metaContextReply(option: number): Uint8Array {
  const name = utf8Bytes(BASE_ALLOCATION);
  const body = new Uint8Array(4 + name.length);
  viewOf(body).setUint32(0, BASE_ALLOCATION_ID);
  body.set(name, 4);
  return optionReply(option, OptionReply.metaContext, body);
}

/** Several connections see one cache: a flush on any of them covers writes done on all. The DF flag needs structured replies. */
export function transmissionFlags(nbdExport: NbdExport, isStructured: boolean): number {
  const { hasFlags, readOnly, sendFlush, sendFua, sendTrim, sendWriteZeroes, sendDf, canMultiConn } = TransmissionFlag;
  const flags = hasFlags | sendFlush | sendFua | canMultiConn | (isStructured ? sendDf : 0);
  return nbdExport.isReadOnly ? flags | readOnly : flags | sendTrim | sendWriteZeroes;
}

export function exportNameReply(nbdExport: NbdExport, mode: { isStructured: boolean; isPadded: boolean }): Uint8Array {
  const bytes = new Uint8Array(10 + (mode.isPadded ? PADDING_BYTES : 0));
  const view = viewOf(bytes);
  setOffset(view, 0, nbdExport.sizeBytes);
  view.setUint16(8, transmissionFlags(nbdExport, mode.isStructured));
  return bytes;
}

/** The answers to INFO and GO, without the final ACK. Size and block size are told to everybody, asked or not. */
export function infoReplies(option: number, nbdExport: NbdExport, asked: { isStructured: boolean; types: ReadonlySet<number> }): Uint8Array[] {
  const replies = [exportInfo(nbdExport, asked.isStructured), blockSizeInfo()];
  if (asked.types.has(InfoType.name)) replies.push(textInfo(InfoType.name, nbdExport.name));
  if (asked.types.has(InfoType.description)) replies.push(textInfo(InfoType.description, nbdExport.description));
  return replies.map((body) => optionReply(option, OptionReply.info, body));
}

function exportInfo(nbdExport: NbdExport, isStructured: boolean): Uint8Array {
  const body = new Uint8Array(12);
  const view = viewOf(body);
  view.setUint16(0, InfoType.export);
  setOffset(view, 2, nbdExport.sizeBytes);
  view.setUint16(10, transmissionFlags(nbdExport, isStructured));
  return body;
}

function blockSizeInfo(): Uint8Array {
  const body = new Uint8Array(14);
  const view = viewOf(body);
  view.setUint16(0, InfoType.blockSize);
  view.setUint32(2, BLOCK_BYTES_MIN);
  view.setUint32(6, BLOCK_BYTES_PREFERRED);
  view.setUint32(10, PAYLOAD_BYTES_MAX);
  return body;
}

function textInfo(type: number, text: string): Uint8Array {
  const bytes = utf8Bytes(text);
  const body = new Uint8Array(2 + bytes.length);
  viewOf(body).setUint16(0, type);
  body.set(bytes, 2);
  return body;
}
