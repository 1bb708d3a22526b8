// What every Catalogue must do.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Catalogue } from './catalogue.ts';

export interface CatalogueUnderTest {
  /**
   * Has two sources. `full` has Debian 12 for this processor, with cloud-init, as `debian/12` and `debian/bookworm`, whose
   * disk has `sizeBytes` and `sha256`; Alpine edge without cloud-init as `alpine/edge`; and nothing else. Nobody answers at `dead`.
   */
  readonly catalogue: Catalogue;
  readonly sizeBytes: number;
  readonly sha256: string;
  destroy(): Promise<void>;
}

export function catalogueContract(name: string, make: () => Promise<CatalogueUnderTest>): void {
  describe(`${name} as Catalogue`, () => {
    let under: CatalogueUnderTest;
    const signal = AbortSignal.timeout(60_000);

    beforeEach(async () => {
      under = await make();
    });

    afterEach(async () => {
      await under.destroy();
    });

    it('names its sources in their order', () => {
      expect(under.catalogue.sources).toEqual(['full', 'dead']);
    });

    it('lists each image once, under a name that means it', async () => {
      const entries = await under.catalogue.list('full', signal);
      expect(entries.map((entry) => entry.name)).toEqual(['alpine/edge', 'debian/12']);
      for (const { name: each, product, version, sizeBytes } of entries) {
        expect(await under.catalogue.resolve('full', each, signal)).toMatchObject({
          product,
          version,
          sizeBytes,
        });
      }
    });

    it('tells all it takes to fetch an image, by any of its names', async () => {
      for (const each of ['debian/12', 'debian/bookworm', 'bookworm', 'Debian/12/cloud']) {
        const image = await under.catalogue.resolve('full', each, signal);
        expect(image).toMatchObject({
          source: 'full',
          sizeBytes: under.sizeBytes,
          sha256: under.sha256,
          format: 'qcow2',
          cloudInit: true,
        });
        expect(URL.canParse(image.url)).toBe(true);
        expect(image.firmware.length).toBeGreaterThan(0);
      }
      expect(await under.catalogue.resolve('full', 'alpine/edge', signal)).toMatchObject({
        cloudInit: false,
      });
    });

    it('offers a near name for one that is not there', async () => {
      await expect(under.catalogue.resolve('full', 'debain/12', signal)).rejects.toMatchObject({
        code: 'catalogue.not_found',
        hint: expect.stringContaining('debian/12'),
      });
    });

    it('offers a near source for one that is not there', async () => {
      await expect(under.catalogue.list('ful', signal)).rejects.toMatchObject({
        code: 'catalogue.not_found',
        hint: expect.stringContaining('full'),
      });
    });

    it('says when nobody answers', async () => {
      await expect(under.catalogue.list('dead', signal)).rejects.toMatchObject({
        code: 'catalogue.unreachable',
      });
    });

    it('ends with the reason it was cancelled for', async () => {
      const reason = new Error('cancelled by the test');
      await expect(under.catalogue.list('full', AbortSignal.abort(reason))).rejects.toBe(reason);
    });
  });
}
