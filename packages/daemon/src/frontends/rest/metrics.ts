/**
 * `GET /metrics` in Prometheus' text format, on the same door and with its authentication: what instances use, as the last pass of the sampler found it,
 * and what wirtd itself takes. A scrape asks no guest and no kernel for an instance. The writer is loaded at the first one.
 */
import type { UsageSurvey } from '@wirt/core';
import type { Registry } from 'prom-client';
import type { Door } from './door.ts';
import { families, type Surveyed, surveyed } from './metrics-families.ts';

interface Page {
  readonly contentType: string;
  text(survey: UsageSurvey): Promise<string>;
}

/** Looked at while wirtd runs: finer would wake it a hundred times a second for a number that nobody needs that fine. */
const eventLoopPrecisionMs = 100;

export function mountMetrics(door: Door): void {
  let page: Promise<Page> | undefined;
  door.app.route({
    method: 'GET',
    url: '/metrics',
    handler: async (_incoming, reply) => {
      const survey = await door.actions.usage.survey();
      page ??= createPage(door.version);
      const { contentType, text } = await page;
      reply.type(contentType);
      return text(survey);
    },
  });
}

async function createPage({ version, node }: Door['version']): Promise<Page> {
  // It is CommonJS: its names are properties of the default export, which is all that a bundle gives.
  const { default: client } = await import('prom-client');
  const registry: Registry = new client.Registry();
  let current: Surveyed | undefined;
  for (const { name, type, help, lines } of families) {
    const config = { name, help, registers: [registry] };
    const metric = type === 'counter' ? new client.Counter(config) : new client.Gauge(config);
    // Read off at once, and not set value by value: that hashes the labels of each.
    // The library types words as an enumeration that it does not have at run time, and labels as its own.
    type Values = Awaited<ReturnType<typeof metric.get>>;
    metric.get = () => {
      const values = current === undefined ? [] : lines(current);
      return Promise.resolve({ name, help, type, aggregator: 'sum', values } as unknown as Values);
    };
  }
  new client.Gauge({
    name: 'wirt_build_info',
    help: 'Of this wirtd; always 1.',
    labelNames: ['version', 'node'],
    registers: [registry],
  }).set({ version, node }, 1);
  client.collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: eventLoopPrecisionMs });
  return {
    contentType: registry.contentType,
    text: (survey) => {
      // The library calls every `get` before it first waits: two scrapes side by side do not mix.
      current = surveyed(survey);
      return registry.metrics();
    },
  };
}
