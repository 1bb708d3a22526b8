import { describe, expect, test } from 'vitest';
import { qemuMissing, startQemu } from '../real-qemu.ts';
import { connectQmp } from './connection.ts';
import { indexSchema } from './introspect.ts';
import { qmpEventNames, qmpMembersInUse } from './schema.gen.ts';

describe.skipIf(qemuMissing)(`the generated types${qemuMissing ? ` (skipped: ${qemuMissing})` : ''}`, () => {
  test('name no command, event or member that the running QEMU does not have', async () => {
    await using qemu = await startQemu('none');
    await using qmp = await connectQmp({ path: qemu.path, timeoutMs: 20_000 });
    const has = indexSchema(await qmp.execute('query-qmp-schema'));
    const needed = qmpMembersInUse.filter((path) => !path.endsWith('?'));
    expect(needed.length).toBeGreaterThan(100);
    expect(needed.filter((path) => !has(path))).toEqual([]);
    expect(qmpEventNames.filter((name) => !has(name))).toEqual([]);
    // What only some versions have may be missing here, but never most of it.
    const optional = qmpMembersInUse.filter((path) => path.endsWith('?')).map((path) => path.slice(0, -1));
    expect(optional.filter((path) => has(path)).length).toBeGreaterThan(optional.length / 2);
    expect(has('query-status/returns/no-such-member')).toBe(false);
  });
});
