/**
 * Finds the product that a name means: `debian/12`, `ubuntu/noble`, `noble`, `alpine/edge`, each also with `/VARIANT`, or a
 * product's id. Where no variant is named, one with cloud-init comes first, because nobody could log in to the others. Pure.
 */
import { nearest, WirtError } from '@wirt/api';
import {
  archName,
  type CatalogueEntry,
  type CatalogueItem,
  firmwareOf,
  type Product,
  type ResolvedProduct,
} from './product.ts';

/** Unnamed variants, the better one first. */
const variantOrder = ['cloud', 'default'];
const maxOffered = 20;
/** Names that a mistyped one is compared with. */
const maxCompared = 20_000;

/** The products of one processor, ready for look-ups. */
export interface ProductIndex {
  /** What can be fetched, in the order of names. */
  entries(): CatalogueEntry[];
  /** Throws `catalogue.not_found`, `catalogue.ambiguous`, or `catalogue.malformed` when its newest disk was described badly. */
  resolve(name: string): ResolvedProduct;
}

export function indexProducts(products: readonly Product[], arch: string): ProductIndex {
  const wantedArch = archName(arch);
  const byName = new Map<string, Product[]>();
  const ids = new Set<string>();
  const own: Product[] = [];
  for (const product of products) {
    if (product.arch !== wantedArch || product.newest === undefined || ids.has(product.id)) continue;
    ids.add(product.id);
    own.push(product);
    for (const name of allNames(product)) {
      const sharers = byName.get(name);
      if (sharers === undefined) byName.set(name, [product]);
      else sharers.push(product);
    }
  }

  // A hostile catalogue gives thousands of products the same names: each name is decided once.
  const decided = new Map<string, readonly Product[]>();
  const find = (name: string): readonly Product[] => {
    const wanted = name.trim().toLowerCase();
    const found = decided.get(wanted) ?? preferred(byName.get(wanted) ?? []);
    if (found.length > 0) decided.set(wanted, found);
    return found;
  };
  const ownName = (product: Product): string =>
    allNames(product).find((name) => {
      const found = find(name);
      return found.length === 1 && found[0] === product;
    }) ?? product.id;

  return {
    entries: () =>
      own.flatMap((product) => entryOf(product, ownName(product), wantedArch) ?? []).sort(byEntryName),
    resolve(name) {
      const found = find(name);
      const [product] = found;
      if (product === undefined) throw notFound(name, wantedArch, products, byName);
      if (found.length > 1) throw ambiguous(name, found.slice(0, maxOffered).map(ownName));
      const { version, item } = usable(product);
      return {
        product: product.id,
        version,
        item,
        title: product.title,
        firmware: firmwareOf(item, wantedArch),
        cloudInit: product.cloudInit,
      };
    },
  };
}

/** Full names first, then those with the variant, then short ones, and the id. */
function allNames({ names, variant, id }: Product): string[] {
  return [...names, ...names.map((name) => `${name}/${variant}`), id.toLowerCase()];
}

/** Of products that share a name, those of the best variant. */
function preferred(sharers: readonly Product[]): Product[] {
  for (const variant of variantOrder) {
    const those = sharers.filter((product) => product.variant === variant);
    if (those.length > 0) return those;
  }
  return [...sharers];
}

function usable(product: Product): { readonly version: string; readonly item: CatalogueItem } {
  const { newest } = product;
  if (newest?.offer.kind === 'disk') return { version: newest.version, item: newest.offer.item };
  const why = newest === undefined ? 'it has no disk' : newest.offer.why;
  throw new WirtError(
    'catalogue.malformed',
    `${product.id}, version ${newest?.version}, cannot be fetched: ${why}.`,
    { hint: 'Tell those who run the catalogue; meanwhile: wirt image import URL' },
  );
}

function entryOf(product: Product, name: string, arch: string): CatalogueEntry | undefined {
  const { newest } = product;
  if (newest?.offer.kind !== 'disk') return undefined;
  return {
    name,
    otherNames: product.names.filter((other) => other !== name),
    product: product.id,
    variant: product.variant,
    title: product.title,
    version: newest.version,
    sizeBytes: newest.offer.item.sizeBytes,
    firmware: firmwareOf(newest.offer.item, arch),
    cloudInit: product.cloudInit,
  };
}

const inOrder = new Intl.Collator('en', { numeric: true });

function byEntryName(a: CatalogueEntry, b: CatalogueEntry): number {
  return inOrder.compare(a.name, b.name);
}

function ambiguous(name: string, names: readonly string[]): WirtError {
  return new WirtError('catalogue.ambiguous', `Several images of the catalogue are called ${quoted(name)}.`, {
    hint: `Use one of the full names: ${names.join(', ')}`,
    details: { name, names },
  });
}

function notFound(
  name: string,
  arch: string,
  products: readonly Product[],
  byName: ReadonlyMap<string, unknown>,
): WirtError {
  const wanted = name.trim().toLowerCase();
  const near = nearest(wanted, byName.keys().take(maxCompared));
  const system = wanted.split('/')[0];
  const names = [
    ...byName
      .keys()
      .filter((known) => known.startsWith(`${system}/`))
      .take(maxOffered),
  ];
  const hint = near === undefined ? 'See which names there are in its streams/v1.' : `Did you mean ${near}?`;
  return new WirtError(
    'catalogue.not_found',
    `The catalogue has no image ${quoted(name)} for ${arch}${elsewhere(wanted, arch, products)}.`,
    { hint, details: { name, arch, names } },
  );
}

/** That the name exists, only not as what was looked for. */
function elsewhere(wanted: string, arch: string, products: readonly Product[]): string {
  const named = products.filter((product) => allNames(product).includes(wanted));
  if (named.some((product) => product.arch === arch)) return ': what has this name is for containers only';
  const archs = [...new Set(named.filter(({ newest }) => newest !== undefined).map((each) => each.arch))];
  return archs.length === 0 ? '' : `, only for ${archs.slice(0, maxOffered).sort().join(', ')}`;
}

/** What was asked for, in an error: short, and without what a terminal obeys. */
function quoted(name: string): string {
  return JSON.stringify(name.length > 80 ? `${name.slice(0, 80)}…` : name);
}
