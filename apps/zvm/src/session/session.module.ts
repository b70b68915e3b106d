import { Module } from '@nestjs/common';
import { APP_GUARD } from '@nestjs/core';
import { SessionController } from './session.controller.js';
import { SessionGuard } from './session.guard.js';
import { SessionService } from './session.service.js';
import { SessionStore } from './session.store.js';

@Module({
  controllers: [SessionController],
  providers: [SessionStore, SessionService, { provide: APP_GUARD, useClass: SessionGuard }],
})
export class SessionModule {}
