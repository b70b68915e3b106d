import { Body, Controller, Delete, Get, HttpCode, Put } from '@nestjs/common';
import { ApiOkResponse, ApiTags } from '@nestjs/swagger';
import { SYSLOG_PROTOCOL, SyslogSettingsApi } from '@tidemark/contracts';
import { Needs } from '../access/needs.js';
import { currentNote } from './audit-note.js';
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
  async set(@Body() body: SyslogSettingsApi): Promise<void> {
    const before = (await this.syslog.state()).target;
    const protocol = PROTOCOLS[body.Protocol];
    const target = { protocol, host: body.Host, port: body.Port ?? PORTS[protocol], caPem: body.CaPem ?? null };
    await this.syslog.set(target);
    currentNote()?.changed(before, target);
  }

  /** Ends the forwarding. */
  @Delete()
  @HttpCode(200)
  @Needs('manageSite')
  async remove(): Promise<void> {
    const before = (await this.syslog.state()).target;
    await this.syslog.set(null);
    currentNote()?.changed(before, null);
  }
}
