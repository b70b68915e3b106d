import 'reflect-metadata';
export * from './subjects/subjects.js';
export * from './shape/index.js';
export * from './vra/index.js';
export * from './vba/index.js';
export * from './peer/index.js';
export * from './rest/index.js';
export * from './trust/index.js';
