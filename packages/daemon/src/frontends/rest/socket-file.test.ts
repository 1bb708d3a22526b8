import { link, rm, stat, symlink, unlink, writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ask, openDoor, openSocketDoor } from './fake-door.ts';
import { event, eventsThenQuiet } from './streams.fixture.ts';

describe('the socket', () => {
  it('is closed to others by its file mode', async () => {
    await using door = await openSocketDoor({});
    expect(((await stat(door.path)).mode & 0o777).toString(8)).toBe('660');
  });

  it('is taken over when it is stale', async () => {
    await using first = await openSocketDoor({});
    const stale = join(dirname(first.path), 'stale.sock');
    const bound = createServer().listen(`${stale}.x`);
    await new Promise((resolve) => bound.once('listening', resolve));
    await link(`${stale}.x`, stale);
    await new Promise((resolve) => bound.close(resolve));
    const server = await openDoor({});
    await server.listen(stale);
    expect((await ask({ path: stale }, { path: '/v1/version' })).statusCode).toBe(200);
    await server.close();
  });

  it('is refused when somebody answers on it', async () => {
    await using first = await openSocketDoor({});
    const second = await openDoor({});
    await expect(second.listen(first.path)).rejects.toMatchObject({ code: 'daemon.already_running' });
    expect((await ask(first, { path: '/v1/version' })).statusCode).toBe(200);
    await second.close();
  });

  it('is refused where a file or a link lies that is no socket', async () => {
    await using first = await openSocketDoor({});
    const taken = join(dirname(first.path), 'taken');
    await writeFile(taken, 'precious');
    const linked = join(dirname(first.path), 'linked');
    await symlink(taken, linked);
    for (const path of [taken, linked]) {
      const second = await openDoor({});
      await expect(second.listen(path)).rejects.toMatchObject({ code: 'daemon.config_invalid' });
      await second.close();
    }
  });

  it('is made anew when its file vanishes, and connections from before live on', async () => {
    await using door = await openSocketDoor({ event: eventsThenQuiet([event(1)]) });
    const before = await ask(door, { path: '/v1/events' });
    await unlink(door.path);
    await door.log.seen('rest.listening_anew');
    expect((await ask(door, { path: '/v1/version' })).statusCode).toBe(200);
    expect(before.destroyed).toBe(false);
    before.destroy();
  });

  it('is made anew when its whole directory vanishes', async () => {
    await using door = await openSocketDoor({}, { socketCheckMs: 20 });
    await rm(dirname(door.path), { recursive: true });
    await door.log.seen('rest.listening_anew');
    expect((await ask(door, { path: '/v1/version' })).statusCode).toBe(200);
  });

  it('answers what is no HTTP with a problem', async () => {
    await using door = await openSocketDoor({});
    const raw = connect(door.path);
    raw.end('nonsense\r\n\r\n');
    let text = '';
    for await (const chunk of raw.setEncoding('utf8')) text += String(chunk);
    expect(text).toMatch(/^HTTP\/1\.1 400 .*"code":"request\.invalid"/s);
  });
});
