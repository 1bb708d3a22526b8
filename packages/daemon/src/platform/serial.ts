/** Work that must not overlap: one after the other, in the order in which it was asked for, however what came before it has ended. */
export type InTurn = <T>(work: () => Promise<T>) => Promise<T>;

export function serially(): InTurn {
  let last: Promise<unknown> = Promise.resolve();
  return (work) => {
    const done = last.then(work);
    last = done.catch(() => undefined);
    return done;
  };
}
