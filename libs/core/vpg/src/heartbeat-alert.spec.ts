import { expect, it } from '@jest/globals';
import { heartbeatAlertsFor } from './index.js';

it('who sends heartbeats that are none is named, and what to do', () => {
  const quiet = { subject: 'vra 8', sender: "VRA 'Z-VRA-2'", problem: undefined, vpgIds: [] };
  const loud = { subject: 'vra 7', sender: "VRA 'Z-VRA-1'", problem: 'sends nonsense', vpgIds: ['v1'] };
  expect(heartbeatAlertsFor([quiet, loud])).toEqual([
    { helpIdentifier: 'TDM0006', level: 'Error', entity: 'Vra', subject: 'vra 7', vpgIds: ['v1'], description: expect.stringMatching(/^VRA 'Z-VRA-1' sends nonsense\..*remove it/) as unknown },
  ]);
});
