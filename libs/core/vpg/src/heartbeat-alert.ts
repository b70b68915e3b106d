import { alert, type WantedAlert } from './alerts.js';

export interface HeartbeatFacts {
  /** Never the same for two. */
  readonly subject: string;
  /** `VRA 'Z-VRA-host1'` */
  readonly sender: string;
  /** What is wrong with what it sends; undefined: nothing. */
  readonly problem: string | undefined;
  readonly vpgIds: readonly string[];
}

/** TDM0006 for who sends heartbeats that cannot be worked with: nothing else says who it is. */
export function heartbeatAlertsFor(facts: readonly HeartbeatFacts[]): WantedAlert[] {
  return facts.flatMap(({ subject, sender, problem, vpgIds }) => {
    if (problem === undefined) return [];
    const description = `${sender} ${problem}. Look at its host and its version; if it may have been taken over, remove it: that ends its certificate at once`;
    return [alert('TDM0006', { subject, description, vpgIds })];
  });
}
