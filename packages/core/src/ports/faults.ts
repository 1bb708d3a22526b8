/**
 * Where tests make a step fail or the daemon die. Called, and awaited, before each named step of an action
 * (`instance.start/spawn`); does nothing in production.
 */
export interface Faults {
  at(step: string): Promise<void>;
}
