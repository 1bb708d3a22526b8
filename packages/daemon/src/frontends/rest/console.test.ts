import { connect } from 'node:net';
import { WirtError } from '@wirt/api';
import { describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { openSocketDoor } from './fake-door.ts';
import { event, fakeConsole, viewer, withConsole } from './streams.fixture.ts';

describe('the console', () => {
  it('shows each of several viewers what was, then what comes, and takes what they type', async () => {
    const fake = fakeConsole('login: ');
    await using door = await openSocketDoor(withConsole(fake));
    const one = await viewer(door);
    const two = await viewer(door);
    await Promise.all([one.until('login: '), two.until('login: ')]);
    const typed = new Promise<void>((resolve) => (fake.onTyped = resolve));
    two.socket.send(Buffer.from('root\n'));
    await typed;
    fake.say('welcome');
    expect(await one.until('welcome')).toBe('login: welcome');
    expect(await two.until('welcome')).toBe('login: welcome');
    expect(fake.typed).toEqual(['root\n']);
    one.socket.close();
    two.socket.close();
  });

  it('takes the window size in a text frame and does not type it', async () => {
    const fake = fakeConsole('');
    await using door = await openSocketDoor(withConsole(fake));
    const one = await viewer(door);
    const typed = new Promise<void>((resolve) => (fake.onTyped = resolve));
    one.socket.send(JSON.stringify({ resize: { columns: 132, rows: 43 } }));
    one.socket.send(Buffer.from('x'));
    await typed;
    expect(fake.typed).toEqual(['x']);
    one.socket.close();
  });

  it.each(['hello', '{"resize":{"columns":0,"rows":1}}', '{"size":1}'])(
    'closes on the text frame %s and says what it takes',
    async (frame) => {
      await using door = await openSocketDoor(withConsole(fakeConsole('')));
      const one = await viewer(door);
      one.socket.send(frame);
      expect(await one.closed).toEqual({
        code: 1008,
        reason: 'A text frame must be {"resize":{"columns":80,"rows":25}}.',
      });
    },
  );

  it('closes on a frame of more than 64 KiB', async () => {
    await using door = await openSocketDoor(withConsole(fakeConsole('')));
    const one = await viewer(door);
    one.socket.send(Buffer.alloc(64 * 1024 + 1));
    expect((await one.closed).code).toBe(1009);
  });

  it('drops a viewer that does not keep up, and only that one', async () => {
    const fake = fakeConsole('');
    await using door = await openSocketDoor(withConsole(fake), { viewerBytes: 64 * 1024 });
    const slow = await viewer(door);
    const quick = await viewer(door);
    slow.socket.pause();
    const chunk = 'x'.repeat(32 * 1024);
    for (let sent = 0; sent < 400 && fake.viewers() === 2; sent += 1) {
      fake.say(chunk);
      quick.socket.ping();
      await new Promise((resolve) => quick.socket.once('pong', resolve));
    }
    // What was sent before has to be read before the close frame is seen.
    slow.socket.resume();
    expect(await slow.closed).toMatchObject({ code: 1013 });
    fake.say('still here');
    await quick.until('still here');
    quick.socket.close();
  });

  it('tells its viewers how the guest ended', async () => {
    const next = Promise.withResolvers<void>();
    const stream = async function* () {
      await next.promise;
      yield event(8, { state: 'stopping' });
      yield event(9, { state: 'stopped', detail: 'Powered off from inside the guest.' });
    };
    const fake = fakeConsole('');
    await using door = await openSocketDoor(withConsole(fake, { stream }));
    const one = await viewer(door);
    next.resolve();
    expect(await one.closed).toEqual({ code: 1000, reason: 'Powered off from inside the guest.' });
    await fake.left;
  });

  it('refuses with an ordinary problem, before the upgrade', async () => {
    const get = async () => {
      throw new WirtError('instance.not_found', 'There is no instance demo.');
    };
    await using door = await openSocketDoor({ instance: { get } });
    await expect(viewer(door)).rejects.toThrow('404');
  });

  it('ends a viewer whose connection is dead', async () => {
    const fake = fakeConsole('');
    await using door = await openSocketDoor(withConsole(fake), { pingMs: 20 });
    const raw = connect(door.path);
    raw.write(
      'GET /v1/instances/demo/console HTTP/1.1\r\nHost: wirt\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n' +
        'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
    );
    // It reads, but never answers a ping.
    raw.on('error', () => undefined).resume();
    await new Promise((resolve) => raw.once('close', resolve));
    await fake.left;
  });

  it('is not offered on other routes', async () => {
    await using door = await openSocketDoor({});
    const socket = new WebSocket(`ws+unix://${door.path}:/v1/version`);
    const error = await new Promise<Error>((resolve) => socket.once('error', resolve));
    expect(error.message).toContain('400');
  });
});
