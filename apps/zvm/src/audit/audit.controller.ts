import { Controller, Get, Query as QueryParams, Res } from '@nestjs/common';
import { ApiOkResponse, ApiTags } from '@nestjs/swagger';
import { AUDIT_RESULT, AuditEntryApi, AuditVerificationApi } from '@tidemark/contracts';
import type { FastifyReply } from 'fastify';
import { Readable } from 'node:stream';
import { Needs } from '../access/needs.js';
import { invalid } from '../errors.js';
import { choice, instant, param, type Query } from '../http/query.js';
import type { ChainedEntry } from './audit-entry.js';
import { AuditLog } from './audit-log.js';
import { type AuditFilter, AuditStore } from './audit.store.js';

const PAGE_DEFAULT = 100;
const PAGE_MAX = 1000;

/** Who did what. Nothing here changes or removes an entry. */
@ApiTags('audit')
@Controller('audit')
@Needs('readAudit')
export class AuditController {
  constructor(
    private readonly store: AuditStore,
    private readonly audit: AuditLog,
  ) {}

  /** Newest first; the next page with `beforeSequence` of the last one. */
  @Get()
  @ApiOkResponse({ type: [AuditEntryApi] })
  async list(@QueryParams() query: Query): Promise<AuditEntryApi[]> {
    const limit = Math.min(PAGE_MAX, wholeNumber(query, 'limit') ?? PAGE_DEFAULT);
    return (await this.store.page(filterOf(query), { beforeSeq: wholeNumber(query, 'beforeSequence') ?? Number.MAX_SAFE_INTEGER, limit })).map(view);
  }

  /** Oldest first, a JSON object a line: the entry as it is hashed, its number and its hash. */
  @Get('export')
  async export(@QueryParams() query: Query, @Res() reply: FastifyReply): Promise<void> {
    const entries = this.store.walk(filterOf(query), wholeNumber(query, 'afterSequence') ?? 0);
    const limit = wholeNumber(query, 'limit') ?? Infinity;
    const lines = async function* (): AsyncGenerator<string> {
      let count = 0;
      for await (const { seq, entry, hash } of entries) {
        if ((count += 1) > limit) return;
        yield `${JSON.stringify({ seq, hash, entry })}\n`;
      }
    };
    await reply.status(200).header('content-type', 'application/x-ndjson; charset=utf-8').send(Readable.from(lines()));
  }

  @Get('verify')
  @ApiOkResponse({ type: AuditVerificationApi })
  async verify(): Promise<AuditVerificationApi> {
    const { count, head, firstBreak } = await this.audit.verify();
    return {
      IsIntact: firstBreak === null, Count: count, LastSequence: head.seq, LastHash: head.hash,
      FirstBreak: firstBreak === null ? null : { Sequence: firstBreak.seq, Kind: firstBreak.kind, Detail: firstBreak.detail },
    };
  }
}

function filterOf(query: Query): AuditFilter {
  return {
    fromMs: instant(query, 'startDate'), toMs: instant(query, 'endDate'), user: param(query, 'userName'), action: param(query, 'action'),
    entity: param(query, 'entity')?.toLowerCase(), result: choice(query, 'result', AUDIT_RESULT),
  };
}

function wholeNumber(query: Query, name: string): number | undefined {
  const text = param(query, name);
  if (text === undefined) return undefined;
  if (!/^\d{1,15}$/.test(text)) throw invalid(`${name}: '${text}' is no number`);
  return Number(text);
}

function view({ seq, hash, entry }: ChainedEntry): AuditEntryApi {
  return {
    Sequence: seq, Hash: hash, OccurredOn: new Date(entry.atMs).toISOString(), UserName: entry.user, Method: entry.method, TokenIdentifier: entry.tokenId,
    SessionIdentifier: entry.sessionId, Subject: entry.subject, Address: entry.address, Client: entry.client, Action: entry.action, Permission: entry.permission,
    Entities: [...entry.entities], Input: entry.input as object | null, Result: AUDIT_RESULT.numbers[entry.result], Status: entry.status, Message: entry.message,
    Changes: entry.changes?.map(({ path, before, after }) => ({ Path: path, Before: JSON.stringify(before), After: JSON.stringify(after) })) ?? null, TaskIdentifier: entry.taskId,
  };
}
