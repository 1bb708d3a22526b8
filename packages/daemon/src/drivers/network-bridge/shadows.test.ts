import { describe, expect, it } from 'vitest';
import type { Shadow } from './firewall-shadows.ts';
import { createShadows } from './shadows.ts';

const docker: Shadow = { table: 'ip filter', why: 'Chain FORWARD drops.', hint: 'iptables -I DOCKER-USER' };
const signal = new AbortController().signal;

function scene() {
  const there: Shadow[] = [];
  const said: string[] = [];
  const asked: (readonly string[] | undefined)[] = [];
  const log = (level: string) => (name: string) => void said.push(`${level} ${name}`);
  const shadows = createShadows({
    firewall: {
      shadows: async (_signal, of) => {
        asked.push(of);
        return there;
      },
    },
    logger: { debug: log('debug'), info: log('info'), warn: log('warn'), error: log('error') },
  });
  return { there, said, asked, shadows };
}

describe('what others drop', () => {
  it('is said once when it appears, and once when it is gone', async () => {
    const { there, said, shadows } = scene();
    await shadows.look(signal);
    there.push(docker);
    await shadows.look(signal);
    await shadows.look(signal);
    expect(said).toEqual(['warn network.shadowed']);
    there.pop();
    await shadows.look(signal);
    expect(said).toEqual(['warn network.shadowed', 'info network.shadow_gone']);
  });

  it('is told of one bridge to who asks, without what other daemons of ours do', async () => {
    const { there, asked, shadows } = scene();
    there.push(docker, { ...docker, table: 'inet wirt_other' });
    expect(await shadows.of('wb1', signal)).toEqual([docker]);
    expect(asked).toEqual([['wb1']]);
  });
});
