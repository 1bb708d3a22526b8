import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { chmod, mkdtemp, readdir, rm } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type NetworkUnderTest, networkContract } from '@wirt/core/contract/network';
import { networkLimitsContract } from '@wirt/core/contract/network-limits';
import { describe } from 'vitest';
import { owner, passtMissing, passtsBelow, silentLogger } from './harness.fixture.ts';
import { createUserNetwork } from './network-user.ts';

async function make(passt: 'always' | 'never'): Promise<NetworkUnderTest> {
  const runDirectory = await mkdtemp(join(tmpdir(), 'wirt-user-'));
  await chmod(runDirectory, 0o755);
  const closing: (() => void)[] = [];
  const features = { 'stream-network': true, 'stream-reconnect': true };
  return {
    capabilities: { interfaces: false, probes: false, rates: false, ports: 12 },
    start: async () =>
      createUserNetwork({ runDirectory, logger: silentLogger, passt, qemuFeatures: async () => features }),
    // It has no children that would end with it; what it holds is a timer.
    kill: (driver) => driver.close(),
    ...(passt === 'never'
      ? {}
      : {
          harm: async () => {
            for (const pid of await passtsBelow(runDirectory)) process.kill(pid, 'SIGKILL');
          },
        }),
    async listen(protocol, address) {
      if (protocol === 'tcp') {
        const server = createServer().listen(0, address);
        closing.push(() => server.close());
        await once(server, 'listening');
        return { port: (server.address() as AddressInfo).port };
      }
      const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4').bind(0, address);
      closing.push(() => socket.close());
      await once(socket, 'listening');
      return { port: socket.address().port };
    },
    owner,
    async remains() {
      const pids = await passtsBelow(runDirectory);
      const files = await readdir(join(runDirectory, 'passt')).catch(() => []);
      return [...pids.map((pid) => `process ${pid}`), ...files.map((file) => `directory ${file}`)];
    },
    async cleanUp() {
      for (const close of closing) close();
      for (const pid of await passtsBelow(runDirectory)) process.kill(pid, 'SIGKILL');
      await rm(runDirectory, { recursive: true });
    },
  };
}

networkContract('user mode by slirp', () => make('never'));
networkLimitsContract('user mode by slirp', () => make('never'));
const missing = passtMissing();
describe.skipIf(missing)(`with passt${missing ? ` (skipped: ${missing})` : ''}`, () => {
  networkContract('user mode by passt', () => make('always'));
  networkLimitsContract('user mode by passt', () => make('always'));
});
