// Reads how a process is confined, from the kernel and not from any record. All of it is of one and the same process: its
// start time is compared before and after with the one on record, since pids come again.
import { readdir, readFile, readlink } from 'node:fs/promises';
import { type InstanceProcess, type Isolation, WirtError } from '@wirt/api';
import { parseCgroups, parseStartTime, parseStatus } from './status.ts';

export async function inspectProcess(
  id: string,
  { pid, startTicks }: Pick<InstanceProcess, 'pid' | 'startTicks'>,
): Promise<Isolation> {
  const directory = `/proc/${pid}`;
  try {
    const started = parseStartTime(await readFile(`${directory}/stat`, 'utf8'));
    if (started !== String(startTicks)) throw gone('another process has its number');
    const { isDead, ...status } = parseStatus(await readFile(`${directory}/status`, 'utf8'));
    const isolation: Isolation = {
      pid,
      ...status,
      selinuxLabel: await selinuxLabel(directory),
      cgroups: parseCgroups(await readFile(`${directory}/cgroup`, 'utf8'), id),
      namespaces: await namespaces(directory),
      openFiles: await openFiles(directory),
    };
    if (isDead || parseStartTime(await readFile(`${directory}/stat`, 'utf8')) !== started)
      throw gone('it ended while it was read');
    return isolation;
  } catch (cause) {
    const errno = (cause as NodeJS.ErrnoException).code ?? '';
    if (errno === 'ENOENT' || errno === 'ESRCH')
      throw new WirtError('instance.state_conflict', `The process ${pid} of ${id} is gone.`, { cause });
    if (errno === 'EACCES' || errno === 'EPERM')
      throw new WirtError('host.permission_denied', `The process ${pid} of ${id} may not be looked at.`, {
        cause,
        hint: 'Run wirtd as root, or as the user that the guest runs as.',
      });
    throw cause;
  }
}

function gone(why: string): Error {
  return Object.assign(new Error(why), { code: 'ESRCH' });
}

/** With AppArmor the same file holds a profile, so it is only read where SELinux is on. */
async function selinuxLabel(directory: string): Promise<string | null> {
  const isOn = await readFile('/sys/fs/selinux/enforce').then(
    () => true,
    () => false,
  );
  if (!isOn) return null;
  return (await readFile(`${directory}/attr/current`, 'utf8')).replace(/[\0\n]+$/, '');
}

async function namespaces(directory: string): Promise<Isolation['namespaces']> {
  const names = (await readdir(`${directory}/ns`)).toSorted();
  return await Promise.all(
    names.map(async (name) => {
      const id = await readlink(`${directory}/ns/${name}`);
      const own = await readlink(`/proc/self/ns/${name}`).catch(() => '');
      return { name, id, shared: id === own };
    }),
  );
}

async function openFiles(directory: string): Promise<Isolation['openFiles']> {
  const fds = (await readdir(`${directory}/fd`)).map(Number).toSorted((a, b) => a - b);
  const files = await Promise.all(
    fds.map(async (fd) => {
      try {
        return [{ fd, target: await readlink(`${directory}/fd/${fd}`) }];
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []; // closed in between
        throw error;
      }
    }),
  );
  return files.flat();
}
