// For tests of what flows through the door: events, a console that says what it is told to, and viewers of it.
import type { Event } from '@wirt/api';
import type { Actions, Request } from '@wirt/core';
import { WebSocket } from 'ws';
import { type Given, someId, someInstance } from './fake-actions.ts';
import type { SocketDoor } from './fake-door.ts';

export const event = (revision: number, more: Partial<Event> = {}): Event => ({
  revision,
  at: '2026-11-22T06:00:00.000Z',
  change: 'changed',
  kind: 'instance',
  id: someId,
  name: 'demo',
  project: 'default',
  ...more,
});

/** A stream that gives these events and then stays quiet until its request ends. */
export function eventsThenQuiet(
  events: Event[],
  seen: { query?: unknown; ended?: boolean } = {},
): Actions['event'] {
  return {
    async *stream(request, query) {
      seen.query = query;
      yield* events;
      await new Promise<void>((resolve) =>
        request.signal.addEventListener('abort', () => resolve(), { once: true }),
      );
      seen.ended = true;
    },
  };
}

export function neverEnds(request: Request): Promise<never> {
  return new Promise((_, reject) => {
    request.signal.addEventListener('abort', () => reject(request.signal.reason as Error));
  });
}

interface FakeConsole {
  readonly console: Awaited<ReturnType<Actions['guest']['console']>>;
  say(text: string): void;
  readonly typed: string[];
  readonly viewers: () => number;
  /** Resolves when a viewer has been let go. */
  readonly left: Promise<void>;
  onTyped: () => void;
}

export function fakeConsole(replay: string): FakeConsole {
  const listeners = new Set<(data: Uint8Array) => void>();
  const left = Promise.withResolvers<void>();
  const fake: FakeConsole = {
    typed: [],
    left: left.promise,
    onTyped: () => undefined,
    viewers: () => listeners.size,
    say(text) {
      for (const listener of listeners) listener(Buffer.from(text));
    },
    console: {
      replay: () => Buffer.from(replay),
      listen(listener) {
        listeners.add(listener);
        return () => {
          listeners.delete(listener);
          left.resolve();
        };
      },
      write(data) {
        fake.typed.push(Buffer.from(data).toString());
        fake.onTyped();
      },
    },
  };
  return fake;
}

export const withConsole = (fake: FakeConsole, events: Actions['event'] = eventsThenQuiet([])): Given => ({
  instance: { get: async () => someInstance },
  guest: { console: async () => fake.console },
  event: events,
});

/** Connects a viewer; its messages are kept as text, and `until` waits for what it has seen. */
export async function viewer(door: Pick<SocketDoor, 'path'>) {
  const socket = new WebSocket(`ws+unix://${door.path}:/v1/instances/demo/console`);
  let text = '';
  let wake = () => undefined as void;
  const closed = new Promise<{ code: number; reason: string }>((resolve) =>
    socket.once('close', (code, reason) => resolve({ code, reason: reason.toString() })),
  );
  socket.on('message', (data) => {
    text += (data as Buffer).toString();
    wake();
  });
  await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject));
  return {
    socket,
    closed,
    async until(wanted: string) {
      while (!text.includes(wanted)) await new Promise<void>((resolve) => (wake = resolve));
      return text;
    },
  };
}
