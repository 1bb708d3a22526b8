// From where Debian is fetched: from where the host fetches its own packages, when that is Debian or tells where Debian
// is. Pure.

export interface IndexTarget {
  readonly repository: string;
  readonly release: string;
  readonly component: string;
  readonly origin: string;
}

const suffixes = ['', '-updates', '-security'] as const;

/** For `apt-get indextargets --format`; one line a target. */
export const targetFormat = '$(REPO_URI)\t$(RELEASE)\t$(COMPONENT)\t$(ORIGIN)';

export function parseTargets(text: string): readonly IndexTarget[] {
  return text
    .split('\n')
    .map((line) => line.split('\t'))
    .flatMap(([repository, release, component, origin]) =>
      repository && release && component ? [{ repository, release, component, origin: origin ?? '' }] : [],
    );
}

/**
 * Entries of sources.list for `suite`, with its updates and security repairs; none when the host knows no Debian. A
 * host of another Debian release has `suite` at the same addresses.
 */
export function sourceEntries(
  targets: readonly IndexTarget[],
  suite: string,
  keyring: string | undefined,
): readonly string[] {
  const usable = targets.filter(
    ({ repository, component, origin }) =>
      component === 'main' &&
      /^(https?|ftp|tor\+https?):\/\//.test(repository) &&
      // An address in apt's lists that were never fetched has no origin, and is then not replaced by its text.
      (origin === 'Debian' || !/^[A-Za-z]/.test(origin)),
  );
  const options = keyring === undefined ? '' : `[signed-by=${keyring}] `;
  return suffixes.flatMap((suffix) => {
    const wanted = `${suite}${suffix}`;
    const exact = usable.filter(({ release }) => release === wanted);
    const kin = usable.filter(({ release }) => suffixOf(release) === suffix);
    const chosen = exact.length > 0 ? exact : kin.slice(0, 1);
    return [...new Set(chosen.map(({ repository }) => repository))].map(
      (repository) => `deb ${options}${repository} ${wanted} main`,
    );
  });
}

function suffixOf(release: string): string | undefined {
  const match =
    /^(?:bullseye|bookworm|trixie|forky|duke|sid|oldoldstable|oldstable|stable|testing|unstable)(-updates|-security)?$/.exec(
      release,
    );
  return match === null ? undefined : (match[1] ?? '');
}
