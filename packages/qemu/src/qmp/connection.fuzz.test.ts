import fc from 'fast-check';
import { expect, test } from 'vitest';
import { startScriptedPeer } from '../scripted-peer.ts';
import { connectQmp } from './connection.ts';
import { QmpFailure } from './errors.ts';

const GREETING =
  '{"QMP": {"version": {"qemu": {"major": 9, "minor": 0, "micro": 0}, "package": ""}, "capabilities": []}}\n';

/** Lines that look like QMP, lines that do not, and bytes that are no lines. */
const answer = fc.record({
  return: fc.jsonValue(),
  id: fc.oneof(fc.integer({ min: -1, max: 4 }), fc.jsonValue()),
});
const event = fc.record({
  event: fc.oneof(fc.constantFrom('SHUTDOWN', '__proto__', 'unknown'), fc.string()),
  data: fc.jsonValue(),
  timestamp: fc.oneof(fc.constant({ seconds: 1, microseconds: 1 }), fc.jsonValue()),
});
const line = fc
  .oneof(answer, event, fc.jsonValue())
  .map((value) => Buffer.from(`${JSON.stringify(value)}\n`));
const piece = fc.oneof(line, fc.uint8Array({ maxLength: 100 }));

test('whatever a peer sends, every wait ends and nothing is thrown beside it', async () => {
  await using peer = await startScriptedPeer();
  await fc.assert(
    fc.asyncProperty(fc.array(piece, { maxLength: 12 }), fc.boolean(), async (pieces, greet) => {
      const connecting = connectQmp({ path: peer.path, timeoutMs: 5000, onEvent: () => {} });
      const server = await peer.accept();
      const send = (): void => {
        for (const bytes of pieces) server.write(bytes);
        server.socket.end();
      };
      if (!greet) {
        send();
        await expect(connecting).rejects.toBeInstanceOf(QmpFailure);
        return;
      }
      server.write(GREETING);
      server.send({ return: {}, id: (await server.request()).id });
      const qmp = await connecting;
      const commands = [qmp.execute('query-status'), qmp.execute('stop')];
      send();
      for (const result of await Promise.allSettled(commands)) {
        if (result.status === 'rejected') expect(result.reason).toBeInstanceOf(QmpFailure);
      }
      expect(await qmp.closed).toBeInstanceOf(QmpFailure);
    }),
    { numRuns: 300 },
  );
});
