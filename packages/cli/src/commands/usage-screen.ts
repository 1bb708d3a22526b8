/**
 * The live screen of `wirt top`: a frame for every pass of the sampler, whose next one is waited for at the daemon. The terminal is given
 * back as it was on every way out. Goes on when the daemon comes back within a minute.
 */
import type { EffectiveLimits, Usage } from '@wirt/api';
import type { Context } from '../command.ts';
import { rawTerminal } from '../terminal.ts';
import { isLoss, pause } from '../watch.ts';
import { fit, type PartKind } from './usage-row.ts';
import { isOneOf, limitsFor } from './usage-sample.ts';
import { type SortKey, staleNote, topLines } from './usage-view.ts';

/** Longer than the 30 s for which the daemon waits for a pass. */
const answerMs = 45_000;
const reconnectMs = 60_000;
const retryMs = 1000;

interface Screen {
  items: readonly Usage[];
  at: string | undefined;
  sort: SortKey;
  /** Rows above the first one that is shown. */
  skipped: number;
  limits: ReadonlyMap<string, EffectiveLimits> | undefined;
  message: string | undefined;
}

const sortOf: Readonly<Record<string, SortKey>> = {
  c: 'cpu',
  m: 'memory',
  d: 'disk',
  n: 'network',
  a: 'name',
};
const keysText = 'q quit  sort: c cpu, m memory, d disk, n network, a name';

/** Until q, Ctrl-C or a failure. */
export async function showTop(
  context: Context,
  names: readonly string[],
  { sort, per }: { readonly sort: SortKey; readonly per: PartKind | undefined },
): Promise<void> {
  const { io } = context;
  const leave = new AbortController();
  const screen: Screen = {
    ...{ items: [], at: undefined, sort, skipped: 0 },
    ...{ limits: undefined, message: 'Waiting for the first sample …' },
  };
  const draw = (): void => {
    io.stdout.write(frame(screen, per, context));
  };
  using _alternate = alternateScreen(context);
  using _raw = rawTerminal(io);
  using _keys = onKeys(context, (key) => {
    if (key === 'q' || key === '\x03') leave.abort();
    else if (changed(screen, key)) draw();
  });
  using _resize = onResize(context, draw);
  const removeInterrupt = io.onInterrupt(() => leave.abort());
  try {
    draw();
    await follow(context, screen, { names, per, signal: leave.signal, draw });
  } finally {
    leave.abort();
    removeInterrupt();
  }
}

interface Following {
  readonly names: readonly string[];
  readonly per: PartKind | undefined;
  readonly signal: AbortSignal;
  readonly draw: () => void;
}

async function follow(
  context: Context,
  screen: Screen,
  { names, per, signal, draw }: Following,
): Promise<void> {
  const client = context.clientWith({ answerMs });
  let lostAtMs: number | undefined;
  while (!signal.aborted) {
    try {
      const query = screen.at === undefined ? {} : { after: screen.at };
      const { at, items } = await client.call('GET /v1/usage', { query, signal });
      const again = at === screen.at;
      screen.items = names.length === 0 ? items : items.filter((usage) => isOneOf(usage, names));
      screen.limits = await limitsFor(context, per, signal);
      [screen.at, screen.message, lostAtMs] = [at, undefined, undefined];
      draw();
      // No pass within its wait: the sampler is stuck, and asking at once again would not help it.
      if (again) await pause(retryMs, signal);
    } catch (error) {
      if (signal.aborted) return;
      lostAtMs ??= context.io.now();
      if (!isLoss(error) || screen.at === undefined || context.io.now() - lostAtMs >= reconnectMs)
        throw error;
      screen.message = 'wirtd is gone; waiting for it to come back …';
      draw();
      await pause(retryMs, signal);
    }
  }
}

/** Whether the key changed what is to be seen. */
function changed(screen: Screen, key: string): boolean {
  const sort = Object.hasOwn(sortOf, key) ? sortOf[key] : undefined;
  if (sort !== undefined) [screen.sort, screen.skipped] = [sort, 0];
  else if (key === '\x1b[A') screen.skipped = Math.max(0, screen.skipped - 1);
  else if (key === '\x1b[B') screen.skipped += 1;
  else return false;
  return true;
}

/** From the upper left corner, each line erased behind its text, and what is below it too (ECMA-48 CUP, EL, ED). */
function frame(screen: Screen, per: PartKind | undefined, { io, colour }: Context): string {
  const [columns, rows] = [io.stdout.columns ?? 80, io.stdout.rows ?? 24];
  const { items, sort, limits } = screen;
  const [head = '', ...body] = topLines(items, { sort, per, columns, colour, ...(limits && { limits }) });
  const room = Math.max(0, rows - 3);
  // Here it is known how far down there is something.
  screen.skipped = Math.min(screen.skipped, Math.max(0, body.length - room));
  const { skipped } = screen;
  const below = screen.message ?? staleNote(items) ?? keysText;
  const lines = [
    fit(titleOf(screen), columns).trimEnd(),
    head,
    ...body.slice(skipped, skipped + room),
    fit(below, columns).trimEnd(),
  ];
  return `\x1b[H${lines.map((line) => `${line}\x1b[K`).join('\r\n')}\x1b[J`;
}

function titleOf({ items, at, sort }: Screen): string {
  const guests = items.length === 1 ? '1 guest' : `${items.length} guests`;
  return `wirt top  ${at === undefined ? '' : `${at.slice(11, 19)} UTC  `}${guests}  by ${sort}`;
}

/** xterm's private modes 1049 (alternate screen) and 25 (cursor), taken back when disposed of, or when the process ends. */
function alternateScreen({ io }: Context): Disposable {
  let on = true;
  const restore = (): void => {
    if (on) io.stdout.write('\x1b[?25h\x1b[?1049l');
    on = false;
  };
  const removeExit = io.onExit(restore);
  io.stdout.write('\x1b[?1049h\x1b[?25l\x1b[2J');
  return {
    [Symbol.dispose]: () => {
      restore();
      removeExit();
    },
  };
}

/** As terminals send them (ECMA-48 CUU, CUD). */
const arrows = ['\x1b[A', '\x1b[B'];

function onKeys({ io }: Context, pressed: (key: string) => void): Disposable {
  const listen = (chunk: Buffer): void => {
    for (let rest = chunk.toString('latin1'); rest !== ''; ) {
      const key = arrows.find((arrow) => rest.startsWith(arrow)) ?? rest.charAt(0);
      pressed(key);
      rest = rest.slice(key.length);
    }
  };
  if (io.stdin.isTTY !== true) return { [Symbol.dispose]: () => undefined };
  io.stdin.on('data', listen);
  io.stdin.resume();
  return {
    [Symbol.dispose]: () => {
      io.stdin.off('data', listen);
      io.stdin.pause();
    },
  };
}

function onResize({ io }: Context, draw: () => void): Disposable {
  io.stdout.on('resize', draw);
  return { [Symbol.dispose]: () => void io.stdout.off('resize', draw) };
}
