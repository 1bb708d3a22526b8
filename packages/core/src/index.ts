/** The product without I/O: domain rules, ports, and the actions through which every door enters. */
export * from './actions/actions.ts';
export * from './actions/create-actions.ts';
export type { CoreParts } from './actions/parts.ts';
export * from './domain/disk-source.ts';
export * from './domain/guest.ts';
export { uuidOf } from './domain/identity.ts';
export * from './ports/clock.ts';
export * from './ports/disk-transfer.ts';
export * from './ports/faults.ts';
export * from './ports/host-inspector.ts';
export * from './ports/hypervisor.ts';
export * from './ports/image-builder.ts';
export * from './ports/image-files.ts';
export * from './ports/logger.ts';
export * from './ports/resource-control.ts';
export * from './ports/sandbox.ts';
export * from './ports/store.ts';
export * from './ports/volume-pool.ts';
