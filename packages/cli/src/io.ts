/** What the command line needs of its process: streams, environment, clock, interrupt. Tests give their own. */
import type { Readable, Writable } from 'node:stream';

/** `isTTY`, `columns`, `rows` and `setRawMode` are there on a terminal only. */
export type Input = Readable & { readonly isTTY?: boolean; setRawMode?(raw: boolean): unknown };
export type Output = Writable & {
  readonly isTTY?: boolean;
  readonly columns?: number;
  readonly rows?: number;
};

export interface Io {
  readonly stdin: Input;
  readonly stdout: Output;
  readonly stderr: Output;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly uid: number;
  now(): number;
  /** Calls `handler` on Ctrl-C instead of ending, until the returned function is called. */
  onInterrupt(handler: () => void): () => void;
  /** Calls `handler` when the process is about to end for whatever reason, until the returned function is called. */
  onExit(handler: () => void): () => void;
}

/** The process's own. Getters, since the first touch of a standard stream costs a millisecond. */
export const processIo: Io = {
  get stdin() {
    return process.stdin;
  },
  get stdout() {
    return process.stdout;
  },
  get stderr() {
    return process.stderr;
  },
  env: process.env,
  uid: process.getuid?.() ?? -1,
  now: () => Date.now(),
  onInterrupt(handler) {
    process.on('SIGINT', handler);
    return () => process.off('SIGINT', handler);
  },
  onExit(handler) {
    const signals = { SIGTERM: 143, SIGHUP: 129 } as const;
    const endings = Object.entries(signals).map(([name, code]) => {
      const end = (): void => process.exit(code);
      process.on(name, end);
      return () => process.off(name, end);
    });
    process.on('exit', handler);
    return () => {
      process.off('exit', handler);
      for (const remove of endings) remove();
    };
  },
};

/** Writes and waits until the stream has passed it on, so that nothing is lost when the process ends. */
export function write(stream: Output, data: string | Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    stream.write(data, (error) => (error == null ? resolve() : reject(error)));
  });
}
