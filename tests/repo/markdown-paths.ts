// Paths of the repository that a page names in inline code, such as `packages/core/src/ports/store.ts` or `make check`'s
// scripts: whether each is there. What is no path from the root (a bare word, a pattern, a path of a host) is left out.
import { inlineCode } from './markdown.ts';
import { listFiles, readText } from './tree.ts';

const rootFolders = ['packages', 'tests', 'tools', 'docs', 'packaging', 'openapi', 'bin', '.ci'];

/** Paths that the page names and the repository does not have. `*` stands for any part of a name. */
export function missingPaths(page: string): string[] {
  const files = listFiles();
  return [...new Set(inlineCode(readText(page)).filter(isPath))].filter((path) => {
    const pattern = path
      .replace(/\/$/, '')
      .split('*')
      .map((part) => part.replaceAll(/[.+?^${}()|[\]\\]/g, '\\$&'))
      .join('[^/]*');
    const found = new RegExp(`^${pattern}(/|$)`);
    return !files.some((file) => found.test(file));
  });
}

function isPath(code: string): boolean {
  if (!/^[\w.@*/-]+$/.test(code) || /[<>]/.test(code)) return false;
  return rootFolders.some((folder) => code.startsWith(`${folder}/`));
}
