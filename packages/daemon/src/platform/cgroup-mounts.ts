// Reads which control group hierarchies a mount table has: cgroup v1 (one or several controllers each), v2, or both side
// by side (hybrid). Pure. Format: proc_pid_mountinfo(5); v1 lists its controllers in the super block's options.

export interface CgroupMount {
  readonly version: 'v1' | 'v2';
  readonly mountPoint: string;
  /** v1 only; v2 says it in `cgroup.controllers`. A named hierarchy without controllers has its `name=` here. */
  readonly controllers: readonly string[];
  readonly readOnly: boolean;
}

const notControllers = new Set([
  'rw',
  'ro',
  'xattr',
  'noprefix',
  'clone_children',
  'cpuset_v2_mode',
  'favordynmods',
  'nofavordynmods',
]);

/** The hierarchies mounted below `root`, each once, in the order of the mount table. */
export function parseCgroupMounts(mountinfo: string, root: string): CgroupMount[] {
  const mounts = mountinfo.split('\n').flatMap((line) => parseLine(line) ?? []);
  const seen = new Set<string>();
  return mounts.filter((mount) => {
    if (mount.mountPoint !== root && !mount.mountPoint.startsWith(`${root}/`)) return false;
    // A hierarchy may be mounted at a second place (a container's view of it); the first is as good.
    const hierarchy = `${mount.version}:${mount.controllers.toSorted().join(',')}`;
    if (seen.has(hierarchy)) return false;
    seen.add(hierarchy);
    return true;
  });
}

function parseLine(line: string): CgroupMount | undefined {
  const [head, tail] = line.split(' - ', 2);
  const [, , , , mountPoint, mountOptions] = head?.split(' ') ?? [];
  const [type, , superOptions = ''] = tail?.split(' ') ?? [];
  if (mountPoint === undefined || mountOptions === undefined) return undefined;
  if (type !== 'cgroup' && type !== 'cgroup2') return undefined;
  const options = superOptions.split(',');
  return {
    version: type === 'cgroup2' ? 'v2' : 'v1',
    mountPoint: unescapeOctal(mountPoint),
    controllers: type === 'cgroup2' ? [] : options.filter(isController),
    readOnly: mountOptions.split(',').includes('ro') || options.includes('ro'),
  };
}

function isController(option: string): boolean {
  return option !== '' && !notControllers.has(option) && !option.startsWith('release_agent=');
}

/** The kernel writes space, tab, newline and backslash in paths as `\040` and so on. */
function unescapeOctal(text: string): string {
  return text.replaceAll(/\\([0-7]{3})/g, (_all, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  );
}
