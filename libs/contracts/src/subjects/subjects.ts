/** NATS subjects: `tidemark.v1.<siteId>.<service>.<instanceId>.<channel>.<noun>.<verb>`. */
export type Service = 'zvm' | 'vra';
export type Channel = 'control' | 'checkpoint' | 'log' | 'event';

export interface SubjectParts {
  readonly siteId: string;
  readonly service: Service;
  readonly instanceId: string;
  readonly channel: Channel;
  /** `<noun>.<verb>`, e.g. `view.open`, or `>` to subscribe to the whole channel. */
  readonly topic: string;
}

export function subjectOf({ siteId, service, instanceId, channel, topic }: SubjectParts): string {
  return `tidemark.v1.${siteId}.${service}.${instanceId}.${channel}.${topic}`;
}

/** What every responder answers: the result, or an error with a stable code. */
export type Reply<Result> =
  | { readonly isOk: true; readonly result: Result }
  | { readonly isOk: false; readonly code: string; readonly message: string };
