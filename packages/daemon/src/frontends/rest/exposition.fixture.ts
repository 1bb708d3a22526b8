// A strict reader of Prometheus' text format (0.0.4) for tests: it throws at whatever a scraper would refuse, or take amiss.
export interface Series {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export interface MetricFamily {
  readonly name: string;
  readonly type: string;
  readonly help: string;
  readonly series: readonly Series[];
}

const metricName = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/;
const head = /^# (HELP|TYPE) (\S+) (.*)$/;
const number = /^(?:[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?|[+-]Inf|Nan)$/;
const types = ['counter', 'gauge', 'histogram', 'summary', 'untyped'];

function labelsOf(text: string, line: string): Record<string, string> {
  const labels: Record<string, string> = {};
  const one = /^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)/;
  let rest = text;
  while (rest !== '') {
    const [whole, name = '', value = ''] = one.exec(rest) ?? [];
    if (whole === undefined) throw new Error(`Labels are malformed: ${line}`);
    if (name in labels) throw new Error(`Label ${name} is there twice: ${line}`);
    labels[name] = value.replace(/\\(["\\n])/g, (_all, escaped: string) =>
      escaped === 'n' ? '\n' : escaped,
    );
    rest = rest.slice(whole.length);
  }
  return labels;
}

function seriesOf(line: string): Series {
  const [, name = '', , labels = '', value = ''] = /^([^\s{]+)(\{(.*)\})? (\S+)$/.exec(line) ?? [];
  if (!metricName.test(name)) throw new Error(`No line of a metric: ${line}`);
  if (!number.test(value)) throw new Error(`No number: ${line}`);
  return { name, labels: labelsOf(labels, line), value: Number(value.replace('Inf', 'Infinity')) };
}

/** The family that a line belongs to: histograms and summaries have lines of other names. */
function belongs(series: Series, { name, type }: MetricFamily): boolean {
  if (series.name === name) return type !== 'histogram';
  const suffixes =
    type === 'histogram' ? ['_bucket', '_sum', '_count'] : type === 'summary' ? ['_sum', '_count'] : [];
  return suffixes.some((suffix) => series.name === name + suffix);
}

export function readExposition(text: string): MetricFamily[] {
  if (!text.endsWith('\n')) throw new Error('The last line does not end.');
  const families = new Map<string, MetricFamily & { series: Series[] }>();
  const seen = new Set<string>();
  let current: (MetricFamily & { series: Series[] }) | undefined;
  let help: { name: string; text: string } | undefined;
  for (const line of text.split('\n')) {
    if (line === '') continue;
    if (line.startsWith('#')) {
      const [, kind, name = '', words = ''] = head.exec(line) ?? [];
      if (kind === undefined || !metricName.test(name)) throw new Error(`Malformed comment: ${line}`);
      if (/\\(?![\\n])/.test(words)) throw new Error(`An escape that is none: ${line}`);
      if (kind === 'HELP') {
        if (families.has(name)) throw new Error(`Family ${name} is there twice.`);
        help = { name, text: words };
        continue;
      }
      if (help?.name !== name) throw new Error(`TYPE without HELP: ${line}`);
      if (!types.includes(words)) throw new Error(`No type: ${line}`);
      current = { name, type: words, help: help.text, series: [] };
      families.set(name, current);
      continue;
    }
    const series = seriesOf(line);
    if (current === undefined || !belongs(series, current))
      throw new Error(`Of no family, or of another: ${line}`);
    const key = `${series.name} ${JSON.stringify(Object.entries(series.labels).sort(([a], [b]) => (a < b ? -1 : 1)))}`;
    if (seen.has(key)) throw new Error(`A series is there twice: ${line}`);
    seen.add(key);
    current.series.push(series);
  }
  return [...families.values()];
}
