/**
 * Requests for changes that wait because there are none yet. A parked watch has seen everything up to the present, so
 * what a commit brings answers it without a query; all that it holds is its prefix.
 */
import { firstPage } from './engine.ts';
import type { WireAnswer, WireChange } from './protocol.ts';

export type ParkedWatches = ReturnType<typeof createParkedWatches>;

export function createParkedWatches() {
  const prefixes = new Map<number, string>();
  return {
    park(id: number, prefix: string): void {
      prefixes.set(id, prefix);
    },

    forget(id: number): void {
      prefixes.delete(id);
    },

    /** Answers those that one of `changes`, the newest of the store and in order, concerns; they are parked no more. */
    answersTo(changes: readonly WireChange[]): WireAnswer[] {
      const end = changes.at(-1);
      if (!end) return [];
      const answers: WireAnswer[] = [];
      for (const [id, prefix] of prefixes) {
        const page = firstPage(
          changes.filter((change) => change.key.startsWith(prefix)),
          end.seq,
        );
        if (page.changes.length === 0) continue;
        prefixes.delete(id);
        answers.push({ id, type: 'changes', page });
      }
      return answers;
    },
  };
}
