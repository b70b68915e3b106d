import { readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import { LINK_NEXT, RECEIVER_NEXT, stateDiagram } from './index.js';

describe('docs/spec/replication.md', () => {
  it('shows the state tables as they are', () => {
    const page = readFileSync(new URL('../../../../docs/spec/replication.md', import.meta.url), 'utf8');
    expect(page).toContain(`Stream at the sender:\n\n${stateDiagram(LINK_NEXT)}`);
    expect(page).toContain(`Stream at the receiver:\n\n${stateDiagram(RECEIVER_NEXT)}`);
  });
});
