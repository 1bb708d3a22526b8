// The import table of layers.json: which layer a file belongs to, and what that layer may import. Pure data and lookup.

export interface Layer {
  name: string;
  /** Folder from the repository's root; a `*` segment makes every folder there a group of its own. */
  folder: string;
  /** Only these files of the folder, where given; otherwise all files below it. */
  files?: string[];
  /** Names of other layers. A layer may always import itself, but never a sibling group of a `*` folder. */
  imports: string[];
  /** Whether `node:` modules are allowed. */
  node: boolean;
  /** npm packages that are allowed, workspace packages excepted (those follow from `imports`). */
  npm: string[];
}

export interface LayerTable {
  layers: Layer[];
  /** What test files (by name) may import beyond their layer. */
  testFiles: { suffixes: string[]; imports: string[]; node: boolean; npm: string[] };
  /** Folders that are not walked, from the repository's root. */
  ignore: string[];
}

export interface Place {
  layer: Layer;
  /** The concrete folder of a `*` layer, else the layer's folder: files of one group may import each other. */
  group: string;
}

/** The most specific layer that claims the file; undefined when none does. */
export function placeOf(table: LayerTable, file: string): Place | undefined {
  let best: (Place & { rank: number }) | undefined;
  for (const layer of table.layers) {
    const group = groupOf(layer, file);
    if (group === undefined) continue;
    const stars = layer.folder.split('*').length - 1;
    const rank = layer.folder.split('/').length * 4 + (layer.files ? 2 : 0) - stars;
    if (!best || rank > best.rank) best = { layer, group, rank };
  }
  return best && { layer: best.layer, group: best.group };
}

function groupOf(layer: Layer, file: string): string | undefined {
  const wanted = layer.folder === '' ? [] : layer.folder.split('/');
  const parts = file.split('/');
  if (parts.length <= wanted.length) return undefined;
  if (!wanted.every((segment, index) => segment === '*' || segment === parts[index])) return undefined;
  const rest = parts.slice(wanted.length).join('/');
  if (layer.files && !layer.files.includes(rest)) return undefined;
  return parts.slice(0, wanted.length).join('/');
}

export function isTestFile(table: LayerTable, file: string): boolean {
  return table.testFiles.suffixes.some((suffix) => file.endsWith(suffix));
}

/** Mistakes in the table itself: unknown layer names, doubled names. */
export function tableMistakes(table: LayerTable): string[] {
  const names = table.layers.map((layer) => layer.name);
  const mistakes = names
    .filter((name, index) => names.indexOf(name) !== index)
    .map((name) => `${name} is there twice`);
  for (const { name, imports } of [
    ...table.layers,
    { name: 'testFiles', imports: table.testFiles.imports },
  ]) {
    for (const other of imports) {
      if (!names.includes(other)) mistakes.push(`${name} imports "${other}", which is no layer`);
    }
  }
  return mistakes;
}
