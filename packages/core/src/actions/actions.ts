/**
 * The seam: every use case of Wirt. REST, later EC2, and internal jobs all enter here and nowhere else; each action
 * does its own authorisation, takes the lane of its target, and leaves an operation where it takes longer than a moment.
 */
import type {
  CpuBaseline,
  CpuBaselineCreate,
  DiskAttach,
  DiskExport,
  Event,
  EventQuery,
  Exec,
  ExecResult,
  ExportCreate,
  Host,
  HostCapacity,
  HostCheck,
  HostCpuModels,
  HostCpuQuery,
  HostDevice,
  HostDeviceListQuery,
  HostSettings,
  HostSettingsUpdate,
  HostTopologyView,
  Image,
  ImageBuild,
  ImageImport,
  ImagePull,
  ImportCreate,
  ImportPlan,
  Instance,
  InstanceCreate,
  InstanceListQuery,
  InstanceStart,
  InstanceStop,
  InstanceTuning,
  InstanceUpdate,
  Isolation,
  MediumChange,
  Network,
  NetworkCreate,
  NetworkListQuery,
  NetworkPorts,
  NetworkTrace,
  NetworkTraceResult,
  NicCreate,
  NicUpdate,
  Operation,
  OperationListQuery,
  Policy,
  PolicyCreate,
  PolicyListQuery,
  PolicyUpdate,
  Pool,
  PoolCreate,
  SecurityGroup,
  SecurityGroupCreate,
  SecurityGroupListQuery,
  SecurityGroupUpdate,
  SecurityRuleCreate,
  Snapshot,
  SnapshotCreate,
  SnapshotExport,
  Usage,
  UsageHistory,
  UsageHistoryQuery,
  UsageList,
  UsageListQuery,
  VirtualFunctions,
  Volume,
  VolumeCreate,
  VolumeListQuery,
  VolumeResize,
  VolumeUpdate,
  WaitQuery,
} from '@wirt/api';
import type { Console } from '../ports/hypervisor.ts';

export interface ListQuery {
  readonly cursor?: string | undefined;
  readonly limit: number;
}

export interface Page<T> {
  readonly items: T[];
  readonly next?: string;
}

/** Who asks, and under which conditions. `signal` ends only the waiting of the asker, never the work. */
export interface Request {
  /** `socket` for the local administrator, or the name of an internal job. */
  readonly caller: string;
  readonly signal: AbortSignal;
  /** Same key and same `fingerprint`: the first operation is answered again. Another fingerprint: `request.idempotency_conflict`. */
  readonly idempotency?: { readonly key: string; readonly fingerprint: string };
  /** From If-Match: fail with `request.revision_mismatch` when the record has another revision. */
  readonly ifRevision?: number;
}

export interface InstanceActions {
  list(query: InstanceListQuery): Promise<Page<Instance>>;
  /** By id, or by name in the default project. */
  get(ref: string): Promise<Instance>;
  create(request: Request, input: InstanceCreate, wait: WaitQuery): Promise<Operation>;
  update(request: Request, ref: string, input: InstanceUpdate): Promise<Instance>;
  start(request: Request, ref: string, input: InstanceStart, wait: WaitQuery): Promise<Operation>;
  stop(request: Request, ref: string, input: InstanceStop, wait: WaitQuery): Promise<Operation>;
  restart(request: Request, ref: string, input: InstanceStop, wait: WaitQuery): Promise<Operation>;
  remove(
    request: Request,
    ref: string,
    input: { readonly force: boolean },
    wait: WaitQuery,
  ): Promise<Operation>;
  reset(request: Request, ref: string): Promise<Instance>;
  pause(request: Request, ref: string): Promise<Instance>;
  resume(request: Request, ref: string): Promise<Instance>;
  isolation(request: Request, ref: string): Promise<Isolation>;
  /** Of what runs, or of the next start. */
  tuning(request: Request, ref: string): Promise<InstanceTuning>;
}

export interface GuestActions {
  console(request: Request, ref: string): Promise<Console>;
  logs(request: Request, ref: string, source: 'console' | 'qemu'): Promise<AsyncIterable<Uint8Array>>;
  exec(request: Request, ref: string, input: Exec): Promise<ExecResult>;
  readFile(request: Request, ref: string, path: string): Promise<AsyncIterable<Uint8Array>>;
  writeFile(request: Request, ref: string, path: string, content: AsyncIterable<Uint8Array>): Promise<void>;
}

export interface ImageActions {
  list(query: ListQuery): Promise<Page<Image>>;
  get(ref: string): Promise<Image>;
  build(request: Request, input: ImageBuild, wait: WaitQuery): Promise<Operation>;
  import(request: Request, input: ImageImport, wait: WaitQuery): Promise<Operation>;
  pull(request: Request, input: ImagePull, wait: WaitQuery): Promise<Operation>;
  export(request: Request, ref: string, input: DiskExport, wait: WaitQuery): Promise<Operation>;
  remove(request: Request, ref: string): Promise<void>;
}

/** Disks and media of an instance. */
export interface DiskActions {
  attach(request: Request, instance: string, input: DiskAttach, wait: WaitQuery): Promise<Operation>;
  detach(request: Request, instance: string, disk: string, wait: WaitQuery): Promise<Operation>;
  changeMedium(
    request: Request,
    instance: string,
    disk: string,
    input: MediumChange,
    wait: WaitQuery,
  ): Promise<Operation>;
}

/** Network cards of an instance. */
export interface NicActions {
  attach(request: Request, instance: string, input: NicCreate, wait: WaitQuery): Promise<Operation>;
  update(
    request: Request,
    instance: string,
    nic: string,
    input: NicUpdate,
    wait: WaitQuery,
  ): Promise<Operation>;
  detach(request: Request, instance: string, nic: string, wait: WaitQuery): Promise<Operation>;
}

export interface NetworkActions {
  list(query: NetworkListQuery): Promise<Page<Network>>;
  get(ref: string): Promise<Network>;
  create(request: Request, input: NetworkCreate): Promise<Network>;
  /** Who is on it: the records, and what is observed of those that run. */
  ports(request: Request, ref: string): Promise<NetworkPorts>;
  remove(request: Request, ref: string): Promise<void>;
  trace(request: Request, input: NetworkTrace): Promise<NetworkTraceResult>;
}

/** A change is in force when it is answered. */
export interface SecurityGroupActions {
  list(query: SecurityGroupListQuery): Promise<Page<SecurityGroup>>;
  get(ref: string): Promise<SecurityGroup>;
  create(request: Request, input: SecurityGroupCreate): Promise<SecurityGroup>;
  update(request: Request, ref: string, input: SecurityGroupUpdate): Promise<SecurityGroup>;
  addRule(request: Request, ref: string, rule: SecurityRuleCreate): Promise<SecurityGroup>;
  removeRule(request: Request, ref: string, rule: string): Promise<SecurityGroup>;
  remove(request: Request, ref: string): Promise<void>;
}

export interface PoolActions {
  list(query: ListQuery): Promise<Page<Pool>>;
  get(ref: string): Promise<Pool>;
  create(request: Request, input: PoolCreate): Promise<Pool>;
  remove(request: Request, ref: string): Promise<void>;
}

export interface VolumeActions {
  list(query: VolumeListQuery): Promise<Page<Volume>>;
  get(ref: string): Promise<Volume>;
  create(request: Request, input: VolumeCreate, wait: WaitQuery): Promise<Operation>;
  update(request: Request, ref: string, input: VolumeUpdate): Promise<Volume>;
  resize(request: Request, ref: string, input: VolumeResize, wait: WaitQuery): Promise<Operation>;
  flatten(request: Request, ref: string, wait: WaitQuery): Promise<Operation>;
  export(request: Request, ref: string, input: DiskExport, wait: WaitQuery): Promise<Operation>;
  remove(request: Request, ref: string, wait: WaitQuery): Promise<Operation>;
}

export interface SnapshotActions {
  list(instance: string, query: ListQuery): Promise<Page<Snapshot>>;
  get(instance: string, ref: string): Promise<Snapshot>;
  create(request: Request, instance: string, input: SnapshotCreate, wait: WaitQuery): Promise<Operation>;
  restore(request: Request, instance: string, ref: string, wait: WaitQuery): Promise<Operation>;
  remove(request: Request, instance: string, ref: string, wait: WaitQuery): Promise<Operation>;
  export(
    request: Request,
    instance: string,
    ref: string,
    input: SnapshotExport,
    wait: WaitQuery,
  ): Promise<Operation>;
}

/** Machines from other hypervisors, and the way back to them. */
export interface TransferActions {
  plan(request: Request, input: ImportCreate): Promise<ImportPlan>;
  import(request: Request, input: ImportCreate, wait: WaitQuery): Promise<Operation>;
  export(request: Request, instance: string, input: ExportCreate, wait: WaitQuery): Promise<Operation>;
}

export interface PolicyActions {
  list(query: PolicyListQuery): Promise<Page<Policy>>;
  get(ref: string): Promise<Policy>;
  create(request: Request, input: PolicyCreate): Promise<Policy>;
  /** In force on the guests that have it when it returns. */
  update(request: Request, ref: string, input: PolicyUpdate): Promise<Policy>;
  remove(request: Request, ref: string): Promise<void>;
}

export interface UsageActions {
  /** The last pass; with `after`, waits for a later one. */
  list(request: Request, query: UsageListQuery): Promise<UsageList>;
  get(ref: string): Promise<Usage>;
  history(ref: string, query: UsageHistoryQuery): Promise<UsageHistory>;
  /** Everything that is measured, of all projects: for monitoring. */
  survey(): Promise<UsageSurvey>;
}

/** What the last pass found, beside all instances that there are. */
export interface UsageSurvey {
  /** Of the last pass; undefined before the first. */
  readonly at: string | undefined;
  /** Passes since the daemon was started, and the time that they have taken from it together. */
  readonly passes: number;
  readonly passSeconds: number;
  readonly instances: readonly (Pick<Instance, 'id' | 'name' | 'project'> & {
    readonly state: Instance['status']['state'];
    /** Undefined where no guest runs, and before its first pass. */
    readonly usage: Usage | undefined;
  })[];
}

export interface OperationActions {
  list(query: OperationListQuery): Promise<Page<Operation>>;
  /** Answers when the operation has ended or `waitSeconds` are over. */
  get(request: Request, id: string, waitSeconds: number): Promise<Operation>;
  cancel(request: Request, id: string): Promise<Operation>;
}

export interface EventActions {
  /** Throws `event.compacted` at the first `next`. */
  stream(request: Request, query: EventQuery): AsyncIterable<Event>;
}

export interface HostActions {
  inspect(request: Request): Promise<Host>;
  check(request: Request): Promise<HostCheck>;
  /** What is promised, held against what there is. */
  capacity(request: Request): Promise<HostCapacity>;
  topology(request: Request): Promise<HostTopologyView>;
  settings(): Promise<HostSettings>;
  /** Guests that run stay, even where more is promised to them than may be from now on. */
  updateSettings(request: Request, input: HostSettingsUpdate): Promise<HostSettings>;
  /** Throws `host.kvm_unusable` when `accelerator` is `kvm` and it cannot be used. */
  cpu(request: Request, query: HostCpuQuery): Promise<HostCpuModels>;
  /** Throws `request.invalid` for hosts between which no guest migrates. */
  cpuBaseline(input: CpuBaselineCreate): CpuBaseline;
}

export interface DeviceActions {
  /** By address. */
  list(request: Request, query: HostDeviceListQuery): Promise<Page<HostDevice>>;
  get(request: Request, address: string): Promise<HostDevice>;
  /** Splits a device, and puts the functions into a pool; made again whenever they are not there. */
  createVfs(request: Request, address: string, input: VirtualFunctions): Promise<HostDevice>;
  removeVfs(request: Request, address: string): Promise<void>;
}

/** For the service at 169.254.169.254. Who asks is known by network and address, of which anti-spoofing lets a guest have only its own. */
export interface MetadataActions {
  /** Where guests reach the service; again whenever that has changed, until `signal` aborts. An address may not be on the host yet. */
  endpoints(signal: AbortSignal): AsyncIterable<readonly MetadataEndpoint[]>;
  /** By a network's id and an address on it, as Node writes addresses; undefined when no guest has that. */
  guest(network: string, address: string): Promise<MetadataGuest | undefined>;
}

export interface MetadataEndpoint {
  /** Id of the network. */
  readonly network: string;
  /** IPv4 or IPv6, of the host on that network. */
  readonly address: string;
  readonly port: number;
}

/** All that one guest may know of itself. */
export interface MetadataGuest {
  /** Of the instance. */
  readonly id: string;
  readonly enabled: boolean;
  readonly tokens: 'required' | 'optional';
  readonly hasUserData: boolean;
  /** By the names of a path below a version, `meta-data`, `mac`: a value, or the listing of a folder; undefined where nothing is. */
  at(names: readonly string[]): { readonly text: string; readonly isFolder: boolean } | undefined;
  userData(): Promise<Uint8Array | undefined>;
}

export interface Actions {
  readonly instance: InstanceActions;
  readonly guest: GuestActions;
  readonly disk: DiskActions;
  readonly nic: NicActions;
  readonly network: NetworkActions;
  readonly securityGroup: SecurityGroupActions;
  readonly image: ImageActions;
  readonly pool: PoolActions;
  readonly volume: VolumeActions;
  readonly snapshot: SnapshotActions;
  readonly transfer: TransferActions;
  readonly policy: PolicyActions;
  readonly usage: UsageActions;
  readonly operation: OperationActions;
  readonly event: EventActions;
  readonly host: HostActions;
  readonly device: DeviceActions;
  readonly metadata: MetadataActions;
}
