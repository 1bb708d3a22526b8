/** Builds the actions from the ports. What they share (cache, lanes, operations) is made here once. */
import {
  devicePoolSchema,
  imageSchema,
  instanceSchema,
  networkSchema,
  type Policy,
  policySchema,
  poolSchema,
  securityGroupSchema,
  snapshotSchema,
  type Volume,
  volumeSchema,
} from '@wirt/api';
import { Lanes } from '../domain/lanes.ts';
import type { Actions } from './actions.ts';
import { createDeviceActions } from './device.ts';
import { devicesLane, restoreFunctions } from './device-pool.ts';
import { createDiskActions } from './disk.ts';
import { createEventActions } from './event.ts';
import { createGuestActions } from './guest.ts';
import { createHostActions } from './host.ts';
import { HostSettingsRecord } from './host-settings.ts';
import { createImageActions, imageWorks, recoverImages } from './image.ts';
import { createInstanceActions } from './instance.ts';
import { deviceNodes } from './instance-devices.ts';
import { createLife } from './instance-life.ts';
import { autostart, recoverInstances, resumeOperations } from './instance-recover.ts';
import { LateWrites } from './late-writes.ts';
import { createLimitsWatch } from './limits-watch.ts';
import { createMetadataActions } from './metadata.ts';
import { createNetworkActions } from './network.ts';
import { adoptNetworks } from './network-adopt.ts';
import { NetworkState } from './network-state.ts';
import { createNicActions } from './nic.ts';
import { createOperationActions } from './operation.ts';
import { OperationRunner, openOperations } from './operation-runner.ts';
import type { Admitted, CoreParts, Shared } from './parts.ts';
import { createPlacementWatch } from './placement-watch.ts';
import { Placing } from './placing.ts';
import { createPolicyActions } from './policy.ts';
import { createPoolActions, ensureDefaultPool } from './pool.ts';
import { Pools } from './pool-storage.ts';
import { Records } from './records.ts';
import { createSecurityGroupActions } from './security-group.ts';
import { createSnapshotActions, snapshotWorks } from './snapshot.ts';
import { createTransferActions, transferWorks } from './transfer.ts';
import { createUsage } from './usage.ts';
import { createTidy, createVolumeActions, volumeWorks } from './volume.ts';
import { createVolumeLayers } from './volume-layers.ts';
import { recoverVolumes } from './volume-recover.ts';
import { createAnswering } from './waiting.ts';

export interface Core {
  readonly actions: Actions;
  /** Adopts running guests and finishes or undoes what an earlier daemon left. Call once, before any request. */
  recover(signal: AbortSignal): Promise<void>;
  /** Stops all work, or leaves it to the next daemon when `signal` aborts; lets go of the guests, which go on. */
  stop(signal: AbortSignal): Promise<void>;
}

export async function createActions(parts: CoreParts): Promise<Core> {
  const { store, clock, logger } = parts;
  const lanes = new Lanes();
  const late = new LateWrites({ store, clock });
  const pools = new Records({ store, kind: 'pool', parse: (value) => poolSchema.parse(value) });
  const records = {
    ...parts,
    lanes,
    late,
    instances: new Records({ store, kind: 'instance', parse: (value) => instanceSchema.parse(value) }),
    images: new Records({ store, kind: 'image', parse: (value) => imageSchema.parse(value) }),
    pools,
    volumes: new Records({ store, kind: 'volume', parse: (value) => volumeSchema.parse(value) }),
    snapshots: new Records({
      store,
      kind: 'snapshot',
      parse: (value) => snapshotSchema.parse(value),
      scopeOf: ({ spec }) => spec.instance,
    }),
    networks: new Records({ store, kind: 'network', parse: (value) => networkSchema.parse(value) }),
    groups: new Records({
      store,
      kind: 'security-group',
      parse: (value) => securityGroupSchema.parse(value),
    }),
    devicePools: new Records({
      store,
      kind: 'device-pool',
      parse: (value) => devicePoolSchema.parse(value),
    }),
    policies: new Records({ store, kind: 'policy', parse: (value) => policySchema.parse(value) }),
    storage: new Pools(pools, parts.poolDrivers),
    operations: new OperationRunner({ store, late, lanes, clock, logger }),
    settings: new HostSettingsRecord(store),
    admitted: new Map<string, Admitted>(),
    admittedPolicies: new Map<string, Policy>(),
    admittedVolumes: new Map<string, Volume>(),
  };
  const placing = new Placing({
    ...parts,
    settings: records.settings,
    instances: records.instances,
    deviceNodes: (instance) => deviceNodes(records, instance),
  });
  const networking = new NetworkState(records);
  const shared: Shared = { ...records, layers: createVolumeLayers(records), networking, placing };
  for (const kind of [pools, shared.images, shared.volumes, shared.snapshots, shared.instances])
    await kind.load();
  for (const kind of [shared.networks, shared.groups, shared.policies, shared.devicePools]) await kind.load();
  await networking.load();
  await shared.settings.load();
  await placing.load();
  const life = createLife(shared);
  const { live } = life;
  const volumes = volumeWorks({ shared, live });
  shared.layers.tidy = createTidy(shared, volumes);
  const snapshots = snapshotWorks({ shared, live });
  const images = imageWorks(shared);
  const transfers = transferWorks({ shared, life });
  const works = { ...volumes, ...snapshots, ...images, ...transfers };
  const limits = createLimitsWatch(shared, live);
  const places = createPlacementWatch(shared, life.pinning);
  const usage = createUsage(shared, live);
  const answering = createAnswering(shared.operations, life);
  return {
    actions: {
      instance: createInstanceActions(shared, life),
      guest: createGuestActions(shared, life.live),
      disk: createDiskActions(shared, life, answering),
      nic: createNicActions(shared, life, answering),
      network: createNetworkActions(shared),
      securityGroup: createSecurityGroupActions(shared),
      image: createImageActions(shared, images, answering),
      pool: createPoolActions(shared),
      volume: createVolumeActions(shared, volumes, answering),
      snapshot: createSnapshotActions(shared, snapshots, answering),
      transfer: createTransferActions(shared, transfers, answering),
      policy: createPolicyActions(shared, live),
      usage: usage.actions,
      operation: createOperationActions(shared),
      event: createEventActions(store),
      host: createHostActions(shared),
      device: createDeviceActions(shared),
      metadata: createMetadataActions(shared),
    },
    recover: async (signal) => {
      const open = await openOperations(store);
      await ensureDefaultPool(shared);
      await recoverImages(shared, open);
      await adoptNetworks(shared);
      await networking.recover();
      await recoverInstances(shared, life, open, signal);
      await lanes
        .run(devicesLane, () => restoreFunctions(shared))
        .catch((error: unknown) => logger.error('device.recovery_failed', { error }));
      await recoverVolumes(shared, live, open);
      await resumeOperations(shared, life, works, open);
      for (const { id } of [...shared.volumes.after()]) await shared.layers.tidy(id);
      await autostart(shared, life, open);
      limits.start();
      places.start();
      usage.sampler.start();
    },
    stop: async (signal) => {
      life.watch.stop();
      life.space.stop();
      limits.stop();
      places.stop();
      usage.sampler.stop();
      await shared.operations.stop(signal);
      late.stop();
      parts.usageHistory.close();
      for (const guest of life.live.all()) guest.detach();
      await networking.close();
    },
  };
}
