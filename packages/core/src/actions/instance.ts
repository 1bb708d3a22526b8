/** Instances: every use case of a virtual machine's life. The works behind the operations are in instance-life. */
import {
  type Disk,
  type Image,
  type Instance,
  type InstanceAction,
  type InstanceCreate,
  type InstanceListQuery,
  type InstanceUpdate,
  type NicCreate,
  nicCreateSchema,
  type Operation,
  type Volume,
  type WaitQuery,
  WirtError,
} from '@wirt/api';
import { nameFor } from '../domain/identity.ts';
import { nicsOf } from '../domain/nic.ts';
import { pageOf } from '../domain/page.ts';
import { pageSizeOf } from '../domain/tuning/request.ts';
import type { Guest } from '../ports/hypervisor.ts';
import type { InstanceActions, Request } from './actions.ts';
import { admitGrowth, requireFitting } from './admission.ts';
import { requireReady, usesLane } from './image-use.ts';
import { requireDevicesFit, requireDevicesKnown } from './instance-devices.ts';
import { disksToBe, firmwareOf, writeSeed } from './instance-disks.ts';
import type { InstanceKind, InstanceLife } from './instance-life.ts';
import { changedSpec, isOfLimits } from './instance-set.ts';
import { inState, inWordsOf, observedState, requireCan, requireRevision } from './instance-state.ts';
import { requireLimits } from './limits.ts';
import { bringLimits } from './limits-hold.ts';
import { placeCards } from './network-cards.ts';
import { networksLane } from './network-state.ts';
import type { Shared } from './parts.ts';
import { policiesLane } from './policy.ts';
import { defaultPool } from './pool.ts';
import { promising } from './pool-promise.ts';
import { commit, nameConflict, nameTaken } from './records.ts';
import { tuningOf } from './tuning.ts';
import { requireVsock, withoutCid } from './vsock.ts';
import { answer } from './waiting.ts';

const commandDeadlineMs = 10_000;

export function createInstanceActions(shared: Shared, life: InstanceLife): InstanceActions {
  const { instances, operations } = shared;

  /** An operation on a present instance. Refuses at once what its state does not allow, unless work on it is under way. */
  async function operate(
    kind: InstanceKind,
    action: InstanceAction,
    request: Request,
    ref: string,
    input: object,
    wait: WaitQuery,
    hurry = false,
  ): Promise<Operation> {
    const earlier = await operations.earlier(request);
    if (earlier !== undefined) return answer(operations, life, request, earlier, wait);
    const instance = instances.require(ref);
    requireRevision(instance, request.ifRevision);
    if (!shared.lanes.busy(instance.id)) requireCan(action, instance);
    // Force is for those who do not want to wait for a grace period that somebody else granted.
    if (hurry) life.halt.escalate(instance.id);
    const operation = await life.start(request, kind, instance, { ...input });
    return answer(operations, life, request, operation, wait);
  }

  return {
    list: async (query) => list(shared, query),
    get: async (ref) => instances.require(ref),
    create: async (request, input, wait) => {
      const earlier = await operations.earlier(request);
      if (earlier !== undefined) return answer(operations, life, request, earlier, wait);
      const operation = await create(shared, life, request, input);
      return answer(operations, life, request, operation, wait);
    },
    update: async (request, ref, input) => update(shared, life, request, ref, input),
    start: (request, ref, input, wait) => operate('instance.start', 'start', request, ref, input, wait),
    stop: (request, ref, input, wait) =>
      operate('instance.stop', 'stop', request, ref, input, wait, input.mode === 'force'),
    restart: (request, ref, input, wait) => operate('instance.restart', 'restart', request, ref, input, wait),
    remove: (request, ref, input, wait) =>
      operate(
        'instance.remove',
        input.force ? 'remove --force' : 'remove',
        request,
        ref,
        input,
        wait,
        input.force,
      ),
    reset: async (request, ref) =>
      command(shared, life, request, ref, 'reset', (guest, signal) => guest.reset(signal)),
    pause: async (request, ref) =>
      command(shared, life, request, ref, 'pause', (guest, signal) => guest.pause(signal)),
    resume: async (request, ref) =>
      command(shared, life, request, ref, 'resume', (guest, signal) => guest.resume(signal)),
    tuning: (_request, ref) => tuningOf(shared, instances.require(ref)),
    isolation: async (_request, ref) => {
      const instance = instances.require(ref);
      requireCan('isolation', instance);
      const { process } = instance.status;
      if (process === undefined)
        throw new WirtError('instance.state_conflict', `Instance ${instance.name} has no process.`);
      return shared.sandbox.inspect(instance.id, process);
    },
  };
}

function list({ instances }: Shared, query: InstanceListQuery): { items: Instance[]; next?: string } {
  const [key, value] = splitLabel(query.label);
  return pageOf(instances.after(query.cursor), query.limit, (instance) => {
    if (instance.project !== query.project) return false;
    if (query.state !== undefined && instance.status.state !== query.state) return false;
    if (query.image !== undefined && instance.spec.image !== query.image) return false;
    if (query.name !== undefined && !instance.name.startsWith(query.name)) return false;
    if (key === undefined) return true;
    const label = instance.labels[key];
    return value === undefined ? label !== undefined : label === value;
  });
}

function splitLabel(label: string | undefined): [key: string | undefined, value: string | undefined] {
  const at = label?.indexOf('=') ?? -1;
  return label === undefined || at < 0 ? [label, undefined] : [label.slice(0, at), label.slice(at + 1)];
}

/** In the lanes of its images, pools and volumes, which cannot go between the look at them and the record that holds them. */
async function create(
  shared: Shared,
  life: InstanceLife,
  request: Request,
  input: InstanceCreate,
): Promise<Operation> {
  const { images, instances, volumes, lanes, operations } = shared;
  const { start, startPaused, spec } = input;
  const image =
    spec.image === undefined ? undefined : requireReady(images.require(spec.image, input.project));
  const instance = await newInstance(shared, input, image);
  try {
    const cloudInit = await writeSeed(shared, instance, spec);
    const operation = await lanes.runAll(lanesOf(shared, instance, image, spec), async () => {
      if (image !== undefined) images.require(image.id);
      const { disks, volumes: changed } = disksToBe(shared, instance, image, spec);
      requireBootable(instance, image, disks);
      const kept = cloudInit === undefined ? {} : { cloudInit };
      const whole = { ...instance.spec, disks, ...firmwareFor(instance, image), ...kept };
      // The innermost lane: who chooses addresses waits for nobody else.
      return lanes.runAll([networksLane, policiesLane], async () => {
        // The same request, which came at the same moment, has what this one asks for.
        const earlier = await operations.earlier(request);
        if (earlier !== undefined) return earlier;
        const nics = await placeCards(shared, instance, instance.spec.nics);
        const record = { ...instance, spec: { ...whole, nics } };
        requirePolicy(shared, record);
        await requireLimits(shared, record);
        requireDevicesFit(record);
        await requireDevicesKnown(shared, record);
        await requireVsock(shared, record, { isNew: true });
        if (record.spec.tuning !== undefined) await shared.placing.require(record);
        const staged = [instances.put(record), ...changed.map((volume) => volumes.put(volume))];
        return promising(
          shared,
          changed,
          () => life.start(request, 'instance.create', record, { start, startPaused }, staged),
          spec,
        );
      });
    });
    // The same request came twice at once, and the other was first.
    if (operation.target.id !== instance.id) await shared.seeds.remove(instance.id);
    return operation;
  } catch (error) {
    await shared.seeds.remove(instance.id);
    throw nameConflict(nameConflict(error, 'instance'), 'volume');
  }
}

function lanesOf(
  { images, volumes, pools, lanes }: Shared,
  { id, project }: Instance,
  image: Image | undefined,
  { disks, rootDisk }: InstanceCreate['spec'],
): readonly string[] {
  const root = image === undefined || image.spec.format === 'kernel' ? [] : [rootDisk?.pool ?? defaultPool];
  const used = disks.flatMap((disk) => {
    if (disk.device === 'disk')
      return disk.volume === undefined
        ? pools.require(disk.pool).id
        : requireIdle(lanes, volumes.require(disk.volume, project));
    return disk.image === undefined ? [] : usesLane(images.require(disk.image, project).id);
  });
  const held = image === undefined ? [] : [usesLane(image.id)];
  return [id, ...held, ...root.map((name) => pools.require(name).id), ...used];
}

/** What is being done with a volume may take long, and nobody is kept waiting for an answer by it. */
function requireIdle(lanes: Shared['lanes'], { id, name }: Volume): string {
  if (!lanes.busy(id)) return id;
  throw new WirtError('volume.state_conflict', `Volume ${name} is being worked on.`, {
    hint: `Wait for it: \`wirt operation ls --target ${name}\`.`,
  });
}

/** What an image boots by is known as long as the image is there; its instances may be there longer. */
function firmwareFor({ spec }: Instance, image: Image | undefined): Pick<Instance['spec'], 'firmware'> {
  const direct = spec.machine === 'microvm' || image?.spec.format === 'kernel';
  return direct ? {} : { firmware: firmwareOf(spec, image) };
}

/** Throws `request.invalid` for what could never start. */
function requireBootable({ name, spec }: Instance, image: Image | undefined, disks: readonly Disk[]): void {
  if (image === undefined && disks.length === 0)
    throw new WirtError('request.invalid', `Instance ${name} has neither an image nor a disk to boot from.`, {
      hint: `Name an image: \`wirt run IMAGE ${name}\`; see \`wirt image ls\`.`,
    });
  const kernel = image?.spec.format === 'kernel';
  if (spec.firmware === 'uefi' && (kernel || spec.machine === 'microvm'))
    throw new WirtError(
      'request.invalid',
      `Instance ${name} cannot have UEFI: ${kernel ? `image ${image.name} is a kernel that is started directly` : 'a microvm has no firmware'}.`,
      {
        hint: 'Leave `--firmware` out.',
      },
    );
}

/** What a whole Linux runs well with, and what busybox and a kernel do. */
function defaultMemoryMib(image: Image | undefined): number {
  return image?.spec.format === 'kernel' ? 256 : 1024;
}

/** What an instance has that does not say: a card on the network that is made on first use. */
const oneNic: NicCreate[] = [nicCreateSchema.parse({})];

/** The record to be, checked against the host as far as it can be without starting; disks and seed come later. */
async function newInstance(
  shared: Shared,
  input: InstanceCreate,
  image: Image | undefined,
): Promise<Instance> {
  const { instances, clock, operations, host } = shared;
  const id = operations.newId();
  const name = input.name ?? nameFor(image?.name ?? 'instance', id);
  if (instances.find(name, input.project) !== undefined) {
    throw nameTaken('instance', name);
  }
  const { disks: _disks, rootDisk: _rootDisk, cloudInit: _cloudInit, nics = oneNic, ...wanted } = input.spec;
  const spec = { ...wanted, memoryMib: wanted.memoryMib ?? defaultMemoryMib(image) };
  const ownMib = pageSizeOf({ spec }) === undefined ? spec.memoryMib : 0;
  const project = input.project;
  requireFitting(
    shared,
    { name, project, spec: { ...spec, nics: [], disks: [] } },
    await host.memory(),
    ownMib,
  );
  const now = clock.now();
  return {
    id,
    name,
    project: input.project,
    labels: input.labels,
    revision: 0,
    createdAt: now,
    spec: {
      ...spec,
      nics: nicsOf({ id, name }, nics),
      disks: [],
      ...(image === undefined ? {} : { image: image.name }),
    },
    status: { state: input.start ? 'starting' : 'stopped', since: now, agent: false, restarts: 0 },
  };
}

/** Durable when it returns, and limits in force where it runs. */
function update(
  shared: Shared,
  life: InstanceLife,
  request: Request,
  ref: string,
  input: InstanceUpdate,
): Promise<Instance> {
  const { store, instances, lanes } = shared;
  const { id } = instances.require(ref);
  return lanes.run(id, async () => {
    const instance = instances.require(id);
    requireRevision(instance, request.ifRevision);
    requireCan(input.name === undefined ? 'update' : 'rename', instance);
    const spec = changedSpec(instance, input.spec ?? {});
    const { restart } = spec;
    const changed: Instance = {
      ...instance,
      name: input.name ?? instance.name,
      labels: input.labels ?? instance.labels,
      spec,
      // A restart that is due is not, once the policy is never.
      status: { ...withoutCid(instance, spec), ...(restart === 'never' ? { restartAt: undefined } : {}) },
    };
    const record = () =>
      commit(store, [instances.put(changed)]).catch((error: unknown) => {
        throw nameConflict(error, 'instance');
      });
    // What was looked at may have changed since; in this lane it does not.
    const held = spec.policy === undefined ? [] : [policiesLane];
    await lanes.runAll(held, async () => {
      requirePolicy(shared, changed);
      await requireLimits(shared, changed);
      if (input.spec?.devices) {
        requireDevicesFit(changed);
        await requireDevicesKnown(shared, changed);
      }
      if (input.spec?.vsock === true) await requireVsock(shared, changed);
      // Pins and topology are of as many vCPUs as it may have.
      const { tuning, cpus, maxCpus } = input.spec ?? {};
      if (spec.tuning !== undefined && [tuning, cpus, maxCpus].some((given) => given !== undefined))
        await shared.placing.require(changed);
      const memory = await shared.host.memory();
      try {
        admitGrowth(shared, instance, changed, memory);
        await record();
      } finally {
        shared.admitted.delete(id);
      }
    });
    if (restart === 'never') life.watch.unschedule(id);
    if (input.name !== undefined) await renamed(shared, changed);
    if (isOfLimits(input)) {
      await shared.faults.at('instance.update/limits');
      await bringLimits(shared, life.live, id);
    }
    return instances.require(id);
  });
}

/** In the lane of policies. Throws `policy.not_found`. */
function requirePolicy({ policies }: Shared, { spec, project }: Instance): void {
  if (spec.policy !== undefined) policies.require(spec.policy, project);
}

/** Others find a guest by its name. What fails there is shown at its network. */
async function renamed({ networking, logger }: Shared, instance: Instance): Promise<void> {
  await networking.follow(instance.id).catch((error: unknown) => {
    logger.warn('instance.name_not_told', { instance: instance.id, error });
  });
}

/** A command that QEMU answers at once, in the lane of the instance; gives back the record as it is then. */
function command(
  { store, instances, lanes, clock }: Shared,
  { live }: InstanceLife,
  request: Request,
  ref: string,
  action: 'reset' | 'pause' | 'resume',
  run: (guest: Guest, signal: AbortSignal) => Promise<void>,
): Promise<Instance> {
  const { id } = instances.require(ref);
  return lanes.run(id, async () => {
    const instance = instances.require(id);
    requireRevision(instance, request.ifRevision);
    requireCan(action, instance);
    const guest = live.get(id);
    if (guest === undefined)
      throw new WirtError('instance.state_conflict', `Instance ${instance.name} has just ended.`);
    await run(guest, AbortSignal.timeout(commandDeadlineMs)).catch((error: unknown) => {
      throw inWordsOf(instance, error);
    });
    const state = observedState(guest);
    const agent = guest.state.agent;
    if (state !== instance.status.state)
      await commit(store, [instances.put(inState(clock, instance, state, { agent }))]);
    return instances.require(id);
  });
}
