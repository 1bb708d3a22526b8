/** What the actions are built from: the ports, given by main, and what they share among themselves. */
import type { Image, Instance } from '@wirt/api';
import type { Lanes } from '../domain/lanes.ts';
import type { Clock } from '../ports/clock.ts';
import type { Faults } from '../ports/faults.ts';
import type { HostInspector } from '../ports/host-inspector.ts';
import type { Hypervisor } from '../ports/hypervisor.ts';
import type { ImageBuilder } from '../ports/image-builder.ts';
import type { ImageFiles } from '../ports/image-files.ts';
import type { Logger } from '../ports/logger.ts';
import type { ResourceControl } from '../ports/resource-control.ts';
import type { Sandbox } from '../ports/sandbox.ts';
import type { Store } from '../ports/store.ts';
import type { OperationRunner } from './operation-runner.ts';
import type { Records } from './records.ts';

export interface CoreParts {
  readonly store: Store;
  readonly hypervisor: Hypervisor;
  readonly sandbox: Sandbox;
  readonly resources: ResourceControl;
  readonly host: HostInspector;
  readonly imageFiles: ImageFiles;
  readonly imageBuilders: readonly ImageBuilder[];
  readonly clock: Clock;
  readonly logger: Logger;
  readonly faults: Faults;
  /** How many guests may be between spawn and QMP at once; more only slow each other down. */
  readonly launchSlots: number;
}

/** Shared by the actions; made once by `createActions`. */
export interface Shared extends CoreParts {
  readonly instances: Records<Instance>;
  readonly images: Records<Image>;
  readonly lanes: Lanes;
  readonly operations: OperationRunner;
}
