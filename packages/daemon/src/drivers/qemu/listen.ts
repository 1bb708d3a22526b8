// Listening Unix sockets that are handed to QEMU as descriptors. wirtd makes them in a directory of its own, so a
// hostile QEMU cannot put anything else in their place, and a connection waits in the backlog until QEMU takes it:
// nobody has to watch for a socket to appear.
import { once } from 'node:events';
import { rename } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { newSuffix } from './paths.ts';

export interface Listener {
  /** Valid until `close`. */
  readonly fd: number;
  /** Closes this process's descriptor; the socket lives on with whoever inherited it, its file in any case. */
  close(): void;
}

/** Replaces a socket that is left from before. */
export async function listen(path: string): Promise<Listener> {
  const server = createServer();
  // Node removes the file by the name it was made under; under its new name it stays.
  server.listen(path + newSuffix);
  await once(server, 'listening');
  // QEMU has a backlog of its own; whoever comes before that is not to be answered here.
  server.on('connection', (socket) => socket.destroy());
  try {
    await rename(path + newSuffix, path);
    return { fd: descriptorOf(server), close: () => server.close() };
  } catch (error) {
    server.close();
    throw error;
  }
}

/** Node has no public way to hand a listening socket to a program; the handle has had this member since Node 0.12. */
function descriptorOf(server: Server): number {
  const { _handle: handle } = server as unknown as { _handle?: { fd?: number } };
  if (handle?.fd === undefined || handle.fd < 0)
    throw new Error('Node does not tell the descriptor of a socket.');
  return handle.fd;
}
