// For tests: a program that takes QEMU's place and behaves badly on QMP, each time in one way. It is called by wirtd's
// shim like QEMU and finds its listening sockets as descriptors 3 to 5.
import { chmod, writeFile } from 'node:fs/promises';

/**
 * - `broken`: exits at once and without a word, asked for its version or not.
 * - `garbage`: answers the first connection with rubbish.
 * - `other-guest`: is the QEMU of another guest.
 * - `silent`: never answers.
 * - `hangs-up`: closes the first connection at the first `query-status`, and is good from then on.
 * - `stalls`: does not answer `query-status` on the second connection, and is good from the third on.
 *
 * All of them serve one connection at a time, as QEMU does: the next one waits until the one before is closed.
 */
export type FakeMode = 'broken' | 'garbage' | 'other-guest' | 'silent' | 'hangs-up' | 'stalls';

const program = String.raw`
const { createServer } = require('node:net');
if (mode === 'broken') process.exit(3);
if (process.argv.includes('--version')) { console.log('QEMU emulator version 7.2.0'); process.exit(0); }
const uuid = process.argv[process.argv.indexOf('-uuid') + 1];
let connections = 0;
const answer = (socket, request) => {
  if (request.execute === 'query-uuid') return { UUID: mode === 'other-guest' ? '00000000-0000-0000-0000-000000000000' : uuid };
  if (request.execute === 'query-chardev') return [];
  if (request.execute !== 'query-status') return {};
  if (mode === 'hangs-up' && connections === 1) return void socket.destroy();
  if (mode === 'stalls' && connections === 2) return undefined;
  return { running: false, status: 'prelaunch' };
};
let before = Promise.resolve();
const serve = async (socket) => {
  socket.on('error', () => {});
  const turn = before;
  before = new Promise((resolve) => socket.once('close', resolve));
  await turn;
  connections += 1;
  if (mode === 'silent') return;
  if (mode === 'garbage') return void socket.write('\x00\xff{]nonsense\n');
  socket.write(JSON.stringify({ QMP: { version: { qemu: { micro: 0, minor: 2, major: 7 }, package: '' }, capabilities: [] } }) + '\n');
  let rest = '';
  socket.on('data', (data) => {
    const lines = (rest + data).split('\n');
    rest = lines.pop();
    for (const line of lines) {
      const request = JSON.parse(line);
      const value = answer(socket, request);
      if (value !== undefined) socket.write(JSON.stringify({ return: value, id: request.id }) + '\n');
    }
  });
};
createServer(serve).listen({ fd: 3 });
`;

export async function writeFakeQemu(path: string, mode: FakeMode): Promise<void> {
  await writeFile(path, `#!${process.execPath}\nconst mode = ${JSON.stringify(mode)};\n${program}`);
  await chmod(path, 0o755);
}
