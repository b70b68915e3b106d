import { Body, Controller, Delete, Get, HttpCode, Put } from '@nestjs/common';
import { ApiOkResponse, ApiTags } from '@nestjs/swagger';
import { SYSLOG_PROTOCOL, SyslogSettingsApi, SyslogSwitchApi } from '@tidemark/contracts';
import type { Caller } from '../access/caller.js';
import { Needs } from '../access/needs.js';
import { SessionCaller } from '../session/session.guard.js';
import { currentNote } from './audit-note.js';
import type { SyslogTarget } from './syslog-sender.js';
import { SyslogService } from './syslog.service.js';

const PORTS = { udp: 514, tcp: 601, tls: 6514 } as const;
const PROTOCOLS = { Udp: 'udp', Tcp: 'tcp', Tls: 'tls' } as const;

/** Where the audit is forwarded to. */
@ApiTags('localsite')
@Controller('localsite/settings/syslog')
@Needs('readAudit')
export class SyslogController {
  constructor(private readonly syslog: SyslogService) {}

  @Get()
  @ApiOkResponse({ type: SyslogSettingsApi })
  async get(): Promise<object> {
    const { target, deliveredSeq, problem } = await this.syslog.state();
    if (target === null) return {};
    const name = (Object.keys(PROTOCOLS) as (keyof typeof PROTOCOLS)[]).find((key) => PROTOCOLS[key] === target.protocol) ?? 'Tls';
    return { Protocol: SYSLOG_PROTOCOL.numbers[name], Host: target.host, Port: target.port, CaPem: target.caPem, DeliveredSequence: deliveredSeq, Problem: problem };
  }

  @Put()
  @HttpCode(200)
  @Needs('manageSite')
  @ApiOkResponse({ type: SyslogSwitchApi })
  async set(@Body() body: SyslogSettingsApi, @SessionCaller() caller: Caller): Promise<SyslogSwitchApi> {
    const protocol = PROTOCOLS[body.Protocol];
    const target = { protocol, host: body.Host, port: body.Port ?? PORTS[protocol], caPem: body.CaPem ?? null };
    return await this.#switchTo(target, caller);
  }

  /** Ends the forwarding. */
  @Delete()
  @HttpCode(200)
  @Needs('manageSite')
  @ApiOkResponse({ type: SyslogSwitchApi })
  async remove(@SessionCaller() caller: Caller): Promise<SyslogSwitchApi> {
    return await this.#switchTo(null, caller);
  }

  async #switchTo(target: SyslogTarget | null, caller: Caller): Promise<SyslogSwitchApi> {
    const { before, notDelivered } = await this.syslog.set(target, caller);
    currentNote()?.changed(before, target);
    return { NotDelivered: notDelivered };
  }
}
