import { Inject, Injectable } from '@nestjs/common';
import { HealthSource } from '@tidemark/nest';
import { Gauge, Registry, collectDefaultMetrics } from 'prom-client';
import { Verifications } from './verification/verifications.js';

/** What 4006 says of a VBA. */
@Injectable()
export class VbaHealth extends HealthSource {
  readonly #registry = new Registry();

  constructor(@Inject(Verifications) private readonly verifications: Verifications) {
    super();
    collectDefaultMetrics({ register: this.#registry });
    this.#gauge('tidemark_verifications_running', 'Checkpoints that are being read, or wait for it', () => this.verifications.runningCount);
    this.#gauge('tidemark_verification_read_bytes', 'Bytes read from VRAs on 9180 since the start', () => this.verifications.readBytes);
  }

  #gauge(name: string, help: string, value: () => number): void {
    new Gauge({ name, help, registers: [this.#registry], collect() { this.set(value()); } });
  }

  health(): Record<string, unknown> {
    return { verifications: this.verifications.runningCount };
  }

  async metrics(): Promise<string> {
    return await this.#registry.metrics();
  }
}
