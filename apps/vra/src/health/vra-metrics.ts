import { Inject, Injectable } from '@nestjs/common';
import { VraEngine, type RoleMemory } from '@tidemark/engine-host';
import { HealthSource } from '@tidemark/nest';
import { Gauge, Registry, collectDefaultMetrics } from 'prom-client';

const LABELS = ['vpg', 'vm'] as const;

/** Prometheus view of the engine's status; read when asked, so that it costs nothing between scrapes. */
@Injectable()
export class VraMetrics extends HealthSource {
  readonly #registry = new Registry();
  readonly #gauges = new Map<string, Gauge<'vpg' | 'vm'>>();

  constructor(@Inject(VraEngine) private readonly engine: VraEngine) {
    super();
    collectDefaultMetrics({ register: this.#registry });
    this.#plainGauge('tidemark_event_loop_delay_ms_p99', 'Delay of the event loop that answers guests, p99 of the last minute or so', () => this.engine.eventLoopDelay().p99Ms);
    this.#plainGauge('tidemark_event_loop_delay_ms_max', 'Its longest turn of the last minute or so: so long a guest write may have waited for this process', () => this.engine.eventLoopDelay().maxMs);
    this.#plainGauge('tidemark_memory_pool_bytes', 'Memory for replicated data: both roles together never use more', () => this.engine.status().memory.poolBytes);
    this.#plainGauge('tidemark_memory_ready_bytes', 'Memory that was used and is kept ready beside the pool', () => this.engine.status().memory.readyBytes);
    this.#plainGauge('tidemark_unreachable_disks', 'Disks of VMs on this host that could not be reached for the last 5 s: their guests wait', () => this.engine.status().unreachableDisks.length);
    this.#gauge('tidemark_capture_memory_bytes', 'Memory of captured writes that are not durable at the recovery site, by VPG');
    this.#gauge('tidemark_capture_memory_guaranteed_bytes', 'What the VPG is sure of');
    this.#gauge('tidemark_receive_memory_bytes', 'Memory promised to senders of the VPG, or filled by them and not durable');
    this.#gauge('tidemark_receive_memory_guaranteed_bytes', 'What the VPG is sure of');
    this.#gauge('tidemark_lag_bytes', 'Captured bytes that are not durable at the recovery site');
    this.#gauge('tidemark_lost_acknowledged_count', 'Times that the recovery side had lost what it had acknowledged as durable, since the stream began here: any above 0 is an alarm');
    this.#gauge('tidemark_written_bytes', 'Bytes written by the guest since the stream began');
    this.#gauge('tidemark_sent_bytes', 'Bytes sent on 4008, after compression');
    this.#gauge('tidemark_sync_all_bytes', 'Bytes that the syncs since the stream began had to compare or to send: after a crash far less than the disks have');
    this.#gauge('tidemark_sync_remaining_bytes', 'Bytes that the running sync still has to send');
    this.#gauge('tidemark_journal_bytes', 'Bytes of the journal on disk');
    this.#gauge('tidemark_journal_compacted_bytes', 'Bytes that thinning has given back since the journal was opened');
    this.#gauge('tidemark_rpo_ms_p50', 'Age of the newest checkpoint in the journal, sampled each second, p50 of the last quarter of an hour; absent: there is none. The RPO of a VPG is that of its worst VM');
    this.#gauge('tidemark_rpo_ms_p99', 'The same, p99');
    this.#gauge('tidemark_rpo_ms_max', 'The same, longest');
    this.#gauge('tidemark_received_raw_bytes', 'Bytes received on 4008 since the start, as they were before compression');
    this.#gauge('tidemark_received_bytes', 'The same as they came over the wire: the quotient is the gain');
    this.#gauge('tidemark_scrub_completed_timestamp_seconds', 'When the scrub last ended with the whole journal, Unix time; absent: never yet');
    this.#gauge('tidemark_pinned_checkpoints', 'Checkpoints that are kept by name, beyond retention');
    this.#gauge('tidemark_durable_seq', 'Last stream position that is durable in the journal');
    this.#gauge('tidemark_barrier_hold_ms_p99', 'Time that guest completions were held by a checkpoint barrier, p99');
    this.#gauge('tidemark_barrier_hold_ms_p50', 'The same, p50');
    this.#gauge('tidemark_barrier_hold_ms_max', 'The same, longest since the start');
    this.#gauge('tidemark_clock_offset_ms', 'Own wall clock minus that of the VRA that leads the checkpoints');
    this.#gauge('tidemark_barrier_void_count', 'Checkpoints that were begun and not sealed');
  }

  #plainGauge(name: string, help: string, value: () => number): void {
    new Gauge({ name, help, registers: [this.#registry], collect() { this.set(value()); } });
  }

  #gauge(name: string, help: string): void {
    this.#gauges.set(name, new Gauge({ name, help, labelNames: LABELS, registers: [this.#registry] }));
  }

  #set(name: string, ids: { vpgId: string; vmId?: string }, value: number): void {
    this.#gauges.get(name)?.set({ vpg: ids.vpgId, vm: ids.vmId ?? '' }, value);
  }

  #setMemory(role: 'capture' | 'receive', { vpgs }: RoleMemory): void {
    for (const vpg of vpgs) {
      this.#set(`tidemark_${role}_memory_bytes`, vpg, vpg.usedBytes);
      this.#set(`tidemark_${role}_memory_guaranteed_bytes`, vpg, vpg.guaranteedBytes);
    }
  }

  health(): { streams: Record<string, number> } {
    const counts: Record<string, number> = {};
    for (const { state } of this.engine.status().protections) counts[state] = (counts[state] ?? 0) + 1;
    return { streams: counts };
  }

  async metrics(): Promise<string> {
    for (const gauge of this.#gauges.values()) gauge.reset();
    const status = this.engine.status();
    for (const protection of status.protections) {
      this.#set('tidemark_lag_bytes', protection, protection.lagBytes);
      this.#set('tidemark_lost_acknowledged_count', protection, protection.loss?.count ?? 0);
      this.#set('tidemark_written_bytes', protection, protection.writtenBytes);
      this.#set('tidemark_sent_bytes', protection, protection.sentBytes);
      this.#set('tidemark_sync_all_bytes', protection, protection.allSyncsBytes);
      this.#set('tidemark_sync_remaining_bytes', protection, protection.sync?.remainingBytes ?? 0);
    }
    for (const recovery of status.recoveries) {
      this.#set('tidemark_journal_bytes', recovery, recovery.journalBytes);
      this.#set('tidemark_journal_compacted_bytes', recovery, recovery.compactedBytes);
      this.#set('tidemark_received_raw_bytes', recovery, recovery.receivedRawBytes);
      this.#set('tidemark_received_bytes', recovery, recovery.receivedBytes);
      this.#set('tidemark_pinned_checkpoints', recovery, recovery.pins.length);
      const { completedAtMs } = recovery.scrub;
      if (completedAtMs !== null) this.#set('tidemark_scrub_completed_timestamp_seconds', recovery, completedAtMs / 1000);
      this.#set('tidemark_durable_seq', recovery, recovery.durableSeq);
    }
    for (const point of this.engine.recoveryPointAges()) {
      this.#set('tidemark_rpo_ms_p50', point, point.p50Ms);
      this.#set('tidemark_rpo_ms_p99', point, point.p99Ms);
      this.#set('tidemark_rpo_ms_max', point, point.maxMs);
    }
    this.#setMemory('capture', status.memory.protecting);
    this.#setMemory('receive', status.memory.recovering);
    for (const barrier of status.barriers) {
      this.#set('tidemark_barrier_hold_ms_p99', barrier, barrier.holdMsP99);
      this.#set('tidemark_barrier_hold_ms_p50', barrier, barrier.holdMsP50);
      this.#set('tidemark_barrier_hold_ms_max', barrier, barrier.holdMsMax);
      this.#set('tidemark_clock_offset_ms', barrier, barrier.clockOffsetMs);
      this.#set('tidemark_barrier_void_count', barrier, barrier.voidCount);
    }
    return await this.#registry.metrics();
  }
}
