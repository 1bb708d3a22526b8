/** For tests: sends and receives in a namespace, as a guest does, and counts what passes its card. Started by `startInside`. */
import { createSocket, type Socket as Datagrams } from 'node:dgram';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { serveCalls } from '../../platform/netns.fixture.ts';

const block = Buffer.alloc(64 * 1024);
const datagram = Buffer.alloc(64);
const sockets = new Set<Socket>();
const timers = new Set<NodeJS.Timeout>();
const datagrams = new Set<Datagrams>();
let packets = 0;
let closed = 0;

serveCalls({
  /** Takes whatever comes by TCP, and datagrams; both at one port. */
  listen: async () => {
    const server = createServer((socket) => {
      socket
        .on('error', () => undefined)
        .on('close', () => (closed += 1))
        .resume();
    }).listen(0, '0.0.0.0');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const receiver = createSocket('udp4').on('message', () => (packets += 1));
    receiver.bind(port);
    await once(receiver, 'listening');
    return port;
  },
  /** Sends as fast as it may, until `stop`. */
  send: async ([host, port]: readonly [string, number]) => {
    const socket = connect({ host, port });
    await once(socket, 'connect');
    sockets.add(socket);
    const write = (): void => {
      while (!socket.destroyed && socket.write(block));
    };
    socket.on('drain', write).on('error', () => undefined);
    write();
  },
  /** Small datagrams, so many each millisecond. */
  flood: ([host, port, each]: readonly [string, number, number]) => {
    const socket = createSocket('udp4').on('error', () => undefined);
    datagrams.add(socket);
    const burst = (): void => {
      for (let count = 0; count < each; count += 1) socket.send(datagram, port, host);
    };
    timers.add(setInterval(burst, 1));
  },
  stop: () => {
    for (const socket of sockets) socket.destroy();
    for (const timer of timers) clearInterval(timer);
    for (const socket of datagrams) socket.close();
    for (const all of [sockets, timers, datagrams]) all.clear();
  },
  /** What the card has received and sent, with its headers; datagrams that arrived; connections that ended. */
  counts: () => {
    const line = /^ *eth0:(.*)$/m.exec(readFileSync('/proc/net/dev', 'latin1'))?.[1] ?? '';
    const numbers = line.trim().split(/ +/).map(Number);
    return { atMs: performance.now(), bytes: numbers[0] ?? 0, packets, closed };
  },
});
