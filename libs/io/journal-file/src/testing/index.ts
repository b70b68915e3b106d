export { FileBench, frameOf, IDENTITY, mark, readAll, syncStart, write, zeroes } from './fixture.js';
