// wirtd. Reads the options, builds the drivers and the actions, takes over what an earlier wirtd left, opens the REST door, and
// ends gracefully when told. The only file that names a driver. Guests outlive it, however it ends.
import { readFile } from 'node:fs/promises';
import { enableCompileCache } from 'node:module';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { causeText, WirtError } from '@wirt/api';
import type { Core, HostInspector, Logger, NetworkDriver } from '@wirt/core';
import { type Config, resolveConfig, surroundings } from './config.ts';
import { configError, helpText, readOptions, version } from './options.ts';
import type { Loans } from './platform/lend.ts';

/** Work that is under way may take this long to end after SIGTERM; what is left is taken up by the next wirtd. */
const stopMs = 15_000;

const exitStatus = { asked: 0, failed: 1, config: 2 } as const;

/** Resolves with the first signal that asks wirtd to end; a second one ends it there and then. */
function endAsked(): AbortSignal {
  const controller = new AbortController();
  for (const name of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
    process.on(name, () => {
      if (controller.signal.aborted) process.exit(exitStatus.failed);
      controller.abort(new WirtError('daemon.stopping', `wirtd is stopping, asked by ${name}.`));
    });
  }
  return controller.signal;
}

/** A defect: what is in memory can no longer be trusted. The log has it, the store has the truth, guests go on. */
function dieOfDefects(logger: Logger): void {
  const die = (error: unknown): void => {
    logger.error('daemon.defect', { error });
    process.exit(exitStatus.failed);
  };
  process.on('uncaughtException', die);
  process.on('unhandledRejection', die);
}

/** The OpenAPI document lies beside the bundle, or in its folder of the clone. */
async function readOpenapi(): Promise<Record<string, unknown>> {
  const path = import.meta.url.endsWith('.ts') ? '../../../openapi/wirt.json' : './openapi.json';
  return JSON.parse(await readFile(new URL(path, import.meta.url), 'utf8')) as Record<string, unknown>;
}

/** Drivers under actions. Loaded here and not above, so that --help and the compile cache come first. */
async function assemble(config: Config, logger: Logger): Promise<{ core: Core; store: AsyncDisposable }> {
  const { createLoans } = await import('./platform/lend.ts');
  const loans = createLoans({ directory: join(config.stateDirectory, 'lent'), logger });
  const [core, sqlite, running, storing] = await Promise.all([
    import('@wirt/core'),
    import('./drivers/store-sqlite/open.ts'),
    runningDrivers(config, loans, logger),
    storingDrivers(config, loans, logger),
  ]);
  const network = await networkDriver(config, running.host, logger);
  const parts = { ...running, ...storing, network, logger };
  // From here on this wirtd holds the state directory; a second one is refused.
  const store = await sqlite.openSqliteStore({ directory: config.stateDirectory, logger });
  try {
    // Before any uid is given back.
    await loans.recover();
    return { core: await core.createActions({ ...parts, store }), store };
  } catch (error) {
    await store[Symbol.asyncDispose]();
    throw error;
  }
}

/** What runs guests. */
async function runningDrivers(config: Config, loans: Loans, logger: Logger) {
  const [clock, faults, qemu, cgroup, sandbox, host, topology, pages, files, writes, pci] = await Promise.all(
    [
      import('./platform/clock.ts'),
      import('./platform/faults.ts'),
      import('./drivers/qemu/qemu.ts'),
      import('./drivers/cgroup/cgroup.ts'),
      import('./drivers/sandbox/sandbox.ts'),
      import('./drivers/host/host.ts'),
      import('./drivers/topology/topology.ts'),
      import('./drivers/topology/huge-pages.ts'),
      import('./platform/host-files.ts'),
      import('./platform/sysfs-writes.ts'),
      import('./drivers/pci/pci.ts'),
    ],
  );
  const hostFiles = files.createHostFiles();
  const { createPageMerging } = await import('./drivers/host/page-merging.ts');
  const { stateDirectory, runDirectory, tag, qemuBinary, uidRange, cgroupParent, systemd } = config;
  const claimDirectory = config.uidClaimDirectory;
  const cacheDirectory = join(stateDirectory, 'cache');
  const memoryFiles = (await import('./drivers/qemu/memory-files.ts')).createMemoryFiles({
    runDirectory,
    logger,
  });
  return {
    clock: clock.systemClock,
    faults: faults.createFaults(process.env['WIRT_FAULT']),
    hypervisor: qemu.createQemuHypervisor({
      stateDirectory,
      runDirectory,
      tag,
      qemuBinary,
      logger,
      memoryFiles,
    }),
    resources: cgroup.createCgroupControl({ tag, parent: cgroupParent, systemd, logger }),
    sandbox: sandbox.createSandbox({ tag, uidRange, claimDirectory, isLentTo: loans.isLentTo, logger }),
    host: host.createHostInspector({ qemuBinary, cacheDirectory, uidRange, logger, memoryFiles }),
    topology: topology.createTopologyReader(hostFiles),
    devices: pci.createHostDevices({ files: hostFiles, writes: writes.createSysfsWrites() }),
    ...(config.tunesHost
      ? {
          hugePages: pages.createHugePageReserve({ files: hostFiles, writes: writes.createSysfsWrites() }),
          pageMerging: createPageMerging({ files: hostFiles, writes: writes.createSysfsWrites() }),
        }
      : {}),
    // QEMU's start is processor time: more side by side than there are processors end no sooner.
    launchSlots: Math.max(2, availableParallelism()),
  };
}

/** One for all guests. Throws `daemon.config_invalid` where bridges are asked for and cannot be. */
async function networkDriver(config: Config, host: HostInspector, logger: Logger): Promise<NetworkDriver> {
  const { networkDriver: wanted, tag, runDirectory, stateDirectory } = config;
  const [bridge, user] = await Promise.all([
    import('./drivers/network-bridge/network-bridge.ts'),
    import('./drivers/network-user/network-user.ts'),
  ]);
  const qemuFeatures = async (signal: AbortSignal): Promise<Readonly<Record<string, boolean>>> =>
    (await host.inspect(signal)).qemu?.features ?? {};
  const createUser = (): NetworkDriver => user.createUserNetwork({ runDirectory, logger, qemuFeatures });
  if (wanted === 'user') return createUser();
  const driver = bridge.createBridgeNetwork({ tag, runDirectory, stateDirectory, logger });
  const unusable = await driver.unusable();
  if (unusable === undefined) return driver;
  const { why, hint } = unusable;
  if (wanted === 'bridge') throw configError(`--network-driver bridge cannot be used: ${why}`, hint);
  logger.info('network.user_mode', { why, hint });
  await driver.close();
  return createUser();
}

/** What keeps images, volumes and what belongs to them. */
async function storingDrivers(config: Config, loans: Loans, logger: Logger) {
  const [clock, files, micro, debian, pool, transfer, downloader, catalogue, firmware, seed, rings] =
    await Promise.all([
      import('./platform/clock.ts'),
      import('./drivers/image-files/image-files.ts'),
      import('./drivers/image-micro/image-micro.ts'),
      import('./drivers/image-debian/image-debian.ts'),
      import('./drivers/pool-dir/pool-dir.ts'),
      import('./drivers/disk-transfer/disk-transfer.ts'),
      import('./drivers/downloader/downloader.ts'),
      import('./drivers/catalogue-simplestreams/catalogue-simplestreams.ts'),
      import('./drivers/firmware/firmware.ts'),
      import('./drivers/seed-iso/seed-iso.ts'),
      import('./drivers/usage-rings/usage-rings.ts'),
    ]);
  const { stateDirectory, tag, catalogues: sources } = config;
  const workDirectory = join(stateDirectory, 'image-build');
  const { systemClock } = clock;
  return {
    imageFiles: files.createImageFiles({ stateDirectory }),
    imageBuilders: [
      micro.createMicroImageBuilder({ workDirectory }),
      debian.createDebianImageBuilder({ workDirectory }),
    ],
    poolDrivers: [pool.createDirPoolDriver({ owner: tag, loans, logger })],
    defaultPoolPath: join(stateDirectory, 'pools', 'default'),
    transfer: transfer.createDiskTransfer({ stateDirectory, loans, logger }),
    downloader: downloader.createDownloader({ clock: systemClock }),
    catalogue: catalogue.createSimplestreamsCatalogue({ sources, arch: process.arch, clock: systemClock }),
    firmware: firmware.createFirmware({ stateDirectory }),
    seeds: seed.createSeedIso({ stateDirectory }),
    usageHistory: rings.createUsageRings({ stateDirectory, logger }),
  };
}

/** Runs wirtd until `asked` aborts. */
async function serve(config: Config, logger: Logger, asked: AbortSignal): Promise<void> {
  const startedMs = performance.now();
  const { stateDirectory, runDirectory, socketPath, tag } = config;
  logger.info('daemon.starting', { version, pid: process.pid, stateDirectory, runDirectory, tag });
  const [{ checkSocketFree }, { createRestServer }] = await Promise.all([
    import('./frontends/rest/socket-file.ts'),
    import('./frontends/rest/server.ts'),
  ]);
  // The store first: a second wirtd on the same directories is to be told the pid of the first.
  const { core, store } = await assemble(config, logger);
  await using held = new AsyncDisposableStack();
  held.use(store);
  held.defer(() => core.stop(AbortSignal.timeout(stopMs)));
  await checkSocketFree(socketPath);
  await core.recover(asked);
  const { createMetadataService } = await import('./frontends/metadata/service.ts');
  const metadata = createMetadataService({ actions: core.actions.metadata, logger });
  held.defer(() => metadata.close());
  metadata.start(asked);
  const rest = await createRestServer({
    actions: core.actions,
    version: { version, api: 'v1', node: process.version, pid: process.pid, stateDirectory },
    openapi: readOpenapi,
    logger,
    ...(config.socketGid === undefined ? {} : { socketGid: config.socketGid }),
  });
  held.defer(() => rest.close());
  await rest.listen(socketPath);
  const { createNotifier } = await import('./platform/notify.ts');
  const notifier = createNotifier({ env: process.env, logger });
  logger.info('daemon.ready', { socket: socketPath, ms: Math.round(performance.now() - startedMs) });
  await notifier.ready(`Serving ${socketPath}`);
  if (!asked.aborted)
    await new Promise((resolve) => asked.addEventListener('abort', resolve, { once: true }));
  logger.info('daemon.stopping', { reason: asked.reason });
  await notifier.stopping();
}

/** For people, who look at a terminal or at the last lines of the journal. */
function explain(error: unknown): string {
  if (!(error instanceof WirtError))
    return `wirtd: ${error instanceof Error ? error.stack : String(error)}\n`;
  const cause = causeText(error);
  return [
    `wirtd: ${error.message} [${error.code}]`,
    ...(cause === undefined ? [] : [`  cause: ${cause}`]),
    ...(error.hint === undefined ? [] : [`  hint: ${error.hint}`]),
    '',
  ].join('\n');
}

async function main(): Promise<number> {
  const given = readOptions(process.argv.slice(2), process.env);
  if (given.help !== undefined) {
    process.stdout.write(helpText());
    return exitStatus.asked;
  }
  if (given.version !== undefined) {
    process.stdout.write(`wirtd ${version}\n`);
    return exitStatus.asked;
  }
  const config = resolveConfig(given, surroundings(process.env));
  enableCompileCache();
  const { createLogger } = await import('./platform/logger.ts');
  const logger = createLogger({ level: config.logLevel });
  dieOfDefects(logger);
  const asked = endAsked();
  try {
    await serve(config, logger, asked);
  } catch (error) {
    if (!asked.aborted) throw error;
  }
  logger.info('daemon.stopped');
  return exitStatus.asked;
}

try {
  const status = await main();
  // What is still open (pipes to the shims of guests) must not hold it up.
  process.exit(status);
} catch (error) {
  process.stderr.write(explain(error));
  process.exit(
    error instanceof WirtError && error.code === 'daemon.config_invalid'
      ? exitStatus.config
      : exitStatus.failed,
  );
}
