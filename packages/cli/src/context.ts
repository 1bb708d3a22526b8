/** Makes what a command is given, for one daemon and one way to print. */
import { createClient } from '@wirt/api/client';
import type { Context } from './command.ts';
import { visible } from './escape.ts';
import { write } from './io.ts';
import { jsonLine, printView, wantsColour, yamlText } from './print.ts';
import { createSocketFetch } from './transport.ts';

const answerMs = 30_000;

export function createContext(
  given: Pick<Context, 'io' | 'output' | 'catalogue'>,
  socketPath: string,
): Context {
  const { io, output } = given;
  const clientWith: Context['clientWith'] = (deadlines) =>
    createClient({ fetch: createSocketFetch({ socketPath, answerMs, ...deadlines }) });
  const colour = output === 'table' && wantsColour(io.stdout, io.env);
  return {
    io,
    output,
    catalogue: given.catalogue,
    socketPath,
    client: clientWith({}),
    clientWith,
    colour,
    print: (view) => printView(io.stdout, view, { output, colour }),
    async printLine(line, record) {
      if (output === 'json') return write(io.stdout, jsonLine(record));
      if (output === 'yaml') {
        return write(io.stdout, `---\n${await yamlText(record)}`);
      }
      return write(io.stdout, `${visible(line)}\n`);
    },
    note: (text) => {
      io.stderr.write(`${visible(text)}\n`);
    },
  };
}

/** For every POST that starts an operation: the daemon answers one that it has already seen with what became of it. */
export function idempotent(): { readonly headers: { readonly 'idempotency-key': string } } {
  return { headers: { 'idempotency-key': crypto.randomUUID() } };
}
