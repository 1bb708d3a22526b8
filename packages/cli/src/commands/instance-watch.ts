/** `wirt ls --watch`: the list again at every change, drawn over on a terminal and one after the other elsewhere. */
import type { Instance } from '@wirt/api';
import type { Context } from '../command.ts';
import { write } from '../io.ts';
import type { Listed } from '../paging.ts';
import { jsonLine } from '../print.ts';
import { watchUntil } from '../watch.ts';
import { instanceListView } from './instance-view.ts';

const reconnectMs = 60_000;
/** A burst of changes is drawn as one. */
const calmMs = 150;

/** Runs until Ctrl-C. Throws when the daemon stays away for a minute. */
export async function watchList(
  context: Context,
  list: (signal: AbortSignal) => Promise<Listed<Instance>>,
): Promise<void> {
  const { io } = context;
  const leave = new AbortController();
  const removeInterrupt = io.onInterrupt(() => leave.abort());
  const redrawn = io.stdout.isTTY === true && context.output === 'table';
  const look = async (signal: AbortSignal): Promise<undefined> => {
    const { items } = await list(signal);
    if (context.output === 'json') {
      await write(io.stdout, jsonLine(items));
      return undefined;
    }
    // Cursor home, then erase the screen (ECMA-48 CUP, ED).
    if (redrawn) await write(io.stdout, '\x1b[H\x1b[2J');
    await context.print(instanceListView(items, io.now()));
    if (!redrawn && context.output !== 'yaml') await write(io.stdout, '\n');
    return undefined;
  };
  const onLost = (): void => context.note('wirtd is gone; waiting for it to come back …');
  try {
    const options = { signal: leave.signal, reconnectMs, onLost, calmMs };
    await watchUntil(context, { kind: 'instance' }, look, options);
  } finally {
    removeInterrupt();
  }
}
