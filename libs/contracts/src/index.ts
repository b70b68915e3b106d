export * from './subjects/subjects.js';
export * from './vra/index.js';
