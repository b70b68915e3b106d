#!/usr/bin/env node
// Committed, so that npm can link it before the first build.
await import('../dist/main.js');
