/** Who of the host listens on a port: /proc/net/{tcp,udp}{,6} (proc_net_tcp.rst), and whose file descriptor the socket is. */
import { readdir, readFile, readlink } from 'node:fs/promises';

export interface Listener {
  /** As text; `0.0.0.0` and `::` are every address. */
  readonly address: string;
  readonly port: number;
  readonly inode: string;
}

/** A listening TCP socket, a UDP socket that is not connected. */
const listening = { tcp: '0A', udp: '07' };

export function parseSockets(text: string, protocol: 'tcp' | 'udp'): Listener[] {
  return text
    .split('\n')
    .slice(1)
    .flatMap((line) => {
      const fields = line.trim().split(/\s+/);
      const [, local = '', , state, , , , , , inode = ''] = fields;
      const [address = '', port = ''] = local.split(':');
      if (state !== listening[protocol]) return [];
      return [{ address: addressOf(address), port: Number.parseInt(port, 16), inode }];
    });
}

/** Words of four bytes in the order of the machine, which is little-endian wherever Wirt runs. */
function addressOf(hex: string): string {
  const bytes = (hex.match(/.{8}/g) ?? []).flatMap((word) => (word.match(/../g) ?? []).reverse());
  if (bytes.length === 4) return bytes.map((byte) => Number.parseInt(byte, 16)).join('.');
  const words = Array.from({ length: 8 }, (_none, at) => `${bytes[2 * at] ?? ''}${bytes[2 * at + 1] ?? ''}`);
  // The parser of addresses shortens as everybody does.
  return new URL(`http://[${words.join(':')}]`).hostname.slice(1, -1);
}

/** Whether a socket there and one at `wanted` exclude each other. */
function clashes(address: string, wanted: string | undefined): boolean {
  if (wanted === undefined || address === '::') return true;
  if (address === '0.0.0.0') return !wanted.includes(':');
  return address === wanted || wanted === '0.0.0.0' || wanted === '::';
}

/** Who listens at one of the addresses `besides` does not count. */
export async function findListener(
  protocol: 'tcp' | 'udp',
  port: number,
  address?: string,
  besides: readonly string[] = [],
): Promise<string | undefined> {
  const texts = await Promise.all(
    [protocol, `${protocol}6`].map((name) => readFile(`/proc/net/${name}`, 'utf8').catch(() => '')),
  );
  const found = texts
    .flatMap((text) => parseSockets(text, protocol))
    .filter((socket) => socket.port === port && !besides.includes(socket.address))
    .find((socket) => clashes(socket.address, address));
  if (found === undefined) return undefined;
  const where = `${found.address.includes(':') ? `[${found.address}]` : found.address}:${port}`;
  return `${(await ownerOf(found.inode)) ?? 'A program'} listens on ${where} (${protocol}).`;
}

async function ownerOf(inode: string): Promise<string | undefined> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  for (const pid of pids) {
    const descriptors = await readdir(`/proc/${pid}/fd`).catch(() => []);
    for (const descriptor of descriptors) {
      const target = await readlink(`/proc/${pid}/fd/${descriptor}`).catch(() => '');
      if (target !== `socket:[${inode}]`) continue;
      const name = (await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '?')).trim();
      return `${name} (process ${pid})`;
    }
  }
  return undefined;
}
