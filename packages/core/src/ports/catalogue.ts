/** Catalogues of ready-made images on the web. Reads them only; fetching what they describe is for the `Downloader`. */
import type { CatalogueEntry, CatalogueFirmware } from '../domain/simplestreams/product.ts';

export type { CatalogueEntry, CatalogueFirmware };

/** One image, with all it takes to fetch it and to know that it is the right one. */
export interface CatalogueImage {
  readonly source: string;
  readonly product: string;
  readonly version: string;
  readonly title: string;
  readonly url: string;
  readonly sizeBytes: number;
  /** Lower-case hexadecimal. */
  readonly sha256: string;
  readonly format: 'qcow2';
  /** What it can boot by, the better one last. */
  readonly firmware: readonly CatalogueFirmware[];
  /** Whether it takes a cloud-init seed. */
  readonly cloudInit: boolean;
}

/**
 * Images are those for this host's processor that have a disk for virtual machines, each in its newest version. Both
 * methods throw `catalogue.unreachable`, `catalogue.malformed`, `catalogue.not_found` for a source that is not there, and
 * the signal's reason.
 */
export interface Catalogue {
  /** Names of the catalogues, in the order in which they are to be asked. */
  readonly sources: readonly string[];
  list(source: string, signal: AbortSignal): Promise<CatalogueEntry[]>;
  /** `name` as in `debian/12`, `noble`, `alpine/edge/cloud`. Also throws `catalogue.not_found`, `catalogue.ambiguous`. */
  resolve(source: string, name: string, signal: AbortSignal): Promise<CatalogueImage>;
}
