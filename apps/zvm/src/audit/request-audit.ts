import { type CallHandler, type ExecutionContext, Inject, Injectable, Logger, type NestInterceptor } from '@nestjs/common';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Observable } from 'rxjs';
import { type Caller, callerOf, originOf } from '../access/caller.js';
import { NEED_OF_REQUEST } from '../access/needs.js';
import { Background } from '../background.js';
import { Clock } from '../clock.js';
import { messageOf } from '../errors.js';
import { networkOf } from '@tidemark/sys/network';
import type { AuditResult } from './audit-entry.js';
import { type AuditDraft, AuditLog, SYSTEM } from './audit-log.js';
import { AuditNote, withNote } from './audit-note.js';
import { plainText, redactedInput } from './redaction.js';

const READING: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS']);
/** Refusals of callers that nobody knows, per network and minute: strangers shall not fill the database. What is left out is counted. */
const STRANGER_ENTRIES_MAX = 30;
const STRANGERS_MAX = 5000;
const MINUTE_MS = 60_000;
const TASK_ID = /^"?([0-9a-f-]{36}\.[0-9a-f-]{36})"?$/;

interface Stranger {
  recorded: number;
  leftOut: number;
}

/** An entry for every request that changes something or wanted to: begun when it may be done, before its handler; there before its answer leaves. */
@Injectable()
export class RequestAudit implements NestInterceptor {
  readonly #log = new Logger('audit');
  readonly #notes = new WeakMap<FastifyRequest, AuditNote>();
  readonly #strangers = new Map<string, Stranger>();
  #minuteStartedMs = 0;

  constructor(
    private readonly audit: AuditLog,
    @Inject(Clock) private readonly clock: Clock,
  ) {}

  attach(fastify: FastifyInstance): void {
    fastify.addHook('onRequest', (request, _reply, done) => {
      const note = new AuditNote();
      this.#notes.set(request, note);
      withNote(note, done);
    });
    fastify.addHook('onSend', async (request, reply, payload) => await this.#beforeAnswer(request, reply, payload));
    const flush = new Background('audit of strangers', MINUTE_MS, () => this.#flushStrangers());
    flush.start();
    fastify.addHook('onClose', async () => await flush.stop());
  }

  /** Behind the guards: what they refuse does nothing, and strangers make no file grow. */
  async intercept(context: ExecutionContext, next: CallHandler): Promise<Observable<unknown>> {
    const request = context.switchToHttp().getRequest<FastifyRequest>();
    const note = this.#notes.get(request);
    if (note && !READING.has(request.method)) note.begunId = await this.audit.begin(intentOf(request, note));
    return next.handle();
  }

  async #beforeAnswer(request: FastifyRequest, reply: FastifyReply, payload: unknown): Promise<unknown> {
    const note = this.#notes.get(request);
    if (!note || note.isClosed || READING.has(request.method) || request.routeOptions.url === undefined) return payload;
    note.isClosed = true;
    const caller = callerOf(request);
    if (!caller && reply.statusCode >= 400 && this.#isLeftOut(originOf(request).address)) {
      if (note.begunId !== undefined) this.audit.withdraw(note.begunId);
      return payload;
    }
    try {
      await this.audit.append(draftOf({ request, reply, payload, note }), note.begunId);
      return payload;
    } catch (error) {
      this.#log.error(`${request.method} ${request.routeOptions.url} was answered ${reply.statusCode} and cannot be recorded: ${messageOf(error)}`);
      if (reply.statusCode >= 400) return payload;
      reply.status(503).header('content-type', 'application/json; charset=utf-8').removeHeader('content-length');
      return JSON.stringify({ Message: `it was done, but the audit could not record it: ${messageOf(error)}` });
    }
  }

  #isLeftOut(address: string): boolean {
    const now = this.clock.monotonicMs();
    if (now - this.#minuteStartedMs > MINUTE_MS && this.#strangers.size > 0) void this.#flushStrangers().catch((error: unknown) => this.#log.warn(messageOf(error)));
    const network = this.#strangers.size < STRANGERS_MAX || this.#strangers.has(networkOf(address)) ? networkOf(address) : 'many addresses';
    const stranger = this.#strangers.get(network) ?? { recorded: 0, leftOut: 0 };
    this.#strangers.set(network, stranger);
    if (stranger.recorded >= STRANGER_ENTRIES_MAX) stranger.leftOut += 1;
    else stranger.recorded += 1;
    return stranger.leftOut > 0;
  }

  async #flushStrangers(): Promise<void> {
    this.#minuteStartedMs = this.clock.monotonicMs();
    const ended = [...this.#strangers];
    this.#strangers.clear();
    for (const [network, { leftOut }] of ended) {
      if (leftOut === 0) continue;
      const message = `${leftOut} more refused calls of nobody known within a minute have no entry of their own`;
      await this.audit.append({ ...SYSTEM, address: network, action: 'refusals.summed', entities: [], result: 'Refused', message });
    }
  }
}

interface Answered {
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
  readonly payload: unknown;
  readonly note: AuditNote;
}

/** What is known before the handler. */
function intentOf(request: FastifyRequest, note: AuditNote): Omit<AuditDraft, 'result'> {
  const caller: Caller | undefined = callerOf(request);
  const parameters = Object.entries(request.params as Record<string, string>).map(([name, value]) => plainText(`${name === 'sid' ? 'draft' : name}:${value.toLowerCase()}`));
  return {
    user: plainText(caller?.name ?? note.claimedUser ?? ''), method: caller?.method ?? 'Unknown', tokenId: caller?.tokenId ?? null, sessionId: caller?.sessionId ?? null,
    subject: caller?.subject ?? null, address: originOf(request).address, client: plainText(originOf(request).client),
    action: `${request.method} ${(request.routeOptions.url ?? '').replace(/^\/v1/i, '')}`, permission: NEED_OF_REQUEST.get(request.raw)?.permission ?? null,
    entities: [...new Set([...parameters, ...note.entities])], input: redactedInput(request.body), changes: null, status: null, message: null, taskId: null,
  };
}

function draftOf({ request, reply, payload, note }: Answered): AuditDraft {
  const { statusCode: status } = reply;
  const text = typeof payload === 'string' ? payload : '';
  return {
    ...intentOf(request, note), changes: note.changes, result: resultOf(status), status, message: status >= 400 ? plainText(messageIn(text)) : null,
    taskId: note.taskId ?? TASK_ID.exec(text)?.[1] ?? null,
  };
}

function resultOf(status: number): AuditResult {
  if (status < 400) return 'Done';
  return status === 401 || status === 403 || status === 429 ? 'Refused' : 'Failed';
}

function messageIn(text: string): string {
  try {
    const { Message } = JSON.parse(text) as { Message?: unknown };
    return typeof Message === 'string' ? Message : '';
  } catch {
    return '';
  }
}
