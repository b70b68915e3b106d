export * from './port.js';
export * from './hypervisor-error.js';
