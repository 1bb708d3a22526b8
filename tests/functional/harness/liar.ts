// A program in QEMU's place: QEMU itself when it is probed, and for a guest a QMP peer that answers well until SIGUSR2
// turns it into a liar, on the connections that it has and on every one after.
import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

const program = String.raw`
const { createServer } = require('node:net');
const uuid = process.argv[process.argv.indexOf('-uuid') + 1];
const peers = new Set();
let running = false;
let lies = false;
const say = (peer, message) => peer.write(JSON.stringify(message) + '\n');
const lie = (peer) => peer.write('\x00\xff{]nonsense\n'.repeat(1000));
const turn = (now) => {
  if (running === now) return;
  running = now;
  const timestamp = { seconds: 0, microseconds: 0 };
  for (const peer of peers) say(peer, { event: now ? 'RESUME' : 'STOP', data: {}, timestamp });
};
const answer = ({ execute }) => {
  if (execute === 'cont') turn(true);
  if (execute === 'stop') turn(false);
  if (execute === 'query-uuid') return { UUID: uuid };
  if (execute === 'query-chardev') return [];
  if (execute === 'query-status') return { running, status: running ? 'running' : 'paused' };
  return {};
};
process.on('SIGUSR2', () => {
  lies = true;
  peers.forEach(lie);
});
createServer((peer) => {
  peer.on('error', () => {});
  peer.on('close', () => peers.delete(peer));
  peers.add(peer);
  if (lies) return void lie(peer);
  say(peer, { QMP: { version: { qemu: { micro: 0, minor: 2, major: 7 }, package: '' }, capabilities: [] } });
  let rest = '';
  peer.on('data', (data) => {
    if (lies) return;
    const lines = (rest + data).split('\n');
    rest = lines.pop();
    for (const line of lines.filter(Boolean)) {
      const request = JSON.parse(line);
      say(peer, { return: answer(request), id: request.id });
    }
  });
}).listen({ fd: 3 });
`;

/** Gives the path of the program to name with --qemu. */
export async function writeLiar(directory: string): Promise<string> {
  const liar = join(directory, 'liar.cjs');
  await writeFile(liar, program);
  await chmod(liar, 0o644);
  const path = join(directory, 'qemu-system-x86_64');
  const script = `case "$*" in *wirt-*) exec ${process.execPath} ${liar} "$@" ;; esac\nexec qemu-system-x86_64 "$@"`;
  await writeFile(path, `#!/bin/sh\n${script}\n`);
  await chmod(path, 0o755);
  return path;
}
