export { FileBench, frameOf, IDENTITY, mark, readAll, syncStart, write, zeroes } from './fixture.js';
export { turnBit } from './turn-bit.js';
