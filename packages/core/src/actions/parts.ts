/** What the actions are built from: the ports, given by main, and what they share among themselves. */
import type {
  DevicePool,
  Image,
  Instance,
  Network,
  Nic,
  Policy,
  Pool,
  SecurityGroup,
  Snapshot,
  Volume,
} from '@wirt/api';
import type { DiskSource } from '../domain/disk-source.ts';
import type { PlannedNic } from '../domain/guest.ts';
import type { Lanes } from '../domain/lanes.ts';
import type { LayerId } from '../domain/layers.ts';
import type { NetworkPlan } from '../domain/network-plan.ts';
import type { Catalogue } from '../ports/catalogue.ts';
import type { Clock } from '../ports/clock.ts';
import type { DiskTransfer } from '../ports/disk-transfer.ts';
import type { Downloader } from '../ports/downloader.ts';
import type { Faults } from '../ports/faults.ts';
import type { Firmware } from '../ports/firmware.ts';
import type { HostDevices } from '../ports/host-devices.ts';
import type { HostInspector } from '../ports/host-inspector.ts';
import type { HugePageReserve } from '../ports/host-memory.ts';
import type { HostTopologyReader } from '../ports/host-topology.ts';
import type { Hypervisor } from '../ports/hypervisor.ts';
import type { ImageBuilder } from '../ports/image-builder.ts';
import type { ImageFiles } from '../ports/image-files.ts';
import type { Logger } from '../ports/logger.ts';
import type { NetworkDriver } from '../ports/network.ts';
import type { PageMerging } from '../ports/page-merging.ts';
import type { ResourceControl } from '../ports/resource-control.ts';
import type { Identity, Sandbox } from '../ports/sandbox.ts';
import type { SeedFiles } from '../ports/seed-files.ts';
import type { Store } from '../ports/store.ts';
import type { UsageHistoryStore } from '../ports/usage-history.ts';
import type { PoolDriver, StoredLayer } from '../ports/volume-pool.ts';
import type { HostSettingsRecord } from './host-settings.ts';
import type { LateWrites } from './late-writes.ts';
import type { OperationRunner } from './operation-runner.ts';
import type { Placing } from './placing.ts';
import type { Pools } from './pool-storage.ts';
import type { Records, Staged } from './records.ts';

export interface CoreParts {
  readonly store: Store;
  readonly hypervisor: Hypervisor;
  readonly sandbox: Sandbox;
  readonly resources: ResourceControl;
  readonly host: HostInspector;
  readonly imageFiles: ImageFiles;
  readonly imageBuilders: readonly ImageBuilder[];
  readonly poolDrivers: readonly PoolDriver[];
  /** Where the pool lies that is made when there is none. */
  readonly defaultPoolPath: string;
  readonly transfer: DiskTransfer;
  readonly downloader: Downloader;
  readonly catalogue: Catalogue;
  readonly firmware: Firmware;
  readonly seeds: SeedFiles;
  readonly network: NetworkDriver;
  readonly usageHistory: UsageHistoryStore;
  readonly topology: HostTopologyReader;
  /** Absent where Wirt may not change how many huge pages the host has. */
  readonly hugePages?: HugePageReserve;
  /** Absent where Wirt may not change whether equal pages are merged. */
  readonly pageMerging?: PageMerging;
  readonly devices: HostDevices;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly faults: Faults;
  /** How many guests may be between spawn and QMP at once; more only slow each other down. */
  readonly launchSlots: number;
}

/** The layers of volumes on their storage; made in volume-layers. */
export interface VolumeLayers {
  /** As QEMU opens it, from the base on: of layers that lie on each other within storage that keeps moments itself, the last reads by itself. */
  sourceOf(layer: LayerId): Promise<DiskSource>;
  /** With every layer, as the storage is told what is to be taken out from between. */
  stackOf(layer: LayerId): Promise<DiskSource>;
  imageSource(image: Image): DiskSource;
  /** The layer as its storage knows it. */
  stored(layer: LayerId): StoredLayer;
  /** Lets a guest's process open this layer and all below it. */
  grant(layer: LayerId, identity: Identity, write: boolean): Promise<void>;
  /** Lets a guest write this layer, which it could only read until now. Throws `internal` when others read it. */
  widen(layer: LayerId, identity: Identity): Promise<void>;
  /** Lets a guest that had written this layer only read it from now on; or not even that, when it has left in it what QEMU must not open. */
  narrow(layer: LayerId, identity: Identity): Promise<void>;
  /** Takes every layer of the volume back. */
  revoke(volume: Volume): Promise<void>;
  /** Drops the layers that nothing needs: from the record, then from the storage. */
  prune(volume: string): Promise<void>;
  /** Begins what shortens the chain of a volume, when it is longer than it need be. Set when the works are made; fails never. */
  tidy: (volume: string) => Promise<void>;
  /** Removes files of layers that are in no record. */
  sweep(): Promise<void>;
}

/** Whom a failure may concern. */
export interface Concerned {
  /** Ids. */
  readonly networks?: readonly string[];
  readonly instance?: string;
}

/** What the host's networking is to be, and telling the driver; made in network-state. */
export interface Networking {
  /** Addresses that are nobody's and taken for a moment, by network id; changed in the lane of networks. */
  readonly lent: Map<string, string>;
  /** As if every guest ran: for questions about those that do not. */
  planOfAll(): NetworkPlan;
  /** To be committed with what takes something away that was allowed: connections are then looked at again. */
  cut(): Staged;
  /** Makes the host as the records say; in force when it returns. Throws `network.failed` when what failed concerns who asks. */
  apply(concerned?: Concerned): Promise<void>;
  /**
   * Makes the ends of a guest's cards on the host; when it returns, QEMU may open them. The guest may run when they are `inForce`. Both throw
   * `network.failed`.
   */
  plug(instance: Instance, identity: Identity): Promise<{ readonly inForce: Promise<void> }>;
  /** Takes them away. None is fine. Throws `network.failed`; they go with the next turn then. */
  unplug(id: string): Promise<void>;
  isPlugged(id: string): boolean;
  /** Brings into force what has changed of an instance's cards, when it has a process. */
  follow(id: string): Promise<void>;
  /** Cards as QEMU is told of them. They are plugged. */
  planned(instance: Pick<Instance, 'id' | 'project'>, nics: readonly Nic[]): PlannedNic[];
  /** Where the guest's SSH port is reached from this machine, while it is plugged. */
  ssh(instance: Instance): Instance['status']['ssh'];
}

/** What a guest has been promised that is being started, or enlarged, and whose record does not say so yet. */
export interface Promised {
  /** Of the host's own memory, with what QEMU needs. */
  readonly memoryMib: number;
  /** Of it, what is kept for the guest whatever others do, for which no factor counts. */
  readonly keptMib: number;
  readonly vcpus: number;
}

/** What a guest is promised that its record does not say yet. */
export interface Admitted {
  /** As it is to be. */
  readonly instance: Instance;
  /** Of the memory of one that is being started, what is of no huge pages. */
  readonly ownMib: number;
  /** Huge pages that are to be made for it, of the host's own memory, whatever risk it takes. */
  readonly pagesMib: number;
}

/** Shared by the actions; made once by `createActions`. */
export interface Shared extends CoreParts {
  readonly instances: Records<Instance>;
  readonly images: Records<Image>;
  readonly pools: Records<Pool>;
  readonly volumes: Records<Volume>;
  readonly snapshots: Records<Snapshot>;
  readonly networks: Records<Network>;
  readonly groups: Records<SecurityGroup>;
  readonly policies: Records<Policy>;
  readonly devicePools: Records<DevicePool>;
  readonly storage: Pools;
  readonly layers: VolumeLayers;
  readonly networking: Networking;
  readonly placing: Placing;
  readonly settings: HostSettingsRecord;
  /** By the id of the instance: what is promised and not in its record yet. */
  readonly admitted: Map<string, Admitted>;
  /** Policies being changed, by id, as their records are to be. */
  readonly admittedPolicies: Map<string, Policy>;
  /** Volumes being made, enlarged or attached, by id, as their records are to be. */
  readonly admittedVolumes: Map<string, Volume>;
  readonly lanes: Lanes;
  /** For what has come about already; `commit` for what begins. */
  readonly late: LateWrites;
  readonly operations: OperationRunner;
}
