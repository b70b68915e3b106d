export * from './engine-error.js';
export { SocketGuestAgents, guestAgentSocketPath, type FrozenGuest, type GuestAgents } from './guest-agent.js';
export { GuestAgentServer, type GuestQuiescer } from './guest-agent-server.js';
export { StateFile } from './state-file.js';
export type { EngineStatus, ProtectionStatus, RecoveryStatus, ViewStatus, BarrierHostStatus } from './status.js';
export type { RecoveryLimits } from './space-limits.js';
export * from './types.js';
export * from './vra-engine.js';
export type { EventLoopDelay } from './event-loop-watch.js';
