export { FileBench, frameOf, mark, readAll, syncStart, write, zeroes } from './fixture.js';
