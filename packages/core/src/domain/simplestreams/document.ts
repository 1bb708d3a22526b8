/**
 * Reads simplestreams documents (`streams/v1/index.json` in `index:1.0`, product files in `products:1.0`) as Ubuntu's
 * and Incus' image servers write them. What a server says is hostile: everything kept was checked, the rest is left out.
 * Signatures are not read; that the document is its server's own is for the transport (TLS).
 */
import { WirtError } from '@wirt/api';
import { pathProblem } from './path.ts';
import { archName, type CatalogueItem, type DiskFtype, type DiskOffer, type Product } from './product.ts';
import { isVersion, newerVersion } from './version.ts';

/** Of Ubuntu's largest: some 5 MB. */
export const maxDocumentBytes = 32 * 1024 * 1024;
const maxProducts = 10_000;
const maxProductFiles = 16;
const maxAliases = 32;
/** An image file larger than this is a lie. */
const maxItemBytes = 2 ** 40;

type Fields = Readonly<Record<string, unknown>>;

/** Paths of the product files that may have images, below the catalogue's root. `where` names the document in errors. */
export function parseIndex(text: string, where: string): string[] {
  const index = parseDocument(text, where, 'index:1.0')['index'];
  if (!isFields(index)) throw malformed(where, 'it has no "index"');
  const paths: string[] = [];
  for (const entry of Object.values(index)) {
    // Indexes also list identifiers of images in clouds (`image-ids`), which are no files.
    if (!isFields(entry) || entry['datatype'] !== 'image-downloads') continue;
    const path = entry['path'];
    const problem = pathProblem(path);
    if (problem !== undefined) throw malformed(where, `it has a product file whose path ${problem}`);
    if (typeof path === 'string' && !paths.includes(path)) paths.push(path);
    if (paths.length > maxProductFiles)
      throw malformed(where, `it lists more than ${maxProductFiles} product files`);
  }
  return paths;
}

/** The products of one file. Those without what a name is made of are left out. */
export function parseProducts(text: string, where: string): Product[] {
  const products = parseDocument(text, where, 'products:1.0')['products'];
  if (!isFields(products)) throw malformed(where, 'it has no "products"');
  const entries = Object.entries(products);
  if (entries.length > maxProducts) throw malformed(where, `it has more than ${maxProducts} products`);
  return entries.flatMap(([id, fields]) => parseProduct(id, fields) ?? []);
}

function parseDocument(text: string, where: string, format: string): Fields {
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch {
    // The parser's own sentence quotes the document, which is the server's text.
    throw malformed(where, 'it is not JSON');
  }
  if (!isFields(document) || document['format'] !== format) {
    throw malformed(where, `its "format" is not ${format}`);
  }
  return document;
}

function malformed(where: string, what: string): WirtError {
  return new WirtError('catalogue.malformed', `${where} is no simplestreams document: ${what}.`, {
    hint: 'The address of a catalogue is the one above streams/v1/index.json. Compare: wirtd --help',
  });
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Text to show: no control characters, nothing that changes the direction of writing, and short. */
function shownText(value: unknown): string | undefined {
  return typeof value === 'string' && /^[\p{L}\p{N}\p{P}\p{S} ]{1,100}$/u.test(value) ? value : undefined;
}

/** A part of a name that people type. */
function namePart(value: unknown): string | undefined {
  if (typeof value !== 'string' || value.length > 100) return undefined;
  const name = value.trim().toLowerCase().replaceAll(' ', '-');
  return /^[a-z0-9][a-z0-9._+-]*(\/[a-z0-9][a-z0-9._+-]*)*$/.test(name) ? name : undefined;
}

function parseProduct(id: string, fields: unknown): Product | undefined {
  if (!isFields(fields) || !/^[\x21-\x7e]{1,200}$/.test(id)) return undefined;
  const os = shownText(fields['os']);
  const osName = namePart(os);
  const arch = namePart(fields['arch']);
  if (os === undefined || osName === undefined || arch === undefined) return undefined;
  const saidVariant = namePart(fields['variant']);
  const newest = newestDisk(fields['versions']);
  const names = namesOf(fields, osName, saidVariant);
  if (names.length === 0) return undefined;
  const cloudImages = isCloudImages(id, newest?.offer);
  const variant = saidVariant ?? (cloudImages ? 'cloud' : 'default');
  return {
    id,
    arch: archName(arch),
    names,
    variant,
    title: titleOf(fields, os, saidVariant),
    cloudInit: cloudImages || variant === 'cloud',
    newest,
  };
}

/** Ubuntu's own catalogue: cloud images without a word about variants. */
function isCloudImages(id: string, offer: DiskOffer | undefined): boolean {
  if (id.startsWith('com.ubuntu.')) return true;
  return offer?.kind === 'disk' && (offer.item.ftype === 'disk1.img' || offer.item.ftype === 'uefi1.img');
}

function titleOf(fields: Fields, os: string, variant: string | undefined): string {
  const system = /\p{Lu}/u.test(os) ? os : os.slice(0, 1).toUpperCase() + os.slice(1);
  const release = shownText(fields['release_title']) ?? shownText(fields['release']);
  const suffix = variant === undefined || variant === 'default' ? '' : ` (${variant})`;
  return `${system}${release === undefined ? '' : ` ${release}`}${suffix}`;
}

/** Ubuntu's aliases are bare (`24.04,noble,lts`), Incus' begin with the system and may end with the variant. */
function namesOf(fields: Fields, os: string, variant: string | undefined): string[] {
  const aliases = typeof fields['aliases'] === 'string' ? fields['aliases'].split(',', maxAliases) : [];
  const full = new Set<string>();
  const bare = new Set<string>();
  for (const said of [...aliases, fields['version'], fields['release']]) {
    const alias = namePart(said);
    if (alias === undefined) continue;
    const suffix = `/${variant}`;
    const name = alias.endsWith(suffix) ? alias.slice(0, -suffix.length) : alias;
    const slash = name.indexOf('/');
    if (name === os || slash !== -1) full.add(name);
    else full.add(`${os}/${name}`);
    if (name !== os) bare.add(name.slice(slash + 1));
  }
  // People know numbers better than code names: they come first.
  const numbered = [...full].filter((name) => /\/\d/.test(name));
  return [...new Set([...numbered, ...full, ...bare])];
}

/** Which file serves best where a version has several: one that boots either way, then one for virtual machines. */
const ftypes: readonly DiskFtype[] = ['disk1.img', 'disk-kvm.img', 'disk.qcow2', 'uefi1.img'];

function newestDisk(versions: unknown): Product['newest'] {
  if (!isFields(versions)) return undefined;
  let newest: Product['newest'];
  for (const [version, fields] of Object.entries(versions)) {
    if (!isVersion(version) || !isFields(fields) || !isFields(fields['items'])) continue;
    if (newest !== undefined && !newerVersion(version, newest.version)) continue;
    const offer = bestDisk(fields['items']);
    if (offer !== undefined) newest = { version, offer };
  }
  return newest;
}

function bestDisk(items: Fields): DiskOffer | undefined {
  const all = Object.values(items).filter(isFields);
  let bad: DiskOffer | undefined;
  for (const ftype of ftypes) {
    for (const item of all) {
      if (item['ftype'] !== ftype) continue;
      const offer = readItem(item, ftype);
      if (offer.kind === 'disk') return offer;
      bad ??= offer;
    }
  }
  return bad;
}

function readItem(fields: Fields, ftype: DiskFtype): DiskOffer {
  const { path, size, sha256 } = fields;
  const problem = pathProblem(path);
  if (typeof path !== 'string' || problem !== undefined) {
    return { kind: 'bad', why: `the path of its ${ftype} ${problem}` };
  }
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 1 || size > maxItemBytes) {
    return { kind: 'bad', why: `the size of its ${ftype} is missing or absurd` };
  }
  if (typeof sha256 !== 'string' || !/^[0-9a-fA-F]{64}$/.test(sha256)) {
    return { kind: 'bad', why: `its ${ftype} has no SHA-256` };
  }
  // Each of these is a qcow2 in both catalogues, whatever its file is called.
  const item: CatalogueItem = {
    path,
    sizeBytes: size,
    sha256: sha256.toLowerCase(),
    format: 'qcow2',
    ftype,
  };
  return { kind: 'disk', item };
}
