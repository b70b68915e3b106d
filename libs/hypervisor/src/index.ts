export * from './port.js';
export * from './hypervisor-error.js';
export { createHypervisorManager } from './create-hypervisor-manager.js';
export { type ApplianceRunner, readStoredInventory, SimulatedHypervisor, type SimulatedHypervisorOptions } from './simulated/simulated-hypervisor.js';
export { SimulatedHypervisorManager } from './simulated/simulated-hypervisor-manager.js';
export type { HypervisorAccess } from './simulated/https-call.js';
export { type HypervisorPlace, type HypervisorServer, serveHypervisor } from './simulated/http-server.js';
export { type HypervisorSeed, seedSchema, type SeedVm } from './simulated/schemas.js';
export { allocatedBytesUnder, DatastoreUsage } from './simulated/datastore-usage.js';
