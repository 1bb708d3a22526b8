/** Snapshots as a tree of lines: each below its parent, in the order given, drawn with ├─ and └─. */
export interface TreeItem {
  readonly id: string;
  readonly parent: string | undefined;
}

export interface TreeLine<T> {
  readonly item: T;
  /** What is drawn before its name. */
  readonly lead: string;
}

/** Every item once. What has no parent among the items is a root; so is the first of those that are only in a circle. */
export function treeLines<T extends TreeItem>(items: readonly T[]): TreeLine<T>[] {
  const known = new Set(items.map(({ id }) => id));
  const children = new Map<string, T[]>();
  const roots: T[] = [];
  for (const item of items) {
    if (item.parent === undefined || !known.has(item.parent)) roots.push(item);
    else children.set(item.parent, [...(children.get(item.parent) ?? []), item]);
  }
  const lines: TreeLine<T>[] = [];
  const drawn = new Set<string>();
  for (const root of [...roots, ...items]) drawBelow(root);
  return lines;

  /** Iterative: a chain of snapshots may be longer than the stack. */
  function drawBelow(root: T): void {
    const open: { item: T; lead: string; below: string }[] = [{ item: root, lead: '', below: '' }];
    for (let next = open.pop(); next !== undefined; next = open.pop()) {
      const { item, lead, below } = next;
      if (drawn.has(item.id)) continue;
      drawn.add(item.id);
      lines.push({ item, lead });
      const own = children.get(item.id)?.filter(({ id }) => !drawn.has(id)) ?? [];
      own.toReversed().forEach((child, at) => {
        const last = at === 0;
        open.push({
          item: child,
          lead: `${below}${last ? '└─ ' : '├─ '}`,
          below: below + (last ? '   ' : '│  '),
        });
      });
    }
  }
}
