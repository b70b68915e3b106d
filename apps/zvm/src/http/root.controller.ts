import { Controller, Get } from '@nestjs/common';
import { Links } from './links.js';
import { Public } from '../session/session.guard.js';

const SERVICES = {
  alerts: 'IAlertService', events: 'IEventService', localsite: 'ILocalSiteService', peersites: 'IPeerSiteService', session: 'ISessionService',
  tasks: 'ITaskService', virtualizationsites: 'IVirtualizationSiteService', vms: 'IVmService', vpgs: 'IVpgService', vpgSettings: 'IVpgSettingsService', vras: 'IVraService',
} as const;

/** What there is, without a session. */
@Controller()
export class RootController {
  constructor(private readonly links: Links) {}

  @Public()
  @Get()
  list(): { readonly href: string; readonly rel: string; readonly type: string }[] {
    return Object.entries(SERVICES).map(([path, type]) => ({ href: this.links.of(path, type, path).href, rel: 'down', type }));
  }
}
