// Texts of apt: the private configuration written, and what apt prints read back. Pure.

export type Architecture = 'amd64' | 'arm64';

/** What a package's candidate version is, by the lists. */
export interface PackageRecord {
  readonly name: string;
  readonly version: string;
  readonly depends: string;
  readonly sizeBytes: number;
  readonly sha256: string;
  /** The name that `apt-get download` gives the file. */
  readonly fileName: string;
}

// Where packages come from and how to get there; no hooks, no additional indexes, nothing that weakens a check.
const takenFromHost =
  /^(Acquire::(https?|ftp)(::| )|Acquire::(ForceIPv[46]|Check-Date|Check-Valid-Until|Max-ValidTime)\b|Dir::Etc(::(sourcelist|sourceparts|netrc|netrcparts|preferences|preferencesparts|trusted|trustedparts))? |APT::Default-Release )/i;

/** `hostDump` is what `apt-config dump` prints on the host. Source: apt.conf(5). */
export function renderAptConfig(directory: string, arch: Architecture, hostDump: string): string {
  const taken = hostDump.split('\n').filter((line) => takenFromHost.test(line));
  const own = {
    'Dir::Etc::main': '/dev/null',
    'Dir::Etc::parts': `${directory}/parts`,
    'Dir::State': directory,
    'Dir::State::lists': `${directory}/lists`,
    'Dir::State::status': `${directory}/status`,
    'Dir::Cache': `${directory}/cache`,
    'Dir::Log': `${directory}/log`,
    'APT::Architecture': arch,
    'APT::Architectures': arch,
    'Acquire::Languages': 'none',
    'Acquire::Retries': '2',
    'Acquire::http::Timeout': '30',
    'Acquire::https::Timeout': '30',
  };
  const lines = Object.entries(own).map(([name, value]) =>
    name === 'APT::Architectures' ? `${name} { "${value}"; };` : `${name} "${value}";`,
  );
  return `${[...taken, ...lines].join('\n')}\n`;
}

/** The percentage of a line on APT::Status-Fd, `dlstatus:3:41.5:Retrieving file 3 of 9`. Others give undefined. */
export function downloadPercent(line: string): number | undefined {
  const match = /^dlstatus:\d+:(\d+(?:\.\d+)?):/.exec(line);
  return match?.[1] === undefined ? undefined : Math.min(100, Number(match[1]));
}

/** The records that `apt-cache show` printed. Records without size and check sum are left out. */
export function parsePackageRecords(text: string): readonly PackageRecord[] {
  return text
    .split(/\n{2,}/)
    .map(
      (block) =>
        new Map([...block.matchAll(/^([A-Za-z0-9-]+): (.*)$/gm)].map((match) => [match[1], match[2]])),
    )
    .map((fields) => toRecord((name) => fields.get(name)))
    .filter((record) => record !== undefined);
}

function toRecord(field: (name: string) => string | undefined): PackageRecord | undefined {
  const name = field('Package');
  const version = field('Version');
  const architecture = field('Architecture');
  const sha256 = field('SHA256');
  const sizeBytes = Number(field('Size'));
  if (name === undefined || version === undefined || architecture === undefined) return undefined;
  if (sha256 === undefined || !Number.isSafeInteger(sizeBytes)) return undefined;
  const depends = [field('Pre-Depends'), field('Depends')].filter((part) => part !== undefined).join(', ');
  const fileName = `${name}_${version.replaceAll(':', '%3a')}_${architecture}.deb`;
  return { name, version, depends, sizeBytes, sha256, fileName };
}
