/** What a command is given: the client, its process, and how to tell people things while it works. */
import { type Client, createClient } from '@wirt/api/client';
import { visible } from './escape.ts';
import { type Io, write } from './io.ts';
import { jsonLine, type OutputKind, printView, type View, wantsColour } from './print.ts';
import { createSocketFetch } from './transport.ts';

const answerMs = 30_000;

export interface Context {
  readonly io: Io;
  readonly output: OutputKind;
  readonly socketPath: string;
  readonly client: Client;
  /** A client with other deadlines than the usual 30 s for the head of an answer. */
  clientWith(deadlines: { readonly answerMs?: number; readonly idleMs?: number }): Client;
  /** Prints a view at once; for commands that go on after it. */
  print(view: View): Promise<void>;
  /** Prints one line of a stream: text for people, the record for programs. */
  printLine(line: string, record: unknown): Promise<void>;
  /** A line on standard error, made safe for a terminal. */
  note(text: string): void;
  readonly colour: boolean;
}

export function createContext(io: Io, output: OutputKind, socketPath: string): Context {
  const clientWith: Context['clientWith'] = (deadlines) =>
    createClient({ fetch: createSocketFetch({ socketPath, answerMs, ...deadlines }) });
  const colour = output === 'table' && wantsColour(io.stdout, io.env);
  return {
    io,
    output,
    socketPath,
    client: clientWith({}),
    clientWith,
    colour,
    print: (view) => printView(io.stdout, view, { output, colour }),
    async printLine(line, record) {
      if (output === 'json') return write(io.stdout, jsonLine(record));
      if (output === 'yaml') {
        const { yamlText } = await import('./print.ts');
        return write(io.stdout, `---\n${await yamlText(record)}`);
      }
      return write(io.stdout, `${visible(line)}\n`);
    },
    note: (text) => {
      io.stderr.write(`${visible(text)}\n`);
    },
  };
}

/** For every POST: the daemon answers a request that it has already seen with what became of it. */
export function idempotent(): { readonly headers: { readonly 'idempotency-key': string } } {
  return { headers: { 'idempotency-key': crypto.randomUUID() } };
}
